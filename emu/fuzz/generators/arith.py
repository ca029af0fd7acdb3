"""Arithmetic on numbers in registers. Each function emits and leaves `Body` up to date, and keeps to the locked registers."""

from bpf import isa
from emu.fuzz.generators.body import Body
from emu.fuzz.generators.code import MOV_IMM

_OPS = (isa.ADD, isa.ADD, isa.SUB, isa.MUL, isa.OR, isa.AND, isa.XOR, isa.DIV, isa.MOD)
_SHIFTS = (isa.LSH, isa.RSH, isa.ARSH)
_SWAPS = (isa.ALU | isa.END | isa.TO_LE, isa.ALU | isa.END | isa.TO_BE, isa.ALU64 | isa.END)


def constant(body: Body, dst: int) -> None:
    """dst = a constant."""
    draw = body.draw
    if draw.random() < 0.12:
        body.code.wide(dst, draw.word())
        body.number(dst)
        return
    value = draw.imm()
    wide = draw.random() < 0.85
    body.code.put(MOV_IMM if wide else isa.ALU | isa.MOV, dst, imm=value)
    body.number(dst, value if value >= 0 else None)


def alu(body: Body) -> None:
    """Arithmetic of either width on a register, with a constant or another register."""
    draw = body.draw
    dst = body.changeable()
    kind = draw.random()
    if dst is None or kind < 0.1:
        constant(body, body.target())
        return
    cls = isa.ALU64 if draw.random() < 0.6 else isa.ALU
    if kind < 0.25:
        move(body, cls)
        return
    if kind < 0.3:
        body.code.put(cls | isa.NEG, dst)
        body.number(dst)
        return
    if kind < 0.42:
        _shift(body, cls, dst)
        return
    op = draw.pick(_OPS)
    off = 1 if op in (isa.DIV, isa.MOD) and draw.random() < 0.4 else 0
    if kind < 0.7:
        value = draw.imm()
        body.code.put(cls | op, dst, off=off, imm=value or 1)
        body.number(dst, value if op == isa.AND and value >= 0 else None)
        if op == isa.AND and value == 0:
            body.number(dst, 1)
        return
    src = body.any_number()
    assert src is not None
    body.code.put(cls | op | isa.X, dst, src, off)
    body.number(dst)


def _shift(body: Body, cls: int, dst: int) -> None:
    """A shift by a constant or by a register, or another order of bytes."""
    draw = body.draw
    kind = draw.random()
    if kind < 0.2:
        body.code.put(draw.pick(_SWAPS), dst, imm=draw.pick((16, 32, 64)))
    elif kind < 0.5:
        src = body.any_number()
        assert src is not None
        body.code.put(cls | draw.pick(_SHIFTS) | isa.X, dst, src)
    else:
        body.code.put(cls | draw.pick(_SHIFTS), dst, imm=draw.below(64 if cls == isa.ALU64 else 32))
    body.number(dst)


def move(body: Body, cls: int) -> None:
    """A register to a register, with or without extension of its sign."""
    draw = body.draw
    src = body.any_number()
    dst = body.target()
    if src is None:
        constant(body, dst)
        return
    extends = draw.pick((0, 0, 0, 8, 16, 32) if cls == isa.ALU64 else (0, 0, 8, 16))
    body.code.put(cls | isa.MOV | isa.X, dst, src, extends)
    if not extends and cls == isa.ALU64:
        body.copied(dst, src)
    else:
        body.number(dst)


def mask(body: Body, dst: int, bound: int) -> None:
    """dst, a number, becomes one of 0..bound."""
    draw = body.draw
    limit = bound
    if bound & (bound + 1):
        limit = (1 << (bound.bit_length() - 1)) - 1
    kind = draw.random()
    if kind < 0.6 or limit != bound:
        body.code.put((isa.ALU64 if kind < 0.4 else isa.ALU) | isa.AND, dst, imm=limit)
    elif kind < 0.8:
        body.code.put(isa.ALU64 | isa.MOD, dst, imm=bound + 1)
    else:
        body.code.put(isa.ALU64 | isa.RSH, dst, imm=64 - bound.bit_length())
    body.number(dst, bound)
