"""Native code in an ELF file: functions by symbol, calls and addresses by relocation or by the symbol at an address.

Objects (ET_REL) keep their relocations; in executables and shared libraries a call reaches the address of a symbol, maybe
by way of the procedure linkage table. Accesses through the global offset table become what a linker makes of them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from bpf.errors import InputError
from emu.against.code import Foreign, Listing, Ref, RefKind

_EXEC: Final = 4  # SHF_EXECINSTR
_R_64, _R_PC32, _R_PLT32, _R_32, _R_32S = 1, 2, 4, 10, 11
_GOT: Final = (9, 41, 42)  # R_X86_64_GOTPCREL, GOTPCRELX, REX_GOTPCRELX
_SLOTS: Final = (6, 7)  # R_X86_64_GLOB_DAT, JUMP_SLOT
_STEP: Final = 1 << 32  # between the sections of an object, which have no addresses yet
_MOST: Final = 1 << 16  # symbols and relocations
_ABSOLUTE: Final = {_R_64: 8, _R_32: 4, _R_32S: 4}


@dataclass(slots=True)
class _Symbol:
    name: str
    addr: int
    size: int
    code: bool


@dataclass(slots=True)
class _File:
    """What is needed of a file. code: bytes of executable sections by address; symbols: defined ones."""

    elf: Any
    name: str
    is_object: bool
    code: dict[int, bytes] = field(default_factory=dict)
    symbols: list[_Symbol] = field(default_factory=list)
    refs: dict[int, Ref] = field(default_factory=dict)  # by the address of the field
    slots: dict[int, str] = field(default_factory=dict)  # entries of the global offset table
    patches: dict[int, bytes] = field(default_factory=dict)

    def base(self, number: int) -> int:
        """Address of a section."""
        addr = int(self.elf.get_section(number)["sh_addr"])
        return _STEP * (number + 1) if self.is_object else addr


def read(file: str, data: bytes) -> Listing:
    """All functions of a file with their references. Raises InputError."""
    try:
        elf: Any = ELFFile(BytesIO(data))
        if elf["e_machine"] != "EM_X86_64":
            raise InputError(file, "", f"is no x86-64 ELF file ({elf['e_machine']})")
        if elf["e_type"] not in ("ET_REL", "ET_EXEC", "ET_DYN"):
            raise InputError(file, "", f"is no object and no executable ({elf['e_type']})")
        found = _File(elf, file, elf["e_type"] == "ET_REL")
        _sections(found)
        _symbols(found)
        _relocations(found)
        functions = tuple(_functions(found))
    except (
        ELFError,
        struct.error,
        UnicodeDecodeError,
        ValueError,
        KeyError,
        AssertionError,
        OverflowError,
    ) as error:
        raise InputError(file, "", f"is a damaged ELF file: {str(error) or type(error).__name__}") from None
    if not functions:
        raise InputError(file, "", "has no function symbols in executable sections")
    names = {one.addr: one.name for one in found.symbols if one.code}
    names |= dict(_linkage(found))
    return Listing("ELF", functions, names)


def _sections(found: _File) -> None:
    for number, section in enumerate(found.elf.iter_sections()):
        if section["sh_flags"] & _EXEC and section["sh_type"] == "SHT_PROGBITS":
            found.code[found.base(number)] = section.data()


def _symbols(found: _File) -> None:
    seen = set()
    for section in found.elf.iter_sections():
        if not isinstance(section, SymbolTableSection):
            continue
        if section.num_symbols() > _MOST:
            raise InputError(found.name, "", f"has more than {_MOST} symbols")
        for symbol in section.iter_symbols():
            number = symbol["st_shndx"]
            kind = symbol["st_info"]["type"]
            if not isinstance(number, int) or kind not in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE"):
                continue
            addr = symbol["st_value"] + (found.base(number) if found.is_object else 0)
            code = _at(found, addr) is not None
            if symbol.name and (addr, symbol.name) not in seen:
                seen.add((addr, symbol.name))
                found.symbols.append(
                    _Symbol(symbol.name, addr, symbol["st_size"], code and kind != "STT_OBJECT")
                )


def _at(found: _File, addr: int) -> tuple[int, bytes] | None:
    """The executable section that holds an address: where it starts, and its bytes."""
    for base, code in found.code.items():
        if base <= addr < base + len(code):
            return base, code
    return None


def _relocations(found: _File) -> None:
    for section in found.elf.iter_sections():
        if not isinstance(section, RelocationSection):
            continue
        if section.num_relocations() > _MOST:
            raise InputError(found.name, "", f"has more than {_MOST} relocations")
        table = found.elf.get_section(section["sh_link"])
        base = found.base(section["sh_info"]) if found.is_object else 0
        for one in section.iter_relocations():
            if not isinstance(table, SymbolTableSection):
                continue
            kind, at = one["r_info_type"], base + one["r_offset"]
            name, addend = _referred(found, table.get_symbol(one["r_info_sym"]), one)
            if kind in _SLOTS:
                found.slots[at] = name
            elif _at(found, at) is not None and found.is_object:
                _relocation(found, kind, at, name, addend)


def _referred(found: _File, symbol: Any, one: Any) -> tuple[str, int]:
    """The symbol of a relocation and what is added; a section becomes the symbol that lies there."""
    addend = one["r_addend"] if one.is_RELA() else 0
    if symbol["st_info"]["type"] != "STT_SECTION":
        return symbol.name, addend
    number = symbol["st_shndx"]
    relative = one["r_info_type"] not in _ABSOLUTE
    at = found.base(number) + addend + (4 if relative else 0)
    inside = [one for one in found.symbols if one.addr <= at < one.addr + max(one.size, 1)]
    if inside:
        return inside[0].name, addend - (inside[0].addr - found.base(number))
    return str(found.elf.get_section(number).name), addend


def _relocation(found: _File, kind: int, at: int, name: str, addend: int) -> None:
    place = _at(found, at)
    assert place is not None
    base, code = place
    before = code[at - base - 2 : at - base] if at - base >= 2 else b""
    if kind in _ABSOLUTE:
        found.refs[at] = Ref(at, _ABSOLUTE[kind], "symbol", name, addend)
    elif kind in (_R_PC32, _R_PLT32):
        found.refs[at] = Ref(at, 4, _relative(before), name, addend + 4)
    elif kind in _GOT and before == b"\xff\x15":  # call through the table: addr32 call
        found.patches[at - 2] = b"\x67\xe8"
        found.refs[at] = Ref(at, 4, "call", name, addend + 4)
    elif kind in _GOT and before == b"\xff\x25":  # jump through the table: jmp; nop
        found.patches[at - 2] = b"\xe9"
        found.patches[at + 3] = b"\x90"
        found.refs[at - 1] = Ref(at - 1, 4, "jump", name, addend + 4)
    elif kind in _GOT and before[:1] == b"\x8b":  # mov from the table: lea
        found.patches[at - 2] = b"\x8d"
        found.refs[at] = Ref(at, 4, "rel", name, addend + 4)
    else:
        raise InputError(found.name, f"{name or 'a section'}", f"relocation of type {kind} is not supported")


def _relative(before: bytes) -> RefKind:
    if before[-1:] == b"\xe8":
        return "call"
    conditional = len(before) == 2 and before[0] == 0x0F and before[1] & 0xF0 == 0x80
    return "jump" if before[-1:] == b"\xe9" or conditional else "rel"


def _linkage(found: _File) -> Iterator[tuple[int, str]]:
    """(address, name) of the entries of a procedure linkage table: jumps through the global offset table."""
    if not found.slots:
        return
    for base, code in found.code.items():
        at = code.find(b"\xff\x25")
        while 0 <= at <= len(code) - 6:
            slot = base + at + 6 + int.from_bytes(code[at + 2 : at + 6], "little", signed=True)
            if slot in found.slots:
                for lead in (b"\xf3\x0f\x1e\xfa\xf2", b"\xf3\x0f\x1e\xfa", b"\xf2", b""):
                    if code[at - len(lead) : at] == lead and at >= len(lead):
                        yield base + at - len(lead), found.slots[slot]
                        break
            at = code.find(b"\xff\x25", at + 1)


def _functions(found: _File) -> Iterator[Foreign]:
    """Functions in the order of their addresses; of aliases the first."""
    starts = sorted({one.addr for one in found.symbols if one.code})
    first: dict[int, _Symbol] = {}
    for one in found.symbols:
        if one.code:
            first.setdefault(one.addr, one)
    for number, addr in enumerate(starts):
        place = _at(found, addr)
        assert place is not None
        base, section = place
        end = base + len(section)
        following = starts[number + 1] if number + 1 < len(starts) else end
        size = first[addr].size or min(following, end) - addr
        code = bytearray(section[addr - base : addr - base + size])
        for at, patch in found.patches.items():
            if addr <= at < addr + len(code):
                code[at - addr : at - addr + len(patch)] = patch
        refs = tuple(
            Ref(ref.off - addr, ref.size, ref.kind, ref.name, ref.addend)
            for ref in found.refs.values()
            if addr <= ref.off <= addr + len(code) - ref.size
        )
        if code:
            yield Foreign(first[addr].name, bytes(code), addr, None, refs, (), found.is_object)
