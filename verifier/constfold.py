"""Registers that hold the same constant on all paths, and jumps that such constants decide.

A data flow without the main pass's knowledge: it finds sizes and maps for the analysis of the stack, and turns decided
jumps into plain ones before the main pass, so that dead code keeps nothing alive. Source: kernel/bpf/const_fold.c.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from bpf import isa
from bpf.insn import Insn
from bpf.maps import MapType
from verifier.flow import Flow
from verifier.maps import has_known_values, map_direct_read

if TYPE_CHECKING:
    from verifier.env import Env

# What a register holds: None for anything, else (kind, value, map number).
CONST: Final = 0
MAP_PTR: Final = 1
MAP_VALUE: Final = 2
SUBPROG: Final = 3
Held = tuple[int, int, int] | None
State = tuple[Held, ...]

_ZERO: Final = (CONST, 0, 0)
_NOTHING: Final[State] = (None,) * isa.MAX_BPF_REG


def compute_const_regs(env: "Env", flow: Flow) -> list[State]:
    """What R0..R10 hold before each point of the program (`Layout.points`) on every path; nothing where none leads."""
    states: list[State | None] = [None] * len(env.insns)
    todo = bytearray(len(env.insns))
    for function in env.layout.functions:
        states[function.start] = _NOTHING
        todo[function.start] = True
    insns, succ = env.insns, flow.succ
    while any(todo):
        for first, last in flow.blocks:
            if not todo[first]:
                continue
            todo[first] = False
            held = list(states[first] or _NOTHING)
            for at in range(first, last):
                insn = insns[at]
                _STEPS[insn.code](env, at, insn, held)
            states[last] = tuple(held)
            _STEPS[insns[last].code](env, last, insns[last], held)
            out = tuple(held)
            for to in succ[last]:
                old = states[to]
                new = out if old is None else _join(old, out)
                if new != old:
                    states[to] = new
                    todo[to] = True
    return [_NOTHING if state is None else state for state in states]


class Constants:
    """What `compute_const_regs` finds, found when it is first asked for: many programs have nothing to ask."""

    def __init__(self, env: "Env", flow: Flow) -> None:
        self._env = env
        self._insns = env.insns
        self._flow = flow
        self._states: list[State] | None = None

    def __getitem__(self, at: int) -> State:
        """What R0..R10 hold before a point, as of the program before any of its jumps were decided."""
        if self._states is None:
            assert self._env.insns is self._insns
            self._states = compute_const_regs(self._env, self._flow)
        return self._states[at]


def _join(old: State, new: State) -> State:
    return old if old == new else tuple(a if a == b else None for a, b in zip(old, new, strict=True))


# ---- what an instruction does to what the registers hold

_Step = Callable[["Env", int, Insn, list[Held]], None]


def _nothing(env: "Env", at: int, insn: Insn, held: list[Held]) -> None:
    """Stores, jumps: no register changes."""


def _call(env: "Env", at: int, insn: Insn, held: list[Held]) -> None:
    del env, at, insn
    held[:6] = (None,) * 6


def _wide(env: "Env", at: int, insn: Insn, held: list[Held]) -> None:
    held[insn.dst] = _immediate(env, at, insn)


def _load(env: "Env", at: int, insn: Insn, held: list[Held]) -> None:
    del at
    is_arg = isa.is_stack_arg_load(insn.code, insn.src, insn.off)
    held[insn.dst] = None if is_arg else _loaded(env, insn, held[insn.src])


def _atomic(env: "Env", at: int, insn: Insn, held: list[Held]) -> None:
    del env, at
    if insn.imm == isa.LOAD_ACQ:
        held[insn.dst] = None
    elif insn.imm & isa.FETCH and insn.imm != isa.STORE_REL:
        held[isa.R0 if insn.imm == isa.CMPXCHG else insn.src] = None


def _alu_step(code: int) -> _Step:
    compute = _ALU.get(code & (isa.OP_MASK | isa.X), _unknown)
    from_register, is64 = bool(code & isa.X), code & isa.CLASS_MASK == isa.ALU64

    def step(env: "Env", at: int, insn: Insn, held: list[Held]) -> None:
        del env, at
        new = compute(insn, held[insn.dst], held[insn.src] if from_register else None)
        if not is64 and new is not None:
            new = (CONST, new[1] & isa.U32, 0) if new[0] == CONST else None
        held[insn.dst] = new

    return step


def _unknown(insn: Insn, dst: Held, src: Held) -> Held:
    del insn, dst, src
    return None


def _mov_imm(insn: Insn, dst: Held, src: Held) -> Held:
    del dst, src
    return (CONST, insn.imm & isa.U64, 0)


def _mov(insn: Insn, dst: Held, src: Held) -> Held:
    del dst
    if not insn.off:
        return src
    if src is None or src[0] != CONST or insn.off not in (8, 16, 32):
        return None
    return (CONST, isa.sext(src[1], insn.off) & isa.U64, 0)


def _add_imm(insn: Insn, dst: Held, src: Held) -> Held:
    del src
    if dst is None or dst[0] not in (CONST, MAP_VALUE):
        return None
    step = insn.imm if insn.op == isa.ADD else -insn.imm
    return (dst[0], (dst[1] + step) & isa.U64, dst[2])


def _and_imm(insn: Insn, dst: Held, src: Held) -> Held:
    del src
    if dst is None or dst[0] != CONST:
        return None if insn.imm else _ZERO
    return (CONST, dst[1] & insn.imm & isa.U64, 0)


def _and(insn: Insn, dst: Held, src: Held) -> Held:
    del insn
    if _ZERO in (dst, src):
        return _ZERO
    if dst is None or src is None or dst[0] != CONST or src[0] != CONST:
        return None
    return (CONST, dst[1] & src[1], 0)


_ALU: Final[dict[int, Callable[[Insn, Held, Held], Held]]] = {
    isa.MOV | isa.K: _mov_imm,
    isa.MOV | isa.X: _mov,
    isa.ADD | isa.K: _add_imm,
    isa.SUB | isa.K: _add_imm,
    isa.AND | isa.K: _and_imm,
    isa.AND | isa.X: _and,
}


def _step(code: int) -> _Step:
    cls, mode = code & isa.CLASS_MASK, code & isa.MODE_MASK
    if cls in (isa.ALU, isa.ALU64):
        return _alu_step(code)
    if cls == isa.LDX:
        return _load
    if cls == isa.STX and mode == isa.ATOMIC:
        return _atomic
    if code == isa.LD_IMM64:
        return _wide
    clobbers = code == isa.OP_CALL or (cls == isa.LD and mode in (isa.ABS, isa.IND))
    return _call if clobbers else _nothing


_STEPS: Final = tuple(_step(code) for code in range(256))


def _immediate(env: "Env", at: int, insn: Insn) -> Held:
    high = env.insns[at + 1].imm
    if insn.src == 0:
        return (CONST, insn.imm & isa.U32 | (high & isa.U32) << 32, 0)
    if insn.src == isa.PSEUDO_FUNC:
        return (SUBPROG, env.layout.starting_at(at + insn.imm + 1).index, 0)
    if insn.src in (isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX_VALUE):
        return (MAP_VALUE, high & isa.U32, insn.imm)
    if insn.src in (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_IDX):
        return (MAP_PTR, 0, insn.imm)
    return None


def _loaded(env: "Env", insn: Insn, src: Held) -> Held:
    """Constants of maps that nobody can write."""
    if src is None or src[0] != MAP_VALUE:
        return None
    used = env.maps[src[2]]
    off = isa.sext(src[1] + insn.off, 32)
    if (
        not has_known_values(used.spec)
        or used.spec.type != MapType.ARRAY
        or off < 0
        or off + insn.size > used.spec.value_size
    ):
        return None
    value = map_direct_read(used.spec, off, insn.size, insn.mode == isa.MEMSX)
    return None if value is None else (CONST, value & isa.U64, 0)


_TAKEN: Final[dict[int, Callable[[int, int], bool]]] = {
    isa.JEQ: lambda a, b: a == b,
    isa.JNE: lambda a, b: a != b,
    isa.JGT: lambda a, b: a > b,
    isa.JGE: lambda a, b: a >= b,
    isa.JLT: lambda a, b: a < b,
    isa.JLE: lambda a, b: a <= b,
    isa.JSGT: lambda a, b: isa.sext(a, 64) > isa.sext(b, 64),
    isa.JSGE: lambda a, b: isa.sext(a, 64) >= isa.sext(b, 64),
    isa.JSLT: lambda a, b: isa.sext(a, 64) < isa.sext(b, 64),
    isa.JSLE: lambda a, b: isa.sext(a, 64) <= isa.sext(b, 64),
    isa.JSET: lambda a, b: bool(a & b),
}


def known32(state: State, reg: int) -> int | None:
    """The constant in a register, if 32 bits hold it: more are not kept."""
    held = state[reg] if reg < 10 else None
    return held[1] if held is not None and held[0] == CONST and held[1] <= isa.U32 else None


def prune_dead_branches(
    insns: Sequence[Insn], states: "Constants | Sequence[State]", points: Iterable[int]
) -> tuple[Insn, ...]:
    """The program with decided jumps as plain ones, to their target or to the next instruction.

    states: what `compute_const_regs` found. points: where jumps may be.
    """
    folded: dict[int, Insn] = {}
    for at in points:
        insn = insns[at]
        if insn.cls not in (isa.JMP, isa.JMP32) or insn.op not in _TAKEN:
            continue
        dst = known32(states[at], insn.dst)
        src = known32(states[at], insn.src) if insn.code & isa.X else insn.imm & isa.U64
        if dst is None or src is None:
            continue
        if insn.cls == isa.JMP32:
            dst, src = isa.sext(dst, 32) & isa.U64, isa.sext(src, 32) & isa.U64
        folded[at] = Insn(isa.OP_JA, 0, 0, insn.off if _TAKEN[insn.op](dst, src) else 0, 0)
    return tuple(folded.get(at, insn) for at, insn in enumerate(insns)) if folded else tuple(insns)
