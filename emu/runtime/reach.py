"""How much of its context a program accesses, where the context is a buffer of the user's (max_ctx_offset).

A forward data flow over all paths: a state says which registers, stack words and stack arguments hold the context, and
at which offset. An accepted program accesses nothing else through an instruction that accesses the context, so that
what holds it on one path counts. Too large where the access lies in code that constants make dead; accesses by
helpers and through variable offsets are not seen.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from bpf import isa
from bpf.insn import Insn

# Where a pointer to the context may be: registers 0..10; ("fp", offset); ("out", offset) and ("in", offset) of r11.
Place = int | tuple[str, int]
State = dict[Place, int]
_MAX_VISITS = 64  # of one instruction; offsets that grow in a loop end there
_ADD = {isa.ALU64 | isa.ADD: 1, isa.ALU64 | isa.SUB: -1}


@lru_cache(maxsize=4)  # each engine of a case asks
def ctx_reach(insns: tuple[Insn, ...], jumps: frozenset[int] = frozenset()) -> int:
    """The end of the context's highest access, in bytes; 0 when there is none. jumps: what the jump tables name."""
    states: dict[int, State] = {0: {1: 0}}
    visits: dict[int, int] = {}
    reach = 0
    work = [0] if insns else []
    while work:
        at = work.pop()
        visits[at] = visits.get(at, 0) + 1
        if visits[at] > _MAX_VISITS:
            continue
        state, insn = states[at], insns[at]
        base = insn.src if insn.cls == isa.LDX else insn.dst if insn.cls in (isa.ST, isa.STX) else None
        if base in state:
            reach = max(reach, state[base] + insn.off + insn.size)
        ways = _next(at, insn, state) if insn.code != isa.OP_GOTOX else ((to, state) for to in jumps)
        for to, after in ways:
            if not after:
                continue  # nothing holds the context there
            if 0 <= to < len(insns) and _join(states.setdefault(to, {}), after, first=to not in visits):
                work.append(to)
    return reach


def _join(old: State, new: Mapping[Place, int], *, first: bool) -> bool:
    """Merges `new` into `old`; whether that changed anything."""
    changed = first
    for place, offset in new.items():
        if old.get(place, -1) < offset:
            old[place] = offset
            changed = True
    return changed


def _next(at: int, insn: Insn, state: State) -> Iterator[tuple[int, State]]:
    if insn.cls not in (isa.JMP, isa.JMP32):
        yield at + (2 if insn.code == isa.LD_IMM64 else 1), _after(insn, state)
    elif insn.is_call:
        if insn.src == isa.PSEUDO_CALL:
            yield at + 1 + insn.imm, _entry(state)
        yield at + 1, {p: v for p, v in state.items() if not _lost_in_call(p)}
    elif insn.code in (isa.OP_JA, isa.OP_GOTOL):
        yield at + 1 + (insn.imm if insn.code == isa.OP_GOTOL else insn.off), state
    elif insn.code != isa.OP_EXIT:
        yield at + 1, state
        yield at + 1 + insn.off, state


def _entry(state: State) -> State:
    """What a function is called with: r1..r5, and what was outgoing is incoming."""
    args: State = {p: v for p, v in state.items() if isinstance(p, int) and 1 <= p <= isa.MAX_REG_ARGS}
    return args | {("in", -p[1]): v for p, v in state.items() if not isinstance(p, int) and p[0] == "out"}


def _lost_in_call(place: Place) -> bool:
    return place <= isa.MAX_REG_ARGS if isinstance(place, int) else place[0] == "out"


def _after(insn: Insn, state: State) -> State:
    new = dict(state)
    if insn.cls in (isa.ST, isa.STX):
        if insn.dst in (isa.FP, isa.REG_PARAMS):
            place = ("fp", insn.off & ~7) if insn.dst == isa.FP else ("out", insn.off)
            _put(new, place, state.get(insn.src) if insn.code == isa.STX | isa.MEM | isa.DW else None)
        elif insn.cls == isa.STX and insn.mode == isa.ATOMIC:
            new.pop(
                insn.dst if insn.imm == isa.LOAD_ACQ else 0 if insn.imm == isa.CMPXCHG else insn.src, None
            )
        return new
    value = None
    if insn.code == isa.ALU64 | isa.MOV | isa.X and not insn.off:
        value = state.get(insn.src)
    elif insn.code in _ADD and insn.dst in state:
        value = state[insn.dst] + _ADD[insn.code] * insn.imm
    elif insn.code == isa.LDX | isa.MEM | isa.DW and insn.src in (isa.FP, isa.REG_PARAMS):
        value = state.get(("fp" if insn.src == isa.FP else "in", insn.off))
    _put(new, insn.dst, value)
    return new


def _put(state: State, place: Place, value: int | None) -> None:
    if value is None or value < 0:
        state.pop(place, None)
    else:
        state[place] = value
