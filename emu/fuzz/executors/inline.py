"""Tasks done in this process, one after the other."""

from collections import deque
from collections.abc import Callable

from emu.fuzz.tasks import Answer, Config, Task
from emu.fuzz.worker import Cancelled, Worker


class Inline:
    """stopped: asked between cases; where it says yes, the task at hand is dropped."""

    workers = 1

    def __init__(self, config: Config, stopped: Callable[[], bool] = lambda: False) -> None:
        self._tasks: deque[Task] = deque()
        self._worker = _Here(config, stopped)
        self._worker.__enter__()

    @property
    def asked(self) -> int:
        """Tasks not done yet."""
        return len(self._tasks)

    def submit(self, task: Task) -> None:
        """Put it behind the others."""
        self._tasks.append(task)

    def wait(self, seconds: float) -> list[Answer]:  # noqa: ARG002  it cannot stop in the middle of an answer
        """The answer to the first task."""
        if not self._tasks:
            return []
        try:
            return [self._worker.do(self._tasks.popleft())]
        except Cancelled:
            return []

    def close(self) -> None:
        """Take back a planted fault."""
        self._tasks.clear()
        self._worker.__exit__(None, None, None)


class _Here(Worker):
    def __init__(self, config: Config, stopped: Callable[[], bool]) -> None:
        super().__init__(config)
        self._stopped = stopped

    def check(self) -> None:
        """Stop before the next case, when asked to."""
        if self._stopped():
            raise Cancelled
