"""References: what a program acquired and must release, and what becomes of pointers when it does.

Sources: acquire_reference, release_reference, destroy_if_dynptr_stack_slot, check_reference_leak, check_resource_leak, clear_all_pkt_pointers,
invalidate_* and ref_* of kernel/bpf/verifier.c. Knows no calls (helpercalls.py, kfunccalls.py decide what is released).
"""

from collections.abc import Callable
from typing import Final

from verifier.env import Env
from verifier.history import (
    ACQUIRE,
    NON_OWNING,
    PKT_DATA_CHANGE,
    REF_RELEASE,
    RELEASE,
    WRITE,
    Place,
    arg_place,
    reg_place,
    slot_place,
)
from verifier.regs import (
    BPF_DYNPTR_TYPE_FILE,
    BPF_DYNPTR_TYPE_RINGBUF,
    DYNPTR_TYPE_SKB,
    DYNPTR_TYPE_SKB_META,
    DYNPTR_TYPE_XDP,
    MEM_ALLOC,
    MEM_PERCPU,
    MEM_RCU,
    NON_OWN_REF,
    NOT_INIT,
    NOT_INIT_REG,
    PTR_MAYBE_NULL,
    PTR_TO_MEM,
    PTR_TO_PACKET,
    PTR_TO_PACKET_END,
    PTR_TO_PACKET_META,
    PTR_UNTRUSTED,
    UNKNOWN_REG,
    Reg,
    base_type,
)
from verifier.state import (
    INVALID_SLOT,
    REF_TYPE_PTR,
    STACK_DYNPTR,
    STACK_ITER,
    STACK_SPILL,
    FuncState,
    Ref,
    Slot,
    VState,
)

# Dynptrs of which one must be released.
REFERENCED_DYNPTRS: Final = frozenset({BPF_DYNPTR_TYPE_RINGBUF, BPF_DYNPTR_TYPE_FILE})

_PACKET_TYPES = frozenset({PTR_TO_PACKET, PTR_TO_PACKET_META, PTR_TO_PACKET_END})
_PACKET_SLICES = DYNPTR_TYPE_SKB | DYNPTR_TYPE_XDP | DYNPTR_TYPE_SKB_META


def acquire_reference(env: Env, insn_idx: int, parent_id: int = 0) -> int:
    """Something was acquired: its new id. parent_id: the reference that it depends on."""
    new = env.new_id()
    env.cur_state.refs.append(Ref(REF_TYPE_PTR, new, insn_idx, parent_id))
    if env.history is not None:
        env.history.reference(ACQUIRE, insn_idx, new)
    return new


def find_reference_state(state: VState, ref_id: int) -> bool:
    """Whether `ref_id` is a reference that is still held."""
    return any(ref.id == ref_id and ref.type == REF_TYPE_PTR for ref in state.refs)


def reg_is_referenced(env: Env, reg: Reg) -> bool:
    """Whether the register holds such a reference."""
    return bool(env.cur_state.refs) and find_reference_state(env.cur_state, reg.id)


def drop_reference(env: Env, ref_id: int) -> bool:
    """As release_reference_nomark for the current state; noted for what explains a refusal."""
    held = release_reference_nomark(env.cur_state, ref_id)
    if held and env.history is not None:
        env.history.reference(RELEASE, env.insn_idx, ref_id)
    return held


def release_reference_nomark(state: VState, ref_id: int) -> bool:
    """Drops the reference and leaves the registers alone; whether there was one."""
    for i, ref in enumerate(state.refs):
        if ref.id == ref_id and ref.type == REF_TYPE_PTR:
            del state.refs[i]
            return True
    return False


def release_reference(env: Env, ref_id: int) -> None:
    """Releases an object and all that was derived from it; pointers to them become unknown numbers.

    A reference that depends on a released one can be reached no more: it must be released before.
    """
    state = env.cur_state
    drop_reference(env, ref_id)
    todo = [ref_id]
    while todo:
        current = todo.pop()
        for ref in state.refs:
            if ref.type == REF_TYPE_PTR and ref.parent_id == current:
                env.refuse(
                    "EINVAL",
                    f"Leaking reference id={ref.id} alloc_insn={ref.insn_idx}. Release it first.",
                )
        for derived in _invalidate(env, current):
            if derived and derived not in todo:
                todo.append(derived)


def _invalidate(env: Env, ref_id: int) -> list[int]:
    """Makes what has the id, or lives in it, unknown; ids of the latter."""
    derived: list[int] = []

    def touched(place: Place, reg: Reg) -> bool:
        if reg.parent_id == ref_id:
            derived.append(reg.id)
        elif reg.id != ref_id:
            return False
        if env.history is not None:
            env.history.scrub(place, reg, REF_RELEASE)
        return True

    for frame in env.cur_state.frames:
        for i, reg in enumerate(frame.regs):
            if touched(reg_place(frame, i), reg):
                frame.regs[i] = UNKNOWN_REG
        _invalidate_slots(frame, touched)
        for i, reg in enumerate(frame.stack_args):
            if reg.type != NOT_INIT and touched(arg_place(frame, i), reg):
                frame.stack_args[i] = UNKNOWN_REG
    return derived


def _invalidate_slots(frame: FuncState, touched: Callable[[Place, Reg], bool]) -> None:
    """A dynptr goes with both of its slots, the second of which is known by the first."""
    for i, slot in enumerate(frame.stack):
        kind = slot.types[7]
        if kind == STACK_SPILL and touched(slot_place(frame, i), slot.reg):
            frame.stack[i] = Slot(slot.types, UNKNOWN_REG)
        elif kind == STACK_DYNPTR and touched(slot_place(frame, i), slot.reg):
            lower = i - 1 if slot.reg.first_slot else i
            frame.stack[lower] = INVALID_SLOT
            frame.stack[lower + 1] = INVALID_SLOT


