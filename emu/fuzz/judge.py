"""One program from end to end: all stages, then all oracles. The reducer and the campaign both ask here."""

import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
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


class Crashed(Exception):  # noqa: N818 - a finding, not an error of ours
    """A stage or an oracle raised what none may let out."""

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
            case = guarded(lambda: self.pipeline.run(request, others, recorder=recorder))
        except Crashed as crash:
            return Judged(Case(request, others=others or {}), (crash.finding,))
        exam = Exam(request, others or {}, case, self.pipeline, thorough, recorder)
        findings = tuple(first_findings(exam, self.oracles))
        if recorder is not None:
            recorder.env = (
                None  # which knows the recorder: all states would live on until a circle is looked for
            )
        return Judged(case, findings)


def first_findings(exam: Exam, oracles: Collection[str]) -> Iterator[Finding]:
    """Of every oracle the first finding, in the order of the oracles."""
    for name in oracles:
        try:
            one = guarded(lambda oracle=ORACLES[name]: next(iter(oracle(exam)), None))  # type: ignore[misc]
        except Crashed as crash:
            one = crash.finding
        except InputError:  # what an oracle wants to try in addition is not possible here
            continue
        if one is not None:
            yield one


def guarded(run: Callable[[], _T]) -> _T:
    """What `run` returns. Raises InputError as it does, Crashed for anything else."""
    try:
        return run()
    except InputError:
        raise
    except Exception as error:
        raise Crashed(_crash(error)) from error


def _crash(error: Exception) -> Finding:
    """The kind is the exception with the function that raised it, which stays when the program is made smaller."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(last.filename)
    kind = f"{type(error).__name__} in {file.parent.name}/{file.name}:{last.name}"
    return Finding("crash", kind, f"{kind}: {' '.join(str(error).split())}")
