"""Calls from both ends: where the caller put each argument, where the callee finds it, what arrived in each engine."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from bpf import isa
from bpf.helpers import HELPERS
from emu.compare import STACKS, in_order
from emu.explain import bpf_place, native_place, parameter
from emu.outcome import CallRecord, Entry, Pointer, RunResult
from emu.trace.code import Code
from emu.trace.native import Event
from emu.trace.trace import Argument, Call

Record = CallRecord | Entry
_HELPERS = {helper.name: helper for helper in HELPERS.values()}


def calls(
    run: int, ours: RunResult, theirs: RunResult, events: Sequence[Event], where: Sequence[int], code: Code
) -> Iterator[Call]:
    """The calls of one run whose steps were written down. events: of this run; where: steps of native moments."""
    seen = [event for event in events if event.moment < len(where)]
    dropped = bool(ours.entries_dropped or theirs.entries_dropped)
    entries = min(len(ours.entries), len(theirs.entries)) if dropped else None
    pairs = zip_longest(in_order(ours, entries), in_order(theirs, entries))
    for event, (mine, other) in zip(seen, pairs, strict=False):
        yield _call(run, where[event.moment], event, mine, other, code)


def _call(run: int, step: int, event: Event, mine: Record | None, other: Record | None, code: Code) -> Call:
    function = code.functions[event.function] if event.function >= 0 else None
    if mine is not None and other is not None and type(mine) is not type(other):
        mine = None  # they call different things
    record = other or mine
    name = event.callee.name if event.callee is not None and not event.back else ""
    kind: str = event.callee.kind if name and event.callee is not None else "function"
    if function is not None:
        name, kind = function.name, "callback" if event.back else "function"
    stub = kind not in ("function", "callback")
    params = function.params if function is not None else ()
    count = _count(kind, params, mine, other)
    at_entry = stub or (function is not None and not function.registers)
    args = tuple(_argument(n, name, stub, at_entry, params, mine, other) for n in range(1, count + 1))
    results = (None if mine is None else mine.ret, None if other is None else other.ret)
    shown = ("-" if results[0] is None else hex(results[0]), "-" if results[1] is None else hex(results[1]))
    parted = None not in results and results[0] != results[1]
    if parted and results[0] is not None and results[0] >> 24 == STACKS >> 24:
        parted = False  # addresses on stacks, which every engine has somewhere else
    insn = record.insn if record is not None else None
    differs = parted or any(arg.differs for arg in args) or (mine is None) != (other is None)
    return Call(step, run, insn, name, kind, args, results, shown, differs)


def _count(kind: str, params: tuple[str, ...], mine: Record | None, other: Record | None) -> int:
    """How many arguments to show: those of the prototype, or what both engines may have."""
    records = [record for record in (mine, other) if record is not None]
    if kind not in ("function", "callback"):
        return max((len(record.args) for record in records), default=0)
    if params:
        return len(params)
    if other is not None and len(other.args) > isa.MAX_REG_ARGS:
        return len(other.args)
    defined = [
        n for record in records for n, arg in enumerate(record.args[: isa.MAX_REG_ARGS], 1) if arg is not None
    ]
    return max(defined, default=0) if mine is not None else 0


def _argument(
    number: int,
    callee: str,
    stub: bool,
    at_entry: bool,
    params: tuple[str, ...],
    mine: Record | None,
    other: Record | None,
) -> Argument:
    one, other_one = _value(mine, number), _value(other, number)
    texts = _text(*one), _text(*other_one)
    differs = one[0] is not None and other_one[0] is not None and texts[0] != texts[1]
    missing = mine is not None and other is not None and one[0] is not None and other_one[0] is None
    memory = number > isa.MAX_REG_ARGS + 1
    at = number - isa.MAX_REG_ARGS - 2
    put = f"[rsp+{8 * at:#x}]" if memory else native_place(number)
    found = put if not memory else native_place(number) if at_entry else f"[rbp+{16 + 8 * at:#x}]"
    return Argument(
        number,
        _param(callee, number, stub, params),
        bpf_place(number),
        put,
        found,
        one[0],
        other_one[0],
        texts,
        differs or missing,
    )


def _param(callee: str, number: int, stub: bool, params: tuple[str, ...]) -> str:
    if not stub:
        return params[number - 1] if number <= len(params) else ""
    helper = _HELPERS.get(callee)
    if helper is not None and number <= len(helper.args):
        return helper.args[number - 1].kind.removeprefix("ARG_").lower().replace("_", " ")
    return parameter(callee, number)


def _value(record: Record | None, number: int) -> tuple[int | None, Pointer | None]:
    if record is None or number > len(record.args):
        return None, None
    return record.args[number - 1], record.shown[number - 1] if number <= len(record.shown) else None


def _text(value: int | None, shown: Pointer | None) -> str:
    if value is None:
        return "-"
    return hex(value) if shown is None else str(shown)
