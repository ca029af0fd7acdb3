"""Arithmetic: edge cases worked out by hand from RFC 9669, and random operands against a second formulation."""

import ctypes
import operator
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import isa
from bpf.insn import Insn
from tests.emu.interp_kit import r0

MIN64 = 0x8000_0000_0000_0000
MIN32 = 0x8000_0000
ONES = 0xFFFF_FFFF_FFFF_FFFF
ONES32 = 0xFFFF_FFFF
MIX = 0x0123_4567_89AB_CDEF

# (statement on r1 and r2, r1 before, r2 before, r1 after)
CASES = [
    # addition, subtraction, multiplication wrap; the 32-bit forms clear the upper half
    ("r1 += r2", ONES, 1, 0),
    ("r1 += r2", MIN64, MIN64, 0),
    ("w1 += w2", ONES, 1, 0),
    ("w1 += w2", 0xAAAA_AAAA_0000_0001, 0xBBBB_BBBB_0000_0002, 3),
    ("r1 += -1", 0, 0, ONES),
    ("w1 += -1", 0, 0, ONES32),
    ("r1 -= r2", 0, 1, ONES),
    ("w1 -= w2", 0, 1, ONES32),
    ("r1 -= -1", 5, 0, 6),
    ("r1 -= -2147483648", 0, 0, 0x8000_0000),
    ("w1 -= -2147483648", 0, 0, MIN32),
    ("r1 *= r2", 0x1_0000_0001, 0x1_0000_0001, 0x2_0000_0001),
    ("r1 *= r2", ONES, ONES, 1),
    ("w1 *= w2", 0x1_0000, 0x1_0000, 0),
    ("r1 *= -3", 5, 0, 0xFFFF_FFFF_FFFF_FFF1),
    ("w1 *= -3", 5, 0, 0xFFFF_FFF1),
    # unsigned division and remainder; by zero they give 0 and the dividend
    ("r1 /= r2", MIX, 0, 0),
    ("r1 %= r2", MIX, 0, MIX),
    ("w1 /= w2", MIX, 0, 0),
    ("w1 %= w2", MIX, 0, 0x89AB_CDEF),
    ("w1 /= w2", MIX, 0xFFFF_FFFF_0000_0000, 0),
    ("w1 %= w2", MIX, 0xFFFF_FFFF_0000_0000, 0x89AB_CDEF),
    ("r1 /= r2", ONES, 2, 0x7FFF_FFFF_FFFF_FFFF),
    ("r1 /= r2", MIN64, ONES, 0),
    ("r1 %= r2", MIN64, ONES, MIN64),
    ("w1 /= w2", MIN32, ONES32, 0),
    ("w1 %= w2", MIN32, ONES32, MIN32),
    ("r1 /= -1", ONES, 0, 1),  # the immediate is 2^64 - 1
    ("r1 %= -1", ONES, 0, 0),
    ("r1 /= -2", ONES, 0, 1),
    ("w1 /= -2", ONES, 0, 1),
    ("w1 %= -2", ONES, 0, 1),
    ("w1 /= 3", 0xFFFF_FFFF_0000_0007, 0, 2),
    ("w1 %= 3", 0xFFFF_FFFF_0000_0007, 0, 1),
    # signed division truncates toward zero, the remainder has the sign of the dividend
    ("r1 s/= r2", MIN64, ONES, MIN64),
    ("r1 s%= r2", MIN64, ONES, 0),
    ("w1 s/= w2", MIN32, ONES32, MIN32),
    ("w1 s%= w2", MIN32, ONES32, 0),
    ("r1 s/= -1", MIN64, 0, MIN64),
    ("r1 s%= -1", MIN64, 0, 0),
    ("w1 s/= -1", MIN32, 0, MIN32),
    ("w1 s%= -1", MIN32, 0, 0),
    ("r1 s/= r2", MIX, 0, 0),
    ("r1 s%= r2", MIX, 0, MIX),
    ("r1 s%= r2", ONES, 0, ONES),
    ("w1 s/= w2", MIX, 0, 0),
    ("w1 s%= w2", MIX, 0, 0x89AB_CDEF),
    ("r1 s/= r2", 0xFFFF_FFFF_FFFF_FFF9, 2, 0xFFFF_FFFF_FFFF_FFFD),  # -7 / 2 = -3
    ("r1 s%= r2", 0xFFFF_FFFF_FFFF_FFF9, 2, ONES),  # -7 % 2 = -1
    ("r1 s/= r2", 7, 0xFFFF_FFFF_FFFF_FFFE, 0xFFFF_FFFF_FFFF_FFFD),  # 7 / -2 = -3
    ("r1 s%= r2", 7, 0xFFFF_FFFF_FFFF_FFFE, 1),  # 7 % -2 = 1
    ("r1 s/= r2", 0xFFFF_FFFF_FFFF_FFF9, 0xFFFF_FFFF_FFFF_FFFE, 3),  # -7 / -2 = 3
    ("w1 s/= w2", 0xFFFF_FFF9, 2, 0xFFFF_FFFD),
    ("w1 s%= w2", 0xFFFF_FFF9, 2, ONES32),
    ("w1 s/= w2", 0x7FFF_FFFF_0000_0007, 0x1_FFFF_FFFE, 0xFFFF_FFFD),
    ("w1 s%= -2", 7, 0, 1),
    # logic; an immediate is extended by sign first
    ("r1 |= r2", 0xF0, 0x0F, 0xFF),
    ("r1 |= -256", 1, 0, 0xFFFF_FFFF_FFFF_FF01),
    ("w1 |= -256", 1, 0, 0xFFFF_FF01),
    ("r1 &= -256", ONES, 0, 0xFFFF_FFFF_FFFF_FF00),
    ("w1 &= -256", ONES, 0, 0xFFFF_FF00),
    ("r1 &= 255", MIX, 0, 0xEF),
    ("w1 &= w2", ONES, 0xFFFF_FFFF_0000_FFFF, 0xFFFF),
    ("r1 ^= -1", MIX, 0, 0xFEDC_BA98_7654_3210),
    ("w1 ^= -1", MIX, 0, 0x7654_3210),
    ("w1 ^= w2", MIX, MIX, 0),
    # shifts by a register use its low 6 or 5 bits
    ("r1 <<= r2", MIX, 0, MIX),
    ("r1 <<= r2", 3, 31, 0x1_8000_0000),
    ("r1 <<= r2", 3, 32, 0x3_0000_0000),
    ("r1 <<= r2", 3, 63, MIN64),
    ("r1 <<= r2", MIX, 64, MIX),
    ("r1 <<= r2", 3, 255, MIN64),
    ("w1 <<= w2", MIX, 0, 0x89AB_CDEF),
    ("w1 <<= w2", 3, 31, MIN32),
    ("w1 <<= w2", MIX, 32, 0x89AB_CDEF),
    ("w1 <<= w2", 3, 63, MIN32),
    ("w1 <<= w2", MIX, 64, 0x89AB_CDEF),
    ("w1 <<= w2", 3, 255, MIN32),
    ("r1 >>= r2", MIX, 0, MIX),
    ("r1 >>= r2", MIN64, 31, 0x1_0000_0000),
    ("r1 >>= r2", MIN64, 32, 0x8000_0000),
    ("r1 >>= r2", MIN64, 63, 1),
    ("r1 >>= r2", MIX, 64, MIX),
    ("r1 >>= r2", MIN64, 255, 1),
    ("w1 >>= w2", MIX, 0, 0x89AB_CDEF),
    ("w1 >>= w2", 0xFFFF_FFFF_8000_0000, 31, 1),
    ("w1 >>= w2", MIX, 32, 0x89AB_CDEF),
    ("w1 >>= w2", 0xFFFF_FFFF_8000_0000, 63, 1),
    ("w1 >>= w2", 0xFFFF_FFFF_8000_0000, 255, 1),
    ("r1 s>>= r2", MIN64, 0, MIN64),
    ("r1 s>>= r2", MIN64, 31, 0xFFFF_FFFF_0000_0000),
    ("r1 s>>= r2", MIN64, 32, 0xFFFF_FFFF_8000_0000),
    ("r1 s>>= r2", MIN64, 63, ONES),
    ("r1 s>>= r2", MIN64, 64, MIN64),
    ("r1 s>>= r2", MIN64, 255, ONES),
    ("r1 s>>= r2", 0x7FFF_FFFF_FFFF_FFFF, 63, 0),
    ("w1 s>>= w2", MIN32, 0, MIN32),
    ("w1 s>>= w2", MIN32, 31, ONES32),
    ("w1 s>>= w2", MIN32, 32, MIN32),
    ("w1 s>>= w2", MIN32, 63, ONES32),
    ("w1 s>>= w2", MIN32, 64, MIN32),
    ("w1 s>>= w2", MIN32, 255, ONES32),
    ("w1 s>>= w2", 0xFFFF_FFFF_7000_0000, 28, 7),
    ("r1 <<= 63", 3, 0, MIN64),
    ("r1 s>>= 63", MIN64, 0, ONES),
    ("w1 s>>= 31", MIN32, 0, ONES32),
    ("w1 <<= 0", MIX, 0, 0x89AB_CDEF),
    # negation and moves
    ("r1 = -r1", 1, 0, ONES),
    ("r1 = -r1", MIN64, 0, MIN64),
    ("w1 = -w1", 1, 0, ONES32),
    ("w1 = -w1", 0xFFFF_FFFF_0000_0000, 0, 0),
    ("r1 = r2", 0, MIX, MIX),
    ("w1 = w2", 0, MIX, 0x89AB_CDEF),
    ("w1 = w1", MIX, 0, 0x89AB_CDEF),
    ("r1 = -1", 0, 0, ONES),
    ("w1 = -1", 0, 0, ONES32),
    ("r1 = (s8)r2", 0, 0x80, 0xFFFF_FFFF_FFFF_FF80),
    ("r1 = (s8)r2", 0, 0xFFFF_FF7F, 0x7F),
    ("r1 = (s16)r2", 0, 0x8000, 0xFFFF_FFFF_FFFF_8000),
    ("r1 = (s16)r2", 0, 0xFFFF_7FFF, 0x7FFF),
    ("r1 = (s32)r2", 0, MIN32, 0xFFFF_FFFF_8000_0000),
    ("r1 = (s32)r2", 0, 0xFFFF_FFFF_7FFF_FFFF, 0x7FFF_FFFF),
    ("w1 = (s8)w2", 0, 0x80, 0xFFFF_FF80),
    ("w1 = (s8)w2", 0, 0x17F, 0x7F),
    ("w1 = (s16)w2", 0, 0x8000, 0xFFFF_8000),
    ("w1 = (s16)w2", 0, 0x1_7FFF, 0x7FFF),
    # byte order of a little-endian machine
    ("r1 = le16 r1", MIX, 0, 0xCDEF),
    ("r1 = le32 r1", MIX, 0, 0x89AB_CDEF),
    ("r1 = le64 r1", MIX, 0, MIX),
    ("r1 = be16 r1", MIX, 0, 0xEFCD),
    ("r1 = be32 r1", MIX, 0, 0xEFCD_AB89),
    ("r1 = be64 r1", MIX, 0, 0xEFCD_AB89_6745_2301),
    ("r1 = bswap16 r1", MIX, 0, 0xEFCD),
    ("r1 = bswap32 r1", MIX, 0, 0xEFCD_AB89),
    ("r1 = bswap64 r1", MIX, 0, 0xEFCD_AB89_6745_2301),
]


