"""What the commands do on real input: verdicts, exit statuses, and the machine-readable forms of docs/formats.md."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.emu.conftest import Command

FIXTURES = Path(__file__).parents[2] / "fixtures"
OBJECTS = FIXTURES / "objects"
SUM7 = """prog tc
long main(struct __sk_buff *ctx):
    *(u64 *)(r11 - 16) = 7
    *(u64 *)(r11 - 8) = 6
    r1 = 1
    r2 = 2
    r3 = 3
    r4 = 4
    r5 = 5
    call okf_sum7
    exit
expect: accepted, retval {retval}
"""
EXIT = "9500000000000000"
RETURNS_5 = "b700000005000000" + EXIT
READS_R11 = "79b0080000000000" + EXIT  # r0 = *(u64 *)(r11 +8) in the main program


@pytest.fixture
def sum7(tmp_path: Path) -> Path:
    file = tmp_path / "sum7.bpf"
    file.write_text(SUM7.format(retval=140))
    return file


def test_run_agrees(bpfemu: Command, sum7: Path) -> None:
    ran = bpfemu("run", sum7)
    assert ran.status == 0, ran.out + ran.err
    row = next(line for line in ran.out.splitlines() if line.startswith("sum7"))
    assert row.split()[:6] == ["sum7", "agrees", "0x8c", "1", "1", "9"]


def test_run_verbose_shows_where_each_argument_lives(bpfemu: Command, sum7: Path) -> None:
    out = bpfemu("run", sum7, "-v").out
    rows = [line.split() for line in out.splitlines() if line.startswith("arg ")]
    assert rows == [
        ["arg", str(k), "u64", "abcdefg"[k - 1], put, found, hex(k), hex(k)]
        for k, (put, found) in enumerate(
            [("r1", "rdi"), ("r2", "rsi"), ("r3", "rdx"), ("r4", "rcx"), ("r5", "r8"), ("r11-8", "r9"), ("r11-16", "[rsp+0x8]")],
            1,
        )
    ]  # fmt: skip


def test_run_a_kfunc_that_only_the_text_declares(bpfemu: Command, tmp_path: Path) -> None:
    """The verifier knows its prototype; both engines end where it is called, in the same words, and not in a difference."""
    file = tmp_path / "mine.bpf"
    file.write_text("extern u64 mine(u64 a)\nlong main(struct __sk_buff *ctx):\nr1 = 1\ncall mine\nexit\n")
    ran = bpfemu("run", file)
    row = next(line for line in ran.out.splitlines() if line.startswith("mine"))
    assert row.split()[1:3] == ["both", "trap"]
    assert row.endswith("insn 1: call mine: kfunc mine is not implemented")
    declared = tmp_path / "mine.py"
    declared.write_text(
        "from emu.runtime.kfuncs import kfunc\n@kfunc('u64 mine(u64 a)')\ndef mine(world, a):\n    return a + 6\n"
    )
    again = subprocess.run(
        [sys.executable, "-m", "emu", "run", "--kfuncs", declared, file],
        capture_output=True,
        text=True,
        check=True,
    )  # a process of its own: the declaration stays in the tables
    assert next(line for line in again.stdout.splitlines() if line.startswith("mine")).split()[1:3] == [
        "agrees",
        "0x7",
    ]


def test_run_compares_with_the_expectation_of_the_text(bpfemu: Command, tmp_path: Path) -> None:
    file = tmp_path / "wrong.bpf"
    file.write_text(SUM7.format(retval=141))
    ran = bpfemu("run", file)
    assert ran.status == 1
    assert "line 12: expected retval 141, interp run 1 has 140" in " ".join(ran.out.split())


def test_run_json(bpfemu: Command, sum7: Path) -> None:
    ran = bpfemu("run", sum7, "--json")
    assert ran.status == 0
    result = json.loads(ran.out)
    assert (result["name"], result["agrees"], result["difference"], result["unexpected"]) == (
        "sum7",
        True,
        None,
        [],
    )
    call = {"insn": 7, "callee": "okf_sum7", "args": [hex(k) for k in range(1, 8)], "ret": "0x8c"}
    assert result["interp"]["calls"] == result["sandbox"]["calls"] == [call]
    assert result["sandbox"]["violations"] == []


@pytest.mark.parametrize("file", sorted((FIXTURES / "text").rglob("*.bpf")), ids=lambda file: file.stem)
def test_every_text_fixture_meets_its_own_expectation(bpfemu: Command, file: Path) -> None:
    ran = bpfemu("run", file, "--json")
    result = json.loads(ran.out)
    assert result["unexpected"] == []
    assert ran.status == (0 if result["verify"]["accepted"] else 3), ran.out


def test_run_with_a_packet(bpfemu: Command, tmp_path: Path) -> None:
    file = tmp_path / "length.bpf"
    file.write_text("prog tc\nlong main(struct __sk_buff *ctx):\n    r0 = *(u32 *)(r1 + 0)\n    exit\n")
    result = json.loads(bpfemu("run", file, "--json", "--data", "00" * 100).out)
    assert result["interp"]["retval"] == result["sandbox"]["retval"] == 100


def test_what_is_left_out_is_a_line_on_standard_error(bpfemu: Command) -> None:
    file = FIXTURES / "elf" / "unsupported.bpf.o"
    for command in ("run", "verify", "jit"):
        ran = bpfemu(command, file)
        assert ran.status == 0
        lines = ran.err.splitlines()
        assert len(lines) == 4
        assert all(line.startswith(f"bpfemu: warning: {file}: program needs_") for line in lines)
    ran = bpfemu("run", file, "--prog", "needs_core")
    assert ran.status == 2
    assert ran.err.startswith(f"bpfemu: error: {file}: program needs_core: ")
    assert len(ran.err.splitlines()) == 1


def test_batch_dumps_maps_as_a_kernel_does(bpfemu: Command, tmp_path: Path) -> None:
    """Queues have no keys to walk; a trie is walked from the longest prefix."""
    queue = {"type": 22, "key_size": 0, "value_size": 4, "max_entries": 2, "dump": True}
    trie = {"type": 11, "key_size": 8, "value_size": 4, "max_entries": 4, "flags": 1, "dump": True}
    elems = [["080000000a000000", "01000000"], ["180000000a010200", "02000000"]]
    request = {"insns": "b7000000050000009500000000000000", "maps": [queue, {**trie, "elems": elems}]}
    file = tmp_path / "maps.jsonl"
    file.write_text(json.dumps(request) + "\n")
    answer = json.loads(bpfemu("batch", file).out)
    for engine in ("interp", "sandbox"):
        assert answer[engine]["map_dumps"] == ["", "180000000a01020002000000080000000a00000001000000"]


def test_rejected_programs_end_with_3(bpfemu: Command) -> None:
    for command in ("run", "verify", "jit"):
        ran = bpfemu(command, OBJECTS / "rej_slots.bpf.o", "--prog", "main_reads_incoming")
        assert ran.status == 3, (command, ran.out, ran.err)
        assert "invalid read from stack arg off 8 depth 0" in ran.out + ran.err


def test_run_unverified_runs_what_the_verifier_rejects(bpfemu: Command) -> None:
    result = json.loads(
        bpfemu(
            "run", OBJECTS / "rej_slots.bpf.o", "--prog", "main_reads_incoming", "--unverified", "--json"
        ).out
    )
    assert result["verify"]["accepted"] is False
    assert result["interp"]["trap"]["kind"] == "uninitialized"


def test_verify_prints_stack_arguments(bpfemu: Command) -> None:
    ran = bpfemu("verify", OBJECTS / "fixed_matrix12.bpf.o")
    assert ran.status == 0
    assert "func#0 matrix_fixed (main): 1 arguments" in ran.out
    assert "stack arguments in 7, out 0" in ran.out


def test_jit_writes_the_bytes_it_lists(bpfemu: Command, sum7: Path, tmp_path: Path) -> None:
    assert bpfemu("jit", sum7, "-o", tmp_path / "out").status == 0
    result = json.loads(bpfemu("jit", sum7, "--json").out)
    (function,) = result["jited"]
    assert (tmp_path / "out").read_bytes().hex() == function["hex"]
    assert [call["target"] for call in function["calls"]] == ["okf_sum7"]
    listing = bpfemu("jit", sum7).out
    assert "argument 7, outgoing" in listing


def batch(
    bpfemu: Command, monkeypatch: pytest.MonkeyPatch, text: str, *options: str
) -> tuple[int, list[dict[str, object]]]:
    class Stdin:
        buffer = io.BytesIO(text.encode())

    monkeypatch.setattr(sys, "stdin", Stdin)
    ran = bpfemu("batch", "-", *options)
    return ran.status, [json.loads(line) for line in ran.out.splitlines()]


def test_batch_answers_each_line_in_order(bpfemu: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        json.dumps({"name": "five", "insns": RETURNS_5}),
        "no json",
        "",
        json.dumps({"name": "typed", "insns": 5}),
        json.dumps({"name": "r11", "insns": READS_R11}),
        json.dumps({"name": "map", "insns": RETURNS_5, "maps": [{"type": 77}]}),
        json.dumps({"name": "last", "insns": RETURNS_5, "runs": 2}),
    ]
    status, answers = batch(bpfemu, monkeypatch, "\n".join(lines))
    assert status == 1
    assert [answer["name"] for answer in answers] == ["five", None, "typed", "r11", "map", "last"]
    kinds = [answer["error"] and answer["error"]["kind"] for answer in answers]  # type: ignore[index]
    assert kinds == [None, "input", "input", None, "input", None]
    assert answers[0]["interp"]["retval"] == answers[0]["sandbox"]["retval"] == 5  # type: ignore[index]
    assert "jited" in answers[0]["jit"]  # type: ignore[operator]
    rejected = answers[3]
    assert rejected["verify"]["message"] == "invalid read from stack arg off 8 depth 0"  # type: ignore[index]
    assert not {"jit", "interp", "sandbox"} & set(rejected)
    assert len(answers[5]["interp"]["runs"]) == 2  # type: ignore[index]


def test_batch_places_an_image(bpfemu: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    insns = "18110000000000000000000000000000" + RETURNS_5  # r1 = map[0] ll
    request = {
        "insns": insns,
        "maps": [{"type": 2}],
        "place": {"functions": ["0xffffffffc0123000"], "maps": ["0xffff888004df5b28"]},
    }
    status, (answer,) = batch(bpfemu, monkeypatch, json.dumps(request), "--engine", "verify,jit")
    assert status == 0
    (function,) = answer["jit"]["jited"]  # type: ignore[index]
    assert function["addr"] == "0xffffffffc0123000"
    assert [ptr["value"] for ptr in function["ptrs"]] == ["0xffff888004df5b28"]
    assert "48bf285bdf048088ffff" in function["hex"]
    assert "interp" not in answer


def test_version_and_help(bpfemu: Command) -> None:
    assert bpfemu("--version").out.startswith("bpfemu, version ")
    for command in ("run", "verify", "jit", "batch", "replay"):
        ran = bpfemu(command, "--help")
        assert ran.status == 0
        assert "Usage:" in ran.out
