"""`bpfemu jit`: the picture and the machine-readable listing."""

import json
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.emu.conftest import Command

TEXTS = Path(__file__).parents[2] / "fixtures" / "text"
PICTURE = Path(__file__).parents[2] / "docs" / "frame.svg"


def _run(bpfemu: Command, *words: str | Path) -> str:
    ran = bpfemu("jit", *words)
    assert (ran.status, ran.err) == (0, "")
    return ran.out


def _json(bpfemu: Command, name: str) -> list[dict[str, Any]]:
    functions: list[dict[str, Any]] = json.loads(_run(bpfemu, TEXTS / name, "--json"))["jited"]
    return functions


def test_the_picture_in_the_documentation_is_what_the_command_draws(bpfemu: Command, tmp_path: Path) -> None:
    out = tmp_path / "frame.svg"
    assert _run(bpfemu, str(TEXTS / "reverse12.bpf"), "--svg", str(out)) == ""
    assert out.read_text() == PICTURE.read_text()
    ET.parse(out)


def test_programs_of_several_files_are_in_one_picture(bpfemu: Command, tmp_path: Path) -> None:
    out = tmp_path / "frames.svg"
    _run(bpfemu, str(TEXTS / "reverse12.bpf"), str(TEXTS / "sum6.bpf"), "--svg", str(out))
    text = out.read_text()
    assert text.count("func#0") == 2
    assert text.count("<svg") == 1


def test_a_picture_that_cannot_be_written_is_one_line(bpfemu: Command, tmp_path: Path) -> None:
    ran = bpfemu("jit", TEXTS / "sum6.bpf", "--svg", tmp_path / "none" / "frame.svg")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert "No such file" in ran.err


def test_moves_of_arguments(bpfemu: Command) -> None:
    main, reverse12 = _json(bpfemu, "reverse12.bpf")
    moves = {one["insn"]: one["args"] for one in main["insns"] if "args" in one}
    assert moves[5] == [
        {
            "arg": 7,
            "direction": "out",
            "place": "[rsp+0x0]",
            "calls": [{"insn": 12, "callee": "reverse12", "param": "long g"}],
        }
    ]
    assert moves[6][0]["place"] == "r9"
    moves = {one["insn"]: one["args"] for one in reverse12["insns"] if "args" in one}
    assert moves[16] == [{"arg": 8, "direction": "in", "place": "[rbp+0x18]"}]
    assert reverse12["params"][11] == "long l"
    call = next(one for one in reverse12["insns"] if "callee" in one)
    assert call["callee"] == {"name": "okf_sum12", "kind": "kfunc", "nargs": 12}


def test_frames_have_a_row_for_every_change(bpfemu: Command) -> None:
    reverse12 = _json(bpfemu, "reverse12.bpf")[1]
    frame, code = reverse12["frame"], bytes.fromhex(reverse12["hex"])
    assert frame["saved"] == {"rbx": -24, "r13": -32, "r14": -40, "r15": -48}
    assert frame["incoming"]["12"] == {"reg": "rbp", "off": 56}
    assert frame["outgoing"]["6"] == {"reg": "r9"}
    rows = frame["rows"]
    assert rows[0]["off"] == 0
    assert rows[0]["cfa"] == {"reg": "rsp", "off": 8}
    assert rows[0]["saved"] == {"rip": -8}
    ret = code.rindex(b"\xc9\xc3") + 1
    last = next(row for row in reversed(rows) if row["off"] <= ret)
    assert (last["depth"], last["saved"]) == (8, {"rip": -8})
    assert [row["off"] for row in rows] == sorted(row["off"] for row in rows)


@pytest.mark.parametrize("name", ["map_loop12.bpf", "loop_callback.bpf", "packet_xdp.bpf", "kfunc8.bpf"])
def test_instructions_cover_the_code(bpfemu: Command, name: str) -> None:
    for function in _json(bpfemu, name):
        edges = [(one["off"], one["off"] + one["len"]) for one in function["insns"]]
        assert all(end == start for (_, end), (start, _) in pairwise(edges))
        assert edges[-1][1] == function["len"]
