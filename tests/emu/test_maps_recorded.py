"""Maps as programs see them: sequences of map helpers, answered by a real 7.3.4 kernel."""

from typing import Any

import pytest

from bpf.errors import InputError
from bpf.request import parse_request
from emu.interp import Interpreter
from emu.runtime.memory import Memory
from emu.runtime.world import World
from tests.emu.recorded_runs import lines, table

MEMORY = Memory()
HASHES = {1, 5, 9, 10}  # a kernel dumps these in an order of its own
RECORDS = lines("maps.jsonl.gz")


def comparable(kind: int, key_and_value: int, dump: str) -> list[str]:
    """The dump's elements, sorted where the order means nothing."""
    step = 2 * key_and_value or 1
    elements = [dump[at : at + step] for at in range(0, len(dump), step)]
    return sorted(elements) if kind in HASHES else elements


def same(spec: dict[str, Any], ours: str, theirs: str) -> bool:
    size = spec["key_size"] + spec["value_size"]
    return comparable(spec["type"], size, ours) == comparable(spec["type"], size, theirs)


@pytest.mark.parametrize("record", RECORDS, ids=[record["name"] for record in RECORDS])
def test_helpers_on_maps(record: dict[str, Any]) -> None:
    request = parse_request(record)
    world = World(request.program, memory=MEMORY)
    result = Interpreter(world).run(request.runs[0])
    assert result.trap is None
    assert result.retval == record["expect"]["retval"]
    for spec, ours, theirs in zip(record["maps"], world.dumps(), record["expect"]["map_dumps"], strict=True):
        assert same(spec, ours, theirs)


def create(spec: dict[str, Any]) -> tuple[str, str | None]:
    """Error of creating the map ("OK"), and its dump."""
    program = parse_request({"insns": "9500000000000000", "maps": [{**spec, "dump": True}]}).program
    try:
        world = World(program, memory=MEMORY)
    except InputError as error:
        return str(error).rsplit("(", 1)[-1].rstrip(")"), None
    return "OK", world.dumps()[0]


def test_which_maps_can_be_created() -> None:
    names = ("type", "key_size", "value_size", "max_entries", "flags")
    rows = table("map_create.json")
    wrong = [row for row in rows if create(dict(zip(names, row[:5], strict=True)))[0] != row[5]]
    assert len(rows) > 700
    assert wrong == []


@pytest.mark.parametrize("case", table("map_elems.json"), ids=lambda case: str(case["name"]))
def test_elements_set_beforehand(case: dict[str, Any]) -> None:
    error, dump = create(case["map"])
    assert error == case["errno"]
    if dump is not None:
        assert same(case["map"], dump, case["dump"])
