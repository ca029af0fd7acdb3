"""Atomic operations. Source: section D.8 of the convention (last item).

x86 has one instruction for most of them. Fetching or, and, xor are loops around cmpxchg, which needs rax: R0 moves to
r10 meanwhile, and stands there also when it is an operand.
"""

from typing import Final

from bpf import isa
from bpf.insn import Insn
from jit import memory
from jit.errors import CannotLower
from jit.mode import Mode
from jit.regmap import ARENA, AUX, AX
from jit.x64 import registers as x
from jit.x64.encoder import Form, Mem, form

_OPS: Final = {isa.ADD: "lock add", isa.OR: "lock or", isa.AND: "lock and", isa.XOR: "lock xor"}
_OPS_ALL: Final = {**_OPS, isa.ADD | isa.FETCH: "lock xadd", isa.XCHG: "xchg", isa.CMPXCHG: "lock cmpxchg"}
_SINGLE: Final[dict[tuple[int, int], Form]] = {
    (op, size): form(f"{name} m{bits}, r{bits}")
    for op, name in _OPS_ALL.items()
    for size, bits in ((isa.W, 32), (isa.DW, 64))
}
_LOOP: Final[dict[tuple[int, int], Form]] = {
    (op | isa.FETCH, size): form(f"{name} rm{bits}, r{bits}")
    for op, name in ((isa.OR, "or"), (isa.AND, "and"), (isa.XOR, "xor"))
    for size, bits in ((isa.W, 32), (isa.DW, 64))
}
_MOV: Final = {isa.W: form("mov rm32, r32"), isa.DW: form("mov rm64, r64")}
_JNE: Final = form("jne rel8")


def atomic(insn: Insn, mode: Mode) -> bytes:
    """Any atomic operation on ordinary memory."""
    size = insn.code & isa.SIZE_MASK
    if insn.imm == isa.LOAD_ACQ:  # x86 orders loads and stores enough: they are plain
        return memory.load_reg(size, mode.reg(insn.dst), mode.reg(insn.src), insn.off)
    if insn.imm == isa.STORE_REL:
        return memory.store_reg(size, mode.reg(insn.dst), insn.off, mode.reg(insn.src))
    dst, src = mode.reg(insn.dst), mode.reg(insn.src)
    if (insn.imm, size) in _LOOP:
        return _fetch_loop(insn, size, dst, src)
    return _single(insn.imm, size)(Mem(dst, insn.off), src)


def arena_atomic(insn: Insn, mode: Mode) -> bytes:
    """An atomic operation on the arena; the fetching loops do not exist there."""
    size = insn.code & isa.SIZE_MASK
    dst, src = mode.reg(insn.dst), mode.reg(insn.src)
    if insn.imm == isa.LOAD_ACQ:
        return memory.arena_load(size, dst, src, insn.off)
    if insn.imm == isa.STORE_REL:
        return memory.arena_store(size, dst, insn.off, src)
    return _single(insn.imm, size)(Mem(dst, insn.off, ARENA), src)


def _single(op: int, size: int) -> Form:
    if size in (isa.B, isa.H):
        raise CannotLower("1- and 2-byte RMW atomics are not supported")
    try:
        return _SINGLE[op, size]
    except KeyError:
        raise CannotLower(f"unknown atomic operation {op:#x}") from None


def _fetch_loop(insn: Insn, size: int, dst: int, src: int) -> bytes:
    base = AX if dst == x.RAX else dst
    operand = AX if src == x.RAX else src
    loop = b"".join(
        (
            memory.load_reg(size, x.RAX, base, insn.off),
            _MOV[size](AUX, x.RAX),
            _LOOP[insn.imm, size](AUX, operand),
            _SINGLE[isa.CMPXCHG, size](Mem(base, insn.off), AUX),
        )
    )
    back = _JNE(-len(loop) - 2)
    return _MOV[isa.DW](AX, x.RAX) + loop + back + _MOV[size](operand, x.RAX) + _MOV[isa.DW](x.RAX, AX)
