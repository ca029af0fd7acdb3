"""`verify`: runs the passes in the kernel's order and makes their answers a value.

The order is bpf_check's: what the load command checks; func_info records; functions and jumps; func_info and
line_info against the functions; every instruction and its references; kfuncs; control flow; sleepability; recursion;
the main pass; depth of calls; rewriting; stack-argument slots. The main pass is, so far, the part of it that needs no
values (verifier/certain.py); the abstract interpretation takes its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpf import isa
from bpf.errors import InputError
from bpf.helpers import HELPERS
from bpf.maps import MapType
from bpf.program import KfuncRef, Program
from bpf.proto import FuncProto
from bpf.verified import Rejected, Subprog, Verified
from verifier import calls, certain, cfg, fixups, load, log, resolve, subprogs
from verifier.kfuncs import THROW, resolve_kfuncs
from verifier.refused import Refused
from verifier.stackdepth import StackUse, stack_use
from verifier.subprogs import Function, Layout

# What every front end says about a verdict of this layer.
FIRST_LAYER_NOTE = (
    "Accepted by the first layer only: instructions, control flow, functions, stack arguments and stack depth are "
    "checked; values, memory accesses and pointer types are not yet."
)

# Program types whose functions may get a stack of their own, so that chains of calls have no common limit.
_PRIVATE_STACK = frozenset(
    {
        "kprobe",
        "tracepoint",
        "perf_event",
        "raw_tracepoint",
        "raw_tracepoint_writable",
        "tracing",
        "lsm",
        "struct_ops",
    }
)


def verify(program: Program, *, log_level: int = 1, mode: str = "kernel") -> Verified | Rejected:
    """The kernel's verdict, as far as this layer goes: never refuses what Linux 7.3 accepts.

    log_level: as of the load command, 0 none, bit 4 statistics. mode: "kernel", or "strict", which also refuses
    callbacks with more than 5 parameters (section I of the rules, hole 2). Raises InputError when a kfunc has no
    prototype or the mode is unknown.
    """
    if mode not in ("kernel", "strict"):
        raise InputError("verifier mode", "", f"must be 'kernel' or 'strict', not {mode!r}")
    try:
        load.check_load(program)
    except Refused as no:
        # The last line with the counters is missing from the log as well.
        text = "".join(f"{line}\n" for line in no.messages) if log_level else ""
        return Rejected(
            program, no.errno, no.messages[-1] if no.messages else None, no.messages, no.insn, text
        )
    progress = _Progress()
    try:
        return _accept(program, progress, log_level, mode)
    except Refused as no:
        return _reject(program, progress, no, log_level)


@dataclass(slots=True)
class _Progress:
    """How far the passes came; the log of a refused program lists the functions found by then."""

    functions: Sequence[Function] = ()


@dataclass(frozen=True, slots=True)
class _Structure:
    """What is known before the main pass."""

    layout: Layout
    kfuncs: Mapping[int, FuncProto]
    graphs: tuple[cfg.FunctionGraph, ...]
    tables: Mapping[int, tuple[int, ...]]
    edges: tuple[tuple[calls.Edge, ...], ...]


def _reject(program: Program, progress: _Progress, no: Refused, log_level: int) -> Rejected:
    functions = progress.functions or (Function(0, 0, len(program.insns)),)
    listed = [Subprog(f.title, f.start, f.end, f.kind) for f in functions]
    text = log.render(no.messages, listed, 0, log.NO_STATS, log_level)
    message = no.messages[-1] if no.messages else None
    return Rejected(program, no.errno, message, no.messages, no.insn, text, dict(log.NO_STATS))


def _structure(program: Program, progress: _Progress) -> _Structure:
    subprogs.check_func_info_records(program)
    starts = subprogs.find_subprogs(program)
    progress.functions = [Function(0, 0, len(program.insns))]
    functions = subprogs.check_subprogs(program.insns, starts)
    progress.functions = functions
    layout = subprogs.describe(program, functions)
    progress.functions = layout.functions
    resolve.check_insns(program)
    kfuncs = resolve_kfuncs(program)
    tables = cfg.jump_tables(program, layout)
    cfg.check_cfg(program, layout, tables)
    load.check_sleepable(program)
    edges = calls.call_edges(program, layout)
    calls.check_recursion(layout, edges)
    throwing = _throwing(layout, edges, kfuncs)
    graphs = tuple(
        cfg.FunctionGraph(program.insns, f, tables.get(f.index, ()), throwing) for f in layout.functions
    )
    return _Structure(layout, kfuncs, graphs, tables, edges)


def _throwing(
    layout: Layout,
    edges: Sequence[Sequence[calls.Edge]],
    kfuncs: Mapping[int, FuncProto],
) -> frozenset[int]:
    """Call instructions that may not come back because something below them throws."""
    throws = {at for at, proto in kfuncs.items() if proto.name == THROW}
    functions = {layout.at(at).index for at in throws}
    for index in calls.callees_first(edges):
        if any(edge.target in functions for edge in edges[index]):
            functions.add(index)
    return frozenset(throws | {e.insn for some in edges for e in some if e.target in functions})


def _accept(program: Program, progress: _Progress, log_level: int, mode: str) -> Verified:
    structure = _structure(program, progress)
    layout = structure.layout
    context = _context(program, structure)
    if mode == "strict":
        _check_callbacks(structure)
    found = certain.check_certain(context)
    required = _required_slots(context)
    pointers = _pointer_args(context)
    uses = stack_use(program.insns, layout, structure.graphs, structure.edges, pointers)
    if program.prog_type not in _PRIVATE_STACK:
        with_refs = not calls.has_async_callbacks(program)
        frames = [
            calls.Frame(use.certain, bool(slots or f.in_stack_args))
            if f.index in found.entered
            else calls.UNUSED
            for use, slots, f in zip(uses, found.calls, layout.functions, strict=True)
        ]
        calls.check_depth(layout, structure.edges, frames, with_refs=with_refs)
    _check_unresolved_kfuncs(program, structure)
    depths = [use.depth for use in uses]
    never = _never_reached(program, structure, required)
    rewritten = fixups.rewrite(program.insns, layout, depths, _used_kfuncs(program), never)
    for function, wrote, slots in zip(layout.functions, found.writes, required, strict=True):
        if wrote > slots and not found.callbacks_pass_args:
            message = f"func#{function.index} writes {wrote} stack arg slots, but calls only require {slots}"
            raise Refused("EINVAL", message, insn=function.start)
    listed = _subprogs(structure, uses, required, rewritten)
    text = log.render((), listed, 0, log.NO_STATS, log_level)
    return _verified(program, structure, listed, rewritten, text)


def assume(program: Program) -> Verified:
    """`program` as if it had been accepted, for running what the verifier refuses. Nothing about it is certain.

    A function's outgoing area holds every slot that its calls require and every slot that it writes. Raises InputError
    when the program has no structure that could be compiled: a jump out of range, an invalid instruction, ...
    """
    try:
        structure = _structure(program, _Progress())
        context = _context(program, structure)
        uses = stack_use(
            program.insns, structure.layout, structure.graphs, structure.edges, _pointer_args(context)
        )
        _check_unresolved_kfuncs(program, structure)
        depths = [use.depth for use in uses]
        rewritten = fixups.rewrite(program.insns, structure.layout, depths, _used_kfuncs(program))
    except Refused as no:
        where = "" if no.insn is None else f"insn {no.insn}"
        raise InputError(program.name, where, f"cannot run, verified or not: {no.messages[-1]}") from None
    slots = [
        max(required, written)
        for required, written in zip(
            _required_slots(context), _written_slots(program, structure), strict=True
        )
    ]
    return _verified(program, structure, _subprogs(structure, uses, slots, rewritten), rewritten, "")


def _context(program: Program, structure: _Structure) -> certain.Context:
    return certain.Context(
        program.insns,
        structure.layout,
        structure.graphs,
        structure.edges,
        structure.kfuncs,
        program.prog_type,
        program.license,
    )


def _required_slots(context: certain.Context) -> list[int]:
    """For each function the most outgoing slots that one of its calls needs (bpf_out_stack_arg_cnt)."""
    return [max((certain.out_slots(context, at) for at in g.succ), default=0) for g in context.graphs]


def _written_slots(program: Program, structure: _Structure) -> list[int]:
    """For each function the deepest outgoing slot that one of its instructions writes, plus one."""
    return [
        min(
            max(
                (
                    isa.store_slot(insn.off) + 1
                    for insn in program.insns[f.start : f.end]
                    if isa.is_stack_arg_store(insn.code, insn.dst, insn.off)
                ),
                default=0,
            ),
            isa.MAX_STACK_ARG_SLOTS,
        )
        for f in structure.layout.functions
    ]


def _verified(
    program: Program,
    structure: _Structure,
    listed: tuple[Subprog, ...],
    rewritten: fixups.Rewritten,
    text: str,
) -> Verified:
    return Verified(
        program,
        rewritten.insns,
        rewritten.origin,
        listed,
        rewritten.kfuncs,
        rewritten.symbols,
        text,
        dict(log.NO_STATS),
        indirect_targets=frozenset(
            rewritten.place[old] for table in structure.tables.values() for old in table
        ),
    )


def _pointer_args(context: certain.Context) -> dict[int, frozenset[int]]:
    """Numbers of the arguments that helpers and kfuncs take as pointers, by call instruction."""
    found = {
        at: frozenset(k for k, param in enumerate(proto.params, 1) if param.type.kind == "ptr")
        for at, proto in context.kfuncs.items()
    }
    for at, insn in enumerate(context.insns):
        if insn.is_call and insn.src == isa.HELPER_CALL and insn.imm in HELPERS:
            args = HELPERS[insn.imm].args
            found[at] = frozenset(k for k, arg in enumerate(args, 1) if "PTR" in arg.kind)
    return found


def _check_unresolved_kfuncs(program: Program, structure: _Structure) -> None:
    """A kfunc call with number 0 passes for code that is never reached, and is found out by the rewriting."""
    certain_insns = set(structure.graphs[0].unavoidable)
    for at, insn in enumerate(program.insns):
        if (
            insn.is_call
            and insn.src == isa.PSEUDO_KFUNC_CALL
            and at not in structure.kfuncs
            and at in certain_insns
        ):
            message = "invalid kernel function call not eliminated in verifier pass"
            raise Refused("EINVAL", message, insn=at)


def _never_reached(program: Program, structure: _Structure, required: Sequence[int]) -> set[int]:
    """Instructions that the main pass or the rewriting refuse wherever a path reaches them, whatever the values are.

    An accepted program has them in dead code only, and nothing could compile them: calls of what does not exist, casts
    to an arena that is not there, stack arguments that no call of the function takes.
    """
    arena = any(spec.type == MapType.ARENA for spec in program.maps)
    found = set()
    for f, slots in zip(structure.layout.functions, required, strict=True):
        for at in structure.graphs[f.index].succ:
            insn = program.insns[at]
            if insn.is_call:
                missing = insn.src == isa.HELPER_CALL and insn.imm not in HELPERS
                missing |= insn.src == isa.PSEUDO_KFUNC_CALL and at not in structure.kfuncs
            elif isa.is_stack_arg_store(insn.code, insn.dst, insn.off):
                missing = isa.store_slot(insn.off) >= slots
            else:
                cast = insn.code == isa.ALU64 | isa.MOV | isa.X and insn.off == isa.OFF_ADDR_SPACE_CAST
                missing = cast and insn.imm != 1 and not arena
            if missing:
                found.add(at)
    return found


def _used_kfuncs(program: Program) -> list[KfuncRef]:
    """The references that name a kfunc call, in program order."""
    return [
        ref
        for ref in sorted(program.kfuncs, key=lambda ref: ref.insn)
        if 0 <= ref.insn < len(program.insns) and program.insns[ref.insn].src == isa.PSEUDO_KFUNC_CALL
    ]


def _check_callbacks(structure: _Structure) -> None:
    """Strict: helpers call callbacks with 5 arguments at most, so that a sixth would be read from nowhere."""
    for some in structure.edges:
        for edge in some:
            function = structure.layout.functions[edge.target]
            if edge.ref and function.nargs > isa.MAX_REG_ARGS:
                message = f"callback {function.title} has {function.nargs} > {isa.MAX_REG_ARGS} args"
                raise Refused("EINVAL", message, insn=edge.insn)


def _subprogs(
    structure: _Structure,
    uses: Sequence[StackUse],
    required: Sequence[int],
    rewritten: fixups.Rewritten,
) -> tuple[Subprog, ...]:
    reachable = calls.tail_call_reachable(structure.layout, structure.edges)
    throws = any(graph.leaves for graph in structure.graphs)
    ends = (*rewritten.starts[1:], len(rewritten.insns))
    return tuple(
        Subprog(
            f.title,
            start,
            end,
            f.kind,
            arg_cnt=f.arg_cnt if f.index else 1,
            stack_depth=use.depth + more,
            in_stack_args=f.in_stack_args,
            out_stack_args=slots,
            has_tail_call=f.has_tail_call,
            tail_call_reachable=reachable[f.index],
            is_exception_cb=f.is_exception_cb,
            is_exception_boundary=throws and f.index == 0,
        )
        for f, use, slots, start, end, more in zip(
            structure.layout.functions, uses, required, rewritten.starts, ends, rewritten.extra, strict=True
        )
    )
