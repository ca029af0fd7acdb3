"""A program while it is being assembled: slots, labels, functions, and the names that are still open.

Lines come from bpf.asm, single instructions from bpf.statement; this module binds names to what they stand for.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from bpf import isa
from bpf.codec import decode
from bpf.errors import InputError
from bpf.helpers import BY_NAME as HELPERS_BY_NAME
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from bpf.lexer import Cursor
from bpf.maps import MapSpec
from bpf.operands import Ref
from bpf.program import KfuncRef
from bpf.proto import FuncProto
from bpf.statement import read_statement


@dataclass(frozen=True, slots=True)
class Function:
    """A function that starts at slot `start`; linkage as in BTF."""

    start: int
    proto: FuncProto
    linkage: int


@dataclass(frozen=True, slots=True)
class OpenName:
    """A name at `slot` that is resolved at the end; `scope` is the function that holds it."""

    slot: int
    ref: Ref
    scope: int
    line: int


@dataclass(slots=True)
class Unit:
    """A program in the making. labels: one scope a function, the first one is what stands before them."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)  # fields of Program that the text sets
    maps: list[MapSpec] = field(default_factory=list)
    locks: list[int | None] = field(
        default_factory=list
    )  # for each of `maps`, the byte of its values with a lock
    insns: list[Insn] = field(default_factory=list)
    open: list[OpenName] = field(default_factory=list)
    labels: list[dict[str, int]] = field(default_factory=lambda: [{}])
    functions: list[Function] = field(default_factory=list)
    externs: dict[str, str] = field(default_factory=dict)
    declared: dict[str, FuncProto] = field(default_factory=dict)  # externs whose prototype the text gives

    @property
    def started(self) -> bool:
        """Something but declarations is there."""
        return bool(self.insns or self.functions or len(self.labels[0]))


def read_label(cur: Cursor, unit: Unit) -> bool:
    """Takes `name:` if the line is that."""
    at = cur.peek_at()
    name = cur.label()
    if name is None:
        return False
    labels = unit.labels[-1]
    if name in labels:
        cur.fail(f"label '{name}' is already defined in this function", at)
    labels[name] = len(unit.insns)
    if cur.peek().kind != "end":
        read_instruction(cur, unit)
    return True


def read_instruction(cur: Cursor, unit: Unit) -> None:
    """Takes one instruction, or `.slot` with the bytes of something that is none."""
    if cur.accept(".slot"):
        at = cur.peek_at()
        data = cur.hex("an instruction")
        if len(data) != isa.INSN_SIZE:
            cur.fail(f"a slot has {isa.INSN_SIZE} bytes, not {len(data)}", at)
        cur.end()
        unit.insns.extend(decode(data))
        return
    statement = read_statement(cur)
    if statement.ref is not None:
        unit.open.append(OpenName(len(unit.insns), statement.ref, len(unit.labels) - 1, cur.line))
    unit.insns.extend(statement.insns)


# ---------------------------------------------------------------- names


def resolve(
    unit: Unit, what: str, maps: tuple[MapSpec, ...], *, bare: bool = False
) -> tuple[tuple[Insn, ...], tuple[KfuncRef, ...]]:
    """Fills in what names stand for; returns the instructions and the kfunc calls."""
    names = _Names(unit, what, maps, bare)
    insns = list(unit.insns)
    kfuncs: list[KfuncRef] = []
    for entry in unit.open:
        insn = insns[entry.slot]
        match entry.ref.kind:
            case "branch16" | "branch32":
                insns[entry.slot] = names.branch(entry, insn)
            case "map" | "func":
                insns[entry.slot] = names.reference(entry, insn)
            case "call":
                insns[entry.slot], module = names.call(entry, insn)
                if module is not None:
                    kfuncs.append(KfuncRef(entry.slot, entry.ref.name, module))
    return tuple(insns), tuple(kfuncs)


class _Names:
    def __init__(self, unit: Unit, what: str, maps: tuple[MapSpec, ...], bare: bool) -> None:
        self.unit = unit
        self.what = what
        self.bare = bare
        self.functions = {f.proto.name: f.start for f in unit.functions}
        self.maps = {m.name: index for index, m in reversed(tuple(enumerate(maps)))}

    def bad(self, entry: OpenName, why: str) -> InputError:
        return InputError(self.what, f"line {entry.line}, column {entry.ref.at + 1}", why)

    def label(self, entry: OpenName) -> int | None:
        return self.unit.labels[entry.scope].get(entry.ref.name)

    def function(self, entry: OpenName) -> int | None:
        """Start of a function; in text without prototypes a label will do."""
        start = self.functions.get(entry.ref.name)
        return self.label(entry) if start is None else start

    def branch(self, entry: OpenName, insn: Insn) -> Insn:
        target = self.label(entry)
        if target is None:
            raise self.bad(entry, f"no label '{entry.ref.name}' in this function")
        distance = target - entry.slot - 1
        bits = 16 if entry.ref.kind == "branch16" else 32
        if distance != isa.sext(distance, bits):
            raise self.bad(
                entry, f"label '{entry.ref.name}' is {distance} instructions away, more than {bits} bits hold"
            )
        return replace(insn, off=distance) if bits == 16 else replace(insn, imm=distance)

    def reference(self, entry: OpenName, insn: Insn) -> Insn:
        ref = entry.ref
        if ref.kind == "map" and ref.name in self.maps:
            return replace(insn, imm=self.maps[ref.name])
        start = self.function(entry) if ref.kind == "func" or ref.either else None
        if start is None:
            wanted = "map or function" if ref.either else "map" if ref.kind == "map" else "function"
            raise self.bad(entry, f"no {wanted} '{ref.name}'")
        return replace(insn, src=isa.PSEUDO_FUNC, imm=start - entry.slot - 1)

    def call(self, entry: OpenName, insn: Insn) -> tuple[Insn, str | None]:
        """The call, and the module of a kfunc (None: no kfunc)."""
        name = entry.ref.name
        if insn.src == isa.PSEUDO_KFUNC_CALL:
            return insn, self.unit.externs.get(name, module_of(name))
        start = self.function(entry)
        if start is not None:
            return replace(insn, src=isa.PSEUDO_CALL, imm=start - entry.slot - 1), None
        if name in HELPERS_BY_NAME:
            return replace(insn, imm=HELPERS_BY_NAME[name].id), None
        if (name in KFUNCS or name in self.unit.externs) and not self.bare:
            return replace(insn, src=isa.PSEUDO_KFUNC_CALL), self.unit.externs.get(name, module_of(name))
        raise self.bad(
            entry,
            f"no function, helper or kfunc '{name}'"
            + (" (declare a kfunc with extern)" if not self.bare else ""),
        )


def module_of(kfunc: str) -> str:
    """The module that a known kfunc is in, "" for the kernel and for unknown ones."""
    return KFUNCS[kfunc].module if kfunc in KFUNCS else ""
