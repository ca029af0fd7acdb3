"""Bytes and back, and the kernel's complaints about single instructions."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import isa
from bpf.codec import decode, encode, operand_error, structural_error
from bpf.errors import InputError
from bpf.insn import Insn

FIXTURES = Path(__file__).parents[2] / "fixtures"


@settings(max_examples=60)
@given(st.binary(max_size=80).map(lambda data: data[: len(data) // 8 * 8]))
def test_encode_undoes_decode(data: bytes) -> None:
    assert encode(decode(data)) == data


def test_fields() -> None:
    (insn,) = decode(bytes.fromhex("7b1bf8ff04030201"))
    assert insn == Insn(0x7B, 11, 1, -8, 0x01020304)
    assert decode(bytes.fromhex("b7010000ffffffff"))[0].imm == -1


def test_length() -> None:
    with pytest.raises(InputError, match=r"^x: byte 8: 3 bytes left over"):
        decode(bytes(11), "x")


def rows(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(FIXTURES / name, "rt") as lines:
        yield from map(json.loads, lines)


def first_error(insns: tuple[Insn, ...]) -> str | None:
    index = 0
    while index < len(insns):
        error = structural_error(insns, index)
        if error is not None:
            return error
        index += 2 if insns[index].code == isa.LD_IMM64 else 1
    return None


def test_what_a_real_kernel_said_of_malformed_instructions() -> None:
    seen = 0
    for row in rows("text/malformed.jsonl.gz"):
        for text in row["insns"]:
            insns = decode(bytes.fromhex(text))
            assert structural_error(insns, 0) == row["every"], text
            if row["every"] is None:
                assert operand_error(insns[0]) == row["reached"] or row["reached"] is None, text
            seen += 1
    assert seen > 12_000


# What comes before the pass over all instructions, whatever they are
EARLIER = ("jump out of range", "last insn is not an exit or jmp")


def test_recorded_rejections() -> None:
    """Every recorded program with a malformed instruction was refused with our message, and no other with such."""
    kinds: Counter[str] = Counter()
    for row in rows("golden/programs.jsonl.gz"):
        error = first_error(decode(bytes.fromhex(row["insns"])))
        message = row["expect"].get("message")
        if error is None:
            words = (message or "").split()
            assert " uses reserved fields" not in (message or "")
            assert words[:2] not in (["unknown", "opcode"], ["unrecognized", "bpf_ld_imm64"])
        elif not message.startswith(EARLIER):
            assert (error, row["expect"]["errno"]) == (message, "EINVAL"), row["name"]
            kinds[error] += 1
    assert sum(kinds.values()) > 290
    assert len(kinds) > 40


@pytest.mark.parametrize(
    ("insn", "message"),
    [
        (Insn(isa.ALU64 | isa.DIV, 1), "div by zero"),
        (Insn(isa.ALU | isa.MOD, 1), "div by zero"),
        (Insn(isa.ALU64 | isa.LSH, 1, imm=64), "invalid shift 64"),
        (Insn(isa.ALU | isa.ARSH, 1, imm=-1), "invalid shift -1"),
        (Insn(isa.ALU64 | isa.LSH, 1, imm=63), None),
        (Insn(isa.ALU64 | isa.DIV | isa.X, 1, 2), None),
        (Insn(0xDB, 1, 2, 0, 0xF0), "BPF_ATOMIC uses invalid atomic opcode f0"),
        (Insn(0xDB, 1, 2, 0, -1), "BPF_ATOMIC uses invalid atomic opcode ffffffff"),
        (Insn(0xD3, 1, 2, 0, 0), "invalid atomic operand size"),
        (Insn(0xD3, 1, 2, 0, isa.LOAD_ACQ), None),
    ],
)
def test_operands(insn: Insn, message: str | None) -> None:
    assert structural_error((insn,), 0) is None
    assert operand_error(insn) == message
