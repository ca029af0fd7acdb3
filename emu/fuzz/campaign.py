"""Runs a campaign: hands out numbers, takes answers in order of numbers, has findings reduced, and keeps them.

Knows neither what a case is nor who does the work. Everything that decides what is found follows from the numbers, so
that one process, several and a cluster find the same.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bpf.errors import BpfemuError, InputError, InternalError
from emu.fuzz.executors import Executor
from emu.fuzz.finding import Finding
from emu.fuzz.state import Kept, Line, State
from emu.fuzz.store import Store
from emu.fuzz.tally import Tally
from emu.fuzz.tasks import CHUNK, Answer, Chunk, Config, Counted, Died, Failed, Found, Shrink, Shrunk
from emu.fuzz.worker import file_name, plainly

LOOK = 0.25  # seconds after which a stop is noticed
PRINTED = 20  # programs that are printed at most where they cannot be written
AHEAD = 64  # chunks that may be done before an earlier one is, a worker


@dataclass(frozen=True, slots=True)
class Limits:
    """When to end; None: never. cases, seconds: of the whole campaign, what a folder holds included. first: with the first
    finding, which alone is reduced."""

    cases: int | None = None
    seconds: float | None = None
    first: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """The files of a finding, by ending."""

    text: str
    request: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. programs: of `kept`, by the name of the entry. stopped: from outside; waiting: groups of complaints
    of which some have not been reduced for that reason."""

    config: Config
    state: State
    kept: list[Kept]
    programs: dict[str, Program]
    seconds: float
    stopped: bool = False
    waiting: int = 0


