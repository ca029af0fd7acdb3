"""The call graph: which function calls which, and what the kernel checks about it without looking at values.

Sources: sort_subprogs_topo, check_max_stack_depth of kernel/bpf/verifier.c; B.7 and B.10 of the rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bpf import isa
from bpf.program import Program
from verifier.refused import Refused
from verifier.subprogs import Function, Layout, is_bpf_call, is_func_ref

_SLOT = 16  # a JITed function's frame is counted in such units (round_up_stack_depth)

# Helpers and kfuncs whose callback runs later, on a stack of its own.
_ASYNC_HELPERS = frozenset({170})  # bpf_timer_set_callback
_ASYNC_KFUNCS = ("bpf_wq_set_callback", "bpf_task_work_schedule")


@dataclass(frozen=True, slots=True)
class Edge:
    """The call at `insn` of function `target`; ref: only its address is taken, as that of a callback."""

    insn: int
    target: int
    ref: bool


def call_edges(program: Program, layout: Layout) -> tuple[tuple[Edge, ...], ...]:
    """For each function its calls and references, in program order."""
    edges: list[list[Edge]] = [[] for _ in layout.functions]
    for at in layout.points:
        insn = program.insns[at]
        if insn.src and (is_bpf_call(insn) or is_func_ref(insn)):
            target = layout.starting_at(at + insn.imm + 1).index
            edges[layout.at(at).index].append(Edge(at, target, is_func_ref(insn)))
    return tuple(tuple(some) for some in edges)


def in_postorder(
    edges: Sequence[Sequence[Edge]], postorder: Sequence[Sequence[int]]
) -> tuple[tuple[Edge, ...], ...]:
    """The edges of each function in the order in which the kernel's walk over functions meets them."""
    return tuple(
        _sorted(some, order) if len(some) > 1 else tuple(some)
        for some, order in zip(edges, postorder, strict=True)
    )


def _sorted(edges: Sequence[Edge], order: Sequence[int]) -> tuple[Edge, ...]:
    place = {at: number for number, at in enumerate(order)}
    return tuple(sorted(edges, key=lambda edge: place.get(edge.insn, len(order))))


def has_async_callbacks(program: Program) -> bool:
    """Whether some callback may run outside the frame that names it."""
    if any(ref.name.startswith(_ASYNC_KFUNCS) for ref in program.kfuncs):
        return True
    return any(i.is_call and i.src == isa.HELPER_CALL and i.imm in _ASYNC_HELPERS for i in program.insns)


def check_recursion(layout: Layout, edges: Sequence[Sequence[Edge]]) -> None:
    """No function calls itself, directly or through others.

    The kernel leaves out calls that constants make unreachable and then refuses such a program for its depth, after
    the main pass; the verdict is the same. Functions that name each other are found there as well.
    """
    _check_cycles(layout, edges)


def _check_cycles(layout: Layout, edges: Sequence[Sequence[Edge]]) -> None:
    done: set[int] = set()
    for root in layout.functions:
        if root.index in done:
            continue
        path = [root.index]
        rest = [iter(edges[root.index])]
        while path:
            edge = next(rest[-1], None)
            if edge is None:
                done.add(path.pop())
                rest.pop()
            elif edge.ref:
                continue
            elif edge.target in path:
                raise _recursion(layout.functions[path[-1]], layout.functions[edge.target], edge)
            elif edge.target not in done:
                path.append(edge.target)
                rest.append(iter(edges[edge.target]))


def _recursion(caller: Function, callee: Function, edge: Edge) -> Refused:
    message = f"recursive call from {caller.name}() to {callee.name}()"
    return Refused("EINVAL", message, insn=edge.insn)


def callees_first(edges: Sequence[Sequence[Edge]]) -> list[int]:
    """All functions, each behind those it calls or names, but for cycles of names."""
    out: list[int] = []
    seen: set[int] = set()
    for root in range(len(edges)):
        stack = [(root, iter(edges[root]))] if root not in seen else []
        seen.add(root)
        while stack:
            node, rest = stack[-1]
            for edge in rest:
                if edge.target not in seen:
                    seen.add(edge.target)
                    stack.append((edge.target, iter(edges[edge.target])))
                    break
            else:
                out.append(node)
                stack.pop()
    return out


def round_depth(depth: int) -> int:
    """Bytes that a JITed function's frame counts for; an unused stack counts for nothing but a used one for 16 and more."""
    return -(-depth // _SLOT) * _SLOT


def tail_call_reachable(layout: Layout, edges: Sequence[Sequence[Edge]]) -> list[bool]:
    """For each function whether it, or something that it calls, may tail call."""
    reachable = [f.has_tail_call for f in layout.functions]
    for node in callees_first(edges) if any(reachable) else ():
        reachable[node] |= any(reachable[edge.target] for edge in edges[node] if not edge.ref)
    return reachable
