"""What the verifier's tests share: programs from text, and the recordings of a real 7.3.4 kernel with our verdicts."""

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bpf import asm
from bpf.program import Program
from bpf.request import parse_request
from bpf.verified import Rejected, Verified
from verifier import verify

FIXTURES = Path(__file__).parents[2] / "fixtures"

MAIN = "prog tc\nint main(void *ctx):\n"


def program(text: str) -> Program:
    """A program from the text format; without `prog` the text is the body of a tc program's main function."""
    return asm.parse(text if "prog " in text else MAIN + text, "test").program


def accepted(text: str) -> Verified:
    verdict = verify(program(text))
    assert isinstance(verdict, Verified), verdict.message
    return verdict


def rejected(text: str) -> Rejected:
    verdict = verify(program(text))
    assert isinstance(verdict, Rejected)
    return verdict


@dataclass(frozen=True, slots=True)
class Judged:
    record: dict[str, Any]
    verdict: Verified | Rejected

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def expect(self) -> dict[str, Any]:
        expect: dict[str, Any] = self.record["expect"]
        return expect


@cache
def recordings() -> tuple[Judged, ...]:
    """Every recorded program, judged once for all tests."""
    with gzip.open(FIXTURES / "golden" / "programs.jsonl.gz", "rt") as stream:
        records = [json.loads(line) for line in stream]
    return tuple(Judged(r, verify(parse_request(r, r["name"]).program)) for r in records)
