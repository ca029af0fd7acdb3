"""Requests that a real 7.3.4 kernel compiled: verified, rewritten and compiled here, the bytes must be the kernel's.

Private stacks, exceptions, arenas, indirect jumps and tail calls, may_goto, packet loads, per-CPU memory, constant
blinding, and the code of processors whose mitigations change it. The recordings hold what each call reaches; addresses of
maps, per-CPU memory and arenas are taken from the first field that holds one, and must be the same in every other.
"""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpf.request import parse_request
from bpf.verified import Verified
from jit import blind, compile_program, place, preset
from tests.jit.addresses import solve
from tests.jit.blinded import secrets
from verifier import verify

_PATH = Path(__file__).parents[2] / "fixtures" / "jit" / "recorded.jsonl.gz"
RECORDS = [json.loads(line) for line in gzip.decompress(_PATH.read_bytes()).splitlines()]


def _verified(record: dict[str, Any]) -> Verified:
    verdict = verify(parse_request(record["request"], record["name"]).program, log_level=0)
    assert isinstance(verdict, Verified), verdict
    return verdict


@pytest.mark.parametrize("record", RECORDS, ids=[f"{one['name']}@{one['profile']}" for one in RECORDS])
def test_bytes_are_the_kernels(record: dict[str, Any]) -> None:
    verified = _verified(record)
    codes = [bytes.fromhex(function["hex"]) for function in record["jited"]]
    if "blinded" in record:
        numbers, layout = secrets(verified, record["blinded"])
        verified = blind(verified, iter(numbers), layout)
    image = compile_program(verified, preset(record["profile"]))
    assert [len(function.code) for function in image.functions] == [len(code) for code in codes]
    layout = solve(image, codes, tuple(int(function["addr"], 16) for function in record["jited"]))
    for function in image.functions:
        for reloc in function.relocs:
            if reloc.kind in ("call", "jump") and reloc.symbol:
                assert reloc.symbol in record["calls"][f"{layout.symbols[reloc.symbol]:#x}"]
    assert [code.hex() for code in place(image, layout)] == [code.hex() for code in codes]


def test_what_the_recordings_cover() -> None:
    """Kinds of code that must not disappear from the fixture."""
    kinds = {record["name"].split("-")[0] for record in RECORDS}
    assert kinds >= {"tail", "priv", "privsub", "throw", "arena", "gotox", "maygoto", "ldabs", "percpu"}
    assert sum("blinded" in record for record in RECORDS) > 100
    assert {record["profile"] for record in RECORDS} >= {
        "7.3",
        "7.3-skylake",
        "7.3-zen2",
        "7.3-zen3",
        "7.3-stuffed",
    }


def test_blinding_takes_one_number_a_slot() -> None:
    record = next(one for one in RECORDS if "blinded" in one and "percpu" not in one["name"])
    verified = _verified(record)
    numbers, layout = secrets(verified, record["blinded"])
    rest = iter([*numbers, 17])
    blind(verified, rest, layout)
    assert list(rest) == [17]
    other = blind(verified, iter([n ^ 1 for n in numbers]), layout)
    assert other.insns != blind(verified, iter(numbers), layout).insns
    assert replace(other, insns=()) == replace(blind(verified, iter(numbers), layout), insns=())
