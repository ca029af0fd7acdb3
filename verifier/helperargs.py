"""Arguments of helpers: each against the kind that the helper's prototype gives it.

Sources: check_func_arg, check_func_proto, resolve_map_arg_type, get_constant_map_key, check_arg_const_str,
check_map_field_pointer of kernel/bpf/verifier.c.
"""

from collections.abc import Callable
from typing import Final

from bpf.helpers import Arg, Helper
from bpf.maps import MapType
from verifier import regs as reg_types
from verifier.callargs import (
    CallMeta,
    check_func_arg_reg_off,
    check_reg_type,
    process_const_alloc_mem_size,
    process_map_ptr_arg,
)
from verifier.dynptr import process_dynptr_func
from verifier.env import Env, check_src, reg_arg_name
from verifier.helpermem import check_helper_mem_access, check_mem_reg, check_mem_size_reg
from verifier.kptrs import process_kptr_func
from verifier.locks import in_rbtree_lock_required_cb, process_spin_lock
from verifier.maps import F_RDONLY_PROG, check_map_access, has_known_values, map_record
from verifier.memory import may_access_direct_pkt_data
from verifier.precision import mark_chain_precision, mark_slots_precise
from verifier.references import reg_is_referenced
from verifier.regions import BPF_READ, BPF_WRITE, check_ptr_alignment
from verifier.regs import (
    MEM_ALIGNED,
    MEM_FIXED_SIZE,
    MEM_UNINIT,
    MEM_WRITE,
    OBJ_RELEASE,
    PTR_MAYBE_NULL,
    PTR_TO_MAP_VALUE,
    PTR_TO_PACKET,
    PTR_TO_PACKET_META,
    PTR_TO_STACK,
    SCALAR_VALUE,
    Reg,
    UsedMap,
)
from verifier.state import STACK_SPILL, STACK_ZERO

F_INNER_MAP: Final = 1 << 12

_PACKET: Final = frozenset({PTR_TO_PACKET, PTR_TO_PACKET_META})
_SOCKMAPS: Final = frozenset({MapType.SOCKMAP, MapType.SOCKHASH})


class ArgSpec:
    """An argument of a prototype with its flags as bits. access: BPF_READ or BPF_WRITE of memory."""

    __slots__ = ("access", "btf", "flags", "kind", "size")

    def __init__(self, arg: Arg) -> None:
        self.kind = arg.kind
        self.flags = 0
        for flag in arg.flags:
            self.flags |= getattr(reg_types, flag)
        self.btf = arg.btf
        self.size = arg.size
        self.access = BPF_WRITE if self.flags & MEM_WRITE else BPF_READ


class HelperSpec:
    """A helper with its arguments made ready. raw_mem_regno, release_regno: 1..5, 0 for none (check_func_proto)."""

    __slots__ = ("args", "helper", "name", "raw_mem_regno", "release_regno")

    def __init__(self, helper: Helper, name: str) -> None:
        self.helper = helper
        self.name = name
        self.args = [ArgSpec(arg) for arg in helper.args]
        self.raw_mem_regno = 0
        self.release_regno = 0
        for i, arg in enumerate(self.args, start=1):
            if arg.flags & MEM_UNINIT and arg.kind in ("ARG_PTR_TO_MEM", "ARG_PTR_TO_MAP_VALUE"):
                self.raw_mem_regno = i
            if arg.flags & OBJ_RELEASE:
                self.release_regno = i


def check_func_arg(env: Env, spec: HelperSpec, argno: int, meta: CallMeta, insn_idx: int) -> None:
    """Argument 1..5 of the helper."""
    arg = spec.args[argno - 1]
    reg = check_src(env, argno)
    kind, flags = arg.kind, arg.flags
    if kind == "ARG_ANYTHING":
        return
    if reg.type & reg_types.BASE_TYPE_MASK in _PACKET and not (
        may_access_direct_pkt_data(env, False)
        and (spec.helper.pkt_access or env.prog_type == "cgroup_sockopt")
    ):
        env.refuse("EACCES", "helper access to the packet is not allowed")
    if kind == "ARG_PTR_TO_MAP_VALUE":
        kind, flags = _resolve_map_arg_type(env, meta, kind, flags)
    if reg.is_null and flags & PTR_MAYBE_NULL:
        mark_chain_precision(env, argno)
    else:
        check_reg_type(env, reg, argno, kind, flags, arg.btf, meta)
        check_func_arg_reg_off(env, reg, argno, kind, flags)
    referenced = reg_is_referenced(env, reg)
    if flags & OBJ_RELEASE and kind != "ARG_PTR_TO_DYNPTR" and not referenced and not reg.is_null:
        env.refuse(
            "EINVAL",
            f"release helper {spec.name} expects referenced PTR_TO_BTF_ID passed to {reg_arg_name(argno)}",
        )
    if referenced:
        meta.ref_obj.update(reg)
    check = _CHECKS.get(kind)
    if check is not None:
        check(env, _Call(spec, arg, flags, reg, argno, meta, insn_idx))


