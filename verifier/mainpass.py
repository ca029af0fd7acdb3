"""The main pass: every path of the program, instruction by instruction, until its end or until a checkpoint covers it.

Source: do_check, do_check_insn and do_check_common of kernel/bpf/verifier.c. What instructions do is written elsewhere;
here is only which one comes next.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bpf import isa
from bpf.insn import Insn
from verifier.alu import alu_handler
from verifier.atomics import check_atomic
from verifier.branches import check_cond_jmp_op
from verifier.entry import enter_subprog
from verifier.exits import account_processed_insns, process_bpf_exit_full
from verifier.funccalls import check_func_call
from verifier.gotox import check_indirect_jump
from verifier.helpercalls import check_helper_call
from verifier.history import reg_place
from verifier.kfunccalls import check_kfunc_call
from verifier.ldabs import check_ld_abs
from verifier.loads import check_ld_imm, check_load_mem, check_store_imm, check_store_reg
from verifier.locks import kfunc_spin_allowed
from verifier.precision import push_jmp_history
from verifier.prune import is_state_visited, update_branch_counts
from verifier.regs import UNKNOWN_REG
from verifier.statelog import print_insn_state, print_verifier_state, trace_stack_args

if TYPE_CHECKING:
    from verifier.env import Env

# What an instruction's handler says about what comes next.
NEXT: Final = 0  # the instruction behind env.insn_idx
END_OF_PATH: Final = 1
MOVED: Final = 2  # env.insn_idx is the next instruction
RETURNED: Final = 3  # as MOVED, and the log shows the whole state

_UNLOCK: Final = 94  # bpf_spin_unlock
_KPTR_XCHG: Final = 194
_ALL: Final = (1 << 64) - 1


def do_check_main(env: "Env") -> None:
    """The main program, from its entry (do_check_main)."""
    check_subprog(env, 0)


def do_check_subprogs(env: "Env") -> None:
    """Every global function that some call may enter, for all arguments that its types allow (do_check_subprogs)."""
    if not env.program.func_info:
        return
    for info in env.subprogs:
        if info.is_exception_cb:
            info.called.add(env.sleepable)
    verified: set[tuple[int, bool]] = set()
    found = True
    while found:
        found = False
        for index, info in enumerate(env.subprogs):
            if not index or not info.function.is_global:
                continue
            for sleepable in sorted(info.called):
                if (index, sleepable) in verified:
                    continue
                check_subprog(env, index, sleepable)
                if env.verbose:
                    name = info.function.name
                    env.write_note(f"Func#{index} ('{name}') is safe for any args that match its prototype\n")
                verified.add((index, sleepable))
                found = True


def check_subprog(env: "Env", subprogno: int, sleepable: bool | None = None) -> None:
    """All paths from a function's entry (do_check_common)."""
    env.insn_idx = env.layout.functions[subprogno].start
    env.prev_line_info = None
    env.verified_subprog = subprogno
    enter_subprog(env, subprogno, sleepable)
    _do_check(env)
    if not env.verbose2:
        env.reset_log(0)
    env.pending.clear()
    env.visits.clear()
    if env.history is not None:
        env.history.forget(0)
    env.explored.clear()


def _do_check(env: "Env") -> None:  # noqa: C901 # the loop that everything goes through
    """The worklist (do_check)."""
    insns, aux, seen = env.insns, env.aux, env.seen
    history = env.history
    handlers = _HANDLERS if history is None else _NOTED
    count = len(insns)
    limit = env.insn_limit
    stop = limit + 1 if env.log_from <= env.insn_processed else min(env.log_from, limit + 1)
    subprogs = env.subprogs
    state = env.cur_state
    recorder = env.recorder
    show_state = False
    prev_insn_idx = -1
    while True:
        env.cur_hist = None
        env.prev_insn_idx = prev_insn_idx
        at = env.insn_idx
        if at >= count:
            env.refuse("EFAULT", f"invalid insn idx {at} insn_cnt {count}")
        if history is not None and prev_insn_idx >= 0:
            history.edge(prev_insn_idx, at)
        insn = insns[at]
        here = aux[at]
        env.insn_processed += 1
        frame = state.frames[-1]
        frame.insns_subtotal += 1
        subprogs[frame.subprogno].insns_self += 1
        if env.insn_processed >= stop:
            if env.insn_processed > limit:
                env.refuse("E2BIG", f"BPF program is too large. Processed {env.insn_processed} insn")
            env.start_log()
            history, handlers, stop = env.history, _NOTED, limit + 1
        state.last_insn_idx = prev_insn_idx
        state.insn_idx = at
        if recorder is not None:
            recorder.visit(env, at)
        covered = here.prune_point and is_state_visited(env, at)
        if covered:
            if env.verbose:
                env.trace(f"\nfrom {prev_insn_idx} to {at}: safe\n" if show_state else f"{at}: safe\n")
        else:
            if here.jmp_point:
                push_jmp_history(env)
            if env.verbose:
                show_state = _show(env, at, show_state=show_state)
            seen[at] = True
            prev_insn_idx = at
            outcome = handlers[insn.code](env, insn)
            if outcome is None or outcome == NEXT:
                env.insn_idx += 1
                continue
            if outcome >= MOVED:
                show_state |= outcome == RETURNED
                continue
        env.scratched_regs = env.scratched_stack_slots = _ALL
        account_path(env)
        update_branch_counts(env, env.cur_state)
        if not env.pending:
            return
        branch = env.pending.pop()
        if not env.verbose2:
            env.reset_log(branch.log_pos)
        if history is not None:
            history.forget(branch.events)
        state = branch.state
        env.enter_state(state)
        env.insn_idx = branch.insn_idx
        prev_insn_idx = branch.prev_insn_idx
        show_state = True


