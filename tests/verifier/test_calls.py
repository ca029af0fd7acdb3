"""Calls of helpers and kfuncs: small programs, each with what a real 7.3.4 kernel answered (fixtures/verifier/calls.jsonl)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bpf.verified import Rejected
from tests.verifier.kit import program
from verifier import verify

FIXTURE = Path(__file__).parents[2] / "fixtures" / "verifier" / "calls.jsonl"
RECORDS: list[dict[str, Any]] = [json.loads(line) for line in FIXTURE.read_text().splitlines()]

# Kfuncs have numbers that only the asked kernel knows.
_NUMBER = re.compile(r"#\d+")


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r["name"])
def test_as_the_kernel(record: dict[str, Any]) -> None:
    verdict = verify(program(record["text"]))
    errno, message = ("OK", None) if not isinstance(verdict, Rejected) else (verdict.errno, verdict.message)
    assert errno == record["errno"], message
    assert _NUMBER.sub("#", message or "") == _NUMBER.sub("#", record["message"] or "")


def test_both_verdicts_of_most_rules() -> None:
    accepted = sum(record["errno"] == "OK" for record in RECORDS)
    assert len(RECORDS) > 190
    assert accepted > 60
