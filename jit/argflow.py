"""Which call an argument is for: the flow of arguments inside one function, over BPF instructions.

An instruction that puts something in r1..r5 or in a slot below r11 moves an argument of the next call that is reached
with it still there; on several ways that may be several calls. Knows instructions, prototypes and frames, no bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bpf import isa
from bpf.helpers import HELPERS
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from bpf.proto import Param
from bpf.verified import Subprog, Verified
from jit.image import Image
from jit.regmap import ARG6, PRIVATE_REGMAP, REGMAP
from jit.x64.registers import NAMES64

_TAKES_DST: Final = (isa.ALU, isa.ALU64, isa.LDX, isa.LD)
_REG_ARGS: Final = isa.MAX_REG_ARGS


@dataclass(frozen=True, slots=True)
class Callee:
    """A called function. kind: "bpf", "kfunc", "helper", "internal" or "tail". nargs: None where nothing tells it.

    params: as far as they are known.
    """

    name: str
    kind: str
    nargs: int | None
    params: tuple[Param, ...] = ()

    def param(self, argument: int) -> Param | None:
        """The parameter with this number, from 1."""
        return self.params[argument - 1] if argument <= len(self.params) else None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A load of an argument that the function was given."""

    argument: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A store of an argument. calls: slots of the calls it may be for, ascending; none: it is overwritten or lost."""

    argument: int
    calls: tuple[int, ...]


class ArgumentFlow:
    """What moves arguments in one function of `verified`, worked out when it is asked."""

    def __init__(self, verified: Verified, number: int) -> None:
        self.verified = verified
        self.sub: Subprog = verified.subprogs[number]
        self._callees: dict[int, Callee | None] = {}

    # ---- callees

    def callee(self, slot: int) -> Callee | None:
        """What the call at `slot` calls, None where no call stands; a tail call takes three arguments."""
        if slot not in self._callees:
            insn = self.verified.insns[slot]
            found = Callee("tail call", "tail", 3) if insn.code == isa.OP_TAIL_CALL else None
            self._callees[slot] = self._find(slot, insn) if insn.code == isa.OP_CALL else found
        return self._callees[slot]

    def _find(self, slot: int, insn: Insn) -> Callee:
        verified = self.verified
        if insn.src == isa.PSEUDO_CALL:
            start = slot + 1 + insn.imm
            number = next((n for n, sub in enumerate(verified.subprogs) if sub.start == start), None)
            return Callee(f"insn {start}", "bpf", None) if number is None else function(verified, number)
        if insn.src == isa.PSEUDO_KFUNC_CALL and 0 <= insn.imm < len(verified.kfuncs):
            name = verified.kfuncs[insn.imm].name
            params = KFUNCS[name].proto.params if name in KFUNCS else ()
            return Callee(name, "kfunc", len(params) if name in KFUNCS else None, params)
        if slot in verified.symbols and not self._is_call(slot):
            return Callee(verified.symbols[slot], "internal", None)
        helper = HELPERS.get(insn.imm)
        if helper is None:
            return Callee(verified.symbols.get(slot, f"helper {insn.imm}"), "helper", None)
        return Callee(helper.name, "helper", len(helper.args))

    def _is_call(self, slot: int) -> bool:
        """Whether the program has a call where `slot` was made; else it stands for something else (may_goto, LD_ABS)."""
        origin = self.verified.origin[slot]
        insns = self.verified.program.insns
        return 0 <= origin < len(insns) and insns[origin].code == isa.OP_CALL

    # ---- moves

    def moves(self, slot: int) -> tuple[Incoming | Outgoing, ...]:
        """What the instruction at `slot` does with arguments: loads one, puts one in its place, both, or nothing."""
        insn = self.verified.insns[slot]
        found: list[Incoming | Outgoing] = []
        if isa.is_stack_arg_load(insn.code, insn.src, insn.off):
            found.append(Incoming(isa.load_slot(insn.off) + _REG_ARGS + 1))
        argument = put(insn)
        if argument is not None:
            calls = tuple(sorted(self._reached(slot, argument)))
            if calls or argument > _REG_ARGS:
                found.append(Outgoing(argument, calls))
        return tuple(found)

    def names(self, move: Outgoing) -> str:
        """The functions that an argument is for: `bar`, `bar or baz`, or `no call`."""
        callees = [callee for callee in map(self.callee, move.calls) if callee is not None]
        return " or ".join(dict.fromkeys(callee.name for callee in callees)) or "no call"

    def _reached(self, slot: int, argument: int) -> set[int]:
        """The calls reached from behind `slot` before the argument's place is written again, and that take it."""
        insns, seen, calls = self.verified.insns, set(), set()
        work = list(self._next(slot))
        while work:
            at = work.pop()
            if at in seen:
                continue
            seen.add(at)
            insn = insns[at]
            callee = self.callee(at)
            if callee is not None and callee.kind != "internal":
                # Every call takes r1..r5 and the slots away, whether it has use for them or not.
                if callee.nargs is not None and argument <= callee.nargs:
                    calls.add(at)
            elif put(insn) != argument and not (callee and argument <= _REG_ARGS and _clobbers(callee)):
                work += self._next(at)
        return calls

    def _next(self, slot: int) -> Iterator[int]:
        """Slots that may follow; a gotox may lead to each of its targets."""
        insn = self.verified.insns[slot]
        inside = range(self.sub.start, self.sub.end)
        ways = [slot + (2 if insn.code == isa.LD_IMM64 else 1)]
        if insn.code == isa.OP_EXIT:
            ways = []
        elif insn.code == isa.OP_GOTOX:
            ways = sorted(self.verified.indirect_targets)
        elif insn.cls in (isa.JMP, isa.JMP32) and insn.code not in (isa.OP_CALL, isa.OP_TAIL_CALL):
            far = insn.cls == isa.JMP32 and insn.op == isa.JA
            target = slot + 1 + (insn.imm if far else insn.off)
            ways = [target] if insn.op == isa.JA else [*ways, target]
        yield from (way for way in ways if way in inside)


