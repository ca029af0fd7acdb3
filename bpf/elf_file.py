"""The ELF container: sections, symbols and relocations of a BPF object as values. Knows nothing of programs or maps.

The only importer of pyelftools, and the one place where what it raises on broken files becomes an InputError.
Every length in the file is checked against the file before anything is read, so hostile counts cost nothing.

Source: the ELF specification; BPF relocation types from LLVM's ELFRelocs/BPF.def.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile

from bpf.errors import InputError

R_BPF_NONE: Final = 0
R_BPF_64_64: Final = 1
R_BPF_64_ABS64: Final = 2
R_BPF_64_ABS32: Final = 3
R_BPF_64_NODYLD32: Final = 4
R_BPF_64_32: Final = 10
RELOCATION_TYPES: Final = frozenset(
    {R_BPF_NONE, R_BPF_64_64, R_BPF_64_ABS64, R_BPF_64_ABS32, R_BPF_64_NODYLD32, R_BPF_64_32}
)

SHT_PROGBITS: Final = 1
SHT_SYMTAB: Final = 2
SHT_STRTAB: Final = 3
SHT_RELA: Final = 4
SHT_NOBITS: Final = 8
SHT_REL: Final = 9
SHF_EXECINSTR: Final = 4
SHN_UNDEF: Final = 0
SHN_LORESERVE: Final = 0xFF00

LOCAL, GLOBAL, WEAK = 0, 1, 2
NOTYPE, OBJECT, FUNC, SECTION = 0, 1, 2, 3
_HIDDEN = (1, 2)  # STV_INTERNAL, STV_HIDDEN

_MAX_NAME = 4096
_MAX_BSS = 1 << 26
_SHDR_SIZE = 64
_SYM = struct.Struct("<IBBHQQ")
_REL = struct.Struct("<QQ")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Section:
    """A section. type, flags: numbers of the ELF header; data: its bytes, zeros for .bss."""

    index: int
    name: str
    type: int
    flags: int
    link: int
    info: int
    entsize: int
    data: bytes = field(repr=False)

    @property
    def executable(self) -> bool:
        """Whether it holds instructions."""
        return self.type == SHT_PROGBITS and bool(self.flags & SHF_EXECINSTR)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol. bind: LOCAL, GLOBAL or WEAK; type: NOTYPE, OBJECT, FUNC or SECTION; section: index, 0 = undefined.

    value, size: bytes, value within the section. A section symbol without a name gets the section's.
    """

    index: int
    name: str
    bind: int
    type: int
    hidden: bool
    section: int
    value: int
    size: int

    @property
    def is_extern(self) -> bool:
        """Whether the kernel has to provide it (libbpf's sym_is_extern)."""
        return self.section == SHN_UNDEF and self.bind != LOCAL and self.type == NOTYPE


@dataclass(frozen=True, slots=True)
class Relocation:
    """A relocation: at byte `offset` of the section it belongs to, against symbol number `symbol`."""

    offset: int
    type: int
    symbol: int


@dataclass(frozen=True, slots=True)
class ElfObject:
    """A relocatable BPF object. what: names it in errors. sections, symbols: by their index in the file.

    relocations: section index -> relocations in order of offset.
    """

    what: str
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: dict[int, tuple[Relocation, ...]]

    def find(self, name: str) -> Section | None:
        """The first section of this name."""
        return next((s for s in self.sections if s.name == name), None)


def read(blob: bytes, what: str) -> ElfObject:
    """Takes an ELF file apart. Raises InputError, one line, for all that is no sound 64-bit little-endian BPF object."""
    header, section_headers = _headers(blob, what)
    sections = _sections(blob, header, section_headers, what)
    symbols = _symbols(sections, what)
    return ElfObject(what, sections, symbols, _relocations(sections, symbols, what))


def _guard(what: str, where: str, call: Callable[[], T]) -> T:
    """Runs a call into pyelftools and turns whatever it raises into an InputError."""
    try:
        return call()
    except (
        ELFError,
        ConstructError,
        ValueError,
        struct.error,
        AssertionError,
        ArithmeticError,
        LookupError,
        TypeError,
        AttributeError,
        OSError,
        MemoryError,
    ) as error:
        raise InputError(what, where, f"broken ELF file ({type(error).__name__}: {error})") from error


