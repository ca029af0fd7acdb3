"""What an oracle is given, and what it is: a function of an `Exam`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bpf.program import Program, Request
from bpf.verified import Verified
from emu.fuzz.finding import Finding
from emu.pipeline import Case, Pipeline
from verifier.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Exam:
    """A finished case. thorough: also look at what is too slow for every case (decided by the case's number).

    recorder: the states of the verification that `case` comes from, None where nobody kept them.
    """

    request: Request
    others: Mapping[str, Program]
    case: Case
    pipeline: Pipeline
    thorough: bool = False
    recorder: Recorder | None = None

    @property
    def verified(self) -> Verified | None:
        """The program as the verifier accepted it."""
        return self.case.verdict if isinstance(self.case.verdict, Verified) else None


Oracle = Callable[[Exam], Iterator[Finding]]
