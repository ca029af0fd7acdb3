"""Loads and stores whose faults the kernel catches. Source: section D.8 of the convention (PROBE_MEM, PROBE_MEM32).

PROBE_MEM reads through a pointer that may be wrong: an address outside kernel memory gives 0 at once, any other may
fault and gives 0 then. PROBE_MEM32 works on the arena: 32-bit addresses above the base in r12.
"""

from typing import Final

from bpf import isa
from bpf.insn import Insn
from jit import alu, atomics, memory
from jit.emitted import Emitted
from jit.mode import Mode
from jit.regmap import AUX, AX
from jit.x64 import registers as x
from jit.x64.encoder import form

_ADD32: Final = form("add rm64, imm32")
_SUB: Final = form("sub rm64, r64")
_CMP: Final = form("cmp rm64, r64")
_JA: Final = form("ja rel8")
_JMP8: Final = form("jmp rel8")

_VSYSCALL: Final = 0xFFFF_FFFF_FF60_0000
_SIGNED: Final = (memory.PROBE_MEMSX, memory.PROBE_MEM32SX)


def probe(insn: Insn, mode: Mode) -> Emitted:
    """An instruction of one of the probing modes, with its entry in the exception table."""
    if insn.mode in (memory.PROBE_MEM, memory.PROBE_MEMSX) and insn.cls == isa.LDX:
        return _checked_load(insn, mode)
    code = _arena(insn, mode)
    reg = _loaded(insn)
    clears = "" if reg is None else x.NAMES64[mode.reg(reg)]
    return Emitted(code, extable=[(0, len(code), clears)])


def _loaded(insn: Insn) -> int | None:
    """The BPF register that an access of the arena loads, which is 0 after a fault; None where it only stores."""
    if insn.cls == isa.LDX:
        return insn.dst
    if insn.mode != memory.PROBE_ATOMIC or insn.imm == isa.STORE_REL:
        return None
    if insn.imm == isa.LOAD_ACQ:
        return insn.dst
    if insn.imm == isa.CMPXCHG:
        return isa.R0
    return insn.src if insn.imm & isa.FETCH else None


def _arena(insn: Insn, mode: Mode) -> bytes:
    size = insn.code & isa.SIZE_MASK
    dst = mode.reg(insn.dst)
    if insn.cls == isa.LDX:
        load = memory.arena_load_signed if insn.mode in _SIGNED else memory.arena_load
        return load(size, dst, mode.reg(insn.src), insn.off)
    if insn.cls == isa.ST:
        return memory.arena_store_imm(size, dst, insn.off, insn.imm)
    if insn.mode == memory.PROBE_ATOMIC:
        return atomics.arena_atomic(insn, mode)
    return memory.arena_store(size, dst, insn.off, mode.reg(insn.src))


def _checked_load(insn: Insn, mode: Mode) -> Emitted:
    dst, src = mode.reg(insn.dst), mode.reg(insn.src)
    load_from = memory.load_signed_reg if insn.mode in _SIGNED else memory.load_reg
    load = load_from(insn.code & isa.SIZE_MASK, dst, src, insn.off)
    # TASK_SIZE_MAX + PAGE_SIZE is 2 to the power of the user address bits
    limit = (1 << (56 if mode.profile.la57 else 47)) - _VSYSCALL & isa.U64
    otherwise = alu.mov_imm32(dst, 0, signed=False) + _JMP8(len(load))
    check = b"".join(
        (
            alu.mov_imm64(AX, _VSYSCALL),
            alu.mov64(AUX, src),
            _ADD32(AUX, insn.off) if insn.off else b"",
            _SUB(AUX, AX),
            alu.mov_imm64(AX, limit),
            _CMP(AUX, AX),
            _JA(len(otherwise)),
        )
    )
    at = len(check) + len(otherwise)
    return Emitted(check + otherwise + load, extable=[(at, len(load), x.NAMES64[dst])])
