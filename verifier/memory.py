"""Loads and stores: one check a kind of pointer, and what a load leaves in its register.

`check_mem_access` says whether `size` bytes at a pointer may be read or written, and gives the register that a load goes
to its new state. Stack accesses are verifier/stack.py's, contexts verifier/ctxaccess.py's, kernel objects
verifier/btfaccess.py's. Source: check_mem_access of kernel/bpf/verifier.c.
"""

from collections.abc import Callable
from typing import Final

from bpf import isa
from bpf.maps import MapType
from verifier import arith, btfctx, casts, ctxaccess, maps
from verifier.btfaccess import check_ptr_to_btf_access, check_ptr_to_map_access, mark_btf_ld_reg
from verifier.env import Env, get_func_arg_reg
from verifier.kptraccess import check_map_kptr_access
from verifier.num import UNKNOWN
from verifier.regions import (
    BPF_READ,
    BPF_WRITE,
    check_buffer_access,
    check_mem_region_access,
    check_packet_access,
    check_ptr_alignment,
    check_ptr_off,
    check_tp_buffer_access,
)
from verifier.regs import (
    BASE_TYPE_MASK,
    CONST_PTR_TO_MAP,
    MEM_RDONLY,
    PTR_MAYBE_NULL,
    PTR_TO_ARENA,
    PTR_TO_BTF_ID,
    PTR_TO_BUF,
    PTR_TO_CTX,
    PTR_TO_FLOW_KEYS,
    PTR_TO_INSN,
    PTR_TO_MAP_KEY,
    PTR_TO_MAP_VALUE,
    PTR_TO_MEM,
    PTR_TO_PACKET,
    PTR_TO_PACKET_META,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_STACK,
    PTR_TO_TCP_SOCK,
    PTR_TO_TP_BUFFER,
    PTR_TO_XDP_SOCK,
    PTR_UNTRUSTED,
    SCALAR_VALUE,
    UNKNOWN_REG,
    Reg,
    const_reg,
    pointer_reg,
)
from verifier.stack import check_stack_access
from verifier.statelog import reg_type_str
from verifier.wording import argno_name, tnum_text

_FLOW_KEYS_SIZE: Final = 56  # struct bpf_flow_keys
_CTX_MAX: Final = (1 << 16) - 1

_SOCKET_FIELDS: Final = {
    PTR_TO_SOCKET: ctxaccess.SOCK,
    PTR_TO_SOCK_COMMON: ctxaccess.SOCK_COMMON,
    PTR_TO_TCP_SOCK: ctxaccess.TCP_SOCK,
    PTR_TO_XDP_SOCK: ctxaccess.XDP_SOCK,
}

# Program types that may only read the packet, and those that may write it too (may_access_direct_pkt_data).
_PACKET_READ: Final = frozenset(
    {"lwt_in", "lwt_out", "lwt_seg6local", "sk_reuseport", "flow_dissector", "cgroup_skb"}
)
_PACKET_WRITE: Final = frozenset(
    {"sched_cls", "sched_act", "xdp", "lwt_xmit", "sk_skb", "sk_msg", "cgroup_sockopt"}
)

# What a load of 1, 2 or 4 unknown bytes gives, extended with zeros or with the sign.
_LOADED: Final = {
    (size, sign): Reg(
        SCALAR_VALUE, casts.truncate_sx(UNKNOWN, size) if sign else casts.truncate(UNKNOWN, size)
    )
    for size in (1, 2, 4)
    for sign in (False, True)
}


class Access:
    """One access. `size` is in bytes, `access` BPF_READ or BPF_WRITE, `value_regno` the register or -1.

    `mark` says that the read bytes go to a register.
    """

    __slots__ = ("access", "argno", "insn_idx", "is_ldsx", "mark", "off", "size", "value_regno")

    def __init__(
        self, insn_idx: int, argno: int, off: int, size: int, access: int, value_regno: int, is_ldsx: bool
    ) -> None:
        self.insn_idx = insn_idx
        self.argno = argno
        self.off = off
        self.size = size
        self.access = access
        self.value_regno = value_regno
        self.is_ldsx = is_ldsx
        self.mark = access == BPF_READ and value_regno >= 0


def operand(env: Env, argno: int) -> Reg:
    """State of a register (0 and more) or of the -argno-th argument."""
    return env.regs[argno] if argno >= 0 else get_func_arg_reg(env, -argno)


