"""Campaigns with real workers: the same findings everywhere, whatever dies on the way."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emu.fuzz.campaign import Campaign, Limits, Result
from emu.fuzz.executors import Executor
from emu.fuzz.executors.inline import Inline
from emu.fuzz.executors.processes import Processes
from emu.fuzz.store import Store
from emu.fuzz.tasks import Config
from tests.fuzz.conftest import SEED, TINY, loaded, small

FAULT = "argument-12-lost"
CASES = 40  # more than a chunk


def campaign(config: Config, executor: Executor, folder: Path, cases: int = CASES) -> Result:
    store = Store(folder, {})
    try:
        return Campaign(config, Limits(cases), executor, store).run()
    finally:
        executor.close()
        store.close()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "findings").iterdir())}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What is found in one process that nobody disturbs."""
    folder = tmp_path_factory.mktemp("expected")
    with loaded() as tiny:
        planted = replace(small(tiny), mutant=FAULT)
        campaign(planted, Inline(planted), folder)
    return files(folder)


def command(folder: Path, *more: str) -> list[str]:
    fixed = [
        "--generator",
        "tiny",
        "--oracle",
        "engines",
        "--seed",
        str(SEED),
        "--mutant",
        FAULT,
        "--no-coverage",
        "--kfuncs",
        TINY,
    ]
    return [sys.executable, "-m", "emu", "fuzz", "--cases", str(CASES), *fixed, "--out", str(folder), *more]


def fuzz(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *more), capture_output=True, text=True, timeout=300, check=False)


def test_without_a_fault_nothing_is_found(config: Config, tmp_path: Path) -> None:
    result = campaign(config, Inline(config), tmp_path)
    assert result.kept == []
    assert result.state.tally.cases == CASES
    assert 0 < result.state.tally.accepted < CASES
    assert set(result.state.tally.arguments) == {6, 12}


def test_a_planted_fault_is_found_and_reduced(expected: dict[str, bytes]) -> None:
    (text,) = (content.decode() for name, content in expected.items() if name.endswith(".bpf"))
    assert "; cause: engines: stack argument at call" in text
    assert FAULT in text
    assert "argument 12 of" in text
    assert len(expected) == 2


def test_the_same_in_two_processes(config: Config, tmp_path: Path, expected: dict[str, bytes]) -> None:
    planted = replace(config, mutant=FAULT)
    campaign(planted, Processes(planted, 2), tmp_path)
    assert files(tmp_path) == expected


class TestDeath:
    def test_of_the_campaign(self, tmp_path: Path, expected: dict[str, bytes]) -> None:
        """kill -9 as soon as there is anything in the log; then to the end."""
        process = subprocess.Popen(
            command(tmp_path, "--jobs", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: written(tmp_path) >= 1 or process.poll() is not None)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        ended = fuzz(tmp_path, "--jobs", "0")
        assert (ended.returncode, files(tmp_path)) == (1, expected)

    def test_by_interrupt(self, tmp_path: Path, expected: dict[str, bytes]) -> None:
        process = subprocess.Popen(
            command(tmp_path, "--jobs", "1", "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: written(tmp_path) >= 1 or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 130
        assert all(" cases, " in line for line in err.splitlines())  # how far it was, on a slow machine
        assert '"stopped": true' in out
        assert '"cause": "engines: stack argument' in out
        assert fuzz(tmp_path, "--jobs", "0").returncode == 1
        assert files(tmp_path) == expected

    def test_of_the_disk(self, tmp_path: Path, expected: dict[str, bytes]) -> None:
        """No file may be longer than what was asked, which is too little for the log."""
        assert fuzz(tmp_path / "asked", "--jobs", "0", "--cases", "0").returncode == 0
        room = (tmp_path / "asked" / "campaign.json").stat().st_size
        limited = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); os.execv(sys.executable, sys.argv[1:])"
        args = [sys.executable, "-c", limited.format(room), *command(tmp_path / "out", "--jobs", "0")]
        ended = subprocess.run(args, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 2
        assert "cannot be written: File too large; the same command goes on when it can" in ended.stderr
        assert "argument 12 of" in ended.stdout
        assert fuzz(tmp_path / "out", "--jobs", "0").returncode == 1
        assert files(tmp_path / "out") == expected

    def test_of_workers(self, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One case kills whoever runs it; another one killed somebody once, which costs nothing."""
        monkeypatch.setenv("TINY_ONCE", str(tmp_path / "once"))
        deadly = replace(config, seed=1, generators=("deadly",))
        result = campaign(deadly, Processes(deadly, 1), tmp_path / "out", cases=12)
        assert (tmp_path / "once").exists()
        assert [one.entry.cause for one in result.kept] == ["worker: kills the worker"]
        assert result.state.tally.cases == 12
        (name,) = (name for name in files(tmp_path / "out") if name.endswith(".bpf"))
        assert "r1 = 7" in files(tmp_path / "out")[name].decode()


def written(folder: Path) -> int:
    try:
        return (folder / "log.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def until(done: Callable[[], bool]) -> None:
    """Wait for it, a minute or so at most."""
    for _ in range(6000):
        if done():
            return
        time.sleep(0.01)
    pytest.fail("it does not happen")
