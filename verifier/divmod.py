"""Divisions that cannot fault: what bpf_do_misc_fixups puts in the place of div and mod by a register.

The x86 instruction traps on a zero divisor and on MIN / -1; BPF defines both. Nothing else is rewritten here.
"""

from bpf import isa
from bpf.insn import Insn


def patch_division(insn: Insn) -> tuple[Insn, ...] | None:
    """The instructions that replace `insn`, or None when it stays as it is. Jumps inside are relative."""
    if insn.cls not in (isa.ALU, isa.ALU64) or insn.op not in (isa.DIV, isa.MOD):
        return None
    if not insn.code & isa.X:
        return _by_constant(insn)
    wide = insn.cls == isa.ALU64
    if insn.off == 1:
        return _signed_div(insn, wide=wide) if insn.op == isa.DIV else _signed_mod(insn, wide=wide)
    return _unsigned_div(insn, wide=wide) if insn.op == isa.DIV else _unsigned_mod(insn, wide=wide)


def _by_constant(insn: Insn) -> tuple[Insn, ...] | None:
    """Only a signed division by -1 needs care: it is a negation, its remainder 0."""
    if insn.off != 1 or insn.imm != -1:
        return None
    if insn.op == isa.DIV:
        return (Insn(insn.cls | isa.NEG, insn.dst),)
    return (_zero32(insn.dst),)


def _signed_div(insn: Insn, *, wide: bool) -> tuple[Insn, ...]:
    alu, jmp = _classes(wide=wide)
    return (
        Insn(isa.ALU64 | isa.MOV | isa.X, isa.REG_AX, insn.src),
        Insn(alu | isa.ADD, isa.REG_AX, imm=1),  # 0 and -1 are the divisors that now are at most 1
        Insn(jmp | isa.JGT, isa.REG_AX, off=4, imm=1),
        Insn(jmp | isa.JEQ, isa.REG_AX, off=1, imm=0),
        Insn(alu | isa.MOV, insn.dst, imm=0),
        Insn(alu | isa.NEG, insn.dst),
        Insn(isa.OP_JA, off=1),
        insn,
    )


def _signed_mod(insn: Insn, *, wide: bool) -> tuple[Insn, ...]:
    alu, jmp = _classes(wide=wide)
    patch = (
        Insn(isa.ALU64 | isa.MOV | isa.X, isa.REG_AX, insn.src),
        Insn(alu | isa.ADD, isa.REG_AX, imm=1),
        Insn(jmp | isa.JGT, isa.REG_AX, off=3, imm=1),
        Insn(jmp | isa.JEQ, isa.REG_AX, off=3 if wide else 4, imm=1),
        _zero32(insn.dst),
        Insn(isa.OP_JA, off=1),
        insn,
    )
    return patch if wide else patch + _truncate(insn.dst)


def _unsigned_div(insn: Insn, *, wide: bool) -> tuple[Insn, ...]:
    _, jmp = _classes(wide=wide)
    return (
        Insn(jmp | isa.JNE, insn.src, off=2, imm=0),
        Insn(isa.ALU | isa.XOR | isa.X, insn.dst, insn.dst),
        Insn(isa.OP_JA, off=1),
        insn,
    )


def _unsigned_mod(insn: Insn, *, wide: bool) -> tuple[Insn, ...]:
    _, jmp = _classes(wide=wide)
    patch = (Insn(jmp | isa.JEQ, insn.src, off=1 if wide else 2, imm=0), insn)
    return patch if wide else patch + _truncate(insn.dst)


def _classes(*, wide: bool) -> tuple[int, int]:
    return (isa.ALU64, isa.JMP) if wide else (isa.ALU, isa.JMP32)


def _zero32(register: int) -> Insn:
    return Insn(isa.ALU | isa.MOV, register, imm=0)


def _truncate(register: int) -> tuple[Insn, ...]:
    """x % 0 is x: of 32 bits, with the upper half cleared."""
    return (Insn(isa.OP_JA, off=1), Insn(isa.ALU | isa.MOV | isa.X, register, register))