def check_mem_access(
    env: Env,
    insn_idx: int,
    argno: int,
    off: int,
    size: int,
    access: int,
    value_regno: int,
    *,
    strict_alignment_once: bool = False,
    is_ldsx: bool = False,
    reg: Reg | None = None,
) -> None:
    """Checks an access at `reg` + off and writes the register that is loaded.

    argno: the pointer's name (verifier/wording.py); reg: its state, by default what argno names. size in bytes.
    value_regno: the register stored or loaded, -1 for none (an immediate, or an atomic's memory operand).
    """
    if reg is None:
        reg = env.regs[argno] if argno >= 0 else get_func_arg_reg(env, -argno)
    check_ptr_alignment(env, reg, off, size, strict_alignment_once)
    kind = reg.type
    if kind == PTR_TO_STACK:
        check_stack_access(env, insn_idx, reg, argno, off, size, access, value_regno)
    else:
        check = _BY_TYPE.get(kind) or _BY_BASE.get(kind & BASE_TYPE_MASK)
        if check is None or (kind & PTR_MAYBE_NULL):
            env.refuse("EACCES", f"{argno_name(argno)} invalid mem access '{reg_type_str(kind)}'")
        check(env, reg, Access(insn_idx, argno, off, size, access, value_regno, is_ldsx))
    if size < isa.SIZE_BYTES[isa.DW] and value_regno >= 0 and access == BPF_READ:
        _extend(env, value_regno, size, is_ldsx)


def _extend(env: Env, regno: int, size: int, is_ldsx: bool) -> None:
    """A narrow load fills the register with zeros, or with the sign, which parts it from what it was linked to."""
    reg = env.regs[regno]
    if reg.type != SCALAR_VALUE:
        return
    if reg is UNKNOWN_REG:
        env.regs[regno] = _LOADED[size, is_ldsx]
        return
    num = reg.num
    if not is_ldsx:
        env.regs[regno] = reg.with_num(casts.truncate(num, size))
        return
    new = reg.with_num(casts.truncate_sx(num, size))
    env.regs[regno] = new if num.umax < 1 << (8 * size - 1) else new.with_id(0)


# ---- one check a kind of pointer


def _map_key(env: Env, reg: Reg, a: Access) -> None:
    if a.access == BPF_WRITE:
        env.refuse("EACCES", f"write to change key {argno_name(a.argno)} not allowed")
    check_mem_region_access(env, reg, a.argno, a.off, a.size, reg.map.spec.key_size, False)
    if a.value_regno >= 0:
        env.regs[a.value_regno] = UNKNOWN_REG


def _map_value(env: Env, reg: Reg, a: Access) -> None:
    maps.check_map_access_type(env, reg, a.off, a.size, a.access)
    maps.check_map_access(env, reg, a.argno, a.off, a.size, False, direct=True)
    if not reg.num.mask:
        record = maps.map_record(env, reg.map)
        field = record and record.find(a.off + reg.num.signed_value, maps.KPTRS)
        if field:
            check_map_kptr_access(env, a.value_regno, field)
            return
    if a.mark:
        _read_map_value(env, reg, a)


def _read_map_value(env: Env, reg: Reg, a: Access) -> None:
    """check_map_mem_read: addresses of instructions, constants of frozen maps, else anything."""
    spec = reg.map.spec
    if spec.type == MapType.INSN_ARRAY:
        if a.size != isa.SIZE_BYTES[isa.DW]:
            env.refuse("EACCES", f"Invalid read of {a.size} bytes from insn_array")
        env.regs[a.value_regno] = reg.with_(type=PTR_TO_INSN, num=arith.add_delta(reg.num, a.off))
        return
    if reg.num.mask or not maps.has_known_values(spec):
        env.regs[a.value_regno] = UNKNOWN_REG
        return
    value = maps.map_direct_read(spec, a.off + reg.num.signed_value, a.size, a.is_ldsx)
    if value is None:
        env.refuse("ENOTSUPP" if spec.max_entries != 1 else "EINVAL")
    env.regs[a.value_regno] = const_reg(value)


def _mem(env: Env, reg: Reg, a: Access) -> None:
    read_only = bool(reg.type & MEM_RDONLY)
    if a.access == BPF_WRITE and read_only:
        env.refuse("EACCES", f"{argno_name(a.argno)} cannot write into {reg_type_str(reg.type)}")
    # Untrusted memory is read by loads that may fault: any offset will do.
    if not (read_only and reg.type & PTR_UNTRUSTED):
        check_mem_region_access(env, reg, a.argno, a.off, a.size, reg.mem_size, False)
    if a.mark:
        env.regs[a.value_regno] = UNKNOWN_REG


def _ctx(env: Env, reg: Reg, a: Access) -> None:
    prog_type = env.prog_type
    if prog_type == "syscall":
        check_mem_region_access(env, reg, a.argno, a.off, a.size, _CTX_MAX, False)
    else:
        check_ptr_off(env, reg, a.argno, ctxaccess.is_plain(prog_type))
    off = a.off + isa.sext(reg.num.umax, 64)
    fields = ctxaccess.fields_of(prog_type, env.program.expected_attach_type)
    write = a.access == BPF_WRITE
    if fields is None:
        field = btfctx.access(env, off, a.size, write)
    else:
        found = ctxaccess.valid_access(fields, off, a.size, write)
        if found is None or (a.is_ldsx and found.type != SCALAR_VALUE):
            env.refuse("EACCES", f"invalid bpf_context access off={off} size={a.size}")
        field = found
    if not a.mark:
        return
    if field.type == SCALAR_VALUE:
        is_result = field.name == btfctx.RESULT and prog_type == "lsm"
        env.regs[a.value_regno] = Reg(SCALAR_VALUE, btfctx.result_of_hook(env)) if is_result else UNKNOWN_REG
        return
    new_id = env.new_id() if field.type & PTR_MAYBE_NULL else 0
    aux = (None, field.btf_id) if field.type & BASE_TYPE_MASK == PTR_TO_BTF_ID else 0
    env.regs[a.value_regno] = pointer_reg(field.type, id=new_id, aux=aux)


