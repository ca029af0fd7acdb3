"""Generated programs with every fault planted: how many it takes until an oracle finds it.

Cases come in chunks. What does not depend on a fault is done once a chunk: making the program, and running it through the
engines as they are. Then each fault that still lives is planted for the whole chunk, and only what it can change is done
again: a JIT's fault is compiled and run natively, an interpreter's interpreted, a verifier's verified, and run where the
result is another one. A fault is found by a finding that the engines show only with it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import process_time
from typing import Final

from bpf.errors import InputError
from bpf.program import Program, Request
from bpf.verified import Verified
from emu.compare import compare, without_inlined
from emu.fuzz.finding import Finding
from emu.fuzz.judge import Crashed, Judge, first_findings, guarded
from emu.fuzz.oracles import Exam
from emu.fuzz.reduce import Budget, reduce
from emu.fuzz.sample import Sample
from emu.mutants.mutant import Mutant, planted
from emu.pipeline import Case, Options, Pipeline
from jit import compile_program
from verifier import verify
from verifier.recorder import Recorder

CHUNK: Final = 25  # cases for which a fault stays planted
THOROUGH: Final = 16  # one case in so many is also asked what is too slow for all
# What a layer's faults can show up in; the other oracles look at what they cannot change.
ORACLES: Final[Mapping[str, tuple[str, ...]]] = {
    "jit": ("engines", "accepted", "jit"),
    "verifier": ("engines", "accepted", "sound", "strict"),
    "interp": ("engines", "accepted"),
}
_RECORDED: Final = 20_000
# Without holes of the kernel, and with limits that no generated program needs but what a fault makes endless reaches soon.
_OPTIONS: Final = Options(
    mode="strict", budget=150_000, seconds=2.0, explain=False, insn_limit=20_000, quick=True
)


@dataclass(frozen=True, slots=True)
class Found:
    """How a fault showed up. number: of the case, from 1. reduced, others: the program made small, None where that failed."""

    sample: Sample
    finding: Finding
    number: int
    reduced: Request | None = None
    others: Mapping[str, Program] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hunted:
    """What became of a fault. found: None while it lives. cases: with which it was looked for, the last one included;
    seconds: processor time of these with the fault planted."""

    name: str
    found: Found | None = None
    cases: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Hunt:
    """All of a hunt so far. baseline: what was found without a fault, with the sample's name; nothing, unless we are wrong."""

    hunted: dict[str, Hunted]
    cases: int = 0
    accepted: int = 0
    baseline: list[tuple[str, Finding]] = field(default_factory=list)

    @property
    def living(self) -> list[str]:
        """Faults that nothing has found yet."""
        return [name for name, one in self.hunted.items() if one.found is None]


@dataclass(frozen=True, slots=True)
class _Ready:
    """A case as the engines are; number: counted from 1."""

    number: int
    sample: Sample
    case: Case
    thorough: bool


