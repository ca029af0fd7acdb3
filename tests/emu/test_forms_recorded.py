"""Programs with jump tables, arenas and variables of the kernel as a real 7.3.4 kernel judged, compiled and ran them (fixtures/golden-more/forms.jsonl.gz)."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emu.pipeline import ENGINES, Options, Pipeline
from emu.replay.images import replay_image
from emu.replay.records import replay_record

FIXTURE = Path(__file__).parents[2] / "fixtures" / "golden-more" / "forms.jsonl.gz"
RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in gzip.decompress(FIXTURE.read_bytes()).splitlines()
]


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline(Options())
    yield made
    made.close()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_verdict_code_and_result(pipeline: Pipeline, record: dict[str, Any]) -> None:
    replayed = replay_record(pipeline, record, record["name"], ENGINES)
    assert [check for check in replayed.checks if check.state != "agree"] == []
    fields = {check.field for check in replayed.checks}
    if record["expect"]["accepted"]:
        assert {"verdict", "bytes", "retval", "engines"} <= fields


@pytest.mark.parametrize(
    ("family", "accepted", "messages"), [("gotox", 20, 15), ("arena", 30, 4), ("ksym", 40, 9)]
)
def test_many_rules(family: str, accepted: int, messages: int) -> None:
    records = [record for record in RECORDS if record["family"] == family]
    verdicts = Counter(record["expect"]["accepted"] for record in records)
    assert verdicts[True] >= accepted
    assert len({record["expect"].get("message") for record in records}) > messages


def test_native_code_of_the_kernel(pipeline: Pipeline) -> None:
    """The recorded code, as a kernel's JIT made it: its jump tables are filled with places in that code."""
    agreed = 0
    for record in [record for record in RECORDS if record["expect"]["accepted"]][::3]:
        replayed = replay_image(pipeline, record, record["name"])
        states = {check.state for check in replayed.checks}
        assert "differ" not in states, (record["name"], replayed.checks)
        agreed += states == {"agree"}
    assert agreed >= 10
