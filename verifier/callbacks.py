"""What a callback's registers hold when the kernel calls it: one function for each helper or kfunc that takes callbacks.

Each one gets the frame that makes the call, and the callback's new frame. Sources: set_*_callback_state and
map_set_for_each_callback_args of kernel/bpf/verifier.c.
"""

from typing import Final

from bpf.maps import MapType
from verifier.dynptr import dynptr_reg
from verifier.env import Env
from verifier.fields import reg_btf_record
from verifier.num import S32_MAX, S32_MIN
from verifier.regs import (
    BPF_DYNPTR_TYPE_LOCAL,
    CONST_PTR_TO_MAP,
    MEM_ALLOC,
    NON_OWN_REF,
    PTR_TO_BTF_ID,
    PTR_TO_MAP_KEY,
    PTR_TO_MAP_VALUE,
    UNKNOWN_REG,
    Reg,
    UsedMap,
    pointer_reg,
)
from verifier.state import FuncState

_ITERABLE: Final = frozenset(
    {
        MapType.HASH,
        MapType.PERCPU_HASH,
        MapType.LRU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.ARRAY,
        MapType.PERCPU_ARRAY,
    }
)


def set_callee_state(_env: Env, caller: FuncState, callee: FuncState, _insn_idx: int) -> None:
    """An ordinary call: r1 to r5 are the caller's."""
    callee.regs[1:6] = caller.regs[1:6]


def set_map_elem_callback_state(env: Env, caller: FuncState, callee: FuncState, insn_idx: int) -> None:
    """bpf_for_each_map_elem: cb(map, key, value, ctx)."""
    used = env.aux[insn_idx].map_ptr
    if not isinstance(used, UsedMap):
        used = caller.regs[1].map
    if used.spec.type not in _ITERABLE:
        env.refuse("ENOTSUPP", "callback function not allowed for map")
    _key_and_value(env, callee, caller.regs[1])
    callee.regs[1] = caller.regs[1]
    callee.regs[4] = caller.regs[3]
    _returns(callee, 0, 1)


def set_loop_callback_state(_env: Env, caller: FuncState, callee: FuncState, _insn_idx: int) -> None:
    """bpf_loop: cb(index, ctx)."""
    callee.regs[1] = UNKNOWN_REG
    callee.regs[2] = caller.regs[3]
    _returns(callee, 0, 1)


def set_find_vma_callback_state(_env: Env, caller: FuncState, callee: FuncState, _insn_idx: int) -> None:
    """bpf_find_vma: cb(task, vma, ctx)."""
    callee.regs[1] = caller.regs[1]
    callee.regs[2] = pointer_reg(PTR_TO_BTF_ID, aux=(None, "vm_area_struct"))
    callee.regs[3] = caller.regs[4]
    _returns(callee, 0, 1)


def set_user_ringbuf_callback_state(env: Env, caller: FuncState, callee: FuncState, _insn_idx: int) -> None:
    """bpf_user_ringbuf_drain: cb(dynptr, ctx)."""
    callee.regs[1] = dynptr_reg(BPF_DYNPTR_TYPE_LOCAL, env.new_id(), 0, first_slot=True)
    callee.regs[2] = caller.regs[3]
    _returns(callee, 0, 1)


def set_rbtree_add_callback_state(env: Env, caller: FuncState, callee: FuncState, _insn_idx: int) -> None:
    """bpf_rbtree_add_impl: less(a, b), two nodes of the tree that the first argument is the root of."""
    root = caller.regs[1]
    record = reg_btf_record(env, root)
    field = record.find(root.num.signed_value, frozenset({"bpf_rb_root"})) if record is not None else None
    if field is None:
        env.refuse("EFAULT")
    node = Reg(PTR_TO_BTF_ID | MEM_ALLOC | NON_OWN_REF, aux=(field.btf, field.btf_id))
    node = pointer_reg(node.type, field.node_offset, aux=node.aux)
    callee.regs[1] = node
    callee.regs[2] = node
    _returns(callee, 0, 1)


def set_timer_callback_state(env: Env, caller: FuncState, callee: FuncState, _insn_idx: int) -> None:
    """bpf_timer_set_callback, bpf_wq_set_callback: cb(map, key, value) of the map that the timer lies in."""
    _later(env, callee, caller.regs[1], 0, 0)


def set_task_work_schedule_callback_state(
    env: Env, caller: FuncState, callee: FuncState, _insn_idx: int
) -> None:
    """bpf_task_work_schedule_*: cb(map, key, value); the map is their third argument."""
    _later(env, callee, caller.regs[3], S32_MIN, S32_MAX)


def _key_and_value(env: Env, callee: FuncState, of: Reg) -> None:
    """Key and value of the very map that a register belongs to, which may lie in another map.

    The value gets an id of its own: two elements' locks are not one lock.
    """
    callee.regs[2] = pointer_reg(PTR_TO_MAP_KEY, aux=of.aux)
    callee.regs[3] = pointer_reg(PTR_TO_MAP_VALUE, id=env.new_id(), aux=of.aux)


def _returns(callee: FuncState, low: int, high: int) -> None:
    callee.in_callback_fn = True
    callee.callback_ret_range = (low, high)


def _later(env: Env, callee: FuncState, of: Reg, low: int, high: int) -> None:
    """A callback that runs on its own."""
    callee.regs[1] = pointer_reg(CONST_PTR_TO_MAP, aux=of.aux)
    _key_and_value(env, callee, of)
    callee.in_async_callback_fn = True
    callee.callback_ret_range = (low, high)
