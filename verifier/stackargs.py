"""Stack arguments: stores to and loads from r11, and what calls demand of them and do to them.

Rules: C.2 to C.6 of the rules for stack arguments; check_stack_arg_write, check_stack_arg_read,
check_outgoing_stack_args and invalidate_outgoing_stack_args of kernel/bpf/verifier.c.
"""

from typing import TYPE_CHECKING

from bpf import isa
from verifier.precision import push_jmp_history
from verifier.regs import NOT_INIT, NOT_INIT_REG, Reg, const_reg
from verifier.state import INSN_F_STACK_ARG_ACCESS, FuncState

if TYPE_CHECKING:
    from verifier.env import Env


def check_stack_arg_write(env: "Env", off: int, reg: Reg | None, imm: int = 0) -> None:
    """`*(u64 *)(r11 + off) = reg`, or the sign-extended imm when reg is None: the slot holds it until the next call."""
    slot = isa.store_slot(off)
    if slot >= isa.MAX_STACK_ARG_SLOTS:
        limit = f"max {isa.MAX_STACK_ARG_SLOTS} stack args"
        env.refuse("EINVAL", f"stack arg write offset {off} exceeds {limit}")
    frame = env.func
    frame.grow_stack_args(slot + 1)
    subprog = env.subprogs[frame.subprogno]
    subprog.max_out_stack_arg_cnt = max(subprog.max_out_stack_arg_cnt, slot + 1)
    frame.stack_args[slot] = const_reg(imm) if reg is None else reg
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
    # An asynchronous callback has no caller (hole 2): nothing was stored for it.
    stored = frames[-2].stack_args if len(frames) > 1 else []
    env.regs[dst] = stored[slot] if slot < len(stored) else NOT_INIT_REG
    push_jmp_history(env, INSN_F_STACK_ARG_ACCESS, slot, 0)


def check_outgoing_stack_args(env: "Env", nargs: int) -> None:
    """Every slot that a call with `nargs` arguments passes has been stored since the last call."""
    stored = env.func.stack_args
    for slot in range(nargs - isa.MAX_REG_ARGS):
        if slot >= len(stored) or stored[slot].type == NOT_INIT:
            message = f"callee expects {nargs} args, stack arg{slot + 1} is not initialized"
            env.refuse("EFAULT", message)


def invalidate_outgoing_stack_args(frame: FuncState) -> None:
    """A call used up what `frame` stored; the slots stay, with nothing in them."""
    if frame.stack_args:
        frame.stack_args = [NOT_INIT_REG] * len(frame.stack_args)
