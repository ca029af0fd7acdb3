"""The state at the entry of the main program and of global functions.

Source: do_check_common and init_func_state of kernel/bpf/verifier.c; B.4 of the rules for stack arguments.
"""

from typing import TYPE_CHECKING

from bpf import isa
from verifier.funcargs import ArgInfo, btf_prepare_func_args
from verifier.regs import (
    BPF_DYNPTR_TYPE_LOCAL,
    CONST_PTR_TO_DYNPTR,
    MEM_RDONLY,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_CTX,
    PTR_TO_MEM,
    PTR_TRUSTED,
    PTR_UNTRUSTED,
    UNKNOWN_REG,
    Reg,
    pointer_reg,
)
from verifier.state import FuncState, VState

if TYPE_CHECKING:
    from verifier.env import Env

MAIN_FUNC = -1  # the call site of a function that nothing called


def enter_subprog(env: "Env", subprogno: int, sleepable: bool | None) -> None:
    """The current state becomes the one in which verification of a function starts.

    sleepable: what its callers may do, None for what the program may.
    """
    state = VState()
    frame = FuncState(MAIN_FUNC, 0, subprogno)
    state.frames.append(frame)
    state.in_sleepable = env.sleepable if sleepable is None else sleepable
    state.first_insn_idx = env.layout.functions[subprogno].start
    env.enter_state(state)
    env.scratched_regs = env.scratched_stack_slots = (1 << 64) - 1
    if subprogno or env.prog_type == "ext":
        _enter_global(env, subprogno, frame)
    else:
        _enter_main(env, frame)


def _enter_main(env: "Env", frame: FuncState) -> None:
    info = env.subprogs[0]
    if env.program.func_info:
        failed = btf_prepare_func_args(env, 0)
        if failed or info.arg_cnt != 1 or info.args[0].kind != "ARG_PTR_TO_CTX":
            info.unreliable = True
    if info.unreliable or not env.program.func_info:
        info.arg_cnt = 1
        info.stack_arg_cnt = 0
    frame.regs[1] = pointer_reg(PTR_TO_CTX)


def _enter_global(env: "Env", subprogno: int, frame: FuncState) -> None:
    info = env.subprogs[subprogno]
    if env.verbose:
        env.write_note(f"Validating {info.function.name}() func#{subprogno}...\n")
    errno = btf_prepare_func_args(env, subprogno)
    if errno:
        env.refuse(errno)
    if info.is_exception_cb:
        frame.in_exception_callback_fn = True
        if info.function.void:
            env.refuse("EINVAL", "exception cb cannot return void")
        if info.arg_cnt != 1 or info.args[0].kind != "ARG_ANYTHING":
            env.refuse("EINVAL", "exception cb only supports single integer argument")
    for number, arg in enumerate(info.args[: isa.MAX_REG_ARGS], 1):
        frame.regs[number] = _argument(env, arg)


def _argument(env: "Env", arg: ArgInfo) -> Reg:
    """All that a global function may be given for one of its parameters."""
    if arg.kind == "ARG_PTR_TO_CTX":
        return pointer_reg(PTR_TO_CTX)
    if arg.kind in ("ARG_ANYTHING", "ARG_PTR_TO_ARENA"):
        return UNKNOWN_REG
    if arg.kind == "ARG_PTR_TO_DYNPTR":
        return pointer_reg(CONST_PTR_TO_DYNPTR, id=env.new_id(), aux=(BPF_DYNPTR_TYPE_LOCAL, True))
    if arg.kind == "ARG_PTR_TO_MEM":
        flags = arg.flags & (PTR_MAYBE_NULL | PTR_UNTRUSTED | MEM_RDONLY)
        ref = env.new_id() if flags & PTR_MAYBE_NULL else 0
        return pointer_reg(PTR_TO_MEM | flags, id=ref, aux=arg.mem_size)
    if arg.kind != "ARG_PTR_TO_BTF_ID":
        env.bug(f"unhandled arg type {arg.kind}")
    flags = arg.flags & (PTR_MAYBE_NULL | PTR_UNTRUSTED | PTR_TRUSTED)
    return pointer_reg(PTR_TO_BTF_ID | flags, id=env.new_id(), aux=(arg.btf, arg.btf_id))
