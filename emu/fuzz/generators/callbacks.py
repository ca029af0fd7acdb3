"""Helpers that call functions of the program: loops, walks through maps. Some loops the kernel unrolls into the caller, some not.

A loop goes into the caller's own code where its flags are the constant zero, and its callback the same one, on every way
that leads to it; so here both are at times only known when the program runs.
"""

from collections.abc import Callable, Sequence

from bpf import isa
from emu.fuzz.generators import callees
from emu.fuzz.generators.arith import alu, mask
from emu.fuzz.generators.body import Body
from emu.fuzz.generators.branches import condition, fork, goto
from emu.fuzz.generators.building import arguments
from emu.fuzz.generators.passing import stack_word
from emu.fuzz.generators.plan import VALUE_SIZE
from emu.fuzz.generators.prototypes import Param, Signature

_NUMBER = Param("u64")
_WORD = Param("u64", room=8)


def call_back(
    body: Body, signature: Signature, others: Sequence[Signature], widen: Callable[[Body, int], None]
) -> None:
    """A helper that calls a function of the program.

    others: further callbacks, one of which may take its place on another way. widen: makes a call of so many arguments.
    """
    if signature.slots > body.widest:
        widen(body, 5 + signature.slots)  # some call must need as many slots as are stored for the callback
    if not body.frame:
        alu(body)
        return
    body.plan.tags.add(f"callback:{len(signature.params)}")
    params = (_NUMBER, _NUMBER, _WORD, _NUMBER)
    more = (_NUMBER, *signature.params[5:]) if signature.slots else ()
    alike = [one for one in others if one.callback == signature.callback and not one.slots]
    other = body.draw.pick(alike) if alike and not signature.slots and body.draw.random() < 0.6 else None
    made: dict[int, Callable[[Body, int], None]] = {
        1: lambda inner, reg: _function(inner, reg, signature, other),
        2: stack_word,
    }
    made |= _walk(body) if signature.callback == "each" else _loop(body, signature)
    arguments(body, params + more, made, signature.name)
    body.code.helper(callees.FOR_EACH if signature.callback == "each" else callees.LOOP)
    body.called()


def _function(body: Body, reg: int, signature: Signature, other: Signature | None) -> None:
    """The callback's address; with another one's on another way."""
    jump = condition(body) if other is not None and fork(body) else None
    body.code.address(reg, signature.name)
    if jump is not None and other is not None:
        over = goto(body)
        body.code.land(jump)
        body.code.address(reg, other.name)
        body.code.land(over)
        body.plan.tags.add("callback-by-way")
    body.forget(1 << reg)


def _walk(body: Body) -> dict[int, Callable[[Body, int], None]]:
    """What is particular of a walk through a map: which one, no flags."""
    table = body.plan.table

    def walked(inner: Body, reg: int) -> None:
        inner.code.map(reg, inner.plan.values if table is None or inner.draw.random() < 0.4 else table)
        inner.forget(1 << reg)

    return {0: walked, 3: _no_flags}


def _loop(body: Body, signature: Signature) -> dict[int, Callable[[Body, int], None]]:
    """What is particular of a loop: how many rounds, and flags, which must be zero when the program runs."""
    once = signature.slots > 0 or body.draw.random() < 0.4
    kind = body.draw.random()

    def rounds(inner: Body, reg: int) -> None:
        src = inner.any_number()
        if once or src is None or inner.draw.random() < 0.5:
            inner.code.mov_imm(reg, 1 if once else inner.draw.between(1, 4))
        else:
            if src != reg:
                inner.code.mov(reg, src)
            mask(inner, reg, 3)
            inner.code.add_imm(reg, 1)  # never 0: what is never called is no function any more
        inner.number(reg, 4)

    if kind < 0.55:
        return {0: rounds, 3: _no_flags}
    if kind < 0.9:
        return {0: rounds, 3: _flags_from_memory}
    return {0: rounds}


def _no_flags(body: Body, reg: int) -> None:
    body.code.mov_imm(reg, 0)
    body.number(reg, 0)


def _flags_from_memory(body: Body, reg: int) -> None:
    """No flags either, but only the run knows."""
    code = body.code
    code.map_value(reg, body.plan.values, 8 * body.draw.below(VALUE_SIZE // 8))
    code.put(isa.ST | isa.MEM | isa.DW, reg)
    code.load(reg, reg, 0)
    body.number(reg)
    body.plan.tags.add("flags-from-memory")
