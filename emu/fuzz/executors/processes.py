"""Tasks done by processes of this machine: one task a process at a time, so that it is known which one killed it.

Processes are started anew, not forked: engines hold threads and memory of their own. What a worker dies of (a signal,
the kernel's out-of-memory killer, a hang) costs that task only: it is tried once more by another.
"""

import contextlib
import ctypes
import faulthandler
import multiprocessing as mp
import os
import signal
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from bpf.errors import BpfemuError, InputError
from emu.fuzz.tasks import Answer, Config, Died, Task
from emu.fuzz.worker import Worker

HANG: Final = 900.0  # seconds a task may take before its worker is taken for hung, and ends itself
TRIES: Final = 2
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


@dataclass(slots=True)
class _Hand:
    """A process, our end of its pipe, and what it is doing."""

    process: BaseProcess
    pipe: Connection
    task: Task | None = None
    ready: bool = False


class Processes:
    """workers: how many processes."""

    def __init__(self, config: Config, workers: int) -> None:
        self.workers = workers
        self._config = config
        self._context = mp.get_context("spawn")
        self._tasks: deque[Task] = deque()
        self._tries: dict[Task, int] = {}
        self._stillborn = 0
        self._hands = [self._hire() for _ in range(workers)]

    @property
    def asked(self) -> int:
        """Tasks that wait, and those that are being done."""
        return len(self._tasks) + sum(hand.task is not None for hand in self._hands)

    @property
    def pids(self) -> list[int]:
        """Of the processes, in the order in which they were started."""
        return [hand.process.pid for hand in self._hands if hand.process.pid is not None]

    def submit(self, task: Task) -> None:
        """Give it to a process that is idle, or let it wait."""
        self._tasks.append(task)
        self._deal()

    def wait(self, seconds: float) -> list[Answer]:
        """What has come in. A process that ended is replaced. Raises InputError when none can be started."""
        hands = {hand.pipe: hand for hand in self._hands}
        answers: list[Answer] = []
        for pipe in wait(list(hands), seconds):
            assert isinstance(pipe, Connection)
            answers += self._hear(hands[pipe])
        self._deal()
        return answers

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        self._tasks.clear()
        for hand in self._hands:
            hand.pipe.close()
            hand.process.kill()
        for hand in self._hands:
            hand.process.join()

    def _hire(self) -> _Hand:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=work, args=(self._config, theirs), name="bpfemu worker", daemon=True
        )
        process.start()
        theirs.close()
        return _Hand(process, ours)

    def _deal(self) -> None:
        for hand in self._hands:
            if hand.ready and hand.task is None and self._tasks:
                hand.task = self._tasks.popleft()
                with contextlib.suppress(OSError):  # it is dead: `wait` sees the end of its pipe
                    hand.pipe.send(hand.task)

    def _hear(self, hand: _Hand) -> list[Answer]:
        try:
            said = hand.pipe.recv()
        except (EOFError, OSError):
            return self._bury(hand)
        if isinstance(said, InputError):
            raise said
        if not hand.ready:
            hand.ready = True
            return []
        if hand.task is not None:
            self._tries.pop(hand.task, None)
        hand.task = None
        return [said]

    def _bury(self, hand: _Hand) -> list[Answer]:
        """Replace a dead worker; its task is tried again, or given up."""
        hand.process.join()
        why = _cause_of_death(hand.process.exitcode)
        hand.pipe.close()
        self._stillborn = 0 if hand.ready else self._stillborn + 1
        if self._stillborn > 2 * self.workers:
            raise InputError("worker", "", f"cannot be started: {why}")
        self._hands[self._hands.index(hand)] = self._hire()
        task = hand.task
        if task is None:
            return []
        self._tries[task] = self._tries.get(task, 0) + 1
        if self._tries[task] >= TRIES:
            del self._tries[task]
            return [Died(task, why)]
        self._tasks.appendleft(task)
        return []


def _cause_of_death(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"ended with status {code}"


def work(config: Config, pipe: Connection) -> None:
    """What a process does: answer tasks until its pipe is closed. A task that hangs ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)  # nobody would want our answers
    with contextlib.suppress(EOFError, OSError), open(os.devnull, "w", encoding="utf-8") as nowhere:
        try:
            worker = Worker(config)
        except BpfemuError as error:
            pipe.send(InputError("", "", str(error)))
            return
        with worker:
            pipe.send("ready")
            while True:
                task = pipe.recv()
                faulthandler.dump_traceback_later(HANG, exit=True, file=nowhere)
                answer = worker.do(task)
                faulthandler.cancel_dump_traceback_later()
                pipe.send(answer)
