"""Statements whose operands lie where an operation has an exception, and that no verifier knows.

The numbers are stored into the array and loaded from there, so that only the run knows them. Each statement may stand
wherever arithmetic may: all that it changes are registers with numbers, and they hold numbers behind it.
"""

from bpf import isa
from emu.fuzz.generators.arith import alu
from emu.fuzz.generators.body import REGS, Body
from emu.fuzz.generators.plan import VALUE_SIZE

_CMPXCHG = 0xF1
_LEAST64, _LEAST32 = 1 << 63, 1 << 31
_DIVIDENDS = (_LEAST64, _LEAST64, _LEAST32, _LEAST32, _LEAST64 + 1, -_LEAST32, _LEAST64 + _LEAST32, 7, -7)
_DIVISORS = (-1, -1, -1, 0xFFFFFFFF, 0, 1, -2, _LEAST64, _LEAST32)
_UPPER = (1, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFF)


def at_exceptions(body: Body) -> None:
    """One of these statements."""
    body.draw.pick((signed_division, compare_exchange))(body)


def signed_division(body: Body) -> None:
    """s/ and s% of both widths: the least number by -1, and numbers beside them."""
    draw = body.draw
    pair = _pair(body, 0)
    if pair is None:
        alu(body)
        return
    dst, src = pair
    _loaded(body, dst, draw.pick(_DIVIDENDS))
    if draw.random() < 0.7:
        _loaded(body, src, draw.pick(_DIVISORS))
    else:
        body.code.mov_imm(src, -1)
        body.number(src)
    cls = draw.pick((isa.ALU64, isa.ALU64, isa.ALU))
    body.code.put(cls | draw.pick((isa.DIV, isa.DIV, isa.MOD)) | isa.X, dst, src, 1, 0)
    body.number(dst)


def compare_exchange(body: Body) -> None:
    """A compare-exchange of either width; r0 holds what is there or its neighbour, mostly with something in the upper half."""
    draw, code = body.draw, body.code
    pair = _pair(body, 1)
    if pair is None or body.locked & 1 or (body.loops and 0 in body.pointers):
        alu(body)
        return
    base, other = pair
    size = draw.pick((isa.W, isa.W, isa.W, isa.DW))
    code.map_value(base, body.plan.values, 8 * draw.below(VALUE_SIZE // 8))
    code.put(isa.LDX | isa.MEM | size, 0, base, 0, 0)
    if draw.random() < 0.3:
        code.add_imm(0, draw.pick((1, -1)))
    if size == isa.W and draw.random() < 0.8:
        code.wide(other, draw.pick(_UPPER) << 32)
        code.put(isa.ALU64 | isa.OR | isa.X, 0, other)
    if draw.random() < 0.7:
        code.mov_imm(other, draw.imm())
    code.put(isa.STX | isa.ATOMIC | size, base, other, 0, _CMPXCHG)
    code.load(base, base, 0)
    for reg in (0, base, other):
        body.number(reg)


def _pair(body: Body, without: int) -> tuple[int, int] | None:
    """Two registers with numbers that may be overwritten, but none of the set `without`."""
    some = REGS[body.numbers & ~body.locked & ~body.loaded & ~without]
    if len(some) < 2:
        return None
    first = body.draw.below(len(some))
    second = (first + body.draw.between(1, len(some) - 1)) % len(some)
    return some[first], some[second]


def _loaded(body: Body, reg: int, word: int) -> None:
    """The register holds this word, loaded from the array: nothing is known of it."""
    code = body.code
    code.map_value(reg, body.plan.values, 8 * body.draw.below(VALUE_SIZE // 8))
    for off, half in ((0, word), (4, word >> 32)):
        code.put(isa.ST | isa.MEM | isa.W, reg, 0, off, isa.sext(half, 32))
    code.load(reg, reg, 0)
    body.number(reg)
