"""Indirect jumps: a number chooses an entry of a jump table, and each entry leads to one of a few ways that meet again."""

from collections.abc import Callable

from bpf import isa
from emu.fuzz.generators.arith import constant, mask
from emu.fuzz.generators.body import REGS, Body
from emu.fuzz.generators.branches import goto

Statement = Callable[[Body], None]

_ENTRY = 8  # bytes of an address
_COST = 2  # forks that one of these counts for; in a loop twice as many


def switch(body: Body, one: Statement) -> bool:
    """A gotox with two to eight ways, each with one thing to do; False, with nothing emitted, where there is no room for it.

    More entries than ways lead to one of them twice; entries that no index chooses are there at times, too.
    """
    draw, code, plan = body.draw, body.code, body.plan
    index = body.changeable()
    cost = _COST * (2 if body.loops else 1)
    free = tuple(
        reg
        for reg in REGS[0x3FF & ~body.locked & ~body.loaded]
        if reg != index and not (body.loops and reg in body.pointers)
    )
    if index is None or not free or plan.forks < cost:
        return False
    plan.forks -= cost
    base = draw.pick(free)
    ways = draw.between(2, 8)
    chosen = 1 << (ways - 1).bit_length()  # entries that the index may choose
    first, behind = draw.pick((0, 0, 0, 1, 2)), draw.pick((0, 0, 1))
    mask(body, index, chosen - 1)
    code.put(isa.ALU64 | isa.LSH, index, imm=3)
    body.number(index)
    inside = draw.below(first + 1)  # the rest of the way to the first of them is in the load's displacement
    entries = code.table(base, _ENTRY * inside)
    code.put(isa.ALU64 | isa.ADD | isa.X, base, index)
    body.forget(1 << base)
    to = body.load_target() if draw.random() < 0.5 else base
    if body.loops and to in body.pointers:
        to = base
    code.load(to, base, _ENTRY * (first - inside))
    code.put(isa.OP_GOTOX, to)
    body.forget(1 << to)
    # in a loop the next round finds numbers where this one did
    starts = _ways(body, one, ways, (base, to) if body.loops else (body.temporary(),))
    order = starts + [draw.pick(starts) for _ in range(chosen - ways)]
    draw.rng.shuffle(order)
    entries += [draw.pick(starts) for _ in range(first)] + order + [draw.pick(starts) for _ in range(behind)]
    plan.tags.add("switch")
    return True


def _ways(body: Body, one: Statement, count: int, first: tuple[int, ...]) -> list[int]:
    """The ways, one behind the other, each with constants for these registers first; returns where each begins.

    A way that began with a `goto +0` would be removed, and the table hold a 0 in its place.
    """
    before, starts, jumps = body.known(), [], []
    after = None
    body.nesting += 1
    for number in range(count):
        starts.append(len(body.code.rows))
        body.return_to(before)
        for reg in dict.fromkeys(first):
            constant(body, reg)
        one(body)
        if after is not None:
            body.join(after)
        if number < count - 1:
            jumps.append(goto(body))
            after = body.known()
    for jump in jumps:
        body.code.land(jump)
    body.nesting -= 1
    return starts
