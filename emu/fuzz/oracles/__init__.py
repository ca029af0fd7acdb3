"""Who judges: each oracle looks at a finished `Case` (emu.pipeline) and knows no generator.

An oracle is a function of an `Exam`; it yields what it finds, the most telling first, and nothing when all is well. It
may run an engine of its own (the soundness check does), but it never changes the case.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bpf.program import Program, Request
from emu.fuzz.finding import Finding
from emu.fuzz.oracles import engines
from emu.pipeline import Case, Pipeline


@dataclass(frozen=True, slots=True)
class Exam:
    """What an oracle is given. thorough: also look at what is too slow for every case (decided by the case's number)."""

    request: Request
    others: Mapping[str, Program]
    case: Case
    pipeline: Pipeline
    thorough: bool = False


Oracle = Callable[[Exam], Iterator[Finding]]

ORACLES: dict[str, Oracle] = {
    "engines": engines.judge,
}
