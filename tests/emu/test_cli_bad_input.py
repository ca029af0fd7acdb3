"""Bad input of every sort gets one line on standard error and exit status 2, never a traceback."""

import gzip
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from emu.replay.check import Replayed
from emu.replay.objects import replay_object
from tests.emu.conftest import Command, Ran

OBJECTS = Path(__file__).parents[2] / "fixtures" / "objects"
OBJECT = OBJECTS / "globals_maps8.bpf.o"
SH_SIZE = 32  # offset of sh_size in a 64-bit section header
RELOCATION = 16  # bytes of an Elf64_Rel
SYMBOL = 24  # bytes of an Elf64_Sym


def patched(name: str, change: Callable[[bytearray, ELFFile], None]) -> bytes:
    with (OBJECTS / name).open("rb") as stream:
        elf = ELFFile(stream)
        data = bytearray((OBJECTS / name).read_bytes())
        change(data, elf)
    return bytes(data)


def other_machine(data: bytearray, _elf: ELFFile) -> None:
    struct.pack_into("<H", data, 18, 62)


def truncated_btf(data: bytearray, elf: ELFFile) -> None:
    index = elf.get_section_index(".BTF")
    header = elf["e_shoff"] + index * elf["e_shentsize"]
    size = struct.unpack_from("<Q", data, header + SH_SIZE)[0]
    struct.pack_into("<Q", data, header + SH_SIZE, size // 2)


def unknown_relocation(data: bytearray, elf: ELFFile) -> None:
    section = elf.get_section_by_name(".relsyscall")
    assert section is not None
    at = section["sh_offset"]
    info = struct.unpack_from("<Q", data, at + 8)[0]
    struct.pack_into("<Q", data, at + 8, info >> 32 << 32 | 77)


def missing_map(data: bytearray, elf: ELFFile) -> None:
    """The map becomes an undefined symbol, as when its definition was forgotten."""
    table = elf.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    index = next(i for i, symbol in enumerate(table.iter_symbols()) if symbol.name == "accounts")
    struct.pack_into("<H", data, table["sh_offset"] + index * SYMBOL + 6, 0)


ELF_CASES: dict[str, tuple[Callable[[bytearray, ELFFile], None], str]] = {
    "other machine": (other_machine, "x86"),
    "truncated BTF": (truncated_btf, "BTF"),
    "unknown relocation": (unknown_relocation, "77"),
    "missing map": (missing_map, "accounts"),
}


def one_line(ran: Ran, *words: str) -> None:
    status, err = ran.status, ran.err
    assert status == 2, err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word.lower() in err.lower(), err


@pytest.mark.parametrize("command", ["run", "verify", "jit"])
@pytest.mark.parametrize("case", ELF_CASES)
def test_broken_objects(bpfemu: Command, tmp_path: Path, command: str, case: str) -> None:
    change, word = ELF_CASES[case]
    file = tmp_path / "broken.bpf.o"
    file.write_bytes(patched(OBJECT.name, change))
    one_line(bpfemu(command, file), "broken.bpf.o", word)


@pytest.mark.parametrize("command", ["run", "verify", "jit"])
def test_not_an_elf(bpfemu: Command, tmp_path: Path, command: str) -> None:
    file = tmp_path / "plain.bpf.o"
    file.write_text("int main(void) { return 0; }\n")
    one_line(bpfemu(command, file), "plain.bpf.o", "not an ELF")


@pytest.mark.parametrize("command", ["run", "verify", "jit", "batch", "replay"])
def test_no_such_file(bpfemu: Command, tmp_path: Path, command: str) -> None:
    one_line(bpfemu(command, tmp_path / "none.bpf"), "none.bpf", "no such file")


PARAMETERS = ", ".join(f"long a{k}" for k in range(13))
THIRTEEN = f"prog tc\nlong main(struct __sk_buff *ctx):\n    r0 = 0\n    exit\nstatic long f({PARAMETERS}):\n    r0 = 0\n    exit\n"


def test_a_function_with_13_arguments(bpfemu: Command, tmp_path: Path) -> None:
    file = tmp_path / "thirteen.bpf"
    file.write_text(THIRTEEN)
    one_line(bpfemu("run", file), "line 5", "13", "12")


def test_text_with_a_syntax_error(bpfemu: Command, tmp_path: Path) -> None:
    file = tmp_path / "wrong.bpf"
    file.write_text(
        "prog tc\nlong main(struct __sk_buff *ctx):\n    r0 = 0\n    r1 = *(u64 *)(r2 @ 8)\n    exit\n"
    )
    one_line(bpfemu("run", file), "wrong.bpf", "line 4, column 22")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"insns": 5}, ["field insns", "must be a string"]),
        ({"insns": "9500000000000000", "maps": "none"}, ["field maps", "must be a list"]),
        ({"insns": "9500000000000000", "prog_type": []}, ["field prog_type"]),
        ({"insns": "9500000000000000", "maps": [{"type": 2, "key_size": "4"}]}, ["field maps[0].key_size"]),
    ],
)
def test_json_with_wrong_types(bpfemu: Command, tmp_path: Path, value: object, words: list[str]) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(value))
    one_line(bpfemu("run", file), "wrong.json", *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", OBJECT, "--prog", "nothing"), ["nothing", "transfer"]),
        (("run", OBJECT, "--data", "xyz"), ["--data", "not hex"]),
        (("run", OBJECT, "--ctx", "@/nonexistent"), ["/nonexistent", "no such file"]),
        (("run", OBJECT, "--kfuncs", "/nonexistent.py"), ["/nonexistent.py"]),
        (("jit", OBJECT, "-o", "/nonexistent/out"), ["/nonexistent/out"]),
        (("replay", OBJECT), ["globals_maps8.bpf.o"]),
    ],
)
def test_options(bpfemu: Command, arguments: tuple[object, ...], words: list[str]) -> None:
    one_line(bpfemu(*arguments), *words)


