"""Calls while a lock is held: only functions that do nothing but compute, and what of kfuncs is allowed there."""

from collections.abc import Sequence

from bpf import isa
from emu.fuzz.generators import callees
from emu.fuzz.generators.arith import alu
from emu.fuzz.generators.body import Body
from emu.fuzz.generators.branches import diamond
from emu.fuzz.generators.building import arguments
from emu.fuzz.generators.prototypes import LOCK_AT, LOCKED_SIZE, Signature

_WORDS = tuple(
    at for at in range(0, LOCKED_SIZE, 8) if at != LOCK_AT
)  # of the value, but for the one with the lock


def with_lock(body: Body, later: Sequence[Signature]) -> None:
    """Takes the lock, computes, calls, and gives it back."""
    draw = body.draw
    quiet = [one for one in later if one.quiet]
    _lock(body, callees.SPIN_LOCK)
    body.quiet = True
    for _ in range(draw.between(1, 3)):
        if draw.random() < 0.3:
            _word(body)
        elif draw.random() < 0.2:
            diamond(body, lambda inner: quiet_call(inner, quiet), alu)
        else:
            quiet_call(body, quiet)
    body.quiet = False
    _lock(body, callees.SPIN_UNLOCK)
    body.plan.tags.add("lock")


def quiet_call(body: Body, functions: Sequence[Signature]) -> None:
    """A call of one of these functions, or of a kfunc that may be called while a lock is held."""
    draw, code = body.draw, body.code
    if functions:
        signature = draw.pick(functions)
        if arguments(body, signature.params, callee=signature.name):
            code.call(signature.name)
            body.called()
            return
    if body.plan.prog_type != "xdp":
        kfunc = draw.pick(callees.LOCKED_KFUNCS)
        arguments(body, kfunc.params)
        code.kfunc(kfunc.name, kfunc.module)
        body.called(result=kfunc.result)
    else:
        alu(body)


def _lock(body: Body, helper: int) -> None:
    assert body.plan.locked is not None
    body.code.map_value(1, body.plan.locked, LOCK_AT)
    body.code.helper(helper)
    body.called(result=False)


def _word(body: Body) -> None:
    """A word beside the lock: a number into it, or out of it."""
    draw, code = body.draw, body.code
    assert body.plan.locked is not None
    base = body.temporary()
    code.map_value(base, body.plan.locked, draw.pick(_WORDS))
    body.forget(1 << base)
    src = body.any_number()
    if src is not None and draw.random() < 0.5:
        code.put(isa.STX | isa.MEM | isa.DW, base, src)
    else:
        code.load(base, base, 0)
        body.number(base)
