"""Arguments of kfuncs: each against what its C type and its name make of it. Stack-argument slots as registers.

Source: check_kfunc_args of kernel/bpf/verifier.c.
"""

from collections.abc import Callable
from typing import Final

from verifier.callargs import (
    CallMeta,
    check_func_arg_reg_off,
    process_const_alloc_mem_size,
    process_const_arg,
    process_map_ptr_arg,
)
from verifier.dynptr import dynptr_flag, process_dynptr_func
from verifier.env import Env, get_func_arg_reg, reg_arg_name
from verifier.fields import reg_btf_record, type_is_ptr_alloc_obj
from verifier.graphs import (
    ALLOCATED,
    RBTREE_ADD,
    check_graph_node,
    check_graph_root,
)
from verifier.helperargs import check_arg_const_str, check_map_field_pointer
from verifier.helpermem import check_mem_reg, check_mem_size_reg
from verifier.iters import check_iter, destroy_iter, new_iter
from verifier.kfuncprotos import PROJECTIONS, KArg
from verifier.locks import (
    IRQ_LOCK_KFUNC,
    IRQ_NATIVE_KFUNC,
    in_rbtree_lock_required_cb,
    process_irq_flag,
    process_spin_lock,
)
from verifier.precision import mark_arg_precision
from verifier.references import reg_is_referenced
from verifier.refused import Refused
from verifier.regions import BPF_READ, BPF_WRITE
from verifier.regs import (
    BPF_DYNPTR_TYPE_INVALID,
    CONST_PTR_TO_MAP,
    DYNPTR_TYPE_FILE,
    DYNPTR_TYPE_SKB,
    DYNPTR_TYPE_SKB_META,
    DYNPTR_TYPE_XDP,
    MEM_PERCPU,
    MEM_RCU,
    MEM_UNINIT,
    NON_OWN_REF,
    OBJ_RELEASE,
    PTR_MAYBE_NULL,
    PTR_TO_ARENA,
    PTR_TO_BTF_ID,
    PTR_TO_CTX,
    PTR_TO_FUNC,
    PTR_TO_MAP_VALUE,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_STACK,
    PTR_TO_TCP_SOCK,
    SCALAR_VALUE,
    Reg,
    base_type,
)
from verifier.sections import in_sleepable
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
_DYNPTR_FLAGS: Final = {
    "bpf_dynptr_from_skb": DYNPTR_TYPE_SKB,
    "bpf_dynptr_from_xdp": DYNPTR_TYPE_XDP,
    "bpf_dynptr_from_skb_meta": DYNPTR_TYPE_SKB_META,
    "bpf_dynptr_from_file": DYNPTR_TYPE_FILE,
    "bpf_dynptr_file_discard": DYNPTR_TYPE_FILE | OBJ_RELEASE,
}
_KIND_OF: Final = {"dynptr": "ARG_PTR_TO_DYNPTR", "ctx": "ARG_PTR_TO_CTX"}
_NOCAST_SUFFIX: Final = "___init"
_TRACE_ITER: Final = 28


class KCall:
    """A kfunc call at hand and the argument that is looked at. flags: of the kfunc."""

    __slots__ = ("arg", "argno", "flags", "func", "insn_idx", "meta", "name", "reg")

    def __init__(self, func: str, flags: frozenset[str], insn_idx: int, meta: CallMeta) -> None:
        self.func = func
        self.flags = flags
        self.insn_idx = insn_idx
        self.meta = meta
        self.arg: KArg
        self.argno = 0
        self.reg: Reg
        self.name = ""


def check_kfunc_args(env: Env, call: KCall, args: list[KArg]) -> None:
    """All arguments in order; the slots were found to be stored."""
    for argno, arg in enumerate(args, start=1):
        call.argno = argno
        call.arg = arg
        call.reg = get_func_arg_reg(env, argno)
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
        env.refuse(no.errno, pair)


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
    check_mem_reg(env, call.reg, -call.argno, arg.size, BPF_READ | BPF_WRITE, call.meta)


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
    _need_referenced(env, reg)
    call.meta.arg_btf, call.meta.arg_btf_id = reg.btf, reg.btf_id


def _need_referenced(env: Env, reg: Reg) -> None:
    if not reg_is_referenced(env, reg):
        env.refuse("EINVAL", "allocated object must be referenced")


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


# ---- objects on the stack


