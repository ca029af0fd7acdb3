"""The picture: valid XML by itself, everything of the frame in it, in order, inside of its bounds."""

import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest

from bpf import asm, isa
from bpf.insn import Insn
from bpf.program import Program
from bpf.verified import Subprog, Verified
from jit import compile_program
from jit.image import Image
from jit.svg import svg
from verifier import assume

_TEXT = Path(__file__).parents[2] / "fixtures" / "text" / "reverse12.bpf"
_NS = "{http://www.w3.org/2000/svg}"


def _image() -> Image:
    return compile_program(assume(asm.parse(_TEXT.read_text(), "reverse12").program))


def _texts(root: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in root.iter(f"{_NS}text")]


def test_everything_is_in_the_picture() -> None:
    root = ET.fromstring(svg([_image()]))
    texts = _texts(root)
    for words in (
        "func#1 reverse12",
        "argument 12, incoming",
        "long l",
        "program stack, 16 bytes",
        "saved r15 (r9)",
        "okf_sum12: u64 g",
        "rbp (r10)",
        "long f; until an outgoing one is stored",
        "okf_sum12: u64 f",
    ):
        assert words in texts, words
    boxes = [box for box in root.iter(f"{_NS}rect") if box.get("class") == "outgoing"]
    assert len(boxes) == 6 + 6 + 1  # two functions, and the legend


def test_addresses_fall_and_nothing_overlaps() -> None:
    root = ET.fromstring(svg([_image()]))
    boxes = [box for box in root.iter(f"{_NS}rect") if box.find(f"{_NS}title") is not None]
    edges = [(float(box.get("y", 0)), float(box.get("height", 0))) for box in boxes]
    assert all(y + height <= below for (y, height), (below, _) in pairwise(edges))
    offsets: list[int] = []
    for text in root.iter(f"{_NS}text"):
        words = "".join(text.itertext())
        if text.get("class") == "e" and words.startswith("rbp"):
            offsets.append(int(words[3:] or "0", 16))
    assert len(offsets) == len(boxes)
    falls = [above > below for above, below in pairwise(offsets)]
    assert falls.count(False) == 1, "once: where the second function begins"


def test_everything_lies_inside() -> None:
    root = ET.fromstring(svg([_image()]))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for item in (*root.iter(f"{_NS}rect"), *root.iter(f"{_NS}text")):
        x, y = float(item.get("x", 0)), float(item.get("y", 0))
        assert 0 <= x <= width
        assert 0 <= y <= height
        if item.tag == f"{_NS}text" and "e" not in item.get("class", "").split():
            assert x + 7.3 * len("".join(item.itertext())) <= width + 60


def test_it_needs_nothing_else_and_has_two_sets_of_colours() -> None:
    text = svg([_image()])
    assert "href" not in text
    assert "url(" not in text
    assert "<script" not in text
    assert "prefers-color-scheme:dark" in text


@pytest.mark.parametrize("name", ["a<b&c>", 'quote"', "bell\x07", "\x00\x1b\udc80\ufffe", "x" * 500, ""])
def test_hostile_names(name: str) -> None:
    insns = (Insn(isa.OP_EXIT),)
    sub = Subprog(name, 0, 1, "main", 1, 8, tail_call_reachable=True)
    text = svg([compile_program(Verified(Program("t", insns), insns, (0,), (sub,)))])
    root = ET.fromstring(text.encode())
    assert any(words.startswith("func#0") for words in _texts(root))
    assert "pointer to the count" in _texts(root)
    assert max(map(len, _texts(root))) < 100


def test_a_private_stack_is_said_to_be_elsewhere() -> None:
    insns = (Insn(isa.OP_EXIT),)
    sub = Subprog("f", 0, 1, "main", 1, 24, private_stack=True)
    texts = _texts(ET.fromstring(svg([compile_program(Verified(Program("t", insns), insns, (0,), (sub,)))])))
    assert "r10: program stack of 24 bytes in per-CPU memory" in texts
    assert "rbp" in texts
