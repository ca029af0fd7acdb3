"""Entries of .debug_info, one behind the other, with their abbreviations. Source: DWARF 4, section 7.5.

An entry may refer to one that comes later: it names it by a key, and its place is filled in at the end.
"""

from collections.abc import Hashable
from typing import Final

from emu.gdb import wire

ADDR, DATA2, DATA8, STRING, SDATA, UDATA, REF4, SEC_OFFSET, EXPRLOC, FLAG = (
    0x01, 0x05, 0x07, 0x08, 0x0D, 0x0F, 0x13, 0x17, 0x18, 0x19,
)  # fmt: skip
NAME, TYPE, BYTE_SIZE, DECLARATION = 0x03, 0x49, 0x0B, 0x3C
_HEADER: Final = 11  # bytes in front of the first entry

Attribute = tuple[int, int, bytes | Hashable]  # name, form, value; of REF4 the key of the entry that is meant


class Entries:
    """The entries of one unit."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._shapes: dict[tuple[int, bool, tuple[tuple[int, int], ...]], int] = {}
        self._places: dict[Hashable, int] = {}
        self._open: list[tuple[int, Hashable]] = []

    def add(
        self, tag: int, *attributes: Attribute, children: bool = False, key: Hashable | None = None
    ) -> None:
        """Append an entry. key: by which others refer to it. With children they follow, then `end`."""
        if key is not None:
            self._places[key] = _HEADER + len(self._out)
        shape = (tag, children, tuple((name, form) for name, form, _ in attributes))
        self._out += wire.uleb(self._shapes.setdefault(shape, len(self._shapes) + 1))
        for _, form, value in attributes:
            if form == REF4:
                self._open.append((len(self._out), value))
                self._out += bytes(4)
            else:
                assert isinstance(value, bytes)
                self._out += value

    def end(self) -> None:
        """No more children."""
        self._out.append(0)

    def sections(self) -> tuple[bytes, bytes]:
        """.debug_info and .debug_abbrev; all that was referred to must be there."""
        for at, key in self._open:
            self._out[at : at + 4] = wire.number(self._places[key], 4)
        table = b""
        for (tag, children, shape), code in self._shapes.items():
            table += wire.uleb(code) + wire.uleb(tag) + bytes((children,))
            table += b"".join(wire.uleb(name) + wire.uleb(form) for name, form in shape) + b"\0\0"
        header = wire.number(4, 2) + wire.number(0, 4) + bytes((wire.ADDRESS,))
        return wire.unit(header + bytes(self._out)), table + b"\0"


def named(name: str) -> list[Attribute]:
    """DW_AT_name, nothing for an anonymous entry."""
    return [(NAME, STRING, wire.text(name))] if name else []


def block(data: bytes) -> bytes:
    """The value of an EXPRLOC."""
    return wire.uleb(len(data)) + data
