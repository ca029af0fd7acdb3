"""The sandbox against a real 7.3.4 kernel: its own machine code, and ours, must give the results it recorded."""

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bpf import isa
from bpf.helpers import HELPERS
from bpf.request import parse_request
from bpf.verified import Verified
from emu.outcome import RunResult
from emu.runtime.world import World
from emu.sandbox import Machine, Sandbox, addresses
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


SYMBOLS = {helper.symbol: helper.name for helper in HELPERS.values()}


def relocated(record: dict[str, Any], machine: Machine, world: World) -> list[tuple[str, int, bytes]]:
    """The kernel's bytes of all functions at our addresses, every call and pointer redirected."""
    jited = record["expect"]["jited"]
    starts = []
    at = addresses.IMAGE
    for function in jited:
        starts.append(at)
        at += -(-function["len"] // 64) * 64
    first = first_map_id(record)
    out = []
    for number, (function, start) in enumerate(zip(jited, starts, strict=True)):
        code = bytearray.fromhex(function["hex"])
        for call in function["calls"]:
            target = call["target"]
            where = (
                starts[int(target[5:])]
                if target.startswith("func#")
                else machine.symbol(SYMBOLS.get(target, target))
            )
            end = call["off"] + 5
            code[end - 4 : end] = (where - (start + end)).to_bytes(4, "little", signed=True)
        for pointer in function.get("ptrs", []):
            off = pointer["off"]
            if pointer["kind"] == "func":
                where = starts[int(pointer["target"].removeprefix("func#"))]
                code[off : off + 4] = (where & isa.U32).to_bytes(4, "little")
                continue
            index = pointer["map_id"] - first
            value = (
                world.map_pointer(index)
                if pointer["kind"] == "map"
                else world.map_value(index, pointer["add"])
            )
            code[off : off + 8] = value.to_bytes(8, "little")
        out.append((f"func{number}", start, bytes(code)))
    return out


def first_map_id(record: dict[str, Any]) -> int:
    """Maps are created in order, so their ids follow each other; the rewritten program shows one of them."""
    insns, xlated = (bytes.fromhex(text) for text in (record["insns"], record["expect"]["xlated"]))
    for off in range(0, len(insns), 8):
        if insns[off] == isa.LD_IMM64 and insns[off + 1] >> 4 in (1, 2):
            index = int.from_bytes(insns[off + 4 : off + 8], "little")
            assert xlated[off] == isa.LD_IMM64, record["name"]
            return int.from_bytes(xlated[off + 4 : off + 8], "little") - index
    return 0


@pytest.mark.parametrize("family", ["F2", "F3", "F6"])
def test_the_kernels_own_machine_code(machine: Machine, family: str) -> None:
    """Arguments, kfuncs and frames as the kernel itself compiled them (divisions of F1 are rewritten: no map id there)."""
    ran = 0
    for record in recordings()[family][::STEP]:
        program = parse_request(record).program
        world = World(program, memory=machine.memory)
        engine = Sandbox.of_bytes(machine, world, relocated(record, machine, world))
        check(record, engine.run(parse_request(record).runs[0]), world)
        ran += 1
    assert ran >= 30


@pytest.mark.parametrize("family", FAMILIES)
def test_our_machine_code(machine: Machine, family: str) -> None:
    for record in recordings()[family][1::STEP]:
        request = parse_request(record)
        verified = verify(request.program)
        assert isinstance(verified, Verified), record["name"]
        world = World(request.program, memory=machine.memory)
        engine = Sandbox(machine, world, compile_program(verified))
        check(record, engine.run(request.runs[0]), world)
