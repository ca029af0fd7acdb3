"""Generator `calls`: trees of functions with 0 to 12 arguments, kfuncs, helpers, callbacks and tail calls.

A program is planned first (type, functions and their parameters, depths of stacks, registers), then written function by
function; a function calls only those behind it. What stands in a function is chosen statement by statement.
"""

import random
from dataclasses import replace

from bpf.program import Program, Request
from emu.fuzz.generators.accesses import context
from emu.fuzz.generators.body import Body
from emu.fuzz.generators.code import Code, link
from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.frame import early_exit, enter, leave, may_throw, throw
from emu.fuzz.generators.locks import with_lock
from emu.fuzz.generators.made import Made
from emu.fuzz.generators.plan import VALUE_SIZE, Plan
from emu.fuzz.generators.prototypes import CATCH, GLOBAL, RETURNS, SCALARS, STATIC, Param, Signature
from emu.fuzz.generators.setting import CHECKPOINTS, FLAGS, context_type, inputs, maps
from emu.fuzz.generators.sites import some_call, tail_call
from emu.fuzz.generators.statements import plain

_TYPES = ("sched_cls",) * 9 + ("syscall",) * 6 + ("xdp",) * 4 + ("raw_tracepoint",)
# Bytes of stack: around what fits a displacement of 8 bits, around the limit, and odd ones.
_DEPTHS = (
    0, 0, 1, 2, 4, 8, 8, 12, 13, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 120, 127, 128, 128, 129, 136, 136, 144,
    256, 300, 464, 480, 496, 512, 512,
)  # fmt: skip
_COUNTS = (0, 1, 2, 3, 4, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 12)
_CHAIN = 512  # bytes of stack that all functions together may have, each of them rounded up
_GRAIN = 16


def calls(rng: random.Random) -> Made:
    """One program of this kind."""
    draw = Draw(rng)
    plan = _plan(draw)
    program, others = _written(plan)
    return Made(Request(program, inputs(draw, plan.prog_type)), others, tuple(sorted(plan.tags)))


# ---------------------------------------------------------------- planning


def _plan(draw: Draw) -> Plan:
    prog_type = draw.pick(_TYPES)
    plan = Plan(draw, prog_type, flags=FLAGS.get(prog_type, 0))
    if draw.random() < 0.45:
        plan.flags |= CHECKPOINTS
        plan.tags.add("checkpoints")
    plan.packet_loads = prog_type == "sched_cls" and draw.random() < 0.15
    plan.may_gotos = 2 if draw.random() < 0.12 else 0
    plan.endless = 1 if plan.may_gotos and draw.random() < 0.08 else 0  # each takes seconds
    plan.addresses = prog_type != "raw_tracepoint" or draw.random() < 0.4
    plan.shows = draw.random() < 0.3
    tails = prog_type != "raw_tracepoint" and draw.random() < 0.06
    each = draw.random() < 0.1
    locked = prog_type != "raw_tracepoint" and draw.random() < 0.1
    plan.maps = maps(draw, table=each, progs=tails, locked=locked)
    at = {spec.name: index for index, spec in enumerate(plan.maps)}
    plan.table, plan.progs, plan.locked = at.get("table"), at.get("progs"), at.get("locked")
    plan.functions = _functions(plan)
    return plan


def _functions(plan: Plan) -> tuple[Signature, ...]:
    """The main function, those that it calls, those that helpers call, the one that takes exceptions; last the quiet ones."""
    draw = plan.draw
    count = draw.pick((1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6))
    if plan.progs is None and draw.random() < 0.04:
        count = 0
    functions = [Signature("main", (Param(context_type(plan.prog_type), ctx=True),), "int", GLOBAL)]
    functions += [_signature(plan, number) for number in range(count)]
    first = 1 if plan.progs is None else 2  # the function behind the main one is to make the tail call
    last = len(functions)
    if plan.locked is not None:
        last = max(first, last - draw.between(1, 2))
        functions[last:] = [replace(one, quiet=True, linkage=STATIC) for one in functions[last:]]
    if plan.addresses and draw.random() < 0.22:
        for number in range(count, count + draw.pick((1, 1, 2))):
            functions.insert(draw.between(first, last), _callback(plan, number))
            last += 1
    if draw.random() < 0.1:
        if draw.random() < 0.65:
            functions.insert(
                draw.between(first, last), Signature(CATCH, (Param("u64"),), "u64", GLOBAL, "catch")
            )
        plan.throwing = next((at for at, one in enumerate(functions) if one.callback), len(functions))
    return tuple(functions)


def _signature(plan: Plan, number: int) -> Signature:
    draw = plan.draw
    ret = draw.pick(RETURNS)
    if plan.progs is not None and number == 0:
        ctx = Param(context_type(plan.prog_type), ctx=True)
        more = tuple(_param(plan) for _ in range(draw.below(5)))
        return Signature("f0", (ctx, *more), ret)
    count = draw.pick(_COUNTS)
    if count <= 5 and draw.random() < 0.15:
        return Signature(f"f{number}", tuple(Param(draw.pick(SCALARS)) for _ in range(count)), ret, GLOBAL)
    return Signature(f"f{number}", tuple(_param(plan) for _ in range(count)), ret)


