"""Open-coded iterators: their state on the stack, and the fork at every `next`.

Sources: process_iter_arg, mark_stack_slots_iter, is_iter_reg_valid_init, process_iter_next_call of
kernel/bpf/verifier.c.
"""

from typing import Final

from verifier.env import Env, reg_arg_name
from verifier.prune import find_prev_entry, widen_imprecise_scalars
from verifier.references import acquire_reference, release_reference
from verifier.regs import (
    BPF_ITER_STATE_ACTIVE,
    BPF_ITER_STATE_DRAINED,
    MEM_RCU,
    PTR_MAYBE_NULL,
    PTR_TO_STACK,
    PTR_UNTRUSTED,
    Reg,
    const_reg,
)
from verifier.sections import in_rcu_cs
from verifier.stackobj import EINVAL, ERANGE, check_write, get_spi
from verifier.state import INVALID_SLOT, STACK_ITER, Slot
from verifier.statelog import iter_type_str

_BYTES: Final = bytes([STACK_ITER]) * 8
_EPROTO: Final = -71


class IterArg:
    """Where the iterator of a call is: frame and highest slot. Mutable."""

    __slots__ = ("frameno", "spi")

    def __init__(self) -> None:
        self.frameno = 0
        self.spi = -1


def new_iter(
    env: Env, reg: Reg, argno: int, insn_idx: int, struct: str, size: int, rcu_protected: bool
) -> None:
    """The argument is a place for a new iterator: it is one from here on."""
    nr_slots = size // 8
    frame = env.cur_state.frames[reg.frameno]
    spi = get_spi(env, reg, "iter", nr_slots)
    taken = spi >= 0 and any(STACK_ITER in frame.stack[spi - i].types for i in range(nr_slots))
    if spi == EINVAL or taken:
        env.refuse(
            "EINVAL", f"expected uninitialized iter_{iter_type_str(None, struct)} as {reg_arg_name(argno)}"
        )
    check_write(env, reg, argno, size)
    spi = get_spi(env, reg, "iter", nr_slots)
    new = acquire_reference(env, insn_idx)
    reg_type = PTR_TO_STACK
    if rcu_protected:
        reg_type |= MEM_RCU if in_rcu_cs(env) else PTR_UNTRUSTED
    for i in range(nr_slots):
        state = Reg(reg_type, id=0 if i else new, aux=(None, struct, BPF_ITER_STATE_ACTIVE, 0))
        frame.stack[spi - i] = Slot(_BYTES, state)
        env.scratch_slot(spi - i)


def check_iter(env: Env, reg: Reg, argno: int, struct: str, size: int, kfunc: str, found: IterArg) -> Reg:
    """The argument is an initialised iterator: its state. Fills `found`."""
    nr_slots = size // 8
    verdict = _is_valid_init(env, reg, struct, nr_slots)
    if verdict == _EPROTO:
        env.refuse("EPROTO", f"expected an RCU CS when using {kfunc}")
    if verdict:
        env.refuse(
            "EINVAL", f"expected an initialized iter_{iter_type_str(None, struct)} as {reg_arg_name(argno)}"
        )
    found.spi = get_spi(env, reg, "iter", nr_slots)
    found.frameno = reg.frameno
    for i in range(nr_slots):
        env.scratch_slot(found.spi - i)
    return env.cur_state.frames[found.frameno].stack[found.spi].reg


def _is_valid_init(env: Env, reg: Reg, struct: str, nr_slots: int) -> int:
    spi = get_spi(env, reg, "iter", nr_slots)
    if spi in (EINVAL, ERANGE):
        return EINVAL
    stack = env.cur_state.frames[reg.frameno].stack
    for i in range(nr_slots):
        slot = stack[spi - i]
        if slot.types != _BYTES:
            # What such a slot holds besides may look like an untrusted pointer: the kernel then blames that.
            return _EPROTO if slot.reg.type & PTR_UNTRUSTED else EINVAL
        if slot.reg.type & PTR_UNTRUSTED:
            return _EPROTO
        if bool(slot.reg.id) != (i == 0) or slot.reg.btf_id != struct:
            return EINVAL
    return 0


def destroy_iter(env: Env, found: IterArg, size: int) -> None:
    """The iterator ends: its slots hold nothing, what it gave is stale."""
    frame = env.cur_state.frames[found.frameno]
    release_reference(env, frame.stack[found.spi].reg.id)
    for i in range(size // 8):
        frame.stack[found.spi - i] = INVALID_SLOT
        env.scratch_slot(found.spi - i)


def iter_state(env: Env, found: IterArg) -> Reg:
    """The iterator's first slot (get_iter_from_state)."""
    return env.cur_state.frames[found.frameno].stack[found.spi].reg


def process_iter_next_call(env: Env, insn_idx: int, found: IterArg) -> None:
    """`next` gives an element or ends: the former is explored later, in a state where the loop went round once more.

    R0 is what `next` returns, with PTR_MAYBE_NULL. Numbers that changed since the last round and that nobody relied
    on are forgotten, so that loops converge.
    """
    state = env.cur_state
    held = iter_state(env, found)
    if held.iter_state == BPF_ITER_STATE_ACTIVE:
        parent = state.parent
        if parent is None or parent.insn_idx != insn_idx:
            env.bug("bad parent state for iter next call")
        prev = find_prev_entry(env, parent, insn_idx)
        queued = env.push_state(insn_idx + 1, insn_idx)
        stack = queued.frames[found.frameno].stack
        again = held.with_aux((held.btf, held.btf_id, BPF_ITER_STATE_ACTIVE, held.iter_depth + 1))
        stack[found.spi] = Slot(stack[found.spi].types, again)
        if prev is not None:
            widen_imprecise_scalars(env, prev, queued)
        regs = queued.frames[-1].regs
        regs[0] = regs[0].with_type(regs[0].type & ~PTR_MAYBE_NULL)
    stack = state.frames[found.frameno].stack
    drained = held.with_aux((held.btf, held.btf_id, BPF_ITER_STATE_DRAINED, held.iter_depth))
    stack[found.spi] = Slot(stack[found.spi].types, drained)
    env.set_reg(0, const_reg(0))
