"""Places where something is called: functions, kfuncs, helpers, callbacks, tail calls; alone, in loops, behind branches."""

from collections.abc import Sequence

from bpf import isa
from emu.fuzz.generators import callees
from emu.fuzz.generators.accesses import array, spill
from emu.fuzz.generators.arith import alu
from emu.fuzz.generators.body import Body, Pointer
from emu.fuzz.generators.branches import diamond, loop
from emu.fuzz.generators.building import Ready, arguments
from emu.fuzz.generators.callbacks import call_back
from emu.fuzz.generators.locks import quiet_call
from emu.fuzz.generators.plan import VALUE_SIZE
from emu.fuzz.generators.prototypes import Param, Signature
from emu.fuzz.generators.statements import plain

_NUMBER = Param("u64")
_WORD = Param("u64", room=8)


def some_call(body: Body, later: Sequence[Signature], most: int) -> None:
    """A call of a function in `later`, a kfunc or a helper, of at most `most` arguments; at times in a loop or behind a branch."""
    draw = body.draw
    kind = draw.random()

    def one(inner: Body) -> None:
        _call(inner, later, most)

    if kind < 0.08 and not body.loops:
        loop(body, one)
    elif kind < 0.2:
        diamond(body, one, one if draw.random() < 0.5 else alu)
    else:
        one(body)


def _call(body: Body, later: Sequence[Signature], most: int) -> None:
    draw = body.draw
    if body.quiet:
        quiet_call(body, [one for one in later if one.quiet])
        return
    functions = [one for one in later if not one.callback and len(one.params) <= most]
    callbacks = [one for one in later if one.callback in ("loop", "each") and len(one.params) <= most]
    kind = draw.random()
    if callbacks and kind < 0.4:
        call_back(body, draw.pick(callbacks), callbacks, call_kfunc)
    elif functions and kind < 0.8:
        nearest = int(draw.random() ** 2 * len(functions))  # so that chains get long
        call_function(body, functions[nearest])
    elif kind < 0.93:
        call_kfunc(body, draw.pick([count for count in callees.KFUNC_COUNTS if count <= most]))
    else:
        call_helper(body)
    if body.numbers & 1 and draw.random() < 0.6:
        _keep_result(body)


def _keep_result(body: Body) -> None:
    """r0 to a place that outlasts the next call."""
    saved = body.keep & ~body.locked & ~body.loaded
    some = [reg for reg in (6, 7, 8, 9) if saved >> reg & 1 and reg not in body.pointers]
    if some:
        reg = body.draw.pick(some)
        code = isa.ALU64 | isa.MOV | isa.X
        if body.numbers >> reg & 1 and body.draw.random() < 0.5:
            code = isa.ALU64 | body.draw.pick((isa.ADD, isa.XOR)) | isa.X
        body.code.put(code, reg, 0)
        body.number(reg)
    else:
        spill(body)


def call_function(body: Body, signature: Signature) -> None:
    """A function of the program."""
    if not arguments(body, signature.params, callee=signature.name):
        alu(body)
        return
    body.code.call(signature.name)
    body.called()


def call_kfunc(body: Body, count: int) -> None:
    """A kfunc with so many arguments."""
    some = [
        one
        for one in callees.KFUNCS_OF[count]
        if not (one.pointers if body.plan.shows else one.shows)
        and (one.everywhere or body.plan.prog_type != "xdp")
    ]
    if not some:
        alu(body)
        return
    callee = body.draw.pick(some)
    arguments(body, callee.params)
    body.code.kfunc(callee.name, callee.module)
    body.called(result=callee.result)
    body.plan.tags.add(f"kfunc:{count}")


# ---------------------------------------------------------------- helpers


def call_helper(body: Body) -> None:
    """A helper: a number from outside, or an element of a map."""
    draw, code = body.draw, body.code
    kind = draw.random()
    if kind < 0.5 or not body.frame:
        code.helper(draw.pick((callees.KTIME, callees.PRANDOM, callees.PROCESSOR)))
        body.called()
        return
    index = body.plan.values if body.plan.table is None or draw.random() < 0.5 else body.plan.table
    if kind < 0.8:
        _look_up(body, index)
        return
    ready: Ready = {
        0: lambda inner, reg: _map(inner, reg, index),
        2: _value,
        3: _zero,
    }
    arguments(body, (_NUMBER, _WORD, _NUMBER, _NUMBER), ready)
    code.helper(callees.MAP_UPDATE)
    body.called()


def _map(body: Body, reg: int, index: int) -> None:
    body.code.map(reg, index)
    body.forget(1 << reg)


def _zero(body: Body, reg: int) -> None:
    body.code.mov_imm(reg, 0)
    body.number(reg, 0)


def _value(body: Body, reg: int) -> None:
    body.code.map_value(reg, body.plan.values, 0)
    body.forget(1 << reg)


def _look_up(body: Body, index: int) -> None:
    """An element of a map, and what is done with it if there is one."""
    ready: Ready = {0: lambda inner, reg: _map(inner, reg, index)}
    arguments(body, (_NUMBER, _WORD), ready)
    body.code.helper(callees.MAP_LOOKUP)
    body.called(result=False)
    missing = body.code.jump(isa.JMP | isa.JEQ, 0, 0, 0)
    before = body.known()
    body.point(0, Pointer("map", VALUE_SIZE))
    saved = [
        reg
        for reg in (6, 7, 8, 9)
        if (body.keep & ~body.locked & ~body.loaded) >> reg & 1 and reg not in body.pointers
    ]
    if saved and body.draw.random() < 0.5 and not body.loops:
        reg = body.draw.pick(saved)
        body.code.mov(reg, 0)
        body.copied(reg, 0)
    for _ in range(body.draw.between(1, 3)):
        array(body)
    body.code.land(missing)
    body.join(before)
    body.forget(1)


def tail_call(body: Body) -> None:
    """To the other program; what follows runs when that fails."""
    draw, code = body.draw, body.code
    reg = next((reg for reg, pointer in body.pointers.items() if pointer.kind == "ctx"), None)
    if reg is None or body.plan.progs is None:
        plain(body)
        return
    index = body.any_number()
    if reg != 1:
        code.mov(1, reg)
    code.map(2, body.plan.progs)
    if index is not None and index > 2 and draw.random() < 0.3:
        code.mov(3, index)
    else:
        code.mov_imm(3, draw.pick((0, 0, 1, 2, -1)))
    code.helper(callees.TAIL_CALL)
    body.called(result=False)
    body.plan.tags.add("tail_call")


__all__ = ["call_function", "call_kfunc", "some_call", "tail_call"]
