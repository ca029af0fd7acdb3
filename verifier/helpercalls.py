"""Calls of helpers: what is checked, and what the call leaves behind.

Sources: check_helper_call, record_func_map, record_func_key, do_refine_retval_range, check_get_func_ip of
kernel/bpf/verifier.c.
"""

from typing import Final

from bpf.helpers import BY_NAME
from bpf.insn import Insn
from bpf.maps import MapType
from bpf.progtypes import NUMBERS
from verifier import callbacks
from verifier.attach import helper_fits
from verifier.availability import callable_helper
from verifier.callargs import MAX_ERRNO, CallMeta
from verifier.dynptr import unmark_stack_slots_dynptr
from verifier.env import Env
from verifier.exits import Range, is_within, prepare_func_exit, refuse_scalar
from verifier.funccalls import push_callback_call
from verifier.helperargs import HelperSpec, check_func_arg
from verifier.helperreturn import set_return
from verifier.locks import in_sleepable_context, non_sleepable_context_description
from verifier.mapcompat import check_map_func_compatibility
from verifier.maps import F_RDONLY_PROG, access_flags
from verifier.memory import check_mem_access
from verifier.precision import mark_chain_precision
from verifier.printformat import check_format
from verifier.references import (
    check_resource_leak,
    clear_all_pkt_pointers,
    clear_caller_saved_regs,
    ref_convert_alloc_rcu_protected,
    reg_is_referenced,
    release_reference,
)
from verifier.regions import BPF_WRITE
from verifier.regs import (
    BPF_DYNPTR_TYPE_INVALID,
    BPF_DYNPTR_TYPE_SKB,
    BPF_DYNPTR_TYPE_SKB_META,
    MEM_ALLOC,
    MEM_PERCPU,
    PTR_TO_MAP_VALUE,
    SCALAR_VALUE,
    UNKNOWN_REG,
    Reg,
)
from verifier.sections import in_rcu_cs
from verifier.stackargs import invalidate_outgoing_stack_args
from verifier.statelog import reg_type_str

POISON: Final = "poison"

_BY_NUMBER: Final = {helper.id: helper.name for helper in BY_NAME.values()}
_MAX_ID: Final = max(_BY_NUMBER)
_specs: dict[tuple[int, str], HelperSpec] = {}

# Calls whose map the rewriting wants to know.
_RECORDED: Final = frozenset(
    {
        "bpf_tail_call",
        "bpf_map_lookup_elem",
        "bpf_map_update_elem",
        "bpf_map_delete_elem",
        "bpf_map_push_elem",
        "bpf_map_pop_elem",
        "bpf_map_peek_elem",
        "bpf_for_each_map_elem",
        "bpf_redirect_map",
        "bpf_map_lookup_percpu_elem",
    }
)
_WRITERS: Final = frozenset(
    {"bpf_map_delete_elem", "bpf_map_update_elem", "bpf_map_push_elem", "bpf_map_pop_elem"}
)
_TRAMPOLINES: Final = frozenset({24, 25, 26, 58})  # fentry, fexit, fmod_ret, fsession
_CGROUP_GETSOCKOPT: Final = 21
_CALLBACKS: Final = {
    "bpf_for_each_map_elem": callbacks.set_map_elem_callback_state,
    "bpf_timer_set_callback": callbacks.set_timer_callback_state,
    "bpf_find_vma": callbacks.set_find_vma_callback_state,
    "bpf_user_ringbuf_drain": callbacks.set_user_ringbuf_callback_state,
}


def helper_name(number: int) -> str:
    """Name of a helper in messages (func_id_name)."""
    return "bpf_unspec" if number == 0 else _BY_NUMBER.get(number, "unknown")


def _find(env: Env, number: int) -> HelperSpec:
    if not 0 <= number <= _MAX_ID:
        env.refuse("EINVAL", f"invalid func {helper_name(number)}#{number}")
    helper = callable_helper(env, number)
    if helper is None:
        env.refuse("EINVAL", f"program of this type cannot use helper {helper_name(number)}#{number}")
    key = (number, helper.name)
    spec = _specs.get(key)
    if spec is None:
        spec = _specs[key] = HelperSpec(helper, helper_name(number))
    return spec