@pytest.mark.parametrize(("statement", "before", "other", "after"), CASES)
def test_edge_case(statement: str, before: int, other: int, after: int) -> None:
    text = f"r1 = {before:#x} ll\nr2 = {other:#x} ll\n{statement}\nr0 = r1\nexit"
    assert r0(text) == after


def test_division_by_a_zero_immediate_is_defined_as_by_a_zero_register() -> None:
    def divided(op: int, cls: int, off: int) -> int:
        wide = [Insn(isa.LD_IMM64, 0, imm=0x89AB_CDEF - (1 << 32)), Insn(0, imm=0x0123_4567)]
        return r0([*wide, Insn(cls | op, 0, off=off, imm=0), Insn(isa.OP_EXIT)])

    assert [divided(isa.DIV, isa.ALU64, off) for off in (0, 1)] == [0, 0]
    assert [divided(isa.MOD, isa.ALU64, off) for off in (0, 1)] == [MIX, MIX]
    assert [divided(isa.DIV, isa.ALU, off) for off in (0, 1)] == [0, 0]
    assert [divided(isa.MOD, isa.ALU, off) for off in (0, 1)] == [0x89AB_CDEF, 0x89AB_CDEF]


def test_wide_immediate_is_not_extended() -> None:
    assert r0("r0 = 0x80000000 ll\nexit") == 0x8000_0000
    assert r0("r0 = 0xffffffff00000000 ll\nexit") == 0xFFFF_FFFF_0000_0000