def test_replay_of_requests_without_expectations(bpfemu: Command, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text('{"insns": "9500000000000000"}\n')
    one_line(bpfemu("replay", file), "expect")


def test_unknown_engine(bpfemu: Command) -> None:
    ran = bpfemu("batch", "-", "--engine", "verify,arm64")
    assert ran.status == 2
    assert "'arm64' is no engine" in ran.err


@pytest.mark.parametrize("command", ["run", "verify", "jit", "replay"])
@pytest.mark.parametrize(
    ("file", "word"),
    [
        ("pipe", "empty"),
        ("void", "empty"),
        ("folder", "directory"),
        ("/dev/zero", "64 MiB"),
        ("sparse", "64 MiB"),
    ],
)
def test_files_that_are_none(
    bpfemu: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, file: str, word: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "void").touch()
    (tmp_path / "folder").mkdir()
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(1 << 30)
    monkeypatch.setattr("emu.load.MAX_FILE", 64 << 10)  # /dev/zero never ends: less of it will do
    if (command, word) == ("replay", "empty"):
        word = "not JSON"
    one_line(bpfemu(command, tmp_path / file), file, word if word != "64 MiB" else "is larger than")


def test_file_names_cannot_move_the_cursor(bpfemu: Command, tmp_path: Path) -> None:
    ran = bpfemu("run", tmp_path / "\x1b[2Jx")
    one_line(ran, "no such file")
    assert "\x1b" not in ran.err


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (gzip.compress(b"x" * 100, mtime=0)[:-12], "gzip"),
        (gzip.compress(bytes(range(256)), mtime=0)[:14] + b"\xff" * 40, "gzip"),
        (b"\x1f\x8b", "gzip"),
        (gzip.compress(b"\xff\xff", mtime=0), "UTF-8"),
        (b"[]", "no recording"),
    ],
)
def test_replay_of_broken_files(bpfemu: Command, tmp_path: Path, content: bytes, word: str) -> None:
    file = tmp_path / "recordings.gz"
    file.write_bytes(content)
    one_line(bpfemu("replay", file), "recordings.gz", word)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"runs": 5}, "runs"),
        ({"runs": [{"data_in": "zz"}]}, "data_in"),
        ({"runs": [{"ctx_in": 7}]}, "ctx_in"),
        ({"initial_maps": [1]}, "initial_maps"),
        ({"initial_maps": {"accounts": [["zz", "00"]]}}, "initial_maps"),
        ({"initial_maps": {"accounts": [[1]]}}, "initial_maps"),
        ({"prog": 7}, "names"),
        ({"expect": []}, "expect"),
    ],
)
def test_replay_of_an_entry_with_wrong_types(
    bpfemu: Command, tmp_path: Path, change: dict[str, object], word: str
) -> None:
    entry: dict[str, object] = {"object": str(OBJECT), "prog": "transfer", "expect": {"accepted": True}}
    file = tmp_path / "list.json"
    file.write_text(json.dumps([entry | change]))
    one_line(bpfemu("replay", file), "list.json", word)


