"""The grammar of one instruction: a line in the kernel's or LLVM's syntax to instruction slots.

Names (labels, functions, maps, kfuncs) are left open as a `Ref`; who assembles whole texts resolves them.
A line may start as in the verifier's log, `12: (bf) r1 = r2`; the opcode in parentheses then decides what is
ambiguous (`(18) r1 = 0x5` takes two slots, `r1 = 0x5` one).
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from bpf import isa
from bpf.disasm import (
    ALU_OPS,
    ATOMIC_NAMES,
    JUMP_OPS,
    MAP_WORDS,
    PROBE_MODES,
    SIGNED_OPS,
    SIGNED_TYPES,
    TYPES,
)
from bpf.helpers import BY_NAME as HELPERS_BY_NAME
from bpf.insn import Insn
from bpf.lexer import Cursor

# `12: (bf) ` of the verifier's log, `12:	bf 21 00 00 00 00 00 00	` of llvm-objdump
_PREFIX = re.compile(
    r"[ \t]*(?:\d+:[ \t]*)?(?:\(([0-9a-f]{2})\)[ \t]*|([0-9a-f]{2}) (?:[0-9a-f]{2}[ \t]+){7,15})?"
)
_REG = re.compile(r"([rw])(\d|1[0-5])\Z")
_SWAP = re.compile(r"(be|le|bswap)(16|32|64)\Z")
_PC = re.compile(r"pc[ \t]*[-+]")
_ATOMIC_CALL = re.compile(r"atomic(64)?_(fetch_add|fetch_or|fetch_and|fetch_xor|xchg|cmpxchg)\Z")

_ALU_BY_TEXT = {text: (op, 0) for op, text in ALU_OPS.items() if text.endswith("=") and text != "="}
_ALU_BY_TEXT |= {text: (op, 1) for op, text in SIGNED_OPS.items()}
_JUMP_BY_TEXT = {text: op for op, text in JUMP_OPS.items()}
_SIZE_BY_TEXT = {text: (size, False) for size, text in TYPES.items()}
_SIZE_BY_TEXT |= {text: (size, True) for size, text in SIGNED_TYPES.items() if size != isa.DW}
_ATOMIC_BY_TEXT = {name: op for op, name in ATOMIC_NAMES.items()}
_LOCK_BY_TEXT = {ALU_OPS[op]: op for op in ATOMIC_NAMES}

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
class _Reg:
    number: int
    narrow: bool


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
    if _REG.match(token.text):
        return _assignment(cur, opcode)
    reader = _BY_WORD.get(token.text)
    if reader is None:
        cur.fail(f"unknown instruction {token}")
    cur.next()
    return reader(cur)


# ---------------------------------------------------------------- parts


def _reg(cur: Cursor, narrow: bool | None = None) -> _Reg:
    token = cur.peek()
    match = _REG.match(token.text) if token.kind == "word" else None
    if match is None:
        cur.fail(f"expected a register, not {token}")
    reg = _Reg(int(match[2]), match[1] == "w")
    if narrow is not None and reg.narrow != narrow:
        cur.fail(
            f"expected {'w' if narrow else 'r'}{reg.number}, not {token}: both operands have the same width"
        )
    cur.next()
    return reg


def _at_reg(cur: Cursor) -> bool:
    return _REG.match(cur.peek().text) is not None


def _imm32(cur: Cursor, wanted: str = "an immediate") -> int:
    """-2**31 .. 2**32 - 1: the upper half is written by those who think unsigned."""
    return isa.sext(cur.number(wanted, isa.S32_MIN, isa.U32), 32)


def _displacement(cur: Cursor) -> int:
    return cur.number("a displacement", -0x8000, 0x7FFF) if cur.peek().text in ("+", "-") else 0


def _place(cur: Cursor) -> tuple[int, int]:
    """`(r1 +8)`, `(r1 - 0x8)` or `(r1)`: register and displacement."""
    cur.expect("(")
    place = _bare_place(cur)
    cur.expect(")")
    return place


def _bare_place(cur: Cursor) -> tuple[int, int]:
    return _reg(cur, False).number, _displacement(cur)


def _type(cur: Cursor) -> tuple[int, bool]:
    """`(u64 *)`: size bits and whether it is signed."""
    cur.expect("(")
    token = cur.peek()
    if token.text not in _SIZE_BY_TEXT:
        cur.fail(f"expected u8, u16, u32, u64, s8, s16 or s32, not {token}")
    cur.next()
    cur.expect("*")
    cur.expect(")")
    return _SIZE_BY_TEXT[token.text]


def _unsigned_type(cur: Cursor) -> int:
    at = cur.peek_at()
    size, signed = _type(cur)
    if signed:
        cur.fail("this access is never signed", at)
    return size


def _target(cur: Cursor, wide: bool) -> tuple[int, Ref | None]:
    """`pc+2`, `+2`, `-0x1` or a label, with LLVM's `<name>` behind it ignored."""
    token = cur.peek()
    ref: Ref | None = None
    distance = 0
    if token.kind == "word" and not _is_pc(cur):
        cur.next()
        ref = Ref("branch32" if wide else "branch16", token.text, token.at)
    else:
        cur.accept("pc")
        if cur.peek().text not in ("+", "-"):
            cur.fail(f"expected a label or a distance such as pc+2, not {cur.peek()}")
        bits = 31 if wide else 15
        distance = cur.number("the distance", -(1 << bits), (1 << bits) - 1)
    _skip_name(cur)
    return distance, ref


