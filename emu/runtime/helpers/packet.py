"""Helpers that read, write and resize an skb's packet, and its hash and type."""

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.runtime.helpers.registry import (
    EFAULT,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    S32,
    U32,
    U64,
    Ptr,
    clear,
    helper,
    skb_of,
)
from emu.runtime.traps import HelperTrap

if TYPE_CHECKING:
    from emu.runtime.world import World

RECOMPUTE_CSUM, INVALIDATE_HASH = 1, 2
INT_MAX = (1 << 31) - 1
SKB_MAX_LEN = 16064  # SKB_MAX_ALLOC: what a packet may grow to
PACKET_OTHERHOST = 3
HDR_START_MAC, HDR_START_NET = 0, 1


def _give(world: "World", to: int, size: int, data: bytes | None) -> int:
    if data is None:
        clear(world, to, size)
        return -EFAULT
    world.memory.write(to, data)
    return 0


@helper("bpf_skb_load_bytes")
def skb_load_bytes(world: "World", skb: Ptr, offset: U32, to: Ptr, size: U32) -> int:
    """Copy from the packet. -EFAULT and a zeroed buffer when it does not reach that far."""
    _, packet = skb_of(world, skb)
    return _give(world, to, size, None if offset > INT_MAX else packet.load_bytes(offset, size))


@helper("bpf_skb_load_bytes_relative")
def skb_load_bytes_relative(world: "World", skb: Ptr, offset: U32, to: Ptr, size: U32, start: U32) -> int:
    """Copy from the packet, from its link-layer or network header on."""
    _, packet = skb_of(world, skb)
    if offset > 0xFFFF or start not in (HDR_START_MAC, HDR_START_NET):
        return _give(world, to, size, None)
    base = packet.mac if start == HDR_START_MAC else packet.network
    at = base - packet.data + offset
    return _give(world, to, size, None if at + size > packet.linear else packet.load_bytes(at, size))


@helper("bpf_skb_store_bytes")
def skb_store_bytes(world: "World", skb: Ptr, offset: U32, data: Ptr, size: U32, flags: U64) -> int:
    """Copy into the packet."""
    context, packet = skb_of(world, skb)
    if flags & ~(RECOMPUTE_CSUM | INVALIDATE_HASH):
        return -EINVAL
    if offset > INT_MAX or not packet.make_linear(offset + size):
        return -EFAULT
    if not packet.store_bytes(offset, world.memory.read(data, size)):
        return -EFAULT
    if flags & INVALIDATE_HASH:
        context["hash"] = 0
    return 0


@helper("bpf_skb_pull_data")
def skb_pull_data(world: "World", skb: Ptr, size: U32) -> int:
    """Make the first `size` bytes, or all that already are, directly accessible."""
    _, packet = skb_of(world, skb)
    return 0 if packet.make_linear(size or packet.linear) else -ENOMEM


@helper("bpf_skb_change_tail")
def skb_change_tail(world: "World", skb: Ptr, size: U32, flags: U64) -> int:
    """Cut the packet off, or let it grow by zeros."""
    _, packet = skb_of(world, skb)
    least = max(packet.network - packet.data, 0)
    if flags or size > SKB_MAX_LEN or size < least:
        return -EINVAL
    packet.make_linear(min(size, packet.length))
    return 0 if packet.resize(size) else -ENOMEM


@helper("bpf_skb_change_head")
def skb_change_head(world: "World", skb: Ptr, room: U32, flags: U64) -> int:
    """Put zeros before the packet; they become its link-layer header."""
    _, packet = skb_of(world, skb)
    if flags or room > INT_MAX or packet.length + room > SKB_MAX_LEN:
        return -EINVAL
    if not packet.push(room):
        return -ENOMEM
    packet.store_bytes(0, bytes(room))
    packet.mac = packet.data
    return 0


@helper("bpf_skb_change_type")
def skb_change_type(world: "World", skb: Ptr, kind: U32) -> int:
    """Set pkt_type."""
    context, _ = skb_of(world, skb)
    if kind > PACKET_OTHERHOST or context["pkt_type"] > PACKET_OTHERHOST:
        return -EINVAL
    context["pkt_type"] = kind
    return 0


