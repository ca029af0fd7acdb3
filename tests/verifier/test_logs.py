"""Whole logs: every byte of what a real 7.3.4 kernel writes at levels 1, 2, 4, 5 and 6, but for addresses and kfunc numbers.

fixtures/verifier/logs.jsonl.gz has accepted and refused programs; of each feature of the listing in front of the main pass,
and of each kind of block that explains a refusal, two and more. The line with the time that verification took is left out.
"""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bpf.request import parse_request
from verifier import verify

FIXTURE = Path(__file__).parents[2] / "fixtures" / "verifier" / "logs.jsonl.gz"
RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in gzip.decompress(FIXTURE.read_bytes()).splitlines()
]

_ADDRESS = re.compile(r"0xffff[8c][0-9a-f]{11}\b")
_NUMBER = re.compile(r"(call \w+)#-?\d+(?: +(;))?")


def plain(log: str) -> str:
    """A log without what differs from boot to boot; a number's width moves the state behind it, too."""
    return _NUMBER.sub(lambda found: f"{found[1]}#N{' ;' if found[2] else ''}", _ADDRESS.sub("ADDR", log))


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r['name']}@{r['level']}")
def test_whole_log_to_the_byte(record: dict[str, Any]) -> None:
    program = parse_request(record["request"], record["name"]).program
    assert plain(verify(program, log_level=record["level"]).log) == record["log"]


def test_all_kinds_of_blocks_are_there() -> None:
    """The fixture covers every kind of explanation that the recorded refusals have."""
    kinds = {kind for record in RECORDS for kind in re.findall(r"Verification failed: (.*)", record["log"])}
    assert len(kinds) >= 20
    assert {record["level"] for record in RECORDS} == {1, 2, 4, 5, 6}
