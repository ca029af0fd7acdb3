"""The interpreter on recordings of a real 7.3.4 kernel: same r0, maps and packet wherever the kernel's are its own."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bpf.request import parse_request
from emu.interp import Interpreter
from emu.outcome import RunResult
from emu.runtime.memory import Memory
from emu.runtime.world import World

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden"
MEMORY = Memory()


def recordings(family: str, path: str = "programs.jsonl.gz") -> Iterator[dict[str, Any]]:
    """Accepted programs that were run."""
    with gzip.open(GOLDEN / path, "rt") as lines:
        for line in lines:
            record = json.loads(line)
            if record["family"] == family and record["expect"]["accepted"] and record.get("run", True):
                yield record


def difference(record: dict[str, Any]) -> str:
    """What is not as recorded, "" when all is."""
    request = parse_request(record, record["name"])
    world = World(request.program, memory=MEMORY)
    result = Interpreter(world).run(request.runs[0])
    maps = [
        b"".join(key + value for key, value in pairs).hex()
        for spec, pairs in zip(request.program.maps, world.contents(), strict=True)
        if spec.dump
    ]
    if result.trap is not None:
        return result.trap.message
    have, want = fields(result, maps), record["expect"]
    wrong = [
        key
        for key in have
        if key not in want.get("nondet", ()) and want.get(key) is not None and have[key] != want[key]
    ]
    return ", ".join(f"{key}: {have[key]}, recorded {want[key]}" for key in wrong)


def fields(result: RunResult, maps: list[str]) -> dict[str, object]:
    if result.errno != "OK":
        return {"run_errno": result.errno}
    data = (result.data_out or b"").hex()
    return {"run_errno": "OK", "retval": result.retval, "map_dumps": maps, "data_out": data}


# The kernel accepts these because of holes in its verifier, and its result does not depend on the slot that is not there.
UNSTORED_SLOT_IS_READ = {"f4-unreliable-twice:first-only", "f4-unreliable-twice:second-partial"}


@pytest.mark.parametrize(
    ("family", "count"), [("F1", 317), ("F2", 400), ("F3", 150), ("F4", 177), ("F5", 411), ("F6", 387)]
)
def test_family(family: str, count: int) -> None:
    found = {record["name"]: difference(record) for record in recordings(family)}
    assert len(found) == count
    differing = {name: why for name, why in found.items() if why}
    for name in UNSTORED_SLOT_IS_READ & differing.keys():
        assert "stack argument 6 was not passed" in differing.pop(name)
    assert differing == {}


def test_processor_without_bmi2() -> None:
    found = {record["name"]: difference(record) for record in recordings("F1", "programs_nobmi2.jsonl.gz")}
    assert len(found) == 98
    assert {name: why for name, why in found.items() if why} == {}
