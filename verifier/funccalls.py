"""Calls of BPF functions and of callbacks: a new frame, or for a global function only its promise.

Sources: check_func_call, push_callback_call, setup_func_entry, push_async_cb of kernel/bpf/verifier.c; B.2, B.3, C.5 of
the rules for stack arguments.
"""

from collections.abc import Callable
from typing import Final

from bpf import isa
from bpf.insn import Insn
from verifier.callbacks import (
    set_callee_state,
    set_task_work_schedule_callback_state,
    set_timer_callback_state,
)
from verifier.env import BPF_COMPLEXITY_LIMIT_JMP_SEQ, Env
from verifier.exits import process_bpf_exit_full
from verifier.found import Pending
from verifier.funcargs import btf_check_subprog_call, subprog_name
from verifier.history import CALLER_SAVED, reg_place
from verifier.locks import in_sleepable_context, non_sleepable_context_description
from verifier.references import clear_all_pkt_pointers
from verifier.regs import NOT_INIT_REG, UNKNOWN_REG
from verifier.sections import in_rcu_cs
from verifier.stackargs import invalidate_outgoing_stack_args
from verifier.state import FuncState, VState
from verifier.statelog import print_verifier_state

SetCalleeState = Callable[[Env, FuncState, FuncState, int], None]
_CALLER_SAVED: Final = 6  # r0 to r5
_TIMER: Final = 170  # bpf_timer_set_callback, whose callbacks never sleep
_ASYNC: Final = (set_timer_callback_state, set_task_work_schedule_callback_state)


def check_func_call(env: Env, insn: Insn) -> bool:
    """A call of a BPF function; True if the path ends here, since what it calls throws."""
    subprogno = env.layout.starting_at(env.insn_idx + insn.imm + 1).index
    errno = btf_check_subprog_call(env, subprogno)
    if errno == "EFAULT":
        env.refuse(errno)
    if env.subprogs[subprogno].function.is_global:
        return _call_global(env, subprogno, errno)
    caller = env.func
    info = env.subprogs[caller.subprogno]
    slots = info.in_stack_args + env.subprogs[subprogno].in_stack_args
    info.stack_arg_cnt = max(info.stack_arg_cnt, slots)
    _setup_func_entry(env, env.cur_state, subprogno, env.insn_idx, set_callee_state)
    if env.history is not None:
        env.history.scrub(reg_place(caller, isa.R0), caller.regs[isa.R0], CALLER_SAVED)
    _clear_caller_saved(env, caller)
    env.enter_frame()
    env.insn_idx = env.subprogs[subprogno].function.start - 1
    if env.verbose:
        env.trace("caller:\n")
        print_verifier_state(env, env.cur_state, caller.frameno, True)
        env.trace("callee:\n")
        print_verifier_state(env, env.cur_state, env.cur_state.curframe, True)
    return False


def _call_global(env: Env, subprogno: int, errno: str) -> bool:
    """A global function is verified on its own, for all arguments: here its call returns any number."""
    sub = env.subprogs[subprogno]
    name = subprog_name(env, subprogno)
    if env.cur_state.active_locks:
        env.refuse(
            "EINVAL",
            "global function calls are not allowed while holding a lock,",
            "use static function instead",
        )
    if sub.might_sleep and not in_sleepable_context(env):
        where = non_sleepable_context_description(env)
        env.refuse("EINVAL", f"sleepable global function {name}() called in {where}")
    if errno:
        env.refuse(errno, f"Caller passes invalid args into func#{subprogno} ('{name}')")
    if env.verbose:
        env.write_note(f"Func#{subprogno} ('{name}') is global and assumed valid.\n")
    if sub.changes_pkt_data:
        clear_all_pkt_pointers(env)
    sub.called.add(not in_rcu_cs(env))
    caller = env.func
    history = env.history
    if history is not None:
        if sub.function.void:
            history.scrub(reg_place(caller, isa.R0), caller.regs[isa.R0], CALLER_SAVED)
        else:
            history.begin(reg_place(caller, isa.R0), caller.regs[isa.R0])
    _clear_caller_saved(env, caller)
    invalidate_outgoing_stack_args(env, caller)
    if not sub.function.void:
        env.regs[isa.R0] = UNKNOWN_REG
        if history is not None:
            history.end()
    if sub.might_throw:
        env.push_state(env.insn_idx + 1, env.insn_idx)
        return process_bpf_exit_full(env, exception_exit=True)
    return False


