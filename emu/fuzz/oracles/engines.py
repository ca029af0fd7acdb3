"""The interpreter and the sandbox agree: result, maps, packet, every argument of every call; and no convention is broken."""

from collections.abc import Iterator
from typing import Final

from bpf import isa
from emu.compare import Difference
from emu.fuzz.finding import Finding
from emu.fuzz.oracles.exam import Exam
from emu.outcome import Outcome

_LONG: Final = 10_000  # instructions that native code never takes seconds for


def judge(exam: Exam) -> Iterator[Finding]:
    """The first point at which both part; nothing when one was only cut off before it."""
    case = exam.case
    found = case.difference
    if found is None or case.interp is None or case.sandbox is None:
        return
    if not _cut_off(found, case.interp, case.sandbox):
        yield Finding(
            "engines", _kind(found, case.interp, case.sandbox), found.message, found.insn, found.run
        )


def _cut_off(found: Difference, left: Outcome, right: Outcome) -> bool:
    """Whether all that differs is how far an engine got: one counts instructions, the other time."""
    if found.run is None:
        return False
    one, other = left.runs[found.run], right.runs[found.run]
    if one.trap is not None and one.trap.kind == "budget":
        return True
    too_slow = other.trap is not None and other.trap.kind == "budget"
    return too_slow and (one.insns or _LONG) >= _LONG


def _kind(found: Difference, left: Outcome, right: Outcome) -> str:
    """What differs, without its values: "violation callee-saved", "stack argument", "trap none access"."""
    if found.kind == "violation":
        return f"violation {found.check}"
    if found.kind == "argument" and (found.argument or 0) > isa.MAX_REG_ARGS:
        return "stack argument"
    if found.kind == "trap" and found.run is not None:
        ends = (side.runs[found.run].trap for side in (left, right))
        return " ".join(("trap", *("none" if trap is None else trap.kind for trap in ends)))
    return found.kind