def _headers(blob: bytes, what: str) -> tuple[Any, list[Any]]:
    """The ELF header and all section headers, as pyelftools' containers."""
    if blob[:4] != b"\x7fELF":
        raise InputError(what, "", "not an ELF file")
    if len(blob) < 64:
        raise InputError(what, "ELF header", f"truncated: {len(blob)} of 64 bytes")
    if blob[4] != 2:
        raise InputError(
            what,
            "ELF header",
            "a 32-bit ELF file, BPF objects have 64 bits" if blob[4] == 1 else f"unknown ELF class {blob[4]}",
        )
    if blob[5] == 2:
        big = int.from_bytes(blob[18:20], "big")
        raise InputError(
            what,
            "ELF header",
            "a big-endian BPF object, only little-endian ones are supported"
            if big == 247
            else "a big-endian ELF file for another machine",
        )
    if blob[5] != 1:
        raise InputError(what, "ELF header", f"unknown byte order {blob[5]}")
    count, size, start = (int.from_bytes(blob[a:b], "little") for a, b in ((60, 62), (58, 60), (40, 48)))
    if size != _SHDR_SIZE:
        raise InputError(what, "ELF header", f"section headers of {size} bytes, expected {_SHDR_SIZE}")
    if not count:
        raise InputError(what, "ELF header", "no section headers")
    if start + count * size > len(blob):
        raise InputError(
            what,
            "section headers",
            f"truncated: {count} headers at byte {start} reach past the end of the {len(blob)} bytes of the file",
        )
    elf = _guard(what, "ELF header", lambda: ELFFile(io.BytesIO(blob)))
    machine, kind = elf.header["e_machine"], elf.header["e_type"]
    if machine not in ("EM_BPF", "EM_NONE"):  # old compilers left the machine out
        raise InputError(what, "ELF header", f"made for another machine ({machine}), expected EM_BPF")
    if kind != "ET_REL":
        raise InputError(what, "ELF header", f"file type {kind}, expected ET_REL (a relocatable object)")
    return elf.header, [
        _guard(what, f"section header {i}", partial(_section_header, elf, start + i * size))
        for i in range(count)
    ]


def _section_header(elf: Any, at: int) -> Any:
    return struct_parse(elf.structs.Elf_Shdr, elf.stream, at)


def _sections(blob: bytes, header: Any, headers: list[Any], what: str) -> tuple[Section, ...]:
    names_at = header["e_shstrndx"]
    if not 0 < names_at < len(headers):
        raise InputError(what, "ELF header", f"section names are in section {names_at} of {len(headers)}")
    names = _bytes_of(blob, headers[names_at], what, f"section {names_at}")
    sections = []
    reserved = 0
    for index, h in enumerate(headers):
        where = f"section {index}"
        name = _text(names, h["sh_name"], what, where) if index else ""
        if name:
            where += f" ({name})"
        data = b""
        if _number(h["sh_type"]) == SHT_NOBITS:
            reserved += h["sh_size"]
            if reserved > _MAX_BSS:
                raise InputError(
                    what, where, f"{h['sh_size']} bytes of zeros are more than {_MAX_BSS} altogether"
                )
            data = bytes(h["sh_size"])
        elif index:
            data = _bytes_of(blob, h, what, where)
        sections.append(
            Section(
                index,
                name,
                _number(h["sh_type"]),
                h["sh_flags"],
                h["sh_link"],
                h["sh_info"],
                h["sh_entsize"],
                data,
            )
        )
    return tuple(sections)


# pyelftools gives known section types by name
_TYPE_NUMBERS = {
    "SHT_NULL": 0,
    "SHT_PROGBITS": 1,
    "SHT_SYMTAB": 2,
    "SHT_STRTAB": 3,
    "SHT_RELA": 4,
    "SHT_NOBITS": 8,
    "SHT_REL": 9,
}


def _number(kind: str | int) -> int:
    return kind if isinstance(kind, int) else _TYPE_NUMBERS.get(kind, -1)


