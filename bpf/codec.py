"""Bytes to instructions and back, and whether they are instructions. The only place that knows the byte layout."""

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from bpf import isa
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.opcodes import FORMS

_SLOT = struct.Struct("<BBhi")


@lru_cache(maxsize=1 << 16)
def _decode_slot(slot: bytes) -> Insn:
    code, regs, off, imm = _SLOT.unpack(slot)
    return Insn(code, regs & 15, regs >> 4, off, imm)


def decode(data: bytes, what: str = "program") -> tuple[Insn, ...]:
    """All 8-byte slots of `data`, little-endian. Raises InputError when the length is no multiple of 8."""
    if len(data) % isa.INSN_SIZE:
        raise InputError(
            what,
            f"byte {len(data) - len(data) % 8}",
            f"{len(data) % 8} bytes left over: not a whole instruction",
        )
    return tuple(_decode_slot(data[at : at + 8]) for at in range(0, len(data), 8))


def encode(insns: Iterable[Insn]) -> bytes:
    """The bytes of `insns`, 8 a slot."""
    return b"".join(_SLOT.pack(i.code, i.src << 4 | i.dst, i.off, i.imm) for i in insns)


# ---------------------------------------------------------------- what the kernel refuses before it looks at the flow

_KNOWN = frozenset(form.code for form in FORMS if form.loadable)
_SPACE_CASTS = (1, 1 << 16)  # destination << 16 | source: from space 1 to 0 and back
_SWAP_BITS = (16, 32, 64)


def structural_error(insns: Sequence[Insn], i: int) -> str | None:
    """The kernel's message (no newline) about the slot `i`, or None; the errno is always EINVAL.

    This is the pass over ALL instructions, dead ones too (check_and_resolve_insns of 7.3): call it for i = 0, 1, ...
    in order, but for the second slot of an ld_imm64 that was found good. Not in here, because they need more than
    the instructions: references of ld_imm64 with src 1..6 (map, BTF, function), which the kernel resolves at this
    very place, behind a good shape. Before this pass the kernel has already checked the subprograms: "jump out of
    range ..." and "last insn is not an exit or jmp" come first, even for jumps with unknown opcodes. What the kernel
    checks only when it reaches an instruction is in `operand_error`. Source: 13,000 malformed instructions
    given to a real 7.3.4 kernel.
    """
    insn = insns[i]
    if insn.dst >= isa.MAX_BPF_REG and not isa.is_stack_arg_store(insn.code, insn.dst, insn.off):
        return f"R{insn.dst} is invalid"
    if insn.src >= isa.MAX_BPF_REG and not isa.is_stack_arg_load(insn.code, insn.src, insn.off):
        return f"R{insn.src} is invalid"
    if insn.code == isa.LD_IMM64:
        return _wide_error(insns, i)
    if insn.code not in _KNOWN:
        return f"unknown opcode {insn.code:02x}"
    return _RESERVED[insn.cls](insn)


def operand_error(insn: Insn) -> str | None:
    """The message about an operand that the kernel checks only when it reaches the instruction; EINVAL, too.

    "div by zero" and "invalid shift %d" come after the checks of the registers ("R1 !read_ok"); "BPF_ATOMIC uses
    invalid atomic opcode %02x" and "invalid atomic operand size" come before them.
    """
    if insn.cls in (isa.ALU, isa.ALU64) and not insn.code & isa.X:
        if insn.op in (isa.DIV, isa.MOD) and insn.imm == 0:
            return "div by zero"
        width = 64 if insn.cls == isa.ALU64 else 32
        if insn.op in (isa.LSH, isa.RSH, isa.ARSH) and not 0 <= insn.imm < width:
            return f"invalid shift {insn.imm}"
    if insn.cls == isa.STX and insn.mode == isa.ATOMIC:
        return _atomic_error(insn)
    return None


def _wide_error(insns: Sequence[Insn], i: int) -> str | None:
    insn = insns[i]
    nxt = insns[i + 1] if i + 1 < len(insns) else None
    if nxt is None or nxt.code or nxt.dst or nxt.src or nxt.off:
        return "invalid bpf_ld_imm64 insn"
    if insn.off:
        return "BPF_LD_IMM64 uses reserved fields"
    by_map = insn.src in (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_IDX)
    if insn.src > isa.PSEUDO_MAP_IDX_VALUE or (by_map and nxt.imm):
        return "unrecognized bpf_ld_imm64 insn"
    return None


