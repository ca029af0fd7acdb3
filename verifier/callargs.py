"""What calls have in common: what is remembered of the arguments, and the check of a register's type against an argument's.

An argument's kind is the name that bpf/helpers.py gives it ("ARG_PTR_TO_MEM"), its flags those of verifier/regs.py.
Sources: check_reg_type, __check_func_arg_reg_off, process_const_alloc_mem_size of kernel/bpf/verifier.c.
"""

from typing import Any, Final

from verifier.dynptr import DynptrArg, RefObj
from verifier.env import Env, reg_arg_name
from verifier.iters import IterArg
from verifier.kptraccess import map_kptr_match_type
from verifier.precision import mark_arg_precision
from verifier.regions import check_ptr_off
from verifier.regs import (
    CONST_PTR_TO_DYNPTR,
    CONST_PTR_TO_MAP,
    DYNPTR_TYPE_FLAG_MASK,
    MEM_ALLOC,
    MEM_PERCPU,
    MEM_RCU,
    MEM_RDONLY,
    MEM_RINGBUF,
    NON_OWN_REF,
    OBJ_RELEASE,
    PTR_MAYBE_NULL,
    PTR_TO_ARENA,
    PTR_TO_BTF_ID,
    PTR_TO_BUF,
    PTR_TO_CTX,
    PTR_TO_FUNC,
    PTR_TO_MAP_KEY,
    PTR_TO_MAP_VALUE,
    PTR_TO_MEM,
    PTR_TO_PACKET,
    PTR_TO_PACKET_META,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_STACK,
    PTR_TO_TCP_SOCK,
    PTR_TO_XDP_SOCK,
    PTR_TRUSTED,
    SCALAR_VALUE,
    Reg,
    UsedMap,
    base_type,
)
from verifier.statelog import btf_type_name, reg_type_str
from verifier.structs import ids_match

MAX_ERRNO: Final = 4095
_U32_MAX: Final = (1 << 32) - 1

_BTF: Final = PTR_TO_BTF_ID
_SOCKS: Final = (PTR_TO_SOCK_COMMON, PTR_TO_SOCKET, PTR_TO_TCP_SOCK, PTR_TO_XDP_SOCK)
_MEM: Final = (
    PTR_TO_STACK,
    PTR_TO_PACKET,
    PTR_TO_PACKET_META,
    PTR_TO_MAP_KEY,
    PTR_TO_MAP_VALUE,
    PTR_TO_MEM,
    PTR_TO_MEM | MEM_RINGBUF,
    PTR_TO_BUF,
    _BTF | PTR_TRUSTED,
    PTR_TO_CTX,
)
_SCALAR: Final = (SCALAR_VALUE,)