def _is_pc(cur: Cursor) -> bool:
    return _PC.match(cur.text, cur.peek_at()) is not None


def _skip_name(cur: Cursor) -> None:
    if cur.peek().text == "<":
        close = cur.text.find(">", cur.at)
        if close < 0:
            cur.fail("this name has no closing >")
        cur.at = close + 1


# ---------------------------------------------------------------- words


def _goto(cur: Cursor) -> Statement:
    off, ref = _target(cur, False)
    return Statement((Insn(isa.OP_JA, off=off),), ref)


def _gotol(cur: Cursor) -> Statement:
    imm, ref = _target(cur, True)
    return Statement((Insn(isa.OP_GOTOL, imm=imm),), ref)


def _may_goto(cur: Cursor) -> Statement:
    off, ref = _target(cur, False)
    return Statement((Insn(isa.OP_MAY_GOTO, off=off),), ref)


def _gotox(cur: Cursor) -> Statement:
    return Statement((Insn(isa.OP_GOTOX, _reg(cur, False).number),))


def _callx(cur: Cursor) -> Statement:
    return Statement((Insn(isa.OP_CALLX, _reg(cur, False).number),))


def _exit(_: Cursor) -> Statement:
    return Statement((Insn(isa.OP_EXIT),))


def _nospec(_: Cursor) -> Statement:
    return Statement((Insn(isa.OP_NOSPEC),))


def _tail_call(cur: Cursor) -> Statement:
    return Statement((Insn(isa.OP_TAIL_CALL, imm=_imm32(cur, "the slot of a tail call")),))


def _if(cur: Cursor) -> Statement:
    dst = _reg(cur)
    op = _JUMP_BY_TEXT[cur.expect(*_JUMP_BY_TEXT)]
    code = (isa.JMP32 if dst.narrow else isa.JMP) | op
    src = imm = 0
    if _at_reg(cur):
        src = _reg(cur, dst.narrow).number
        code |= isa.X
    else:
        imm = _imm32(cur)
    cur.expect("goto")
    off, ref = _target(cur, False)
    return Statement((Insn(code, dst.number, src, off, imm),), ref)