@helper("bpf_get_hash_recalc")
def get_hash_recalc(world: "World", skb: Ptr) -> int:
    """The packet's hash. A kernel keys its hash of the flow at random; here it is the CRC-32 of the packet."""
    context, packet = skb_of(world, skb)
    if not context["hash"]:
        context["hash"] = zlib.crc32(packet.contents()) or 1
    return context["hash"]


@helper("bpf_set_hash")
def set_hash(world: "World", skb: Ptr, value: U32) -> int:
    """Set the packet's hash."""
    context, _ = skb_of(world, skb)
    context["hash"] = value
    return 0


@helper("bpf_set_hash_invalid")
def set_hash_invalid(world: "World", skb: Ptr) -> int:
    """Forget the packet's hash."""
    context, _ = skb_of(world, skb)
    context["hash"] = 0
    return 0


@helper("bpf_skb_set_tstamp")
def skb_set_tstamp(world: "World", skb: Ptr, tstamp: U64, kind: U32) -> int:
    """Set the time stamp and its clock: 0 real time (then without a time), 1 monotonic, 2 TAI."""
    context, _ = skb_of(world, skb)
    if context["protocol"] not in (0x0008, 0xDD86):
        return -EOPNOTSUPP
    if kind > 2 or (kind == 0) != (tstamp == 0):
        return -EINVAL
    context["tstamp"] = tstamp
    context.view[180] = kind
    return 0


CE = 3


@helper("bpf_skb_ecn_set_ce")
def skb_ecn_set_ce(world: "World", skb: Ptr) -> int:
    """Mark congestion in the IP header where its sender allows it: 1, else 0."""
    context, packet = skb_of(world, skb)
    at = packet.network - packet.data
    if context["protocol"] == 0x0008:
        return _ecn4(packet.load_bytes(at, 20), lambda raw: packet.store_bytes(at, raw))
    if context["protocol"] == 0xDD86:
        raw = packet.load_bytes(at, 40)
        if raw is None or not (raw[1] >> 4) & CE:
            return 0
        packet.store_bytes(at + 1, bytes((raw[1] | CE << 4,)))
        return 1
    return 0


def _ecn4(raw: bytes | None, store: Callable[[bytes], object]) -> int:
    if raw is None:
        return 0
    ecn = raw[1] & CE
    if ecn in (0, CE):
        return int(ecn == CE)
    check = int.from_bytes(raw[10:12], "big") + 0xFFFF - (CE - ecn)
    check = (check & 0xFFFF) + (check >> 16)
    store(raw[:1] + bytes((raw[1] | CE,)) + raw[2:10] + check.to_bytes(2, "big") + raw[12:])
    return 1


MTU, HARD_HEADER = 65536, 14  # of the loopback device, number 1
CHK_SEGS = 1


def _check_mtu(world: "World", length: int, ifindex: int, mtu_len: int, diff: int) -> int:
    if ifindex not in (0, 1):
        return -ENODEV
    given = world.memory.load(mtu_len, 4)
    length = given + HARD_HEADER if given else length
    world.memory.store(mtu_len, 4, MTU)
    return 0 if length + diff <= MTU + HARD_HEADER else 1


@helper("bpf_check_mtu")
def check_mtu(world: "World", ctx: Ptr, ifindex: U32, mtu_len: Ptr, diff: S32, flags: U64) -> int:
    """Whether the packet, changed by `diff` bytes, fits the device's MTU, which is stored: 0, or 1."""
    packet = world.packet
    if packet is None or world.context is None or world.context.addr != ctx:
        raise HelperTrap("helper", f"{ctx:#x} is not the address of this run's context")
    is_xdp = world.program.prog_type == "xdp"
    if flags & ~(0 if is_xdp else CHK_SEGS):
        return -EINVAL
    if flags and (diff or world.memory.load(mtu_len, 4)):
        return -EINVAL
    return _check_mtu(world, packet.length, ifindex, mtu_len, diff)
