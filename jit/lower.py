"""One BPF instruction to native code, by table; results are remembered.

Most instructions become the same bytes wherever they stand, so a function is lowered by looking its instructions up.
What depends on position or frame comes back as a `Jump` or a `Special`, for the compiler to finish.
"""

from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Final

from bpf import isa
from bpf.insn import Insn
from jit import alu, atomics, jumps, memory
from jit.errors import CannotLower
from jit.jumps import Jump
from jit.mode import Mode
from jit.regmap import ARG6, FP


class Special(Enum):
    """Instructions that need more than themselves."""

    LD_IMM64 = "its second slot"
    SECOND_SLOT = "nothing: the upper half of an ld_imm64"
    CALL = "a relocation, and the frame"
    EXIT = "the frame, and whether it is the first"
    TAIL_CALL = "the frame"
    GOTOX = "perhaps a relocation"
    PERCPU = "a relocation: the base of this CPU"
    STACK_ARG = "the frame: an outgoing argument in memory"
    PROBE = "an entry in the exception table"

    __hash__ = object.__hash__  # identity: the one of Enum is slow


Lowered = bytes | Jump | Special
_Lower = Callable[[Insn, Mode], Lowered]

_SIZES: Final = (isa.B, isa.H, isa.W, isa.DW)
_STACK_ARG_LOAD: Final = isa.LDX | isa.MEM | isa.DW
_ST_DW: Final = isa.ST | isa.MEM | isa.DW
_STX_DW: Final = isa.STX | isa.MEM | isa.DW


def _load_dw(insn: Insn, mode: Mode) -> Lowered:
    """A load, or an incoming stack argument: 6 is in r9, those behind it stand above the return address."""
    if insn.src != isa.REG_PARAMS:
        return memory.load(insn, mode)
    if not isa.is_stack_arg_load(insn.code, insn.src, insn.off):
        raise CannotLower("R11 is invalid")
    dst = mode.reg(insn.dst)
    if insn.off == 8:
        return alu.mov64(dst, ARG6)
    return memory.load_reg(isa.DW, dst, FP, insn.off)


def _store_dw(insn: Insn, mode: Mode) -> Lowered:
    """A store, or an outgoing stack argument: 6 goes to r9, the others into the outgoing area."""
    if insn.dst != isa.REG_PARAMS:
        return memory.store(insn, mode) if insn.code == _STX_DW else memory.store_imm(insn, mode)
    if not isa.is_stack_arg_store(insn.code, insn.dst, insn.off):
        raise CannotLower("R11 is invalid")
    if insn.off != -8:
        if insn.code == _STX_DW:
            mode.reg(insn.src)  # refuses what is no register
        return Special.STACK_ARG
    if insn.code == _STX_DW:
        return alu.mov64(ARG6, mode.reg(insn.src))
    return alu.mov_imm64(ARG6, insn.imm)


def _mov64(insn: Insn, mode: Mode) -> Lowered:
    return Special.PERCPU if insn.off == isa.OFF_PERCPU else alu.mov(insn, mode)


def _always(special: Special) -> _Lower:
    def lower(_insn: Insn, _mode: Mode) -> Lowered:
        return special

    return lower


def _alu_rows() -> dict[int, _Lower]:
    rows: dict[int, _Lower] = {}
    for cls in (isa.ALU, isa.ALU64):
        for source in (isa.K, isa.X):
            for op in (isa.ADD, isa.SUB, isa.OR, isa.AND, isa.XOR):
                rows[cls | op | source] = alu.simple
            for op in (isa.LSH, isa.RSH, isa.ARSH):
                rows[cls | op | source] = alu.shift
            for op in (isa.DIV, isa.MOD):
                rows[cls | op | source] = alu.div_mod
            rows[cls | isa.MUL | source] = alu.mul
            rows[cls | isa.MOV | source] = alu.mov
        rows[cls | isa.NEG] = alu.neg
    rows[isa.ALU64 | isa.MOV | isa.X] = _mov64
    rows[isa.ALU | isa.END | isa.TO_LE] = rows[isa.ALU | isa.END | isa.TO_BE] = alu.end
    rows[isa.ALU64 | isa.END | isa.TO_LE] = alu.end
    return rows


def _memory_rows() -> dict[int, _Lower]:
    rows: dict[int, _Lower] = {}
    probe = _always(Special.PROBE)
    for size in _SIZES:
        rows[isa.LDX | isa.MEM | size] = memory.load
        rows[isa.STX | isa.MEM | size] = memory.store
        rows[isa.ST | isa.MEM | size] = memory.store_imm
        rows[isa.STX | isa.ATOMIC | size] = atomics.atomic
        for cls, mode in (
            (isa.LDX, memory.PROBE_MEM),
            (isa.LDX, memory.PROBE_MEM32),
            (isa.STX, memory.PROBE_MEM32),
            (isa.ST, memory.PROBE_MEM32),
            (isa.STX, memory.PROBE_ATOMIC),
        ):
            rows[cls | mode | size] = probe
    for size in (isa.B, isa.H, isa.W):
        rows[isa.LDX | isa.MEMSX | size] = memory.load_signed
        rows[isa.LDX | memory.PROBE_MEMSX | size] = probe
        rows[isa.LDX | memory.PROBE_MEM32SX | size] = probe
    rows[_STACK_ARG_LOAD] = _load_dw
    rows[_STX_DW] = rows[_ST_DW] = _store_dw
    rows[isa.OP_NOSPEC] = memory.nospec
    return rows


def _jump_rows() -> dict[int, _Lower]:
    rows: dict[int, _Lower] = {}
    for cls in (isa.JMP, isa.JMP32):
        for op in (
            isa.JEQ, isa.JGT, isa.JGE, isa.JSET, isa.JNE, isa.JSGT,
            isa.JSGE, isa.JLT, isa.JLE, isa.JSLT, isa.JSLE,
        ):  # fmt: skip
            rows[cls | op | isa.K] = rows[cls | op | isa.X] = jumps.conditional
        rows[cls | isa.JA] = jumps.goto
    rows[isa.OP_GOTOX] = _always(Special.GOTOX)
    rows[isa.OP_CALL] = _always(Special.CALL)
    rows[isa.OP_EXIT] = _always(Special.EXIT)
    rows[isa.OP_TAIL_CALL] = _always(Special.TAIL_CALL)
    rows[isa.LD_IMM64] = _always(Special.LD_IMM64)
    rows[0] = _always(Special.SECOND_SLOT)
    return rows


_ROWS: Final[dict[int, _Lower]] = {**_alu_rows(), **_memory_rows(), **_jump_rows()}

_REMEMBERED: Final = 1 << 17  # entries of one Lowering; beyond that it starts anew


class Lowering(dict[Insn, Lowered]):
    """`lowering[insn]` is the lowered instruction in one mode. Raises CannotLower when there is none."""

    __slots__ = ("mode",)

    def __init__(self, mode: Mode) -> None:
        super().__init__()
        self.mode = mode

    def __missing__(self, insn: Insn) -> Lowered:
        lower = _ROWS.get(insn.code)
        if lower is None:
            raise CannotLower(f"unknown opcode {insn.code:02x}")
        if len(self) >= _REMEMBERED:
            self.clear()
        result = self[insn] = lower(insn, self.mode)
        return result


@lru_cache(maxsize=64)
def lowering(mode: Mode) -> Lowering:
    """The Lowering of a mode, shared by all programs of a process."""
    return Lowering(mode)
