"""Jumps: what stands in front of them, and their two sizes. Source: section D.9 of the convention."""

from dataclasses import dataclass
from typing import Final

from bpf import isa
from bpf.insn import Insn
from jit.mode import Mode
from jit.x64.encoder import Form, form

_CMP: Final = {isa.JMP: form("cmp rm64, r64"), isa.JMP32: form("cmp rm32, r32")}
_TEST: Final = {isa.JMP: form("test rm64, r64"), isa.JMP32: form("test rm32, r32")}
_CMP8: Final = {isa.JMP: form("cmp rm64, imm8"), isa.JMP32: form("cmp rm32, imm8")}
_CMP32: Final = {isa.JMP: form("cmp rm64, imm32"), isa.JMP32: form("cmp rm32, imm32")}
_TEST32: Final = {isa.JMP: form("test rm64, imm32"), isa.JMP32: form("test rm32, imm32")}

_CONDITIONS: Final = {
    isa.JEQ: "je",
    isa.JNE: "jne",
    isa.JSET: "jne",
    isa.JGT: "ja",
    isa.JLT: "jb",
    isa.JGE: "jae",
    isa.JLE: "jbe",
    isa.JSGT: "jg",
    isa.JSLT: "jl",
    isa.JSGE: "jge",
    isa.JSLE: "jle",
}
_SHORT: Final[dict[int, Form]] = {op: form(f"{name} rel8") for op, name in _CONDITIONS.items()}
_NEAR: Final[dict[int, Form]] = {op: form(f"{name} rel32") for op, name in _CONDITIONS.items()}
_JMP_SHORT: Final = form("jmp rel8")
_JMP_NEAR: Final = form("jmp rel32")


@dataclass(frozen=True, slots=True, eq=False)
class Jump:
    """A jump before its size is known.

    head: the comparison in front. short, near: its two forms, 2 bytes and near_size bytes long. distance: in BPF
    instructions from the next one. vanishes: an unconditional jump to the next instruction is left out.
    """

    head: bytes
    short: Form
    near: Form
    near_size: int
    distance: int
    vanishes: bool

    @property
    def self_loop(self) -> bool:
        """A `goto -1`, always written as a jump of -2 bytes: fixups fill dead code with it."""
        return self.vanishes and self.distance == -1


def conditional(insn: Insn, mode: Mode) -> Jump:
    """`if dst OP src/imm goto off`, 64 or 32 bits."""
    cls, op = insn.cls, insn.op
    dst = mode.reg(insn.dst)
    if insn.code & isa.X:
        head = (_TEST if op == isa.JSET else _CMP)[cls](dst, mode.reg(insn.src))
    elif op == isa.JSET:
        head = _TEST32[cls](dst, insn.imm)
    elif insn.imm == 0:
        head = _TEST[cls](dst, dst)
    elif -128 <= insn.imm <= 127:
        head = _CMP8[cls](dst, insn.imm)
    else:
        head = _CMP32[cls](dst, insn.imm)
    return Jump(head, _SHORT[op], _NEAR[op], 6, insn.off, vanishes=False)


def goto(insn: Insn, _mode: Mode) -> Jump:
    """`goto off` and `gotol imm`."""
    distance = insn.off if insn.cls == isa.JMP else insn.imm
    return Jump(b"", _JMP_SHORT, _JMP_NEAR, 5, distance, vanishes=True)


LATER_EXIT: Final = Jump(b"", _JMP_SHORT, _JMP_NEAR, 5, 0, vanishes=False)  # to the code of the first exit
