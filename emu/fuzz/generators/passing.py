"""One argument of a call: where its value comes from, and how it gets into its slot or register."""

from bpf import isa
from emu.fuzz.generators.accesses import word
from emu.fuzz.generators.arith import constant, mask
from emu.fuzz.generators.body import FP, PARAMS, Body, Pointer
from emu.fuzz.generators.prototypes import Param


def context_of(body: Body) -> int | None:
    """A saved register with the context: it is still there when r1 to r5 are being filled."""
    return next((reg for reg, pointer in body.pointers.items() if pointer.kind == "ctx" and reg >= 6), None)


def to_slot(body: Body, index: int, param: Param) -> None:
    """Stores argument `index`, counted from 0, which is one of those behind the fifth."""
    draw, code = body.draw, body.code
    off = -8 * (index - 4)
    if not param.scalar:
        code.store(PARAMS, off, _pointer(body, param))
    elif param.bound is not None:
        reg = _bounded(body, param.bound)
        if reg is None:
            constant_to_slot(body, index, small(body, param.bound))
        else:
            code.store(PARAMS, off, reg)
    else:
        src = body.any_number()
        kind = draw.random()
        if src is None or kind < 0.3:
            constant_to_slot(body, index, draw.imm())
        elif kind < 0.8:
            code.store(PARAMS, off, src)
        else:
            reg = body.temporary()
            _value(body, reg)
            code.store(PARAMS, off, reg)
    body.may_load = False


def constant_to_slot(body: Body, index: int, value: int) -> None:
    """Stores a constant as argument `index`, and remembers which, for the callee to ask for."""
    body.code.store_imm(PARAMS, -8 * (index - 4), value)
    body.plan.passed.setdefault((body.callee, index), []).append(value)
    body.may_load = False


def to_register(body: Body, reg: int, param: Param) -> None:
    """Puts an argument into its register, which may be overwritten."""
    code = body.code
    if not param.scalar:
        src = _pointer(body, param, reg)
        if src != reg:
            code.mov(reg, src)
        body.point(reg, Pointer("ctx" if param.ctx else "arg", param.room))
    elif param.bound is not None:
        src_or_none = _bounded(body, param.bound, reg)
        if src_or_none is None:
            code.mov_imm(reg, small(body, param.bound))
        elif src_or_none != reg:
            code.mov(reg, src_or_none)
        body.number(reg, param.bound)
    else:
        _value(body, reg)


def _value(body: Body, dst: int) -> None:
    """dst, an unlocked temporary register, gets any number in one of many ways."""
    draw, code = body.draw, body.code
    src = body.any_number()
    kind = draw.random()
    if body.numbers >> dst & 1 and kind < 0.15:
        return  # handed on as it is
    if src is None or kind < 0.35:
        constant(body, dst)
    elif kind < 0.7:
        if src != dst:
            code.mov(dst, src)
        body.copied(dst, src)
    elif kind < 0.8 and body.slots:
        off = draw.pick(tuple(body.slots))
        code.load(dst, FP, off)
        body.number(dst, body.slots[off])
    elif kind < 0.9:
        cls = draw.pick((isa.ALU, isa.ALU64))
        code.put(cls | isa.MOV | isa.X, dst, src, draw.pick((8, 16, 32) if cls == isa.ALU64 else (0, 8, 16)))
        body.number(dst)
    else:
        if src != dst:
            code.mov(dst, src)
        code.put(isa.ALU64 | draw.pick((isa.ADD, isa.XOR, isa.OR, isa.MUL)), dst, imm=draw.imm())
        body.number(dst)


def small(body: Body, bound: int) -> int:
    """A constant of at most `bound`, or, rarely, of more: the callee is then refused."""
    draw = body.draw
    if draw.random() < 0.02:
        body.plan.tags.add("out-of-bound")
        return bound + draw.pick((1, 2, 8, 1 << 28))
    value = draw.pick((0, bound, draw.between(0, bound)))
    draw.recent.append(value)
    return value


def _bounded(body: Body, bound: int, dst: int | None = None) -> int | None:
    """A register with a number of at most `bound`; dst: one that may be overwritten. None: a constant will do."""
    draw, code = body.draw, body.code
    some = [reg for reg, known in body.bounds.items() if known <= bound]
    kind = draw.random()
    if some and kind < 0.5:
        return draw.pick(some)
    src = body.any_number()
    if src is None or kind < 0.75:
        return None
    if dst is None:
        dst = body.temporary()
    if src != dst:
        code.mov(dst, src)
    mask(body, dst, bound)
    return dst


def _pointer(body: Body, param: Param, dst: int | None = None) -> int:
    """A register with a pointer that the parameter takes; dst: one that may be overwritten, else a temporary one is."""
    draw, code = body.draw, body.code
    if param.ctx:
        reg = context_of(body)
        assert reg is not None  # asked before
        return reg
    fitting = [reg for reg, pointer in body.pointers.items() if pointer.room >= param.room]
    if fitting and draw.random() < 0.5:
        return draw.pick(fitting)
    if dst is None:
        dst = body.temporary()
    off = _stack_room(body, param.room) if draw.random() < 0.7 else None
    if off is not None:
        _address(body, dst, off, param.room)
    else:
        code.map_value(dst, body.plan.values, 8 * draw.below((64 - param.room) // 8 + 1))
        body.forget(1 << dst)
        body.plan.tags.add("map-pointer")
    return dst


def stack_word(body: Body, dst: int) -> None:
    """dst = the address of a stack word of the function, which must have a stack."""
    off = _stack_room(body, 8)
    if off is None:  # pointers are spilled everywhere
        off = body.frame[0]
        body.spilled.pop(off, None)
        word(body, off, None)
    _address(body, dst, off, 8)


def _address(body: Body, dst: int, off: int, room: int) -> None:
    body.code.mov(dst, FP)
    body.code.add_imm(dst, off)
    for at in range(off, off + room, 8):
        body.exposed.add(at)
        body.slots[at] = None
    body.forget(1 << dst)
    body.plan.tags.add("stack-pointer")


def _stack_room(body: Body, room: int) -> int | None:
    """An offset from which on `room` bytes of the stack hold numbers; writes what is missing where it can."""
    draw = body.draw
    words = [off for off in body.frame if off not in body.spilled]
    some = [off for off in words if all(at in body.frame for at in range(off, off + room, 8))]
    some = [off for off in some if not any(at in body.spilled for at in range(off, off + room, 8))]
    if not some or not body.plan.addresses:
        return None
    off = draw.pick(some)
    for at in range(off, off + room, 8):
        if at not in body.slots:
            word(body, at, body.any_number() if draw.random() < 0.5 else None)
    return off
