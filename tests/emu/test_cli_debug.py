"""`bpfemu debug`: what it prints, how it ends, and what it says of what it cannot do."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emu.conftest import Command
from tests.emu.gdb_kit import SECONDS, Client

FIXTURES = Path(__file__).parents[2] / "fixtures"
REVERSE = FIXTURES / "text" / "reverse12.bpf"


def _debugged(
    session: Callable[[Client], object], *words: str | Path, cwd: Path | None = None
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a run that `session` debugs."""
    command = [sys.executable, "-m", "emu", "debug", *map(str, words)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        cwd=cwd or FIXTURES.parent,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", first)
        assert found is not None, process.stderr.read()
        with Client(int(found[1])) as client:
            session(client)
        out, err = process.stdout.read(), process.stderr.read()
        return process.wait(SECONDS), first + out, err


def test_a_run_that_is_only_looked_at_agrees(tmp_path: Path) -> None:
    symbols = tmp_path / "out.elf"
    status, out, err = _debugged(lambda client: client.ask("c"), REVERSE, "--symbols", symbols)
    assert (status, err) == (0, "")
    assert re.fullmatch(
        r"reverse12: waiting for gdb on 127\.0\.0\.1:\d+; connect with\n"
        rf"  gdb -ex 'target remote 127\.0\.0\.1:\d+' {re.escape(str(symbols))}\n"
        r"program +verdict .*\nreverse12  agrees   0x16c .*\n",
        out,
    )
    assert symbols.read_bytes()[:4] == b"\x7fELF"
    assert "35: call okf_sum12" in (tmp_path / "out.bpf.s").read_text()


def test_a_run_that_was_changed_differs() -> None:
    def session(client: Client) -> None:
        argument = 0xFFFF_C900_0010_0000 - 0x28  # the eighth of main's call
        assert client.ask(f"Z2,{argument:x},8") == b"OK"
        assert b"watch" in client.ask("c")
        assert client.ask(f"M{argument:x},8:{(9).to_bytes(8, 'little').hex()}") == b"OK"
        assert client.ask("D") == b"OK"

    status, out, err = _debugged(session, REVERSE)
    assert (status, err) == (1, "")
    assert "insn 12: argument 8 of reverse12: interp 0x8, sandbox 0x9" in out


def test_a_run_that_was_killed_is_not_compared() -> None:
    status, out, err = _debugged(lambda client: client.raw(b"$k#6b"), REVERSE)
    assert status == 130
    assert err == "bpfemu: the debugger ended the run: nothing was compared\n"
    assert "agrees" not in out


@pytest.mark.parametrize("packet", [b"", b"$vCont;c#a8"])
def test_ctrl_c_in_its_own_terminal(packet: bytes, tmp_path: Path) -> None:
    """While it waits, stands or runs."""
    endless = tmp_path / "endless.bpf"
    endless.write_text("prog syscall\nint main(void *ctx):\n r0 = 0\nagain:\n r1 = 1\n goto again\n")
    command = [sys.executable, "-m", "emu", "debug", str(endless), "--unverified"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=FIXTURES.parent
    ) as process:  # fmt: skip
        assert process.stdout is not None
        port = re.search(r":(\d+)", process.stdout.readline())
        assert port is not None
        with Client(int(port[1])) as client:
            if packet:
                client.raw(packet)
                assert client.byte() == b"+"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (130, "bpfemu: interrupted\n")


def test_another_jits_code_is_debugged_as_well(bpfemu: Command, tmp_path: Path) -> None:
    code = tmp_path / "code.bin"
    assert bpfemu("jit", REVERSE, "-o", code).status == 0
    status, out, err = _debugged(lambda client: client.ask("c"), REVERSE, "--image", code)
    assert (status, err) == (0, "")
    assert f"{code} (raw bytes, 2 functions)" in out


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("missing.bpf",), 2, "missing.bpf: no such file"),
        ((REVERSE, "--prog", "other"), 2, "there is no such program; there are: reverse12"),
        ((REVERSE, "--run", "2"), 2, "--run: 2: there are 1 runs"),
        ((REVERSE, "--gdb", "65536"), 2, "is not in the range"),
        ((REVERSE, "--symbols", REVERSE / "x.elf"), 2, "is no folder to write symbols in"),
        ((REVERSE, "--symbols", REVERSE), 2, "is the program itself"),
        ((FIXTURES / "objects" / "kfunc_many_args.bpf.o",), 2, "choose one with --prog: kf_sums"),
        ((FIXTURES / "text" / "missing_slot.bpf",), 3, "rejected, "),
        ((REVERSE, "--kallsyms", "map"), 2, "--image"),
        ((REVERSE, "--seconds", "0"), 2, "is not between"),
    ],
)
def test_what_cannot_be_debugged(
    bpfemu: Command, words: tuple[str | Path, ...], status: int, message: str
) -> None:
    ran = bpfemu("debug", *words)
    assert ran.status == status
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_a_port_that_is_taken(bpfemu: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = bpfemu("debug", REVERSE, "--gdb", port)
    assert ran.status == 2
    assert f"--gdb: port {port}: Address already in use" in ran.err
