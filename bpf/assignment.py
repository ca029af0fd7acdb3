"""The grammar of assignments: what may stand behind `r1 `. The rest of the instructions is in bpf.statement."""

import re
from dataclasses import replace

from bpf import isa
from bpf.disasm import ALU_OPS, ATOMIC_NAMES, MAP_WORDS, SIGNED_OPS
from bpf.insn import Insn
from bpf.lexer import Cursor
from bpf.operands import (
    Ref,
    Reg,
    Statement,
    access_type,
    at_pc,
    at_reg,
    bare_place,
    branch_target,
    imm32,
    place,
    reg,
    unsigned_type,
)

_SWAP = re.compile(r"(be|le|bswap)(16|32|64)\Z")
_ATOMIC_CALL = re.compile(r"atomic(64)?_(fetch_add|fetch_or|fetch_and|fetch_xor|xchg|cmpxchg)\Z")
_ALU_BY_TEXT = {text: (op, 0) for op, text in ALU_OPS.items() if text.endswith("=") and text != "="}
_ALU_BY_TEXT |= {text: (op, 1) for op, text in SIGNED_OPS.items()}
_ATOMIC_BY_TEXT = {name: op for op, name in ATOMIC_NAMES.items()}


def read_assignment(cur: Cursor, opcode: int | None) -> Statement:
    """An instruction that starts with a register; opcode: what the line's start says it is."""
    dst = reg(cur)
    op = cur.expect("=", *_ALU_BY_TEXT)
    if op == "=":
        return _value(cur, dst, opcode)
    code, off = _ALU_BY_TEXT[op]
    return _binary(cur, dst, code, off)


def _binary(cur: Cursor, dst: Reg, op: int, off: int) -> Statement:
    code = (isa.ALU if dst.narrow else isa.ALU64) | op
    if at_reg(cur):
        return Statement((Insn(code | isa.X, dst.number, reg(cur, dst.narrow).number, off),))
    return Statement((Insn(code, dst.number, 0, off, imm32(cur)),))


def _value(cur: Cursor, dst: Reg, opcode: int | None) -> Statement:
    """What stands behind `rN = `."""
    token = cur.peek()
    if at_reg(cur):
        return _binary(cur, dst, isa.MOV, 0)
    if token.text == "-":
        ahead = Cursor(cur.text, cur.what, cur.line)
        ahead.at = token.at + 1
        if at_reg(ahead):
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


def _same(cur: Cursor, dst: Reg, *, narrow: bool) -> None:
    at = cur.peek_at()
    if reg(cur, narrow).number != dst.number:
        cur.fail("this operation reads and writes the same register", at)


def _number(cur: Cursor, dst: Reg, opcode: int | None) -> Statement:
    at = cur.peek_at()
    value = cur.number("an immediate", isa.S64_MIN)
    long = cur.accept("ll") is not None or opcode == isa.LD_IMM64
    if not long and not isa.S32_MIN <= value <= isa.U32:
        long = True  # as the kernel's log writes 64-bit immediates
    if not long:
        code = (isa.ALU if dst.narrow else isa.ALU64) | isa.MOV
        return Statement((Insn(code, dst.number, imm=isa.sext(value, 32)),))
    if dst.narrow:
        cur.fail("a 64-bit immediate needs an r register", at)
    return wide(dst, 0, value, value >> 32)


def wide(dst: Reg, src: int, low: int, high: int, ref: Ref | None = None) -> Statement:
    """An ld_imm64 with these halves."""
    slots = (Insn(isa.LD_IMM64, dst.number, src, 0, isa.sext(low, 32)), Insn(0, imm=isa.sext(high, 32)))
    return Statement(slots, ref)


def _movsx(cur: Cursor, dst: Reg) -> Statement:
    cur.expect("(")
    at = cur.peek_at()
    bits = int(cur.expect("s8", "s16", "s32")[1:])
    if bits == 32 and dst.narrow:
        cur.fail("a w register has no more than 32 bits to extend to", at)
    cur.expect(")")
    return _binary_reg(cur, dst, bits)


def _binary_reg(cur: Cursor, dst: Reg, off: int) -> Statement:
    code = (isa.ALU if dst.narrow else isa.ALU64) | isa.MOV | isa.X
    return Statement((Insn(code, dst.number, reg(cur, dst.narrow).number, off),))


def _load(cur: Cursor, dst: Reg) -> Statement:
    """`*(u8 *)(r2 +4)`, `*(u8 *)skb[14]` or `*(u8 *)skb[r2 + 14]`."""
    cur.expect("*")
    at = cur.peek_at()
    size, signed = access_type(cur)
    if cur.accept("skb"):
        if dst != Reg(0, False) or signed or size == isa.DW:
            cur.fail("a packet load is to r0 and of u8, u16 or u32", at)
        return _packet(cur, size)
    src, off = place(cur)
    if dst.narrow and (signed or size == isa.DW):
        cur.fail("a load to a w register is of u8, u16 or u32", at)
    mode = isa.MEMSX if signed else isa.MEM
    return Statement((Insn(isa.LDX | mode | size, dst.number, src, off),))


