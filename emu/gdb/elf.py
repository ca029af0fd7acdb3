"""Writes an ELF file for x86-64 with sections and symbols at absolute addresses. Source: the System V ABI, chapters 4 and 5.

Knows nothing of programs and debug information. There are libraries that read such files and some that change them; for
one that is made from nothing, these tables are shorter than their use.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PROGBITS, SYMTAB, STRTAB, NOBITS = 1, 2, 3, 8
WRITE, ALLOC, EXEC = 1, 2, 4
OBJECT, FUNC, SECTION, FILE = 1, 2, 3, 4
_LOCAL, _GLOBAL = 0, 1
_ABSOLUTE: Final = 0xFFF1
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_EXECUTABLE, _X86_64, _LOAD = 2, 62, 1


@dataclass(frozen=True, slots=True)
class Section:
    """kind: PROGBITS or NOBITS. flags: of WRITE, ALLOC, EXEC. size: of one without content."""

    name: str
    content: bytes
    kind: int = PROGBITS
    flags: int = 0
    addr: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """kind: FUNC, OBJECT, SECTION or FILE. section: its name, "" for none. local: not seen from other files."""

    name: str
    addr: int = 0
    size: int = 0
    kind: int = FUNC
    section: str = ""
    local: bool = False


class _Strings:
    def __init__(self) -> None:
        self.bytes = bytearray(1)

    def add(self, text: str) -> int:
        at = len(self.bytes) if text else 0
        if text:
            self.bytes += text.replace("\0", "").encode() + b"\0"
        return at


def write(sections: Sequence[Section], symbols: Sequence[Symbol], entry: int) -> bytes:
    """The bytes of an executable that nobody executes: a debugger finds everything where it says."""
    order = {section.name: number for number, section in enumerate(sections, 1)}
    table, strings, first_global = _symbols(symbols, order)
    everything = [*sections, Section(".symtab", table, SYMTAB), Section(".strtab", strings, STRTAB)]
    names = _Strings()
    offsets = [names.add(section.name) for section in everything]
    last = names.add(".shstrtab")
    everything.append(Section(".shstrtab", bytes(names.bytes), STRTAB))
    offsets.append(last)
    loaded = [section for section in sections if section.flags & ALLOC and section.kind != NOBITS]
    at = _HEADER.size + _SEGMENT.size * len(loaded)
    body, headers, segments = bytearray(), [bytes(_SECTION.size)], b""
    for name, section in zip(offsets, everything, strict=True):
        body += bytes(-(at + len(body)) % 16)
        where = at + len(body)
        size = section.size if section.kind == NOBITS else len(section.content)
        link = len(everything) - 1 if section.kind == SYMTAB else 0
        info, entries = (first_global, _SYMBOL.size) if section.kind == SYMTAB else (0, 0)
        align = 16 if section.flags & ALLOC else 8 if section.kind == SYMTAB else 1
        headers.append(
            _SECTION.pack(
                name, section.kind, section.flags, section.addr, where, size, link, info, align, entries
            )
        )
        if section in loaded:
            rights = 4 | (1 if section.flags & EXEC else 0) | (2 if section.flags & WRITE else 0)
            segments += _SEGMENT.pack(_LOAD, rights, where, section.addr, section.addr, size, size, 16)
        body += section.content
    body += bytes(-(at + len(body)) % 8)
    header = _HEADER.pack(
        b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), _EXECUTABLE, _X86_64, 1, entry, _HEADER.size if loaded else 0,
        at + len(body), 0, _HEADER.size, _SEGMENT.size, len(loaded), _SECTION.size, len(headers), len(headers) - 1,
    )  # fmt: skip
    return header + segments + bytes(body) + b"".join(headers)


def _symbols(symbols: Sequence[Symbol], order: dict[str, int]) -> tuple[bytes, bytes, int]:
    """The table, its names, and the number of the first global symbol: local ones stand in front."""
    strings = _Strings()
    table = bytes(_SYMBOL.size)
    local = [one for one in symbols if one.local]
    for one in [*local, *(one for one in symbols if not one.local)]:
        info = (_LOCAL if one.local else _GLOBAL) << 4 | one.kind
        section = order.get(one.section, _ABSOLUTE)
        table += _SYMBOL.pack(strings.add(one.name), info, 0, section, one.addr, one.size)
    return table, bytes(strings.bytes), len(local) + 1