def _param(plan: Plan) -> Param:
    draw = plan.draw
    kind = draw.random()
    if kind < 0.08:
        return Param(draw.pick(("u64 *", "u64", "long")), room=8)
    if kind < 0.14:
        return Param(draw.pick(("struct pair *", "u64")), room=16)
    if kind < 0.24:
        return Param(draw.pick(("u64", "u32", "long", "u8")), bound=VALUE_SIZE - 8)
    if kind < 0.27:
        return Param(context_type(plan.prog_type), ctx=True)
    return Param(draw.pick(SCALARS) if kind < 0.6 else draw.pick(("u64", "long")))


def _callback(plan: Plan, number: int) -> Signature:
    """Called by a helper; how many parameters it declares is its own matter."""
    draw = plan.draw
    name, ret = f"f{number}", draw.pick(("long", "u64", "int"))
    if draw.random() < (0.2 if plan.table is None else 0.5):
        fixed: tuple[Param, ...] = (Param("void *", opaque=True), Param("void *", opaque=True))
        fixed += (Param("u64 *", room=VALUE_SIZE), Param("u64 *", room=8))
        return Signature(name, fixed, ret, callback="each")
    count = draw.pick((0, 0, 0, 0, 1, 2, 3)) if draw.random() < 0.92 else draw.pick((4, 5, 7, 10))
    more = tuple(Param(draw.pick(SCALARS), opaque=index < 3) for index in range(count))  # helpers pass two
    return Signature(name, (Param("u32"), Param("u64 *", room=8), *more), ret, callback="loop")


# ---------------------------------------------------------------- writing


def _written(plan: Plan) -> tuple[Program, dict[str, Program]]:
    draw = plan.draw
    size = draw.pick((10, 16, 22, 28, 34, 40, 48, 60))
    depths = _depths(plan)
    called = {"main", CATCH}
    kept: list[tuple[Signature, Code]] = []
    for number, signature in enumerate(plan.functions):  # each is called by those in front of it only
        if signature.name in called:
            share = size if number == 0 else max(size // len(plan.functions), 4)
            code = _function(plan, number, depths[number], share).code
            called.update([name for _, name in code.calls])
            kept.append((signature, code))
    kept[1:] = sorted(kept[1:], key=_no_callback)  # none last: 7.3.4 refuses one that no path reaches
    program = link("calls", kept, prog_type=plan.prog_type, prog_flags=plan.flags, maps=plan.maps)
    plan.tags.update(f"args:{len(one.params)}" for one, _ in kept[1:])
    others = {} if plan.progs is None else {"target": _target(plan)}
    return program, others


def _no_callback(one: tuple[Signature, Code]) -> bool:
    return not one[0].callback


def _depths(plan: Plan) -> list[int]:
    """Bytes of stack for each function; together they fit. A private stack (64 bytes and more) has no addresses."""
    draw = plan.draw
    most = 128 if plan.progs is not None else _CHAIN
    if plan.prog_type == "raw_tracepoint" and plan.addresses:
        most = 56
    left = _CHAIN - _GRAIN * len(plan.functions)
    depths = []
    for _ in plan.functions:
        depth = draw.pick(_DEPTHS)
        extra = (max(depth, 1) + _GRAIN - 1) // _GRAIN * _GRAIN - _GRAIN
        if extra > left or depth > most:
            depth, extra = 8, 0
        left -= extra
        depths.append(depth)
    draw.rng.shuffle(depths)
    return depths


def _target(plan: Plan) -> Program:
    """Where tail calls go."""
    code = Code()
    code.mov_imm(0, plan.draw.imm())
    code.exit()
    main = Signature("main", (Param(context_type(plan.prog_type), ctx=True),), "int", GLOBAL)
    return link("target", [(main, code)], prog_type=plan.prog_type, prog_flags=FLAGS.get(plan.prog_type, 0))


def _function(plan: Plan, number: int, depth: int, size: int) -> Body:
    draw = plan.draw
    signature = plan.functions[number]
    keep = draw.below(16) | plan.packet_loads  # packet loads want r6
    body = Body(plan, signature, keep << 6, depth, plain)
    on_chain = plan.progs is not None and number < 2
    enter(body)
    later = plan.functions[number + 1 :]
    if number == 0:
        for _ in range(draw.between(1, 3)):
            context(body)
    left = 3 if number == 0 else 2
    while len(body.code.rows) < size or (number == 0 and left == 3):
        kind = draw.random()
        if left > 0 and kind < (0.3 if number == 0 else 0.4):
            left -= 1
            some_call(body, later, 5 if on_chain else 12)
        elif kind > 0.97:
            early_exit(body)
        elif kind > 0.9 and may_throw(body):
            throw(body)
        elif kind > 0.85 and plan.locked is not None and not body.quiet:
            with_lock(body, later)
        else:
            plain(body)
    if left == 2 and number and draw.random() < 0.6:
        some_call(body, later, 5 if on_chain else 12)  # chains would be short without
    if plan.progs is not None and number == 1:
        tail_call(body)
    leave(body)
    if len([count for count in body.counts if count > 5]) > 1:
        plan.tags.add("several-counts")
    if signature.callback and max(body.counts, default=0) > 5:
        plan.tags.add(f"stack-arguments-in-{signature.callback}")
    return body
