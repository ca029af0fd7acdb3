"""Arguments of kfuncs: each against what its C type and its name make of it. Stack-argument slots as registers.

Source: check_kfunc_args of kernel/bpf/verifier.c.
"""

from collections.abc import Callable
from typing import Final

from verifier.callargs import (
    check_func_arg_reg_off,
    process_const_alloc_mem_size,
    process_const_arg,
    process_map_ptr_arg,
)
from verifier.env import Env, get_func_arg_reg, reg_arg_name
from verifier.fields import reg_btf_record, type_is_ptr_alloc_obj
from verifier.graphs import (
    ALLOCATED,
)
from verifier.helperargs import check_arg_const_str, check_map_field_pointer
from verifier.helpermem import check_mem_reg, check_mem_size_reg
from verifier.kfuncobjects import (
    KCall,
    dynptr_arg,
    irq_flag_arg,
    iter_arg,
    list_head_arg,
    list_node_arg,
    need_referenced,
    rb_node_arg,
    rb_root_arg,
)
from verifier.kfuncprotos import PROJECTIONS, KArg
from verifier.locks import (
    in_rbtree_lock_required_cb,
    process_spin_lock,
)
from verifier.precision import mark_arg_precision
from verifier.references import reg_is_referenced
from verifier.refused import Refused
from verifier.regions import BPF_READ, BPF_WRITE
from verifier.regs import (
    CONST_PTR_TO_MAP,
    MEM_PERCPU,
    MEM_RCU,
    OBJ_RELEASE,
    PTR_MAYBE_NULL,
    PTR_TO_ARENA,
    PTR_TO_BTF_ID,
    PTR_TO_CTX,
    PTR_TO_FUNC,
    PTR_TO_MAP_VALUE,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_TCP_SOCK,
    SCALAR_VALUE,
    base_type,
)
from verifier.statelog import btf_type_name, reg_type_str
from verifier.structs import ids_match
from verifier.trust import bpf_type_has_unsafe_modifiers, is_trusted_reg

# Register types that stand for a kernel struct (reg2btf_ids).
_STRUCT_OF: Final = {
    PTR_TO_SOCKET: "sock",
    PTR_TO_SOCK_COMMON: "sock_common",
    PTR_TO_TCP_SOCK: "tcp_sock",
    CONST_PTR_TO_MAP: "bpf_map",
}
_TYPE_OF: Final = {struct: reg_type for reg_type, struct in _STRUCT_OF.items()}
_KIND_OF: Final = {"dynptr": "ARG_PTR_TO_DYNPTR", "ctx": "ARG_PTR_TO_CTX"}
_NOCAST_SUFFIX: Final = "___init"


def check_kfunc_args(env: Env, call: KCall, args: list[KArg]) -> None:
    """All arguments in order; the slots were found to be stored."""
    owns = bool(env.cur_state.refs) or bool(call.meta.release_regno)
    for argno, arg in enumerate(args, start=1):
        reg = get_func_arg_reg(env, argno)
        if arg.kind == "anything" and reg.type == SCALAR_VALUE and not owns:
            continue  # a number for a number: nothing below would look at it
        call.argno = argno
        call.arg = arg
        call.reg = reg
        call.name = reg_arg_name(argno)
        if arg.kind == "prog_aux":
            _prog_aux(env, call)
        elif arg.kind != "ignore":
            _check_arg(env, call)


def _prog_aux(env: Env, call: KCall) -> None:
    if call.meta.arg_prog:
        env.bug("Only 1 prog->aux argument supported per-kfunc")
    if call.argno > 5:
        env.refuse("EINVAL", f"{call.name} prog->aux cannot be a stack argument")
    call.meta.arg_prog = True


def _check_arg(env: Env, call: KCall) -> None:
    reg, arg, meta = call.reg, call.arg, call.meta
    null = reg.is_null
    if arg.is_ptr and not arg.nullable and (null or reg.type & PTR_MAYBE_NULL):
        env.refuse("EACCES", f"Possibly NULL pointer passed to trusted {call.name}")
    released = call.argno == meta.release_regno
    referenced = reg_is_referenced(env, reg)
    if released and arg.kind != "dynptr" and not referenced and not null:
        env.refuse(
            "EINVAL",
            f"release kfunc {call.func} expects referenced PTR_TO_BTF_ID passed to {call.name}",
        )
    if referenced:
        meta.ref_obj.update(reg)
    if null and arg.nullable:
        mark_arg_precision(env, call.argno)
        return
    flags = OBJ_RELEASE if released else 0
    kind = _KIND_OF.get(arg.kind, "")
    check_func_arg_reg_off(env, reg, call.argno, kind, flags, arg.kind != "refcounted_kptr")
    _CHECKS[arg.kind](env, call)


