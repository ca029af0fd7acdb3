"""`verify`: runs the passes in the kernel's order and makes their answers a value.

The order is bpf_check's: what the load command checks; func_info records; functions and jumps; func_info and
line_info against the functions; every instruction and its references; kfuncs; control flow; sleepability; recursion;
the main pass (verifier/analysis.py); depth of calls; rewriting; stack-argument slots.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bpf import isa
from bpf.errors import InputError
from bpf.helpers import HELPERS
from bpf.program import Program
from bpf.proto import FuncProto
from bpf.verified import Rejected, Subprog, Verified
from verifier import calls, cfg, fixups, load, log, prelog, resolve, subprogs
from verifier.analysis import facts, follow_paths, prepare
from verifier.arena import arena_args, arena_user
from verifier.callchains import check_chains
from verifier.diagnose import structure_block
from verifier.env import BPF_COMPLEXITY_LIMIT_INSNS, LOG_LEVEL1, LOG_LEVEL2, Env, insn_text
from verifier.facts import Facts
from verifier.fastcall import remove_spills
from verifier.flow import Flow
from verifier.kfuncs import THROW, resolve_kfuncs
from verifier.liveregs import narrow_writes
from verifier.mainpass import account_path
from verifier.recorder import Recorder
from verifier.refused import Refused
from verifier.report import Code
from verifier.stackdepth import StackUse, stack_use
from verifier.subprogs import Function, Layout

SHOWN_INSNS: Final = 100_000  # visited instructions that the log of a refused program ends with, at least


def verify(
    program: Program,
    *,
    log_level: int = 1,
    mode: str = "kernel",
    show_stack_args: bool = False,
    recorder: Recorder | None = None,
) -> Verified | Rejected:
    """The kernel's verdict, with its message, log and counters.

    log_level: as of the load command, 0 none, 1 the path that is refused, 2 all paths, bit 4 statistics. mode:
    "kernel", or "strict", which closes the holes of section I of the rules (docs/strict.md). show_stack_args: lines of
    our own in the log, below states, show outgoing stack arguments. recorder: keeps the states of all paths; then
    log_level is 0, 2 or 4. Raises InputError when a kfunc has no prototype or
    the mode is unknown.
    """
    if mode not in ("kernel", "strict"):
        raise InputError("verifier mode", "", f"must be 'kernel' or 'strict', not {mode!r}")
    ask = _Ask(load.with_attach_type(program), log_level, mode, show_stack_args, recorder=recorder)
    return _judge_strictly(ask) if mode == "strict" else _judge(ask)[0]


@dataclass(frozen=True, slots=True)
class _Ask:
    """What is asked of one verification; the last four as in `Env`."""

    program: Program
    log_level: int
    mode: str
    show_stack_args: bool
    may_goto_clobbers: bool = False
    recorder: Recorder | None = None


def _judge_strictly(ask: _Ask) -> Verified | Rejected:
    """Strict mode accepts what it accepts itself and the kernel accepts, too: what it adds can only refuse.

    A may_goto is replaced by a call that destroys argument 6 in its 65,535th round. Where the paths show that no
    function gets there it destroys nothing; otherwise the program is judged again, each may_goto taken to do so.
    """
    verdict, env = _judge(ask)
    if isinstance(verdict, Rejected) or not any(isa.REG_PARAMS in (i.dst, i.src) for i in ask.program.insns):
        return verdict
    if env is not None and (env.converged or env.may_goto_visits >= fixups.MAY_GOTO_ROUNDS):
        verdict, _ = _judge(replace(ask, may_goto_clobbers=True))
        if isinstance(verdict, Rejected):
            return verdict
    kernels, _ = _judge(replace(ask, mode="kernel", recorder=None))
    return kernels if isinstance(kernels, Rejected) else verdict


def _judge(ask: _Ask) -> tuple[Verified | Rejected, Env | None]:
    """The verdict, and what the main pass found if it was reached."""
    program, log_level = ask.program, ask.log_level
    try:
        load.check_load(program)
    except Refused as no:
        # The last line with the counters is missing from the log as well.
        text = "".join(f"{line}\n" for line in no.messages) if log_level else ""
        message = no.messages[-1] if no.messages else None
        return Rejected(program, no.errno, message, no.messages, no.insn, text), None
    # Showing every step takes time. Of an accepted program level 1 shows none in the end; of a refused one the last path
    # is shown when it is known to be refused, and of a long one its end, as a log buffer keeps it. What comes near the
    # limit is shown at once: such a program is not judged twice.
    shows_end = log_level & (LOG_LEVEL1 | LOG_LEVEL2) == LOG_LEVEL1
    progress = _Progress()
    try:
        late = BPF_COMPLEXITY_LIMIT_INSNS - SHOWN_INSNS if shows_end else 0
        return _accept(ask, progress, late), progress.env
    except Refused as no:
        refused = no
    if shows_end and progress.env is not None and not progress.env.verbose:
        late = max(progress.env.insn_processed - SHOWN_INSNS, 0)
        progress = _Progress()
        try:
            return _accept(ask, progress, late), progress.env
        except Refused as no:
            refused = no
    return _reject(program, progress, refused, log_level), progress.env


@dataclass(slots=True)
class _Progress:
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
class _Structure:
    """What is known before the main pass."""

    layout: Layout
    kfuncs: Mapping[int, FuncProto]
    graphs: tuple[cfg.FunctionGraph, ...]
    tables: Mapping[int, tuple[int, ...]]
    edges: tuple[tuple[calls.Edge, ...], ...]
    flow: Flow


def _reject(program: Program, progress: _Progress, no: Refused, log_level: int) -> Rejected:
    functions = progress.found(program)
    env = progress.env
    if env is not None and env.cur_state.frames:
        account_path(env)
    processed = env.insn_processed if env is not None else 0
    listed = [
        Subprog(
            f.title,
            f.start,
            f.end,
            f.kind,
            insns_self=env.subprogs[f.index].insns_self if env is not None else 0,
            insns_total=env.subprogs[f.index].insns_total if env is not None else 0,
            stack_depth=env.subprogs[f.index].stack_depth if env is not None else 0,
        )
        for f in functions
    ]
    stats = _stats(env)
    if env is not None:
        shown = log.lines(env.log)
    else:
        shown = progress.notes.splitlines() if log_level & LOG_LEVEL2 else []
    if env is None and log_level & (LOG_LEVEL1 | LOG_LEVEL2) and no.messages:
        shown += [*no.messages, *_structure_block(program, progress, no).splitlines()]
    elif not env or no.messages[-1:] != tuple(shown[-1:]):
        shown += [line for line in no.messages if line not in shown]
    text = log.render(shown, listed, processed, stats, log_level)
    message = no.messages[-1] if no.messages else None
    return Rejected(program, no.errno, message, no.messages, no.insn, text, stats, processed)


def _structure_block(program: Program, progress: _Progress, no: Refused) -> str:
    """What explains a refusal before the main pass."""
    names = {ref.insn: ref.name for ref in program.kfuncs}

    def text_of(at: int) -> str:
        return insn_text(program.insns, at, names.get(at), resolved=progress.resolved)

    # until then line_info is not looked at either
    shown = program if progress.resolved else replace(program, line_info=())
    code = Code(shown, program.insns, progress.found(program), text_of)
    return structure_block(code, no.messages[-1], no.insn)


def _stats(env: Env | None) -> dict[str, int]:
    """The counters of the log's last line."""
    if env is None:
        return {**log.NO_STATS, "stack_max": 0}
    return {
        "max_states_per_insn": env.max_states_per_insn,
        "total_states": env.total_states,
        "peak_states": env.peak_states,
        "stack_max": env.stack_max,
    }


