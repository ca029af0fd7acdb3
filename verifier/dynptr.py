"""Dynptrs on the stack: 16 bytes that name memory whose bounds are known at run time only.

Sources: process_dynptr_func, mark_stack_slots_dynptr, unmark_stack_slots_dynptr of kernel/bpf/verifier.c.
"""

from typing import Final

from verifier.env import Env, reg_arg_name
from verifier.references import (
    REFERENCED_DYNPTRS,
    acquire_reference,
    destroy_if_dynptr_stack_slot,
    release_reference,
)
from verifier.regs import (
    BPF_DYNPTR_TYPE_FILE,
    BPF_DYNPTR_TYPE_INVALID,
    BPF_DYNPTR_TYPE_LOCAL,
    BPF_DYNPTR_TYPE_RINGBUF,
    BPF_DYNPTR_TYPE_SKB,
    BPF_DYNPTR_TYPE_SKB_META,
    BPF_DYNPTR_TYPE_XDP,
    CONST_PTR_TO_DYNPTR,
    DYNPTR_TYPE_FILE,
    DYNPTR_TYPE_FLAG_MASK,
    DYNPTR_TYPE_LOCAL,
    DYNPTR_TYPE_RINGBUF,
    DYNPTR_TYPE_SKB,
    DYNPTR_TYPE_SKB_META,
    DYNPTR_TYPE_XDP,
    MEM_UNINIT,
    OBJ_RELEASE,
    PTR_TO_STACK,
    Reg,
)
from verifier.stackobj import EINVAL, check_write, get_spi
from verifier.state import STACK_DYNPTR, Slot
from verifier.statelog import dynptr_type_str

BPF_DYNPTR_SIZE: Final = 16
BPF_DYNPTR_NR_SLOTS: Final = 2

_BYTES: Final = bytes([STACK_DYNPTR]) * 8
_TYPE_BY_FLAG: Final = {
    DYNPTR_TYPE_LOCAL: BPF_DYNPTR_TYPE_LOCAL,
    DYNPTR_TYPE_RINGBUF: BPF_DYNPTR_TYPE_RINGBUF,
    DYNPTR_TYPE_SKB: BPF_DYNPTR_TYPE_SKB,
    DYNPTR_TYPE_XDP: BPF_DYNPTR_TYPE_XDP,
    DYNPTR_TYPE_SKB_META: BPF_DYNPTR_TYPE_SKB_META,
    DYNPTR_TYPE_FILE: BPF_DYNPTR_TYPE_FILE,
}
_FLAG_BY_TYPE: Final = {kind: flag for flag, kind in _TYPE_BY_FLAG.items()}


class RefObj:
    """The referenced objects among a call's arguments (struct ref_obj_desc). Mutable."""

    __slots__ = ("cnt", "id", "parent_id")

    def __init__(self) -> None:
        self.id = 0
        self.parent_id = 0
        self.cnt = 0

    def update(self, reg: Reg) -> None:
        """One more argument is a referenced object."""
        self.id = reg.id
        self.parent_id = reg.parent_id
        self.cnt += 1

    def validate(self, env: Env) -> None:
        """Where the call derives something from it, there may be one only."""
        if self.cnt > 1:
            env.bug(f"function expects only one referenced object but got {self.cnt}")


class DynptrArg:
    """The initialised dynptr among a call's arguments (struct bpf_dynptr_desc). Mutable."""

    __slots__ = ("id", "parent_id", "type")

    def __init__(self) -> None:
        self.type = BPF_DYNPTR_TYPE_INVALID
        self.id = 0
        self.parent_id = 0


def dynptr_type(flags: int) -> int:
    """BPF_DYNPTR_TYPE_* that an argument's flags ask for (arg_to_dynptr_type)."""
    return _TYPE_BY_FLAG.get(flags & DYNPTR_TYPE_FLAG_MASK, BPF_DYNPTR_TYPE_INVALID)


def dynptr_flag(kind: int) -> int:
    """DYNPTR_TYPE_* flag of a type (get_dynptr_type_flag)."""
    return _FLAG_BY_TYPE.get(kind, 0)