def may_access_direct_pkt_data(env: Env, write: bool) -> bool:
    """Whether the program type may read, or write, the packet through pointers."""
    if write and env.prog_type in _PACKET_READ:
        return False
    return env.prog_type in _PACKET_READ or env.prog_type in _PACKET_WRITE


def _packet(env: Env, reg: Reg, a: Access) -> None:
    if a.access == BPF_WRITE:
        if not may_access_direct_pkt_data(env, True):
            env.refuse("EACCES", "cannot write into packet")
        env.seen_direct_write = True
    check_packet_access(env, reg, a.argno, a.off, a.size, False)
    if a.mark:
        env.regs[a.value_regno] = UNKNOWN_REG


def _flow_keys(env: Env, reg: Reg, a: Access) -> None:
    num = reg.num
    if num.mask:
        text = tnum_text(num.value, num.mask)
        what = f"invalid variable offset to flow keys: off={a.off}, var_off={text}"
        env.refuse("EACCES", f"{argno_name(a.argno)} {what}")
    off = a.off + num.signed_value
    if off < 0 or off + a.size > _FLOW_KEYS_SIZE:
        env.refuse("EACCES", f"invalid access to flow keys off={off} size={a.size}")
    if a.mark:
        env.regs[a.value_regno] = UNKNOWN_REG


def _socket(env: Env, reg: Reg, a: Access) -> None:
    name, kind = argno_name(a.argno), reg_type_str(reg.type)
    if a.access == BPF_WRITE:
        env.refuse("EACCES", f"{name} cannot write into {kind}")
    if reg.num.smin < 0:
        env.refuse(
            "EACCES",
            f"{name} min value is negative, either use unsigned index or do a if (index >=0) check.",
        )
    if ctxaccess.valid_access(_SOCKET_FIELDS[reg.type], a.off, a.size, False) is None:
        env.refuse("EACCES", f"{name} invalid {kind} access off={a.off} size={a.size}")
    if a.value_regno >= 0:
        env.regs[a.value_regno] = UNKNOWN_REG


def _tp_buffer(env: Env, reg: Reg, a: Access) -> None:
    check_tp_buffer_access(env, reg, a.argno, a.off)
    if a.mark:
        env.regs[a.value_regno] = UNKNOWN_REG


def _btf(env: Env, reg: Reg, a: Access) -> None:
    found = check_ptr_to_btf_access(env, reg, a.argno, a.off, a.size, a.access)
    if a.mark:
        mark_btf_ld_reg(env, a.value_regno, found)


def _map_ptr(env: Env, reg: Reg, a: Access) -> None:
    found = check_ptr_to_map_access(env, reg, a.argno, a.off, a.size, a.access)
    if a.mark:
        mark_btf_ld_reg(env, a.value_regno, found)


def _buf(env: Env, reg: Reg, a: Access) -> None:
    if a.access == BPF_WRITE and reg.type & MEM_RDONLY:
        env.refuse("EACCES", f"{argno_name(a.argno)} cannot write into {reg_type_str(reg.type)}")
    check_buffer_access(env, reg, a.argno, a.off)
    if a.mark:
        env.regs[a.value_regno] = UNKNOWN_REG


def _arena(env: Env, _reg: Reg, a: Access) -> None:
    if a.mark:
        env.regs[a.value_regno] = UNKNOWN_REG


_Check = Callable[[Env, Reg, Access], None]

# Kinds that are what they are only without flags
_BY_TYPE: Final[dict[int, _Check]] = {
    PTR_TO_MAP_VALUE: _map_value,
    PTR_TO_CTX: _ctx,
    PTR_TO_PACKET: _packet,
    PTR_TO_PACKET_META: _packet,
    PTR_TO_MAP_KEY: _map_key,
    PTR_TO_FLOW_KEYS: _flow_keys,
    PTR_TO_SOCKET: _socket,
    PTR_TO_SOCK_COMMON: _socket,
    PTR_TO_TCP_SOCK: _socket,
    PTR_TO_XDP_SOCK: _socket,
    PTR_TO_TP_BUFFER: _tp_buffer,
    CONST_PTR_TO_MAP: _map_ptr,
    PTR_TO_ARENA: _arena,
}
# Kinds that flags may come with
_BY_BASE: Final[dict[int, _Check]] = {PTR_TO_MEM: _mem, PTR_TO_BTF_ID: _btf, PTR_TO_BUF: _buf}
