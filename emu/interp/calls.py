"""Everything that leaves a function or comes back to one: calls, callbacks, tail calls, exit.

Each function here carries out one op and answers with the frame to go on with, None when the main program is over.
The op's fields are what decode.py put in it.
"""

from bpf import isa
from bpf.helpers import Helper
from bpf.isa import U32, U64
from bpf.kfuncs import Kfunc
from emu.interp.layout import FUNC_BASE
from emu.interp.records import Row
from emu.interp.state import Frame, Machine, Op, Stop, Waiting, Word
from emu.runtime.callback import HelperResult

THROW = "bpf_throw"


def defined(words: list[Word], count: int) -> tuple[int, ...]:
    """The first `count` arguments of r1..r5 and the stack slots behind them. Raises Stop for an undefined one."""
    for number in range(count):
        if words[number] is None:
            raise Stop("uninitialized", f"{argument_name(number + 1)} is not defined")
    return tuple(words[:count])


def argument_name(number: int) -> str:
    """Argument 3 is in r3, argument 7 in *(u64 *)(r11 -16)."""
    if number <= isa.MAX_REG_ARGS:
        return f"r{number}"
    return f"stack argument {number} (r11 -{8 * (number - isa.MAX_REG_ARGS)})"


def call_function(machine: Machine, frame: Frame, op: Op) -> Frame:
    """Call of a BPF function: (kind, handler, start of the function, slots it may read)."""
    _, _, start, slots, _ = op
    incoming = frame.out
    if slots < isa.MAX_STACK_ARG_SLOTS:
        incoming = [*incoming[:slots], *[None] * (isa.MAX_STACK_ARG_SLOTS - slots)]
    args = frame.regs[1:6]
    entered = machine.push(frame.unit, start, args, incoming)
    entered.entry = machine.recorder.enter(
        frame.pc - 1, start, (*args, *incoming), frame.number, frame.unit.functions
    )
    return entered


def call_helper(machine: Machine, frame: Frame, op: Op) -> Frame:
    """Call of a helper: (kind, handler, Helper)."""
    helper: Helper = op[2]
    args = defined(frame.regs[1:6], helper.nargs)
    row = _record(machine, frame, helper.name, "helper", args)
    if helper.words > helper.nargs:
        args += tuple(word or 0 for word in frame.regs[1 + helper.nargs : 1 + helper.words])
    return _answered(
        machine, frame, row, helper.ret.kind == "RET_VOID", machine.world.helper(helper.id, args)
    )


def call_kfunc(machine: Machine, frame: Frame, op: Op) -> Frame:
    """Call of a kfunc: (kind, handler, Kfunc, number of its parameters, whether it returns nothing)."""
    _, _, kfunc, nargs, void = op
    words = [*frame.regs[1:6], *frame.out]
    args = defined(words, nargs)
    row = _record(machine, frame, kfunc.name, "kfunc", args)
    padding = (0,) * (isa.MAX_FUNC_ARGS - nargs)
    return _answered(machine, frame, row, void, machine.world.kfunc(kfunc.name, args + padding))


def in_arena(kfunc: Kfunc) -> tuple[tuple[int, bool], ...]:
    """The arguments in registers that are addresses in an arena, and whether they may be null."""
    return tuple(
        (number, param.name.endswith("__nullable"))
        for number, param in enumerate(kfunc.proto.params[: isa.MAX_REG_ARGS], 1)
        if param.name.endswith(("__arena", "__arena__nullable"))
    )


def call_with_pages(machine: Machine, frame: Frame, op: Op) -> Frame:
    """As `call_kfunc`, of one that takes addresses in an arena: it is given the kernel's."""
    pages = machine.world.arena(frame.unit.program)
    if pages is None:
        raise Stop("call", f"{op[2].name} takes an address in an arena, and the program has none")
    for number, nullable in in_arena(op[2]):
        word = frame.regs[number]
        if word is not None:
            low = word & U32
            frame.regs[number] = 0 if nullable and not low else pages.base + low
    return call_kfunc(machine, frame, op)


