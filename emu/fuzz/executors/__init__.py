"""Who does the tasks of a campaign: this process, processes of this machine, or a Dask cluster. One interface for all."""

from typing import Protocol

from emu.fuzz.tasks import Answer, Config, Task


class Executor(Protocol):
    """Does tasks, in any order. A task that kills its worker is tried once more, elsewhere, before it is `Died`.

    workers: how many tasks are done at the same time. asked: tasks whose answers have not been handed out.
    """

    @property
    def workers(self) -> int:
        """How many there are now."""

    @property
    def asked(self) -> int:
        """Tasks under way."""

    def submit(self, task: Task) -> None:
        """Take a task; `wait` returns its answer some time."""

    def wait(self, seconds: float) -> list[Answer]:
        """Answers that have come in; waits for one at most so long. Raises InputError when the workers are lost."""

    def close(self) -> None:
        """Let the workers go; tasks under way are dropped."""


__all__ = ["Answer", "Config", "Executor", "Task"]
