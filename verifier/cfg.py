"""Control flow inside functions: successors, reachability, and what lies on every path.

Source of the checks: kernel/bpf/cfg.c. Knows no registers and no values.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from heapq import heappop, heappush
from typing import TypeVar

from bpf import isa
from bpf.insn import Insn
from bpf.maps import MapType
from bpf.program import Program
from verifier.refused import Refused
from verifier.subprogs import Function, Layout, is_bpf_call, is_func_ref, jump_target

State = TypeVar("State")

_UNCONDITIONAL = (isa.OP_JA, isa.OP_GOTOL)


def width(insn: Insn) -> int:
    """Slots that an instruction takes."""
    return 2 if insn.code == isa.LD_IMM64 else 1


def successors(insns: Sequence[Insn], at: int, jump_table: Sequence[int] = ()) -> tuple[int, ...]:
    """Instructions that may follow `at` in the same function; calls return. jump_table: targets of a gotox."""
    insn = insns[at]
    code = insn.code
    if code & isa.CLASS_MASK not in (isa.JMP, isa.JMP32):
        return (at + 2,) if code == isa.LD_IMM64 else (at + 1,)
    if insn.op == isa.EXIT:
        return ()
    if insn.op == isa.CALL:
        return (at + 1,)
    if insn.code == isa.OP_GOTOX:
        return tuple(jump_table)
    target = jump_target(insns, at)
    return (target,) if insn.code in _UNCONDITIONAL else (at + 1, target)


def jump_tables(program: Program, layout: Layout) -> dict[int, tuple[int, ...]]:
    """For each function that has a gotox, by index: all targets its jump tables name, sorted."""
    tables: dict[int, tuple[int, ...]] = {}
    for at in layout.points:
        if program.insns[at].code == isa.OP_GOTOX:
            function = layout.at(at)
            if function.index not in tables:
                tables[function.index] = _function_table(program, function, at)
    return tables


def _function_table(program: Program, function: Function, at: int) -> tuple[int, ...]:
    targets: set[int] = set()
    for spec in program.maps:
        if spec.type == MapType.INSN_ARRAY and spec.elems:
            offsets = sorted({int.from_bytes(value[:4], "little") for _, value in spec.elems})
            if function.start <= offsets[0] < function.end:
                targets |= set(offsets)
    if not targets:
        raise Refused("EINVAL", f"no jump tables found for subprog starting at {function.start}", insn=at)
    if not all(function.start <= target < function.end for target in targets):
        where = f"[{function.start},{function.end}]"
        raise Refused("EINVAL", f"jump table for insn {at} points outside of the subprog {where}", insn=at)
    return tuple(sorted(targets))


def check_cfg(program: Program, layout: Layout, tables: dict[int, tuple[int, ...]]) -> None:
    """Every instruction can be reached, and none from inside an ld_imm64. Backward jumps are allowed here."""
    insns = program.insns
    reached = _reach(insns, layout, tables)
    middle = len(insns)
    for at in layout.points:
        if insns[at].code == isa.LD_IMM64:
            if reached[at + 1]:
                middle = at
                break
            reached[at + 1] = 1
    dead = reached.find(0)
    if 0 <= dead <= middle:
        raise Refused("EINVAL", f"unreachable insn {dead}", insn=dead)
    if middle < len(insns):
        raise Refused("EINVAL", f"jump into the middle of ldimm64 insn {middle}", insn=middle)


def _reach(insns: Sequence[Insn], layout: Layout, tables: dict[int, tuple[int, ...]]) -> bytearray:
    """For each slot whether something goes there, from the program's start or the exception callback's."""
    size = len(insns)
    reached = bytearray(size)
    work = [0, *(f.start for f in layout.functions if f.is_exception_cb)]
    while work:
        at = work.pop()
        if reached[at]:
            continue
        point = layout.next_point(at)
        met = reached[point]
        reached[at : point + 1] = b"\1" * (point + 1 - at)
        if met:
            continue
        insn = insns[point]
        table = tables.get(layout.at(point).index, ()) if insn.code == isa.OP_GOTOX else ()
        targets = successors(insns, point, table)
        if is_bpf_call(insn) or is_func_ref(insn):
            targets = (*targets, point + insn.imm + 1)
        for target in targets:
            if not 0 <= target < size:
                raise Refused("EINVAL", f"jump out of range from insn {point} to {target}", insn=point)
        work += targets
    return reached


class FunctionGraph:
    """The flow graph of one function that passed `check_cfg`; nodes are instruction indices.

    leaves: instructions after which the function may be left although it goes on for the kernel too (a call
    that may throw); they get an edge to the exit.
    """

    def __init__(
        self,
        insns: Sequence[Insn],
        function: Function,
        jump_table: Sequence[int] = (),
        leaves: frozenset[int] = frozenset(),
    ) -> None:
        self.function = function
        self.leaves = leaves
        self._insns = insns
        self._jump_table = jump_table

    @cached_property
    def succ(self) -> dict[int, tuple[int, ...]]:
        """Successors of each node."""
        found: dict[int, tuple[int, ...]] = {}
        work = [self.function.start]
        while work:
            at = work.pop()
            if at not in found:
                found[at] = successors(self._insns, at, self._jump_table)
                work.extend(found[at])
        return found

    @cached_property
    def postorder(self) -> list[int]:
        """Nodes in postorder from the entry; reversed, a good order for forward analyses."""
        out: list[int] = []
        seen = {self.function.start}
        stack = [(self.function.start, iter(self.succ[self.function.start]))]
        while stack:
            at, rest = stack[-1]
            for target in rest:
                if target not in seen:
                    seen.add(target)
                    stack.append((target, iter(self.succ[target])))
                    break
            else:
                out.append(at)
                stack.pop()
        return out

    @cached_property
    def unavoidable(self) -> list[int]:
        """The nodes on every path from the entry to the exit, in the order in which each path meets them.

        Postdominators of the entry (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm), with a virtual
        exit behind all exits. A path that never ends is no path to the exit: no kernel accepts a program that has
        only such paths. Empty when no exit can be reached.
        """
        exit_node = -1
        pred: dict[int, list[int]] = {exit_node: []}
        for at, targets in self.succ.items():
            pred.setdefault(at, [])
            for target in targets:
                pred.setdefault(target, []).append(at)
            if not targets or at in self.leaves:
                pred[exit_node].append(at)
        order = _reverse_postorder(exit_node, pred)
        rank = {node: number for number, node in enumerate(order)}
        parent = _postdominators(order, rank, self.succ, self.leaves, exit_node)
        start = self.function.start
        if start not in parent:
            return []
        chain = []
        node = start
        while node != exit_node:
            chain.append(node)
            node = parent[node]
        return chain


def _reverse_postorder(root: int, edges: dict[int, list[int]]) -> list[int]:
    out: list[int] = []
    seen = {root}
    stack = [(root, iter(edges[root]))]
    while stack:
        node, rest = stack[-1]
        for target in rest:
            if target not in seen:
                seen.add(target)
                stack.append((target, iter(edges[target])))
                break
        else:
            out.append(node)
            stack.pop()
    return out[::-1]


def _postdominators(
    order: Sequence[int],
    rank: dict[int, int],
    succ: dict[int, tuple[int, ...]],
    leaves: frozenset[int],
    exit_node: int,
) -> dict[int, int]:
    parent = {exit_node: exit_node}

    def meet(a: int, b: int) -> int:
        while a != b:
            while rank[a] > rank[b]:
                a = parent[a]
            while rank[b] > rank[a]:
                b = parent[b]
        return a

    changed = True
    while changed:
        changed = False
        for node in order[1:]:
            targets = list(succ[node])
            if not targets or node in leaves:
                targets.append(exit_node)
            new: int | None = None
            for target in targets:
                if target in parent:
                    new = target if new is None else meet(new, target)
            if new is not None and parent.get(node) != new:
                parent[node] = new
                changed = True
    return parent


def solve(
    graph: FunctionGraph,
    entry: State,
    step: Callable[[int, State], State],
    join: Callable[[State, State], State],
) -> dict[int, State]:
    """Forward data flow: for each reachable instruction the joined state before it, a least fixed point.

    step(at, state) is the state after instruction `at`; both functions must be monotone over a lattice of finite
    height, or this does not end.
    """
    rank = {node: number for number, node in enumerate(reversed(graph.postorder))}
    start = graph.function.start
    states = {start: entry}
    queue = [(rank[start], start)]
    queued = {start}
    while queue:
        _, at = heappop(queue)
        queued.discard(at)
        after = step(at, states[at])
        for target in graph.succ[at]:
            old = states.get(target)
            new = after if old is None else join(old, after)
            if new != old:
                states[target] = new
                if target not in queued:
                    queued.add(target)
                    heappush(queue, (rank[target], target))
    return states