def throw(machine: Machine, frame: Frame, op: Op) -> Frame | None:
    """Call of bpf_throw: (kind, handler, Kfunc, start of the exception callback or None).

    All functions are left, and the callback, or a function that returns the cookie, goes on in the main program's place.
    """
    _, _, kfunc, start, _ = op
    args = defined(frame.regs[1:6], 1)
    _record(machine, frame, kfunc.name, "kfunc", args)
    while len(machine.frames) > 1:
        waiting = machine.frames[-1].waiting
        if waiting is not None:
            waiting.run.close()
        machine.pop()
    main = machine.frames[0]
    if start is None:
        machine.pop()
        machine.result = args[0]
        return None
    machine.enter_again(main, start, args[0])
    return main


def _record(machine: Machine, frame: Frame, callee: str, kind: str, args: tuple[int, ...]) -> Row:
    row = Row(frame.pc - 1, callee, kind, args, frame.number, frame.unit.functions)
    machine.recorder.add(row)
    return row


def _answered(machine: Machine, frame: Frame, row: Row, void: bool, result: HelperResult) -> Frame:
    """A helper gave its result, or is a generator that has yet to run."""
    if isinstance(result, int):
        return _returned(frame, row, void, result)
    return _resume(machine, frame, Waiting(result, row, void), None)


def _returned(frame: Frame, row: Row, void: bool, value: int) -> Frame:
    value &= U64
    row.ret = 0 if void else value
    frame.returned(None if void else value)
    return frame


def _resume(machine: Machine, frame: Frame, waiting: Waiting, value: int | None) -> Frame:
    """Let a helper go on with a callback's result (None at its start), to its next callback or its end."""
    try:
        # A generator that was not started takes only None; HelperResult speaks of what comes after that.
        request = next(waiting.run) if value is None else waiting.run.send(value)
    except StopIteration as end:
        return _returned(frame, waiting.row, waiting.void, end.value)
    start, rest = divmod(request.func - FUNC_BASE, isa.INSN_SIZE)
    if rest or start not in frame.unit.functions:
        waiting.run.close()
        raise Stop("call", f"the callback at {request.func:#x} is no function of the program")
    try:
        args = [word & U64 for word in request.args]
        entered = machine.push(frame.unit, start, args, waiting=waiting)
        row = waiting.row
        entered.entry = machine.recorder.enter(row.insn, start, tuple(args), row.frame, row.functions)
        return entered
    except Stop:
        waiting.run.close()
        raise


def leave(machine: Machine, frame: Frame, _op: Op) -> Frame | None:
    """Exit of a function: (kind, handler)."""
    r0 = frame.regs[0]
    waiting = frame.waiting
    if r0 is None and (waiting is not None or frame.number == 0):
        # A static function may leave r0 undefined; whoever reads it then is stopped there.
        raise TypeError
    if frame.entry is not None:
        frame.entry.ret = r0
    caller = machine.pop()
    if caller is None:
        machine.result = r0
        return None
    if waiting is not None:
        return _resume(machine, caller, waiting, r0)
    caller.returned(r0)
    return caller


def tail_call(machine: Machine, frame: Frame, _op: Op) -> Frame:
    """Helper 12: the frame goes on as another program, or behind the call when there is none or the limit is reached.

    Source: kernel/bpf/core.c, JMP_TAIL_CALL, and the x86 JIT, where a tail call in a function returns to its caller.
    """
    ctx, map_addr, index = defined(frame.regs[1:4], 3)
    name = machine.world.tail_target(map_addr, index & U32)
    if name is None or machine.tail_calls >= isa.MAX_TAIL_CALLS:
        frame.returned(None)
        return frame
    machine.tail_calls += 1
    machine.replace(frame, machine.unit_of(name), ctx)
    return frame


def stop(_machine: Machine, _frame: Frame, op: Op) -> Frame:
    """An instruction that cannot be executed: (kind, handler, kind of the trap, why, instruction or None)."""
    raise Stop(op[2], op[3], op[4])
