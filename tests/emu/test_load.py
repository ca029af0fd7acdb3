"""Reading FILE: the kind is told by content, and each wrong file gives one line."""

import json
from pathlib import Path

import pytest

from bpf.errors import InputError
from emu.load import json_objects, load_file

UNSUPPORTED = Path(__file__).parents[2] / "fixtures/elf/unsupported.bpf.o"
REFUSED = Path(__file__).parents[2] / "fixtures/objects/rej_naked_btf.bpf.o"
EXIT = "b7000000050000009500000000000000"


def test_one_request_a_list_and_one_a_line(tmp_path: Path) -> None:
    request = {"name": "a", "insns": EXIT}
    for text, names in (
        (json.dumps(request), ["a"]),
        (json.dumps([request, {**request, "name": "b"}]), ["a", "b"]),
        (json.dumps(request) + "\n\n" + json.dumps({**request, "name": "c"}) + "\n", ["a", "c"]),
    ):
        file = tmp_path / "r.json"
        file.write_text(text)
        assert [item.request.program.name for item in load_file(str(file))] == names


def test_text_carries_its_expectation(tmp_path: Path) -> None:
    file = tmp_path / "five.bpf"
    file.write_text(
        "prog tc\nlong main(struct __sk_buff *ctx):\n    r0 = 5\n    exit\nexpect: accepted, retval 5\n"
    )
    (item,) = load_file(str(file))
    assert item.expect is not None
    assert item.expect.retvals == (5,)
    assert item.request.program.name == "five"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.bpf.o", b"int main;", "ELF"),
        ("x", b"\x00\x01\x02", "is neither an ELF object, nor BPF assembly text, nor a JSON request"),
        ("x.json", b"{", "line 1, column 2: not JSON"),
        ("x.jsonl", b'{"insns": "' + EXIT.encode() + b'"}\n{"insns": 5\n', "line 2, column"),
        ("x.json", b'{"insns": "\xff"}', "byte 11: is not UTF-8 text"),
        ("x.json", b"[" * 100_000, "not JSON"),
        ("x.json", b'"text"', "a request must be an object, not a string"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_file(str(file))
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_file(str(tmp_path / "none.bpf"))
    with pytest.raises(InputError, match="is a directory"):
        load_file(str(tmp_path))


def test_json_lines_are_named_by_their_line() -> None:
    found = list(json_objects('{"a": 1}\n\n{"b": 2}\n', "f"))
    assert found == [("f: line 1", {"a": 1}), ("f: line 3", {"b": 2})]


def test_what_is_left_out_of_an_object_is_told() -> None:
    lines: list[str] = []
    load_file(str(UNSUPPORTED), lines.append)
    assert [line.split(": ")[:2] for line in lines] == [
        [str(UNSUPPORTED), f"program {name} is left out"]
        for name in ("needs_kconfig", "needs_typed_ksym", "needs_address", "needs_core")
    ]
    assert lines[0].count(str(UNSUPPORTED)) == 1
    assert "\n" not in "".join(lines)


def test_asking_for_a_program_that_is_left_out_says_why() -> None:
    lines: list[str] = []
    with pytest.raises(InputError, match=r"program needs_core: .* a CO-RE relocation"):
        load_file(str(UNSUPPORTED), lines.append, "needs_core")
    assert load_file(str(UNSUPPORTED), lines.append, "weak_variable")
    assert lines == []


def test_refused_btf_is_told() -> None:
    lines: list[str] = []
    load_file(str(REFUSED), lines.append)
    (line,) = lines
    assert "(type 4 (FUNC second_of_two): Invalid arg#1)" in line
