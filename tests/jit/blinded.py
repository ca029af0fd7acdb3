"""What a recording of blinded code says of the random numbers, and of the addresses, that the kernel took.

How many instructions hide one is said here a second time, apart from jit.blinding.
"""

from bpf import isa
from bpf.codec import decode
from bpf.insn import Insn
from bpf.verified import Verified
from jit.image import Layout

_ALU_OPS = {0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x90, 0xA0, 0xB0}
_JUMP_OPS = {0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0}


def _size(insn: Insn) -> int:
    """Instructions that stand for this one, an ld_imm64 in two halves."""
    if insn.code == isa.LD_IMM64:
        return 4
    if insn.code == 0:
        return 3
    if isa.REG_AX in (insn.dst, insn.src) or (
        insn.code & isa.X and insn.cls not in (isa.LD, isa.LDX, isa.ST, isa.STX)
    ):
        return 1
    hidden = (
        (insn.cls in (isa.ALU, isa.ALU64) and insn.op in _ALU_OPS)
        or (insn.cls in (isa.JMP, isa.JMP32) and insn.op in _JUMP_OPS)
        or (insn.cls == isa.ST and insn.mode in (isa.MEM, 0xA0))
    )
    return 3 if hidden else 1


def secrets(verified: Verified, xlated: str) -> tuple[list[int], Layout]:
    """The random numbers as `jit.blind` takes them, and the addresses of all maps and symbols that are loaded."""
    new = decode(bytes.fromhex(xlated))
    numbers: list[int] = []
    maps = [0] * len(verified.program.maps)
    values = list(maps)
    symbols = dict.fromkeys(verified.symbols.values(), 0)
    at = slot = 0
    while slot < len(verified.insns):
        insn = verified.insns[slot]
        if insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_FUNC:
            at, slot = at + 2, slot + 2
            continue
        size = _size(insn)
        is_zero = insn.code & 0xF7 in (0xB4, 0xB7) and not insn.code & isa.X and insn.imm == 0
        if is_zero and slot not in verified.symbols:
            size = 1
        numbers.append(new[at + 1].imm & isa.U32 if size > 1 else 0)
        held = (new[at].imm ^ new[at + 1].imm) & isa.U32 if size > 1 else 0
        if insn.code == isa.LD_IMM64:
            low = (new[at + size].imm ^ new[at + size + 1].imm) & isa.U32
            address = held << 32 | low
            if insn.src in (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_IDX):
                maps[insn.imm] = address
            elif insn.src in (isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX_VALUE):
                values[insn.imm] = address - (verified.insns[slot + 1].imm & isa.U32)
            elif slot in verified.symbols:
                symbols[verified.symbols[slot]] = address
        elif slot in verified.symbols and size > 1:
            symbols[verified.symbols[slot]] = isa.sext(held, 32) & isa.U64
        at, slot = at + size, slot + 1
    throws = any(sub.is_exception_boundary for sub in verified.subprogs)
    callback = any(sub.is_exception_cb for sub in verified.subprogs)
    assert len(new) - at == (2 if throws and not callback else 0)  # two are those of the hidden callback
    return numbers, Layout((), symbols, tuple(maps), tuple(values))
