"""`verify`: runs the passes in the kernel's order and makes their answers a value.

The order is bpf_check's: what the load command checks; func_info records; functions and jumps; func_info and
line_info against the functions; every instruction and its references; kfuncs; control flow; sleepability; recursion;
the main pass (verifier/analysis.py); depth of calls; rewriting; stack-argument slots.
"""

from dataclasses import dataclass, replace
from typing import Final

from bpf import isa
from bpf.errors import InputError
from bpf.program import Program
from bpf.verified import Rejected, Subprog, Verified
from verifier import fixups, load, log
from verifier.analysis import facts, follow_paths, prepare
from verifier.callchains import check_chains
from verifier.diagnose import structure_block
from verifier.env import BPF_COMPLEXITY_LIMIT_INSNS, LOG_LEVEL1, LOG_LEVEL2, Env, insn_text
from verifier.fastcall import remove_spills
from verifier.mainpass import account_path
from verifier.recorder import Recorder
from verifier.refused import Refused
from verifier.report import Code
from verifier.structure import (
    Progress,
    check_unresolved_kfuncs,
    counters,
    find_structure,
    list_subprogs,
    make_verified,
)

SHOWN_INSNS: Final = 100_000  # visited instructions that the log of a refused program ends with, at least


def verify(
    program: Program,
    *,
    log_level: int = 1,
    mode: str = "kernel",
    show_stack_args: bool = False,
    recorder: Recorder | None = None,
    insn_limit: int = BPF_COMPLEXITY_LIMIT_INSNS,
) -> Verified | Rejected:
    """The kernel's verdict, with its message, log and counters.

    log_level: as of the load command, 0 none, 1 the path that is refused, 2 all paths, bit 4 statistics. mode:
    "kernel", or "strict", which closes the holes of section I of the rules (docs/strict.md). show_stack_args: lines of
    our own in the log, below states, show outgoing stack arguments. recorder: keeps the states of all paths; then
    log_level is 0, 2 or 4. insn_limit: visited instructions after which a program is refused as too large; no kernel
    has any other. Raises InputError when a kfunc has no prototype or the mode is unknown.
    """
    if mode not in ("kernel", "strict"):
        raise InputError("verifier mode", "", f"must be 'kernel' or 'strict', not {mode!r}")
    ask = _Ask(load.with_attach_type(program), log_level, mode, show_stack_args, False, recorder, insn_limit)
    return _judge_strictly(ask) if mode == "strict" else _judge(ask)[0]


@dataclass(frozen=True, slots=True)
class _Ask:
    """What is asked of one verification; the last five as in `Env`."""

    program: Program
    log_level: int
    mode: str
    show_stack_args: bool
    may_goto_clobbers: bool = False
    recorder: Recorder | None = None
    insn_limit: int = BPF_COMPLEXITY_LIMIT_INSNS


def _judge_strictly(ask: _Ask) -> Verified | Rejected:
    """Strict mode accepts what it accepts itself and the kernel accepts, too: what it adds can only refuse.

    A may_goto is replaced by a call that destroys argument 6 in its 65,535th round. Where the paths show that no
    function gets there it destroys nothing; otherwise the program is judged again, each may_goto taken to do so.
    """
    verdict, env = _judge(ask)
    if isinstance(verdict, Rejected) or not any(isa.REG_PARAMS in (i.dst, i.src) for i in ask.program.insns):
        return verdict
    if env is not None and not env.strict_acted:
        return verdict  # kernel mode would have gone the same way
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
    progress = Progress()
    try:
        late = BPF_COMPLEXITY_LIMIT_INSNS - SHOWN_INSNS if shows_end else 0
        return _accept(ask, progress, late), progress.env
    except Refused as no:
        refused = no
    if shows_end and progress.env is not None and not progress.env.verbose:
        late = max(progress.env.insn_processed - SHOWN_INSNS, 0)
        progress = Progress()
        try:
            return _accept(ask, progress, late), progress.env
        except Refused as no:
            refused = no
    return _reject(program, progress, refused, log_level), progress.env


def _reject(program: Program, progress: Progress, no: Refused, log_level: int) -> Rejected:
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
    stats = counters(env)
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


def _structure_block(program: Program, progress: Progress, no: Refused) -> str:
    """What explains a refusal before the main pass."""
    names = {ref.insn: ref.name for ref in program.kfuncs}

    def text_of(at: int) -> str:
        return insn_text(program.insns, at, names.get(at), resolved=progress.resolved)

    # until then line_info is not looked at either
    shown = program if progress.resolved else replace(program, line_info=())
    code = Code(shown, program.insns, progress.found(program), text_of)
    return structure_block(code, no.messages[-1], no.insn)


def _accept(ask: _Ask, progress: Progress, log_from: int) -> Verified:
    """All passes. log_from: visited instructions after which a log of level 1 begins. Raises Refused."""
    program = ask.program
    structure = find_structure(program, progress)
    layout = structure.layout
    env = Env(
        program,
        layout,
        structure.kfuncs,
        log_level=ask.log_level,
        log_from=log_from,
        mode=ask.mode,
        insn_limit=ask.insn_limit,
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
    check_unresolved_kfuncs(program, structure, env.seen.__getitem__)
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
    listed = list_subprogs(structure, required, rewritten, env, private)
    stats = counters(env)
    shown = log.lines(env.log)
    text = log.render(shown, listed, env.insn_processed, stats, ask.log_level)
    made = make_verified(program, structure, listed, rewritten, text, stats, env.insn_processed)
    return replace(made, indirect_targets=_landings(env, rewritten)) if structure.tables else made


def _landings(env: Env, rewritten: fixups.Rewritten) -> frozenset[int]:
    """New slots that a gotox may go to: of what jump tables name, what some path chose and what is still there.

    A kernel that removes a `goto +0` leaves 0 in the jump tables that name it, which strict mode refuses.
    """
    chosen = {at for at, one in enumerate(env.aux) if one.indirect_target}
    lost = chosen.difference(rewritten.origin)
    if lost and env.mode == "strict":
        at = min(lost)
        message = (
            f"a jump table leads to insn {at}, which does nothing and is removed: the jump goes to address 0"
        )
        raise Refused("EINVAL", message, insn=at)
    return frozenset(rewritten.place[at] for at in chosen - lost)
