"""Bounds of memory: whether `size` bytes at a pointer's offset lie inside what it points to, and how they are aligned.

Offsets here are of the instruction; the pointer's own, constant and variable, is in its Num. Sources: __check_mem_access,
check_mem_region_access, __check_ptr_off_reg, check_packet_access, check_ptr_alignment and __check_buffer_access of
kernel/bpf/verifier.c.
"""

from typing import Final

from bpf import isa
from bpf.maps import MapType
from verifier import tnum
from verifier.diagnose import MemAccess
from verifier.env import Env
from verifier.regs import (
    MEM_RDONLY,
    PTR_TO_ARENA,
    PTR_TO_CTX,
    PTR_TO_FLOW_KEYS,
    PTR_TO_MAP_KEY,
    PTR_TO_MAP_VALUE,
    PTR_TO_PACKET,
    PTR_TO_PACKET_END,
    PTR_TO_PACKET_META,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_STACK,
    PTR_TO_TCP_SOCK,
    PTR_TO_XDP_SOCK,
    Reg,
)
from verifier.statelog import reg_type_str
from verifier.wording import argno_name, tnum_text

BPF_READ: Final = 1
BPF_WRITE: Final = 2

BPF_MAX_VAR_OFF: Final = 1 << 29
BPF_MAX_VAR_SIZ: Final = 1 << 29
_S32_MAX: Final = (1 << 31) - 1

# NET_IP_ALIGN where strict alignment was asked for
_IP_ALIGN: Final = 2

_ALIGN_WORDS: Final = {
    PTR_TO_FLOW_KEYS: "flow keys ",
    PTR_TO_MAP_KEY: "key ",
    PTR_TO_MAP_VALUE: "value ",
    PTR_TO_CTX: "context ",
    PTR_TO_STACK: "stack ",
    PTR_TO_SOCKET: "sock ",
    PTR_TO_SOCK_COMMON: "sock_common ",
    PTR_TO_TCP_SOCK: "tcp_sock ",
    PTR_TO_XDP_SOCK: "xdp_sock ",
}


def check_ptr_alignment(env: Env, reg: Reg, off: int, size: int, once: bool) -> None:
    """Accesses to the stack are aligned; others where the loader or the instruction (`once`) asks for it."""
    if size == 1 or (
        reg.type == PTR_TO_STACK and not reg.num.mask and not (reg.num.value + off) & (size - 1)
    ):
        return
    strict = env.strict_alignment or once or reg.type == PTR_TO_STACK
    if not strict:
        if reg.type != PTR_TO_MAP_VALUE or reg.map.spec.type != MapType.INSN_ARRAY:
            return
    elif reg.type == PTR_TO_ARENA:
        return
    num = reg.num
    packet = reg.type in (PTR_TO_PACKET, PTR_TO_PACKET_META)
    whole = off + _IP_ALIGN if packet else off
    value, mask = tnum.add(num.value, num.mask, whole & isa.U64, 0)
    if not (value | mask) & (size - 1):
        return
    text = tnum_text(num.value, num.mask)
    if packet:
        env.refuse("EACCES", f"misaligned packet access off {_IP_ALIGN}+{text}+{off} size {size}")
    word = _ALIGN_WORDS.get(reg.type, "")
    env.refuse("EACCES", f"misaligned {word}access off {text}+{off} size {size}")


def _say_outside(env: Env, reg: Reg, argno: int, off: int, size: int, mem_size: int) -> None:
    match reg.type:
        case _ if reg.type == PTR_TO_MAP_KEY:
            what = f"map key, key_size={mem_size} off={off} size={size}"
        case _ if reg.type == PTR_TO_MAP_VALUE:
            what = f"map value, value_size={mem_size} off={off} size={size}"
        case _ if reg.type in (PTR_TO_PACKET, PTR_TO_PACKET_META, PTR_TO_PACKET_END):
            name = argno_name(argno)
            what = f"packet, off={off} size={size}, {name}(id={reg.id},off={off},r={mem_size})"
        case _ if reg.type == PTR_TO_CTX:
            what = f"context, ctx_size={mem_size} off={off} size={size}"
        case _:
            what = f"memory, mem_size={mem_size} off={off} size={size}"
    env.write(f"invalid access to {what}\n")


