"""What one native instruction reads and writes: registers, and how it moves rsp. Decoded once for each address."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import capstone

from jit.decoder import new_decoder

CALL, RET, JUMP, IMPLICIT, OTHER = "call", "ret", "jump", "implicit", "other"

_LEGACY = {"a": "rax", "b": "rbx", "c": "rcx", "d": "rdx"}
_WHOLE: Final = {
    **{f"{width}{letter}x": full for letter, full in _LEGACY.items() for width in ("", "e", "r")},
    **{f"{letter}{half}": full for letter, full in _LEGACY.items() for half in "lh"},
    **{f"{width}{name}": f"r{name}" for name in ("si", "di", "bp", "sp") for width in ("", "e", "r")},
    **{f"{name}l": f"r{name}" for name in ("si", "di", "bp", "sp")},
    **{f"r{number}{width}": f"r{number}" for number in range(8, 16) for width in ("", "d", "w", "b")},
}
_IMPLICIT: Final = frozenset(("push", "pop", "leave", "pushfq", "popfq", "enter"))


@dataclass(frozen=True, slots=True)
class Use:
    """kind: CALL, RET, JUMP (unconditional), IMPLICIT (moves rsp and the stack together), OTHER.

    reads, writes: 64-bit registers whose value matters, or is set. memory: has an operand in memory. target: of a direct
    call or jump; through: the register that a call goes through. size: in bytes. copied: the register that a plain mov copies
    whole, to another one or to memory. pushed: the register that a push saves.
    """

    kind: str
    reads: frozenset[str]
    writes: frozenset[str]
    memory: bool
    size: int
    target: int | None = None
    through: str = ""
    copied: str = ""
    pushed: str = ""


NOTHING: Final = Use(OTHER, frozenset(), frozenset(), False, 1)


@lru_cache(maxsize=1)
def _decoder() -> Any:
    return new_decoder(detail=True)


def use_of(code: bytes, addr: int) -> Use:
    """The instruction that `code` begins with, NOTHING where it is none."""
    insn = next(_decoder().disasm(code, addr, 1), None)
    if insn is None:
        return NOTHING
    name = insn.mnemonic
    read, written = insn.regs_access()
    reads = {_WHOLE.get(insn.reg_name(reg), "") for reg in read} - {""}
    writes = {_WHOLE.get(insn.reg_name(reg), "") for reg in written} - {""}
    operands = insn.operands
    memory = any(operand.type == capstone.x86.X86_OP_MEM for operand in operands) and name not in (
        "lea",
        "nop",
    )
    if name in ("xor", "sub") and insn.op_str.partition(", ")[0] == insn.op_str.partition(", ")[2]:
        reads = set()  # clears a register, whatever it held
    if name in ("nop", "endbr64") or name.startswith("push"):
        reads = set()  # saving a register is no use of its value
    if name == "mov" and writes <= {"r10", "r11"} and not memory:
        reads = set()  # scratch of one BPF instruction: it saves a register, or will use it at once
    last = _WHOLE.get(insn.reg_name(operands[-1].reg), "") if operands and _is_register(operands[-1]) else ""
    return Use(
        _kind(name),
        frozenset(reads),
        frozenset(writes),
        memory,
        insn.size,
        _target(name, operands),
        last if name == CALL else "",
        last if name == "mov" and operands[-1].size == 8 else "",
        last if name == "push" else "",
    )


def _is_register(operand: Any) -> bool:
    return bool(operand.type == capstone.x86.X86_OP_REG)


def _kind(name: str) -> str:
    if name in (CALL, RET):
        return name
    if name == "jmp":
        return JUMP
    return IMPLICIT if name in _IMPLICIT else OTHER


def _target(name: str, operands: Any) -> int | None:
    direct = name in (CALL, "jmp") and operands[0].type == capstone.x86.X86_OP_IMM
    return int(operands[0].imm) % (1 << 64) if direct else None