class Hunter:
    """Runs cases with faults; makes its machines once."""

    def __init__(self, options: Options | None = None) -> None:
        self.pipeline = Pipeline(options or _OPTIONS)
        self._judge = Judge(self.pipeline)
        self._runs: Mapping[str, Callable[[_Ready], tuple[Case, Recorder | None]]] = {
            "jit": self._compiled,
            "verifier": self._verified,
            "interp": self._interpreted,
        }

    def hunt(self, mutants: Sequence[Mutant], samples: Iterator[Sample], cases: int) -> Iterator[Hunt]:
        """Until all are found or `cases` are over; gives the state of things after each chunk."""
        state = Hunt({mutant.name: Hunted(mutant.name) for mutant in mutants})
        while state.living and state.cases < cases:
            ready = self._chunk(samples, min(CHUNK, cases - state.cases), state)
            living = set(state.living)
            for mutant in mutants:
                if mutant.name in living:
                    before = state.hunted[mutant.name]
                    state.hunted[mutant.name] = self._with(mutant, ready, before, state.cases)
            yield state

    def _chunk(self, samples: Iterator[Sample], count: int, state: Hunt) -> list[_Ready]:
        """The next cases, without those that show something already."""
        ready = []
        for _ in range(count):
            sample = next(samples)
            state.cases += 1
            thorough = state.cases % THOROUGH == 0
            try:
                judged = self._judge.judge(sample.request, sample.others, thorough=thorough)
            except InputError:
                continue
            if judged.findings:
                state.baseline += ((sample.name, one) for one in judged.findings)
                continue
            state.accepted += not judged.case.rejected
            ready.append(_Ready(state.cases, sample, judged.case, thorough))
        return ready

    def _with(self, mutant: Mutant, ready: Sequence[_Ready], before: Hunted, cases: int) -> Hunted:
        """A chunk with one fault."""
        started = process_time()
        with planted(mutant):
            for one in ready:
                finding = self._finding(mutant, one)
                if finding is not None:
                    seconds = before.seconds + process_time() - started
                    return Hunted(mutant.name, Found(one.sample, finding, one.number), one.number, seconds)
        return replace(before, cases=cases, seconds=before.seconds + process_time() - started)

    def _finding(self, mutant: Mutant, ready: _Ready) -> Finding | None:
        """What the oracles say of one case with the fault that is planted, None for nothing."""
        sample = ready.sample
        try:
            case, recorder = guarded(lambda: self._runs[mutant.layer](ready))
            exam = Exam(sample.request, sample.others, case, self.pipeline, ready.thorough, recorder)
            return next(first_findings(exam, ORACLES[mutant.layer]), None)
        except Crashed as crash:
            return crash.finding
        except InputError:
            return None

    # ---- what a fault can change

    def _compiled(self, ready: _Ready) -> tuple[Case, Recorder | None]:
        case = ready.case
        if not isinstance(case.verdict, Verified):
            return case, None
        return self._run(ready, case.verdict, None), None

    def _interpreted(self, ready: _Ready) -> tuple[Case, Recorder | None]:
        case, sample = ready.case, ready.sample
        if case.interp is None:
            return case, None
        interp = self.pipeline.interpret(sample.request, sample.others)
        return self._compared(replace(case, interp=interp)), None

    def _verified(self, ready: _Ready) -> tuple[Case, Recorder | None]:
        sample, recorder = ready.sample, Recorder(_RECORDED)
        options = self.pipeline.options
        verdict = verify(
            sample.request.program,
            log_level=0,
            mode=options.mode,
            recorder=recorder,
            insn_limit=options.insn_limit,
        )
        if not isinstance(verdict, Verified):
            return replace(ready.case, verdict=verdict, image=None, interp=None, sandbox=None), None
        return self._run(ready, verdict, ready.case), recorder

    def _run(self, ready: _Ready, verdict: Verified, known: Case | None) -> Case:
        """Compile and run. known: the case as it was, whose outcomes stand where the native code is the same."""
        sample = ready.sample
        case = replace(ready.case, verdict=verdict, error=None, image=None, sandbox=None)
        try:
            image = compile_program(verdict, self.pipeline.options.profile)
            case = replace(case, image=image)
            if not sample.request.run:
                return case
            if case.interp is None:
                case = replace(case, interp=self.pipeline.interpret(sample.request, sample.others))
            if known is not None and known.image is not None and known.image.functions == image.functions:
                return replace(case, sandbox=known.sandbox)
            outcome = self.pipeline.execute(sample.request, image, sample.others)
        except InputError as error:
            return replace(case, error=error)
        return self._compared(replace(case, sandbox=outcome))

    def _compared(self, case: Case) -> Case:
        if case.interp is None or case.sandbox is None or case.image is None:
            return case
        expected = without_inlined(case.interp, case.image.verified.inlined)
        return replace(case, difference=compare(expected, case.sandbox, case.request.program.maps))

    # ---- the program that shows it

    def reduced(self, mutant: Mutant, hunted: Hunted, budget: Budget | None = None) -> Hunted:
        """With the program made as small as it goes; as it was where a small one shows the same without the fault."""
        found = hunted.found
        if found is None:
            return hunted
        sample = found.sample
        try:
            with planted(mutant):
                small = guarded(
                    lambda: reduce(sample.request, sample.others, found.finding, self._judge, budget)
                )
        except Crashed:  # nothing that was found is lost
            return hunted
        if not small.reproduced or self._shows(small.request, small.others, found.finding):
            return hunted
        small_found = Found(sample, small.finding, found.number, small.request, small.others)
        return replace(hunted, found=small_found)

    def _shows(self, request: Request, others: Mapping[str, Program], finding: Finding) -> bool:
        judged = self._judge.judge(request, others, thorough=True)
        return any(one.alike(finding) for one in judged.findings)