def account_path(env: "Env") -> None:
    """The instructions of all frames count for their functions, and for those that called them.

    Those of an asynchronous callback, which nobody calls, count for the function that is verified, too.
    """
    frames = env.cur_state.frames
    for i in range(len(frames) - 1, 0, -1):
        account_processed_insns(env, frames[i], frames[i - 1])
    outermost = frames[0]
    if outermost.subprogno != env.verified_subprog:
        env.subprogs[env.verified_subprog].insns_total += outermost.insns_subtotal
    account_processed_insns(env, outermost, None)


def _show(env: "Env", at: int, *, show_state: bool) -> bool:
    """The state and the instruction, for the log; whether the whole state is still to be shown."""
    state = env.cur_state
    if env.verbose2 and show_state:
        env.trace(f"\nfrom {env.prev_insn_idx} to {at}:")
        print_verifier_state(env, state, state.curframe, True)
        show_state = False
    if env.scratched_regs or env.scratched_stack_slots:
        print_insn_state(env, state, state.curframe)
    if env.show_stack_args:
        trace_stack_args(env, state.func)
    env.trace_line_info(at)
    env.trace(f"{at}: {env.insn_text(at)}\n")
    env.prev_log_pos = len(env.log)
    return show_state


# ---- instructions by opcode; None is NEXT

Handler = Callable[["Env", Insn], "int | None"]


def _load_mem(env: "Env", insn: Insn) -> None:
    check_load_mem(env, insn, is_ldsx=insn.code & isa.MODE_MASK == isa.MEMSX)


def _ld(env: "Env", insn: Insn) -> None:
    mode = insn.code & isa.MODE_MASK
    if mode in (isa.ABS, isa.IND):
        check_ld_abs(env, insn)
    elif mode == isa.IMM:
        check_ld_imm(env, insn)
        env.insn_idx += 1
        env.seen[env.insn_idx] = True


def _jump_always(env: "Env", insn: Insn) -> int:
    env.jmps_processed += 1
    env.insn_idx += (insn.off if insn.code & isa.CLASS_MASK == isa.JMP else insn.imm) + 1
    return MOVED


def _jump_indirect(env: "Env", insn: Insn) -> int:
    env.jmps_processed += 1
    check_indirect_jump(env, insn)
    return MOVED


def _jump_if(env: "Env", insn: Insn) -> None:
    env.jmps_processed += 1
    check_cond_jmp_op(env, insn)


def _exit(env: "Env", insn: Insn) -> int:
    del insn
    env.jmps_processed += 1
    return END_OF_PATH if process_bpf_exit_full(env) else RETURNED


def _call(env: "Env", insn: Insn) -> int:
    env.jmps_processed += 1
    at = env.insn_idx
    state = env.cur_state
    if state.active_locks and not _may_call_locked(env, insn, at):
        env.refuse("EINVAL", "function calls are not allowed while holding a lock")
    env.scratched_regs |= 1
    frame = state.frames[-1]
    if env.subprogs[frame.subprogno].in_stack_args:
        frame.no_stack_arg_load = True
    if insn.src == isa.PSEUDO_CALL:
        ended = check_func_call(env, insn)
    elif insn.src == isa.PSEUDO_KFUNC_CALL:
        ended = check_kfunc_call(env, insn, at)
    else:
        check_helper_call(env, insn, at)
        ended = False
    return END_OF_PATH if ended else NEXT


def _may_call_locked(env: "Env", insn: Insn, at: int) -> bool:
    if insn.src == isa.HELPER_CALL:
        return insn.imm in (_UNLOCK, _KPTR_XCHG)
    if insn.src == isa.PSEUDO_KFUNC_CALL:
        return at in env.kfuncs and kfunc_spin_allowed(env.kfuncs[at].name)
    return True


def _handler(code: int) -> Handler:
    cls = code & isa.CLASS_MASK
    if cls in (isa.JMP, isa.JMP32):
        op = code & isa.OP_MASK
        if op == isa.CALL:
            return _call
        if op == isa.EXIT:
            return _exit
        if op == isa.JA:
            return _jump_indirect if code & isa.X else _jump_always
        return _jump_if
    if cls == isa.STX:
        return check_atomic if code & isa.MODE_MASK == isa.ATOMIC else check_store_reg
    if cls in (isa.ALU, isa.ALU64):
        return alu_handler(code)
    by_class: dict[int, Handler] = {
        isa.LDX: _load_mem,
        isa.ST: check_store_imm,
        isa.LD: _ld,
    }
    return by_class[cls]


_HANDLERS: Final[tuple[Handler, ...]] = tuple(_handler(code) for code in range(256))


def _noted(code: int) -> Handler:
    """The handler of an opcode, which also notes how its instruction changes the register that it writes."""
    handler = _HANDLERS[code]
    cls = code & isa.CLASS_MASK
    if cls not in (isa.ALU, isa.ALU64, isa.LDX) and code != isa.LD_IMM64:
        return handler

    def note(env: "Env", insn: Insn) -> "int | None":
        history = env.history
        assert history is not None
        # An ld_imm64 makes its register unknown first.
        old = env.regs[insn.dst] if cls != isa.LD else UNKNOWN_REG
        if insn.dst < isa.FP:
            history.begin(reg_place(env.func, insn.dst), old)
        outcome = handler(env, insn)
        history.end()
        return outcome

    return note


_NOTED: Final[tuple[Handler, ...]] = tuple(_noted(code) for code in range(256))
