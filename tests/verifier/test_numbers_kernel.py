"""Numbers in the main pass: small programs, each with the whole log of a real 7.3.4 kernel at level 2.

fixtures/verifier/numbers.jsonl.gz has random arithmetic and comparisons on loaded numbers, the same mixed with spills, maps,
packets and calls, and what the stored sources of the kernel do not tell: how packet pointers move and are pruned, spilled
zeros of which half is dead, comparisons of pointers. Format as of instructions.jsonl.gz, maps' addresses left out.
"""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bpf.request import parse_request
from bpf.verified import Rejected
from tests.verifier.test_instructions import main_pass
from verifier import verify

FIXTURE = Path(__file__).parents[2] / "fixtures" / "verifier" / "numbers.jsonl.gz"
RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in gzip.decompress(FIXTURE.read_bytes()).splitlines()
]

_WIDE = re.compile(r"(\(18\) r\d+ = )\S+ *")


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r["name"])
def test_whole_log_as_the_kernel(record: dict[str, Any]) -> None:
    verdict = verify(parse_request(record["request"], record["name"]).program, log_level=2)
    assert (verdict.errno if isinstance(verdict, Rejected) else "OK") == record["errno"]
    assert [_WIDE.sub(r"\1ADDR ", line) for line in main_pass(verdict.log)] == record["log"]
