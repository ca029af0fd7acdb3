"""Running the command line inside the test process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from emu.cli import main


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def bpfemu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`bpfemu(*arguments)`, through the entry point that a user's shell calls."""

    def command(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["bpfemu", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0 if code is None else 1, captured.out, captured.err)

    return command
