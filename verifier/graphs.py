"""Lists and trees of objects that programs allocate: their heads, their nodes, and the lock over both.

Sources: __process_kf_arg_ptr_to_graph_root, __process_kf_arg_ptr_to_graph_node, check_reg_allocation_locked,
ref_set_non_owning and ref_convert_owning_non_owning of kernel/bpf/verifier.c.
"""

from typing import Any, Final

from verifier.btfaccess import struct_ids_match
from verifier.callargs import CallMeta
from verifier.env import Env, reg_arg_name
from verifier.fields import reg_btf_record
from verifier.locks import find_lock_state
from verifier.references import drop_reference, reg_is_referenced
from verifier.regs import (
    MEM_ALLOC,
    MEM_RCU,
    NON_OWN_REF,
    PTR_TO_BTF_ID,
    PTR_TO_MAP_VALUE,
    Reg,
    pointer_reg,
)
from verifier.special import Field
from verifier.state import REF_TYPE_LOCK_MASK
from verifier.statelog import btf_type_name

ALLOCATED: Final = PTR_TO_BTF_ID | MEM_ALLOC

RBTREE_ADD: Final = frozenset({"bpf_rbtree_add", "bpf_rbtree_add_impl"})
LIST_PUSH: Final = frozenset(
    {
        "bpf_list_push_front",
        "bpf_list_push_front_impl",
        "bpf_list_push_back",
        "bpf_list_push_back_impl",
        "bpf_list_add",
    }
)


def check_graph_root(env: Env, reg: Reg, argno: int, kind: str, meta: CallMeta) -> None:
    """The argument points to a head of this kind, and the lock beside it is held."""
    name = reg_arg_name(argno)
    if reg.type not in (PTR_TO_MAP_VALUE, ALLOCATED):
        env.refuse("EINVAL", f"{name} expected pointer to map value or allocated object")
    if reg.type == ALLOCATED and not reg_is_referenced(env, reg):
        env.refuse("EINVAL", "allocated object must be referenced")
    if not reg.is_const:
        env.refuse("EINVAL", f"{name} doesn't have constant offset. {kind} has to be at the constant offset")
    record = reg_btf_record(env, reg)
    off = reg.num.signed_value
    field = record.find(off, frozenset({kind})) if record is not None else None
    if field is None or record is None:
        env.refuse("EINVAL", f"{kind} not found at offset={off}")
    if not _is_locked(env, reg):
        lock = record.off("bpf_spin_lock")
        env.refuse("EINVAL", f"bpf_spin_lock at off={lock} must be held for {kind}")
    if meta.graph_root is not None:
        env.bug(f"repeating {kind} arg")
    meta.graph_root = field


def _is_locked(env: Env, reg: Reg) -> bool:
    ptr: Any = reg.map if reg.type == PTR_TO_MAP_VALUE else reg.btf
    state = env.cur_state
    if not state.active_locks:
        return False
    if not find_lock_state(state, REF_TYPE_LOCK_MASK, reg.id, ptr):
        env.write("held lock and object are not in the same allocation\n")
        return False
    return True


def check_graph_node(env: Env, reg: Reg, argno: int, root_kind: str, kind: str, meta: CallMeta) -> None:
    """The argument points to the node by which an object hangs in what the head of this call holds."""
    if not reg.is_const:
        name = reg_arg_name(argno)
        env.refuse("EINVAL", f"{name} doesn't have constant offset. {kind} has to be at the constant offset")
    record = reg_btf_record(env, reg)
    off = reg.num.signed_value
    if record is None or record.find(off, frozenset({kind})) is None:
        env.refuse("EINVAL", f"{kind} not found at offset={off}")
    root: Field = meta.graph_root
    target = btf_type_name(root.btf, root.btf_id)
    if not struct_ids_match(reg.btf, reg.btf_id, 0, root.btf, root.btf_id, True):
        env.refuse(
            "EINVAL",
            f"operation on {root_kind} expects arg#1 {kind} at offset={root.node_offset} in struct {target}, but"
            f" arg is at offset={off} in struct {btf_type_name(reg.btf, reg.btf_id)}",
        )
    meta.arg_btf, meta.arg_btf_id = reg.btf, reg.btf_id
    if off != root.node_offset:
        env.refuse(
            "EINVAL",
            f"arg#1 offset={off}, but expected {kind} at offset={root.node_offset} in struct {target}",
        )


def graph_node_reg(root: Field) -> Reg:
    """A pointer to a node of what the head holds (mark_reg_graph_node)."""
    return pointer_reg(ALLOCATED, root.node_offset, aux=(root.btf, root.btf_id))


def ref_set_non_owning(env: Env, reg: Reg) -> Reg:
    """The pointer to a node as long as the lock is held: the list or tree owns the object."""
    if not env.cur_state.active_locks:
        env.bug("ref_set_non_owning w/o active lock")
    record = reg_btf_record(env, reg)
    flags = NON_OWN_REF
    if record is not None and record.has("bpf_refcount"):
        flags |= MEM_RCU
    return reg.with_type(reg.type | flags)


def ref_convert_owning_non_owning(env: Env, ref_id: int) -> None:
    """An object is put into a list or tree: pointers to it do not own it any more."""
    drop_reference(env, ref_id)

    def change(reg: Reg) -> Reg:
        return ref_set_non_owning(env, reg.with_id(0)) if reg.id == ref_id else reg

    env.cur_state.update_regs(change)
