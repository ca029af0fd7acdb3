"""What a helper returns in R0: its type, its range, the reference it stands for.

Sources: the end of check_helper_call, refine_map_lookup_value, do_refine_retval_range of kernel/bpf/verifier.c.
"""

from functools import cache
from typing import Final

from bpf.helpers import Helper
from bpf.kernelvars import SCALAR_SIZES
from bpf.maps import MapType
from verifier import regs as reg_types
from verifier.callargs import MAX_ERRNO, CallMeta
from verifier.env import Env
from verifier.helperargs import can_elide_value_nullness
from verifier.maps import map_record
from verifier.num import UNKNOWN, Num, const, from_urange, s32_range
from verifier.references import acquire_reference, find_reference_state
from verifier.regs import (
    CONST_PTR_TO_MAP,
    MEM_ALLOC,
    MEM_PERCPU,
    MEM_RCU,
    MEM_RDONLY,
    NOT_INIT_REG,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_MAP_VALUE,
    PTR_TO_MEM,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_TCP_SOCK,
    PTR_TO_XDP_SOCK,
    UNKNOWN_REG,
    Reg,
    const_reg,
    pointer_reg,
    scalar_reg,
)
from verifier.special import KPTR_PERCPU

# CPUs of the machine that the recordings come from.
NR_CPU_IDS: Final = 1

_CGROUP_GETSOCKOPT: Final = 21
_LSM_CGROUP: Final = 43

_SIMPLE: Final = {
    "RET_PTR_TO_SOCKET": PTR_TO_SOCKET,
    "RET_PTR_TO_SOCK_COMMON": PTR_TO_SOCK_COMMON,
    "RET_PTR_TO_TCP_SOCK": PTR_TO_TCP_SOCK,
}
_CASTS: Final = frozenset(
    "bpf_" + name
    for name in (
        "tcp_sock",
        "sk_fullsock",
        "skc_to_tcp_sock",
        "skc_to_tcp6_sock",
        "skc_to_udp6_sock",
        "skc_to_mptcp_sock",
        "skc_to_tcp_timewait_sock",
        "skc_to_tcp_request_sock",
    )
)
_ACQUIRES: Final = frozenset(
    "bpf_" + name
    for name in ("sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp", "ringbuf_reserve", "kptr_xchg")
)
_LENGTHS: Final = frozenset(
    "bpf_" + name
    for name in (
        "get_stack",
        "get_task_stack",
        "probe_read_str",
        "probe_read_kernel_str",
        "probe_read_user_str",
    )
)
_SOCKMAPS: Final = frozenset({MapType.SOCKMAP, MapType.SOCKHASH})


@cache
def _flags(names: frozenset[str]) -> int:
    return sum(getattr(reg_types, name) for name in names)


def set_return(env: Env, helper: Helper, insn_idx: int, meta: CallMeta, percpu_obj: Reg | None) -> None:
    """Writes R0. percpu_obj: what R1 held, of bpf_per_cpu_ptr and bpf_this_cpu_ptr."""
    kind = helper.ret.kind
    if kind == "RET_INTEGER":
        num = _range(env, meta)
        env.set_reg(0, UNKNOWN_REG if num is UNKNOWN else scalar_reg(num))
        return
    if kind == "RET_VOID":
        env.set_reg(0, NOT_INIT_REG)
        return
    reg = _pointer(env, helper, meta, percpu_obj)
    if reg.type & PTR_MAYBE_NULL and not reg.id:
        reg = reg.with_id(env.new_id())
    if meta.func in _CASTS and find_reference_state(env.cur_state, meta.ref_obj.id):
        meta.ref_obj.validate(env)
        # The same object under another type. It may be null although the original is not: that is another path.
        branch = env.push_state(env.insn_idx + 1, env.insn_idx)
        branch.frames[-1].regs[0] = const_reg(0)
        reg = reg.with_(type=reg.type & ~PTR_MAYBE_NULL, id=meta.ref_obj.id)
    elif _acquires(meta):
        reg = reg.with_id(acquire_reference(env, insn_idx))
    if meta.func == "bpf_dynptr_data":
        reg = reg.with_(parent_id=meta.dynptr.id)
    env.set_reg(0, reg)


