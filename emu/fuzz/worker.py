"""Does tasks, in whatever process it is made in: make a case, run it, judge it, shrink it.

Knows neither what other workers do nor what has been found before, so that an answer depends on the task alone.
"""

import contextlib
import copy
import gc
import hashlib
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Self

from bpf.errors import BpfemuError, InputError, InternalError
from bpf.program import Program, Request
from bpf.verified import Rejected
from emu.external.command import Command
from emu.external.judge import JitJudge
from emu.external.pipeline import JitPipeline
from emu.fuzz.cause import cause, group
from emu.fuzz.coverage import Branches, forms_of, traced
from emu.fuzz.export import export
from emu.fuzz.finding import Finding
from emu.fuzz.generators import Corpus, load_corpus, make
from emu.fuzz.judge import Judge, Judged
from emu.fuzz.keep import Kept, expected, render, request_json
from emu.fuzz.reduce import reduce
from emu.fuzz.sample import Sample
from emu.fuzz.tally import Share, Tally, general
from emu.fuzz.tasks import Answer, Chunk, Config, Counted, Failed, Found, Shrink, Shrunk, Task
from emu.mutants import find
from emu.mutants.mutant import planted
from emu.pipeline import Case, Options, Pipeline
from emu.runtime.kfuncs import load

THOROUGH = 16  # one case in so many is also asked what is too slow for all
BUDGET = 1_000_000  # BPF instructions a run: enough for 65,536 rounds, in which may_goto ends a loop
VISITED = 50_000  # instructions that the verifier may visit
COLLECTED = 20_000  # new objects after which circles of dead ones are looked for: those of several cases
SECONDS = 10.0  # of processor time a native run: far more than any needs, so that a busy machine ends none


class Cancelled(BaseException):
    """The campaign is to stop, in the middle of a task. No exception that anything in between may catch."""


