"""Helpers on strings and memory: numbers from text, comparison."""

from typing import TYPE_CHECKING

from emu.runtime.helpers.registry import EINVAL, ERANGE, U32, U64, Ptr, helper

if TYPE_CHECKING:
    from emu.runtime.world import World

BASES = (0, 8, 10, 16)
MAX_DIGITS = 63  # the kernel copies that much of a number
_SPACE = frozenset(b" \t\n\v\f\r\xa0")
_DIGITS = {
    **{0x30 + i: i for i in range(10)},
    **{0x61 + i: 10 + i for i in range(6)},
    **{0x41 + i: 10 + i for i in range(6)},
}


def parse(raw: bytes, flags: int) -> tuple[int, int, bool] | int:
    """__bpf_strtoull: (bytes consumed, magnitude, negative) or a negative error."""
    base = flags & 0x1F
    if not raw or base not in BASES or flags & ~0x1F:
        return -EINVAL
    at = 0
    while at < len(raw) and raw[at] in _SPACE:
        at += 1
    negative = raw[at : at + 1] == b"-"
    at += negative
    if at == len(raw):
        return -EINVAL
    digits = raw[at : at + MAX_DIGITS]
    base, prefix = _radix(digits, base)
    value = count = 0
    for char in digits[prefix:]:
        digit = _DIGITS.get(char, 99)
        if digit >= base:
            break
        value = value * base + digit
        count += 1
    if value >> 64:
        return -ERANGE
    if not count:
        return -EINVAL
    return at + prefix + count, value, negative


def _radix(digits: bytes, base: int) -> tuple[int, int]:
    """_parse_integer_fixup_radix: the base and the length of its prefix."""
    hexadecimal = digits[:1] == b"0" and digits[1:2] in (b"x", b"X")
    if base == 0:
        octal_or_hex = digits[:1] == b"0"
        hex_digit = hexadecimal and digits[2:3] and digits[2] in _DIGITS
        base = (16 if hex_digit else 8) if octal_or_hex else 10
    return base, 2 if base == 16 and hexadecimal else 0


@helper("bpf_strtol")
def strtol(world: "World", buf: Ptr, size: U64, flags: U64, out: Ptr) -> int:
    """Store the signed number at `buf`; returns how many bytes it took."""
    raw = world.memory.read(buf, size)
    world.memory.store(out, 8, 0)
    found = parse(raw, flags)
    if isinstance(found, int):
        return found
    used, value, negative = found
    if value > (1 << 63) - (not negative):
        return -ERANGE
    world.memory.store(out, 8, -value if negative else value)
    return used


@helper("bpf_strtoul")
def strtoul(world: "World", buf: Ptr, size: U64, flags: U64, out: Ptr) -> int:
    """Store the unsigned number at `buf`; returns how many bytes it took."""
    raw = world.memory.read(buf, size)
    world.memory.store(out, 8, 0)
    found = parse(raw, flags)
    if isinstance(found, int):
        return found
    used, value, negative = found
    if negative:
        return -EINVAL
    world.memory.store(out, 8, value)
    return used


@helper("bpf_strncmp")
def strncmp(world: "World", s1: Ptr, size: U32, s2: Ptr) -> int:
    """-1, 0 or 1, comparing at most `size` bytes."""
    first = world.memory.read(s1, size)
    for at, one in enumerate(first):
        other = world.memory.load(s2 + at, 1)
        if one != other:
            return -1 if one < other else 1
        if not one:
            return 0
    return 0