def _clear_caller_saved(env: Env, frame: FuncState) -> None:
    env.scratched_regs |= (1 << _CALLER_SAVED) - 1
    if env.history is not None:
        env.history.lose_arguments(frame)
    frame.regs[:_CALLER_SAVED] = [NOT_INIT_REG] * _CALLER_SAVED


def _new_frame(env: Env, callsite: int, frameno: int, subprogno: int) -> FuncState:
    """init_func_state: whose registers the log shows all."""
    env.scratched_regs = (1 << 32) - 1
    env.scratched_stack_slots = (1 << 64) - 1
    return FuncState(callsite, frameno, subprogno)


def _setup_func_entry(
    env: Env, state: VState, subprogno: int, callsite: int, set_state: SetCalleeState
) -> None:
    """Puts a frame for the function on top of `state`."""
    if len(state.frames) >= isa.MAX_CALL_FRAMES:
        env.refuse("E2BIG", f"the call stack of {len(state.frames) + 1} frames is too deep")
    callee = _new_frame(env, callsite, len(state.frames), subprogno)
    set_state(env, state.frames[-1], callee, callsite)
    state.frames.append(callee)


# ---- callbacks


def push_callback_call(
    env: Env, insn: Insn, insn_idx: int, subprogno: int, set_state: SetCalleeState
) -> None:
    """A helper or kfunc is given a callback: it is looked at later, and what follows the call goes on as without it.

    A callback that the call runs itself returns to the call, which then may run it again; one that runs on its own
    starts without a caller.
    """
    errno = btf_check_subprog_call(env, subprogno)
    if errno == "EFAULT":
        env.refuse(errno)
    sub = env.subprogs[subprogno]
    if env.mode == "strict" and sub.function.nargs > isa.MAX_REG_ARGS:
        # Hole 2: the kernel passes 5 arguments, so that a sixth would be read from nowhere.
        count = f"{sub.function.nargs} > {isa.MAX_REG_ARGS} args"
        env.refuse("EINVAL", f"callback {sub.function.title} has {count}")
    sub.is_cb = True
    caller = env.func
    if set_state in _ASYNC:
        sub.is_async_cb = True
        sleepable = insn.src == isa.PSEUDO_KFUNC_CALL or insn.imm != _TIMER
        callee = _push_async_cb(env, subprogno, insn_idx, sleepable)
        callee.async_entry_cnt = caller.async_entry_cnt + 1
        set_state(env, caller, callee, insn_idx)
        return
    state = env.push_state(sub.function.start, insn_idx)
    _setup_func_entry(env, state, subprogno, insn_idx, set_state)
    state.callback_unroll_depth += 1
    state.frames[-2].callback_depth += 1
    caller.callback_depth = 0


def _push_async_cb(env: Env, subprogno: int, insn_idx: int, sleepable: bool) -> FuncState:
    """A state of its own for a callback that starts on an empty stack."""
    state = VState()
    state.last_insn_idx = 0
    state.in_sleepable = sleepable
    events = 0 if env.history is None else len(env.history.events)
    start = env.subprogs[subprogno].function.start
    env.pending.append(Pending(state, start, insn_idx, len(env.log), events))
    if len(env.pending) > BPF_COMPLEXITY_LIMIT_JMP_SEQ:
        env.refuse("E2BIG", f"The sequence of {len(env.pending)} jumps is too complex for async cb.")
    frame = _new_frame(env, -1, 0, subprogno)
    state.frames.append(frame)
    return frame