def _structure(program: Program, progress: _Progress) -> _Structure:
    subprogs.check_func_info_records(program)
    starts = subprogs.find_subprogs(program)
    progress.notes = prelog.functions_text(starts)
    progress.starts = starts
    functions = subprogs.check_subprogs(program.insns, starts)
    progress.functions = functions
    layout = subprogs.describe(program, functions)
    progress.functions = layout.functions
    resolve.check_insns(program)
    progress.resolved = True
    kfuncs = resolve_kfuncs(program)
    tables = cfg.jump_tables(program, layout)
    cfg.check_cfg(program, layout, tables)
    load.check_sleepable(program)
    edges = calls.call_edges(program, layout)
    flow = Flow(program.insns, layout, tables)
    calls.check_recursion(layout, calls.in_postorder(edges, flow.postorder))
    throwing = _throwing(layout, edges, kfuncs)
    graphs = tuple(
        cfg.FunctionGraph(program.insns, f, tables.get(f.index, ()), throwing) for f in layout.functions
    )
    return _Structure(layout, kfuncs, graphs, tables, edges, flow)


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


def _accept(ask: _Ask, progress: _Progress, log_from: int) -> Verified:
    """All passes. log_from: visited instructions after which a log of level 1 begins. Raises Refused."""
    program = ask.program
    structure = _structure(program, progress)
    layout = structure.layout
    env = Env(
        program,
        layout,
        structure.kfuncs,
        log_level=ask.log_level,
        log_from=log_from,
        mode=ask.mode,
        show_stack_args=ask.show_stack_args,
        may_goto_clobbers=ask.may_goto_clobbers,
        recorder=ask.recorder,
    )
    progress.env = env
    if env.verbose2:
        env.trace(progress.notes)
    prepare(env, structure.tables, structure.edges, structure.flow)
    follow_paths(env)
    remove_spills(env)
    depths = [info.stack_depth for info in env.subprogs]
    private = check_chains(env, structure.edges)
    _check_unresolved_kfuncs(program, structure, env)
    rewritten = fixups.rewrite(program, layout, facts(env, depths))
    for info in env.subprogs:
        function = info.function
        allowed = info.stack_arg_cnt - info.in_stack_args
        if info.max_out_stack_arg_cnt > allowed:
            written = info.max_out_stack_arg_cnt
            message = (
                f"func#{function.index} writes {written} stack arg slots, but calls only require {allowed}"
            )
            raise Refused("EINVAL", message, insn=function.start)
    required = [max(info.stack_arg_cnt - info.in_stack_args, 0) for info in env.subprogs]
    listed = _subprogs(structure, required, rewritten, env, private)
    stats = _stats(env)
    shown = log.lines(env.log)
    text = log.render(shown, listed, env.insn_processed, stats, ask.log_level)
    return _verified(program, structure, listed, rewritten, text, stats, env.insn_processed)


