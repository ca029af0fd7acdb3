"""The grammar of one instruction: a line in the kernel's or LLVM's syntax to instruction slots.

Names (labels, functions, maps, kfuncs) are left open as a `Ref`; who assembles whole texts resolves them.
A line may start as in the verifier's log, `12: (bf) r1 = r2`; the opcode in parentheses then decides what is
ambiguous (`(18) r1 = 0x5` takes two slots, `r1 = 0x5` one).
"""

import re
from dataclasses import replace

from bpf import isa
from bpf.assignment import read_assignment, wide
from bpf.disasm import ALU_OPS, ATOMIC_NAMES, JUMP_OPS, PROBE_MODES
from bpf.helpers import BY_NAME as HELPERS_BY_NAME
from bpf.insn import Insn
from bpf.lexer import Cursor
from bpf.operands import (
    Ref,
    Statement,
    at_pc,
    at_reg,
    branch_target,
    imm32,
    place,
    reg,
    skip_name,
    unsigned_type,
)

# `12: (bf) ` of the verifier's log, `12:	bf 21 00 00 00 00 00 00	` of llvm-objdump
_PREFIX = re.compile(
    r"[ \t]*(?:\d+:[ \t]*)?(?:\(([0-9a-f]{2})\)[ \t]*|([0-9a-f]{2}) (?:[0-9a-f]{2}[ \t]+){7,15})?",
    re.ASCII,
)

_JUMP_BY_TEXT = {text: op for op, text in JUMP_OPS.items()}
_LOCK_BY_TEXT = {ALU_OPS[op]: op for op in ATOMIC_NAMES}


def read_statement(cur: Cursor) -> Statement:
    """The instruction on the rest of the line. Raises InputError with line and column."""
    prefix = _PREFIX.match(cur.text, cur.at)
    opcode = None
    if prefix is not None:
        cur.at = prefix.end()
        code = prefix[1] or prefix[2]
        opcode = int(code, 16) if code else None
    start = cur.peek_at()
    statement = _statement(cur, opcode)
    cur.end()
    if opcode is not None:
        statement = _agree(cur, start, statement, opcode)
    return statement


def _agree(cur: Cursor, start: int, statement: Statement, opcode: int) -> Statement:
    """The instruction must be the one that the line's start promises."""
    if statement.insns[0].code != opcode:
        cur.fail(f"this is opcode {statement.insns[0].code:02x}, not {opcode:02x}", start)
    return statement


def _statement(cur: Cursor, opcode: int | None) -> Statement:
    token = cur.peek()
    if token.text in ("*", "lock"):
        return _store(cur)
    if token.kind != "word":
        cur.fail(f"expected an instruction, not {token}")
    if at_reg(cur):
        return read_assignment(cur, opcode)
    reader = _BY_WORD.get(token.text)
    if reader is None:
        cur.fail(f"unknown instruction {token}")
    cur.next()
    return reader(cur)


# ---------------------------------------------------------------- words


def _goto(cur: Cursor) -> Statement:
    off, ref = branch_target(cur, False)
    return Statement((Insn(isa.OP_JA, off=off),), ref)


def _gotol(cur: Cursor) -> Statement:
    imm, ref = branch_target(cur, True)
    return Statement((Insn(isa.OP_GOTOL, imm=imm),), ref)


def _may_goto(cur: Cursor) -> Statement:
    off, ref = branch_target(cur, False)
    return Statement((Insn(isa.OP_MAY_GOTO, off=off),), ref)


def _gotox(cur: Cursor) -> Statement:
    return Statement((Insn(isa.OP_GOTOX, reg(cur, False).number),))


def _callx(cur: Cursor) -> Statement:
    return Statement((Insn(isa.OP_CALLX, reg(cur, False).number),))


def _exit(_: Cursor) -> Statement:
    return Statement((Insn(isa.OP_EXIT),))


def _nospec(_: Cursor) -> Statement:
    return Statement((Insn(isa.OP_NOSPEC),))


def _tail_call(cur: Cursor) -> Statement:
    return Statement((Insn(isa.OP_TAIL_CALL, imm=imm32(cur, "the slot of a tail call")),))


def _if(cur: Cursor) -> Statement:
    dst = reg(cur)
    op = _JUMP_BY_TEXT[cur.expect(*_JUMP_BY_TEXT)]
    code = (isa.JMP32 if dst.narrow else isa.JMP) | op
    src = imm = 0
    if at_reg(cur):
        src = reg(cur, dst.narrow).number
        code |= isa.X
    else:
        imm = imm32(cur)
    cur.expect("goto")
    off, ref = branch_target(cur, False)
    return Statement((Insn(code, dst.number, src, off, imm),), ref)


