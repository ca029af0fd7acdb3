"""Generated programs for a JIT under test, as pytest wants them: a case that passes, is skipped, or fails with all that is known."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from bpf.errors import InputError
from bpf.verified import Rejected
from emu.explain import explain, located
from emu.external.command import Command
from emu.external.judge import JitJudge
from emu.external.pipeline import Jit, JitPipeline, NotTakenError
from emu.fuzz.finding import Finding
from emu.fuzz.generators import make
from emu.fuzz.judge import Judge
from emu.fuzz.keep import listing
from emu.fuzz.reduce import reduce
from emu.fuzz.sample import Sample
from emu.pipeline import Case, Options

OPTIONS: Final = Options(budget=1_000_000, mode="strict", explain=False, insn_limit=50_000)


class JitDiffersError(AssertionError):
    """What the JIT made does something else than the program says. The message has the shrunk program."""


class Bench:
    """Judges, one a JIT, made when they are first needed. out: folder for the programs of failures, None for none."""

    def __init__(self, out: str | None) -> None:
        self._out = Path(out) if out else None
        self._judges: dict[object, Judge] = {}
        self._commands: list[Command] = []

    def case(self, generator: str, seed: int, number: int) -> "JitCase":
        """Raises InputError when there is no such generator."""
        return JitCase(self, make(generator, seed, number))

    def judge(self, jit: Jit | str) -> Judge:
        """jit: a callable that answers a job, or the command line of a process that does."""
        found = self._judges.get(jit)
        if found is None:
            answers: Jit
            if isinstance(jit, str):
                answers = command = Command(jit)
                self._commands.append(command)
                name = jit
            else:
                answers, name = jit, getattr(jit, "__qualname__", type(jit).__name__)
            found = self._judges[jit] = JitJudge(JitPipeline(answers, name, OPTIONS))
        return found

    def keep(self, name: str, text: str) -> str:
        """Write the program of a failure; the line that says where it is. Raises InputError."""
        if self._out is None:
            return "no folder was given to keep it in (--bpfemu-out DIR)"
        file = self._out / f"{name}.bpf"
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(str(file), "", error.strerror or str(error)) from None
        return f"kept as {file}"

    def close(self) -> None:
        """End the commands, and the machines' watchdogs."""
        for command in self._commands:
            command.close()
        for judge in self._judges.values():
            judge.pipeline.close()


class JitCase:
    """One generated program with its inputs: the value of the fixture `bpfemu_case`. sample: program, inputs, where from."""

    def __init__(self, bench: Bench, sample: Sample) -> None:
        self._bench = bench
        self.sample = sample

    def __repr__(self) -> str:
        return f"<case {self.sample.name}>"

    def check(self, jit: Jit | str) -> None:
        """Run what the JIT makes of the program, in the sandbox and against the reference interpreter.

        jit: a callable that takes a job and returns an answer (docs/your-jit.md), or the command line of a process that does.
        Skips a case that the verifier refuses or that the JIT says it does not take. Raises JitDiffersError with the program,
        made small, and where it goes wrong.
        """
        __tracebackhide__ = True
        judge = self._bench.judge(jit)
        judged = judge.judge(self.sample.request, self.sample.others)
        if judged.findings:
            raise JitDiffersError("\n".join(self._report(judge, judged.findings[0])))
        verdict, error = judged.case.verdict, judged.case.error
        if isinstance(verdict, Rejected):
            pytest.skip(f"rejected by the verifier: {verdict.message}")
        if error is not None:
            pytest.skip(f"not taken: {error.why}" if not isinstance(error, NotTakenError) else error.why)

    def _report(self, judge: Judge, finding: Finding) -> Iterator[str]:
        sample = self.sample
        small = reduce(sample.request, sample.others, finding, judge)
        case = judge.judge(small.request, small.others).case
        yield f"{sample.name}: {small.finding.message}"
        for line in _where(case):
            yield f"  {line}"
        yield f"the program, {len(small.request.program.insns)} instruction slots of {len(sample.request.program.insns)}:"
        text = listing(small.request, small.others, None)
        yield text
        yield self._bench.keep(sample.name, f"; {sample.name}: {small.finding.message}\n{text}")
        yield (
            f"again: pytest --bpfemu-seed {sample.seed} --bpfemu-first {sample.number} --bpfemu-cases 1 "
            f"--bpfemu-generator {sample.generator}"
        )


def _where(case: Case) -> Iterator[str]:
    """Lines behind the first, which says what differs."""
    if case.difference is not None:
        yield from explain(case.difference, case.request.program, case.image, case.sandbox)[1:]
    yield from located(case.precise)
