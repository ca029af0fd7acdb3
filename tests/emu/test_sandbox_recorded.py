"""The sandbox against a real 7.3.4 kernel: our machine code must give the results it recorded (its own: test_foreign_recorded)."""

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bpf.request import parse_request
from bpf.verified import Verified
from emu.outcome import RunResult
from emu.runtime.world import World
from emu.sandbox import Machine, Sandbox
from jit import compile_program
from verifier import verify

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "programs.jsonl.gz"
FAMILIES = ("F1", "F2", "F3", "F6")
STEP = 4  # every fourth program of a family: `bpfemu replay` runs them all


@cache
def recordings() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {family: [] for family in FAMILIES}
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as lines:
        for line in lines:
            family = line[line.index('"family": "') + 11 :][:2]
            if family not in found:
                continue
            record = json.loads(line)
            if record["expect"]["accepted"]:
                found[family].append(record)
    return found


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


def check(record: dict[str, Any], result: RunResult, world: World) -> None:
    expect, name = record["expect"], record["name"]
    assert (result.trap, result.violations) == (None, ()), name
    assert (result.errno, result.retval) == (expect["run_errno"], expect["retval"]), name
    dumps = [
        "".join(key.hex() + value.hex() for key, value in contents)
        for contents, spec in zip(world.contents(), world.program.maps, strict=True)
        if spec.dump
    ]
    assert dumps == expect.get("map_dumps", []), name


@pytest.mark.parametrize("family", FAMILIES)
def test_our_machine_code(machine: Machine, family: str) -> None:
    for record in recordings()[family][1::STEP]:
        request = parse_request(record)
        verified = verify(request.program)
        assert isinstance(verified, Verified), record["name"]
        world = World(request.program, memory=machine.memory)
        engine = Sandbox(machine, world, compile_program(verified))
        check(record, engine.run(request.runs[0]), world)
