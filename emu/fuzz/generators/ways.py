"""Stack arguments that differ by the way the program went: two to four ways, and what is asked about them where they meet.

On each way the slots and a register or two get constants, of which some are the same as on another way. Behind the join
the registers may be asked which way it was. All that a verifier knows there depends on what it remembers of the ways.
"""

from collections.abc import Mapping, Sequence

from bpf import isa
from emu.fuzz.generators.arith import alu
from emu.fuzz.generators.body import REGS, TEMPORARY, Body, Known
from emu.fuzz.generators.branches import condition, diamond, fork, goto
from emu.fuzz.generators.passing import constant_to_slot, small, to_slot
from emu.fuzz.generators.plan import VALUE_SIZE
from emu.fuzz.generators.prototypes import Param


def on_several_ways(body: Body, params: Sequence[Param], indices: Sequence[int]) -> None:
    """Stores these arguments, which are numbers, on every way: all of them there, or some before and others anew."""
    draw = body.draw
    body.plan.tags.add("split-stores")
    pools = {index: _pool(body, params[index]) for index in indices}
    before = [index for index in indices if draw.random() < 0.2]
    for index in before:
        to_slot(body, index, params[index])
    selector = _selector(body) if draw.random() < 0.5 else None
    locked = body.locked
    if selector is not None:
        body.locked |= 1 << selector
    marks = _marks(body)
    overs: list[int] = []
    ends: list[Known] = []
    ways = draw.pick((2, 2, 3, 3, 3, 4))
    for way in range(ways):
        jump = _turn(body, selector, way) if way + 1 < ways and fork(body) else None
        known = body.known()
        some = [index for index in indices if index not in before or draw.random() < 0.5]
        _one_way(body, params, some, pools, marks)
        if jump is None:
            break
        overs.append(goto(body))
        ends.append(body.known())
        body.code.land(jump)
        body.return_to(known)
    for over in overs:
        body.code.land(over)
    for end in ends:
        body.join(end)
    body.locked = locked
    for reg, values in marks.items():
        if body.numbers >> reg & 1 and draw.random() < 0.8:
            ask(body, reg, values)


def _one_way(
    body: Body,
    params: Sequence[Param],
    indices: Sequence[int],
    pools: Mapping[int, Sequence[int]],
    marks: Mapping[int, Sequence[int]],
) -> None:
    """What is stored on one way, in an order of its own, and what its marks are."""
    draw = body.draw
    for index in draw.rng.sample(indices, len(indices)):
        if draw.random() < 0.85:
            constant_to_slot(body, index, draw.pick(pools[index]))
        else:
            to_slot(body, index, params[index])
    for reg, some in marks.items():
        if draw.random() < 0.8:
            value = draw.pick(some)
            body.code.mov_imm(reg, value)
            body.number(reg, value if value >= 0 else None)


def _selector(body: Body) -> int | None:
    """A register with two bits that only the run knows, to choose the way by."""
    draw, code = body.draw, body.code
    free = REGS[(TEMPORARY | body.keep) & ~body.locked & ~body.loaded]
    free = tuple(reg for reg in free if reg not in body.pointers)
    if not free:
        return None
    reg = draw.pick(free)
    src = body.any_number()
    if src is None or draw.random() < 0.6:
        code.map_value(reg, body.plan.values, draw.below(VALUE_SIZE))
        code.put(isa.LDX | isa.MEM | isa.B, reg, reg)
    elif src != reg:
        code.mov(reg, src)
    code.put(isa.ALU64 | isa.AND, reg, imm=3)
    return body.number(reg, 3)


def _turn(body: Body, selector: int | None, way: int) -> int | None:
    """The jump to the next way, by the selector or by any condition."""
    if selector is None:
        return condition(body)
    return body.code.jump(isa.JMP | isa.JNE, selector, 0, way)


def _pool(body: Body, param: Param) -> tuple[int, int]:
    if param.bound is not None:
        return small(body, param.bound), small(body, param.bound)
    return body.draw.imm(), body.draw.imm()


def _marks(body: Body) -> dict[int, tuple[int, int]]:
    """Registers that tell the ways apart, with the constants that they get."""
    draw = body.draw
    free = [
        reg for reg in REGS[(TEMPORARY | body.keep) & ~body.locked & ~body.loaded] if reg not in body.pointers
    ]
    draw.rng.shuffle(free)
    return {reg: (draw.below(3), draw.imm()) for reg in free[: draw.pick((0, 1, 1, 2))]}


def ask(body: Body, reg: int, some: Sequence[int]) -> None:
    """A branch on whether a register holds one of these constants; something small is done on one way or on both."""
    draw = body.draw
    compare = draw.pick((isa.JEQ, isa.JNE, isa.JEQ, isa.JNE, isa.JGT, isa.JSLE, isa.JLT))
    wide = isa.JMP if draw.random() < 0.8 else isa.JMP32
    value = draw.pick(some)

    def asked(inner: Body) -> int:
        return inner.code.jump(wide | compare, reg, 0, value)

    diamond(body, alu, alu if draw.random() < 0.4 else None, asked)
