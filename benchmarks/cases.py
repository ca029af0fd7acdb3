"""Whole cases a second: generate, verify, compile, interpret, run natively, compare; and what each stage costs.

    python -m benchmarks.cases [--count N]

The programs of a campaign's generators, and those that faults of the JIT are planted for: some 40 instructions with calls of
6 to 12 arguments. The baseline records everything that both engines do and compares it; below it is what a campaign
does, which records natively only what differs (`Options.quick`), and then its stages.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from multiprocessing import get_context
from typing import TypeVar

from benchmarks.rows import Row
from bpf.program import Program, Request, RunInput
from bpf.verified import Verified
from emu.compare import without_inlined
from emu.fuzz.generators import make
from emu.load import load_file
from emu.mutants.campaign import PROGRAMS
from emu.pipeline import Options, Pipeline
from jit import compile_program
from jit.image import Image
from verifier import verify

T = TypeVar("T")
COUNT = 60  # of a generator
ROUNDS = 3
_OPTIONS = Options(explain=False, insn_limit=20_000, seconds=1.0)


Case = tuple[Request, Mapping[str, Program]]


def fixed() -> list[Case]:
    """The programs of the mutants."""
    files = sorted(PROGRAMS.glob("*.bpf"))
    return [
        (Request(one.request.program, (RunInput(),), log_level=0), {})
        for file in files
        for one in load_file(str(file))
    ]


def generated(generator: str, count: int) -> list[Case]:
    """The first cases of a generator."""
    samples = [make(generator, 1, number) for number in range(count)]
    return [(replace(one.request, log_level=0), one.others) for one in samples]


SUBJECTS: dict[str, Callable[[], list[Case]]] = {
    "calls": lambda: generated("calls", COUNT),
    "isa": lambda: generated("isa", COUNT),
    "fixed": fixed,
}


class Stages:
    """Runs cases stage by stage; seconds of processor time of each."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.seconds: dict[str, float] = defaultdict(float)
        self.cases = self.accepted = self.confirmed = 0

    def _timed(self, stage: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        made = work()
        self.seconds[stage] += time.process_time() - start
        return made

    def run(self, request: Request, others: Mapping[str, Program]) -> None:
        """One case, as the pipeline runs it."""
        program, line = request.program, self.pipeline
        self.cases += 1
        verdict = self._timed("verify", lambda: verify(program, log_level=0, insn_limit=_OPTIONS.insn_limit))
        if not isinstance(verdict, Verified):
            return
        self.accepted += 1
        image: Image = self._timed("compile", lambda: compile_program(verdict))
        left = self._timed("interpret", lambda: line.interpret(request, others))

        def confirm() -> bool:
            engine = line.sandbox(line.machine, _OPTIONS.seconds, program, image, others)
            wanted = without_inlined(left, verdict.inlined)
            return engine.confirm(request.runs, wanted.runs) and engine.world.contents() == left.maps

        if self._timed("run natively and compare", confirm):
            self.confirmed += 1
        else:
            self._timed("again, recorded", lambda: line.execute(request, image, others))


def _seconds(pipeline: Pipeline, requests: Sequence[Case]) -> float:
    """Processor time of all cases, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for request, others in requests:
            pipeline.run(request, others)
        best = min(best, time.process_time() - start)
    return best


def rows(name: str = "fixed", *, say: bool = False) -> list[Row]:
    """One case of some, in full, quick, and by stage."""
    start = time.process_time()
    requests = SUBJECTS[name]()
    making = time.process_time() - start
    count = len(requests)
    plain, quick = Pipeline(_OPTIONS), Pipeline(replace(_OPTIONS, quick=True))
    _ = plain.machine, quick.machine
    stages = Stages(quick)
    full, less = _seconds(plain, requests), _seconds(quick, requests)
    for _ in range(ROUNDS):
        for request, others in requests:
            stages.run(request, others)
    if say:
        insns = sum(len(request.program.insns) for request, _ in requests) / count
        accepted, confirmed = stages.accepted / stages.cases, stages.confirmed / max(stages.accepted, 1)
        print(
            f"{name}: {count} programs of {insns:.0f} instructions; {accepted:.0%} accepted, {confirmed:.0%} of them confirmed"
        )
    made = [Row("whole case, recorded", full / count * 1e6), Row("whole case, quick", less / count * 1e6)]
    if name != "fixed":
        made.append(Row("  generate (not part of the above)", making / count * 1e6))
    made += [Row(f"  {stage}", spent / stages.cases * 1e6) for stage, spent in stages.seconds.items()]
    for pipeline in (plain, quick):
        pipeline.machine.close()
    return made


def _work(name: str, seconds: float) -> float:
    """Cases a second of wall clock that this process does."""
    pipeline = Pipeline(replace(_OPTIONS, quick=True))
    requests = SUBJECTS[name]()
    done, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        for request, others in requests:
            pipeline.run(request, others)
        done += len(requests)
    return done / (time.monotonic() - start)


def processes(name: str = "fixed", seconds: float = 3.0) -> list[Row]:
    """Wall clock of a quick case, in one process and in two at once."""
    made = []
    for count in (1, 2):
        with get_context("spawn").Pool(count) as pool:
            rates = pool.starmap(_work, [(name, seconds)] * count)
        made.append(Row(f"{count} process{'es' * (count > 1)}, wall clock", 1e6 / sum(rates)))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Whole cases, by stage.")
    parser.add_argument("names", nargs="*", choices=[*SUBJECTS, []], help="which programs")
    names = parser.parse_args().names or list(SUBJECTS)
    for name in names:
        measured = [*rows(name, say=True), *processes(name)]
        for row in measured:
            print(f"{row.name:40} {row.micros:9.1f} us {1e6 / row.micros:9.0f} a second")


if __name__ == "__main__":
    main()