def test_replay_keeps_what_it_found_before_a_bad_entry(bpfemu: Command, tmp_path: Path) -> None:
    good = {"object": str(OBJECT), "prog": "transfer", "runs": [{"ctx_in": "00" * 64}]}
    file, out = tmp_path / "list.json", tmp_path / "differing.jsonl"
    file.write_text(
        json.dumps([good | {"expect": {"accepted": False, "errno": "EPERM"}}, {"object": 5, "expect": {}}])
    )
    ran = bpfemu("replay", file, "--differing", out)
    assert ran.status == 2
    assert "stopped after 1 of 2 programs" in ran.err
    assert "1 programs" in ran.out


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise RuntimeError('boom')", ["line 1", "boom"]),
        ("import sys\nsys.exit(7)", ["line 2", "SystemExit"]),
        ("class X(BaseException): pass\nraise X('odd')", ["odd"]),
        ("def (:", ["line 1", "SyntaxError"]),
        ("x = 1", ["declares no kfunc"]),
    ],
)
def test_modules_of_kfuncs_that_fail(bpfemu: Command, tmp_path: Path, module: str, words: list[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(module + "\n")
    one_line(bpfemu("run", OBJECT, "--kfuncs", file), "mine.py", *words)


@pytest.mark.parametrize(
    "options",
    [
        ("--seconds", "nan"),
        ("--seconds", "inf"),
        ("--budget", "0"),
        ("--seed", "-1"),
        ("--nope",),
        ("--profile", "x"),
    ],
)
def test_values_of_options(bpfemu: Command, options: tuple[str, ...]) -> None:
    one_line(bpfemu("run", OBJECT, *options), options[0])


def test_a_map_that_is_not_there_yet(bpfemu: Command, tmp_path: Path) -> None:
    file = tmp_path / "storage.bpf"
    file.write_text(
        "prog tc\nmap m: sk_storage key 4 value 8 max 0 flags 1\nlong main(void *ctx):\n r1 = map[m]\n r0 = 0\n exit\n"
    )
    one_line(bpfemu("run", file), "map m", "sk_storage")


COMMAND = [sys.executable, "-m", "emu"]


def interrupted(process: subprocess.Popen[str]) -> Ran:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return Ran(process.returncode, out, err)


def test_an_interrupt_of_batch_keeps_its_answers() -> None:
    with subprocess.Popen(
        [*COMMAND, "batch", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write('{"insns": "b7000000050000009500000000000000"}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["sandbox"]["retval"] == 5
        ran = interrupted(process)
    assert ran == Ran(130, "", "bpfemu: interrupted\n")


def test_an_interrupt_of_replay_shows_what_it_found(bpfemu: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def stopping(*arguments: object) -> Replayed:
        seen.append(arguments)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return replay_object(*arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr("emu.commands.replay.replay_object", stopping)
    ran = bpfemu("replay", OBJECTS / "expect.json")
    assert ran.status == 130
    assert "2 programs, 0 differ" in ran.out
    assert "stopped after 2 of 59 programs" in ran.err


def test_a_closed_pipe_is_no_verdict() -> None:
    with subprocess.Popen(
        [*COMMAND, "jit", str(OBJECT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141
