"""Two outcomes of one program: where do they first part?

Order of looking, run by run: calls in the order in which they were made, those of the program's own functions among
them (callee, each argument, result), then how
the run ended (two runs that were cut off end alike, wherever they were), then violations, result, packet, context;
after the last run the maps. The first thing that differs explains the rest, so only it is reported. Knows outcomes, not engines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, compress
from typing import TypeVar

from bpf import isa
from bpf.maps import MapSpec
from emu.outcome import ABOVE, CODE, CODE_SIZE, CallRecord, Entry, Outcome, Pointer, RunResult, Trap

_T = TypeVar("_T", CallRecord, Entry, Trap)
STACKS = 0xFFFF_C900_0000_0000  # where all engines have their stacks, within 16 MiB


@dataclass(frozen=True, slots=True)
class Difference:
    """The first point at which two outcomes part.

    kind: "calls", "callee", "argument", "result", "trap", "violation", "errno", "retval", "data_out", "ctx_out", "map".
    run: number of the run, from 0; call: number of the call in it; insn: index in `Program.insns`;
    argument: 1..12; left, right: what each engine has, as text; message: one line that says all of it. check: of a
    violation its name, else the kind.
    """

    kind: str
    message: str
    left: str
    right: str
    run: int | None = None
    call: int | None = None
    insn: int | None = None
    callee: str = ""
    argument: int | None = None
    native: int | None = None
    check: str = ""


def without_inlined(outcome: Outcome, inlined: frozenset[int]) -> Outcome:
    """An interpreter's outcome without the calls that native code does not make (`Verified.inlined`)."""
    if not inlined:
        return outcome
    return replace(outcome, runs=tuple(_without(run, inlined) for run in outcome.runs))


def _without(run: RunResult, inlined: frozenset[int]) -> RunResult:
    kept = [call.insn not in inlined for call in run.calls]
    before = list(accumulate(kept, initial=0))
    return replace(
        run,
        calls=tuple(compress(run.calls, kept)),
        entries=tuple(replace(one, after=before[min(one.after, len(kept))]) for one in run.entries),
    )


def compare(left: Outcome, right: Outcome, maps: Sequence[MapSpec] = ()) -> Difference | None:
    """The first difference of two outcomes of the same program and inputs, None when they agree.

    A violation on either side is a difference even where results agree: a broken convention that did no harm yet.
    """
    names = (left.engine, right.engine)
    if not (right.gated and right.framed):
        left, right = _as_known(left, right), _as_known(right, right)
    if not right.placed:
        pairs = zip(left.runs, right.runs, strict=False)
        right = replace(right, runs=tuple(_with_places(one, other) for one, other in pairs))
    if len(left.runs) != len(right.runs):
        return _difference("errno", names, f"{len(left.runs)} runs", f"{len(right.runs)} runs")
    for index, (one, other) in enumerate(zip(left.runs, right.runs, strict=True)):
        found = next(_run_differences(one, other, names, index), None)
        if found is not None:
            return found
        if _both_stopped(one, other):
            return None  # what each had done by then, and all that follows, depends on its speed
    return _map_difference(left, right, maps, names)


def _as_known(outcome: Outcome, by: Outcome) -> Outcome:
    """An outcome with no more than the other one knows of calls between functions and of frames."""

    def shown(pointers: tuple[Pointer | None, ...]) -> tuple[Pointer | None, ...]:
        return tuple(
            replace(one, base=one.base if by.gated else 0, off=0) if one and one.space == "stack" else one
            for one in pointers
        )

    def known(run: RunResult) -> RunResult:
        calls = tuple(replace(one, shown=shown(one.shown)) for one in run.calls)
        if not by.gated:
            return replace(run, calls=calls, entries=(), entries_dropped=0)
        return replace(
            run, calls=calls, entries=tuple(replace(one, shown=shown(one.shown)) for one in run.entries)
        )

    return replace(outcome, runs=tuple(map(known, outcome.runs)))


def _with_places(known: RunResult, run: RunResult) -> RunResult:
    """A run with its instructions as in the other one, wherever it does not know them itself."""

    def placed(one: _T, other: _T) -> _T:
        return replace(one, insn=other.insn) if one.insn is None else one

    calls = tuple(map(placed, run.calls, known.calls)) + run.calls[len(known.calls) :]
    entries = tuple(map(placed, run.entries, known.entries)) + run.entries[len(known.entries) :]
    trap = placed(run.trap, known.trap) if run.trap is not None and known.trap is not None else run.trap
    return replace(run, calls=calls, entries=entries, trap=trap)


def _difference(
    kind: str,
    names: tuple[str, str],
    left: str,
    right: str,
    *,
    about: str = "",
    run: int | None = None,
    call: int | None = None,
    insn: int | None = None,
    callee: str = "",
    argument: int | None = None,
    native: int | None = None,
) -> Difference:
    where = "" if insn is None else f"insn {insn}: "
    message = f"{where}{about or kind}: {names[0]} {left}, {names[1]} {right}"
    return Difference(kind, message, left, right, run, call, insn, callee, argument, native, kind)


