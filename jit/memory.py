"""Loads and stores, also those of stack arguments in registers. Source: section D.8 of the convention."""

from typing import Final

from bpf import isa
from bpf.insn import Insn
from jit.errors import CannotLower
from jit.mode import Mode
from jit.regmap import ARENA
from jit.x64.encoder import Form, Mem, form

_LOAD: Final[dict[int, Form]] = {
    isa.B: form("movzx r64, m8"),
    isa.H: form("movzx r64, m16"),
    isa.W: form("mov r32, m32"),
    isa.DW: form("mov r64, m64"),
}
_LOAD_SIGNED: Final[dict[int, Form]] = {
    isa.B: form("movsx r64, m8"),
    isa.H: form("movsx r64, m16"),
    isa.W: form("movsxd r64, m32"),
}
# In the arena bytes and halfwords are widened to 32 bits only, one REX bit less than elsewhere.
_LOAD_ARENA: Final[dict[int, Form]] = {
    isa.B: form("movzx r32, m8"),
    isa.H: form("movzx r32, m16"),
    isa.W: form("mov r32, m32"),
    isa.DW: form("mov r64, m64"),
}
_STORE: Final[dict[int, Form]] = {
    isa.B: form("mov m8, r8"),
    isa.H: form("mov m16, r16"),
    isa.W: form("mov m32, r32"),
    isa.DW: form("mov m64, r64"),
}
_STORE_IMM: Final[dict[int, tuple[Form, int]]] = {
    isa.B: (form("mov m8, imm8"), 0xFF),
    isa.H: (form("mov m16, imm16"), 0xFFFF),
    isa.W: (form("mov m32, imm32"), isa.U32),
    isa.DW: (form("mov m64, imm32"), isa.U32),
}
_LFENCE: Final = form("lfence")()

# Modes of a memory access that only fixups make: faults are caught (PROBE), or the arena's base is added (32).
PROBE_MEM: Final = 0x20
PROBE_MEMSX: Final = 0x40
PROBE_MEM32: Final = 0xA0
PROBE_MEM32SX: Final = 0xC0
PROBE_ATOMIC: Final = 0xE0


def load_reg(size: int, dst: int, base: int, off: int) -> bytes:
    """dst = the zero-extended memory at base + off; x86 registers; `size` is isa.B .. isa.DW."""
    return _LOAD[size](dst, Mem(base, off))


def load_signed_reg(size: int, dst: int, base: int, off: int) -> bytes:
    """dst = the sign-extended memory at base + off."""
    return _LOAD_SIGNED[size](dst, Mem(base, off))


def store_reg(size: int, base: int, off: int, src: int) -> bytes:
    """Memory at base + off = src."""
    return _STORE[size](Mem(base, off), src)


def store_number(size: int, base: int, off: int, imm: int) -> bytes:
    """Memory at base + off = imm, cut or sign-extended to the size."""
    store_form, mask = _STORE_IMM[size]
    return store_form(Mem(base, off), imm & mask)


def load(insn: Insn, mode: Mode) -> bytes:
    """dst = *(u8 .. u64 *)(src + off)."""
    return load_reg(insn.code & isa.SIZE_MASK, mode.reg(insn.dst), mode.reg(insn.src), insn.off)


def load_signed(insn: Insn, mode: Mode) -> bytes:
    """dst = *(s8 .. s32 *)(src + off)."""
    size = insn.code & isa.SIZE_MASK
    if size == isa.DW:
        raise CannotLower(f"unknown opcode {insn.code:02x}")
    return load_signed_reg(size, mode.reg(insn.dst), mode.reg(insn.src), insn.off)


def store(insn: Insn, mode: Mode) -> bytes:
    """*(u8 .. u64 *)(dst + off) = src."""
    return store_reg(insn.code & isa.SIZE_MASK, mode.reg(insn.dst), insn.off, mode.reg(insn.src))


def store_imm(insn: Insn, mode: Mode) -> bytes:
    """*(u8 .. u64 *)(dst + off) = imm."""
    return store_number(insn.code & isa.SIZE_MASK, mode.reg(insn.dst), insn.off, insn.imm)


def nospec(_insn: Insn, _mode: Mode) -> bytes:
    """The barrier against speculation that fixups insert."""
    return _LFENCE


def arena_load(size: int, dst: int, base: int, off: int) -> bytes:
    """dst = the zero-extended memory at base + r12 + off."""
    return _LOAD_ARENA[size](dst, Mem(base, off, ARENA))


def arena_load_signed(size: int, dst: int, base: int, off: int) -> bytes:
    """dst = the sign-extended memory at base + r12 + off."""
    return _LOAD_SIGNED[size](dst, Mem(base, off, ARENA))


def arena_store(size: int, base: int, off: int, src: int) -> bytes:
    """Memory at base + r12 + off = src."""
    return _STORE[size](Mem(base, off, ARENA), src)


def arena_store_imm(size: int, base: int, off: int, imm: int) -> bytes:
    """Memory at base + r12 + off = imm."""
    store_form, mask = _STORE_IMM[size]
    return store_form(Mem(base, off, ARENA), imm & mask)
