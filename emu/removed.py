"""Functions that no path reaches and that the verifier removed: their address is that of whatever comes next (docs/fidelity.md).

Knows outcomes and what the verifier left of a program, not engines.
"""

from dataclasses import replace

from bpf.verified import Verified
from emu.native import function_starts
from emu.outcome import CallRecord, Outcome, Pointer


def with_removed(verified: Verified, expected: Outcome, outcome: Outcome) -> Outcome:
    """`outcome` with the addresses of removed functions as they are in `expected`, call by call."""
    starts, kept = function_starts(verified.program), set(verified.origin)
    gone = {number for number, start in enumerate(starts) if start not in kept}
    if not gone:
        return outcome
    runs = []
    for ours, theirs in zip(expected.runs, outcome.runs, strict=True):
        calls = [_with_args(other, one, gone) for one, other in zip(ours.calls, theirs.calls, strict=False)]
        runs.append(replace(theirs, calls=(*calls, *theirs.calls[len(calls) :])))
    return replace(outcome, runs=tuple(runs))


def _with_args(call: CallRecord, model: CallRecord, gone: set[int]) -> CallRecord:
    args, shown = list(call.args), list(call.shown)
    for at, (pointer, native) in enumerate(zip(model.shown[: len(args)], shown, strict=False)):
        if pointer is not None and pointer.space == "func" and _same_place(pointer, native, gone):
            args[at], shown[at] = model.args[at], pointer
    return replace(call, args=tuple(args), shown=tuple(shown))


def _same_place(function: Pointer, native: Pointer | None, gone: set[int]) -> bool:
    """Whether the function was removed, or lies where one that was removed would, whose address native code shows."""
    if function.base in gone:
        return True
    if native is None or native.space != "func" or native.base not in gone:
        return False
    return all(number in gone for number in range(native.base, function.base))