def put(insn: Insn) -> int | None:
    """The number of the argument in whose place `insn` puts something, None where it is none."""
    if isa.is_stack_arg_store(insn.code, insn.dst, insn.off):
        return isa.store_slot(insn.off) + _REG_ARGS + 1
    reg = insn.dst if insn.cls in _TAKES_DST and insn.code else 0
    if (
        insn.code & ~isa.SIZE_MASK == isa.STX | isa.ATOMIC
        and insn.imm & isa.FETCH
        and insn.imm != isa.CMPXCHG
    ):
        reg = insn.src
    return reg if 1 <= reg <= _REG_ARGS else None


def register(sub: Subprog, number: int) -> str:
    """The x86 register in which BPF register `number` of a function is."""
    return NAMES64[(PRIVATE_REGMAP if sub.private_stack else REGMAP)[number]]


def argument_place(image: Image, number: int, slot: int, move: Incoming | Outgoing) -> str:
    """Where the instruction at `slot` of function `number` finds or puts an argument: `rdi`, `r9`, `[rbp+0x10]`, `[rsp+0x0]`.

    A frame without such a place gives "?": then the program was never verified.
    """
    compiled = image.functions[number]
    if isinstance(move, Incoming):
        return str(compiled.frame.incoming.get(move.argument, "?"))
    if move.argument <= _REG_ARGS + 1:
        return NAMES64[REGMAP[move.argument] if move.argument <= _REG_ARGS else ARG6]
    sub = image.verified.subprogs[number]
    spot = compiled.frame.at(compiled.offsets[slot - sub.start]).outgoing.get(move.argument)
    return "?" if spot is None else str(spot)


def _clobbers(callee: Callee) -> bool:
    """Whether an internal call takes r1..r5 away: LD_ABS does, may_goto's thunk saves them."""
    return callee.name.startswith("bpf_skb_load_helper")


def function(verified: Verified, number: int) -> Callee:
    """A function of the program as a callee, with its parameters from BTF. Without BTF it has no number of arguments."""
    sub = verified.subprogs[number]
    params = parameters(verified, number)
    known = bool(params) or sub.arg_cnt > 0
    return Callee(sub.name, "bpf", max(sub.arg_cnt, len(params)) if known else None, params)


def parameters(verified: Verified, number: int) -> tuple[Param, ...]:
    """The parameters of a function of the program as its BTF has them, () where there is none."""
    program, sub = verified.program, verified.subprogs[number]
    if program.btf is None:
        return ()
    origin = verified.origin[sub.start]
    for info in program.func_info:
        if info.insn == origin:
            return program.btf.prototype(info.type_id).params
    return ()
