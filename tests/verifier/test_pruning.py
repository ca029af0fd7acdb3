"""Pruning, precision, liveness, loops and constants: 46 small programs, each with the whole log of a real 7.3.4 kernel.

fixtures/verifier/pruning.jsonl.gz has texts whose names say what they show. Most ask for a checkpoint at every place where
there may be one, so that the counters of the last line say which paths were covered; the log has every mark that was
followed back, through registers, slots and stack arguments.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bpf import asm
from bpf.verified import Rejected
from tests.verifier.test_instructions import main_pass
from verifier import verify

FIXTURE = Path(__file__).parents[2] / "fixtures" / "verifier" / "pruning.jsonl.gz"
RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in gzip.decompress(FIXTURE.read_bytes()).splitlines()
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r["name"])
def test_whole_log_as_the_kernel(record: dict[str, Any]) -> None:
    verdict = verify(asm.parse(record["text"], record["name"]).program, log_level=2)
    assert (verdict.errno if isinstance(verdict, Rejected) else "OK") == record["errno"]
    assert main_pass(verdict.log) == record["log"]


def test_a_quiet_pass_finds_the_same() -> None:
    """Without a log stretches of simple steps are taken at once; that must not show in verdicts and counters."""
    for record in RECORDS:
        program = asm.parse(record["text"], record["name"]).program
        quiet, loud = verify(program, log_level=0), verify(program, log_level=2)
        assert (quiet.errno if isinstance(quiet, Rejected) else "OK") == record["errno"]
        assert (quiet.stats, quiet.verified_insns) == (loud.stats, loud.verified_insns), record["name"]


def test_the_programs_show_what_they_are_for() -> None:
    logs = {record["name"]: "\n".join(record["log"]) for record in RECORDS}
    assert sum("mark_precise" in log for log in logs.values()) >= 25
    assert sum(": safe" in log for log in logs.values()) >= 14
    assert "stack=-8 before" in logs["a spilled scalar is marked where it was stored"]
    assert "frame0: regs=r7 stack= before 6" in logs["through a stack argument"]
