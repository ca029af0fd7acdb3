"""The plugin in somebody else's test suite: options, ids, skips, failures that say all, a folder of what failed."""

import subprocess
import sys
from pathlib import Path

from tests.external.broken import TINYJIT

BROKEN = Path(__file__).parent / "broken.py"


def suite(folder: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_mine.py").write_text(body, encoding="utf-8")
    root = str(TINYJIT.parents[1])
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *options]
    environment = {"PYTHONPATH": root, "PATH": "/usr/bin:/bin", "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_jit_that_is_right_passes(tmp_path: Path) -> None:
    body = (
        "from tests.external.broken import jit\n"
        "JIT = jit()\n"
        "def test_mine(bpfemu_case): bpfemu_case.check(JIT)\n"
    )
    done = suite(tmp_path, body, "--bpfemu-cases=6", "--bpfemu-seed=4")
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout or "skipped" in done.stdout


def test_a_command_that_is_wrong_fails_with_the_program_made_small(tmp_path: Path) -> None:
    command = [sys.executable, str(BROKEN), "argument 12 over argument 11"]
    body = (
        f"import shlex\nJIT = shlex.join({command!r})\ndef test_mine(bpfemu_case): bpfemu_case.check(JIT)\n"
    )
    done = suite(tmp_path, body, "--bpfemu-cases=30", "--bpfemu-generator=calls", "--bpfemu-out=kept", "-x")
    assert done.returncode == 1, done.stdout
    assert "argument 12 of" in done.stdout
    assert "again: pytest --bpfemu-seed 0 --bpfemu-first" in done.stdout
    kept = list((tmp_path / "kept").glob("calls-0-*.bpf"))
    assert len(kept) == 1
    assert "*(u64 *)(r11 -56)" in kept[0].read_text(encoding="utf-8")


def test_cases_are_tests_of_their_own(tmp_path: Path) -> None:
    body = "def test_mine(bpfemu_case): assert bpfemu_case.sample.request.program.insns\n"
    done = suite(tmp_path, body, "--bpfemu-cases=4", "--bpfemu-first=10", "--collect-only")
    assert [line.split("::")[1] for line in done.stdout.splitlines() if "::" in line] == [
        "test_mine[calls-0-10]", "test_mine[isa-0-11]", "test_mine[calls-0-12]", "test_mine[isa-0-13]",
    ]  # fmt: skip


def test_bad_options_are_one_line(tmp_path: Path) -> None:
    body = "def test_mine(bpfemu_case): pass\n"
    assert suite(tmp_path, body, "--bpfemu-cases=-1").returncode == 4
    done = suite(tmp_path, body, "--bpfemu-generator=nonsense", "--bpfemu-cases=1")
    assert done.returncode != 0
    assert "there is none; there are: " in done.stdout + done.stderr
