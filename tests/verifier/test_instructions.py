"""Instructions in the main pass: small programs, each with the whole log of a real 7.3.4 kernel at level 2.

fixtures/verifier/instructions.jsonl.gz has stack accesses, moves, arithmetic, comparisons, atomics, calls, callbacks and
exits: the request, the errno, and the log from its first register state on, without addresses, numbers of helpers, and
explanations.
"""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bpf.request import parse_request
from bpf.verified import Rejected
from tests.verifier.kit import accepted, rejected
from verifier import verify

FIXTURE = Path(__file__).parents[2] / "fixtures" / "verifier" / "instructions.jsonl.gz"
RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in gzip.decompress(FIXTURE.read_bytes()).splitlines()
]

_ADDRESS = re.compile(r"0xffff[8c][0-9a-f]{11}\b")
_NUMBER = re.compile(r"(call \w+)#-?\d+(?: +(;))?")
_STATE = re.compile(r"\d+: (frame\d+: )?R\d|Validating")


def _number(found: re.Match[str]) -> str:
    return f"{found[1]}#N" + (" ;" if found[2] else "")


def main_pass(log: str) -> list[str]:
    """A log as the fixture keeps it."""
    lines = _NUMBER.sub(_number, _ADDRESS.sub("ADDR", log)).split("\n")
    start = next((i for i, line in enumerate(lines) if _STATE.match(line)), 0)
    kept: list[str] = []
    explains = False
    for line in lines[start:]:
        explains = not line.startswith(("processed ", "verification time")) and (
            explains or line.startswith("Verification failed:")
        )
        if explains:
            continue
        if line.startswith("processed ") and kept and not kept[-1]:
            kept.pop()
        kept.append(line.rstrip())
    while kept and not kept[-1]:
        kept.pop()
    return kept


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r["name"])
def test_whole_log_as_the_kernel(record: dict[str, Any]) -> None:
    verdict = verify(parse_request(record["request"], record["name"]).program, log_level=2)
    assert (verdict.errno if isinstance(verdict, Rejected) else "OK") == record["errno"]
    assert main_pass(verdict.log) == record["log"]


def test_both_verdicts_of_most_rules() -> None:
    taken = sum(record["errno"] == "OK" for record in RECORDS)
    assert len(RECORDS) >= 500
    assert 150 < taken < len(RECORDS) - 150


def test_spilled_pointer_comes_back() -> None:
    accepted("*(u64 *)(r10 -8) = r1\nr2 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r2 +0)\nexit\n")


def test_part_of_a_spilled_pointer_does_not() -> None:
    verdict = rejected(
        "*(u64 *)(r10 -8) = r1\n*(u8 *)(r10 -8) = 1\nr2 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r2 +0)\nexit\n"
    )
    assert "R2 invalid mem access 'scalar'" in (verdict.message or "")
