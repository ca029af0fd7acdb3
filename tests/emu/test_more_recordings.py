"""More programs of the families of fixtures/golden, with other parameters, as a real 7.3.4 kernel judged and ran them.

fixtures/golden-more/programs.jsonl.gz has refusals with a message of their own each, and accepted programs of many rules:
verdict, errno, message, counters, machine code, results.
"""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bpf.request import parse_request
from bpf.verified import Rejected, Verified
from emu.pipeline import ENGINES, Options, Pipeline
from emu.replay.records import replay_record
from verifier import verify

FIXTURE = Path(__file__).parents[2] / "fixtures" / "golden-more" / "programs.jsonl.gz"
RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in gzip.decompress(FIXTURE.read_bytes()).splitlines()
]
ACCEPTED = [record for record in RECORDS if record["expect"]["accepted"]]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(Options())


def test_verdicts_messages_and_counters() -> None:
    for record in RECORDS:
        name, expect = record["name"], record["expect"]
        verdict = verify(parse_request(record, name).program)
        assert isinstance(verdict, Verified) == expect["accepted"], name
        if isinstance(verdict, Rejected):
            assert (verdict.errno, verdict.message) == (expect["errno"], expect["message"]), name
        if "stats" in expect:
            have = {key: verdict.stats.get(key) for key in expect["stats"]}
            assert (have, verdict.verified_insns) == (expect["stats"], expect["verified_insns"]), name
        if isinstance(verdict, Verified):
            functions = [(sub.insns_self, sub.insns_total, sub.stack_depth) for sub in verdict.subprogs]
            assert functions == [
                (sub["insns_self"], sub["insns_total"], sub["stack"]) for sub in expect["subprogs"]
            ], name


@pytest.mark.parametrize("record", ACCEPTED, ids=lambda record: record["name"])
def test_code_and_results(pipeline: Pipeline, record: dict[str, Any]) -> None:
    replayed = replay_record(pipeline, record, record["name"], ENGINES)
    assert [check for check in replayed.checks if check.state == "differ"] == []


def test_a_map_and_its_value_lie_apart(pipeline: Pipeline) -> None:
    """The recorded code names both, as near-991-113 does: neither address may stand for the other."""
    record = next(one for one in ACCEPTED if one["name"] == "near-991-113")
    places = [(ptr["kind"], int(ptr["value"], 16)) for ptr in record["expect"]["jited"][0]["ptrs"]]
    maps, values = ({at for kind, at in places if kind == name} for name in ("map", "mapval"))
    assert values <= {at + 0x128 for at in maps}  # where struct bpf_array has its elements
    assert values
    replayed = replay_record(pipeline, record, record["name"], ENGINES)
    assert [check.state for check in replayed.checks if check.field == "bytes"] == ["agree"]


def test_most_of_the_fixture_can_be_compared() -> None:
    families = Counter(record["family"] for record in RECORDS)
    assert len(families) == 6
    assert len(RECORDS) > 300
    assert sum("jited" in record["expect"] for record in ACCEPTED) > 80
    messages = {record["expect"]["message"] for record in RECORDS if not record["expect"]["accepted"]}
    assert len(messages) > 150
