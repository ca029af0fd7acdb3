"""Internet checksums (RFC 1071) as the kernel computes them, and the helpers on them."""

from typing import TYPE_CHECKING

from emu.runtime.helpers.registry import EACCES, EFAULT, EINVAL, ENOTSUPP, U32, U64, Ptr, helper, skb_of
from emu.runtime.packet import Packet

if TYPE_CHECKING:
    from emu.runtime.world import World

FIELD_MASK = 0xF
PSEUDO_HDR, MARK_MANGLED_0, MARK_ENFORCE, IPV6 = 0x10, 0x20, 0x40, 0x80
MANGLED_0 = 0xFFFF
MAX_OFFSET = 0xFFFF


def add32(a: int, b: int) -> int:
    """csum_add: one's complement sum of 32-bit numbers."""
    total = a + b
    return (total & 0xFFFFFFFF) + (total >> 32)


def partial(data: bytes, start: int) -> int:
    """csum_partial: a 32-bit sum that is congruent to that of the 16-bit words modulo 0xffff."""
    data = data.ljust(-(-len(data) // 4) * 4, b"\0")
    total = start + sum(memoryview(data).cast("I"))  # the machines this runs on are little-endian
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def fold(total: int) -> int:
    """csum_fold: the checksum, 16 bits, that a 32-bit sum makes."""
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def from32to16(total: int) -> int:
    """csum_from32to16: a 32-bit sum in 16 bits."""
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


def replaced(check: int, old: int, new: int) -> int:
    """csum_replace4: a checksum after the 32-bit field `old` became `new`; the numbers are as in memory."""
    total = add32(~check & 0xFFFFFFFF, ~old & 0xFFFFFFFF)
    return fold(add32(total, new))


@helper("bpf_csum_diff")
def csum_diff(world: "World", old: Ptr, old_size: U32, new: Ptr, new_size: U32, seed: U32) -> int:
    """The sum of `new` minus that of `old` plus `seed`, folded to 16 bits."""
    memory = world.memory
    if old_size and new_size:
        minus = partial(memory.read(old, old_size), 0)
        return from32to16(add32(partial(memory.read(new, new_size), seed), minus ^ 0xFFFFFFFF))
    if new_size:
        return from32to16(partial(memory.read(new, new_size), seed))
    if old_size:
        return from32to16(partial(memory.read(old, old_size), seed ^ 0xFFFFFFFF) ^ 0xFFFFFFFF)
    return from32to16(seed)


def _field(packet: Packet, offset: int) -> int | None:
    """The checksum at an even offset, made writable; None when it cannot be."""
    if offset > MAX_OFFSET or offset & 1 or not packet.make_linear(offset + 2):
        return None
    raw = packet.load_bytes(offset, 2)
    return None if raw is None else int.from_bytes(raw, "little")


def _replace(check: int, size: int, old: int, new: int) -> int | None:
    """The new checksum; None when the field's size is not 0 (`new` is a difference), 2 or 4."""
    if size == 0:
        return None if old else fold(add32(new & 0xFFFFFFFF, ~check & 0xFFFF))
    if size == 4:
        return replaced(check, old & 0xFFFFFFFF, new & 0xFFFFFFFF)
    if size == 2:
        return replaced(check, old & 0xFFFF, new & 0xFFFF)
    return None


@helper("bpf_l3_csum_replace")
def l3_csum_replace(world: "World", skb: Ptr, offset: U32, old: U64, new: U64, flags: U64) -> int:
    """Update an IP checksum."""
    _, packet = skb_of(world, skb)
    if flags & ~FIELD_MASK:
        return -EINVAL
    check = _field(packet, offset)
    if check is None:
        return -EFAULT
    size = flags & FIELD_MASK
    after = _replace16(check, old & 0xFFFF, new & 0xFFFF) if size == 2 else _replace(check, size, old, new)
    if after is None:
        return -EINVAL
    packet.store_bytes(offset, after.to_bytes(2, "little"))
    return 0


def _replace16(check: int, old: int, new: int) -> int:
    """csum_replace2, which sums in 16 bits."""
    total = (check ^ 0xFFFF) + (old ^ 0xFFFF)
    total = (total & 0xFFFF) + (total >> 16) + new
    return ((total & 0xFFFF) + (total >> 16)) ^ 0xFFFF


@helper("bpf_l4_csum_replace")
def l4_csum_replace(world: "World", skb: Ptr, offset: U32, old: U64, new: U64, flags: U64) -> int:
    """Update a TCP, UDP or ICMP checksum."""
    _, packet = skb_of(world, skb)
    if flags & ~(FIELD_MASK | PSEUDO_HDR | MARK_MANGLED_0 | MARK_ENFORCE | IPV6):
        return -EINVAL
    check = _field(packet, offset)
    if check is None:
        return -EFAULT
    if flags & MARK_MANGLED_0 and not flags & MARK_ENFORCE and not check:
        return 0
    after = _replace(check, flags & FIELD_MASK, old, new)
    if after is None:
        return -EINVAL
    if flags & MARK_MANGLED_0 and not after:
        after = MANGLED_0
    packet.store_bytes(offset, after.to_bytes(2, "little"))
    return 0


@helper("bpf_csum_update")
def csum_update(world: "World", skb: Ptr, csum: U32) -> int:
    """Test runs' packets have no complete checksum to update."""
    del csum
    skb_of(world, skb)
    return -ENOTSUPP


@helper("bpf_csum_level")
def csum_level(world: "World", skb: Ptr, level: U64) -> int:
    """How many checksums are known to be good: query, one more, one less, forget all."""
    _, packet = skb_of(world, skb)
    now = packet.csum_level
    if level == 0:
        return -EACCES if now is None else now
    if level == 1:
        packet.csum_level = 0 if now is None else min(now + 1, 3)
    elif level == 2:
        packet.csum_level = None if not now else now - 1
    elif level == 3:
        packet.csum_level = None
    else:
        return -EINVAL
    return 0
