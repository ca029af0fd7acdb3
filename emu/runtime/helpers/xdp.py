"""Helpers on the packet of an XDP program."""

from typing import TYPE_CHECKING

from emu.runtime.helpers.registry import EACCES, EFAULT, EINVAL, S32, U32, Ptr, helper, xdp_of

if TYPE_CHECKING:
    from emu.runtime.world import World

ETH_HLEN = 14
FRAME = 40  # sizeof(struct xdp_frame), which the kernel keeps at the start of the buffer
MAX_META = 255


@helper("bpf_xdp_adjust_head")
def xdp_adjust_head(world: "World", ctx: Ptr, delta: S32) -> int:
    """Move the start of the packet; metadata move along."""
    packet = xdp_of(world, ctx)
    keep = packet.data - packet.meta
    start = packet.data + delta
    if start < FRAME + keep or start > packet.end - ETH_HLEN:
        return -EINVAL
    packet.move_head(delta, keep)
    return 0


@helper("bpf_xdp_adjust_tail")
def xdp_adjust_tail(world: "World", ctx: Ptr, delta: S32) -> int:
    """Move the end of the packet; what it grows by is zero."""
    packet = xdp_of(world, ctx)
    if packet.length + delta < ETH_HLEN or delta > packet.tailroom:
        return -EINVAL
    return 0 if packet.resize(packet.length + delta) else -EINVAL


@helper("bpf_xdp_adjust_meta")
def xdp_adjust_meta(world: "World", ctx: Ptr, delta: S32) -> int:
    """Move the start of the metadata, which end where the packet starts."""
    packet = xdp_of(world, ctx)
    start = packet.meta + delta
    if start < FRAME or start > packet.data:
        return -EINVAL
    size = packet.data - start
    if size & 3 or size > MAX_META:
        return -EACCES
    packet.set_meta(size)
    return 0


@helper("bpf_xdp_get_buff_len")
def xdp_get_buff_len(world: "World", ctx: Ptr) -> int:
    """Length of the packet."""
    return xdp_of(world, ctx).length


@helper("bpf_xdp_load_bytes")
def xdp_load_bytes(world: "World", ctx: Ptr, offset: U32, to: Ptr, size: U32) -> int:
    """Copy from the packet."""
    packet = xdp_of(world, ctx)
    if offset > 0xFFFF or size > 0xFFFF:
        return -EFAULT
    data = packet.load_bytes(offset, size)
    if data is None:
        return -EINVAL
    world.memory.write(to, data)
    return 0


@helper("bpf_xdp_store_bytes")
def xdp_store_bytes(world: "World", ctx: Ptr, offset: U32, data: Ptr, size: U32) -> int:
    """Copy into the packet."""
    packet = xdp_of(world, ctx)
    if offset > 0xFFFF or size > 0xFFFF:
        return -EFAULT
    if offset + size > packet.length:
        return -EINVAL
    packet.store_bytes(offset, world.memory.read(data, size))
    return 0
