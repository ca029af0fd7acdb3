"""What the verifier accepts runs to its end in both engines, and the JIT compiles it.

Two ends are no fault of the verifier: a run that is longer than its budget, and what the runtime does not model and
says so (docs/runtime.md).
"""

from collections.abc import Iterator

from bpf.verified import Verified
from emu.fuzz.finding import Finding
from emu.fuzz.oracles.exam import Exam
from emu.fuzz.oracles.limits import is_limit
from emu.outcome import Outcome
from jit import JitUnsupported


def judge(exam: Exam) -> Iterator[Finding]:
    """Traps of the interpreter first, as they say more."""
    case, verified = exam.case, exam.verified
    if verified is None:
        return
    if isinstance(case.error, JitUnsupported):
        yield Finding("accepted", "not compiled", str(case.error), _origin(verified, case.error.insn))
    for name, outcome in (("interpreter", case.interp), ("sandbox", case.sandbox)):
        if outcome is not None:
            yield from _traps(name, outcome)


def _traps(name: str, outcome: Outcome) -> Iterator[Finding]:
    for number, run in enumerate(outcome.runs):
        if run.trap is not None and not is_limit(run.trap):
            yield Finding("accepted", f"{name} {run.trap.kind}", run.trap.message, run.trap.insn, number)


def _origin(verified: Verified, slot: int | None) -> int | None:
    return None if slot is None else verified.origin[slot]