def assume(program: Program) -> Verified:
    """`program` as if it had been accepted, for running what the verifier refuses. Nothing about it is certain.

    A function's outgoing area holds every slot that its calls require and every slot that it writes. Raises InputError
    when the program has no structure that could be compiled: a jump out of range, an invalid instruction, ...
    """
    try:
        structure = _structure(program, _Progress())
        uses = stack_use(
            program.insns,
            structure.layout,
            structure.graphs,
            structure.edges,
            _pointer_args(program, structure.kfuncs),
        )
        _check_unresolved_kfuncs(program, structure, None)
        rewritten = fixups.rewrite(program, structure.layout, _facts(program, structure, uses))
    except Refused as no:
        where = "" if no.insn is None else f"insn {no.insn}"
        raise InputError(program.name, where, f"cannot run, verified or not: {no.messages[-1]}") from None
    slots = [
        max(required, written)
        for required, written in zip(
            _required_slots(program, structure), _written_slots(program, structure), strict=True
        )
    ]
    listed = _subprogs(structure, slots, rewritten, None)
    return _verified(program, structure, listed, rewritten, "", _stats(None), 0)


def _required_slots(program: Program, structure: _Structure) -> list[int]:
    """For each function the most outgoing slots that one of its calls needs (bpf_out_stack_arg_cnt)."""
    return [max((_out_slots(program, structure, at) for at in g.succ), default=0) for g in structure.graphs]


def _out_slots(program: Program, structure: _Structure, at: int) -> int:
    """Stack-argument slots that the call at `at` needs; 0 for what is no call."""
    insn = program.insns[at]
    if subprogs.is_bpf_call(insn):
        return structure.layout.starting_at(at + insn.imm + 1).in_stack_args
    proto = structure.kfuncs.get(at)
    return max(len(proto.params) - isa.MAX_REG_ARGS, 0) if proto is not None else 0


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
    stats: dict[str, int],
    processed: int,
) -> Verified:
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
        arena_args=arena_args(structure.kfuncs, rewritten.insns, rewritten.origin),
    )


def _pointer_args(program: Program, kfuncs: Mapping[int, FuncProto]) -> dict[int, frozenset[int]]:
    """Numbers of the arguments that helpers and kfuncs take as pointers, by call instruction."""
    found = {
        at: frozenset(k for k, param in enumerate(proto.params, 1) if param.type.kind == "ptr")
        for at, proto in kfuncs.items()
    }
    for at, insn in enumerate(program.insns):
        if insn.is_call and insn.src == isa.HELPER_CALL and insn.imm in HELPERS:
            args = HELPERS[insn.imm].args
            found[at] = frozenset(k for k, arg in enumerate(args, 1) if "PTR" in arg.kind)
    return found


def _check_unresolved_kfuncs(program: Program, structure: _Structure, env: Env | None) -> None:
    """A kfunc call with number 0 passes for code that is never reached, and is found out by the rewriting."""
    certain_insns = set(structure.graphs[0].unavoidable) if env is None else ()
    for at, insn in enumerate(program.insns):
        if (
            insn.is_call
            and insn.src == isa.PSEUDO_KFUNC_CALL
            and at not in structure.kfuncs
            and (at in certain_insns if env is None else env.aux[at].seen)
        ):
            message = "invalid kernel function call not eliminated in verifier pass"
            raise Refused("EINVAL", message, insn=at)


def _facts(program: Program, structure: _Structure, uses: Sequence[StackUse]) -> Facts:
    """What is known without the main pass: any instruction may be reached."""
    return Facts(
        program.insns,
        (True,) * len(program.insns),
        depths=tuple(use.depth for use in uses),
        narrow=narrow_writes(program.insns, structure.flow),
    )


def _subprogs(
    structure: _Structure,
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
