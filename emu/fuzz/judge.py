"""One program from end to end: all stages, then all oracles. The reducer and the campaign both ask here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bpf.program import Program, Request
from emu.fuzz.finding import Finding
from emu.fuzz.oracles import ORACLES, Exam
from emu.pipeline import Case, Pipeline


@dataclass(frozen=True, slots=True)
class Judged:
    """case: what the stages made of it. findings: of every oracle the first, in the order of the oracles."""

    case: Case
    findings: tuple[Finding, ...]


class Judge:
    """Runs programs and asks the oracles. pipeline: engines and options, planted faults included."""

    def __init__(self, pipeline: Pipeline, oracles: Collection[str] = tuple(ORACLES)) -> None:
        self.pipeline = pipeline
        self.oracles = tuple(name for name in ORACLES if name in oracles)

    def judge(
        self, request: Request, others: Mapping[str, Program] | None = None, *, thorough: bool = False
    ) -> Judged:
        """Raises InputError where no engine can take the program at all; a rejection is no finding."""
        case = self.pipeline.run(request, others)
        exam = Exam(request, others or {}, case, self.pipeline, thorough)
        found = (next(iter(ORACLES[name](exam)), None) for name in self.oracles)
        return Judged(case, tuple(one for one in found if one is not None))