def _call(cur: Cursor) -> Statement:
    token = cur.peek()
    if token.kind == "number":
        helper = _imm32(cur)
        _skip_name(cur)
        return _call_insn(isa.HELPER_CALL, helper)
    if cur.accept("#"):
        return _call_insn(isa.HELPER_CALL, _imm32(cur, "a helper's number"))
    if token.text in ("+", "-") or _is_pc(cur):
        return _call_insn(isa.PSEUDO_CALL, _target(cur, True)[0])
    name = cur.word("a function")
    if name == "kernel" and cur.accept("-"):
        cur.expect("function")
        name = "kernel-function"
    number = _imm32(cur, "a number") if cur.accept("#") else None
    module = cur.number("a module's index", -0x8000, 0x7FFF) if cur.accept("@") else 0
    _skip_name(cur)
    if name == "unknown" and number is not None:
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
    size = _unsigned_type(cur)
    dst, off = _place(cur)
    cur.expect(",")
    src = _reg(cur).number
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
    dst = _reg(cur, False)
    cur.expect(",")
    src = cur.number("a kind of reference", 0, 15)
    cur.expect(",")
    value = cur.number("an immediate", isa.S64_MIN)
    return _wide(dst, src, value, value >> 32)


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
    size = _unsigned_type(cur)
    dst, off = _place(cur)
    if locked:
        if size not in (isa.W, isa.DW):
            cur.fail("an atomic operation is on u32 or u64", at)
        op = _LOCK_BY_TEXT[cur.expect(*_LOCK_BY_TEXT)]
        return Statement((Insn(isa.STX | isa.ATOMIC | size, dst, _reg(cur).number, off, op),))
    cur.expect("=")
    if _at_reg(cur):
        src = _reg(cur)
        if src.narrow and size == isa.DW:
            cur.fail("a store of u64 takes an r register")
        return Statement((Insn(isa.STX | isa.MEM | size, dst, src.number, off),))
    return Statement((Insn(isa.ST | isa.MEM | size, dst, 0, off, _imm32(cur)),))


# ---------------------------------------------------------------- assignments


def _assignment(cur: Cursor, opcode: int | None) -> Statement:
    dst = _reg(cur)
    op = cur.expect("=", *_ALU_BY_TEXT)
    if op == "=":
        return _value(cur, dst, opcode)
    code, off = _ALU_BY_TEXT[op]
    return _binary(cur, dst, code, off)


def _binary(cur: Cursor, dst: _Reg, op: int, off: int) -> Statement:
    code = (isa.ALU if dst.narrow else isa.ALU64) | op
    if _at_reg(cur):
        return Statement((Insn(code | isa.X, dst.number, _reg(cur, dst.narrow).number, off),))
    return Statement((Insn(code, dst.number, 0, off, _imm32(cur)),))


def _value(cur: Cursor, dst: _Reg, opcode: int | None) -> Statement:
    """What stands behind `rN = `."""
    token = cur.peek()
    if _at_reg(cur):
        return _binary(cur, dst, isa.MOV, 0)
    if token.text == "-":
        ahead = Cursor(cur.text, cur.what, cur.line)
        ahead.at = token.at + 1
        if _at_reg(ahead):
            cur.next()
            _same(cur, dst, narrow=dst.narrow)
            return Statement((Insn((isa.ALU if dst.narrow else isa.ALU64) | isa.NEG, dst.number),))
    if cur.at_number():
        return _number(cur, dst, opcode)
    if token.text == "(":
        return _movsx(cur, dst)
    if token.text == "*":
        return _load(cur, dst)
    if token.text == "&":
        return _percpu(cur, dst)
    if token.kind != "word":
        cur.fail(f"expected a value, not {token}")
    return _named(cur, dst)


def _same(cur: Cursor, dst: _Reg, *, narrow: bool) -> None:
    at = cur.peek_at()
    if _reg(cur, narrow).number != dst.number:
        cur.fail("this operation reads and writes the same register", at)


def _number(cur: Cursor, dst: _Reg, opcode: int | None) -> Statement:
    at = cur.peek_at()
    value = cur.number("an immediate", isa.S64_MIN)
    wide = cur.accept("ll") is not None or opcode == isa.LD_IMM64
    if not wide and not isa.S32_MIN <= value <= isa.U32:
        wide = True  # as the kernel's log writes 64-bit immediates
    if not wide:
        code = (isa.ALU if dst.narrow else isa.ALU64) | isa.MOV
        return Statement((Insn(code, dst.number, imm=isa.sext(value, 32)),))
    if dst.narrow:
        cur.fail("a 64-bit immediate needs an r register", at)
    return _wide(dst, 0, value, value >> 32)