def process_dynptr_func(
    env: Env, reg: Reg, argno: int, insn_idx: int, flags: int, ref_obj: RefObj, dynptr: DynptrArg | None
) -> None:
    """Checks a dynptr argument of a helper, kfunc or function.

    flags: MEM_UNINIT for one that the call makes, OBJ_RELEASE for one that it ends, DYNPTR_TYPE_* for its type (none:
    any). dynptr: filled with what an initialised one is; for a clone, what it is made from.
    """
    name = reg_arg_name(argno)
    if reg.type not in (PTR_TO_STACK, CONST_PTR_TO_DYNPTR):
        env.refuse("EINVAL", f"{name} expected pointer to stack or const struct bpf_dynptr")
    if flags & MEM_UNINIT:
        if not _is_valid_uninit(env, reg):
            env.refuse("EINVAL", "Dynptr has to be an uninitialized dynptr")
        check_write(env, reg, argno, BPF_DYNPTR_SIZE)
        _mark_stack_slots(env, reg, flags, insn_idx, ref_obj, dynptr or DynptrArg())
        return
    if reg.type == CONST_PTR_TO_DYNPTR and flags & OBJ_RELEASE:
        env.refuse("EINVAL", "CONST_PTR_TO_DYNPTR cannot be released")
    held = _initialised(env, reg)
    if held is None:
        env.refuse("EINVAL", f"Expected an initialized dynptr as {name}")
    wanted = dynptr_type(flags)
    if flags & ~OBJ_RELEASE and held.dynptr_type != wanted:
        env.refuse("EINVAL", f"Expected a dynptr of type {dynptr_type_str(wanted)} as {name}")
    if reg.type != CONST_PTR_TO_DYNPTR:
        spi = get_spi(env, reg, "dynptr", BPF_DYNPTR_NR_SLOTS)
        env.scratch_slot(spi)
        env.scratch_slot(spi - 1)
    if dynptr is not None:
        dynptr.type = held.dynptr_type
        dynptr.id = held.id
        dynptr.parent_id = held.parent_id


def _is_valid_uninit(env: Env, reg: Reg) -> bool:
    """A place for a new dynptr. What is there is destroyed later, where that is allowed."""
    if reg.type == CONST_PTR_TO_DYNPTR:
        return False
    return get_spi(env, reg, "dynptr", BPF_DYNPTR_NR_SLOTS) != EINVAL


def _initialised(env: Env, reg: Reg) -> Reg | None:
    """The dynptr that is pointed to, None if there is none."""
    if reg.type == CONST_PTR_TO_DYNPTR:
        return reg
    spi = get_spi(env, reg, "dynptr", BPF_DYNPTR_NR_SLOTS)
    if spi < 0:
        return None
    stack = env.cur_state.frames[reg.frameno].stack
    first = stack[spi]
    if first.types != _BYTES or stack[spi - 1].types != _BYTES or not first.reg.first_slot:
        return None
    return first.reg


def _mark_stack_slots(
    env: Env, reg: Reg, flags: int, insn_idx: int, ref_obj: RefObj, dynptr: DynptrArg
) -> None:
    """A dynptr is made on the stack (mark_stack_slots_dynptr)."""
    frame = env.cur_state.frames[reg.frameno]
    spi = get_spi(env, reg, "dynptr", BPF_DYNPTR_NR_SLOTS)
    destroy_if_dynptr_stack_slot(env, frame, spi)
    destroy_if_dynptr_stack_slot(env, frame, spi - 1)
    kind = dynptr_type(flags)
    if kind == BPF_DYNPTR_TYPE_INVALID:
        env.refuse("EINVAL")
    if dynptr.type == BPF_DYNPTR_TYPE_INVALID:
        ref_obj.validate(env)
        parent_id = ref_obj.id
        if kind in REFERENCED_DYNPTRS:
            # The reference behind it and all its clones.
            parent_id = acquire_reference(env, insn_idx, parent_id)
    else:
        parent_id = dynptr.parent_id
    new = env.new_id()
    frame.stack[spi] = Slot(_BYTES, dynptr_reg(kind, new, parent_id, first_slot=True))
    frame.stack[spi - 1] = Slot(_BYTES, dynptr_reg(kind, new, parent_id, first_slot=False))


def dynptr_reg(kind: int, reg_id: int, parent_id: int, *, first_slot: bool) -> Reg:
    """One half of a dynptr, or the constant one that a callback gets (__mark_dynptr_reg)."""
    return Reg(CONST_PTR_TO_DYNPTR, id=reg_id, parent_id=parent_id, aux=(kind, first_slot))


def unmark_stack_slots_dynptr(env: Env, reg: Reg) -> None:
    """A dynptr ends, and with it what was derived from it; of a referenced one also its clones."""
    spi = get_spi(env, reg, "dynptr", BPF_DYNPTR_NR_SLOTS)
    if spi < 0:
        env.refuse("EINVAL")
    held = env.cur_state.frames[reg.frameno].stack[spi].reg
    release_reference(env, held.parent_id if held.dynptr_type in REFERENCED_DYNPTRS else held.id)
