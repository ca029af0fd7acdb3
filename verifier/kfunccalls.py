"""Calls of kfuncs: what is checked, and what the call leaves behind.

Sources: check_kfunc_call, check_special_kfunc of kernel/bpf/verifier.c. Rules of arguments on the stack: B.5.
"""

from typing import Final

from bpf import isa
from bpf.btf import Kind
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from bpf.proto import CType, FuncProto
from verifier import callbacks
from verifier.attach import kfunc_fits
from verifier.availability import kfunc_allowed
from verifier.callargs import MAX_ERRNO, CallMeta
from verifier.diagnose import Callee
from verifier.dynptr import dynptr_flag
from verifier.env import Env
from verifier.exits import check_return_code, process_bpf_exit_full
from verifier.funccalls import push_callback_call
from verifier.graphs import (
    ALLOCATED,
    LIST_PUSH,
    RBTREE_ADD,
    graph_node_reg,
    ref_convert_owning_non_owning,
    ref_set_non_owning,
)
from verifier.helpercalls import release_reg
from verifier.iters import iter_state, process_iter_next_call
from verifier.kfuncargs import check_kfunc_args
from verifier.kfuncobjects import KCall
from verifier.kfuncprotos import KArg, describe, is_scalar_struct, struct_name
from verifier.locks import in_rbtree_lock_required_cb, in_sleepable_context, non_sleepable_context_description
from verifier.maps import struct_record
from verifier.memory import may_access_direct_pkt_data
from verifier.num import UNKNOWN, s32_range
from verifier.reasons import PREEMPT, RCU
from verifier.references import (
    acquire_reference,
    clear_all_pkt_pointers,
    clear_caller_saved_regs,
    invalidate_rcu_protected_refs,
)
from verifier.refused import Refused
from verifier.regs import (
    MEM_ALLOC,
    MEM_PERCPU,
    MEM_RCU,
    MEM_RDONLY,
    NOT_INIT_REG,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_MEM,
    PTR_TRUSTED,
    PTR_UNTRUSTED,
    UNKNOWN_REG,
    Reg,
    const_reg,
    pointer_reg,
    scalar_reg,
)
from verifier.sections import in_rcu_cs, in_sleepable
from verifier.stackargs import check_outgoing_stack_args, invalidate_outgoing_stack_args

_U32_MAX: Final = (1 << 32) - 1
_PERCPU_MAX: Final = 512
_TRACE_ITER: Final = 28

_CALLBACKS: Final = {
    "bpf_rbtree_add": callbacks.set_rbtree_add_callback_state,
    "bpf_rbtree_add_impl": callbacks.set_rbtree_add_callback_state,
    "bpf_wq_set_callback": callbacks.set_timer_callback_state,
    "bpf_task_work_schedule_signal": callbacks.set_task_work_schedule_callback_state,
    "bpf_task_work_schedule_resume": callbacks.set_task_work_schedule_callback_state,
}
_RES_LOCKS: Final = frozenset({"bpf_res_spin_lock", "bpf_res_spin_lock_irqsave"})
_NEW: Final = frozenset({"bpf_obj_new", "bpf_obj_new_impl"})
_PERCPU_NEW: Final = frozenset({"bpf_percpu_obj_new", "bpf_percpu_obj_new_impl"})
_DROP: Final = frozenset(
    {"bpf_obj_drop", "bpf_obj_drop_impl", "bpf_percpu_obj_drop", "bpf_percpu_obj_drop_impl"}
)
_REFCOUNT_ACQUIRE: Final = frozenset({"bpf_refcount_acquire", "bpf_refcount_acquire_impl"})
_MAKERS: Final = _NEW | _PERCPU_NEW | _REFCOUNT_ACQUIRE
_SLICES: Final = frozenset({"bpf_dynptr_slice", "bpf_dynptr_slice_rdwr"})
_NODES: Final = frozenset({"bpf_list_node", "bpf_rb_node"})
_TRACING_TYPES: Final = frozenset(
    {"kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable"}
)
# Fields that must not be freed in an NMI.
_NMI_UNSAFE: Final = (
    "bpf_list_head",
    "bpf_rb_root",
    "kptr_ref",
    "kptr_percpu",
    "uptr",
    "bpf_timer",
    "bpf_wq",
    "bpf_task_work",
)
_SCALARS: Final = frozenset({"int", "bool", "enum"})
# What bpf_cast_to_kern_ctx makes of a context.
_KERN_CTX: Final = {
    "xdp": "xdp_buff",
    "sock_ops": "bpf_sock_ops_kern",
    "cgroup_sock_addr": "bpf_sock_addr_kern",
    "cgroup_sock": "sock",
    "cgroup_sockopt": "bpf_sockopt_kern",
    "cgroup_sysctl": "bpf_sysctl_kern",
    "sk_msg": "sk_msg",
    "sk_lookup": "bpf_sk_lookup_kern",
    "sk_reuseport": "sk_reuseport_kern",
    "flow_dissector": "bpf_flow_dissector",
    "perf_event": "bpf_perf_event_data_kern",
    "kprobe": "pt_regs",
    "netfilter": "bpf_nf_ctx",
    "cgroup_device": "bpf_cgroup_dev_ctx",
}