class _Call:
    """One argument of the call at hand."""

    __slots__ = ("arg", "argno", "flags", "insn_idx", "meta", "reg", "spec")

    def __init__(
        self, spec: HelperSpec, arg: ArgSpec, flags: int, reg: Reg, argno: int, meta: CallMeta, insn_idx: int
    ) -> None:
        self.spec = spec
        self.arg = arg
        self.flags = flags
        self.reg = reg
        self.argno = argno
        self.meta = meta
        self.insn_idx = insn_idx


def _resolve_map_arg_type(env: Env, meta: CallMeta, kind: str, flags: int) -> tuple[str, int]:
    """What a value argument is depends on the map: a map of sockets takes sockets."""
    if meta.map is None:
        env.bug("invalid map_ptr to access map->type")
    map_type = meta.map.spec.type
    if map_type in _SOCKMAPS:
        if flags:
            env.refuse("EINVAL", "invalid arg_type for sockmap/sockhash")
        return "ARG_PTR_TO_BTF_ID_SOCK_COMMON", 0
    if map_type == MapType.BLOOM_FILTER and meta.func == "bpf_map_peek_elem":
        return kind, 0
    return kind, flags


# ---- by kind


def _map_ptr(env: Env, call: _Call) -> None:
    process_map_ptr_arg(env, call.reg, call.argno, call.meta)


def _map_key(env: Env, call: _Call) -> None:
    used = call.meta.map
    if used is None:
        env.bug("invalid map_ptr to access map->key")
    size = used.spec.key_size
    check_helper_mem_access(env, call.reg, -call.argno, size, BPF_READ, False, None)
    if can_elide_value_nullness(used):
        call.meta.const_map_key = _constant_map_key(env, call.reg, size)


def can_elide_value_nullness(used: UsedMap) -> bool:
    """Whether a lookup with a known key certainly finds something."""
    return used.spec.type in (MapType.ARRAY, MapType.PERCPU_ARRAY) and not used.spec.flags & F_INNER_MAP


def _constant_map_key(env: Env, key: Reg, size: int) -> int:
    """The key's value where the stack tells it, else -1; the slot is then precise."""
    if key.type != PTR_TO_STACK or key.num.mask:
        return -1
    byte = -key.num.signed_value - 1
    spi, off = divmod(byte, 8)
    slot = env.cur_state.frames[key.frameno].stack[spi]
    if _run(slot.types, off, STACK_ZERO) >= size:
        return 0
    if slot.types[7] != STACK_SPILL or slot.reg.type != SCALAR_VALUE:
        return -1
    if _run(slot.types, off, STACK_SPILL) != size or slot.reg.num.mask:
        return -1
    mark_slots_precise(env, key.frameno, 1 << spi)
    return slot.reg.num.signed_value


def _run(types: bytes, off: int, kind: int) -> int:
    """How many bytes from index `off` downwards are of one kind."""
    count = 0
    while off - count >= 0 and types[off - count] == kind:
        count += 1
    return count


def _map_value(env: Env, call: _Call) -> None:
    meta = call.meta
    if call.flags & PTR_MAYBE_NULL and call.reg.is_null:
        return
    if meta.map is None:
        env.bug("invalid map_ptr to access map->value")
    if meta.func == "bpf_map_peek_elem" and meta.map.spec.type == MapType.BLOOM_FILTER:
        meta.raw_mem_regno = 0
    access = BPF_WRITE if call.flags & MEM_WRITE else BPF_READ
    check_helper_mem_access(env, call.reg, -call.argno, meta.map.spec.value_size, access, False, meta)


def _percpu_btf_id(env: Env, call: _Call) -> None:
    if not call.reg.btf_id:
        env.refuse("EACCES", f"Helper has invalid btf_id in R{call.argno}")
    call.meta.ret_btf = call.reg.btf
    call.meta.ret_btf_id = call.reg.btf_id


def _spin_lock(env: Env, call: _Call) -> None:
    if in_rbtree_lock_required_cb(env):
        env.refuse("EACCES", "can't spin_{lock,unlock} in rbtree cb")
    process_spin_lock(env, call.reg, call.argno, lock=call.meta.func == "bpf_spin_lock")


def _timer(env: Env, call: _Call) -> None:
    check_map_field_pointer(env, call.reg, call.argno, "bpf_timer", call.meta)