def check_helper_call(env: Env, insn: Insn, insn_idx: int) -> None:
    """The call at insn_idx: checks its arguments, then makes the state behind it.

    A tail call in a called function leaves that function: env.insn_idx is then set as by its exit.
    """
    spec = _find(env, insn.imm)
    helper, name = spec.helper, spec.name
    if helper.gpl_only and not env.gpl:
        env.refuse("EINVAL", "cannot call GPL-restricted function from non-GPL compatible program")
    if not helper_fits(env.program, helper.name):
        env.refuse("EINVAL", "helper call is not allowed in probe")
    if helper.might_sleep and not in_sleepable_context(env):
        where = non_sleepable_context_description(env)
        env.refuse("EINVAL", f"sleepable helper {name}#{insn.imm} in {where}")
    meta = CallMeta(name)
    meta.raw_mem_regno = spec.raw_mem_regno
    meta.release_regno = spec.release_regno
    for argno in range(1, len(spec.args) + 1):
        check_func_arg(env, spec, argno, meta, insn_idx)
    _record_map(env, meta, insn_idx)
    _record_key(env, meta, insn_idx)
    for off in range(meta.raw_mem_size):
        check_mem_access(env, insn_idx, -meta.raw_mem_regno, off, 1, BPF_WRITE, -1)
    if meta.release_regno:
        _release(env, meta)
    changes_data = helper.changes_packet
    special = _SPECIAL.get(name)
    if special is not None:
        changes_data |= special(env, insn, insn_idx, meta)
    percpu_obj = env.regs[1] if name in ("bpf_per_cpu_ptr", "bpf_this_cpu_ptr") else None
    clear_caller_saved_regs(env)
    invalidate_outgoing_stack_args(env, env.func)
    set_return(env, helper, insn_idx, meta, percpu_obj)
    if env.history is not None:
        env.history.end()
    check_map_func_compatibility(env, meta.map, name, insn.imm)
    if name == "bpf_get_func_ip":
        _check_get_func_ip(env)
    if name == "bpf_tail_call":
        changes_data = _after_tail_call(env)
    if changes_data:
        clear_all_pkt_pointers(env)


# ---- what later passes want to know


def _record_map(env: Env, meta: CallMeta, insn_idx: int) -> None:
    """Which map this call always has; programs may not write to maps that are read-only for them."""
    if meta.func not in _RECORDED:
        return
    used = meta.map
    if used is None:
        env.bug("expected map for helper call")
    if access_flags(used.spec) & F_RDONLY_PROG and meta.func in _WRITERS:
        env.refuse("EACCES", "write into map forbidden")
    aux = env.aux[insn_idx]
    if aux.map_ptr is None:
        aux.map_ptr = used
    elif aux.map_ptr is not used:
        aux.map_ptr = POISON


def _record_key(env: Env, meta: CallMeta, insn_idx: int) -> None:
    """Which constant index this tail call always has."""
    if meta.func != "bpf_tail_call":
        return
    if meta.map is None or meta.map.spec.type != MapType.PROG_ARRAY:
        env.refuse("EINVAL", "expected prog array map for tail call")
    reg = env.regs[3]
    aux = env.aux[insn_idx]
    if reg.type != SCALAR_VALUE or reg.num.mask or reg.num.value >= meta.map.spec.max_entries:
        aux.map_key = POISON
        return
    mark_chain_precision(env, 3)
    value = reg.num.value
    if aux.map_key is None:
        aux.map_key = value
    elif aux.map_key != value:
        aux.map_key = POISON


# ---- release


def _release(env: Env, meta: CallMeta) -> None:
    reg = env.regs[meta.release_regno]
    convert = (
        meta.func == "bpf_kptr_xchg"
        and in_rcu_cs(env)
        and bool(reg.type & MEM_ALLOC and reg.type & MEM_PERCPU)
    )
    release_reg(env, reg, convert_rcu=convert, dynptr=bool(meta.dynptr.id))


def release_reg(env: Env, reg: Reg, *, convert_rcu: bool, dynptr: bool) -> None:
    """What the register holds is given back; null needs no release."""
    if reg.is_null:
        return
    if dynptr:
        unmark_stack_slots_dynptr(env, reg)
    elif convert_rcu:
        if not ref_convert_alloc_rcu_protected(env, reg.id):
            env.refuse("EINVAL")
    elif reg_is_referenced(env, reg):
        release_reference(env, reg.id)
    else:
        env.refuse("EINVAL")


# ---- rules of single helpers: each says whether pointers into the packet are stale besides


def _tail_call(env: Env, _insn: Insn, _at: int, _meta: CallMeta) -> bool:
    if env.func.in_callback_fn or env.func.in_async_callback_fn:
        env.refuse("EINVAL", "cannot tail call within callback")
    check_resource_leak(env, False, True, "tail_call")
    return False


def _after_tail_call(env: Env) -> bool:
    """The program tail-called never comes back here; in a called function its end is that function's."""
    if not env.cur_state.curframe:
        return False
    env.scratch_reg(0)
    env.push_state(env.insn_idx + 1, env.insn_idx)
    clear_all_pkt_pointers(env)
    env.set_reg(0, UNKNOWN_REG)
    prepare_func_exit(env)
    env.insn_idx -= 1
    return True


