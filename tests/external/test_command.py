"""A command that answers jobs: right ones are asked again and again, wrong ones end in one line, none can hang us."""

import shlex
import sys

import pytest

from bpf.errors import InputError
from emu.external.command import Command


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_one_process_answers_many_jobs() -> None:
    code = "import sys, json, os\nfor line in sys.stdin: print(json.dumps([os.getpid(), json.loads(line)['n']]), flush=True)"
    with Command(python(code)) as command:
        answers = [command({"n": n}) for n in range(3)]
    assert [one[1] for one in answers] == [0, 1, 2]  # type: ignore[index]
    assert len({one[0] for one in answers}) == 1  # type: ignore[index]


def test_a_command_may_answer_one_job_and_end() -> None:
    with Command(python("import sys; sys.stdin.readline(); print(7)")) as command:
        assert [command({}), command({}), command({})] == [7, 7, 7]


def test_jobs_and_answers_are_larger_than_a_pipe() -> None:
    code = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    job = {"xlated": "00" * 300_000}
    with Command(python(code)) as command:
        assert command(job) == job


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("/no/such/program", "No such file"),
        ("", "names no program"),
        ("'", "No closing quotation"),
        (python("pass"), "ended without an answer .exit status 0"),
        (python("raise SystemExit(3)"), "ended without an answer .exit status 3"),
        (python("import os; os.abort()"), "ended without an answer .signal 6"),
        (python("print('hello')"), "answers what is no JSON"),
        (python("print('[' * 100_000)"), "answers what is no JSON"),
        (python("import sys; sys.stdout.write('[1')"), "ended without an answer"),
        (python("import time; time.sleep(60)"), "said no line in"),
        (python("import time; print('[', end='', flush=True); time.sleep(60)"), "said no line in"),
    ],
)
def test_what_is_wrong_is_one_line(command: str, why: str) -> None:
    seconds = 1.0 if "sleep" in command else 30.0
    with pytest.raises(InputError, match=why) as caught, Command(command, seconds) as started:
        started({"n": 1})
    assert "\n" not in str(caught.value)


def test_a_process_that_reads_nothing_does_not_hold_us_up() -> None:
    with (
        Command(python("import time; time.sleep(60)"), 1.0) as command,
        pytest.raises(InputError, match="said no line"),
    ):
        command({"xlated": "00" * 1_000_000})