def _run_differences(
    left: RunResult, right: RunResult, names: tuple[str, str], run: int
) -> Iterator[Difference]:
    """Every difference of one run, the one that explains the others first."""
    # A log that is full ends the comparison of functions there, not that of calls.
    dropped = bool(left.entries_dropped or right.entries_dropped)
    entries = min(len(left.entries), len(right.entries)) if dropped else None
    index = 0
    for one, other in zip(in_order(left, entries), in_order(right, entries), strict=False):
        if isinstance(one, CallRecord) and isinstance(other, CallRecord):
            yield from _call_differences(one, other, names, run, index)
            index += 1
        elif isinstance(one, Entry) and isinstance(other, Entry):
            yield from _entry_differences(one, other, names, run)
        elif not dropped:
            yield _difference(
                "callee", names, _calls(one), _calls(other), about="next call", run=run, insn=one.insn
            )
    shared = min(len(left.calls), len(right.calls))
    yield from _ending_differences(left, right, names, run)
    if _both_stopped(left, right):
        return
    yield from _result_differences(left, right, names, run)
    if len(left.calls) != len(right.calls):
        longer = left.calls if len(left.calls) > shared else right.calls
        extra = longer[shared]
        yield _difference(
            "calls", names, f"{len(left.calls)} calls", f"{len(right.calls)} calls",
            about=f"call of {extra.callee} made by one engine only", run=run, call=shared, insn=extra.insn, callee=extra.callee,
        )  # fmt: skip
    if left.errno != right.errno:
        yield _difference("errno", names, left.errno, right.errno, run=run)
    if left.trap is None and right.trap is None:
        yield from _value_differences(left, right, names, run)


def _both_stopped(left: RunResult, right: RunResult) -> bool:
    """Whether both were cut off: one engine counts instructions and the other time, so the places differ."""
    return all(run.trap is not None and run.trap.kind == "budget" for run in (left, right))


def _call_differences(
    left: CallRecord, right: CallRecord, names: tuple[str, str], run: int, index: int
) -> Iterator[Difference]:
    at = {"run": run, "call": index, "insn": left.insn}
    if (left.callee, left.insn) != (right.callee, right.insn):
        yield _difference(
            "callee", names, f"calls {left.callee} at insn {left.insn}", f"calls {right.callee} at insn {right.insn}",
            about=f"call {index + 1}", callee=left.callee, **at,
        )  # fmt: skip
        return
    for number in range(max(len(left.args), len(right.args))):
        one, other = _argument(left, number), _argument(right, number)
        if one != other and not (
            number < min(len(left.args), len(right.args))
            and _same(_shown(left, number), _shown(right, number))
        ):
            yield _difference(
                "argument", names, one, other,
                about=f"argument {number + 1} of {left.callee}", callee=left.callee, argument=number + 1, **at,
            )  # fmt: skip
    if left.ret != right.ret:
        yield _difference(
            "result",
            names,
            hex(left.ret),
            hex(right.ret),
            about=f"result of {left.callee}",
            callee=left.callee,
            **at,
        )


def in_order(run: RunResult, entries: int | None) -> Iterator[CallRecord | Entry]:
    """All calls in the order in which they were made; at most so many of functions of the program."""
    done = 0
    for entry in run.entries[:entries]:
        yield from run.calls[done : entry.after]
        done = max(done, entry.after)
        yield entry
    yield from run.calls[done:]


def _calls(call: CallRecord | Entry) -> str:
    return f"calls {_name(call)} at insn {call.insn}"


def _name(call: CallRecord | Entry) -> str:
    return (
        call.callee if isinstance(call, CallRecord) else call.name or f"the function at insn {call.function}"
    )


def _entry_differences(left: Entry, right: Entry, names: tuple[str, str], run: int) -> Iterator[Difference]:
    if (left.function, left.insn) != (right.function, right.insn):
        yield _difference(
            "callee", names, _calls(left), _calls(right), about="next call", run=run, insn=left.insn
        )
        return
    name = _name(right if right.name else left)
    both = zip(left.args, left.shown, right.args, right.shown, strict=False)
    for number, (one, shown, other, other_shown) in enumerate(both, 1):
        if one is None or other is None:
            continue
        texts = _word(one, shown), _word(other, other_shown)
        if texts[0] != texts[1] and not _same((one, shown), (other, other_shown)):
            yield _difference(
                "argument", names, *texts, about=f"argument {number} of {name}",
                run=run, insn=left.insn, callee=name, argument=number,
            )  # fmt: skip


