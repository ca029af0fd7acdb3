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
    for at, insn in enumerate(program.insns):
        if is_bpf_call(insn) or is_func_ref(insn):
            target = layout.starting_at(at + insn.imm + 1).index
            edges[layout.at(at).index].append(Edge(at, target, is_func_ref(insn)))
    return tuple(tuple(some) for some in edges)


def has_async_callbacks(program: Program) -> bool:
    """Whether some callback may run outside the frame that names it."""
    if any(ref.name.startswith(_ASYNC_KFUNCS) for ref in program.kfuncs):
        return True
    return any(i.is_call and i.src == isa.HELPER_CALL and i.imm in _ASYNC_HELPERS for i in program.insns)


def check_recursion(layout: Layout, edges: Sequence[Sequence[Edge]]) -> None:
    """No function calls itself, directly or through others.

    The kernel leaves out calls that constants make unreachable and then refuses such a program for its depth, after
    the main pass; the verdict is the same.
    """
    _check_cycles(layout, edges, refs=False)
    _check_cycles(layout, edges, refs=True)


def _check_cycles(layout: Layout, edges: Sequence[Sequence[Edge]], *, refs: bool) -> None:
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
            elif edge.ref and not refs:
                continue
            elif edge.target in path:
                raise _recursion(layout.functions[path[-1]], layout.functions[edge.target], edge, refs=refs)
            elif edge.target not in done:
                path.append(edge.target)
                rest.append(iter(edges[edge.target]))


def _recursion(caller: Function, callee: Function, edge: Edge, *, refs: bool) -> Refused:
    if refs:
        return Refused(
            "E2BIG", f"the call stack of {isa.MAX_CALL_FRAMES} frames is too deep !", insn=edge.insn
        )
    message = f"recursive call from {caller.name}() to {callee.name}()"
    return Refused("EINVAL", message, insn=edge.insn)


def callees_first(edges: Sequence[Sequence[Edge]]) -> list[int]:
    """All functions, each behind those it calls or names. The graph must have no cycle."""
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


@dataclass(frozen=True, slots=True)
class Frame:
    """What check_depth needs of a function. depth: bytes that are certainly used; stack_args: whether it certainly has slots."""

    depth: int
    stack_args: bool


class Deepest:
    """Bytes of the deepest chain met so far, also when it is refused."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0


def check_depth(
    layout: Layout,
    edges: Sequence[Sequence[Edge]],
    frames: Sequence[Frame],
    deepest: Deepest,
    *,
    with_refs: bool,
) -> None:
    """Depth of every chain of calls in frames and bytes, and tail calls on chains with stack arguments.

    with_refs: callbacks that are named run on the stack of whoever names them. Chains are counted once for each
    state that matters, so that the work stays linear in the program.
    """
    if any(len(e) for e in edges):
        _check_heights(edges, with_refs=with_refs)
    _check_bytes(layout, edges, frames, deepest, with_refs=with_refs)
    _check_tail_calls(layout, edges, frames, with_refs=with_refs)


def _taken(edges: Sequence[Edge], *, with_refs: bool) -> list[Edge]:
    return [edge for edge in edges if with_refs or not edge.ref]


def _check_heights(edges: Sequence[Sequence[Edge]], *, with_refs: bool) -> None:
    height: dict[int, int] = {}
    for node in callees_first(edges):
        height[node] = 1 + max(
            (height[e.target] for e in _taken(edges[node], with_refs=with_refs)), default=0
        )
    if height[0] > isa.MAX_CALL_FRAMES:
        raise Refused("E2BIG", f"the call stack of {isa.MAX_CALL_FRAMES} frames is too deep !")


def _check_bytes(
    layout: Layout,
    edges: Sequence[Sequence[Edge]],
    frames: Sequence[Frame],
    deepest: Deepest,
    *,
    with_refs: bool,
) -> None:
    """Walks chains in the kernel's order to report the first that is too deep, each (function, depth) once."""
    seen: set[tuple[int, int]] = set()
    work: list[tuple[int, int, int]] = [(0, 0, 1)]  # function, bytes of its callers, frames
    while work:
        node, below, count = work.pop()
        has_depth_limit = layout.functions[node].has_tail_call and below >= 256
        if has_depth_limit:
            message = (
                f"tail_calls are not allowed when call stack of previous frames is {below} bytes. Too large"
            )
            raise Refused("EACCES", message, insn=layout.functions[node].start)
        total = below + round_depth(frames[node].depth)
        deepest.total = max(deepest.total, total)
        if total > isa.MAX_STACK:
            message = f"combined stack size of {count} calls is {total}. Too large"
            raise Refused("EACCES", message, insn=layout.functions[node].start)
        if (node, below) in seen:
            continue
        seen.add((node, below))
        taken = _taken(edges[node], with_refs=with_refs)
        work.extend((edge.target, total, count + 1) for edge in reversed(taken))


def round_depth(depth: int) -> int:
    """Bytes that a JITed function's frame counts for; an unused stack counts for nothing but a used one for 16 and more."""
    return -(-depth // _SLOT) * _SLOT


def tail_call_reachable(layout: Layout, edges: Sequence[Sequence[Edge]]) -> list[bool]:
    """For each function whether it, or something that it calls, may tail call."""
    reachable = [f.has_tail_call for f in layout.functions]
    for node in callees_first(edges):
        reachable[node] |= any(reachable[edge.target] for edge in edges[node] if not edge.ref)
    return reachable


def _check_tail_calls(
    layout: Layout, edges: Sequence[Sequence[Edge]], frames: Sequence[Frame], *, with_refs: bool
) -> None:
    reachable = [f.has_tail_call for f in layout.functions]
    for node in callees_first(edges):
        reachable[node] |= any(reachable[e.target] for e in _taken(edges[node], with_refs=with_refs))
    live = {0}
    for node in reversed(callees_first(edges)):
        if node in live:
            live |= {e.target for e in _taken(edges[node], with_refs=with_refs)}
    for node in sorted(live):
        if reachable[node] and frames[node].stack_args:
            message = "tail_calls are not allowed in programs with stack args"
            raise Refused("EINVAL", message, insn=layout.functions[node].start)
