"""Stack arguments that differ by the way the program went: two to four ways, and what is asked about them where they meet.

On each way the slots and a register or two get constants, of which some are the same as on another way. Behind the join
the registers may be asked which way it was. All that a verifier knows there depends on what it remembers of the ways.
"""

from collections.abc import Sequence

from bpf import isa
from emu.fuzz.generators.arith import alu
from emu.fuzz.generators.body import REGS, TEMPORARY, Body, Known
from emu.fuzz.generators.branches import condition, diamond, fork, goto
from emu.fuzz.generators.passing import constant_to_slot, small, to_slot
from emu.fuzz.generators.prototypes import Param


def on_several_ways(body: Body, params: Sequence[Param], indices: Sequence[int]) -> None:
    """Stores these arguments, which are numbers, on every way."""
    draw = body.draw
    body.plan.tags.add("split-stores")
    pools = {index: _pool(body, params[index]) for index in indices}
    marks = _marks(body)
    overs: list[int] = []
    ends: list[Known] = []
    ways = draw.pick((2, 2, 3, 3, 4))
    for way in range(ways):
        jump = condition(body) if way + 1 < ways and fork(body) else None
        before = body.known()
        for index in indices:
            if draw.random() < 0.85:
                constant_to_slot(body, index, draw.pick(pools[index]))
            else:
                to_slot(body, index, params[index])
        for reg, some in marks.items():
            if draw.random() < 0.8:
                value = draw.pick(some)
                body.code.mov_imm(reg, value)
                body.number(reg, value if value >= 0 else None)
        if jump is None:
            break
        overs.append(goto(body))
        ends.append(body.known())
        body.code.land(jump)
        body.return_to(before)
    for over in overs:
        body.code.land(over)
    for end in ends:
        body.join(end)
    for reg, some in marks.items():
        if body.numbers >> reg & 1 and draw.random() < 0.6:
            ask(body, reg, some)


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
    return {reg: (draw.below(3), draw.imm()) for reg in free[: draw.below(3)]}


def ask(body: Body, reg: int, some: Sequence[int]) -> None:
    """A branch on whether a register holds one of these constants; something small is done on one way or on both."""
    draw = body.draw
    compare = draw.pick((isa.JEQ, isa.JNE, isa.JEQ, isa.JNE, isa.JGT, isa.JSLE, isa.JLT))
    wide = isa.JMP if draw.random() < 0.8 else isa.JMP32
    value = draw.pick(some)

    def asked(inner: Body) -> int:
        return inner.code.jump(wide | compare, reg, 0, value)

    diamond(body, alu, alu if draw.random() < 0.4 else None, asked)