_described: dict[tuple[str, str], list[KArg]] = {}


def check_kfunc_call(env: Env, insn: Insn, insn_idx: int) -> bool:
    """The call at insn_idx: checks its arguments, then makes the state behind it. True: the path ends here (bpf_throw)."""
    proto = env.kfuncs.get(insn_idx)
    if proto is None:
        return False  # a call that names nothing: refused later, unless it is dead
    name = proto.name
    kfunc = KFUNCS.get(name)
    flags = kfunc.flags if kfunc is not None else frozenset[str]()
    if not (
        kfunc_allowed(name, env.prog_type, env.program.expected_attach_type) and kfunc_fits(env.program, name)
    ):
        env.refuse("EACCES", f"calling kernel function {name} is not allowed")
    if name in _RES_LOCKS:
        _push_failed_lock(env)
    elif name == "__bpf_trap":
        env.refuse("EFAULT", "unexpected __bpf_trap() due to uninitialized variable?")
    sleepable = "sleepable" in flags
    if sleepable and not in_sleepable(env):
        env.refuse("EACCES", f"program must be sleepable to call sleepable kfunc {name}")
    meta = CallMeta()
    meta.release_regno = 1 if "release" in flags else 0
    call = KCall(name, flags, insn_idx, meta)
    check_outgoing_stack_args(env, len(proto.params), all_read=True, callee=lambda: _callee(proto))
    check_kfunc_args(env, call, _args(env, proto))
    _check_drop(env, call)
    if name in _CALLBACKS:
        _push_callback(env, insn, call)
    _sections(env, call, sleepable)
    if meta.release_regno:
        release_reg(env, env.regs[1], convert_rcu=False, dynptr=bool(meta.dynptr.id))
    if name in LIST_PUSH or name in RBTREE_ADD:
        ref_convert_owning_non_owning(env, env.regs[2].id)
    if name == "bpf_throw" and not any(sub.is_exception_cb for sub in env.subprogs):
        check_return_code(env, 1, "R1")
    _return(env, call, proto.ret)
    if name == "bpf_xdp_pull_data":
        clear_all_pkt_pointers(env)
    _account_slots(env, len(proto.params))
    if "iter_next" in flags:
        process_iter_next_call(env, insn_idx, meta.iter)
    return name == "bpf_throw" and process_bpf_exit_full(env, exception_exit=True)


def _callee(proto: FuncProto) -> Callee:
    return Callee(proto.name, tuple(param.name for param in proto.params))


def _args(env: Env, proto: FuncProto) -> list[KArg]:
    if proto.name not in KFUNCS:
        return describe(proto, env.prog_type, env.program.btf)
    key = (proto.name, env.prog_type)
    args = _described.get(key)
    if args is None:
        args = _described[key] = describe(proto, env.prog_type, env.program.btf)
    return args


def _push_failed_lock(env: Env) -> None:
    """A resilient lock may fail: then R0 is an error and nothing is held."""
    regs = env.push_state(env.insn_idx + 1, env.insn_idx).frames[-1].regs
    regs[0:6] = [NOT_INIT_REG] * 6
    regs[0] = scalar_reg(s32_range(UNKNOWN, -MAX_ERRNO, -1))


def _check_drop(env: Env, call: KCall) -> None:
    """Objects that cannot be freed in an NMI are not dropped by programs that may run in one."""
    if call.func not in _DROP:
        return
    tracing = env.prog_type == "tracing" and not env.sleepable
    if env.prog_type not in _TRACING_TYPES and not (
        tracing and env.program.expected_attach_type != _TRACE_ITER
    ):
        return
    meta = call.meta
    if meta.arg_btf is None or not isinstance(meta.arg_btf_id, int):
        return
    record = struct_record(meta.arg_btf, meta.arg_btf_id)
    if record is not None and record.has(*_NMI_UNSAFE):
        env.refuse(
            "EINVAL",
            f"{call.func} cannot be used in tracing programs on types with NMI unsafe fields",
        )