# Register types that an argument accepts, in the order in which messages list them.
COMPATIBLE: Final[dict[str, tuple[int, ...]]] = {
    "ARG_PTR_TO_MAP_KEY": _MEM,
    "ARG_PTR_TO_MAP_VALUE": _MEM,
    "ARG_PTR_TO_MEM": _MEM,
    "ARG_MEM_SIZE": _SCALAR,
    "ARG_MEM_SIZE_OR_ZERO": _SCALAR,
    "ARG_CONST_ALLOC_SIZE_OR_ZERO": _SCALAR,
    "ARG_SCALAR": _SCALAR,
    "ARG_CONST_MAP_PTR": (CONST_PTR_TO_MAP,),
    "ARG_PTR_TO_CTX": (PTR_TO_CTX,),
    "ARG_PTR_TO_SOCK_COMMON": _SOCKS,
    "ARG_PTR_TO_BTF_ID_SOCK_COMMON": (*_SOCKS, _BTF, _BTF | PTR_TRUSTED),
    "ARG_PTR_TO_SOCKET": (PTR_TO_SOCKET,),
    "ARG_PTR_TO_BTF_ID": (_BTF, _BTF | PTR_TRUSTED, _BTF | MEM_RCU),
    "ARG_PTR_TO_SPIN_LOCK": (PTR_TO_MAP_VALUE, _BTF | MEM_ALLOC),
    "ARG_PTR_TO_RINGBUF_MEM": (PTR_TO_MEM | MEM_RINGBUF,),
    "ARG_PTR_TO_PERCPU_BTF_ID": (
        _BTF | MEM_PERCPU,
        _BTF | MEM_PERCPU | MEM_RCU,
        _BTF | MEM_PERCPU | PTR_TRUSTED,
    ),
    "ARG_PTR_TO_FUNC": (PTR_TO_FUNC,),
    "ARG_PTR_TO_STACK": (PTR_TO_STACK,),
    "ARG_PTR_TO_CONST_STR": (PTR_TO_MAP_VALUE,),
    "ARG_PTR_TO_TIMER": (PTR_TO_MAP_VALUE,),
    "ARG_KPTR_XCHG_DEST": (
        PTR_TO_MAP_VALUE,
        _BTF | MEM_ALLOC,
        _BTF | MEM_ALLOC | NON_OWN_REF,
        _BTF | MEM_ALLOC | NON_OWN_REF | MEM_RCU,
    ),
    "ARG_PTR_TO_DYNPTR": (PTR_TO_STACK, CONST_PTR_TO_DYNPTR),
}

# Pointers that may be passed at any offset.
_ANY_OFFSET: Final = frozenset(
    {
        PTR_TO_STACK,
        PTR_TO_PACKET,
        PTR_TO_PACKET_META,
        PTR_TO_MAP_KEY,
        PTR_TO_MAP_VALUE,
        PTR_TO_MEM,
        PTR_TO_MEM | MEM_RDONLY,
        PTR_TO_MEM | MEM_RINGBUF,
        PTR_TO_BUF,
        PTR_TO_BUF | MEM_RDONLY,
        PTR_TO_ARENA,
        SCALAR_VALUE,
    }
)
# Pointers that may be passed at a constant offset.
_FIXED_OFFSET: Final = frozenset(
    {
        _BTF,
        _BTF | MEM_ALLOC,
        _BTF | PTR_TRUSTED,
        _BTF | MEM_RCU,
        _BTF | MEM_ALLOC | NON_OWN_REF,
        _BTF | MEM_ALLOC | NON_OWN_REF | MEM_RCU,
    }
)
_KERNEL_OBJECTS: Final = frozenset(
    {
        _BTF,
        _BTF | PTR_TRUSTED,
        _BTF | PTR_TRUSTED | PTR_MAYBE_NULL,
        _BTF | MEM_RCU,
        _BTF | PTR_MAYBE_NULL,
        _BTF | PTR_MAYBE_NULL | MEM_RCU,
    }
)
_OWN_OBJECTS: Final = frozenset(
    {
        _BTF | MEM_ALLOC,
        _BTF | MEM_PERCPU | MEM_ALLOC,
        _BTF | MEM_ALLOC | NON_OWN_REF,
        _BTF | MEM_ALLOC | NON_OWN_REF | MEM_RCU,
    }
)