def _wide(dst: _Reg, src: int, low: int, high: int, ref: Ref | None = None) -> Statement:
    slots = (Insn(isa.LD_IMM64, dst.number, src, 0, isa.sext(low, 32)), Insn(0, imm=isa.sext(high, 32)))
    return Statement(slots, ref)


def _movsx(cur: Cursor, dst: _Reg) -> Statement:
    cur.expect("(")
    at = cur.peek_at()
    bits = int(cur.expect("s8", "s16", "s32")[1:])
    if bits == 32 and dst.narrow:
        cur.fail("a w register has no more than 32 bits to extend to", at)
    cur.expect(")")
    return _binary_reg(cur, dst, bits)


def _binary_reg(cur: Cursor, dst: _Reg, off: int) -> Statement:
    code = (isa.ALU if dst.narrow else isa.ALU64) | isa.MOV | isa.X
    return Statement((Insn(code, dst.number, _reg(cur, dst.narrow).number, off),))


def _load(cur: Cursor, dst: _Reg) -> Statement:
    """`*(u8 *)(r2 +4)`, `*(u8 *)skb[14]` or `*(u8 *)skb[r2 + 14]`."""
    cur.expect("*")
    at = cur.peek_at()
    size, signed = _type(cur)
    if cur.accept("skb"):
        if dst != _Reg(0, False) or signed or size == isa.DW:
            cur.fail("a packet load is to r0 and of u8, u16 or u32", at)
        return _packet(cur, size)
    src, off = _place(cur)
    if dst.narrow and (signed or size == isa.DW):
        cur.fail("a load to a w register is of u8, u16 or u32", at)
    mode = isa.MEMSX if signed else isa.MEM
    return Statement((Insn(isa.LDX | mode | size, dst.number, src, off),))


def _packet(cur: Cursor, size: int) -> Statement:
    cur.expect("[")
    if _at_reg(cur):
        insn = Insn(isa.LD | isa.IND | size, 0, _reg(cur, False).number)
        if cur.at_number():
            cur.accept("+")  # the kernel writes `+ -4`
            insn = replace(insn, imm=_imm32(cur))
    else:
        insn = Insn(isa.LD | isa.ABS | size, imm=_imm32(cur))
    cur.expect("]")
    return Statement((insn,))


def _percpu(cur: Cursor, dst: _Reg) -> Statement:
    for text in ("&", "(", "void", "__percpu", "*", ")", "("):
        cur.expect(text)
    src = _reg(cur, False).number
    cur.expect(")")
    return Statement((Insn(isa.ALU64 | isa.MOV | isa.X, dst.number, src, isa.OFF_PERCPU),))


def _named(cur: Cursor, dst: _Reg) -> Statement:
    """Operations with a name, and references to maps, functions and types."""
    token = cur.next()
    if swap := _SWAP.match(token.text):
        _same(cur, dst, narrow=False)
        code = {"le": isa.ALU | isa.END | isa.TO_LE, "be": isa.ALU | isa.END | isa.TO_BE}.get(
            swap[1], isa.ALU64 | isa.END
        )
        return Statement((Insn(code, dst.number, imm=int(swap[2])),))
    if token.text == "addr_space_cast":
        return _addr_space_cast(cur, dst)
    if token.text == "load_acquire":
        return _load_acquire(cur, dst)
    if cur.peek().text == "(":
        return _atomic(cur, dst, token.text, token.at)
    if cur.peek().text == "[":
        return _reference(cur, dst, token.text, token.at)
    if not cur.accept("ll"):
        cur.fail(f"unknown value {token}", token.at)
    if dst.narrow:
        cur.fail("a 64-bit immediate needs an r register", token.at)
    return _wide(dst, isa.PSEUDO_MAP_FD, 0, 0, Ref("map", token.text, token.at, either=True))


def _addr_space_cast(cur: Cursor, dst: _Reg) -> Statement:
    cur.expect("(")
    src = _reg(cur, False).number
    cur.expect(",")
    to = cur.number("an address space", 0, 0xFFFF)
    cur.expect(",")
    of = cur.number("an address space", 0, 0xFFFF)
    cur.expect(")")
    imm = isa.sext(to << 16 | of, 32)
    code = isa.ALU64 | isa.MOV | isa.X
    return Statement((Insn(code, dst.number, src, isa.OFF_ADDR_SPACE_CAST, imm),))


