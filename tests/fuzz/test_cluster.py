"""A campaign on Dask: a real scheduler and two workers on loopback, one of which is killed."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import pytest

from emu.fuzz.campaign import Campaign, Limits
from emu.fuzz.executors.cluster import Cluster
from emu.fuzz.executors.inline import Inline
from emu.fuzz.store import Store
from emu.fuzz.tasks import Answer, Chunk, Config, Died, Failed
from tests.fuzz.test_campaign import CASES, FAULT, campaign, files


@dataclass
class Dask:
    """A scheduler, at `address`, and the workers that were started for it."""

    address: str
    scheduler: subprocess.Popen[str]
    folder: Path
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def hire(self) -> None:
        """One more worker, of one thread, that nobody starts again when it dies."""
        args = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder)]
        worker = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", self.address, *args],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.workers.append(worker)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    args = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert scheduler.stderr is not None
    dask = Dask(_address(scheduler.stderr), scheduler, tmp_path_factory.mktemp("dask"))
    dask.hire()
    dask.hire()
    yield dask
    for worker in dask.workers:
        worker.kill()
        worker.wait()
    scheduler.kill()
    scheduler.wait()
    scheduler.stderr.close()


def _address(lines: IO[str]) -> str:
    for line in lines:
        found = re.search(r"Scheduler at:\s+(tcp://\S+)", line)
        if found is not None:
            return found[1]
    pytest.fail("the scheduler does not say where it is")


def test_a_worker_is_killed_and_the_findings_are_the_same(config: Config, tmp_path: Path, dask: Dask) -> None:
    planted = replace(config, mutant=FAULT)
    campaign(planted, Inline(planted), tmp_path / "alone")
    executor = Cluster(planted, dask.address, 2)
    _until_there_are(executor, 2)
    store = Store(tmp_path / "cluster", {})
    running = Campaign(planted, Limits(CASES), executor, store)
    victim = dask.workers[0]

    def kill(at: Campaign) -> None:
        if at.state.number:
            victim.kill()

    running.watch = kill
    result = running.run()
    executor.close()
    store.close()
    assert victim.wait() == -signal.SIGKILL
    assert result.state.tally.cases == CASES
    assert files(tmp_path / "cluster") == files(tmp_path / "alone")
    assert len(files(tmp_path / "alone")) == 2


def test_a_case_that_kills_its_workers_is_given_up(
    config: Config, tmp_path: Path, dask: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two, where the scheduler alone would let it kill four."""
    monkeypatch.setenv("TINY_ONCE", str(tmp_path))  # of what kills once
    deadly = replace(config, seed=1, generators=("deadly",))
    dask.hire()
    executor = Cluster(deadly, dask.address, 2)
    _until_there_are(executor, 2)
    executor.submit(Chunk(9, 10))
    answer = _answer(executor)
    executor.close()
    assert isinstance(answer, Died)
    assert [worker.wait(60) for worker in dask.workers] == [-signal.SIGKILL] * 3


def test_the_scheduler_is_lost(config: Config, dask: Dask) -> None:
    """Last of this file: nothing can be done afterwards."""
    executor = Cluster(config, dask.address, 2)
    executor.submit(Chunk(0, 1))
    dask.scheduler.kill()
    answer = _answer(executor)
    executor.close()
    assert isinstance(answer, Failed)
    assert (answer.why, answer.input_error) == ("the scheduler is lost", True)


def _until_there_are(executor: Cluster, workers: int) -> None:
    for _ in range(3000):
        if executor.workers == workers:
            return
        time.sleep(0.02)
    pytest.fail(f"there are {executor.workers} workers, not {workers}")


def _answer(executor: Cluster) -> Answer:
    for _ in range(3000):
        for answer in executor.wait(0.02):
            return answer
    pytest.fail("no answer")
