"""Little-endian numbers and the variable-length ones of DWARF, one behind the other."""

from typing import Final

ADDRESS: Final = 8  # bytes


def uleb(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a set top bit says that more come."""
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def sleb(value: int) -> bytes:
    """As `uleb`, with a sign: the last byte's bit 6."""
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        done = value == (-1 if low & 0x40 else 0)
        out.append(low | (0 if done else 0x80))
        if done:
            return bytes(out)


def number(value: int, size: int) -> bytes:
    """`size` bytes, unsigned or with sign as they come."""
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def address(value: int) -> bytes:
    """Eight bytes."""
    return number(value, ADDRESS)


def text(value: str) -> bytes:
    """UTF-8 and a zero; a zero inside of it would end it, and is left out."""
    return value.replace("\0", "").encode() + b"\0"


def unit(body: bytes) -> bytes:
    """A 32-bit length in front of `body`."""
    return number(len(body), 4) + body