def _call(cur: Cursor) -> Statement:
    token = cur.peek()
    if token.kind == "number":
        helper = imm32(cur)
        skip_name(cur)
        return _call_insn(isa.HELPER_CALL, helper)
    if cur.accept("#"):
        return _call_insn(isa.HELPER_CALL, imm32(cur, "a helper's number"))
    if token.text in ("+", "-") or at_pc(cur):
        return _call_insn(isa.PSEUDO_CALL, branch_target(cur, True)[0])
    name = cur.word("a function")
    if name == "kernel" and cur.accept("-"):
        cur.expect("function")
        name = "kernel-function"
    number = imm32(cur, "a number") if cur.accept("#") else None
    module = cur.number("a module's index", -0x8000, 0x7FFF) if cur.accept("@") else 0
    skip_name(cur)
    if name in ("unknown", "bpf_unspec") and number is not None:
        return _call_insn(isa.HELPER_CALL, number)
    if name == "kernel-function":
        return _call_insn(isa.PSEUDO_KFUNC_CALL, number or 0, module)
    if number is None:
        return Statement((Insn(isa.OP_CALL),), Ref("call", name, token.at))
    helper_row = HELPERS_BY_NAME.get(name)
    if helper_row is not None:
        if helper_row.id != number:
            cur.fail(f"{name} is helper {helper_row.id}, not {number}", token.at)
        return _call_insn(isa.HELPER_CALL, number)
    kfunc = Insn(isa.OP_CALL, 0, isa.PSEUDO_KFUNC_CALL, module, number)
    return Statement((kfunc,), Ref("call", name, token.at))


def _call_insn(kind: int, imm: int, off: int = 0) -> Statement:
    return Statement((Insn(isa.OP_CALL, 0, kind, off, imm),))


def _store_release(cur: Cursor) -> Statement:
    cur.expect("(")
    size = unsigned_type(cur)
    dst, off = place(cur)
    cur.expect(",")
    src = reg(cur).number
    cur.expect(")")
    return Statement((Insn(isa.STX | isa.ATOMIC | size, dst, src, off, isa.STORE_REL),))


def _probe(cur: Cursor) -> Statement:
    """A load that a fixup guarded: `probe r1 = *(u64 *)(r2 +0)`."""
    return _guarded(cur, {isa.MEM: 0x20, isa.MEMSX: 0x40}, (isa.LDX,), "a load")


def _arena(cur: Cursor) -> Statement:
    """An access that a fixup bound to the arena: `arena *(u32 *)(r1 +0) = r2`."""
    modes = {isa.MEM: 0xA0, isa.MEMSX: 0xC0, isa.ATOMIC: 0xE0}
    return _guarded(cur, modes, (isa.LDX, isa.ST, isa.STX), "a memory access")


def _guarded(cur: Cursor, modes: dict[int, int], classes: tuple[int, ...], wanted: str) -> Statement:
    at = cur.peek_at()
    insn = _statement(cur, None).insns[0]
    mode = modes.get(insn.mode)
    if insn.cls not in classes or mode is None or mode not in PROBE_MODES:
        cur.fail(f"expected {wanted}", at)
    return Statement((replace(insn, code=insn.code & ~isa.MODE_MASK | mode),))


def _ld_pseudo(cur: Cursor) -> Statement:
    """LLVM's `ld_pseudo r1, 0x1, 0x5`: any ld_imm64 by its src and value."""
    dst = reg(cur, False)
    cur.expect(",")
    src = cur.number("a kind of reference", 0, 15)
    cur.expect(",")
    value = cur.number("an immediate", isa.S64_MIN)
    return wide(dst, src, value, value >> 32)


_BY_WORD = {
    "ld_pseudo": _ld_pseudo,
    "goto": _goto,
    "gotol": _gotol,
    "gotox": _gotox,
    "may_goto": _may_goto,
    "if": _if,
    "call": _call,
    "callx": _callx,
    "exit": _exit,
    "store_release": _store_release,
    "nospec": _nospec,
    "tail_call": _tail_call,
    "probe": _probe,
    "arena": _arena,
}


# ---------------------------------------------------------------- stores


def _store(cur: Cursor) -> Statement:
    locked = cur.accept("lock") is not None
    cur.expect("*")
    at = cur.peek_at()
    size = unsigned_type(cur)
    dst, off = place(cur)
    if locked:
        if size not in (isa.W, isa.DW):
            cur.fail("an atomic operation is on u32 or u64", at)
        op = _LOCK_BY_TEXT[cur.expect(*_LOCK_BY_TEXT)]
        return Statement((Insn(isa.STX | isa.ATOMIC | size, dst, reg(cur).number, off, op),))
    cur.expect("=")
    if at_reg(cur):
        src = reg(cur)
        if src.narrow and size == isa.DW:
            cur.fail("a store of u64 takes an r register")
        return Statement((Insn(isa.STX | isa.MEM | size, dst, src.number, off),))
    return Statement((Insn(isa.ST | isa.MEM | size, dst, 0, off, imm32(cur)),))
