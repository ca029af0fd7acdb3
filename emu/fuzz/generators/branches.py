"""Branches and loops. What stands inside is the caller's; so is what may be written there.

Each function emits and leaves `Body` up to date: where two ways meet, what both know is known; in a loop no bounds are.
"""

from collections.abc import Callable

from bpf import isa
from emu.fuzz.generators.arith import alu
from emu.fuzz.generators.body import FP, REGS, TEMPORARY, Body

Statement = Callable[[Body], None]

_COMPARES = (
    isa.JEQ,
    isa.JEQ,
    isa.JNE,
    isa.JGT,
    isa.JGE,
    isa.JLT,
    isa.JLE,
    isa.JSGT,
    isa.JSGE,
    isa.JSLT,
    isa.JSLE,
    isa.JSET,
)


def fork(body: Body) -> bool:
    """Whether one more branch on an unknown number may be made here."""
    cost = 1 if not body.loops else 3
    if body.plan.forks < cost:
        return False
    body.plan.forks -= cost
    return True


def condition(body: Body) -> int | None:
    """A conditional jump that is still to land; None when there is no number to ask."""
    draw = body.draw
    left = body.any_number()
    if left is None:
        return None
    code = (isa.JMP if draw.random() < 0.65 else isa.JMP32) | draw.pick(_COMPARES)
    if draw.random() < 0.25:
        right = body.any_number()
        assert right is not None
        return body.code.jump(code | isa.X, left, right)
    return body.code.jump(code, left, 0, draw.imm())


def goto(body: Body) -> int:
    """An unconditional jump that is still to land, short or long."""
    return body.code.jump(isa.OP_JA if body.draw.random() < 0.85 else isa.OP_GOTOL)


def diamond(
    body: Body, one: Statement, other: Statement | None, test: Callable[[Body], int | None] | None = None
) -> None:
    """Two ways that meet again, with one thing done on the first and another, or nothing, on the second.

    test: emits the jump to the second; without, any condition does.
    """
    jump = (test or condition)(body) if body.nesting < 3 and fork(body) else None
    if jump is None:
        one(body)
        return
    body.nesting += 1
    before = body.known()
    one(body)
    if other is None:
        body.code.land(jump)
        body.join(before)
    else:
        over = goto(body)
        after = body.known()
        body.code.land(jump)
        body.return_to(before)
        other(body)
        body.code.land(over)
        body.join(after)
    body.nesting -= 1


def loop(body: Body, inner: Statement) -> None:
    """A few rounds of `inner`, which may hold calls; the counter lies in a saved register or in a stack word."""
    draw = body.draw
    reg = _register_counter(body)
    hidden = [off for off in body.frame if off not in body.exposed]
    if body.loops or body.plan.forks < 2 or (reg is None and not hidden):
        alu(body)
        return
    body.plan.forks -= 1
    body.loops += 1
    body.forget(TEMPORARY & ~body.locked)
    body.unbind()
    body.may_load = False
    rounds = draw.between(2, 4)
    if reg is not None and (not hidden or draw.random() < 0.7):
        _count_in_register(body, reg, rounds, inner)
    else:
        _count_in_stack(body, draw.pick(hidden), rounds, inner)
    body.unbind()
    body.loops -= 1
    body.plan.tags.add("loop")


def _count_in_register(body: Body, reg: int, rounds: int, inner: Statement) -> None:
    draw, code = body.draw, body.code
    code.mov_imm(reg, 0)
    body.forget(1 << reg)
    body.locked |= 1 << reg
    head = len(code.rows)
    _round(body, inner)
    code.add_imm(reg, 1)
    compare = draw.pick((isa.JMP, isa.JMP32)) | draw.pick((isa.JLT, isa.JNE, isa.JSLT))
    code.back(head, compare, reg, 0, rounds)
    body.locked &= ~(1 << reg)
    body.number(reg)


def _count_in_stack(body: Body, off: int, rounds: int, inner: Statement) -> None:
    code = body.code
    code.store_imm(FP, off, 0)
    body.slots.pop(off, None)
    body.spilled.pop(off, None)
    frame, body.frame = body.frame, tuple(one for one in body.frame if one != off)
    head = len(code.rows)
    _round(body, inner)
    spare = body.temporary()
    code.load(spare, FP, off)
    code.add_imm(spare, 1)
    code.store(FP, off, spare)
    code.back(head, isa.JMP | isa.JLT, spare, 0, rounds)
    body.forget(1 << spare)
    body.frame = frame


def _round(body: Body, inner: Statement) -> None:
    """`inner`, in which pointers stay where they are: the next round must find what this one did."""
    before = body.known()
    locked, frame = body.locked, body.frame
    for held in body.pointers:
        body.locked |= 1 << held
    body.frame = tuple(off for off in frame if off not in body.spilled)
    inner(body)
    body.frame, body.locked = frame, locked
    body.join(before)


def _register_counter(body: Body) -> int | None:
    """A saved register for a loop's counter."""
    usable = body.keep & ~body.locked & ~body.loaded
    free = [reg for reg in REGS[usable] if reg not in body.pointers]
    return body.draw.pick(free) if free else None


def may_goto(body: Body) -> None:
    """A may_goto: alone, in a loop that ends by itself, or rarely in one that only it ends."""
    draw, code, plan = body.draw, body.code, body.plan
    if plan.may_gotos <= 0 or body.loops:
        alu(body)
        return
    plan.may_gotos -= 1
    plan.tags.add("may_goto")
    if draw.random() < 0.3:
        out = code.jump(isa.OP_MAY_GOTO)
        before = body.known()
        alu(body)
        code.land(out)
        body.join(before)
        return
    counter = _register_counter(body)
    if plan.endless > 0 and draw.random() < 0.7:
        plan.endless -= 1
        plan.tags.add("endless")
        counter = None
    elif counter is None:
        return
    body.loops += 1
    body.unbind()
    _rounds(body, counter)
    body.unbind()
    body.loops -= 1


def _rounds(body: Body, counter: int | None) -> None:
    """A loop that a may_goto ends, if the counter does not before."""
    draw, code = body.draw, body.code
    if counter is not None:
        code.mov_imm(counter, 0)
        body.forget(1 << counter)
        body.locked |= 1 << counter
    head = len(code.rows)
    out = code.jump(isa.OP_MAY_GOTO)
    before = body.known()
    if counter is not None and draw.random() < 0.5:
        alu(body)
    if counter is None:
        code.back(head)
    else:
        code.add_imm(counter, 1)
        code.back(head, isa.JMP | isa.JLT, counter, 0, draw.between(2, 5))
        body.locked &= ~(1 << counter)
    code.land(out)
    body.join(before)
