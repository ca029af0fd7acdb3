"""Memory that helpers, kfuncs and global functions are given: a pointer and how many bytes behind it they use.

Sources: check_helper_mem_access, check_mem_size_reg and check_mem_reg of kernel/bpf/verifier.c. A "meta" is whatever the
caller keeps about the call; of it only `raw_mem_regno`, `raw_mem_size` and `msize_max_value` are used here.
"""

from typing import Any, Final

from verifier.btfaccess import check_ptr_to_btf_access
from verifier.env import Env
from verifier.maps import check_map_access, check_map_access_type
from verifier.precision import mark_arg_precision
from verifier.regions import (
    BPF_MAX_VAR_SIZ,
    BPF_READ,
    BPF_WRITE,
    check_buffer_access,
    check_mem_region_access,
    check_packet_access,
)
from verifier.regs import (
    MEM_RDONLY,
    PTR_TO_BTF_ID,
    PTR_TO_BUF,
    PTR_TO_CTX,
    PTR_TO_MAP_KEY,
    PTR_TO_MAP_VALUE,
    PTR_TO_MEM,
    PTR_TO_PACKET,
    PTR_TO_PACKET_META,
    PTR_TO_STACK,
    Reg,
)
from verifier.stackrange import check_stack_range_initialized
from verifier.statelog import reg_type_str
from verifier.wording import argno_name

_S32_MAX: Final = (1 << 31) - 1
_CTX_MAX: Final = (1 << 16) - 1


def check_helper_mem_access(
    env: Env, reg: Reg, argno: int, size: int, access: int, zero_allowed: bool, meta: Any
) -> None:
    """`size` bytes at `reg` may be read (BPF_READ) or written (BPF_WRITE) by a function of the kernel."""
    base = reg.base
    match base:
        case _ if base == PTR_TO_STACK:
            check_stack_range_initialized(env, reg, argno, 0, size, zero_allowed, access, meta)
        case _ if base == PTR_TO_MAP_VALUE:
            check_map_access_type(env, reg, 0, size, access)
            check_map_access(env, reg, argno, 0, size, zero_allowed, direct=False)
        case _ if base in (PTR_TO_PACKET, PTR_TO_PACKET_META):
            check_packet_access(env, reg, argno, 0, size, zero_allowed)
        case _ if base == PTR_TO_MEM:
            _check_writable(env, reg, argno, access, bool(reg.type & MEM_RDONLY))
            check_mem_region_access(env, reg, argno, 0, size, reg.mem_size, zero_allowed)
        case _ if base == PTR_TO_MAP_KEY:
            _check_writable(env, reg, argno, access, True)
            check_mem_region_access(env, reg, argno, 0, size, reg.map.spec.key_size, False)
        case _ if base == PTR_TO_BUF:
            _check_writable(env, reg, argno, access, bool(reg.type & MEM_RDONLY))
            check_buffer_access(env, reg, argno, 0)
        case _ if base == PTR_TO_BTF_ID:
            check_ptr_to_btf_access(env, reg, argno, 0, size, access)
        case _ if base == PTR_TO_CTX and env.prog_type == "syscall":
            check_mem_region_access(env, reg, argno, 0, size, _CTX_MAX, zero_allowed)
        case _:
            # No bytes at all may be read from null.
            if not (zero_allowed and size == 0 and reg.is_null):
                expected = reg_type_str(PTR_TO_STACK)
                found = reg_type_str(reg.type)
                env.refuse("EACCES", f"{argno_name(argno)} type={found} expected={expected}", plain=True)


def _check_writable(env: Env, reg: Reg, argno: int, access: int, read_only: bool) -> None:
    if access == BPF_WRITE and read_only:
        env.refuse("EACCES", f"{argno_name(argno)} cannot write into {reg_type_str(reg.type)}")


def check_mem_size_reg(
    env: Env,
    mem_reg: Reg,
    size_reg: Reg,
    mem_argno: int,
    size_argno: int,
    access: int,
    zero_allowed: bool,
    meta: Any,
) -> None:
    """A pointer and a length: what is checked is the largest length, which must therefore be precise.

    access: BPF_READ, BPF_WRITE or both.
    """
    size = size_reg.num
    name = argno_name(size_argno)
    if meta is not None:
        meta.msize_max_value = size.umax
    if size.mask:
        # Of a length not known, not all bytes need be written: the memory must be initialised.
        meta = None
    if size.smin < 0:
        env.refuse("EACCES", f"{name} min value is negative, either use unsigned or 'var &= const'")
    if size.umin == 0 and not zero_allowed:
        env.refuse("EACCES", f"{name} invalid zero-sized read: u64=[{size.umin},{size.umax}]")
    if size.umax >= BPF_MAX_VAR_SIZ:
        env.refuse("EACCES", f"{name} unbounded memory access, use 'var &= const' or 'if (var < const)'")
    for one in (BPF_READ, BPF_WRITE):
        if access & one:
            check_helper_mem_access(env, mem_reg, mem_argno, size.umax, one, zero_allowed, meta)
    mark_arg_precision(env, abs(size_argno))


def check_mem_reg(env: Env, reg: Reg, argno: int, size: int, access: int, meta: Any) -> None:
    """A pointer to `size` bytes, or null, which must be precise then. Without a meta it is a global function's argument."""
    if reg.is_null:
        mark_arg_precision(env, abs(argno))
        return
    if size > _S32_MAX:
        env.refuse("EACCES", f"{argno_name(argno)} memory size {size} is too large")
    # A global function may be given stack that liveness has poisoned: its body was found not to read it.
    signed = -size if meta is None and reg.base == PTR_TO_STACK else size
    for one in (BPF_READ, BPF_WRITE):
        if access & one:
            check_helper_mem_access(env, reg, argno, signed, one, True, meta)
