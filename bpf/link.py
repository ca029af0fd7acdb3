"""Links a program: its function, the functions that it calls behind it, and every reference resolved.

      section "tc"          section ".text"              the program
      +------+              +---+---+---+                +------+---+---+
      | main | --calls b--> | a | b | c |      ==>       | main | b | c |
      +------+              +---+---+---+                +------+---+---+

A function is appended when the first call of it is met, and what it calls right behind it, depth first: the order
in which libbpf does it, and so the order of functions that the kernel sees.

Knows functions, symbols and relocations; neither files (elf_file) nor what maps are (elf_maps).
Source: libbpf 1.7 bpf_object__reloc_code, bpf_program__record_reloc, bpf_object__relocate_data.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bpf import isa
from bpf.btf_ext import CoreKind
from bpf.elf_code import Function
from bpf.elf_file import (
    FUNC,
    SECTION,
    ElfObject,
    Symbol,
)
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from bpf.link_tables import JUMPTABLES, ArenaData, JumpTables
from bpf.maps import MapSpec
from bpf.program import KfuncRef

# what libbpf puts in the place of a call that can't be resolved but may never be reached
POISON_KFUNC = 2_002_000_000
_FLAVOUR = re.compile(r"^(.*[^_])___[^_].*$", re.DOTALL)
_MAX_LINKED = 1 << 22
_CORE_NAMES = {kind.value: kind.name.lower() for kind in CoreKind}


class UnsupportedError(InputError):
    """The object is sound, but this program needs something of libbpf that is not done here."""


@dataclass(frozen=True, slots=True)
class Extern:
    """Something that the kernel provides. kind: "kfunc", "variable", "address" (a variable without type) or "kconfig".

    index: its place in libbpf's list of externs.
    """

    name: str
    kind: str
    weak: bool
    index: int


@dataclass(frozen=True, slots=True)
class Linked:
    """A linked program. functions: each with the index of its first instruction in `insns`, the main one first.

    tables: maps of its own, behind those of the object: jump tables.
    """

    insns: tuple[Insn, ...]
    functions: tuple[tuple[Function, int], ...]
    kfuncs: tuple[KfuncRef, ...]
    tables: tuple[MapSpec, ...] = ()


class Linker:
    """Links the programs of one object.

    map_at: (section, offset) of a map -> its index; data_at: section of global data -> index of its map. maps: all of
    the object's.
    """

    def __init__(
        self,
        elf: ElfObject,
        functions: Sequence[Function],
        externs: Mapping[str, Extern],
        map_at: Mapping[tuple[int, int], int],
        data_at: Mapping[int, int],
        maps: Sequence[MapSpec] = (),
        *,
        trust_layout: bool = False,
    ) -> None:
        self._elf = elf
        self._functions = functions
        self._externs = externs
        self._map_at = map_at
        self._data_at = data_at
        self._map_cnt = len(maps)
        self._arena = ArenaData.of(elf, maps)
        self._trust_layout = trust_layout
        self._total = 0
        self._known: dict[tuple[int, int], list[int]] = {}

    def link(self, main: Function, also: Sequence[Function] = ()) -> Linked:
        """The program that starts with `main`. also: functions that nothing calls but that belong to it (exception callbacks).

        Raises InputError where libbpf gives up, UnsupportedError where it would go on but we do not.
        """
        insns: list[Insn] = []
        base: dict[tuple[int, int], int] = {}
        order: list[tuple[Function, int]] = []
        kfuncs: list[KfuncRef] = []
        for root in (main, *also):
            if (root.section, root.start) in base:
                continue
            self._append(root, insns, base, order)
            pending = [(root, iter(self._references(root)))]
            while pending:
                function, references = pending[-1]
                step = next(references, None)
                if step is None:
                    pending.pop()
                    continue
                callee = self._callee(function, step)
                if callee is not None and (callee.section, callee.start) not in base:
                    self._append(callee, insns, base, order)
                    pending.append((callee, iter(self._references(callee))))
        self._tables = JumpTables(self._elf, self._map_cnt)
        for function, at in order:
            self._check_loads(function)
            self._resolve(function, at, insns, base, kfuncs)
        kfuncs.sort(key=lambda k: k.insn)
        return Linked(tuple(insns), tuple(order), tuple(kfuncs), self._tables.maps)

    def _check_loads(self, function: Function) -> None:
        """A load of a map without a relocation names a file descriptor, which a file cannot know."""
        for at, insn in enumerate(function.insns):
            loads_map = insn.code == isa.LD_IMM64 and insn.src in (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_VALUE)
            if loads_map and at not in function.relocations:
                raise UnsupportedError(
                    self._elf.what,
                    self._where(function, at),
                    f"it loads a map by file descriptor {insn.imm}; only relocations name maps here",
                )

    def _append(
        self,
        function: Function,
        insns: list[Insn],
        base: dict[tuple[int, int], int],
        order: list[tuple[Function, int]],
    ) -> None:
        self._total += len(function.insns)
        if self._total > _MAX_LINKED:
            raise InputError(
                self._elf.what,
                f"function {function.name}",
                f"all programs together have more than {_MAX_LINKED} instructions",
            )
        base[function.section, function.start] = len(insns)
        order.append((function, len(insns)))
        insns += function.insns

    def _references(self, function: Function) -> list[int]:
        """Instructions that name something, in order; found once for each function, which many programs may share."""
        key = (function.section, function.start)
        known = self._known.get(key)
        if known is not None:
            return known
        calls = {
            i
            for i, insn in enumerate(function.insns)
            if insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL
        }
        self._known[key] = sorted(calls | function.relocations.keys())
        return self._known[key]

    def _where(self, function: Function, at: int) -> str:
        return f"function {function.name}, insn {at}"

    def _symbol(self, function: Function, at: int) -> Symbol | None:
        relocation = function.relocations.get(at)
        return self._elf.symbols[relocation.symbol] if relocation else None

    def _callee(self, function: Function, at: int) -> Function | None:
        """The function of this object that the instruction names, None when it names something else."""
        insn, symbol = function.insns[at], self._symbol(function, at)
        if symbol is not None and symbol.is_extern:
            return None
        if insn.is_call:
            if insn.src != isa.PSEUDO_CALL:
                raise InputError(
                    self._elf.what,
                    self._where(function, at),
                    f"a relocation against {symbol.name if symbol else ''!r} on a call of a helper",
                )
            if symbol is None:
                return self._function_at(
                    function.section, function.start + at + insn.imm + 1, function, at, ""
                )
            self._check_defined(symbol, function, at)
            return self._function_at(
                symbol.section, symbol.value // isa.INSN_SIZE + insn.imm + 1, function, at, symbol.name
            )
        assert symbol is not None
        if (
            symbol.type not in (FUNC, SECTION)
            or not 0 < symbol.section < len(self._elf.sections)
            or not self._elf.sections[symbol.section].executable
        ):
            return None
        offset = symbol.value + insn.imm
        if offset % isa.INSN_SIZE:
            raise InputError(
                self._elf.what,
                self._where(function, at),
                f"byte {offset} of {symbol.name!r} is no instruction",
            )
        return self._function_at(symbol.section, offset // isa.INSN_SIZE, function, at, symbol.name)

    def _check_defined(self, symbol: Symbol, function: Function, at: int) -> None:
        if not 0 < symbol.section < len(self._elf.sections):
            raise InputError(
                self._elf.what,
                self._where(function, at),
                f"function {symbol.name!r} is not defined in this object",
            )
        if symbol.value % isa.INSN_SIZE:
            raise InputError(
                self._elf.what,
                self._where(function, at),
                f"byte {symbol.value} of {symbol.name!r} is no instruction",
            )

    def _function_at(self, section: int, start: int, function: Function, at: int, name: str) -> Function:
        found = bisect_right(self._functions, (section, start), key=lambda f: (f.section, f.start)) - 1
        target = self._functions[found] if found >= 0 else None
        if target is None or (target.section, target.start) != (section, start):
            place = f"instruction {start} of section {self._elf.sections[section].name}"
            raise InputError(
                self._elf.what,
                self._where(function, at),
                f"it refers to {place}{f' by {name!r}' if name else ''}, where no function begins",
            )
        return target

    def _resolve(
        self,
        function: Function,
        base_at: int,
        insns: list[Insn],
        base: Mapping[tuple[int, int], int],
        kfuncs: list[KfuncRef],
    ) -> None:
        """Writes the final form of all references of one function."""
        for at in self._references(function):
            here = base_at + at
            insn = insns[here]
            callee = self._callee(function, at)
            if callee is not None:
                distance = base[callee.section, callee.start] - here - 1
                insns[here] = (
                    replace(insn, imm=distance)
                    if insn.is_call
                    else replace(insn, src=isa.PSEUDO_FUNC, imm=distance)
                )
                continue
            symbol = self._symbol(function, at)
            assert symbol is not None
            if symbol.is_extern:
                self._resolve_extern(function, at, here, symbol, insns, kfuncs)
            else:
                self._resolve_data(function, at, base_at, symbol, insns)
        self._resolve_cores(function, base_at, insns)

    def _resolve_extern(
        self,
        function: Function,
        at: int,
        here: int,
        symbol: Symbol,
        insns: list[Insn],
        kfuncs: list[KfuncRef],
    ) -> None:
        where = self._where(function, at)
        extern = self._externs.get(symbol.name)
        insn = insns[here]
        if extern is None:
            kind = "function" if insn.is_call else "variable or map"
            raise InputError(
                self._elf.what,
                where,
                f"undefined {kind} {symbol.name!r}: no BTF says that the kernel provides it",
            )
        if insn.is_call:
            if extern.kind != "kfunc":
                raise InputError(self._elf.what, where, f"a call of the variable {extern.name!r}")
            flavour = _FLAVOUR.match(extern.name)
            name = flavour[1] if flavour else extern.name
            known = KFUNCS.get(name)
            if extern.weak and known is None:
                # Rejected only if the verifier gets here ("invalid func unknown#2002000003").
                insns[here] = Insn(isa.OP_CALL, imm=POISON_KFUNC + extern.index)
                return
            insns[here] = replace(insn, src=isa.PSEUDO_KFUNC_CALL, off=0, imm=0)
            kfuncs.append(KfuncRef(here, name, known.module if known else ""))
        elif extern.weak and extern.kind != "kconfig":
            insns[here], insns[here + 1] = replace(insn, src=0, imm=0), replace(insns[here + 1], imm=0)
        else:
            what = "kconfig variable" if extern.kind == "kconfig" else "kernel symbol"
            raise UnsupportedError(
                self._elf.what,
                where,
                f"{what} {extern.name!r}: only kernel functions and weak symbols are supported as externs",
            )

    def _resolve_data(
        self, function: Function, at: int, base_at: int, symbol: Symbol, insns: list[Insn]
    ) -> None:
        here, where = base_at + at, self._where(function, at)
        if not 0 < symbol.section < len(self._elf.sections):
            raise InputError(
                self._elf.what,
                where,
                f"{symbol.name!r} has no section; a map or variable that is defined nowhere?",
            )
        insn, section = insns[here], self._elf.sections[symbol.section]
        index = self._data_at.get(symbol.section)
        if index is not None:
            offset = insn.imm + symbol.value
            if not isa.S32_MIN <= offset < -isa.S32_MIN:
                raise InputError(
                    self._elf.what, where, f"offset {offset} in section {section.name} does not fit 32 bits"
                )
            insns[here], insns[here + 1] = (
                replace(insn, src=isa.PSEUDO_MAP_VALUE, imm=index),
                replace(insns[here + 1], imm=offset),
            )
            return
        index = self._map_at.get((symbol.section, symbol.value))
        if index is not None:
            insns[here] = replace(insn, src=isa.PSEUDO_MAP_FD, imm=index)
        elif section.name == JUMPTABLES:
            index = self._tables.index(symbol, function.start, base_at, where)
            insns[here] = replace(insn, src=isa.PSEUDO_MAP_VALUE, imm=index)
        elif self._arena is not None and symbol.section == self._arena.section:
            offset = isa.sext(insn.imm + symbol.value + self._arena.base, 32)
            insns[here] = replace(insn, src=isa.PSEUDO_MAP_VALUE, imm=self._arena.index)
            insns[here + 1] = replace(insns[here + 1], imm=offset)
        else:
            raise InputError(
                self._elf.what,
                where,
                f"{symbol.name!r} in section {section.name} is neither a map nor global data nor a function",
            )

    def _resolve_cores(self, function: Function, base_at: int, insns: list[Insn]) -> None:
        for at, record in function.cores:
            here = base_at + at
            if record.kind == CoreKind.TYPE_ID_LOCAL:
                insns[here] = replace(insns[here], imm=isa.sext(record.type_id, 32))
            elif not self._trust_layout:
                kind = _CORE_NAMES.get(record.kind, f"kind {record.kind}")
                raise UnsupportedError(
                    self._elf.what,
                    self._where(function, at),
                    f"a CO-RE relocation ({kind}) needs the kernel's BTF, which is not supported",
                )
