"""Tasks done by Dask workers: a cluster of processes of this machine, or whatever a scheduler has.

Needs the extra `cluster`. The workers have to have the same bpfemu installed; each says so when it begins. A worker that
is lost costs nothing but time: the scheduler gives its task to another, `ALLOWED` times, before the task is given up.
"""

import contextlib
import faulthandler
import logging
import os
import queue
import threading
import time
from typing import Any, Final

from bpf.errors import InputError
from emu.fuzz.executors.processes import HANG
from emu.fuzz.tasks import Answer, Config, Died, Failed, Task
from emu.fuzz.worker import Worker

ALLOWED: Final = 1  # deaths of workers that a task may cause, and is given to another all the same
CONNECT: Final = 20.0  # seconds
COUNTED: Final = 1.0  # seconds for which the number of workers is taken for what it was

_lock = threading.Lock()  # engines are not made for two threads of one process
_workers: dict[Config, Worker] = {}


class Cluster:
    """where: "local", or the address of a scheduler. workers: processes of a local cluster.

    Raises InputError when Dask is not installed or nobody answers at the address.
    """

    def __init__(self, config: Config, where: str, workers: int) -> None:
        distributed = _distributed()
        self._config = config
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._futures: dict[Task, Any] = {}
        self._threads, self._asked_at = 1, -COUNTED
        self._killed = distributed.scheduler.KilledWorker
        self._stack = contextlib.ExitStack()
        try:
            if where == "local":
                cluster = distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )  # fmt: skip
                self._stack.callback(cluster.close, timeout=10)
                where = cluster.scheduler_address
            self._client = distributed.Client(where, timeout=CONNECT, set_as_default=False)
            self._stack.callback(self._client.close, timeout=10)
        except (OSError, ValueError, TypeError) as error:
            self._stack.close()
            why = " ".join(str(error).split())[:200] or "nobody answers"
            raise InputError("--cluster", where, why) from None
        with contextlib.suppress(Exception):  # a scheduler that is not ours may not allow it
            self._client.run_on_scheduler(_allow)

    @property
    def workers(self) -> int:
        """Threads that the cluster has now, at least one."""
        now = time.monotonic()
        if now - self._asked_at > COUNTED:  # the scheduler has to be asked
            self._asked_at = now
            with contextlib.suppress(OSError):  # where it is lost, the tasks say so
                self._threads = max(1, sum(self._client.nthreads().values()))
        return self._threads

    @property
    def asked(self) -> int:
        """Tasks under way."""
        return len(self._futures)

    def submit(self, task: Task) -> None:
        """Send it to the scheduler."""
        future = self._client.submit(answer, self._config, task, pure=False, retries=0)
        self._futures[task] = future
        future.add_done_callback(lambda done: self._done(task, done))

    def _done(self, task: Task, future: Any) -> None:
        """Called by a thread of Dask's."""
        if future.status not in ("finished", "error"):
            self._answers.put(Failed(task, "the scheduler is lost", input_error=True))
            return
        try:
            self._answers.put(future.result())
        except self._killed:
            self._answers.put(Died(task, "the scheduler has given it up"))
        except Exception as error:  # noqa: BLE001  of the worker, or lost on the way
            self._answers.put(Failed(task, " ".join(str(error).split()), isinstance(error, InputError)))

    def wait(self, seconds: float) -> list[Answer]:
        """What has come in."""
        answers: list[Answer] = []
        with contextlib.suppress(queue.Empty):
            answers.append(self._answers.get(timeout=seconds))
            while True:
                answers.append(self._answers.get_nowait())
        for one in answers:
            self._futures.pop(one.task, None)
        return answers

    def close(self) -> None:
        """Let a local cluster end, and a scheduler forget our tasks."""
        self._futures.clear()
        self._stack.close()


def answer(config: Config, task: Task) -> Answer:
    """What a Dask worker calls. Raises InputError where the worker cannot take part."""
    with _lock, open(os.devnull, "w", encoding="utf-8") as nowhere:
        worker = _workers.get(config)
        if worker is None:
            for other in _workers.values():
                other.__exit__(None, None, None)
            _workers.clear()
            worker = _workers[config] = Worker(config)
            worker.__enter__()
        faulthandler.dump_traceback_later(HANG, exit=True, file=nowhere)
        try:
            return worker.do(task)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _allow(dask_scheduler: Any) -> None:
    """Runs in the scheduler: how many deaths it allows a task."""
    dask_scheduler.allowed_failures = ALLOWED


def _distributed() -> Any:
    try:
        import distributed  # noqa: PLC0415  an extra
        import distributed.scheduler  # noqa: PLC0415
    except ImportError:
        raise InputError("--cluster", "", "needs Dask: install bpfemu with the extra `cluster`") from None
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # workers come and go, which is no news
    return distributed
