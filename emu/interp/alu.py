"""What arithmetic and conditional jumps compute, as tables of functions on unsigned 64-bit numbers.

Operands come as the registers hold them; an immediate comes extended by sign to 64 bits. Every result is the
whole destination register. A register that holds nothing is None, and every function here must raise
TypeError when an operand that it reads is None: that is how the engine notices. So zero is tested with
`b > 0` and equality with a difference, because `None == 0` and `not None` would go through in silence.

Knows nothing of instructions' layout, of registers or of memory. Source: RFC 9669 sections 4.1 to 4.3.
"""

from collections.abc import Callable

from bpf import isa
from bpf.isa import U32, U64

Binary = Callable[[int, int], int]
Condition = Callable[[int, int], bool]


def s64(value: int) -> int:
    """Two's complement value of 64 bits."""
    return value - (1 << 64) if value >> 63 else value


def s32(value: int) -> int:
    """Two's complement value of the low 32 bits."""
    return ((value & U32) ^ 0x8000_0000) - 0x8000_0000


def _div64(a: int, b: int) -> int:
    return a // b if b > 0 else a & 0


def _mod64(a: int, b: int) -> int:
    return a % b if b > 0 else a & U64


def _div32(a: int, b: int) -> int:
    return _div64(a & U32, b & U32)


def _mod32(a: int, b: int) -> int:
    return _mod64(a & U32, b & U32)


def _quotient(a: int, b: int) -> int:
    """a / b truncated toward zero, 0 for b = 0. The caller cuts MIN / -1 to its width, which gives MIN."""
    if b == 0:
        return 0
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def _remainder(a: int, b: int) -> int:
    """What _quotient leaves: it has the sign of a, and is a itself for b = 0."""
    return a - b * _quotient(a, b)


ALU64: dict[int, Binary] = {
    isa.ADD: lambda a, b: (a + b) & U64,
    isa.SUB: lambda a, b: (a - b) & U64,
    isa.MUL: lambda a, b: (a * b) & U64,
    isa.DIV: _div64,
    isa.OR: lambda a, b: a | b,
    isa.AND: lambda a, b: a & b,
    isa.LSH: lambda a, b: (a << (b & 63)) & U64,
    isa.RSH: lambda a, b: a >> (b & 63),
    isa.MOD: _mod64,
    isa.XOR: lambda a, b: a ^ b,
    isa.ARSH: lambda a, b: (s64(a) >> (b & 63)) & U64,
}
ALU32: dict[int, Binary] = {
    isa.ADD: lambda a, b: (a + b) & U32,
    isa.SUB: lambda a, b: (a - b) & U32,
    isa.MUL: lambda a, b: (a * b) & U32,
    isa.DIV: _div32,
    isa.OR: lambda a, b: (a | b) & U32,
    isa.AND: lambda a, b: a & b & U32,
    isa.LSH: lambda a, b: (a << (b & 31)) & U32,
    isa.RSH: lambda a, b: (a & U32) >> (b & 31),
    isa.MOD: _mod32,
    isa.XOR: lambda a, b: (a ^ b) & U32,
    isa.ARSH: lambda a, b: (s32(a) >> (b & 31)) & U32,
}
SIGNED64: dict[int, Binary] = {
    isa.DIV: lambda a, b: _quotient(s64(a), s64(b)) & U64,
    isa.MOD: lambda a, b: _remainder(s64(a), s64(b)) & U64,
}
SIGNED32: dict[int, Binary] = {
    isa.DIV: lambda a, b: _quotient(s32(a), s32(b)) & U32,
    isa.MOD: lambda a, b: _remainder(s32(a), s32(b)) & U32,
}

# The moves and the unary operations take both operands too, and ignore one.
MOV32: Binary = lambda _, b: b & U32  # noqa: E731 - a row of the tables around it
NEG64: Binary = lambda a, _: -a & U64  # noqa: E731 - as above
NEG32: Binary = lambda a, _: -a & U32  # noqa: E731 - as above
MOVSX64: dict[int, Binary] = {
    8: lambda _, b: isa.sext(b, 8) & U64,
    16: lambda _, b: isa.sext(b, 16) & U64,
    32: lambda _, b: isa.sext(b, 32) & U64,
}
MOVSX32: dict[int, Binary] = {
    8: lambda _, b: isa.sext(b, 8) & U32,
    16: lambda _, b: isa.sext(b, 16) & U32,
}


def _swap(bits: int) -> Binary:
    size = bits // 8
    mask = (1 << bits) - 1
    return lambda a, _: int.from_bytes((a & mask).to_bytes(size, "little"), "big")


# The machine is little-endian: to_le only cuts, to_be swaps; the 64-bit class swaps whatever the source bit says.
TO_LE: dict[int, Binary] = {
    16: lambda a, _: a & 0xFFFF,
    32: lambda a, _: a & U32,
    64: lambda a, _: a & U64,
}
SWAP: dict[int, Binary] = {16: _swap(16), 32: _swap(32), 64: _swap(64)}

JMP64: dict[int, Condition] = {
    isa.JEQ: lambda a, b: a - b == 0,
    isa.JNE: lambda a, b: a - b != 0,
    isa.JGT: lambda a, b: a > b,
    isa.JGE: lambda a, b: a >= b,
    isa.JLT: lambda a, b: a < b,
    isa.JLE: lambda a, b: a <= b,
    isa.JSET: lambda a, b: a & b != 0,
    isa.JSGT: lambda a, b: s64(a) > s64(b),
    isa.JSGE: lambda a, b: s64(a) >= s64(b),
    isa.JSLT: lambda a, b: s64(a) < s64(b),
    isa.JSLE: lambda a, b: s64(a) <= s64(b),
}
JMP32: dict[int, Condition] = {
    isa.JEQ: lambda a, b: (a - b) & U32 == 0,
    isa.JNE: lambda a, b: (a - b) & U32 != 0,
    isa.JGT: lambda a, b: a & U32 > b & U32,
    isa.JGE: lambda a, b: a & U32 >= b & U32,
    isa.JLT: lambda a, b: a & U32 < b & U32,
    isa.JLE: lambda a, b: a & U32 <= b & U32,
    isa.JSET: lambda a, b: a & b & U32 != 0,
    isa.JSGT: lambda a, b: s32(a) > s32(b),
    isa.JSGE: lambda a, b: s32(a) >= s32(b),
    isa.JSLT: lambda a, b: s32(a) < s32(b),
    isa.JSLE: lambda a, b: s32(a) <= s32(b),
}
