"""Comparing our code with code from elsewhere: every form of file, first differences, and files that are none."""

import json
from pathlib import Path

import pytest

from bpf.errors import InputError
from emu import against
from emu.load import load_file
from jit import compile_program
from jit.image import Image
from tests.emu.conftest import Command
from verifier import verify

FIXTURES = Path(__file__).parents[2] / "fixtures"
SUM6 = FIXTURES / "text" / "sum6.bpf"
FILES = FIXTURES / "against"
FORMS = {
    "llvm.txt": "bpftool text",
    "bfd.txt": "bpftool text",
    "bpftool.json": "bpftool JSON",
    "all.hex": "hex",
    "recording.json": "a recording",
}


def _image() -> Image:
    verified = verify(load_file(str(SUM6))[0].request.program)
    return compile_program(verified)  # type: ignore[arg-type]  # it is accepted


def _bytes() -> bytes:
    """The code as the recording has it, both functions."""
    record = json.loads((FILES / "recording.json").read_text())
    return b"".join(bytes.fromhex(one["hex"]) for one in record["expect"]["jited"])


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_read_and_equal(name: str, bpfemu: Command) -> None:
    result = bpfemu("jit", SUM6, "--against", str(FILES / name))
    assert result.status == 0, result.out
    assert f"({FORMS[name]}): equal" in result.out


def test_raw_bytes(tmp_path: Path, bpfemu: Command) -> None:
    raw = tmp_path / "code"
    raw.write_bytes(_bytes())
    assert bpfemu("jit", SUM6, "--against", str(raw)).status == 0
    raw.write_bytes(_bytes() + b"\x90")
    result = bpfemu("jit", SUM6, "--against", str(raw))
    assert result.status == 1
    assert "ours ends here" in result.out
    raw.write_bytes(_bytes()[:60])
    result = bpfemu("jit", SUM6, "--against", str(raw))
    assert result.status == 1
    assert "the other side has no such function" in result.out


def test_the_first_difference_side_by_side(tmp_path: Path, bpfemu: Command) -> None:
    text = (FILES / "llvm.txt").read_text()
    changed = tmp_path / "changed.txt"
    changed.write_text(text.replace("41 b8 05 00 00 00", "41 b8 06 00 00 00"))
    result = bpfemu("jit", SUM6, "--against", str(changed))
    assert result.status == 1
    assert "func#0 main: differs at offset 0x30" in result.out
    assert "in insn 5: r5 = 5" in result.out
    row = next(line for line in result.out.splitlines() if line.startswith(" > "))
    assert row.split() == [
        ">",
        "002e",
        "41b805000000",
        "mov",
        "r8d,",
        "5",
        "41b806000000",
        "mov",
        "r8d,",
        "6",
    ]
    assert "func#1 sum6: equal" in result.out
    answer = json.loads(bpfemu("jit", SUM6, "--against", str(changed), "--json").out)
    assert not answer["equal"]
    assert answer["functions"][0]["ours"] == {"at": 0x2E, "hex": "41b805000000", "asm": "mov r8d, 5"}
    assert answer["functions"][0]["insn"] == 5


def test_a_call_of_something_else_is_a_difference(tmp_path: Path) -> None:
    record = json.loads((FILES / "recording.json").read_text())
    functions = record["expect"]["jited"]
    functions[0]["calls"][0]["target"] = "bpf_user_rnd_u32"
    match = against.compare(_image(), _read(record, tmp_path))
    assert match.functions[0].why == "reaches bpf_user_rnd_u32, ours func#1"
    del functions[0]["calls"]
    functions[1]["addr"] = "0xffffffffc0202080"
    match = against.compare(_image(), _read(record, tmp_path))
    assert "where function 1 is not" in match.functions[0].why


def _read(record: object, directory: Path) -> tuple[against.Foreign, ...]:
    file = directory / "r.json"
    file.write_text(json.dumps(record))
    return against.read(str(file), "sum6")[1]


def test_one_symbol_has_one_address(tmp_path: Path) -> None:
    """Without the other side's addresses its fields are held against each other."""
    source = "prog tc\n\nint f(struct __sk_buff *c):\n    call 7\n    call 7\n    exit\n"
    file = tmp_path / "two.bpf"
    file.write_text(source)
    image = compile_program(verify(load_file(str(file))[0].request.program))  # type: ignore[arg-type]  # it is accepted
    code = bytearray(image.functions[0].code)
    first, second = (reloc.off for reloc in image.functions[0].relocs)
    code[first : first + 4] = (0x1000).to_bytes(4, "little")
    code[second : second + 4] = (0x1000 - (second - first)).to_bytes(4, "little")
    assert against.compare(image, [against.Foreign("", bytes(code))]).equal
    code[second] ^= 1
    match = against.compare(image, [against.Foreign("", bytes(code))])
    assert match.functions[0].at == second
    assert "as an earlier place does" in match.functions[0].why


BAD = {
    "": "is empty",
    "  \n": "is empty",
    "hello": "is neither raw bytes, hex, bpftool's listing, nor JSON",
    "f3 0f 1e f": "is neither",
    "f:\n   0:\tendbr64\n   4:\tnopl\n": "line 2: instruction without its bytes",
    "f:\n   0:\tendbr64\n\tf3 0f 1e fa \n   5:\tleave\n\tc9 \n": "line 4: offset 0x5 where 0x4 comes next",
    "[]": "holds no native code",
    "{": "line 1: is not JSON",
    "[1, 2]": "holds 2 recordings",
    "{}": "field jited: must be a list of functions",
    '{"error": "bpf obj get (id 7): no such file"}': "bpftool says: bpf obj get (id 7)",
    '{"jited": [{"hex": "zz"}]}': "field jited[0].hex: must be the code in hex",
    '{"jited": [{"hex": "c3", "addr": "here"}]}': "field jited[0].addr: must be an address",
    '{"jited": [{"hex": "c3", "calls": [7]}]}': "field jited[0].calls: must be objects",
    '{"jited": []}': "holds no native code",
    '[{"pc": "0x0", "operation": "ret", "operands": [null]}]': "insns[0]: has no opcodes",
    '[{"name": "f", "insns": [{"pc": "0x0", "opcodes": ["0xzz"]}]}]': "insns[0].opcodes: must be bytes",
    '[{"name": "f", "insns": [{"pc": "0x0", "opcodes": ["0x100"]}]}]': "insns[0].opcodes: must be bytes",
    "[" * 100_000: "is not JSON",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_bad_files_get_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "other"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        against.read(str(file), "sum6")
    assert BAD[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_names_and_options(tmp_path: Path, bpfemu: Command) -> None:
    for name in (str(tmp_path), str(tmp_path / "none"), "\0"):
        with pytest.raises(InputError):
            against.read(name, "sum6")
    result = bpfemu("jit", SUM6, "--against", str(FILES / "no-opcodes.txt"))
    assert result.status == 2
    assert "dump jited ... opcodes" in result.err
    both = bpfemu("jit", SUM6, SUM6, "--against", FILES / "all.hex")
    assert both.status == 2
    assert "compares one program" in both.err


def test_many_recordings_are_chosen_by_name(tmp_path: Path, bpfemu: Command) -> None:
    record = json.loads((FILES / "recording.json").read_text())
    file = tmp_path / "many.jsonl"
    file.write_text("".join(json.dumps(record | {"name": name}) + "\n" for name in ("one", "sum6", "two")))
    assert bpfemu("jit", SUM6, "--against", str(file)).status == 0
    with pytest.raises(InputError, match="0 of them named 'three'"):
        against.read(str(file), "three")