def _local_storage(env: Env, _insn: Insn, _at: int, _meta: CallMeta) -> bool:
    if not env.regs[2].is_null:
        env.refuse("EINVAL", "get_local_storage() doesn't support non-zero flags")
    mark_chain_precision(env, 2)
    return False


def _callback(env: Env, insn: Insn, at: int, meta: CallMeta) -> bool:
    push_callback_call(env, insn, at, meta.subprogno, _CALLBACKS[meta.func])
    return False


def _loop(env: Env, insn: Insn, at: int, meta: CallMeta) -> bool:
    """bpf_loop enters its callback as long as it may go round once more."""
    _update_loop_inline_state(env, at, meta.subprogno)
    mark_chain_precision(env, 1)
    frame = env.func
    if frame.callback_depth < env.regs[1].num.umax:
        push_callback_call(env, insn, at, meta.subprogno, callbacks.set_loop_callback_state)
    else:
        frame.callback_depth = 0
        if env.verbose2:
            env.trace(f"frame{env.cur_state.curframe} bpf_loop iteration limit reached\n")
    return False


def _update_loop_inline_state(env: Env, at: int, subprogno: int) -> None:
    """bpf_loop can be inlined where its flags are always 0 and its callback is always the same."""
    aux = env.aux[at]
    if aux.loop_inline is not None and not aux.loop_inline[0]:
        return
    flags = env.regs[4]
    if flags.is_null:
        mark_chain_precision(env, 4)
    first = aux.loop_inline is None
    callback = subprogno if first else aux.loop_inline[1]  # type: ignore[index] # not None here
    aux.loop_inline = (flags.is_null and callback == subprogno, callback)


def _snprintf(env: Env, _insn: Insn, _at: int, _meta: CallMeta) -> bool:
    size = env.regs[5].num.value
    if size % 8:
        env.refuse("EINVAL")
    check_format(env, env.regs[3], size // 8)
    return False


def _dynptr_from_mem(env: Env, _insn: Insn, _at: int, _meta: CallMeta) -> bool:
    if env.regs[1].type != PTR_TO_MAP_VALUE:
        found = reg_type_str(env.regs[1].type)
        env.refuse("EACCES", f"Unsupported reg type {found} for bpf_dynptr_from_mem data")
    return False


def _set_retval(env: Env, _insn: Insn, _at: int, _meta: CallMeta) -> bool:
    """bpf_set_retval takes what a hook may return."""
    reg = env.regs[1]
    if reg.type != SCALAR_VALUE:
        env.refuse("EINVAL", "R1 is not a scalar")
    if env.prog_type == "cgroup_sockopt" and env.program.expected_attach_type == _CGROUP_GETSOCKOPT:
        return False
    mark_chain_precision(env, 1)
    allowed = Range(-MAX_ERRNO, 0, narrow=True)
    if not is_within(allowed, reg):
        refuse_scalar(env, reg, allowed, "At bpf_set_retval", "R1")
    return False


def _dynptr_write(env: Env, _insn: Insn, _at: int, meta: CallMeta) -> bool:
    if meta.dynptr.type == BPF_DYNPTR_TYPE_INVALID:
        env.refuse("EFAULT")
    return meta.dynptr.type in (BPF_DYNPTR_TYPE_SKB, BPF_DYNPTR_TYPE_SKB_META)


_SPECIAL: Final = {
    "bpf_tail_call": _tail_call,
    "bpf_get_local_storage": _local_storage,
    "bpf_for_each_map_elem": _callback,
    "bpf_timer_set_callback": _callback,
    "bpf_find_vma": _callback,
    "bpf_user_ringbuf_drain": _callback,
    "bpf_loop": _loop,
    "bpf_snprintf": _snprintf,
    "bpf_dynptr_from_mem": _dynptr_from_mem,
    "bpf_set_retval": _set_retval,
    "bpf_dynptr_write": _dynptr_write,
}


def _check_get_func_ip(env: Env) -> None:
    if env.prog_type == "kprobe":
        return
    if env.prog_type == "tracing":
        if env.program.expected_attach_type in _TRAMPOLINES:
            return
        env.refuse(
            "ENOTSUPP",
            "func bpf_get_func_ip#173 supported only for fentry/fexit/fsession/fmod_ret programs",
        )
    number = NUMBERS[env.prog_type]
    env.refuse("ENOTSUPP", f"func bpf_get_func_ip#173 not supported for program type {number}")