def _push_callback(env: Env, insn: Insn, call: KCall) -> None:
    try:
        push_callback_call(env, insn, call.insn_idx, call.meta.subprogno, _CALLBACKS[call.func])
    except Refused as no:
        env.refuse(no.errno, f"kfunc {call.func}#{insn.imm} failed callback verification")


def _note(env: Env, section: str, depth: int, *, entered: bool) -> None:
    if env.history is not None:
        env.history.section(section, depth, entered=entered)


def _sections(env: Env, call: KCall, sleepable: bool) -> None:
    """RCU sections and sections without preemption begin and end; what may be called inside them."""
    state, name = env.cur_state, call.func
    match name:
        case "bpf_rcu_read_lock":
            state.active_rcu_locks += 1
            _note(env, RCU, state.active_rcu_locks, entered=True)
        case "bpf_rcu_read_unlock":
            if not state.active_rcu_locks:
                env.refuse("EINVAL", f"unmatched rcu read unlock (kernel function {name})")
            state.active_rcu_locks -= 1
            _note(env, RCU, state.active_rcu_locks, entered=False)
        case "bpf_preempt_disable":
            state.active_preempt_locks += 1
            _note(env, PREEMPT, state.active_preempt_locks, entered=True)
        case "bpf_preempt_enable":
            if not state.active_preempt_locks:
                env.refuse("EINVAL", f"unmatched attempt to enable preemption (kernel function {name})")
            state.active_preempt_locks -= 1
            _note(env, PREEMPT, state.active_preempt_locks, entered=False)
    if name in ("bpf_rcu_read_unlock", "bpf_preempt_enable") and not in_rcu_cs(env):
        invalidate_rcu_protected_refs(env)
    if sleepable and not in_sleepable_context(env):
        where = non_sleepable_context_description(env)
        env.refuse("EACCES", f"kernel func {name} is sleepable within {where}")
    if name in ("bpf_rcu_read_lock", "bpf_rcu_read_unlock") and in_rbtree_lock_required_cb(env):
        env.refuse("EACCES", "Calling bpf_rcu_read_{lock,unlock} in unnecessary rbtree callback")
    if "rcu_protected" in call.flags and not in_rcu_cs(env):
        env.refuse("EACCES", f"kernel func {name} requires RCU critical section protection")


def _return(env: Env, call: KCall, ret: CType) -> None:
    clear_caller_saved_regs(env)
    invalidate_outgoing_stack_args(env, env.func)
    _set_return(env, call, ret)
    if env.history is not None:
        env.history.end()


def _account_slots(env: Env, nargs: int) -> None:
    """The frame's outgoing area must hold this call's slots (B.5 of the rules)."""
    if nargs > isa.MAX_REG_ARGS:
        info = env.subprogs[env.func.subprogno]
        info.stack_arg_cnt = max(info.stack_arg_cnt, info.in_stack_args + nargs - isa.MAX_REG_ARGS)


# ---- R0


def _set_return(env: Env, call: KCall, ret: CType) -> None:
    object_returned = ret.to is not None and struct_name(ret.to)
    if "acquire" in call.flags and not object_returned and call.func not in _MAKERS:
        env.refuse("EINVAL", "acquire kernel function does not return PTR_TO_BTF_ID")
    if ret.kind in _SCALARS:
        env.set_reg(0, const_reg(0) if call.func in _RES_LOCKS else UNKNOWN_REG)
    elif ret.to is not None:
        env.set_reg(0, _pointer(env, call, ret.to))


def _pointer(env: Env, call: KCall, to: CType) -> Reg:
    """What a kfunc that returns a pointer leaves in R0."""
    reg = _special(env, call, to)
    if reg is None:
        if to.kind == "void":
            reg = UNKNOWN_REG
        elif struct_name(to):
            reg = pointer_reg(_object_type(env, call), aux=(None, struct_name(to)))
        else:
            reg = _memory(env, call, to)
    owned = call.func in _REFCOUNT_ACQUIRE and call.meta.arg_owning_ref
    if "ret_null" in call.flags and not owned:
        reg = reg.with_(type=reg.type | PTR_MAYBE_NULL, id=env.new_id())
    if "acquire" in call.flags:
        reg = reg.with_id(acquire_reference(env, call.insn_idx))
    elif struct_name(to) in _NODES:
        reg = ref_set_non_owning(env, reg)
    if not reg.id and reg.type & MEM_ALLOC and isinstance(reg.btf_id, int) and reg.btf is not None:
        record = struct_record(reg.btf, reg.btf_id)
        if record is not None and record.has("bpf_spin_lock", "bpf_res_spin_lock"):
            reg = reg.with_id(env.new_id())
    return reg