def check_map_field_pointer(env: Env, reg: Reg, argno: int, kind: str, meta: CallMeta) -> None:
    """The argument points to the field of this kind in a map value; remembers the map."""
    spec = reg.map.spec
    if not reg.is_const:
        env.refuse(
            "EINVAL",
            f"{reg_arg_name(argno)} doesn't have constant offset. {kind} has to be at the constant offset",
        )
    if not (spec.btf_value or spec.btf_key):
        env.refuse("EINVAL", f"map '{spec.name}' has to have BTF in order to use {kind}")
    record = map_record(env, reg.map)
    off = record.off(kind) if record is not None else -1
    if off < 0:
        env.refuse("EINVAL", f"map '{spec.name}' has no valid {kind}")
    if off != reg.num.value:
        env.refuse("EINVAL", f"off {reg.num.signed_value} doesn't point to 'struct {kind}' that is at {off}")
    if meta.map is not None:
        env.bug(f"Two map pointers in a {kind} helper")
    meta.map = reg.map
    meta.map_uid = reg.map_uid


def _func(_env: Env, call: _Call) -> None:
    call.meta.subprogno = call.reg.subprogno


def _mem(env: Env, call: _Call) -> None:
    if not call.flags & MEM_FIXED_SIZE:
        return  # with its size, the next argument
    check_mem_reg(env, call.reg, -call.argno, call.arg.size, call.arg.access, call.meta)
    if call.flags & MEM_ALIGNED:
        check_ptr_alignment(env, call.reg, 0, call.arg.size, True)


def _mem_size(env: Env, call: _Call) -> None:
    _mem_and_size(env, call, False)


def _mem_size_or_zero(env: Env, call: _Call) -> None:
    _mem_and_size(env, call, True)


def _mem_and_size(env: Env, call: _Call, zero_allowed: bool) -> None:
    mem = call.argno - 1
    access = call.spec.args[mem - 1].access
    check_mem_size_reg(env, env.regs[mem], call.reg, -mem, -call.argno, access, zero_allowed, call.meta)


def _dynptr(env: Env, call: _Call) -> None:
    meta = call.meta
    flags = call.flags & ~MEM_WRITE
    process_dynptr_func(env, call.reg, call.argno, call.insn_idx, flags, meta.ref_obj, meta.dynptr)


def _alloc_size(env: Env, call: _Call) -> None:
    process_const_alloc_mem_size(env, call.reg, call.argno, call.meta)


def _const_str(env: Env, call: _Call) -> None:
    check_arg_const_str(env, call.reg, call.argno)


def check_arg_const_str(env: Env, reg: Reg, argno: int) -> bytes:
    """The argument is a string in a map that nobody can change: the string."""
    name = reg_arg_name(argno)
    if reg.type != PTR_TO_MAP_VALUE:
        env.refuse("EINVAL")
    spec = reg.map.spec
    if spec.type == MapType.INSN_ARRAY:
        env.refuse("EACCES", f"{name} points to insn_array map which cannot be used as const string")
    if spec.type == MapType.PERCPU_ARRAY:
        env.refuse("EACCES", f"{name} points to percpu_array map which cannot be used as const string")
    if not (spec.freeze and spec.flags & F_RDONLY_PROG):
        env.refuse("EACCES", f"{name} does not point to a readonly map'")
    if reg.num.mask:
        env.refuse("EACCES", f"{name} is not a constant address'")
    if not has_known_values(spec):
        env.refuse("EACCES", "no direct value access support for this map type")
    off = reg.num.signed_value
    check_map_access(env, reg, -argno, 0, spec.value_size - off, False, direct=False)
    text = map_value(reg.map)[off:]
    end = text.find(b"\0")
    if end < 0:
        env.refuse("EINVAL", "string is not zero-terminated")
    return text[:end]


def map_value(used: UsedMap) -> bytes:
    """The only value of a map of one element."""
    spec = used.spec
    for key, value in spec.elems:
        if not any(key):
            return value.ljust(spec.value_size, b"\0")
    return bytes(spec.value_size)


def _kptr_xchg_dest(env: Env, call: _Call) -> None:
    field, used = process_kptr_func(env, call.reg, call.argno)
    call.meta.kptr_field = field
    if used is not None:
        call.meta.map = used


_CHECKS: Final[dict[str, Callable[[Env, _Call], None]]] = {
    "ARG_CONST_MAP_PTR": _map_ptr,
    "ARG_PTR_TO_MAP_KEY": _map_key,
    "ARG_PTR_TO_MAP_VALUE": _map_value,
    "ARG_PTR_TO_PERCPU_BTF_ID": _percpu_btf_id,
    "ARG_PTR_TO_SPIN_LOCK": _spin_lock,
    "ARG_PTR_TO_TIMER": _timer,
    "ARG_PTR_TO_FUNC": _func,
    "ARG_PTR_TO_MEM": _mem,
    "ARG_MEM_SIZE": _mem_size,
    "ARG_MEM_SIZE_OR_ZERO": _mem_size_or_zero,
    "ARG_PTR_TO_DYNPTR": _dynptr,
    "ARG_CONST_ALLOC_SIZE_OR_ZERO": _alloc_size,
    "ARG_PTR_TO_CONST_STR": _const_str,
    "ARG_KPTR_XCHG_DEST": _kptr_xchg_dest,
}
