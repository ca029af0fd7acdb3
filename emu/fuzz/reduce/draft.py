"""A program that can be cut: instructions refer to each other by keys, not by distances.

`Draft.of` takes a program apart, `Draft.program_or_none` puts it together again, with jumps, calls, functions and kfuncs where
they now belong. Knows the layout of programs; what an instruction does is told by bpf.opcodes alone.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Self

from bpf import exceptions, isa
from bpf.btf import Btf
from bpf.btf_plain import Plain, lock_of, plain
from bpf.btf_types import EXTERN, GLOBAL
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.maps import MapSpec
from bpf.program import FuncInfo, KfuncRef, LineInfo, Program
from bpf.proto import CType, FuncProto

_Types = tuple[tuple[FuncInfo, ...], Btf | None, tuple[MapSpec, ...]]
_CONDITIONAL = frozenset(range(isa.JEQ, isa.JSGE + 1, 0x10)) | {isa.JLT, isa.JLE, isa.JSLT, isa.JSLE}


@dataclass(frozen=True, slots=True)
class Item:
    """One instruction, of two slots where it is `wide`.

    key: its place in the order; it stays what it is when others go. insn: its first slot; a distance in it is 0 where
    `target` holds the key of what it refers to instead. high: upper half of a wide one. kfunc: (name, module).
    """

    key: int
    insn: Insn
    wide: bool = False
    high: int = 0
    target: int | None = None
    kfunc: tuple[str, str] | None = None

    @property
    def slots(self) -> int:
        """1 or 2."""
        return 2 if self.wide else 1

    @property
    def branches(self) -> bool:
        """Whether it is a jump, with a condition or without."""
        return is_branch(self.insn)

    @property
    def falls(self) -> bool:
        """Whether the next instruction may come after it."""
        return self.insn.code not in (isa.OP_EXIT, isa.OP_JA, isa.OP_GOTOL, isa.OP_GOTOX)

    @property
    def calls_function(self) -> bool:
        """Whether it calls a function of the program."""
        return self.insn.code == isa.OP_CALL and self.insn.src == isa.PSEUDO_CALL

    @property
    def takes_function(self) -> bool:
        """Whether it takes the address of a function of the program."""
        return self.insn.code == isa.LD_IMM64 and self.insn.src == isa.PSEUDO_FUNC

    @property
    def map_index(self) -> int | None:
        """The map that it refers to."""
        if self.insn.code == isa.LD_IMM64 and self.insn.src in (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_VALUE):
            return self.insn.imm
        return None


@dataclass(frozen=True, slots=True)
class Function:
    """A function with a prototype. start: key of its first instruction. type_id: in the BTF that the program came with."""

    start: int
    proto: FuncProto
    linkage: int = GLOBAL
    type_id: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """program: all that is not in the other fields; its jump tables hold keys. lines: (key, source line).

    plain: BTF is made of the prototypes alone, of `locks` (name of a map, byte of its values) and of `catches` (the function
    that takes exceptions); else the program's own is kept, and `Function.type_id` counts.
    """

    program: Program
    items: tuple[Item, ...]
    functions: tuple[Function, ...] = ()
    lines: tuple[tuple[int, LineInfo], ...] = ()
    plain: bool = False
    locks: tuple[tuple[str, int], ...] = ()
    catches: str = ""
    _bounds: list[tuple[int, int]] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, program: Program) -> Self:
        """Takes a program apart; references that lead nowhere stay distances."""
        insns = program.insns
        starts = _starts(insns)
        kfuncs = {ref.insn: (ref.name, ref.module) for ref in program.kfuncs}
        items = tuple(_item(insns, at, starts, kfuncs.get(at)) for at in starts)
        functions = tuple(_function(program.btf, info) for info in program.func_info)
        return cls(program, items, functions, tuple((line.insn, line) for line in program.line_info))

    def as_plain(self) -> Self | None:
        """With BTF made of the prototypes alone, without source lines; None where a prototype cannot be written."""
        names = [function.proto.name for function in self.functions]
        if any(function.linkage == EXTERN or not function.proto.name for function in self.functions):
            return None
        if len(set(names)) < len(names):
            return None
        found = ((spec.name, lock_of(spec, self.program.btf)) for spec in self.program.maps)
        locks = tuple((name, lock) for name, lock in found if lock is not None)
        maps = tuple(replace(spec, btf_key=0, btf_value=0) for spec in self.program.maps)
        catches = exceptions.name(self.program) or ""
        program = replace(self.program, maps=maps)
        return replace(self, program=program, lines=(), plain=True, locks=locks, catches=catches)

    # ---- looking

    def find(self, key: int) -> int:
        """Index of the first item at or behind the place `key`; the number of items when there is none."""
        return bisect_left(self.items, key, key=_key)

    def bounds(self) -> list[tuple[int, int]]:
        """Half-open ranges of items, one a function, prototype or not, in order."""
        if not self._bounds:
            keys = {item.target for item in self.items if item.calls_function or item.takes_function}
            starts = {self.find(key) for key in keys if key is not None}
            starts |= {self.find(function.start) for function in self.functions} | {0}
            marks = [*sorted(at for at in starts if at < len(self.items)), len(self.items)]
            self._bounds.extend(pairwise(marks))
        return self._bounds

    def function_at(self, index: int) -> Function | None:
        """The prototype of the function that starts at item `index`."""
        return next((one for one in self.functions if self.find(one.start) == index), None)

    @property
    def count(self) -> int:
        """Number of instructions."""
        return len(self.items)

    # ---- changing

    def with_items(self, items: Iterable[Item]) -> Self:
        """With other instructions, keys in order."""
        return replace(self, items=tuple(items))

    def without(self, first: int, end: int, instead: Sequence[Item] = ()) -> Self:
        """With `instead` in the place of items `first` to `end` - 1, of which there are at least as many."""
        keys = [item.key for item in self.items[first:end]]
        made = tuple(replace(item, key=key) for item, key in zip(instead, keys, strict=False))
        assert len(made) == len(instead)
        return replace(self, items=self.items[:first] + made + self.items[end:])

    def put(self, index: int, item: Item) -> Self:
        """With another instruction in the place of item `index`."""
        return self.without(index, index + 1, (item,))

    def inserted(self, index: int, insn: Insn) -> Self:
        """With one more instruction before item `index`, where jumps to that item lead now; a jump leads to that item."""

        def moved(target: int | None) -> int | None:
            at = len(self.items) if target is None else self.find(target)
            return 2 * self.items[at].key if at < len(self.items) else None

        items = [replace(item, key=2 * item.key + 1, target=moved(item.target)) for item in self.items]
        behind = items[index].key
        made = Item(behind - 1, insn, target=behind if is_branch(insn) else None)
        functions = tuple(replace(one, start=2 * one.start) for one in self.functions)
        lines = tuple((2 * key + 1, line) for key, line in self.lines)
        program = _with_jumps(self.program, moved)
        return replace(
            self,
            program=self.program if program is None else program,
            items=(*items[:index], made, *items[index:]),
            functions=functions,
            lines=lines,
        )

    def promoted(self, place: int) -> Self:
        """With function `place` as the main program in the place of the one that was, without parameters."""
        bounds = self.bounds()
        order = [at for number in (place, *range(1, len(bounds))) for at in range(*bounds[number])]
        keys = {old: new for new, old in enumerate(dict.fromkeys(order))}

        def moved(old: int) -> Item:
            item = self.items[old]
            target = None if item.target is None else keys.get(self.find(item.target))
            return replace(item, key=keys[old], target=target)

        items = [moved(old) for old in keys]
        functions = []
        for one in self.functions:
            start = keys.get(self.find(one.start))
            if start is not None:
                main = replace(one, start=0, proto=replace(one.proto, params=()), linkage=GLOBAL)
                functions.append(main if start == 0 else replace(one, start=start))
        ordered = tuple(sorted(functions, key=lambda one: one.start))
        program = _with_jumps(self.program, lambda key: keys.get(self.find(key)))
        if program is None:
            program = self.program  # the gotox that went with its function has left its table behind
        return replace(self, program=program, items=tuple(items), functions=ordered, lines=())

    # ---- back

    def program_or_none(self) -> Program | None:
        """The program; None where a jump or call would lead out of it, or farther than its field reaches."""
        places: list[int] = [0]
        for item in self.items:
            places.append(places[-1] + item.slots)
        insns: list[Insn] = []
        kfuncs: list[KfuncRef] = []
        for at, item in zip(places, self.items, strict=False):
            insn = self._resolved(item, at, places)
            if insn is None:
                return None
            insns.append(insn)
            if item.wide:
                insns.append(Insn(0, imm=item.high))
            if item.kfunc is not None:
                kfuncs.append(KfuncRef(at, *item.kfunc))
        made = self._functions(places)
        if made is None or not insns:
            return None
        func_info, btf, maps = made
        lines = {places[self.find(key)]: line for key, line in reversed(self.lines)}
        program = replace(
            self.program,
            insns=tuple(insns),
            kfuncs=tuple(kfuncs),
            func_info=func_info,
            btf=btf,
            maps=maps,
            line_info=tuple(replace(lines[at], insn=at) for at in sorted(lines) if at < len(insns)),
        )
        return _with_jumps(program, lambda key: places[self.find(key)])

    def _resolved(self, item: Item, at: int, places: Sequence[int]) -> Insn | None:
        if item.target is None:
            return item.insn
        index = self.find(item.target)
        if index == len(self.items):
            return None
        distance = places[index] - at - 1
        insn = item.insn
        if insn.code == isa.OP_CALL or insn.code == isa.LD_IMM64 or insn.code == isa.OP_GOTOL:
            return replace(insn, imm=distance)
        return replace(insn, off=distance) if -0x8000 <= distance <= 0x7FFF else None

    def _functions(self, places: Sequence[int]) -> _Types | None:
        starts = [places[self.find(one.start)] for one in self.functions]
        if len(set(starts)) < len(starts):
            return None
        maps = self.program.maps
        if not self.plain:
            infos = (FuncInfo(at, one.type_id) for at, one in zip(starts, self.functions, strict=True))
            return tuple(infos), self.program.btf, maps
        there = any(one.proto.name == self.catches for one in self.functions[1:])
        prototypes = tuple((one.proto, one.linkage) for one in self.functions)
        locks = dict(self.locks)
        some = tuple(locks.get(spec.name) for spec in maps)
        if any(lock is not None for lock in some):
            made = plain(prototypes, maps, some, self.catches if there else "")
        else:
            made = replace(_plain_btf(prototypes, self.catches if there else ""), maps=maps)
        return tuple(FuncInfo(at, tid) for at, tid in zip(starts, made.ids, strict=True)), made.btf, made.maps


def is_branch(insn: Insn) -> bool:
    """Whether an instruction is a jump within its function, with a condition or without."""
    return insn.code in (isa.OP_GOTOL, isa.OP_JA, isa.OP_MAY_GOTO) or is_conditional(insn)


def is_conditional(insn: Insn) -> bool:
    """Whether an instruction is `if ... goto`."""
    return insn.cls in (isa.JMP, isa.JMP32) and insn.op in _CONDITIONAL


def _with_jumps(program: Program, moved: Callable[[int], int | None]) -> Program | None:
    """The program with its jump tables changed: every place in them moved; None where one has nowhere to go."""
    if not any(spec.jumps for spec in program.maps):
        return program
    maps = []
    for spec in program.maps:
        places = [moved(jump) for jump in spec.jumps]
        known = [place for place in places if place is not None]
        if len(known) < len(places):
            return None
        maps.append(spec.with_jumps(known) if known else spec)
    return replace(program, maps=tuple(maps))


def _key(item: Item) -> int:
    return item.key


def _starts(insns: Sequence[Insn]) -> dict[int, None]:
    starts: dict[int, None] = {}
    at = 0
    while at < len(insns):
        starts[at] = None
        at += 2 if _is_wide(insns, at) else 1
    return starts


def _is_wide(insns: Sequence[Insn], at: int) -> bool:
    """Whether a proper second half follows; what is malformed is kept slot by slot."""
    if insns[at].code != isa.LD_IMM64 or at + 1 == len(insns):
        return False
    second = insns[at + 1]
    return not (second.code or second.dst or second.src or second.off)


def _item(insns: Sequence[Insn], at: int, starts: dict[int, None], kfunc: tuple[str, str] | None) -> Item:
    insn = insns[at]
    wide = _is_wide(insns, at)
    item = Item(at, insn, wide, insns[at + 1].imm if wide else 0, None, kfunc)
    in_imm = insn.code == isa.OP_GOTOL or item.calls_function or (wide and item.takes_function)
    if not in_imm and not item.branches:
        return item
    target = at + 1 + (insn.imm if in_imm else insn.off)
    if target not in starts:
        return item
    return replace(item, insn=replace(insn, imm=0) if in_imm else replace(insn, off=0), target=target)


def _function(btf: Btf | None, info: FuncInfo) -> Function:
    try:
        assert btf is not None
        return Function(info.insn, btf.prototype(info.type_id), btf.linkage(info.type_id), info.type_id)
    except (InputError, AssertionError):
        return Function(info.insn, _NAMELESS, EXTERN, info.type_id)


_NAMELESS = FuncProto("", CType("void", "void"), ())


@lru_cache(maxsize=256)
def _plain_btf(functions: tuple[tuple[FuncProto, int], ...], catches: str) -> Plain:
    return plain(functions, catches=catches)