def _result_differences(
    left: RunResult, right: RunResult, names: tuple[str, str], run: int
) -> Iterator[Difference]:
    """Results of functions of the program, in the order in which they returned."""
    open_: list[tuple[Entry, Entry]] = []
    returned: list[tuple[Entry, Entry]] = []
    for one, other in zip(left.entries, right.entries, strict=False):
        while open_ and open_[-1][0].frame >= one.frame:
            returned.append(open_.pop())
        open_.append((one, other))
    for one, other in [*returned, *reversed(open_)]:
        if one.ret is not None and other.ret is not None and one.ret != other.ret and not _address(one.ret):
            name = _name(other if other.name else one)
            yield _difference(
                "result", names, hex(one.ret), hex(other.ret),
                about=f"result of {name}", run=run, insn=one.insn, callee=name,
            )  # fmt: skip


def _address(value: int) -> bool:
    """Whether a result looks like an address on a stack or of an instruction, which differ from engine to engine."""
    return value >> 24 == STACKS >> 24 or 0 <= value - CODE < CODE_SIZE


def _word(value: int, shown: Pointer | None) -> str:
    return hex(value) if shown is None else str(shown)


def _argument(call: CallRecord, number: int) -> str:
    """An argument as text that is the same in every engine when the argument is."""
    if number >= len(call.args):
        return "none"
    shown = call.shown[number] if number < len(call.shown) else None
    return hex(call.args[number]) if shown is None else str(shown)


def _shown(call: CallRecord, number: int) -> tuple[int, Pointer | None]:
    return call.args[number], call.shown[number] if number < len(call.shown) else None


def _same(left: tuple[int, Pointer | None], right: tuple[int, Pointer | None]) -> bool:
    """Whether words of different texts are the same all the same.

    A number may happen to be the address of a function in one engine. And what a pointer that left its frame leads to
    depends on where an engine has its frames: such pointers are only compared as pointers into a stack.
    """
    if left[0] == right[0] and None in (left[1], right[1]):
        return True
    return (_has_left(left[1]) or _has_left(right[1])) and _in_stack(*left) and _in_stack(*right)


def _has_left(pointer: Pointer | None) -> bool:
    return pointer is not None and pointer.space == "stack" and not -isa.MAX_STACK <= pointer.off <= ABOVE


def _in_stack(value: int, pointer: Pointer | None) -> bool:
    return value >> 24 == STACKS >> 24 if pointer is None else pointer.space == "stack"


def _ending_differences(
    left: RunResult, right: RunResult, names: tuple[str, str], run: int
) -> Iterator[Difference]:
    """How a run ended: two traps are alike when their kind and instruction are."""
    one, other = left.trap, right.trap
    alike = one is other is None or _both_stopped(left, right)
    if not alike and (one is None or other is None or (one.kind, one.insn) != (other.kind, other.insn)):
        first = one or other
        assert first is not None
        yield _difference(
            "trap", names,
            "ends normally" if one is None else f"trap {one.kind} ({one.message})",
            "ends normally" if other is None else f"trap {other.kind} ({other.message})",
            about="end of the run", run=run, insn=first.insn, native=None if other is None else other.native,
        )  # fmt: skip
    for name, result in zip(names, (left, right), strict=True):
        for violation in result.violations:
            yield Difference(
                "violation", f"{name}: {violation.message}", f"{violation.expected:#x}", f"{violation.found:#x}",
                run=run, insn=violation.insn, native=violation.native, check=violation.check,
            )  # fmt: skip


def _value_differences(
    left: RunResult, right: RunResult, names: tuple[str, str], run: int
) -> Iterator[Difference]:
    if left.retval != right.retval:
        yield _difference("retval", names, f"{left.retval:#x}", f"{right.retval:#x}", run=run)
    for kind, one, other in (
        ("data_out", left.data_out, right.data_out),
        ("ctx_out", left.ctx_out, right.ctx_out),
    ):
        if one != other:
            yield _difference(kind, names, *_bytes_apart(one or b"", other or b""), run=run)


def _bytes_apart(left: bytes, right: bytes) -> tuple[str, str]:
    """The place where two strings of bytes part, and up to 8 bytes of each from there."""
    at = next(
        (i for i, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]),
        min(len(left), len(right)),
    )
    return (
        f"{left[at : at + 8].hex() or 'nothing'} at byte {at} of {len(left)}",
        f"{right[at : at + 8].hex() or 'nothing'} at byte {at} of {len(right)}",
    )


def _map_difference(
    left: Outcome, right: Outcome, maps: Sequence[MapSpec], names: tuple[str, str]
) -> Difference | None:
    for index, (one, other) in enumerate(zip(left.maps, right.maps, strict=True)):
        if one == other:
            continue
        name = (maps[index].name if index < len(maps) else "") or f"#{index}"
        ours, theirs = dict(one), dict(other)
        key = next(k for k in [*ours, *theirs] if ours.get(k) != theirs.get(k))
        if key not in ours or key not in theirs:
            texts = tuple("has it" if key in side else "has it not" for side in (ours, theirs))
        else:
            texts = _bytes_apart(ours[key], theirs[key])
        return _difference("map", names, texts[0], texts[1], about=f"map {name}, key {key.hex()}")
    return None