# ---- numbers


def _need_scalar(env: Env, call: KCall) -> None:
    if call.reg.type != SCALAR_VALUE:
        env.refuse("EINVAL", f"{call.name} is not a scalar")


def _const(env: Env, call: KCall) -> None:
    _need_scalar(env, call)
    process_const_arg(env, call.reg, call.argno, call.meta)


def _alloc_size(env: Env, call: KCall) -> None:
    _need_scalar(env, call)
    if call.arg.name == "rdonly_buf_size":
        call.meta.r0_rdonly = True
    process_const_alloc_mem_size(env, call.reg, call.argno, call.meta)


def _const_mem_size(env: Env, call: KCall) -> None:
    process_const_arg(env, call.reg, call.argno, call.meta)
    _mem_size(env, call)


def _mem_size(env: Env, call: KCall) -> None:
    """The length of the memory that the argument before points to; either may be on the stack."""
    _need_scalar(env, call)
    at = call.argno
    mem = get_func_arg_reg(env, at - 1)
    if mem.is_null:
        return
    try:
        check_mem_size_reg(env, mem, call.reg, 1 - at, -at, BPF_READ | BPF_WRITE, True, call.meta)
    except Refused as no:
        pair = f"{reg_arg_name(at - 1)} and {call.name} memory, len pair leads to invalid memory access"
        env.write(f"{pair}\n")
        if env.diagnosis is not None:
            env.trace(env.diagnosis.memory_and_length(at - 1, call.reg.num, no.messages[-1]))
        env.refuse(no.errno)


# ---- memory and objects


def _nothing(_env: Env, _call: KCall) -> None:
    """Checked with the argument that follows."""


def _fixed_mem(env: Env, call: KCall) -> None:
    arg = call.arg
    if not arg.size:
        env.refuse(
            "EINVAL",
            f"{call.name} reference type('{arg.btf_kind} {arg.struct}') size cannot be determined: -22",
        )
    try:
        check_mem_reg(env, call.reg, -call.argno, arg.size, BPF_READ | BPF_WRITE, call.meta)
    except Refused as no:
        if env.diagnosis is not None:
            unknown = no.messages[-1].startswith(f"{call.name} type=")
            env.trace(env.diagnosis.fixed_memory(call.argno, arg.size, call.reg, unknown=unknown))
        raise


def _ctx(env: Env, call: KCall) -> None:
    if call.reg.type != PTR_TO_CTX:
        found = reg_type_str(call.reg.type)
        env.refuse("EINVAL", f"{call.name} expected pointer to ctx, but got {found}")


def _arena(env: Env, call: KCall) -> None:
    if call.reg.type not in (PTR_TO_ARENA, SCALAR_VALUE):
        env.refuse("EINVAL", f"{call.name} is not a pointer to arena or scalar")


def _btf_id(env: Env, call: KCall) -> None:
    reg, arg = call.reg, call.arg
    wanted = "bpf_map" if arg.name.endswith("__map") else arg.struct
    base = base_type(reg.type)
    if base == PTR_TO_BTF_ID or base in _STRUCT_OF:
        if not is_trusted_reg(env, reg) or bpf_type_has_unsafe_modifiers(reg.type):
            if "rcu" not in call.flags:
                env.refuse("EINVAL", f"{call.name} must be referenced or trusted")
            if not reg.type & MEM_RCU:
                env.refuse("EINVAL", f"{call.name} must be a rcu pointer")
        _kernel_object(env, call, wanted)
        return
    if not arg.scalar_struct:
        other = _TYPE_OF.get(wanted)
        tail = "" if other is None else f" or {reg_type_str(other)}"
        kind = "STRUCT" if arg.name.endswith("__map") else arg.btf_kind
        env.refuse("EINVAL", f"{call.name} is {reg_type_str(reg.type)} expected {kind} {wanted}{tail}")
    _fixed_mem(env, call)


def _kernel_object(env: Env, call: KCall, wanted: str) -> None:
    """The object is of the struct that is asked for, or begins with it (process_kf_arg_ptr_to_btf_id)."""
    reg = call.reg
    if base_type(reg.type) == PTR_TO_BTF_ID:
        btf, btf_id = reg.btf, reg.btf_id
    else:
        btf, btf_id = None, _STRUCT_OF[base_type(reg.type)]
    found = btf_type_name(btf, btf_id)
    strict = "release" in call.flags and reg_is_referenced(env, reg)
    if found + _NOCAST_SUFFIX == wanted or wanted + _NOCAST_SUFFIX == found:
        strict = True
    if ids_match(btf, btf_id, reg.num.signed_value, None, wanted, strict=strict):
        return
    if (wanted, found) in PROJECTIONS:
        return
    kind = "STRUCT" if call.arg.name.endswith("__map") else call.arg.btf_kind
    env.refuse(
        "EINVAL",
        f"kernel function {call.func} {call.name} expected pointer to {kind} {wanted} but {call.name} has a"
        f" pointer to STRUCT {found}",
    )


