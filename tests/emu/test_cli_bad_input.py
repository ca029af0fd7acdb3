"""Bad input of every sort gets one line on standard error and exit status 2, never a traceback."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

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
