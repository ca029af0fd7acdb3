"""How a call with 0 to 12 arguments is built: values chosen, moved, computed, stored; other statements in between.

The one rule for all callees, functions, kfuncs and callbacks: argument k > 5 of n goes to slot k - 5, in whatever order, by
whatever way, also differently by the way the program went; the others go to r1 to r5; then comes the call. Between two steps any
statement may stand that is not itself a call.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from emu.fuzz.generators.body import PARAMS, Body
from emu.fuzz.generators.passing import context_of, to_register, to_slot
from emu.fuzz.generators.prototypes import Param
from emu.fuzz.generators.ways import on_several_ways

Ready = Mapping[int, Callable[[Body, int], None]]
_NOTHING: Ready = {}
_ANY = Param("u64")


def arguments(body: Body, params: Sequence[Param], ready: Ready = _NOTHING, callee: str = "") -> bool:
    """Everything in front of a call with these parameters. False when an argument cannot be had; nothing is emitted then.

    callee: its name where it is a function of the program. ready: by index, how an argument in a register is made where the parameter does not say it (a map, a function).
    """
    draw = body.draw
    if not _possible(body, params):
        return False
    slots = list(range(5, len(params)))
    regs = list(range(min(len(params), 5)))
    if draw.random() < 0.7:
        draw.rng.shuffle(slots)
    elif draw.random() < 0.5:
        slots.reverse()
    draw.rng.shuffle(regs)
    if draw.random() < 0.75:
        todo = slots + regs
    else:
        todo = slots + regs
        draw.rng.shuffle(todo)
    body.callee = callee
    noise = draw.pick((0.0, 0.05, 0.15, 0.3))
    locked = body.locked
    body.locked |= 1 << PARAMS  # no other call may come in between
    if any(param.ctx for param in params):
        body.locked |= 1 << (context_of(body) or 0)
    while todo:
        index = todo.pop(0)
        if index < 5:
            ready.get(index, partial(to_register, param=params[index]))(body, index + 1)
            body.locked |= 1 << (index + 1)
        elif draw.random() < 0.16 and params[index].scalar and body.plan.forks > 0:
            more = [other for other in todo if other >= 5 and params[other].scalar and draw.random() < 0.3]
            todo = [other for other in todo if other not in more]
            on_several_ways(body, params, [index, *more])
        else:
            to_slot(body, index, params[index])
            if draw.random() < 0.03:
                to_slot(body, index, params[index])
        if noise and draw.random() < noise:
            body.noise(body)
    if body.widest > max(len(params) - 5, 0) and draw.random() < 0.12:
        _surplus(body, len(params))
    body.locked = locked
    body.widest = max(body.widest, len(params) - 5)
    body.counts.add(len(params))
    return True


def _surplus(body: Body, count: int) -> None:
    """One argument more than the callee of `count` takes, which it does not see; some other call needs the slot."""
    to_slot(body, body.draw.between(max(count, 5), 4 + body.widest), _ANY)
    body.plan.tags.add("surplus-slot")


def _possible(body: Body, params: Sequence[Param]) -> bool:
    """Whether all pointers can be had."""
    return context_of(body) is not None or not any(param.ctx for param in params)