@dataclass(slots=True)
class Campaign:
    """watch: called again and again while it runs. warn: told, one line each, what the user should know.

    stop: set from outside to end early.
    """

    config: Config
    limits: Limits
    executor: Executor
    store: Store | None = None
    watch: Callable[["Campaign"], None] = lambda _campaign: None
    warn: Callable[[str], None] = lambda _text: None
    stop: threading.Event = field(default_factory=threading.Event)
    state: State = field(init=False)
    programs: dict[str, Program] = field(init=False, default_factory=dict)
    _early: dict[int, Counted] = field(init=False, default_factory=dict)
    _next: int = field(init=False, default=0)
    _reducing: set[str] = field(init=False, default_factory=set)
    _begun: float = field(init=False, default=0.0)
    _before: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        lines = self.store.lines if self.store is not None else []
        what = str(self.store.folder / "log.jsonl") if self.store is not None else ""
        self.state = State.of(lines, what)
        self._next = self.state.number
        self._before = self.state.seconds
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """That the campaign has been running, all its parts together."""
        return self._before + time.monotonic() - self._begun

    def run(self) -> Result:
        """To the end. Raises FullError when the store is, InputError when all workers are lost, InternalError for our own faults.

        Whatever it raises, what has been found is in the store, `state` and `programs`.
        """
        self._tidy()
        try:
            self._loop()
        except KeyboardInterrupt:  # the second one: what is under way is dropped
            self.stop.set()
        if self.stop.is_set():
            self._stopgaps()
        return self.result()

    def _loop(self) -> None:
        while not self.stop.is_set():
            self._feed()
            if not self.executor.asked:
                break
            for answer in self.executor.wait(LOOK):
                self._take(answer)
            self.watch(self)

    def result(self) -> Result:
        """As far as it has come."""
        kept = self.state.kept()
        for one in kept:
            if one.entry.name not in self.programs:
                self.programs[one.entry.name] = self._program(one)
        waiting = sum(group.candidate is not None for group in self.state.groups.values())
        return Result(self.config, self.state, kept, self.programs, self.seconds, self.stop.is_set(), waiting)

    def unwritten(self) -> list[str]:
        """Texts of findings that the store may not hold: those at hand when it failed, and those not reduced yet."""
        held = {one.entry.name for one in self.state.kept()}
        texts = [program.text for name, program in self.programs.items() if name not in held]
        early = [found for answer in self._early.values() for found in answer.found]
        tasks = [*self.state.candidates(), *(Shrink(one.number, one.finding, one.group) for one in early)]
        return texts + [self._as_made(replace(task, plain=True)).text for task in tasks[:PRINTED]]

    # ------------------------------------------------------------ out

    def _feed(self) -> None:
        """Keep the workers busy; reductions go first, but never take all workers for long."""
        room = self.executor.workers + 1 if self.executor.workers > 1 else 1
        for task in self._reductions():
            if self.executor.asked >= room or len(self._reducing) >= max(1, self.executor.workers - 1):
                break
            self._reducing.add(task.group)
            self.executor.submit(task)
        while self.executor.asked < room and (chunk := self._chunk()) is not None:
            self._next = chunk.stop
            self.executor.submit(chunk)

    def _reductions(self) -> list[Shrink]:
        tasks = [task for task in self.state.candidates() if task.group not in self._reducing]
        if not self.limits.first:
            return tasks
        if any(group.entries for group in self.state.groups.values()) or self._reducing:
            return []
        return sorted(tasks, key=lambda task: task.number)[:1]

    def _chunk(self) -> Chunk | None:
        limits = self.limits
        ended = limits.seconds is not None and self.seconds >= limits.seconds
        if ended or (limits.first and self.state.groups):
            return None
        if self._next - self.state.number >= AHEAD * CHUNK * self.executor.workers:
            return None
        stop = self._next + CHUNK if limits.cases is None else min(self._next + CHUNK, limits.cases)
        return Chunk(self._next, stop) if stop > self._next else None

    # ------------------------------------------------------------ in

    def _take(self, answer: Answer) -> None:
        if isinstance(answer, Counted):
            self._early[answer.task.start] = answer
            while self.state.number in self._early:
                self._count(self._early[self.state.number])
        elif isinstance(answer, Shrunk):
            self._reducing.discard(answer.task.group)
            self._keep(answer)
        else:
            self._trouble(answer)

    def _count(self, answer: Counted) -> None:
        line = self.state.counted(answer, self.seconds)
        self._tell(line, sync="found" in line)
        del self._early[answer.task.start]

    def _keep(self, answer: Shrunk, *, stopgap: bool = False) -> None:
        """Files first, then the line that speaks of them, then the files that are not needed any more go."""
        self.programs[answer.name] = Program(answer.text, answer.request)
        if self.store is not None:
            files = {"bpf": answer.text, "json": answer.request} | dict(answer.exports)
            self.store.keep(answer.name, {ending: text for ending, text in files.items() if text})
        before = {one.entry.name for one in self.state.kept()}
        self._tell(self.state.shrunk(answer, stopgap=stopgap), sync=True)
        for remark in answer.remarks:
            self.warn(remark)
        gone = (before | {answer.name}) - {one.entry.name for one in self.state.kept()}
        if self.store is not None:
            self.store.forget(gone)
        for name in gone:
            self.programs.pop(name, None)

    def _tell(self, line: Line, *, sync: bool) -> None:
        if self.store is not None:
            self.store.append(line, sync=sync)
        self.state.apply(line)

    def _trouble(self, answer: Died | Failed) -> None:
        task = answer.task
        if isinstance(answer, Failed) and answer.input_error:
            raise InputError("", "", answer.why)
        if isinstance(task, Shrink):
            self._unreduced(task, answer)
        elif isinstance(answer, Failed):
            raise InternalError(answer.why)
        elif task.stop - task.start > 1:  # which of them is it?
            for number in range(task.start, task.stop):
                self.executor.submit(Chunk(number, number + 1))
        else:
            self.warn(f"case {task.start}: two workers died of it: {answer.why}")
            self._take(self._killer(task))

    def _unreduced(self, task: Shrink, answer: Died | Failed) -> None:
        """A finding that nobody can reduce is kept as it was generated; where even that fails, without its program."""
        self.warn(f"case {task.number} is kept as it was generated: {answer.why}")
        if not task.plain:
            self.executor.submit(replace(task, plain=True))
            return
        self._reducing.discard(task.group)
        self._keep(self._wordless(task))

    def _as_made(self, task: Shrink) -> Shrunk:
        """Written down here, without a worker."""
        try:
            return plainly(self.config, task)
        except BpfemuError:
            return self._wordless(task)

    def _wordless(self, task: Shrink) -> Shrunk:
        config, finding = self.config, task.finding
        generator = config.generator(task.number)
        sample = f"{generator}-{config.seed}-{task.number}"
        text = f"; {task.group}\n; {finding.message}\n; case {sample}, whose program cannot be written down\n"
        return Shrunk(
            task, finding, task.group, file_name(finding, sample), generator, 0, 0, text, "", reduced=False
        )

    def _killer(self, task: Chunk) -> Counted:
        tally = Tally()
        tally.share(self.config.generator(task.start)).cases += 1
        finding = Finding("worker", "kills the worker", "the process that ran it died, and so did the next")
        return Counted(task, tally, (Found(task.start, finding, "worker: kills the worker"),))

    # ------------------------------------------------------------ before and after

    def _tidy(self) -> None:
        """Remove files that an earlier part, killed between two steps, has left."""
        if self.store is not None:
            self.store.forget(self.state.dropped())

    def _stopgaps(self) -> None:
        """Keep one finding, as it was generated, of each group of which none has been reduced yet."""
        for group in list(self.state.groups.values()):
            task = group.candidate
            if task is not None and not group.entries and group.stopgap is None:
                plain = Shrink(task.number, task.finding, task.group, plain=True)
                self._keep(self._as_made(plain), stopgap=True)

    def _program(self, kept: Kept) -> Program:
        """The files of a finding that an earlier part of the campaign has written."""
        assert self.store is not None
        return Program(self.store.read(kept.entry.name, "bpf"), self.store.read(kept.entry.name, "json"))
