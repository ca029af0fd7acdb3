"""Which registers an instruction reads, writes and makes unreadable, for the analyses of the first layer.

Only names of registers: what an instruction computes is written elsewhere. Register sets are bit masks, bit k is rk.
"""

from bpf import isa
from bpf.insn import Insn

CALLER_SAVED = 0b11_1111  # r0..r5
ARGS = 0b11_1110  # r1..r5


def _bit(register: int) -> int:
    return 1 << register


def reads(insn: Insn, nargs: int = 0) -> tuple[int, ...]:
    """Registers that must hold something, in the order in which the kernel looks at them.

    nargs: arguments that a call takes in registers. Register 11 is no register and never among them; r0 of an exit
    is left to the caller, since only the main program's is read.
    """
    match insn.cls:
        case isa.ALU | isa.ALU64:
            return _alu_reads(insn)
        case isa.JMP | isa.JMP32:
            return _jump_reads(insn, nargs)
        case isa.LDX:
            return (insn.src,) if insn.src != isa.REG_PARAMS else ()
        case isa.ST:
            return (insn.dst,) if insn.dst != isa.REG_PARAMS else ()
        case isa.STX:
            return _stx_reads(insn)
        case _:
            return _ld_reads(insn)


def _alu_reads(insn: Insn) -> tuple[int, ...]:
    if insn.op in (isa.NEG, isa.END):
        return (insn.dst,)
    from_register = bool(insn.code & isa.X)
    if insn.op == isa.MOV:
        return (insn.src,) if from_register else ()
    return (insn.src, insn.dst) if from_register else (insn.dst,)


def _jump_reads(insn: Insn, nargs: int) -> tuple[int, ...]:
    if insn.op == isa.CALL:
        return tuple(range(1, nargs + 1))
    if insn.code == isa.OP_GOTOX:
        return (insn.dst,)
    if insn.op in (isa.JA, isa.EXIT, isa.JCOND):
        return ()
    return (insn.src, insn.dst) if insn.code & isa.X else (insn.dst,)


def _stx_reads(insn: Insn) -> tuple[int, ...]:
    if insn.mode == isa.ATOMIC and insn.imm == isa.LOAD_ACQ:
        return (insn.src,)
    both = (insn.src,) if insn.dst == isa.REG_PARAMS else (insn.src, insn.dst)
    if insn.mode == isa.ATOMIC and insn.imm == isa.CMPXCHG:
        return (*both, isa.R0)
    return both


def _ld_reads(insn: Insn) -> tuple[int, ...]:
    if insn.mode == isa.ABS:
        return (6,)
    if insn.mode == isa.IND:
        return (6, insn.src)
    return ()


def writes(insn: Insn) -> int:
    """Mask of the registers that hold something new afterwards. Of a call that is r0."""
    match insn.cls:
        case isa.ALU | isa.ALU64 | isa.LDX:
            return _bit(insn.dst)
        case isa.JMP | isa.JMP32:
            return _bit(isa.R0) if insn.op == isa.CALL else 0
        case isa.STX if insn.mode == isa.ATOMIC:
            return _atomic_writes(insn)
        case isa.LD:
            return _bit(insn.dst) if insn.code == isa.LD_IMM64 else _bit(isa.R0)
        case _:
            return 0


def _atomic_writes(insn: Insn) -> int:
    if insn.imm == isa.LOAD_ACQ:
        return _bit(insn.dst)
    if insn.imm == isa.CMPXCHG:
        return _bit(isa.R0)
    if insn.imm != isa.STORE_REL and insn.imm & isa.FETCH:
        return _bit(insn.src)
    return 0


def clobbers(insn: Insn) -> int:
    """Mask of the registers that hold nothing afterwards (before `writes` is applied)."""
    if insn.is_call:
        return CALLER_SAVED
    if insn.cls == isa.LD and insn.mode in (isa.ABS, isa.IND):
        return CALLER_SAVED
    return 0
