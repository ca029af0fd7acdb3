"""Locks and sections: spin locks, saved irq flags, RCU and preemption; what may be done inside them.

Sources: in_rcu_cs, in_sleepable_context, process_spin_lock, acquire_lock_state, release_lock_state, process_irq_flag of
kernel/bpf/verifier.c.
"""

from typing import Any, Final

from bpf.kfuncs import KFUNCS
from verifier.env import Env, reg_arg_name
from verifier.fields import reg_btf_record
from verifier.reasons import IRQ, LOCK
from verifier.references import invalidate_non_owning_refs, invalidate_rcu_protected_refs
from verifier.regs import PTR_TO_MAP_VALUE, PTR_TO_STACK, Reg
from verifier.sections import in_rcu_cs
from verifier.stackobj import EINVAL, ERANGE, check_write, get_spi
from verifier.state import (
    INVALID_SLOT,
    REF_TYPE_IRQ,
    REF_TYPE_LOCK,
    REF_TYPE_LOCK_MASK,
    REF_TYPE_RES_LOCK,
    REF_TYPE_RES_LOCK_IRQ,
    STACK_IRQ_FLAG,
    Ref,
    Slot,
    VState,
)

IRQ_NATIVE_KFUNC: Final = 1
IRQ_LOCK_KFUNC: Final = 2

_RBTREE_KFUNCS: Final = frozenset(name for name in KFUNCS if name.startswith("bpf_rbtree_"))
_IRQ_BYTES: Final = bytes([STACK_IRQ_FLAG]) * 8
_CLASS_NAMES: Final = {IRQ_NATIVE_KFUNC: "native", IRQ_LOCK_KFUNC: "lock"}


# ---- sections


def in_sleepable_context(env: Env) -> bool:
    """Whether sleeping is allowed at this very place."""
    return env.cur_state.in_sleepable and not in_rcu_cs(env)


def non_sleepable_context_description(env: Env) -> str:
    """What forbids it."""
    state = env.cur_state
    if state.active_rcu_locks:
        return "rcu_read_lock region"
    if state.active_preempt_locks:
        return "non-preemptible region"
    if state.active_irq_id:
        return "IRQ-disabled region"
    if state.active_locks:
        return "lock region"
    return "non-sleepable prog"


def in_rbtree_lock_required_cb(env: Env) -> bool:
    """Whether this is the comparison that bpf_rbtree_add calls, under the caller's lock, or something that it calls."""
    for frame in env.cur_state.frames[1:]:
        if frame.in_callback_fn:
            proto = env.kfuncs.get(frame.callsite)
            if proto is not None and proto.name in _RBTREE_KFUNCS:
                return True
    return False


def kfunc_spin_allowed(name: str) -> bool:
    """Whether the kfunc may be called while a lock is held."""
    kfunc = KFUNCS.get(name)
    return kfunc is not None and "spinlock_safe" in kfunc.flags


# ---- spin locks


def find_lock_state(state: VState, types: int, lock_id: int, ptr: Any) -> bool:
    """Whether this lock, of one of these types, is held."""
    return any(ref.type & types and ref.id == lock_id and ref.ptr is ptr for ref in state.refs)


def _acquire_lock(env: Env, kind: int, lock_id: int, ptr: Any) -> None:
    state = env.cur_state
    state.refs.append(Ref(kind, lock_id, env.insn_idx, 0, ptr))
    state.active_locks += 1
    state.active_lock_id = lock_id
    state.active_lock_ptr = ptr
    if env.history is not None:
        env.history.section(LOCK, state.active_locks, entered=True)


def _release_lock(env: Env, kind: int, lock_id: int, ptr: Any) -> None:
    state = env.cur_state
    prev_id, prev_ptr = 0, None
    for i, ref in enumerate(state.refs):
        if ref.type == kind and ref.id == lock_id and ref.ptr is ptr:
            del state.refs[i]
            state.active_locks -= 1
            state.active_lock_id = prev_id
            state.active_lock_ptr = prev_ptr
            if env.history is not None:
                env.history.section(LOCK, state.active_locks, entered=False)
            return
        if ref.type & REF_TYPE_LOCK_MASK:
            prev_id, prev_ptr = ref.id, ref.ptr