class CallMeta:
    """What one call's arguments told (struct bpf_call_arg_meta). Mutable.

    func: the helper's name, "" for functions and kfuncs. raw_mem_regno: the register (1..5) whose memory the call fills,
    raw_mem_size: how much of it is not initialised yet. map, map_uid: the map argument. release_regno: the register
    that is released. const_map_key: the key of a lookup, -1 when it is not known. ret_*: what the call returns.
    arg_btf, arg_btf_id: the type of the object passed.
    """

    __slots__ = (
        "arg_btf",
        "arg_btf_id",
        "arg_owning_ref",
        "arg_prog",
        "const_found",
        "const_map_key",
        "const_value",
        "dynptr",
        "func",
        "graph_root",
        "iter",
        "kptr_field",
        "map",
        "map_uid",
        "msize_max_value",
        "r0_rdonly",
        "raw_mem_regno",
        "raw_mem_size",
        "ref_obj",
        "release_regno",
        "ret_btf",
        "ret_btf_id",
        "ret_mem_found",
        "ret_mem_size",
        "subprogno",
    )

    def __init__(self, func: str = "") -> None:
        self.func = func
        self.raw_mem_regno = 0
        self.raw_mem_size = 0
        self.msize_max_value = 0
        self.release_regno = 0
        self.map: UsedMap | None = None
        self.map_uid = 0
        self.ref_obj = RefObj()
        self.dynptr = DynptrArg()
        self.iter = IterArg()
        self.subprogno = 0
        self.const_map_key = 0
        self.const_found = False
        self.const_value = 0
        self.ret_mem_found = False
        self.ret_mem_size = 0
        self.r0_rdonly = False
        self.ret_btf: Any = None
        self.ret_btf_id: int | str = 0
        self.arg_btf: Any = None
        self.arg_btf_id: int | str = 0
        self.arg_owning_ref = False
        self.arg_prog = False
        self.kptr_field: Any = None
        self.graph_root: Any = None


def check_reg_type(
    env: Env, reg: Reg, argno: int, kind: str, flags: int, btf_name: str, meta: CallMeta
) -> None:
    """The register is of a type that the argument accepts.

    argno: 1, 2, ... btf_name: the kernel struct that a PTR_TO_BTF_ID must be, "" for the kind's own.
    """
    reg_type = reg.type
    if flags & MEM_RDONLY:
        reg_type &= ~MEM_RDONLY
    if flags & PTR_MAYBE_NULL:
        reg_type &= ~PTR_MAYBE_NULL
    if kind == "ARG_PTR_TO_MEM":
        reg_type &= ~DYNPTR_TYPE_FLAG_MASK
    xchg = meta.func == "bpf_kptr_xchg"
    if xchg and argno == 2 and reg_type & MEM_ALLOC:
        reg_type &= ~(MEM_ALLOC | MEM_PERCPU)
    accepted = COMPATIBLE[kind]
    if reg_type not in accepted:
        expected = ", ".join(reg_type_str(one) for one in accepted)
        found = reg_type_str(reg.type)
        env.refuse("EACCES", f"{reg_arg_name(argno)} type={found} expected={expected}")
    if base_type(reg.type) == PTR_TO_BTF_ID:
        _check_object(env, reg, argno, kind, flags, btf_name, meta)


def _check_object(
    env: Env, reg: Reg, argno: int, kind: str, flags: int, btf_name: str, meta: CallMeta
) -> None:
    """What a pointer with a BTF type points to is what the argument asks for."""
    xchg = meta.func == "bpf_kptr_xchg"
    if COMPATIBLE[kind] is _MEM:
        if not flags & MEM_RDONLY:
            found = reg_type_str(reg.type)
            env.refuse(
                "EACCES",
                f"{meta.func}() may write into memory pointed by {reg_arg_name(argno)} type={found}",
            )
    elif reg.type in _KERNEL_OBJECTS:
        _check_kernel_object(env, reg, argno, kind, flags, btf_name, meta)
    elif reg.type in _OWN_OBJECTS:
        if xchg and argno == 2:
            map_kptr_match_type(env, meta.kptr_field, reg, argno)
        elif not xchg and meta.func not in ("bpf_spin_lock", "bpf_spin_unlock"):
            env.bug("unimplemented handling of MEM_ALLOC")
    elif not reg.type & MEM_PERCPU:
        env.bug("invalid PTR_TO_BTF_ID register for type match")


