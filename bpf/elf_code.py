"""The functions of an object file: code, symbols and relocations cut at the functions' borders.

Knows what a function is in the file, not what its references mean (link does).
Source: libbpf 1.7 bpf_object__add_programs, bpf_object__collect_prog_relos.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bpf import isa
from bpf.btf_ext import CoreRecord
from bpf.codec import decode
from bpf.elf_file import FUNC, R_BPF_64_32, R_BPF_64_64, R_BPF_NONE, ElfObject, Relocation, Section
from bpf.errors import InputError
from bpf.insn import Insn


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the file. section: index; start: index of its first instruction there; insns: as in the file.

    relocations: by instruction index within the function. cores: CO-RE relocations, likewise.
    """

    name: str
    section: int
    start: int
    insns: tuple[Insn, ...] = field(repr=False)
    exported: bool = True
    hidden: bool = False
    relocations: Mapping[int, Relocation] = field(default_factory=dict, repr=False)
    cores: tuple[tuple[int, CoreRecord], ...] = field(default=(), repr=False)


def functions_of(elf: ElfObject, cores: Mapping[int, Sequence[CoreRecord]]) -> tuple[Function, ...]:
    """All functions of the executable sections, by section and place. cores: CO-RE relocations by section index.

    Raises InputError for symbols and relocations that do not fit their section.
    """
    code = {
        s.index: decode(s.data, f"{elf.what}: section {s.name}")
        for s in elf.sections
        if s.executable and s.data
    }
    symbols = sorted(
        (s for s in elf.symbols if s.type == FUNC and s.section in code), key=lambda s: (s.section, s.value)
    )
    found: list[Function] = []
    for symbol in symbols:
        section = elf.sections[symbol.section]
        where = f"section {section.name}, function {symbol.name}"
        if symbol.value % isa.INSN_SIZE or symbol.size % isa.INSN_SIZE or not symbol.size:
            raise InputError(
                elf.what, where, f"its {symbol.size} bytes at byte {symbol.value} are no whole instructions"
            )
        if symbol.value + symbol.size > len(section.data):
            raise InputError(
                elf.what,
                where,
                f"bytes {symbol.value}..{symbol.value + symbol.size} reach past the end of the {len(section.data)} bytes of its section",
            )
        start, end = symbol.value // isa.INSN_SIZE, (symbol.value + symbol.size) // isa.INSN_SIZE
        if found and found[-1].section == section.index and start < found[-1].start + len(found[-1].insns):
            raise InputError(elf.what, where, f"it overlaps function {found[-1].name}")
        relocations = _within(elf, section, code[section.index], start, end)
        own_cores = _cores_within(cores.get(section.index, ()), start, end)
        found.append(
            Function(
                symbol.name,
                section.index,
                start,
                code[section.index][start:end],
                symbol.bind != 0,
                symbol.hidden,
                relocations,
                own_cores,
            )
        )
    return tuple(found)


def _within(
    elf: ElfObject, section: Section, code: tuple[Insn, ...], start: int, end: int
) -> dict[int, Relocation]:
    every = elf.relocations.get(section.index, ())
    first = bisect_right(every, start * isa.INSN_SIZE - 1, key=lambda r: r.offset)
    out: dict[int, Relocation] = {}
    for relocation in every[first : bisect_right(every, end * isa.INSN_SIZE - 1, key=lambda r: r.offset)]:
        if relocation.type == R_BPF_NONE:
            continue
        at, rest = divmod(relocation.offset, isa.INSN_SIZE)
        insn = code[at]
        name = elf.symbols[relocation.symbol].name
        where = f"section {section.name}, insn {at}"
        fits = (relocation.type == R_BPF_64_64 and insn.code == isa.LD_IMM64) or (
            relocation.type == R_BPF_64_32 and insn.is_call
        )
        if rest or not fits:
            raise InputError(
                elf.what,
                where,
                f"a relocation of type {relocation.type} against {name!r} does not fit opcode {insn.code:#04x}",
            )
        if insn.code == isa.LD_IMM64 and at + 1 >= end:
            raise InputError(elf.what, where, "the second half of an ld_imm64 is missing")
        out[at - start] = relocation
    return out


def _cores_within(records: Sequence[CoreRecord], start: int, end: int) -> tuple[tuple[int, CoreRecord], ...]:
    """`records` must be in order of their offset."""
    first, last = (
        bisect_right(records, at * isa.INSN_SIZE - 1, key=lambda r: r.offset) for at in (start, end)
    )
    return tuple((r.offset // isa.INSN_SIZE - start, r) for r in records[first:last])