def _bytes_of(blob: bytes, header: Any, what: str, where: str) -> bytes:
    start, size = header["sh_offset"], header["sh_size"]
    if _number(header["sh_type"]) in (0, SHT_NOBITS):
        return b""
    if start + size > len(blob):
        raise InputError(
            what,
            where,
            f"truncated: bytes {start}..{start + size} reach past the end of the {len(blob)} bytes of the file",
        )
    return blob[start : start + size]


def _text(strings: bytes, at: int, what: str, where: str) -> str:
    end = strings.find(b"\0", at, at + _MAX_NAME)
    if at >= len(strings) or end < 0:
        raise InputError(
            what,
            where,
            f"its name at byte {at} is not within the {len(strings)} bytes of strings, or has no end",
        )
    return strings[at:end].decode("utf-8", "backslashreplace")


def _symbols(sections: tuple[Section, ...], what: str) -> tuple[Symbol, ...]:
    tables = [s for s in sections if s.type == SHT_SYMTAB]
    if not tables:
        raise InputError(what, "", "no symbol table; was the object stripped?")
    if len(tables) > 1:
        raise InputError(what, f"section {tables[1].index}", "a second symbol table")
    (table,) = tables
    if table.entsize != _SYM.size or len(table.data) % _SYM.size:
        raise InputError(
            what,
            f"section {table.name}",
            f"{len(table.data)} bytes in records of {table.entsize}, expected records of {_SYM.size}",
        )
    if not 0 < table.link < len(sections) or sections[table.link].type != SHT_STRTAB:
        raise InputError(what, f"section {table.name}", f"section {table.link} holds no symbol names")
    strings = sections[table.link].data
    symbols = []
    for index, (name_at, info, other, section, value, size) in enumerate(_SYM.iter_unpack(table.data)):
        name = _text(strings, name_at, what, f"symbol {index}") if name_at else ""
        if section < SHN_LORESERVE and section >= len(sections):
            raise InputError(
                what, f"symbol {index} ({name})", f"it lies in section {section}, of {len(sections)}"
            )
        if not name and info & 15 == SECTION and section < len(sections):
            name = sections[section].name
        symbols.append(Symbol(index, name, info >> 4, info & 15, other & 3 in _HIDDEN, section, value, size))
    return tuple(symbols)


def _is_debug(name: str) -> bool:
    """Sections whose relocations no loader applies, so that their own readers say what is wrong with them."""
    return name in (".BTF", ".BTF.ext") or name.startswith(".debug")


def _relocations(
    sections: tuple[Section, ...], symbols: tuple[Symbol, ...], what: str
) -> dict[int, tuple[Relocation, ...]]:
    out: dict[int, list[Relocation]] = {}
    for section in sections:
        if section.type == SHT_RELA:
            raise InputError(
                what, f"section {section.name}", "relocations with addends (RELA) do not occur in BPF objects"
            )
        if section.type != SHT_REL:
            continue
        where = f"section {section.name}"
        if section.entsize != _REL.size or len(section.data) % _REL.size:
            raise InputError(
                what,
                where,
                f"{len(section.data)} bytes in records of {section.entsize}, expected records of {_REL.size}",
            )
        if not 0 < section.info < len(sections):
            raise InputError(what, where, f"it relocates section {section.info}, of {len(sections)}")
        target = sections[section.info]
        found = out.setdefault(target.index, [])
        for number, (offset, info) in enumerate(_REL.iter_unpack(section.data)):
            place = f"{where}, relocation {number}"
            if info & 0xFFFFFFFF not in RELOCATION_TYPES:
                raise InputError(what, place, f"unknown relocation type {info & 0xFFFFFFFF}")
            if info >> 32 >= len(symbols):
                raise InputError(what, place, f"symbol {info >> 32} does not exist, there are {len(symbols)}")
            if offset >= len(target.data) and not _is_debug(target.name):
                raise InputError(
                    what,
                    place,
                    f"offset {offset} is past the end of the {len(target.data)} bytes of section {target.name}",
                )
            found.append(Relocation(offset, info & 0xFFFFFFFF, info >> 32))
    return {index: tuple(sorted(found, key=lambda r: r.offset)) for index, found in out.items()}