def _check_kernel_object(
    env: Env, reg: Reg, argno: int, kind: str, flags: int, btf_name: str, meta: CallMeta
) -> None:
    """The object is of the struct that is asked for, or has it at the pointer's offset."""
    name = reg_arg_name(argno)
    if reg.type & PTR_MAYBE_NULL and (not flags & PTR_MAYBE_NULL or flags & OBJ_RELEASE):
        env.refuse("EACCES", f"Possibly NULL pointer passed to helper {name}")
    if meta.func == "bpf_kptr_xchg":
        map_kptr_match_type(env, meta.kptr_field, reg, argno)
        return
    check_ptr_off(env, reg, -argno, True)
    wanted = "sock_common" if kind == "ARG_PTR_TO_BTF_ID_SOCK_COMMON" else btf_name
    strict = bool(flags & OBJ_RELEASE) and meta.func != "bpf_sk_release"
    if not ids_match(reg.btf, reg.btf_id, reg.num.signed_value, None, wanted, strict=strict):
        found = btf_type_name(reg.btf, reg.btf_id)
        env.refuse("EACCES", f"{name} is of type {found} but {wanted} is expected")


def check_func_arg_reg_off(
    env: Env, reg: Reg, argno: int, kind: str, flags: int, btf_id_fixed_off_ok: bool = True
) -> None:
    """The pointer is at an offset that the argument allows. argno: 1, 2, ...; kind "" where no kind matters."""
    reg_type = reg.type
    if flags & OBJ_RELEASE:
        if kind == "ARG_PTR_TO_DYNPTR" and reg_type == PTR_TO_STACK:
            return
        if reg.num.mask or reg.num.value:
            name = reg_arg_name(argno)
            env.refuse(
                "EINVAL",
                f"{name} must have zero offset when passed to release func or trusted arg to kfunc",
            )
    if reg_type in _ANY_OFFSET:
        return
    if reg_type in _FIXED_OFFSET:
        check_ptr_off(env, reg, -argno, btf_id_fixed_off_ok)
    elif reg_type != PTR_TO_CTX or kind == "ARG_PTR_TO_CTX" or env.prog_type != "syscall":
        check_ptr_off(env, reg, -argno, False)


def process_map_ptr_arg(env: Env, reg: Reg, argno: int, meta: CallMeta) -> None:
    """A map argument: remembered; a timer or workqueue passed before must lie in that very map."""
    if meta.map is not None and (meta.map is not reg.map or meta.map_uid != reg.map_uid):
        record = meta.map.fields[0] if meta.map.fields else None
        what = "workqueue"
        if record is not None and record.has("bpf_timer"):
            what = "timer"
        elif record is not None and record.has("bpf_task_work"):
            what = "bpf_task_work"
        env.refuse(
            "EINVAL",
            f"{what} pointer in {reg_arg_name(argno - 1)} map_uid={meta.map_uid} doesn't match map pointer in"
            f" {reg_arg_name(argno)} map_uid={reg.map_uid}",
        )
    meta.map = reg.map
    meta.map_uid = reg.map_uid


def process_const_alloc_mem_size(env: Env, reg: Reg, argno: int, meta: CallMeta) -> None:
    """How much memory the call returns: a constant."""
    name = reg_arg_name(argno)
    if meta.ret_mem_found:
        env.bug("only one allocation size argument permitted")
    if reg.num.mask:
        env.refuse("EINVAL", f"{name} is not a const")
    if reg.num.value > _U32_MAX:
        env.refuse("EINVAL", f"{name} allocation size exceeds u32 max")
    mark_arg_precision(env, argno)
    meta.ret_mem_size = reg.num.value
    meta.ret_mem_found = True


def process_const_arg(env: Env, reg: Reg, argno: int, meta: CallMeta) -> None:
    """A constant that the call's result depends on."""
    if meta.const_found:
        env.bug("only one constant argument permitted")
    if reg.num.mask:
        env.refuse("EINVAL", f"{reg_arg_name(argno)} must be a known constant")
    mark_arg_precision(env, argno)
    meta.const_found = True
    meta.const_value = reg.num.value
