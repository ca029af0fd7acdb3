"""One recorded answer against ours, field by field."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from emu.outcome import Outcome
from emu.pipeline import Case

State = Literal["agree", "differ", "not comparable"]

# in the order of the table's columns
FIELDS = ("image", "verdict", "errno", "message", "bytes", "retval", "maps", "data_out", "ctx_out", "engines")


@dataclass(frozen=True, slots=True)
class Check:
    """One field of one program. why: what differs, or why it cannot be compared; "" when it agrees."""

    field: str
    state: State
    why: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One program. group: family or object. case: None where the recording could not be read at all."""

    name: str
    group: str
    checks: tuple[Check, ...]
    case: Case | None = None
    json: dict[str, object] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Whether any field differs."""
        return any(check.state == "differ" for check in self.checks)


def equal(name: str, ours: object, theirs: object, why: str = "") -> Check:
    """A check of two values; the reason shows both, shortened."""
    if ours == theirs:
        return Check(name, "agree")
    return Check(name, "differ", why or f"ours {_short(ours)}, kernel {_short(theirs)}")


def merge(name: str, checks: Iterable[Check]) -> Check | None:
    """Several checks of one field as one: the worst counts, with its reason."""
    found = list(checks)
    for state in ("differ", "not comparable"):
        worst = next((check for check in found if check.state == state), None)
        if worst is not None:
            return Check(name, worst.state, worst.why)
    return Check(name, "agree") if found else None


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def verdict_checks(case: Case, accepted: bool, errno: str, message: str | None) -> list[Check]:
    """Verdict, errno and message.

    An acceptance of ours without abstract interpretation is no verdict yet about a program the kernel rejects.
    """
    verdict = case.verdict
    assert verdict is not None
    ours = not case.rejected
    if ours and not accepted and not getattr(verdict, "pruned", True):
        return [Check("verdict", "not comparable", "the rejection needs the abstract interpretation")]
    checks = [equal("verdict", _word(ours), _word(accepted), _verdict_why(case, errno, message))]
    if not ours and not accepted:
        checks.append(equal("errno", getattr(verdict, "errno", "OK"), errno))
        checks.append(equal("message", getattr(verdict, "message", None), message))
    return checks


def _word(accepted: bool) -> str:
    return "accepted" if accepted else "rejected"


def _verdict_why(case: Case, errno: str, message: str | None) -> str:
    if case.rejected:
        return f"we reject: {getattr(case.verdict, 'message', None)}"
    return f"we accept, the kernel says {errno}: {message}"


def not_comparable(outcome: Outcome) -> str:
    """Why an outcome says nothing about the kernel: something that it needs is not there. "" when it does."""
    for run in outcome.runs:
        if run.trap is not None and run.trap.kind in ("call", "internal") and "not " in run.trap.message:
            return f"{outcome.engine}: {run.trap.message}"
    return ""


def engine_check(case: Case) -> Check | None:
    """Whether both engines agree with each other, whatever the kernel says."""
    if case.interp is None or case.sandbox is None:
        return None
    if case.difference is None:
        return Check("engines", "agree")
    return Check("engines", "differ", case.difference.message)
