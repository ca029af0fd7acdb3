"""Loads and stores: stack words, context, packet, values of the array, incoming stack arguments.

Each function emits and leaves `Body` up to date; none reads what was never written, and all keep to the locked registers.
Where what one needs is not there, it does something else.
"""

from bpf import isa
from emu.fuzz.generators.arith import alu, mask
from emu.fuzz.generators.body import FP, PARAMS, TEMPORARY, Body, Pointer
from emu.fuzz.generators.branches import fork
from emu.fuzz.generators.plan import VALUE_SIZE

_SIZES = (isa.B, isa.H, isa.W, isa.DW)
_ATOMICS = (
    isa.ADD, isa.OR, isa.AND, isa.XOR, isa.ADD | isa.FETCH, isa.OR | isa.FETCH, isa.AND | isa.FETCH, isa.XOR | isa.FETCH, isa.XCHG,
    isa.CMPXCHG,
)  # fmt: skip
SKB_WORDS = (0, 4, 8, 16, 32, 48, 52, 56, 60, 64)
_SKB_WRITABLE = (8, 32, 48, 52, 56, 60, 64)
_XDP_WORDS = (12, 16)


def spill(body: Body) -> None:
    """A register or constant to a stack word, or a few bytes into one."""
    draw = body.draw
    if not body.frame:
        alu(body)
        return
    off = draw.pick(body.frame)
    if body.pointers and draw.random() < 0.15 and not body.loops and off not in body.exposed:
        reg = draw.pick(tuple(body.pointers))
        body.code.store(FP, off, reg)
        body.slots.pop(off, None)
        body.spilled[off] = body.pointers[reg]
        return
    src = body.any_number()
    if off in body.slots and draw.random() < 0.3:
        size = draw.pick((isa.B, isa.H, isa.W))
        at = off + draw.below(8 // isa.SIZE_BYTES[size]) * isa.SIZE_BYTES[size]
        if src is None or draw.random() < 0.4:
            body.code.put(isa.ST | isa.MEM | size, FP, off=at, imm=draw.imm())
        else:
            body.code.put(isa.STX | isa.MEM | size, FP, src, at)
        body.slots[off] = None
        return
    word(body, off, src if draw.random() < 0.75 else None)


def word(body: Body, off: int, src: int | None) -> None:
    """A number or, without one, a constant to a whole stack word."""
    body.spilled.pop(off, None)
    if src is None:
        value = body.draw.imm()
        body.code.store_imm(FP, off, value)
        body.slots[off] = value if value >= 0 else None
    else:
        body.code.store(FP, off, src)
        body.slots[off] = body.bounds.get(src)


def fill(body: Body) -> None:
    """A stack word, or a part of one, to a register."""
    draw = body.draw
    if body.spilled and draw.random() < 0.3 and not body.loops:
        off = draw.pick(tuple(body.spilled))
        dst = body.load_target()
        pointer = body.spilled[off]
        body.code.load(dst, FP, off)
        body.point(dst, pointer)
        return
    if not body.slots:
        alu(body)
        return
    off = draw.pick(tuple(body.slots))
    dst = body.load_target()
    if draw.random() < 0.65:
        body.code.load(dst, FP, off)
        body.number(dst, body.slots[off])
        return
    size = draw.pick((isa.B, isa.H, isa.W))
    mode = isa.MEM if draw.random() < 0.6 else isa.MEMSX
    at = off + draw.below(8 // isa.SIZE_BYTES[size]) * isa.SIZE_BYTES[size]
    body.code.put(isa.LDX | mode | size, dst, FP, at)
    body.number(dst)


def atomic(body: Body) -> None:
    """An atomic operation on a stack word, with or without its old value."""
    draw = body.draw
    src = body.changeable()
    if not body.slots or src is None:
        alu(body)
        return
    off = draw.pick(tuple(body.slots))
    width, size = draw.pick(((isa.DW, 8), (isa.DW, 8), (isa.W, 4)))
    op = draw.pick(_ATOMICS)
    if op == isa.CMPXCHG and not body.numbers & 1:
        op = isa.XCHG
    body.code.put(isa.STX | isa.ATOMIC | width, FP, src, off + (draw.below(2) * 4 if size == 4 else 0), op)
    body.slots[off] = None
    if op == isa.CMPXCHG:
        body.number(0)
    elif op & isa.FETCH:
        body.number(src)


def context(body: Body) -> None:
    """A word of the context to a register, or the other way."""
    draw, code = body.draw, body.code
    reg = next((reg for reg, pointer in body.pointers.items() if pointer.kind == "ctx"), None)
    if reg is None:
        array(body)
        return
    kind = body.plan.prog_type
    src = body.any_number()
    dst = body.load_target()
    if dst == reg:
        alu(body)
        return
    if kind == "sched_cls":
        if src is not None and draw.random() < 0.25:
            code.put(isa.STX | isa.MEM | isa.W, reg, src, draw.pick(_SKB_WRITABLE))
            return
        code.put(isa.LDX | isa.MEM | isa.W, dst, reg, draw.pick(SKB_WORDS))
    elif kind == "xdp":
        code.put(isa.LDX | isa.MEM | isa.W, dst, reg, draw.pick(_XDP_WORDS))
    elif kind == "syscall":
        size = draw.pick(_SIZES)
        at = draw.below(VALUE_SIZE // isa.SIZE_BYTES[size]) * isa.SIZE_BYTES[size]
        if src is not None and draw.random() < 0.25:
            code.put(isa.STX | isa.MEM | size, reg, src, at)
            return
        mode = isa.MEM if size == isa.DW or draw.random() < 0.7 else isa.MEMSX
        code.put(isa.LDX | mode | size, dst, reg, at)
    else:
        code.load(dst, reg, 8 * draw.below(8))
    body.number(dst)


def packet(body: Body) -> None:
    """A few bytes of the packet to a register, or the other way, behind a check of its length."""
    draw, code = body.draw, body.code
    reg = next((reg for reg, pointer in body.pointers.items() if pointer.kind == "ctx"), None)
    free = [r for r in (1, 2, 3, 4, 5, 0) if not body.locked >> r & 1 and r != reg]
    data = {"sched_cls": (76, 80), "xdp": (0, 4)}.get(body.plan.prog_type)
    if reg is None or data is None or len(free) < 3 or not fork(body):
        context(body)
        return
    start, end, past = free[:3]
    room = draw.pick((1, 2, 4, 8, 14, 16, 20, 34))
    body.forget(1 << start | 1 << end | 1 << past)
    code.put(isa.LDX | isa.MEM | isa.W, start, reg, data[0])
    code.put(isa.LDX | isa.MEM | isa.W, end, reg, data[1])
    code.mov(past, start)
    code.add_imm(past, room)
    short = code.jump(isa.JMP | isa.JGT | isa.X, past, end)
    before = body.known()
    size = draw.pick([size for size in _SIZES if isa.SIZE_BYTES[size] <= room])
    at = draw.below(room - isa.SIZE_BYTES[size] + 1)
    src = body.any_number()
    if src is not None and draw.random() < 0.3:
        code.put(isa.STX | isa.MEM | size, start, src, at)
    else:
        dst = body.load_target()
        if dst == reg:
            dst = start
        code.put(isa.LDX | isa.MEM | size, dst, start, at)
        body.number(dst)
    code.land(short)
    body.join(before)


def array(body: Body) -> None:
    """A number from the array's values, or into them, at a constant offset."""
    draw, code = body.draw, body.code
    size = draw.pick(_SIZES)
    width = isa.SIZE_BYTES[size]
    src = body.any_number()
    base = body.temporary()
    held = [reg for reg, pointer in body.pointers.items() if pointer.kind != "ctx"]
    if held and draw.random() < 0.6:
        base = draw.pick(held)
        at = (
            draw.below(body.pointers[base].room // width) * width if body.pointers[base].room >= width else -1
        )
        if at < 0:
            alu(body)
            return
    else:
        off = 8 * draw.below(VALUE_SIZE // 8)
        at = draw.below((VALUE_SIZE - off) // width) * width
        code.map_value(base, body.plan.values, off)
        body.forget(1 << base)
        src = body.any_number()
    if src is not None and draw.random() < 0.4:
        code.put(isa.STX | isa.MEM | size, base, src, at)
    elif draw.random() < 0.15:
        code.put(isa.ST | isa.MEM | size, base, off=at, imm=draw.imm())
    else:
        mode = isa.MEM if size == isa.DW or draw.random() < 0.7 else isa.MEMSX
        dst = body.load_target()
        if dst in body.pointers:
            dst = base if not body.locked >> base & 1 and base not in body.pointers else 0
        code.put(isa.LDX | mode | size, dst, base, at)
        body.number(dst, 0xFF if mode == isa.MEM and size == isa.B else None)
    if base in body.pointers and body.pointers[base].kind == "stack":
        body.slots = dict.fromkeys(body.slots)


def indexed(body: Body) -> None:
    """A number from the array's values, or into them, at an offset that is a number of known size."""
    draw, code = body.draw, body.code
    size = draw.pick(_SIZES)
    width = isa.SIZE_BYTES[size]
    limit = VALUE_SIZE - width
    free = [reg for reg in (0, 1, 2, 3, 4, 5) if not body.locked >> reg & 1]
    some = [reg for reg, bound in body.bounds.items() if bound <= limit]
    index = draw.pick(some) if some and draw.random() < 0.8 else body.any_number()
    if index is None or len(free) < 2:
        array(body)
        return
    base, small = free[-1], free[-2]
    if index == base:
        base, small = small, base
    if body.bounds.get(index, VALUE_SIZE) > limit:
        code.mov(small, index)
        mask(body, small, limit)
        index = small
    body.plan.tags.add("indexed")
    code.map_value(base, body.plan.values, 0)
    body.forget(1 << base)
    code.put(isa.ALU64 | isa.ADD | isa.X, base, index)
    src = body.any_number()
    if src is not None and draw.random() < 0.4:
        code.put(isa.STX | isa.MEM | size, base, src)
    else:
        dst = base if draw.random() < 0.5 else body.load_target()
        if dst in body.pointers:
            dst = base
        code.put(isa.LDX | isa.MEM | size, dst, base)
        body.number(dst)


def load_argument(body: Body) -> tuple[int, int] | None:
    """A stack argument of the function itself to a register; or, where that is too late, something else.

    Returns register and index of an argument that is a number.
    """
    draw, signature = body.draw, body.signature
    if not signature.slots or not body.may_load:
        fill(body)
        return None
    slot = draw.below(signature.slots)
    param = signature.params[5 + slot]
    if body.loops and not param.scalar:
        alu(body)
        return None
    dst = body.load_target()
    if dst in body.pointers:
        dst = 0
    body.code.load(dst, PARAMS, 8 * (slot + 1))
    if param.scalar:
        return body.number(dst, param.bound), 5 + slot
    body.point(dst, Pointer("ctx" if param.ctx else "arg", param.room))
    return None


def packet_load(body: Body) -> None:
    """LD_ABS or LD_IND, of a context in r6; it clobbers r0 to r5."""
    draw, code = body.draw, body.code
    holds = body.pointers.get(6)
    reg = next((reg for reg, pointer in body.pointers.items() if pointer.kind == "ctx"), None)
    allowed = (
        body.plan.packet_loads
        and not body.quiet
        and (holds is not None or not body.loops)
        and reg is not None
        and not body.locked & TEMPORARY & ~1
    )
    there = holds is not None and holds.kind == "ctx"
    if not allowed or not (there or (body.keep & ~body.locked & ~body.loaded) >> 6 & 1):
        context(body)
        return
    assert reg is not None
    if not there:
        code.mov(6, reg)
        body.copied(6, reg)
    size = draw.pick((isa.B, isa.H, isa.W))
    index = body.any_number()
    if index is not None and draw.random() < 0.2:
        small = body.temporary()
        code.mov(small, index)
        mask(body, small, 15)
        code.put(isa.LD | isa.IND | size, 0, small, 0, draw.below(8))
    else:
        code.put(isa.LD | isa.ABS | size, imm=draw.pick((0, 1, 4, 6, 12, 13)))
    body.forget(TEMPORARY)
    body.number(0)
    body.plan.tags.add("packet_load")