def _reserved_alu(insn: Insn) -> str | None:
    register = insn.code & isa.X
    if insn.op == isa.NEG:
        return "BPF_NEG uses reserved fields" if insn.src or insn.off or insn.imm else None
    if insn.op == isa.END:
        bad = insn.src or insn.off or insn.imm not in _SWAP_BITS
        return "BPF_END uses reserved fields" if bad else None
    if insn.op == isa.MOV:
        return _reserved_mov(insn)
    unused = insn.imm if register else insn.src
    signed = insn.off == 1 and insn.op in (isa.DIV, isa.MOD)
    return "BPF_ALU uses reserved fields" if unused or (insn.off and not signed) else None


def _reserved_mov(insn: Insn) -> str | None:
    if not insn.code & isa.X:
        return "BPF_MOV uses reserved fields" if insn.src or insn.off else None
    if insn.cls == isa.ALU64 and insn.off == isa.OFF_ADDR_SPACE_CAST:
        if insn.imm in _SPACE_CASTS:
            return None
        return "addr_space_cast insn can only convert between address space 1 and 0"
    widths = (0, 8, 16, 32) if insn.cls == isa.ALU64 else (0, 8, 16)
    return "BPF_MOV uses reserved fields" if insn.imm or insn.off not in widths else None


def _reserved_ld(insn: Insn) -> str | None:
    bad = insn.dst or insn.off or (insn.mode == isa.ABS and insn.src)
    return "BPF_LD_[ABS|IND] uses reserved fields" if bad else None


def _reserved_ldx(insn: Insn) -> str | None:
    return "BPF_LDX uses reserved fields" if insn.imm else None


def _reserved_st(insn: Insn) -> str | None:
    return "BPF_ST uses reserved fields" if insn.src else None


def _reserved_stx(insn: Insn) -> str | None:
    return "BPF_STX uses reserved fields" if insn.imm and insn.mode == isa.MEM else None


def _reserved_jump(insn: Insn) -> str | None:
    match insn.code:
        case isa.OP_CALL:
            bad = (
                insn.dst
                or insn.src > isa.PSEUDO_KFUNC_CALL
                or (insn.off and insn.src != isa.PSEUDO_KFUNC_CALL)
            )
            return "BPF_CALL uses reserved fields" if bad else None
        case isa.OP_EXIT:
            # the kernel does not look at off here
            return "BPF_EXIT uses reserved fields" if insn.dst or insn.src or insn.imm else None
        case isa.OP_JA:
            return "BPF_JA uses reserved fields" if insn.dst or insn.src or insn.imm else None
        case isa.OP_GOTOL:
            return "BPF_JA uses reserved fields" if insn.dst or insn.src or insn.off else None
        case isa.OP_GOTOX:
            return "BPF_JA|BPF_X uses reserved fields" if insn.src or insn.off or insn.imm else None
        case isa.OP_MAY_GOTO:
            bad = insn.dst or insn.src or insn.imm
            return f"invalid may_goto imm {insn.imm}" if bad else None
    unused = insn.imm if insn.code & isa.X else insn.src
    return "BPF_JMP/JMP32 uses reserved fields" if unused else None


_RESERVED: dict[int, Callable[[Insn], str | None]] = {
    isa.LD: _reserved_ld,
    isa.LDX: _reserved_ldx,
    isa.ST: _reserved_st,
    isa.STX: _reserved_stx,
    isa.ALU: _reserved_alu,
    isa.ALU64: _reserved_alu,
    isa.JMP: _reserved_jump,
    isa.JMP32: _reserved_jump,
}
_ATOMIC_OPS = frozenset(
    op | fetch for op in (isa.ADD, isa.OR, isa.AND, isa.XOR) for fetch in (0, isa.FETCH)
) | {
    isa.XCHG,
    isa.CMPXCHG,
    isa.LOAD_ACQ,
    isa.STORE_REL,
}


def _atomic_error(insn: Insn) -> str | None:
    if insn.imm not in _ATOMIC_OPS:
        return f"BPF_ATOMIC uses invalid atomic opcode {insn.imm & isa.U32:02x}"
    narrow = insn.code & isa.SIZE_MASK in (isa.B, isa.H)
    return "invalid atomic operand size" if narrow and insn.imm not in (isa.LOAD_ACQ, isa.STORE_REL) else None
