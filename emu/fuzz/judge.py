"""One program from end to end: all stages, then all oracles. The reducer and the campaign both ask here."""

import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from bpf.errors import InputError
from bpf.program import Program, Request
from emu.fuzz.finding import Finding
from emu.fuzz.oracles import ORACLES, Exam
from emu.pipeline import Case, Pipeline
from verifier.recorder import Recorder

_RECORDED: Final = 20_000  # visits of the verifier that are kept at most; longer programs are not followed
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Judged:
    """case: what the stages made of it. findings: of every oracle the first, in the order of the oracles."""

    case: Case
    findings: tuple[Finding, ...]


class _Crashed(Exception):  # noqa: N818 - never leaves this module
    """An exception that no stage and no oracle may let out."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding


class Judge:
    """Runs programs and asks the oracles. pipeline: engines and options, planted faults included."""

    def __init__(self, pipeline: Pipeline, oracles: Collection[str] = tuple(ORACLES)) -> None:
        self.pipeline = pipeline
        self.oracles = tuple(name for name in ORACLES if name in oracles)

    def judge(
        self, request: Request, others: Mapping[str, Program] | None = None, *, thorough: bool = False
    ) -> Judged:
        """Raises InputError where no engine can take the program at all; a rejection is no finding.

        Whatever else a stage or an oracle raises is a finding of the oracle "crash", whose kind says where.
        """
        request = replace(request, log_level=0)  # nobody reads the log here
        recorder = Recorder(_RECORDED) if "sound" in self.oracles else None
        try:
            case = _guarded(lambda: self.pipeline.run(request, others, recorder=recorder))
        except _Crashed as crash:
            return Judged(Case(request, others=others or {}), (crash.finding,))
        exam = Exam(request, others or {}, case, self.pipeline, thorough, recorder)
        found: list[Finding] = []
        for name in self.oracles:
            try:
                one = _guarded(lambda oracle=ORACLES[name]: next(iter(oracle(exam)), None))  # type: ignore[misc]
            except _Crashed as crash:
                one = crash.finding
            except InputError:  # what an oracle wants to try in addition is not possible here
                continue
            if one is not None:
                found.append(one)
        return Judged(case, tuple(found))


def _guarded(run: Callable[[], _T]) -> _T:
    """What `run` returns; anything but an InputError becomes a _Crashed."""
    try:
        return run()
    except InputError:
        raise
    except Exception as error:
        raise _Crashed(_crash(error)) from error


def _crash(error: Exception) -> Finding:
    """The kind is the exception with the function that raised it, which stays when the program is made smaller."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(last.filename)
    kind = f"{type(error).__name__} in {file.parent.name}/{file.name}:{last.name}"
    return Finding("crash", kind, f"{kind}: {' '.join(str(error).split())}")