def _load_acquire(cur: Cursor, dst: _Reg) -> Statement:
    cur.expect("(")
    size = _unsigned_type(cur)
    src, off = _place(cur)
    cur.expect(")")
    return Statement((Insn(isa.STX | isa.ATOMIC | size, dst.number, src, off, isa.LOAD_ACQ),))


def _atomic(cur: Cursor, dst: _Reg, name: str, at: int) -> Statement:
    """The kernel's `atomic64_fetch_add((u64 *)(r1 +0), r2)`, LLVM's `xchg_64(r1 + 0x0, r2)`."""
    known = _ATOMIC_CALL.match(name)
    llvm = {"xchg_64": isa.DW, "cmpxchg_64": isa.DW, "xchg32_32": isa.W, "cmpxchg32_32": isa.W}.get(name)
    if known is None and llvm is None:
        cur.fail(f"unknown operation '{name}'", at)
    cur.expect("(")
    if llvm is None:
        size_at = cur.peek_at()
        size = _unsigned_type(cur)
        if size not in (isa.W, isa.DW) or (known is not None and known[1] and size != isa.DW):
            cur.fail(f"{name} is on {'u64' if known and known[1] else 'u32 or u64'}", size_at)
        base, off = _place(cur)
    else:
        size = llvm
        base, off = _bare_place(cur)
    cur.expect(",")
    kind = known[2] if known else name.partition("_")[0].removesuffix("32")
    if kind == "cmpxchg":
        _same(cur, _Reg(0, False), narrow=dst.narrow)
        cur.expect(",")
    src_at = cur.peek_at()
    src = _reg(cur, dst.narrow).number
    cur.expect(")")
    if dst.number != (0 if kind == "cmpxchg" else src):
        cur.fail(
            "the old value goes to " + ("r0" if kind == "cmpxchg" else "the register that was added"), src_at
        )
    op = {"xchg": isa.XCHG, "cmpxchg": isa.CMPXCHG}.get(kind)
    if op is None:
        op = _ATOMIC_BY_TEXT[kind.removeprefix("fetch_")] | isa.FETCH
    return Statement((Insn(isa.STX | isa.ATOMIC | size, base, src, off, op),))


def _reference(cur: Cursor, dst: _Reg, kind: str, at: int) -> Statement:
    """`map[out]`, `map[out][0]+8`, `map_idx[3]`, `subprog[callback]`, `subprog[pc+5]`, `btf_id[42]`."""
    if dst.narrow:
        cur.fail("an address needs an r register", at)
    cur.expect("[")
    token = cur.peek()
    ref: Ref | None = None
    number = 0
    if kind == "subprog" and (_is_pc(cur) or token.kind != "word"):
        number, _ = _target(cur, True)
    elif token.kind == "word" and kind in ("map", "map_idx", "subprog"):
        ref = Ref("func" if kind == "subprog" else "map", cur.next().text, token.at)
    else:
        number = _imm32(cur, "a name or a number")
    cur.expect("]")
    src, high = _reference_kind(cur, kind, at)
    return _wide(dst, src, number, high, ref)


def _reference_kind(cur: Cursor, kind: str, at: int) -> tuple[int, int]:
    """src_reg of the reference, and what its second slot holds."""
    if kind == "subprog":
        return isa.PSEUDO_FUNC, 0
    if kind == "btf_id":
        return isa.PSEUDO_BTF_ID, _imm32(cur) if cur.at_number() else 0
    if kind not in MAP_WORDS.values():
        cur.fail(f"unknown reference '{kind}'", at)
    plain = isa.PSEUDO_MAP_FD if kind == "map" else isa.PSEUDO_MAP_IDX
    if not cur.accept("["):
        return plain, 0
    if cur.number("0") != 0:
        cur.fail("only [0] can be the element of a direct reference")
    cur.expect("]")
    return plain + 1, _imm32(cur) if cur.at_number() else 0