def _object_type(env: Env, call: KCall) -> int:
    """How far an object of the kernel is to be trusted."""
    if call.func == "bpf_get_kmem_cache":
        return PTR_TO_BTF_ID | PTR_UNTRUSTED
    if "rcu_protected" in call.flags:
        return PTR_TO_BTF_ID | MEM_RCU
    if "iter_next" in call.flags and iter_state(env, call.meta.iter).type & MEM_RCU:
        return PTR_TO_BTF_ID | MEM_RCU
    return PTR_TO_BTF_ID | PTR_TRUSTED


def _memory(env: Env, call: KCall, to: CType) -> Reg:
    """Memory: of the size that an argument gave, or of the type's."""
    meta = call.meta
    if not meta.ret_mem_found:
        if to.kind in _SCALARS or to.kind == "ptr":
            meta.ret_mem_found = True
            meta.ret_mem_size = to.bits // 8
            meta.r0_rdonly = call.func != "bpf_session_cookie"
        else:
            env.refuse(
                "EINVAL",
                f"kernel function {call.func} returns pointer type {to.kind.upper()} {to.name} is not supported",
            )
    flags = MEM_RDONLY if meta.r0_rdonly else 0
    if "rcu_protected" in call.flags:
        flags |= MEM_RCU
    reg = pointer_reg(PTR_TO_MEM | flags, aux=meta.ret_mem_size)
    if meta.ref_obj.id:
        meta.ref_obj.validate(env)
        reg = reg.with_(parent_id=meta.ref_obj.id)
    return reg


def _special(env: Env, call: KCall, to: CType) -> Reg | None:
    """Kfuncs whose result depends on more than their prototype (check_special_kfunc)."""
    name, meta = call.func, call.meta
    if name in _NEW or name in _PERCPU_NEW:
        return _new_object(env, call)
    if name in _REFCOUNT_ACQUIRE:
        return pointer_reg(ALLOCATED, aux=(meta.arg_btf, meta.arg_btf_id))
    if struct_name(to) in _NODES:
        return graph_node_reg(meta.graph_root)
    if name == "bpf_cast_to_kern_ctx":
        struct = _KERN_CTX.get(env.prog_type, "sk_buff")
        return pointer_reg(PTR_TO_BTF_ID | PTR_TRUSTED, aux=(None, struct))
    if name == "bpf_rdonly_cast":
        return _rdonly_cast(call)
    if name in _SLICES:
        return _slice(env, call)
    return None


def _new_object(env: Env, call: KCall) -> Reg:
    percpu = call.func in _PERCPU_NEW
    tid = call.meta.const_value
    if tid > _U32_MAX:
        env.refuse("EINVAL", "local type ID argument must be in range [0, U32_MAX]")
    btf = env.program.btf
    if btf is None:
        env.refuse("EINVAL", "bpf_obj_new/bpf_percpu_obj_new requires prog BTF")
    if not 0 < tid < len(btf.types) or btf.type(tid).kind is not Kind.STRUCT:
        env.refuse("EINVAL", "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct")
    size = btf.type(tid).size
    if percpu:
        if size > _PERCPU_MAX:
            env.refuse("EINVAL", f"bpf_percpu_obj_new type size ({size}) is greater than {_PERCPU_MAX}")
        if not is_scalar_struct(btf, tid):
            env.refuse("EINVAL", "bpf_percpu_obj_new type ID argument must be of a struct of scalars")
        if struct_record(btf, tid) is not None:
            env.refuse("EINVAL", "bpf_percpu_obj_new type ID argument must not contain special fields")
    return pointer_reg(ALLOCATED | (MEM_PERCPU if percpu else 0), aux=(btf, tid))


def _rdonly_cast(call: KCall) -> Reg:
    """Any address as an object of a type of the kernel's; its number says nothing here, but 0 is void."""
    if call.meta.const_value == 0:
        return pointer_reg(PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED, aux=0)
    return pointer_reg(PTR_TO_BTF_ID | PTR_UNTRUSTED, aux=(None, f"#{call.meta.const_value}"))


def _slice(env: Env, call: KCall) -> Reg:
    """Bytes of a dynptr as memory that lives as long as the dynptr."""
    meta = call.meta
    if not meta.const_found:
        env.bug("bpf_dynptr_slice(_rdwr) no constant size")
    flags = dynptr_flag(meta.dynptr.type)
    if call.func == "bpf_dynptr_slice":
        flags |= MEM_RDONLY
    elif not may_access_direct_pkt_data(env, True):
        env.refuse("EINVAL", "the prog does not allow writes to packet data")
    if not meta.dynptr.id:
        env.bug("no dynptr id")
    reg = pointer_reg(PTR_TO_MEM | flags, aux=meta.const_value)
    return reg.with_(parent_id=meta.dynptr.id)
