"""How many bytes of r10 stack each function uses: an upper bound, and a lower bound.

The kernel learns it from the accesses of the paths it verifies, through whatever register they are made; this is a
forward data flow over all paths of the control-flow graph. A value is the set of stack addresses that a register may
hold, each as (base, offset): the frame of this function, or one of its arguments. What is no stack address does not
matter and is not in the set. Accesses that a callee makes through an argument count for the frame that the argument
points into, and a pointer that is handed to a helper or stored counts as an access at its offset.

Never too small. Where the offset of an access is not a constant, or where more than a few addresses are possible,
the function counts as using all 512 bytes. Too large in two cases: the access lies in code that no path reaches,
or it needs such a constant that only the abstract interpretation finds.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bpf import isa
from bpf.insn import Insn
from verifier.calls import Edge, callees_first
from verifier.cfg import FunctionGraph, solve
from verifier.effects import clobbers, writes
from verifier.subprogs import Layout, is_bpf_call

FRAME = 0  # base of this function's own stack; bases 1..12 are its arguments
MEMORY = 13  # an address that was loaded from memory
_MAX_ADDRESSES = 8
_UNKNOWN = -isa.MAX_STACK - 1  # offset that is no constant
_NEVER = 1 << 20  # lowest offset of what is not accessed

Address = tuple[int, int]
Addresses = frozenset[Address]
_NONE: Addresses = frozenset()
State = tuple[Addresses, ...]  # r0..r10, then 7 outgoing slots
_SLOTS_AT = isa.MAX_BPF_REG


@dataclass(frozen=True, slots=True)
class StackUse:
    """What one function does to stacks.

    depth: bytes of its own frame in use, a multiple of 8, 0..512 and more when accesses go further.
    certain: the same for accesses on every path only. low: for arguments 1..12 (index k-1) and memory (index 12) the
    lowest offset accessed; below -512 where that is no constant, far above 512 where there is no access. stored:
    bases of the pointers that are stored to memory: 0 the own frame, k argument k.
    """

    depth: int
    certain: int
    low: tuple[int, ...]
    stored: frozenset[int]


def stack_use(
    insns: Sequence[Insn],
    layout: Layout,
    graphs: Sequence[FunctionGraph],
    edges: Sequence[Sequence[Edge]],
    pointers: Mapping[int, Collection[int]],
) -> list[StackUse]:
    """For each function its own accesses and those of its callees through what they are given.

    pointers: numbers of the arguments through which a helper or kfunc accesses memory, by call instruction. The call
    graph must have no cycle.
    """
    uses: dict[int, StackUse] = {}
    for index in callees_first(edges):
        uses[index] = _Flow(insns, layout, graphs[index], uses, pointers).run()
    # A callback gets a pointer by way of a helper that nobody here looks into.
    called_back = {edge.target for some in edges for edge in some if edge.ref}
    wild = any(min(uses[index].low[: MEMORY - 1]) < 0 for index in called_back)
    # A pointer that was loaded may be one that was stored.
    if any(FRAME in use.stored for use in uses.values()):
        wild |= any(use.low[MEMORY - 1] < 0 for use in uses.values())
    return [
        replace(use, depth=isa.MAX_STACK) if wild and use.depth else use
        for use in (uses[f.index] for f in layout.functions)
    ]


class _Flow:
    """The data flow of one function."""

    def __init__(
        self,
        insns: Sequence[Insn],
        layout: Layout,
        graph: FunctionGraph,
        uses: Mapping[int, StackUse],
        pointers: Mapping[int, Collection[int]],
    ) -> None:
        self.insns = insns
        self.layout = layout
        self.graph = graph
        self.uses = uses
        self.pointers = pointers
        self.stored: set[int] = set()
        self.low = [0] + [_NEVER] * MEMORY
        self.certain = 0

    def run(self) -> StackUse:
        entry: list[Addresses] = [_NONE] * (isa.MAX_BPF_REG + isa.MAX_STACK_ARG_SLOTS)
        for register in range(1, isa.MAX_REG_ARGS + 1):
            entry[register] = frozenset({(register, 0)})
        entry[isa.FP] = frozenset({(FRAME, 0)})
        states = solve(self.graph, tuple(entry), self._step, _join)
        certain = set(self.graph.unavoidable)
        for at, state in states.items():
            self._account(at, state, certain=at in certain)
        depth = _round8(-self.low[FRAME])
        return StackUse(
            min(depth, isa.MAX_STACK), _round8(self.certain), tuple(self.low[1:]), frozenset(self.stored)
        )

    def _step(self, at: int, state: State) -> State:
        insn = self.insns[at]
        written, lost = writes(insn), clobbers(insn)
        if isa.is_stack_arg_store(insn.code, insn.dst, insn.off):
            slot = isa.store_slot(insn.off)
            if slot < isa.MAX_STACK_ARG_SLOTS:
                new = list(state)
                new[_SLOTS_AT + slot] = state[insn.src] if insn.cls == isa.STX else _NONE
                return tuple(new)
            return state
        if not written and not lost:
            return state
        new = [_NONE if lost >> reg & 1 or written >> reg & 1 else state[reg] for reg in range(_SLOTS_AT)]
        new += state[_SLOTS_AT:]
        if insn.is_call:
            new[_SLOTS_AT:] = [_NONE] * isa.MAX_STACK_ARG_SLOTS
        elif insn.cls in (isa.ALU64, isa.ALU, isa.LDX) and insn.dst != isa.FP:
            new[insn.dst] = self._value(insn, state)
        after = tuple(new)
        # Long programs have few different states; keeping one object for each saves their memory.
        return state if after == state else after

    def _value(self, insn: Insn, state: State) -> Addresses:
        """Addresses that `insn` may put into its destination."""
        if isa.is_stack_arg_load(insn.code, insn.src, insn.off):
            slot = isa.load_slot(insn.off)
            return frozenset({(6 + slot, 0)}) if slot < isa.MAX_STACK_ARG_SLOTS else _NONE
        if insn.cls == isa.LDX:
            # A pointer that was spilled counted as an access when it was stored.
            return (
                frozenset({(MEMORY, 0)})
                if insn.size == 8 and insn.mode == isa.MEM and state[insn.src]
                else _NONE
            )
        if insn.cls == isa.ALU:
            return _NONE
        if insn.op == isa.MOV:
            return state[insn.src] if insn.code & isa.X else _NONE
        if insn.op in (isa.ADD, isa.SUB):
            return _moved(insn, state)
        return _NONE

    def _account(self, at: int, state: State, *, certain: bool) -> None:
        """Counts the accesses that the instruction makes, or that its callee may make."""
        insn = self.insns[at]
        if insn.is_call:
            self._account_call(at, insn, state)
            return
        if insn.cls in (isa.LDX, isa.ST, isa.STX):
            loads = insn.cls == isa.LDX or (insn.mode == isa.ATOMIC and insn.imm == isa.LOAD_ACQ)
            base = insn.src if loads else insn.dst
            if base != isa.REG_PARAMS:
                self._touch(state[base], insn.off, certain=certain)
            if insn.cls == isa.STX and insn.mode == isa.MEM and insn.dst != isa.REG_PARAMS:
                self._touch(state[insn.src], 0)
                self.stored |= {base for base, _ in state[insn.src]}

    def _account_call(self, at: int, insn: Insn, state: State) -> None:
        callee = self.uses[self.layout.starting_at(at + insn.imm + 1).index] if is_bpf_call(insn) else None
        for number in range(1, isa.MAX_FUNC_ARGS + 1):
            in_register = number <= isa.MAX_REG_ARGS
            held = state[number] if in_register else state[_SLOTS_AT + number - 6]
            if callee is not None:
                if callee.low[number - 1] != _NEVER:
                    self._touch(held, callee.low[number - 1])
                if number in callee.stored:
                    self.stored |= {base for base, _ in held}
            elif number in self.pointers.get(at, ()):
                self._touch(held, 0)

    def _touch(self, held: Addresses, off: int, *, certain: bool = False) -> None:
        for base, at in held:
            low = _UNKNOWN if at == _UNKNOWN or off <= _UNKNOWN else at + off
            self.low[base] = min(self.low[base], low)
        if certain and len(held) == 1:
            ((base, at),) = held
            if base == FRAME and at != _UNKNOWN and -isa.MAX_STACK <= at + off < 0:
                self.certain = max(self.certain, -(at + off))


def _moved(insn: Insn, state: State) -> Addresses:
    if not insn.code & isa.X:
        step = insn.imm if insn.op == isa.ADD else -insn.imm
        return frozenset((base, _offset(at, step)) for base, at in state[insn.dst])
    held = state[insn.dst] | (state[insn.src] if insn.op == isa.ADD else _NONE)
    return frozenset((base, _UNKNOWN) for base, _ in held)


def _offset(at: int, step: int) -> int:
    moved = at + step
    return moved if at != _UNKNOWN and -isa.MAX_STACK <= moved <= isa.MAX_STACK else _UNKNOWN


def _join(a: State, b: State) -> State:
    if a == b:
        return a
    return tuple(x if x == y else _limited(x | y) for x, y in zip(a, b, strict=True))


def _limited(held: Addresses) -> Addresses:
    if len(held) <= _MAX_ADDRESSES:
        return held
    return frozenset((base, _UNKNOWN) for base, _ in held)


def _round8(depth: int) -> int:
    return -(-depth // 8) * 8
