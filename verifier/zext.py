"""Which 32-bit compare-exchanges need the upper half of r0 cleared behind them.

x86 leaves the upper half of rax alone when the compare succeeds, so the kernel adds `w0 = w0` where that half is read
later (bpf_opt_subreg_zext_lo32_rnd_hi32 of kernel/bpf/fixups.c; what counts as a read of 64 bits: is_reg64 of
kernel/bpf/verifier.c). It notes the reads while it follows paths; here a data flow over the code that is left says the same.
"""

from collections.abc import Sequence

from bpf import isa
from bpf.insn import Insn
from verifier.subprogs import is_jump, jump_target

CMPXCHG32 = isa.STX | isa.ATOMIC | isa.W


def needed(insns: Sequence[Insn]) -> frozenset[int]:
    """Slots of the compare-exchanges behind which the upper half of r0 may be read. insns: without dead code."""
    swaps = [at for at, insn in enumerate(insns) if insn.code == CMPXCHG32 and insn.imm == isa.CMPXCHG]
    return frozenset(at for at in swaps if _read_after(insns, at))


def _read_after(insns: Sequence[Insn], start: int) -> bool:
    """Whether some path from behind `start` reads all of r0 before it is written."""
    pending, done = [start + 1], set()
    while pending:
        at = pending.pop()
        if at in done or not 0 <= at < len(insns):
            continue
        done.add(at)
        insn = insns[at]
        if _reads_upper(insn):
            return True
        if insn.code == isa.OP_EXIT or _writes(insn):
            continue
        if is_jump(insn):
            pending.append(jump_target(insns, at))
            if insn.code in (isa.OP_JA, isa.OP_GOTOL):
                continue
        pending.append(at + 2 if insn.code == isa.LD_IMM64 else at + 1)
    return False


def _reads_upper(insn: Insn) -> bool:
    """Whether an instruction reads r0 with all of its 64 bits."""
    reads_dst, reads_src = insn.dst == isa.R0, insn.src == isa.R0
    match insn.cls:
        case isa.ALU64:
            by_register = bool(insn.code & isa.X) and insn.op not in (isa.NEG, isa.END)
            return (reads_dst and insn.op != isa.MOV) or (by_register and reads_src)
        case isa.ALU:
            return reads_dst and insn.op == isa.END and insn.imm == 64
        case isa.JMP:
            return _jump_reads(insn)
        case isa.LDX:
            return reads_src
        case isa.ST:
            return reads_dst
        case isa.STX:
            return reads_dst or (reads_src and insn.size == 8) or _swaps_r0(insn)
        case isa.LD:
            return insn.mode == isa.IND and reads_src
        case _:
            return False


def _jump_reads(insn: Insn) -> bool:
    if insn.code == isa.OP_EXIT:
        return True
    if insn.op in (isa.CALL, isa.JA, isa.JCOND):
        return insn.code == isa.OP_GOTOX and insn.dst == isa.R0
    return insn.dst == isa.R0 or (bool(insn.code & isa.X) and insn.src == isa.R0)


def _swaps_r0(insn: Insn) -> bool:
    return insn.mode == isa.ATOMIC and insn.imm == isa.CMPXCHG and insn.size == 8


def _writes(insn: Insn) -> bool:
    """Whether r0 is new behind an instruction, its upper half included."""
    if insn.is_call:
        return True
    match insn.cls:
        case isa.ALU | isa.ALU64 | isa.LDX:
            return insn.dst == isa.R0
        case isa.LD:
            return insn.dst == isa.R0 or insn.mode in (isa.ABS, isa.IND)
        case isa.STX:
            if insn.mode != isa.ATOMIC:
                return False
            return insn.imm == isa.CMPXCHG or (bool(insn.imm & isa.FETCH) and insn.src == isa.R0)
        case _:
            return False
