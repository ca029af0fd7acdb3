"""What is known of a program before its paths are followed, and how that and what was found become a `Verified`.

The checks run in bpf_check's order: func_info records; functions and jumps; func_info and line_info against the
functions; every instruction and its references; kfuncs; control flow; sleepability; recursion. Knows no states.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bpf import isa
from bpf.program import Program
from bpf.proto import FuncProto
from bpf.verified import Subprog, Verified
from verifier import calls, cfg, fixups, load, log, prelog, resolve, subprogs
from verifier.arena import arena_args, arena_user
from verifier.env import Env
from verifier.flow import Flow
from verifier.kfuncs import THROW, resolve_kfuncs
from verifier.refused import Refused
from verifier.subprogs import Function, Layout


@dataclass(slots=True)
class Progress:
    """How far the passes came; the log of a refused program lists the functions found by then.

    notes: what a log of level 2 says before there is an Env. starts: of all functions. resolved: maps have addresses.
    """

    functions: Sequence[Function] = ()
    env: Env | None = None
    notes: str = ""
    starts: Sequence[int] = (0,)
    resolved: bool = False

    def found(self, program: Program) -> Sequence[Function]:
        """The functions; before they are checked nothing but their bounds is known."""
        if len(self.functions) == len(self.starts):
            return self.functions
        ends = (*self.starts[1:], len(program.insns))
        return [Function(i, *span) for i, span in enumerate(zip(self.starts, ends, strict=True))]


@dataclass(frozen=True, slots=True)
class Structure:
    """What is known before the main pass."""

    layout: Layout
    kfuncs: Mapping[int, FuncProto]
    graphs: tuple[cfg.FunctionGraph, ...]
    tables: Mapping[int, tuple[int, ...]]
    edges: tuple[tuple[calls.Edge, ...], ...]
    flow: Flow


def find_structure(program: Program, progress: Progress) -> Structure:
    """All checks that need no path, in the kernel's order. Raises Refused; `progress` tells how far it came."""
    subprogs.check_func_info_records(program)
    points = subprogs.find_points(program.insns)
    starts = subprogs.find_subprogs(program, points)
    progress.notes = prelog.functions_text(starts)
    progress.starts = starts
    functions = subprogs.check_subprogs(program.insns, starts, points)
    progress.functions = functions
    layout = subprogs.describe(program, functions, points)
    progress.functions = layout.functions
    resolve.check_insns(program)
    progress.resolved = True
    kfuncs = resolve_kfuncs(program, points)
    tables = cfg.jump_tables(program, layout)
    flow = Flow(program.insns, layout, tables)
    cfg.check_cfg(program, layout, tables)
    load.check_sleepable(program)
    edges = calls.call_edges(program, layout)
    calls.check_recursion(layout, calls.in_postorder(edges, flow.postorder))
    throwing = _throwing(layout, edges, kfuncs)
    graphs = tuple(
        cfg.FunctionGraph(program.insns, f, tables.get(f.index, ()), throwing) for f in layout.functions
    )
    return Structure(layout, kfuncs, graphs, tables, edges, flow)


def _throwing(
    layout: Layout,
    edges: Sequence[Sequence[calls.Edge]],
    kfuncs: Mapping[int, FuncProto],
) -> frozenset[int]:
    """Call instructions that may not come back because something below them throws."""
    throws = {at for at, proto in kfuncs.items() if proto.name == THROW}
    if not throws:
        return frozenset()
    functions = {layout.at(at).index for at in throws}
    for index in calls.callees_first(edges):
        if any(edge.target in functions for edge in edges[index]):
            functions.add(index)
    return frozenset(throws | {e.insn for some in edges for e in some if e.target in functions})


def check_unresolved_kfuncs(program: Program, structure: Structure, reached: Callable[[int], bool]) -> None:
    """A kfunc call with number 0 passes for code that is never reached, and is found out by the rewriting.

    reached: whether an instruction is known to be reached. Raises Refused.
    """
    for at in structure.layout.points:
        insn = program.insns[at]
        if insn.is_call and insn.src == isa.PSEUDO_KFUNC_CALL and at not in structure.kfuncs and reached(at):
            message = "invalid kernel function call not eliminated in verifier pass"
            raise Refused("EINVAL", message, insn=at)


def list_subprogs(
    structure: Structure,
    required: Sequence[int],
    rewritten: fixups.Rewritten,
    env: Env | None,
    private: Collection[int] = (),
) -> tuple[Subprog, ...]:
    """The functions that are left after the rewriting. private: numbers of those with a stack of their own."""
    reachable = calls.tail_call_reachable(structure.layout, structure.edges)
    throws = any(graph.leaves for graph in structure.graphs)
    ends = (*rewritten.starts[1:], len(rewritten.insns))
    out = []
    for number, start, end, depth in zip(
        rewritten.functions, rewritten.starts, ends, rewritten.depths, strict=True
    ):
        f = structure.layout.functions[number]
        out.append(
            Subprog(
                f.title,
                start,
                end,
                f.kind,
                arg_cnt=f.arg_cnt if f.index else 1,
                stack_depth=depth,
                in_stack_args=f.in_stack_args,
                out_stack_args=required[number],
                has_tail_call=f.has_tail_call,
                tail_call_reachable=reachable[number],
                is_exception_cb=f.is_exception_cb,
                is_exception_boundary=throws and f.index == 0,
                insns_self=env.subprogs[number].insns_self if env is not None else 0,
                insns_total=env.subprogs[number].insns_total if env is not None else 0,
                private_stack=number in private,
            )
        )
    return tuple(out)


def counters(env: Env | None) -> dict[str, int]:
    """The counters of the log's last line."""
    if env is None:
        return {**log.NO_STATS, "stack_max": 0}
    return {
        "max_states_per_insn": env.max_states_per_insn,
        "total_states": env.total_states,
        "peak_states": env.peak_states,
        "stack_max": env.stack_max,
    }


def make_verified(
    program: Program,
    structure: Structure,
    listed: tuple[Subprog, ...],
    rewritten: fixups.Rewritten,
    text: str,
    stats: dict[str, int],
    processed: int,
) -> Verified:
    """The answer for a program that passed. listed: as `list_subprogs`. text: the log. processed: instructions visited."""
    arena = arena_user(program)
    return Verified(
        program,
        rewritten.insns,
        rewritten.origin,
        tuple(replace(sub, arena_user=arena) for sub in listed) if arena is not None else listed,
        rewritten.kfuncs,
        rewritten.symbols,
        text,
        stats,
        processed,
        pruned=processed > 0,
        inlined=rewritten.inlined,
        pokes=rewritten.pokes,
        converted=rewritten.converted,
        indirect_targets=frozenset(
            rewritten.place[old] for table in structure.tables.values() for old in table
        ),
        arena_args=arena_args(structure.kfuncs, rewritten.insns, rewritten.origin)
        if arena is not None
        else {},
    )
