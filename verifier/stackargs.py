"""Stack arguments: stores to and loads from r11, and what calls demand of them and do to them.

Rules: C.2 to C.6 of the rules for stack arguments; check_stack_arg_write, check_stack_arg_read,
check_outgoing_stack_args and invalidate_outgoing_stack_args of kernel/bpf/verifier.c. Strict mode closes the holes 1, 3 and 4 of section I here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bpf import isa
from verifier.diagnose import Callee
from verifier.history import CALLER_SAVED, arg_place, reg_place
from verifier.precision import push_jmp_history
from verifier.regs import NOT_INIT, NOT_INIT_REG, Reg, const_reg
from verifier.state import INSN_F_STACK_ARG_ACCESS, FuncState

if TYPE_CHECKING:
    from verifier.env import Env

# Strict: argument 6 was stored, and what it travels in (r9 on x86-64) was lost to a call that an instruction hides. A
# call may still be made, but nobody may look at it. Known by identity.
CLOBBERED_REG: Final = Reg(NOT_INIT, NOT_INIT_REG.num)
_CLOBBERED: Final = "clobbered by may_goto or LD_ABS/LD_IND"


def check_stack_arg_write(env: "Env", off: int, reg: Reg | None, imm: int = 0) -> None:
    """`*(u64 *)(r11 + off) = reg`, or the sign-extended imm when reg is None: the slot holds it until the next call."""
    slot = isa.store_slot(off)
    if slot >= isa.MAX_STACK_ARG_SLOTS:
        limit = f"max {isa.MAX_STACK_ARG_SLOTS} stack args"
        env.refuse("EINVAL", f"stack arg write offset {off} exceeds {limit}")
    frame = env.cur_state.frames[-1]
    if slot >= len(frame.stack_args):
        frame.grow_stack_args(slot + 1)
    subprog = env.subprogs[frame.subprogno]
    if slot >= subprog.max_out_stack_arg_cnt:
        subprog.max_out_stack_arg_cnt = slot + 1
    if env.history is not None:
        env.history.begin(arg_place(frame, slot), frame.stack_args[slot])
    frame.stack_args[slot] = const_reg(imm) if reg is None else reg
    if env.history is not None:
        env.history.end()
    frame.no_stack_arg_load = True
    push_jmp_history(env, INSN_F_STACK_ARG_ACCESS, slot, 0)


def check_stack_arg_read(env: "Env", off: int, dst: int) -> None:
    """`dst = *(u64 *)(r11 + off)`: what the caller stored for this call.

    Whether it stored anything is the call's business; what was not stored cannot be read afterwards.
    """
    frames = env.cur_state.frames
    frame = frames[-1]
    if frame.no_stack_arg_load:
        env.refuse("EINVAL", "r11 load must be before any r11 store or call insn")
    incoming = env.subprogs[frame.subprogno].in_stack_args
    slot = isa.load_slot(off)
    if slot + 1 > incoming:
        env.refuse("EACCES", f"invalid read from stack arg off {off} depth {8 * incoming}")
    stored = frames[-2].stack_args if len(frames) > 1 else []
    if not stored:
        # Holes 1 and 2: the array that it indexes is NULL, or there is no calling frame.
        where = "the caller stored none" if len(frames) > 1 else "there is no caller"
        env.refuse(
            "EFAULT", f"read of stack arg off {off}, but {where}: the verifier of a real kernel faults here"
        )
    reg = stored[slot] if slot < len(stored) else NOT_INIT_REG
    if reg is CLOBBERED_REG:
        env.refuse("EACCES", f"invalid read from stack arg off {off}, {_CLOBBERED}")
    if env.history is not None:
        env.history.begin(reg_place(frame, dst), env.regs[dst], arg_place(frames[-2], slot))
    env.regs[dst] = reg
    if env.history is not None:
        env.history.end()
    push_jmp_history(env, INSN_F_STACK_ARG_ACCESS, slot, 0)


def check_outgoing_stack_args(
    env: "Env", nargs: int, *, all_read: bool = False, callee: Callable[[], Callee] | None = None
) -> None:
    """Every slot that a call with `nargs` arguments passes has been stored since the last call.

    all_read: whoever is called reads all of them. callee: tells who that is.
    """
    stored = env.func.stack_args
    for slot in range(nargs - isa.MAX_REG_ARGS):
        if slot >= len(stored) or stored[slot].type == NOT_INIT:
            if slot < len(stored) and stored[slot] is CLOBBERED_REG:
                if all_read:
                    env.refuse("EFAULT", f"callee expects {nargs} args, stack arg{slot + 1} is {_CLOBBERED}")
                continue
            message = f"callee expects {nargs} args, stack arg{slot + 1} is not initialized"
            env.refuse("EFAULT", message, about=callee() if callee is not None else None)


def clobber_stack_args(env: "Env") -> None:
    """Strict: an instruction becomes a call that does not save r9, which holds argument 6 that was stored."""
    args = env.func.stack_args
    if args and args[0].type != NOT_INIT:
        args[0] = CLOBBERED_REG


def end_stack_arg_loads(env: "Env") -> None:
    """A call, or in strict mode what becomes one, ends the loads of what the function was given (C.4)."""
    frame = env.func
    if env.subprogs[frame.subprogno].in_stack_args:
        frame.no_stack_arg_load = True


def invalidate_outgoing_stack_args(env: "Env", frame: FuncState) -> None:
    """A call used up what `frame` stored; the slots stay, with nothing in them."""
    if env.history is not None:
        for slot, reg in enumerate(frame.stack_args):
            env.history.scrub(arg_place(frame, slot), reg, CALLER_SAVED)
    if frame.stack_args:
        frame.stack_args = [NOT_INIT_REG] * len(frame.stack_args)