class Worker:
    """Context manager: inside of it, the fault of `config.mutant` is planted in this process.

    Raises InputError when a module cannot be read, or other sources of bpfemu run here than where the campaign began.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._stack = contextlib.ExitStack()
        if config.build and config.build != build():
            raise InputError("worker", "", "runs other sources of bpfemu than the campaign")
        for module in config.modules:
            load(module)
        self._judge = _judge(config, self._stack)
        self._branches = Branches.measured() if config.coverage else None

    def __enter__(self) -> Self:
        self._stack.enter_context(_collecting_seldom())
        if self.config.mutant:
            self._stack.enter_context(planted(find(self.config.mutant)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stack.close()

    def do(self, task: Task) -> Answer:
        """The answer to a task. A fault of ours is an answer, too."""
        try:
            return self._count(task) if isinstance(task, Chunk) else self._shrink(task)
        except BpfemuError as error:
            return Failed(task, str(error), isinstance(error, InputError) and isinstance(task, Chunk))
        except Exception as error:  # noqa: BLE001  the campaign goes on, or ends in order
            return Failed(task, _line(error))

    def check(self) -> None:
        """Called between cases: raises Cancelled where the worker shares its process with who wants to stop it."""

    def _count(self, task: Chunk) -> Counted:
        tally, found = Tally(), []
        for number in range(task.start, task.stop):
            self.check()
            found += self._case(number, tally)
        return Counted(task, tally, tuple(found))

    def _case(self, number: int, tally: Tally) -> list[Found]:
        """Count one case, and say what is wrong with it."""
        config = self.config
        turn = config.turn(number)
        sample = made(config, number)
        share = tally.share(sample.generator)
        share.cases += 1
        share.insns += len(sample.request.program.insns)
        recorded: AbstractContextManager[None] = contextlib.nullcontext()
        if self._branches is not None and traced(turn):
            recorded = self._branches.recorded(tally.arcs)
        try:
            with recorded:
                thorough = turn % THOROUGH == 0
                judged = self._judge.judge(sample.request, sample.others, thorough=thorough)
        except InputError as error:
            share.untaken += 1
            tally.reasons[f"not taken: {general(error.why)}"] += 1
            return []
        _tell(judged.case, share, tally)
        return self._grouped(number, sample.request, sample.others, judged)

    def found(self, number: int, request: Request, others: Mapping[str, Program]) -> list[Found]:
        """What is wrong with a program that stands for a case."""
        return self._grouped(number, request, others, self._judge.judge(request, others))

    def _grouped(
        self, number: int, request: Request, others: Mapping[str, Program], judged: Judged
    ) -> list[Found]:
        again, mode = partial(self._strictly, request, others), self.config.mode
        return [
            Found(number, one, group(request.program, others, one, mode, again)) for one in judged.findings
        ]

    def _strictly(self, request: Request, others: Mapping[str, Program], finding: Finding) -> bool:
        """Whether the complaint is heard in strict mode as well."""
        judge = copy.copy(self._judge)
        judge.pipeline = copy.copy(self._judge.pipeline)
        judge.pipeline.options = replace(judge.pipeline.options, mode="strict")
        try:
            return any(finding.alike(one) for one in judge.judge(request, others, thorough=True).findings)
        except InputError:
            return True

    def _shrink(self, task: Shrink) -> Shrunk:
        if task.plain:
            return plainly(self.config, task)
        sample = made(self.config, task.number)
        small = reduce(sample.request, sample.others, task.finding, self._judge)
        again = partial(self._strictly, small.request, small.others)
        why = cause(small.request.program, small.others, small.finding, self.config.mode, again)
        kept = _kept(self.config, sample, small.request, small.others, small.finding, why)
        return _answer(self.config, task, kept, self._case_of(small.request, small.others), small.tried)

    def _case_of(self, request: Request, others: Mapping[str, Program]) -> Case | None:
        """What the engines say of the program that is kept; None where they cannot be asked."""
        try:
            return self._judge.judge(request, others).case
        except InputError:
            return None


@contextlib.contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Python's search for circles of dead objects: seldom, and not among all modules. It takes a tenth of the time else."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(COLLECTED, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def made(config: Config, number: int) -> Sample:
    """Case `number`. Raises InternalError where the generator fails."""
    generator = config.generator(number)
    try:
        return make(generator, config.seed, number, corpus_of(config.corpus, config.digest))
    except BpfemuError:
        raise
    except Exception as error:
        raise InternalError(f"generator {generator}, number {number}: {_line(error)}") from error


@cache
def corpus_of(folder: str, digest: str) -> Corpus | None:
    """The programs in a folder. Raises InputError when they are others than the campaign began with."""
    if not folder:
        return None
    corpus = load_corpus(folder)
    if corpus.digest != digest:
        raise InputError(folder, "", "holds other programs than the campaign began with")
    return corpus


def plainly(config: Config, task: Shrink) -> Shrunk:
    """A finding with the program as it was generated; no engine runs."""
    sample = made(config, task.number)
    kept = _kept(config, sample, sample.request, sample.others, task.finding, task.group)
    return _answer(config, task, kept, None, 0)


def _kept(
    config: Config,
    sample: Sample,
    request: Request,
    others: Mapping[str, Program],
    finding: Finding,
    why: str,
) -> Kept:
    return Kept(
        request=request,
        others=others,
        finding=finding,
        cause=why,
        sample=sample.name,
        generator=sample.generator,
        seed=sample.seed,
        number=sample.number,
        mode=config.mode,
        mutant=config.mutant,
        before=len(sample.request.program.insns),
        jit=config.jit,
    )


def _answer(config: Config, task: Shrink, kept: Kept, case: Case | None, steps: int) -> Shrunk:
    exports, remarks = _exports(config.export, kept, case)
    return Shrunk(
        task=task,
        finding=kept.finding,
        cause=kept.cause,
        name=file_name(kept.finding, kept.sample),
        generator=kept.generator,
        before=kept.before,
        insns=len(kept.request.program.insns),
        text=render(kept, case),
        request=request_json(kept),
        steps=steps,
        reduced=steps > 0,
        exports=exports,
        remarks=remarks,
    )


def _exports(
    forms: tuple[str, ...], kept: Kept, case: Case | None
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """(ending, text) of each file, and why there is none of a form."""
    files: dict[str, str] = {}
    remarks = []
    expectation = expected(case) if case is not None else None
    for form in forms:
        try:
            made = export(form, kept.request, kept.others, kept.finding, expectation)
        except InputError as error:
            remarks.append(f"{kept.sample} is not exported: {error}")
            continue
        for name, text in made.items():
            ending = name.partition(".")[2]
            files["request.json" if ending == "json" else ending] = text
    return tuple(files.items()), tuple(remarks)


def _judge(config: Config, stack: contextlib.ExitStack) -> Judge:
    """The engines of a campaign, and who judges them."""
    options = Options(
        budget=BUDGET, seconds=SECONDS, mode=config.mode, explain=False, insn_limit=VISITED, quick=True
    )
    if not config.jit:
        return Judge(Pipeline(options), config.oracles)
    command = Command(config.jit)
    stack.callback(command.close)
    return JitJudge(JitPipeline(command, config.jit, options))


def _tell(case: Case, share: Share, tally: Tally) -> None:
    """Count what a finished case shows."""
    verdict = case.verdict
    if case.error is not None:
        share.untaken += 1
        tally.reasons[f"not taken: {general(case.error.why)}"] += 1
    if isinstance(verdict, Rejected):
        tally.reasons[general(verdict.message or verdict.errno)] += 1
    elif verdict is not None:
        share.accepted += 1
        tally.forms |= forms_of(case.request.program)
    for run in case.interp.runs if case.interp is not None else ():
        tally.arguments.update(len(call.args) if call.nargs is None else call.nargs for call in run.calls)
        tally.arguments.update(len(entry.args) for entry in run.entries)


def file_name(finding: Finding, sample: str) -> str:
    """Of a finding's files, without an ending: "engines-violation-callee-saved-calls-7-1234"."""
    words = "-".join(f"{finding.oracle} {finding.kind}".replace("/", " ").split())
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "_" for char in words)
    return f"{plain[:60]}-{sample}"


@cache
def build() -> str:
    """A digest of bpfemu's sources: findings are equal only where it is."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parents[2]
    for package in ("bpf", "verifier", "jit", "emu"):
        for file in sorted((root / package).rglob("*.py")):
            digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _line(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}: {type(error).__name__}: {error}".replace("\n", " ")
