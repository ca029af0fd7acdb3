"""LD_ABS and LD_IND: packet bytes through a call that the instruction hides. Source: check_ld_abs of kernel/bpf/verifier.c."""

from typing import Final

from bpf import isa
from bpf.insn import Insn
from verifier.env import Env, check_src
from verifier.exits import prepare_func_exit
from verifier.references import check_resource_leak, clear_caller_saved_regs
from verifier.regions import check_ptr_off_reg
from verifier.regs import PTR_TO_CTX, UNKNOWN_REG, const_reg
from verifier.stackargs import clobber_stack_args, end_stack_arg_loads

_CTX: Final = 6  # r6 holds the packet's context
_SKB_TYPES: Final = frozenset({"socket_filter", "sched_cls", "sched_act"})


def check_ld_abs(env: Env, insn: Insn) -> None:
    """r0 = packet bytes; r1 to r5 are lost. Bytes behind the packet's end leave the function with r0 = 0.

    In the main program that exit needs no look; from another function its caller goes on with that 0.
    """
    if env.prog_type not in _SKB_TYPES:
        env.refuse("EINVAL", "BPF_LD_[ABS|IND] instructions not allowed for this program type")
    if any(frame.in_callback_fn for frame in env.cur_state.frames[1:]):
        env.refuse("EINVAL", "cannot use BPF_LD_[ABS|IND] within callback")
    check_src(env, _CTX)
    check_resource_leak(env, False, True, "BPF_LD_[ABS|IND]")
    if env.regs[_CTX].type != PTR_TO_CTX:
        env.refuse("EINVAL", "at the time of BPF_LD_ABS|IND R6 != pointer to skb")
    if insn.code & isa.MODE_MASK == isa.IND:
        check_src(env, insn.src)
    check_ptr_off_reg(env, env.regs[_CTX], _CTX)
    clear_caller_saved_regs(env)
    if env.mode == "strict":
        env.strict_acted = True
        clobber_stack_args(env)
        end_stack_arg_loads(env)
    env.regs[isa.R0] = UNKNOWN_REG
    if env.history is not None:
        env.history.end()
    if env.cur_state.curframe:
        env.scratch_reg(isa.R0)
        env.push_state(env.insn_idx + 1, env.insn_idx)
        env.regs[isa.R0] = const_reg(0)
        prepare_func_exit(env)
        env.insn_idx -= 1