def test_address_space_cast_keeps_the_low_half() -> None:
    cast = Insn(isa.ALU64 | isa.MOV | isa.X, 0, 1, off=1, imm=1)
    wide = [Insn(isa.LD_IMM64, 1, imm=0x1234), Insn(0, imm=7)]
    assert r0([*wide, cast, Insn(isa.OP_EXIT)]) == 0x1234


# ---------------------------------------------------------------- a second formulation, on C's integers


def u64(value: int) -> int:
    return ctypes.c_uint64(value).value


def u32(value: int) -> int:
    return ctypes.c_uint32(value).value


def i64(value: int) -> int:
    return ctypes.c_int64(value).value


def i32(value: int) -> int:
    return ctypes.c_int32(value).value


def c_div(a: int, b: int) -> int:
    """What C's / does, by way of floor division of magnitudes."""
    return (abs(a) // abs(b)) * (1 if (a >= 0) == (b >= 0) else -1)


Second = Callable[[int, int], int]
PLAIN: dict[int, Second] = {
    isa.ADD: operator.add,
    isa.SUB: operator.sub,
    isa.MUL: operator.mul,
    isa.OR: operator.or_,
    isa.AND: operator.and_,
    isa.XOR: operator.xor,
}


def second(op: int, off: int, bits: int, a: int, b: int) -> int:
    """op on `bits` bits, written with C's integers and structs rather than with masks."""
    unsigned, signed = (u64, i64) if bits == 64 else (u32, i32)
    a, b = unsigned(a), unsigned(b)
    if op in PLAIN:
        return unsigned(PLAIN[op](a, b))
    if op in (isa.DIV, isa.MOD):
        if b == 0:
            return 0 if op == isa.DIV else a
        x, y = (signed(a), signed(b)) if off else (a, b)
        quotient = c_div(x, y)
        return unsigned(quotient if op == isa.DIV else x - quotient * y)
    count = b % bits
    if op == isa.LSH:
        return unsigned(a * 2**count)
    return unsigned((signed(a) if op == isa.ARSH else a) // 2**count)


WORDS = st.one_of(
    st.sampled_from(
        [0, 1, 2, 31, 32, 33, 63, 64, 0x7FFF_FFFF, MIN32, ONES32, MIN64, MIN64 - 1, ONES, ONES - 1]
    ),
    st.integers(0, ONES),
)
IMMS = st.one_of(
    st.sampled_from([0, 1, -1, -(1 << 31), (1 << 31) - 1]), st.integers(-(1 << 31), (1 << 31) - 1)
)
BINARY = [*PLAIN, isa.DIV, isa.MOD, isa.LSH, isa.RSH, isa.ARSH]


def ld64(dst: int, value: int) -> list[Insn]:
    low, high = struct.unpack("<ii", struct.pack("<Q", value))
    return [Insn(isa.LD_IMM64, dst, imm=low), Insn(0, imm=high)]


def on(a: int, b: int, insn: Insn) -> int:
    return r0([*ld64(0, a), *ld64(1, b), insn, Insn(isa.OP_EXIT)])


@settings(max_examples=150)
@given(st.sampled_from(BINARY), st.booleans(), st.booleans(), WORDS, WORDS)
def test_registers_against_second_formulation(op: int, wide: bool, signed: bool, a: int, b: int) -> None:
    off = int(signed and op in (isa.DIV, isa.MOD))
    cls = isa.ALU64 if wide else isa.ALU
    assert on(a, b, Insn(cls | op | isa.X, 0, 1, off)) == second(op, off, 64 if wide else 32, a, b)


@settings(max_examples=150)
@given(st.sampled_from(BINARY), st.booleans(), st.booleans(), WORDS, IMMS)
def test_immediates_against_second_formulation(op: int, wide: bool, signed: bool, a: int, imm: int) -> None:
    off = int(signed and op in (isa.DIV, isa.MOD))
    cls = isa.ALU64 if wide else isa.ALU
    assert on(a, 0, Insn(cls | op, 0, 0, off, imm)) == second(op, off, 64 if wide else 32, a, imm)


@settings(max_examples=80)
@given(st.sampled_from([("<H", 16), ("<I", 32), ("<Q", 64)]), st.sampled_from(["le", "be", "bswap"]), WORDS)
def test_byte_order_against_struct(form: tuple[str, int], kind: str, value: int) -> None:
    little, bits = form
    code = {
        "le": isa.ALU | isa.END | isa.TO_LE,
        "be": isa.ALU | isa.END | isa.TO_BE,
        "bswap": isa.ALU64 | isa.END,
    }[kind]
    cut = struct.pack("<Q", value)[: bits // 8]
    (want,) = struct.unpack(little if kind == "le" else little.replace("<", ">"), cut)
    assert on(value, 0, Insn(code, 0, imm=bits)) == want


@settings(max_examples=80)
@given(st.sampled_from([(8, "b"), (16, "h"), (32, "i")]), st.booleans(), WORDS)
def test_sign_extension_against_struct(form: tuple[int, str], wide: bool, value: int) -> None:
    bits, letter = form
    wide = wide or bits == 32
    (signed,) = struct.unpack(f"<{letter}", struct.pack("<Q", value)[: bits // 8])
    code = (isa.ALU64 if wide else isa.ALU) | isa.MOV | isa.X
    assert on(0, value, Insn(code, 0, 1, off=bits)) == (u64 if wide else u32)(signed)
