"""Parts of an instruction's text: registers, immediates, places in memory, branch targets."""

import re
from dataclasses import dataclass
from typing import Literal

from bpf import isa
from bpf.disasm import SIGNED_TYPES, TYPES
from bpf.insn import Insn
from bpf.lexer import Cursor

_REG = re.compile(r"([rw])(\d|1[0-5])\Z")
_PC = re.compile(r"pc[ \t]*[-+]")
_SIZE_BY_TEXT = {text: (size, False) for size, text in TYPES.items()}
_SIZE_BY_TEXT |= {text: (size, True) for size, text in SIGNED_TYPES.items() if size != isa.DW}

RefKind = Literal["branch16", "branch32", "call", "func", "map"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A name in an instruction. at: its index in the line.

    kind: where the answer goes: "branch16" distance in off, "branch32" distance in imm, "call" and "func" function
    (or kfunc) in imm, "map" index in imm. "symbol" of LLVM's `r1 = name ll` is "func" or "map": see `either`.
    """

    kind: RefKind
    name: str
    at: int
    either: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """One or two slots, and the name in them that is still open."""

    insns: tuple[Insn, ...]
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Reg:
    """r0..r15 or, narrow, w0..w15."""

    number: int
    narrow: bool


def reg(cur: Cursor, narrow: bool | None = None) -> Reg:
    """Takes a register; narrow: the width that it must have."""
    token = cur.peek()
    match = _REG.match(token.text) if token.kind == "word" else None
    if match is None:
        cur.fail(f"expected a register, not {token}")
    reg = Reg(int(match[2]), match[1] == "w")
    if narrow is not None and reg.narrow != narrow:
        cur.fail(
            f"expected {'w' if narrow else 'r'}{reg.number}, not {token}: both operands have the same width"
        )
    cur.next()
    return reg


def at_reg(cur: Cursor) -> bool:
    """Whether a register is next."""
    return _REG.match(cur.peek().text) is not None


def imm32(cur: Cursor, wanted: str = "an immediate") -> int:
    """-2**31 .. 2**32 - 1: the upper half is written by those who think unsigned."""
    return isa.sext(cur.number(wanted, isa.S32_MIN, isa.U32), 32)


def _displacement(cur: Cursor) -> int:
    return cur.number("a displacement", -0x8000, 0x7FFF) if cur.peek().text in ("+", "-") else 0


def place(cur: Cursor) -> tuple[int, int]:
    """`(r1 +8)`, `(r1 - 0x8)` or `(r1)`: register and displacement."""
    cur.expect("(")
    place = bare_place(cur)
    cur.expect(")")
    return place


def bare_place(cur: Cursor) -> tuple[int, int]:
    """`r1 + 8` without parentheses."""
    return reg(cur, False).number, _displacement(cur)


def access_type(cur: Cursor) -> tuple[int, bool]:
    """`(u64 *)`: size bits and whether it is signed."""
    cur.expect("(")
    token = cur.peek()
    if token.text not in _SIZE_BY_TEXT:
        cur.fail(f"expected u8, u16, u32, u64, s8, s16 or s32, not {token}")
    cur.next()
    cur.expect("*")
    cur.expect(")")
    return _SIZE_BY_TEXT[token.text]


def unsigned_type(cur: Cursor) -> int:
    """Size bits of `(u64 *)`, which must not be signed here."""
    at = cur.peek_at()
    size, signed = access_type(cur)
    if signed:
        cur.fail("this access is never signed", at)
    return size


def branch_target(cur: Cursor, wide: bool) -> tuple[int, Ref | None]:
    """`pc+2`, `+2`, `-0x1` or a label, with LLVM's `<name>` behind it ignored."""
    token = cur.peek()
    ref: Ref | None = None
    distance = 0
    if token.kind == "word" and not at_pc(cur):
        cur.next()
        ref = Ref("branch32" if wide else "branch16", token.text, token.at)
    else:
        cur.accept("pc")
        if cur.peek().text not in ("+", "-"):
            cur.fail(f"expected a label or a distance such as pc+2, not {cur.peek()}")
        bits = 31 if wide else 15
        distance = cur.number("the distance", -(1 << bits), (1 << bits) - 1)
    skip_name(cur)
    return distance, ref


def at_pc(cur: Cursor) -> bool:
    """Whether `pc+` or `pc-` is next."""
    return _PC.match(cur.text, cur.peek_at()) is not None


def skip_name(cur: Cursor) -> None:
    """Skips LLVM's `<name>`."""
    if cur.peek().text == "<":
        close = cur.text.find(">", cur.at)
        if close < 0:
            cur.fail("this name has no closing >")
        cur.at = close + 1