def _inside(off: int, size: int, mem_size: int, zero_allowed: bool) -> bool:
    return off >= 0 and (size > 0 or (size == 0 and zero_allowed)) and off + size <= mem_size


def check_mem_region_access(
    env: Env, reg: Reg, argno: int, off: int, size: int, mem_size: int, zero_allowed: bool
) -> None:
    """The access is inside at the smallest and at the largest offset that the pointer may have, so at all between."""
    num = reg.num
    smin = num.smin
    low = off + smin
    if smin < 0 and (smin == -(1 << 63) or low < 0):
        env.refuse(
            "EACCES",
            f"{argno_name(argno)} min value is negative, either use unsigned index or do a if (index >=0) check.",
            about=MemAccess(reg, argno, off, size, mem_size),
        )
    low = isa.sext(low, 32)  # an int in the kernel: what is lost is found below
    if not _inside(low, size, mem_size, zero_allowed):
        _say_outside(env, reg, argno, low, size, mem_size)
        env.refuse(
            "EACCES",
            f"{argno_name(argno)} min value is outside of the allowed memory range",
            about=MemAccess(reg, argno, off, size, mem_size),
        )
    if not num.mask and 0 <= smin < BPF_MAX_VAR_OFF:
        return
    umax = num.umax
    if umax >= BPF_MAX_VAR_OFF:
        env.refuse(
            "EACCES",
            f"{argno_name(argno)} unbounded memory access, make sure to bounds check any such access",
            about=MemAccess(reg, argno, off, size, mem_size),
        )
    high = isa.sext(umax + off, 32)
    if not _inside(high, size, mem_size, zero_allowed):
        _say_outside(env, reg, argno, high, size, mem_size)
        env.refuse(
            "EACCES",
            f"{argno_name(argno)} max value is outside of the allowed memory range",
            about=MemAccess(reg, argno, off, size, mem_size),
        )


def check_packet_access(env: Env, reg: Reg, argno: int, off: int, size: int, zero_allowed: bool) -> None:
    """Inside the range that a comparison with the packet's end has shown."""
    if reg.pkt_range < 0:
        env.refuse("EINVAL", f"{argno_name(argno)} offset is outside of the packet")
    check_mem_region_access(env, reg, argno, off, size, reg.pkt_range, zero_allowed)


def check_ptr_off(env: Env, reg: Reg, argno: int, fixed_off_ok: bool) -> None:
    """The pointer is as it was got, or at a constant offset from there (__check_ptr_off_reg)."""
    num = reg.num
    if num.mask:
        text = tnum_text(num.value, num.mask)
        env.refuse("EACCES", f"variable {reg_type_str(reg.type)} access var_off={text} disallowed")
    value = num.signed_value
    if num.smin < 0:
        what = f"negative offset {reg_type_str(reg.type)} ptr {argno_name(argno)}"
        env.refuse("EACCES", f"{what} off={value} disallowed")
    if not fixed_off_ok and value:
        what = f"dereference of modified {reg_type_str(reg.type)} ptr {argno_name(argno)}"
        env.refuse("EACCES", f"{what} off={value} disallowed")


def check_ptr_off_reg(env: Env, reg: Reg, regno: int) -> None:
    """The pointer in a register is unmodified."""
    check_ptr_off(env, reg, regno, False)


def _buffer_start(env: Env, kind: str, reg: Reg, argno: int, off: int) -> None:
    num = reg.num
    if num.mask:
        text = tnum_text(num.value, num.mask)
        env.refuse("EACCES", f"{argno_name(argno)} invalid variable buffer offset: off={off}, var_off={text}")
    if num.signed_value + off < 0:
        env.refuse(
            "EACCES",
            f"{argno_name(argno)} invalid negative {kind} buffer offset: off={off}, var_off={num.signed_value}",
        )


def check_tp_buffer_access(env: Env, reg: Reg, argno: int, off: int) -> None:
    """A tracepoint's buffer: at a constant offset; its length is compared when the program is attached."""
    _buffer_start(env, "tracepoint", reg, argno, off)


def check_buffer_access(env: Env, reg: Reg, argno: int, off: int) -> None:
    """A buffer of unknown length (an iterator's key or value): its length is compared when the program is attached."""
    _buffer_start(env, "rdonly" if reg.type & MEM_RDONLY else "rdwr", reg, argno, off)