def process_spin_lock(
    env: Env, reg: Reg, argno: int, *, lock: bool, res: bool = False, irq: bool = False
) -> None:
    """An argument is a lock to take or to release. res: a resilient one; irq: with interrupts off."""
    name = "bpf_res_spin" if res else "bpf_spin"
    ptr = _check_lock_field(env, reg, argno, name)
    kind = REF_TYPE_LOCK
    if res:
        kind = REF_TYPE_RES_LOCK_IRQ if irq else REF_TYPE_RES_LOCK
    state = env.cur_state
    if lock:
        if state.active_locks and not res and find_lock_state(state, REF_TYPE_LOCK, 0, None):
            env.refuse("EINVAL", "Locking two bpf_spin_locks are not allowed")
        if res and find_lock_state(state, REF_TYPE_RES_LOCK | REF_TYPE_RES_LOCK_IRQ, reg.id, ptr):
            env.refuse("EINVAL", "Acquiring the same lock again, AA deadlock detected")
        _acquire_lock(env, kind, reg.id, ptr)
        return
    if not state.active_locks:
        env.refuse("EINVAL", f"{name}_unlock without taking a lock")
    if not find_lock_state(state, kind, reg.id, ptr):
        env.refuse("EINVAL", f"{name}_unlock of different lock")
    if reg.id != state.active_lock_id or ptr is not state.active_lock_ptr:
        env.refuse("EINVAL", f"{name}_unlock cannot be out of order")
    _release_lock(env, kind, reg.id, ptr)
    invalidate_non_owning_refs(env)
    if not in_rcu_cs(env):
        invalidate_rcu_protected_refs(env)


def _check_lock_field(env: Env, reg: Reg, argno: int, name: str) -> Any:
    """The argument points to a lock that BTF knows; the map or BTF that tells locks apart."""
    if not reg.is_const:
        env.refuse(
            "EINVAL",
            f"{reg_arg_name(argno)} doesn't have constant offset. {name}_lock has to be at the constant offset",
        )
    owner: Any
    if reg.type == PTR_TO_MAP_VALUE:
        owner = reg.map
        where, what = "map", owner.spec.name
        if not owner.spec.btf_value and not owner.spec.btf_key:
            env.refuse("EINVAL", f"map '{what}' has to have BTF in order to use {name}_lock")
    else:
        owner = reg.btf
        where, what = "local", "kptr"
    record = reg_btf_record(env, reg)
    off = record.off(f"{name}_lock") if record is not None else -1
    if off < 0:
        env.refuse("EINVAL", f"{where} '{what}' has no valid {name}_lock")
    if off != reg.num.value:
        env.refuse(
            "EINVAL", f"off {reg.num.signed_value} doesn't point to 'struct {name}_lock' that is at {off}"
        )
    return owner


# ---- irq flags


def process_irq_flag(env: Env, reg: Reg, argno: int, *, save: bool, kfunc_class: int) -> None:
    """An argument is 8 bytes of stack that interrupt flags are saved to, or restored from."""
    name = reg_arg_name(argno)
    frame = env.cur_state.frames[reg.frameno]
    spi = get_spi(env, reg, "irq_flag", 1)
    if save:
        taken = spi >= 0 and STACK_IRQ_FLAG in frame.stack[spi].types
        if taken or spi == EINVAL:
            env.refuse("EINVAL", f"expected uninitialized irq flag as {name}")
        check_write(env, reg, argno, 8)
        spi = get_spi(env, reg, "irq_flag", 1)
        new = env.new_id()
        env.cur_state.refs.append(Ref(REF_TYPE_IRQ, new, env.insn_idx))
        env.cur_state.active_irq_id = new
        _note_irq(env, entered=True)
        frame.stack[spi] = Slot(_IRQ_BYTES, Reg(PTR_TO_STACK, id=new, aux=kfunc_class))
        env.scratch_slot(spi)
        return
    if spi in (EINVAL, ERANGE) or frame.stack[spi].types != _IRQ_BYTES or not frame.stack[spi].reg.id:
        env.refuse("EINVAL", f"expected an initialized irq flag as {name}")
    env.scratch_slot(spi)
    _restore_irq(env, frame.stack[spi].reg, kfunc_class)
    frame.stack[spi] = INVALID_SLOT
    if not in_rcu_cs(env):
        invalidate_rcu_protected_refs(env)


def _note_irq(env: Env, *, entered: bool) -> None:
    if env.history is not None:
        depth = sum(ref.type == REF_TYPE_IRQ for ref in env.cur_state.refs)
        env.history.section(IRQ, depth, entered=entered)


def _restore_irq(env: Env, flag: Reg, kfunc_class: int) -> None:
    state = env.cur_state
    if flag.irq_class != kfunc_class:
        env.refuse(
            "EINVAL",
            f"irq flag acquired by {_CLASS_NAMES[flag.irq_class]} kfuncs cannot be restored with"
            f" {_CLASS_NAMES[kfunc_class]} kfuncs",
        )
    if flag.id != state.active_irq_id:
        at = next((ref.insn_idx for ref in state.refs if ref.id == state.active_irq_id), 0)
        env.refuse(
            "EACCES",
            f"cannot restore irq state out of order, expected id={state.active_irq_id} acquired at insn_idx={at}",
        )
    prev = 0
    for i, ref in enumerate(state.refs):
        if ref.type != REF_TYPE_IRQ:
            continue
        if ref.id == flag.id:
            del state.refs[i]
            state.active_irq_id = prev
            _note_irq(env, entered=False)
            return
        prev = ref.id