def _acquires(meta: CallMeta) -> bool:
    """Whether what is returned must be released (is_acquire_function)."""
    if meta.func == "bpf_map_lookup_elem":
        return meta.map is not None and meta.map.spec.type in _SOCKMAPS
    return meta.func in _ACQUIRES


def _pointer(env: Env, helper: Helper, meta: CallMeta, percpu_obj: Reg | None) -> Reg:
    kind, flags = helper.ret.kind, _flags(helper.ret.flags)
    if kind == "RET_PTR_TO_MAP_VALUE":
        return _map_value(env, meta, flags)
    if kind in _SIMPLE:
        return pointer_reg(_SIMPLE[kind] | flags)
    if kind == "RET_PTR_TO_MEM":
        return pointer_reg(PTR_TO_MEM | flags, aux=meta.ret_mem_size)
    if kind == "RET_PTR_TO_MEM_OR_BTF_ID":
        if percpu_obj is not None and percpu_obj.type & MEM_RCU:
            reg_type = PTR_TO_BTF_ID | MEM_ALLOC | MEM_RCU
        elif meta.ret_btf is None and meta.ret_btf_id in SCALAR_SIZES:
            return pointer_reg(PTR_TO_MEM | flags, aux=SCALAR_SIZES[meta.ret_btf_id])
        else:
            reg_type = PTR_TO_BTF_ID | flags & ~MEM_RDONLY
        return pointer_reg(reg_type, aux=(meta.ret_btf, meta.ret_btf_id))
    if meta.func == "bpf_kptr_xchg":
        field = meta.kptr_field
        reg_type = PTR_TO_BTF_ID | flags
        if field.btf is not None:
            reg_type |= MEM_ALLOC | (MEM_PERCPU if field.kind == KPTR_PERCPU else 0)
        return pointer_reg(reg_type, aux=(field.btf, field.btf_id))
    return pointer_reg(PTR_TO_BTF_ID | flags, aux=(None, helper.ret.btf))


def _map_value(env: Env, meta: CallMeta, flags: int) -> Reg:
    """A value of the map; of maps of maps, sockets and so on what they hold."""
    used = meta.map
    if used is None:
        env.bug("unexpected null map_ptr")
    if (
        meta.func == "bpf_map_lookup_elem"
        and can_elide_value_nullness(used)
        and 0 <= meta.const_map_key < used.spec.max_entries
    ):
        flags &= ~PTR_MAYBE_NULL
    record = map_record(env, used)
    new_id = 0
    if flags & PTR_MAYBE_NULL or (record is not None and record.has("bpf_spin_lock", "bpf_res_spin_lock")):
        new_id = env.new_id()
    maybe_null = flags & PTR_MAYBE_NULL
    if used.inner is not None:
        inner = map_record(env, used.inner)
        has_timer = inner is not None and inner.has("bpf_timer", "bpf_wq", "bpf_task_work")
        uid = new_id if has_timer else meta.map_uid
        return pointer_reg(CONST_PTR_TO_MAP | maybe_null, id=new_id, aux=(used.inner, uid))
    if used.spec.type == MapType.XSKMAP:
        return pointer_reg(PTR_TO_XDP_SOCK | maybe_null, id=new_id)
    if used.spec.type in _SOCKMAPS:
        return pointer_reg(PTR_TO_SOCKET | maybe_null, id=new_id)
    return pointer_reg(PTR_TO_MAP_VALUE | flags, id=new_id, aux=(used, meta.map_uid))


def _range(env: Env, meta: CallMeta) -> Num:
    """Of a number returned, what the helper promises."""
    name = meta.func
    if name in _LENGTHS:
        return s32_range(UNKNOWN, -MAX_ERRNO, meta.msize_max_value)
    if name == "bpf_get_smp_processor_id":
        return from_urange(0, NR_CPU_IDS - 1) if NR_CPU_IDS > 1 else const(0)
    if name == "bpf_get_retval":
        attach = env.program.expected_attach_type
        if (env.prog_type, attach) not in (("cgroup_sockopt", _CGROUP_GETSOCKOPT), ("lsm", _LSM_CGROUP)):
            return s32_range(UNKNOWN, -MAX_ERRNO, 0)
    return UNKNOWN