def _alloc_btf_id(env: Env, call: KCall) -> None:
    reg, percpu = call.reg, call.func.startswith("bpf_percpu_obj_drop")
    if reg.type == ALLOCATED:
        if percpu:
            env.refuse("EINVAL", f"{call.name} expected for bpf_obj_drop()")
    elif reg.type == ALLOCATED | MEM_PERCPU:
        if not percpu:
            env.refuse("EINVAL", f"{call.name} expected for bpf_percpu_obj_drop()")
    else:
        env.refuse("EINVAL", f"{call.name} expected pointer to allocated object")
    need_referenced(env, reg)
    call.meta.arg_btf, call.meta.arg_btf_id = reg.btf, reg.btf_id


def _refcounted_kptr(env: Env, call: KCall) -> None:
    reg = call.reg
    if not type_is_ptr_alloc_obj(reg.type):
        env.refuse("EINVAL", f"{call.name} is neither owning or non-owning ref")
    if reg_is_referenced(env, reg):
        call.meta.arg_owning_ref = True
    record = reg_btf_record(env, reg)
    if record is None:
        env.bug("Couldn't find btf_record")
    if not record.has("bpf_refcount"):
        env.refuse("EINVAL", f"{call.name} doesn't point to a type with bpf_refcount field")
    call.meta.arg_btf, call.meta.arg_btf_id = reg.btf, reg.btf_id


# ---- maps and what lies in them


def _const_map(env: Env, call: KCall) -> None:
    if call.reg.type != CONST_PTR_TO_MAP:
        env.refuse("EINVAL", f"pointer in {call.name} isn't map pointer")
    process_map_ptr_arg(env, call.reg, call.argno, call.meta)


def _const_str(env: Env, call: KCall) -> None:
    if call.reg.type != PTR_TO_MAP_VALUE:
        env.refuse("EINVAL", f"{call.name} doesn't point to a const string")
    check_arg_const_str(env, call.reg, call.argno)


def _map_field(kind: str) -> Callable[[Env, KCall], None]:
    def check(env: Env, call: KCall) -> None:
        if call.reg.type != PTR_TO_MAP_VALUE:
            env.refuse("EINVAL", f"{call.name} doesn't point to a map value")
        check_map_field_pointer(env, call.reg, call.argno, kind, call.meta)

    return check


def _res_spin_lock(env: Env, call: KCall) -> None:
    if call.reg.type not in (PTR_TO_MAP_VALUE, ALLOCATED):
        env.refuse("EINVAL", f"{call.name} doesn't point to map value or allocated object")
    if in_rbtree_lock_required_cb(env):
        env.refuse("EACCES", "can't res_spin_{lock,unlock} in rbtree cb")
    lock = "_unlock" not in call.func
    process_spin_lock(env, call.reg, call.argno, lock=lock, res=True, irq="irq" in call.func)


def _callback(env: Env, call: KCall) -> None:
    if call.reg.type != PTR_TO_FUNC:
        env.refuse("EINVAL", f"{call.name} expected pointer to func")
    call.meta.subprogno = call.reg.subprogno


_CHECKS: Final[dict[str, Callable[[Env, KCall], None]]] = {
    "const": _const,
    "const_mem_size": _const_mem_size,
    "mem_size": _mem_size,
    "alloc_size": _alloc_size,
    "anything": _need_scalar,
    "ctx": _ctx,
    "alloc_btf_id": _alloc_btf_id,
    "refcounted_kptr": _refcounted_kptr,
    "dynptr": dynptr_arg,
    "iter": iter_arg,
    "list_head": list_head_arg,
    "list_node": list_node_arg,
    "rb_root": rb_root_arg,
    "rb_node": rb_node_arg,
    "const_str": _const_str,
    "const_map": _const_map,
    "btf_id": _btf_id,
    "wq": _map_field("bpf_wq"),
    "timer": _map_field("bpf_timer"),
    "task_work": _map_field("bpf_task_work"),
    "irq_flag": irq_flag_arg,
    "res_spin_lock": _res_spin_lock,
    "callback": _callback,
    "arena": _arena,
    "mem": _nothing,
    "fixed_mem": _fixed_mem,
}