def _dynptr(env: Env, call: KCall) -> None:
    meta = call.meta
    flags = MEM_UNINIT if call.arg.name.endswith("__uninit") else 0
    flags |= _DYNPTR_FLAGS.get(call.func, 0)
    if call.func == "bpf_dynptr_clone" and flags & MEM_UNINIT:
        if meta.dynptr.type == BPF_DYNPTR_TYPE_INVALID:
            env.bug("no dynptr type for parent of clone")
        flags |= dynptr_flag(meta.dynptr.type)
    process_dynptr_func(env, call.reg, call.argno, call.insn_idx, flags, meta.ref_obj, meta.dynptr)


def _iter(env: Env, call: KCall) -> None:
    reg, arg, meta = call.reg, call.arg, call.meta
    if call.func == "bpf_iter_css_task_new" and not _may_iterate_css_tasks(env):
        env.refuse("EINVAL", "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs")
    if reg.type != PTR_TO_STACK:
        env.refuse("EINVAL", f"{call.name} expected pointer to an iterator on stack")
    if not arg.struct.startswith("bpf_iter_") or not arg.size:
        env.refuse("EINVAL", f"expected valid iter pointer as {call.name}")
    if "iter_new" in call.flags:
        rcu = "rcu_protected" in call.flags
        new_iter(env, reg, call.argno, call.insn_idx, arg.struct, arg.size, rcu)
        return
    held = check_iter(env, reg, call.argno, arg.struct, arg.size, call.func, meta.iter)
    meta.ref_obj.update(held)
    if "iter_destroy" in call.flags:
        destroy_iter(env, meta.iter, arg.size)


def _may_iterate_css_tasks(env: Env) -> bool:
    if env.prog_type == "lsm":
        return True
    if env.prog_type == "tracing" and env.program.expected_attach_type == _TRACE_ITER:
        return True
    return in_sleepable(env)


def _irq_flag(env: Env, call: KCall) -> None:
    if call.reg.type != PTR_TO_STACK:
        env.refuse("EINVAL", f"{call.name} doesn't point to an irq flag on stack")
    save = call.func in ("bpf_local_irq_save", "bpf_res_spin_lock_irqsave")
    kfunc_class = IRQ_LOCK_KFUNC if "spin" in call.func else IRQ_NATIVE_KFUNC
    process_irq_flag(env, call.reg, call.argno, save=save, kfunc_class=kfunc_class)


# ---- lists and trees


def _list_head(env: Env, call: KCall) -> None:
    check_graph_root(env, call.reg, call.argno, "bpf_list_head", call.meta)


def _rb_root(env: Env, call: KCall) -> None:
    check_graph_root(env, call.reg, call.argno, "bpf_rb_root", call.meta)


def _list_node(env: Env, call: KCall) -> None:
    reg = call.reg
    non_owning = bool(reg.type & NON_OWN_REF) and not reg_is_referenced(env, reg)
    if not (call.arg.name.endswith("__nonown_allowed") and non_owning):
        if reg.type != ALLOCATED:
            env.refuse("EINVAL", f"{call.name} expected pointer to allocated object")
        _need_referenced(env, reg)
    check_graph_node(env, reg, call.argno, "bpf_list_head", "bpf_list_node", call.meta)


def _rb_node(env: Env, call: KCall) -> None:
    reg = call.reg
    if call.func in RBTREE_ADD:
        if reg.type != ALLOCATED:
            env.refuse("EINVAL", f"{call.name} expected pointer to allocated object")
        _need_referenced(env, reg)
    else:
        if not reg.type & NON_OWN_REF and not reg_is_referenced(env, reg):
            env.refuse("EINVAL", f"{call.func} can only take non-owning or refcounted bpf_rb_node pointer")
        if in_rbtree_lock_required_cb(env):
            env.refuse("EINVAL", f"{call.func} not allowed in rbtree cb")
    check_graph_node(env, reg, call.argno, "bpf_rb_root", "bpf_rb_node", call.meta)


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
    "dynptr": _dynptr,
    "iter": _iter,
    "list_head": _list_head,
    "list_node": _list_node,
    "rb_root": _rb_root,
    "rb_node": _rb_node,
    "const_str": _const_str,
    "const_map": _const_map,
    "btf_id": _btf_id,
    "wq": _map_field("bpf_wq"),
    "timer": _map_field("bpf_timer"),
    "task_work": _map_field("bpf_task_work"),
    "irq_flag": _irq_flag,
    "res_spin_lock": _res_spin_lock,
    "callback": _callback,
    "arena": _arena,
    "mem": _nothing,
    "fixed_mem": _fixed_mem,
}