def _packet(cur: Cursor, size: int) -> Statement:
    cur.expect("[")
    if at_reg(cur):
        insn = Insn(isa.LD | isa.IND | size, 0, reg(cur, False).number)
        if cur.at_number():
            cur.accept("+")  # the kernel writes `+ -4`
            insn = replace(insn, imm=imm32(cur))
    else:
        insn = Insn(isa.LD | isa.ABS | size, imm=imm32(cur))
    cur.expect("]")
    return Statement((insn,))


def _percpu(cur: Cursor, dst: Reg) -> Statement:
    for text in ("&", "(", "void", "__percpu", "*", ")", "("):
        cur.expect(text)
    src = reg(cur, False).number
    cur.expect(")")
    return Statement((Insn(isa.ALU64 | isa.MOV | isa.X, dst.number, src, isa.OFF_PERCPU),))


def _named(cur: Cursor, dst: Reg) -> Statement:
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
    return wide(dst, isa.PSEUDO_MAP_FD, 0, 0, Ref("map", token.text, token.at, either=True))


def _addr_space_cast(cur: Cursor, dst: Reg) -> Statement:
    cur.expect("(")
    src = reg(cur, False).number
    cur.expect(",")
    to = cur.number("an address space", 0, 0xFFFF)
    cur.expect(",")
    of = cur.number("an address space", 0, 0xFFFF)
    cur.expect(")")
    imm = isa.sext(to << 16 | of, 32)
    code = isa.ALU64 | isa.MOV | isa.X
    return Statement((Insn(code, dst.number, src, isa.OFF_ADDR_SPACE_CAST, imm),))


def _load_acquire(cur: Cursor, dst: Reg) -> Statement:
    cur.expect("(")
    size = unsigned_type(cur)
    src, off = place(cur)
    cur.expect(")")
    return Statement((Insn(isa.STX | isa.ATOMIC | size, dst.number, src, off, isa.LOAD_ACQ),))


def _atomic(cur: Cursor, dst: Reg, name: str, at: int) -> Statement:
    """The kernel's `atomic64_fetch_add((u64 *)(r1 +0), r2)`, LLVM's `xchg_64(r1 + 0x0, r2)`."""
    known = _ATOMIC_CALL.match(name)
    llvm = {"xchg_64": isa.DW, "cmpxchg_64": isa.DW, "xchg32_32": isa.W, "cmpxchg32_32": isa.W}.get(name)
    if known is None and llvm is None:
        cur.fail(f"unknown operation '{name}'", at)
    cur.expect("(")
    if llvm is None:
        size_at = cur.peek_at()
        size = unsigned_type(cur)
        if size not in (isa.W, isa.DW) or (known is not None and known[1] and size != isa.DW):
            cur.fail(f"{name} is on {'u64' if known and known[1] else 'u32 or u64'}", size_at)
        base, off = place(cur)
    else:
        size = llvm
        base, off = bare_place(cur)
    cur.expect(",")
    kind = known[2] if known else name.partition("_")[0].removesuffix("32")
    if kind == "cmpxchg":
        _same(cur, Reg(0, False), narrow=dst.narrow)
        cur.expect(",")
    src_at = cur.peek_at()
    src = reg(cur, dst.narrow).number
    cur.expect(")")
    if dst.number != (0 if kind == "cmpxchg" else src):
        cur.fail(
            "the old value goes to " + ("r0" if kind == "cmpxchg" else "the register that was added"), src_at
        )
    op = {"xchg": isa.XCHG, "cmpxchg": isa.CMPXCHG}.get(kind)
    if op is None:
        op = _ATOMIC_BY_TEXT[kind.removeprefix("fetch_")] | isa.FETCH
    return Statement((Insn(isa.STX | isa.ATOMIC | size, base, src, off, op),))


def _reference(cur: Cursor, dst: Reg, kind: str, at: int) -> Statement:
    """`map[out]`, `map[out][0]+8`, `map_idx[3]`, `subprog[callback]`, `subprog[pc+5]`, `btf_id[42]`."""
    if dst.narrow:
        cur.fail("an address needs an r register", at)
    cur.expect("[")
    token = cur.peek()
    ref: Ref | None = None
    number = 0
    if kind == "subprog" and (at_pc(cur) or token.kind != "word"):
        number, _ = branch_target(cur, True)
    elif token.kind == "word" and kind in ("map", "map_idx", "subprog"):
        ref = Ref("func" if kind == "subprog" else "map", cur.next().text, token.at)
    else:
        number = imm32(cur, "a name or a number")
    cur.expect("]")
    src, high = _reference_kind(cur, kind, at)
    return wide(dst, src, number, high, ref)


def _reference_kind(cur: Cursor, kind: str, at: int) -> tuple[int, int]:
    """src_reg of the reference, and what its second slot holds."""
    if kind == "subprog":
        return isa.PSEUDO_FUNC, 0
    if kind == "btf_id":
        return isa.PSEUDO_BTF_ID, imm32(cur) if cur.at_number() else 0
    if kind not in MAP_WORDS.values():
        cur.fail(f"unknown reference '{kind}'", at)
    plain = isa.PSEUDO_MAP_FD if kind == "map" else isa.PSEUDO_MAP_IDX
    if not cur.accept("["):
        return plain, 0
    if cur.number("0") != 0:
        cur.fail("only [0] can be the element of a direct reference")
    cur.expect("]")
    return plain + 1, imm32(cur) if cur.at_number() else 0
