"""Runs a fixed set of programs with each mutant planted, in fast mode, then in precise mode where that found something."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Final

from bpf.errors import InputError
from bpf.program import Request
from bpf.verified import Rejected, Verified
from emu.compare import Difference, compare, without_inlined
from emu.load import load_file
from emu.mutants.mutant import Mutant, planted
from emu.outcome import Outcome, Violation
from emu.pipeline import Options, Pipeline
from jit import compile_program
from verifier import verify

PROGRAMS: Final = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class Subject:
    """A program, and what it does in the reference interpreter, without the calls that native code does not make."""

    request: Request
    verified: Verified
    expected: Outcome


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant. fast: what fast mode saw first, "" when it lived; by: the check that killed it.

    checks: all that either mode named; seen: whether precise mode saw it, too. program: name of the one that killed it;
    programs_run: how many it took; cases: runs made. symptom: first violation or difference, in full.
    """

    mutant: Mutant
    fast: str = ""
    by: str = ""
    checks: tuple[str, ...] = ()
    seen: bool = False
    program: str = ""
    programs_run: int = 0
    cases: int = 0
    symptom: str = ""
    insn: int | None = None
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        """Whether fast mode found it."""
        return bool(self.fast)

    @property
    def as_meant(self) -> bool:
        """Whether both modes found it, and the check that was meant to was among those that did."""
        return self.killed and self.seen and self.by == self.mutant.check


class Campaign:
    """Programs that are ready to be run with faults."""

    def __init__(self, files: Sequence[Path] | None = None, options: Options | None = None) -> None:
        self.pipeline = Pipeline(options or Options(seconds=1.0))
        self.subjects = tuple(self._subjects(sorted(PROGRAMS.glob("*.bpf")) if files is None else files))

    def _subjects(self, files: Sequence[Path]) -> Iterator[Subject]:
        for file in files:
            for item in load_file(str(file), lambda _text: None, None):
                verdict = verify(item.request.program)
                if isinstance(verdict, Rejected):
                    raise InputError(str(file), item.request.program.name, f"is rejected: {verdict.message}")
                outcome = self.pipeline.interpret(item.request, {})
                yield Subject(item.request, verdict, without_inlined(outcome, verdict.inlined))

    def baseline(self) -> list[str]:
        """Without a fault, in both modes: what is found, a line each; nothing, unless we are wrong ourselves."""
        out = []
        for subject in self.subjects:
            for precise in (False, True):
                found, violations = self._run(subject, precise=precise)
                if found is not None or violations:
                    symptom = found.message if found else violations[0].message
                    out.append(f"{subject.request.program.name}: {symptom}")
        return out

    def run(self, mutant: Mutant) -> Result:
        """Programs one after the other, until the check that is meant to has killed the mutant, or all have run."""
        started = perf_counter()
        best = Result(mutant)
        for number, subject in enumerate(self.subjects, 1):
            found = self._against(mutant, subject, number)
            if found.killed and (not best.killed or found.as_meant):
                best = found
            if best.as_meant:
                break
        return replace(best, cases=number, seconds=perf_counter() - started)

    def _against(self, mutant: Mutant, subject: Subject, number: int) -> Result:
        with planted(mutant):
            fast, violations = self._run(subject, precise=False)
            if fast is None:
                return Result(mutant)
            slow, located = self._run(subject, precise=True)
        names = [fast.check, *(one.check for one in violations), *(one.check for one in located)]
        if slow is not None:
            names.append(slow.check)
        checks = tuple(dict.fromkeys(names))
        meant = next((one for one in located if one.check == mutant.check), None)
        named = next((one for one in (fast, slow) if one is not None and one.check == mutant.check), None)
        first = meant or named or (located[0] if located else fast)
        by = first.check
        return Result(
            mutant,
            fast.check,
            by,
            checks,
            slow is not None or bool(located),
            subject.request.program.name,
            number,
            0,
            first.message,
            first.insn,
        )

    def _run(self, subject: Subject, *, precise: bool) -> tuple[Difference | None, list[Violation]]:
        image = compile_program(subject.verified)
        run = self.pipeline.explain if precise else self.pipeline.execute
        outcome = run(subject.request, image, {})
        violations = [one for run in outcome.runs for one in run.violations]
        return compare(subject.expected, outcome, subject.request.program.maps), violations