def check_reference_leak(env: Env, exception_exit: bool) -> bool:
    """Names every reference that is still held where the program, or a thrown exception, leaves it."""
    state = env.cur_state
    if not exception_exit and state.curframe:
        return False
    lingering = False
    for ref in state.refs:
        if ref.type != REF_TYPE_PTR:
            continue
        if env.prog_type == "struct_ops" and not exception_exit and env.regs[0].id == ref.id:
            continue
        env.write(f"Unreleased reference id={ref.id} alloc_insn={ref.insn_idx}\n")
        if env.diagnosis is not None:
            env.trace(env.diagnosis.leak(ref.id, ref.insn_idx))
        lingering = True
    return lingering


def check_resource_leak(env: Env, exception_exit: bool, check_lock: bool, prefix: str) -> None:
    """Refuses to leave, or to do what `prefix` names, with references, locks or sections open."""
    state = env.cur_state
    if check_lock and state.active_locks:
        env.refuse("EINVAL", f"{prefix} cannot be used inside bpf_spin_lock-ed region")
    if check_reference_leak(env, exception_exit):
        env.refuse("EINVAL", f"{prefix} would lead to reference leak")
    if not check_lock:
        return
    if state.active_irq_id:
        env.refuse("EINVAL", f"{prefix} cannot be used inside bpf_local_irq_save-ed region")
    if state.active_rcu_locks:
        env.refuse("EINVAL", f"{prefix} cannot be used inside bpf_rcu_read_lock-ed region")
    if state.active_preempt_locks:
        env.refuse("EINVAL", f"{prefix} cannot be used inside bpf_preempt_disable-ed region")


def clear_all_pkt_pointers(env: Env) -> None:
    """The packet may have moved: pointers into it, and slices of dynptrs over it, become unknown numbers."""

    def change(reg: Reg) -> Reg:
        base = base_type(reg.type)
        if base in _PACKET_TYPES or (base == PTR_TO_MEM and reg.type & _PACKET_SLICES):
            return UNKNOWN_REG
        return reg

    if env.history is not None:
        env.history.update(change, PKT_DATA_CHANGE)
    env.cur_state.update_regs(change)


def invalidate_non_owning_refs(env: Env) -> None:
    """A lock is released: pointers to objects that it protected become unknown numbers."""

    def change(reg: Reg) -> Reg:
        return UNKNOWN_REG if reg.type & NON_OWN_REF else reg

    if env.history is not None:
        env.history.update(change, NON_OWNING)
    env.cur_state.update_regs(change)


def invalidate_rcu_protected_refs(env: Env) -> None:
    """The last RCU section ends: pointers that it protected may be stale from here on."""

    def change(reg: Reg) -> Reg:
        if not reg.type & MEM_RCU:
            return reg
        return reg.with_type(reg.type & ~(MEM_RCU | PTR_MAYBE_NULL | NON_OWN_REF) | PTR_UNTRUSTED)

    if env.history is not None:
        env.history.update(change, WRITE)
    env.cur_state.update_regs(change)
    for frame in env.cur_state.frames:
        for i, slot in enumerate(frame.stack):
            if slot.types[7] == STACK_ITER:
                reg = change(slot.reg)
                if reg is not slot.reg:
                    frame.stack[i] = Slot(slot.types, reg)


def ref_convert_alloc_rcu_protected(env: Env, ref_id: int) -> bool:
    """A per-cpu object goes to a map while RCU still protects it; whether it was held."""
    found = drop_reference(env, ref_id)

    def change(reg: Reg) -> Reg:
        if reg.id != ref_id or not (reg.type & MEM_ALLOC and reg.type & MEM_PERCPU):
            return reg
        return reg.with_(id=0, type=reg.type & ~MEM_ALLOC | MEM_RCU)

    env.cur_state.update_regs(change)
    return found


def clear_caller_saved_regs(env: Env) -> None:
    """R0..R5 hold nothing after a call. What r0 holds then is noted when it is known (History.end)."""
    if env.history is not None:
        env.history.lose_arguments(env.func)
        env.history.begin(reg_place(env.func, 0), env.regs[0])
    env.scratched_regs |= 0b11_1111
    env.regs[0:6] = [NOT_INIT_REG] * 6


def destroy_if_dynptr_stack_slot(env: Env, frame: FuncState, spi: int) -> None:
    """The slot is about to be overwritten: a dynptr there is destroyed, if that loses no reference."""
    if frame.stack[spi].types[0] != STACK_DYNPTR:
        return
    if not frame.stack[spi].reg.first_slot:
        spi += 1
    held = frame.stack[spi].reg
    if held.dynptr_type in REFERENCED_DYNPTRS and _sharing(env, held.parent_id) <= 1:
        env.refuse("EINVAL", "cannot overwrite referenced dynptr")
    release_reference(env, held.id)
    frame.stack[spi] = INVALID_SLOT
    frame.stack[spi - 1] = INVALID_SLOT
    env.scratch_slot(spi)
    env.scratch_slot(spi - 1)


def _sharing(env: Env, parent_id: int) -> int:
    """How many dynptrs on the stack stand for this reference (dynptr_ref_cnt)."""
    return sum(
        slot.types[0] == STACK_DYNPTR and slot.reg.first_slot and slot.reg.parent_id == parent_id
        for frame in env.cur_state.frames
        for slot in frame.stack
    )
