"""JSON requests: every recording parses and survives a round trip; every wrong field is named in one line."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpf import elf
from bpf.errors import InputError
from bpf.program import Request
from bpf.request import parse_request, to_request

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "programs.jsonl.gz"
EXIT = "b700000000000000" + "9500000000000000"


def recordings() -> Iterator[dict[str, Any]]:
    with gzip.open(GOLDEN, "rt") as stream:
        for line in stream:
            yield json.loads(line)


def test_every_recording_survives_a_round_trip() -> None:
    count = 0
    for record in recordings():
        request = parse_request(record, record["name"])
        assert parse_request(to_request(request), record["name"]) == request, record["name"]
        count += 1
    assert count == 3105


@pytest.mark.parametrize("name", ["kfunc_many_args.bpf.o", "globals_maps8.bpf.o", "rej_no_btf.bpf.o"])
def test_programs_of_objects_survive_a_round_trip(name: str) -> None:
    for program in elf.load(GOLDEN.parents[1] / "objects" / name).programs:
        back = parse_request(json.loads(json.dumps(to_request(Request(program))))).program
        # a kfunc call's own imm is not part of a request, and an ELF section is not either
        assert replace(back, insns=(), section=program.section) == replace(program, insns=())
        assert len(back.insns) == len(program.insns)
        assert bool(program.line_info) == (name != "rej_no_btf.bpf.o")


def test_only_insns_is_required() -> None:
    request = parse_request({"insns": EXIT})
    assert (request.program.prog_type, request.program.license, request.log_level) == ("sched_cls", "GPL", 2)
    assert len(request.runs) == 1
    assert len(request.program.insns) == 2


def test_runs_is_a_count_or_a_list_of_inputs() -> None:
    assert len(parse_request({"insns": EXIT, "runs": 3}).runs) == 3
    runs = parse_request(
        {"insns": EXIT, "data_in": "00", "runs": [{"data_in": "0102"}, {"ctx_in": "ff"}]}
    ).runs
    assert [(run.data_in, run.ctx_in) for run in runs] == [(b"\x01\x02", None), (b"\x00", b"\xff")]


WRONG: list[tuple[object, str]] = [
    ([], "request: a request must be an object, not a list"),
    ({}, "request: field insns: is missing"),
    ({"insns": 5}, "request: field insns: must be a string of hex digits, not a number"),
    ({"insns": "9"}, "request: field insns: odd number of hex digits"),
    ({"insns": "zz"}, "request: field insns: not hex"),
    ({"insns": "95000000"}, "request: field insns: byte 0: 4 bytes left over: not a whole instruction"),
    ({"insns": EXIT, "log_level": "2"}, "request: field log_level: must be a number, not a string"),
    ({"insns": EXIT, "log_level": True}, "request: field log_level: must be a number, not true or false"),
    ({"insns": EXIT, "log_level": 8}, "request: field log_level: 8 is not in 0..7"),
    ({"insns": EXIT, "prog_type": "tcp"}, "request: field prog_type: 'tcp' is no program type"),
    ({"insns": EXIT, "maps": {}}, "request: field maps: must be a list, not an object"),
    ({"insns": EXIT, "maps": [1]}, "request: field maps[0]: must be an object, not a number"),
    ({"insns": EXIT, "maps": [{}]}, "request: field maps[0].type: is missing"),
    (
        {"insns": EXIT, "maps": [{"type": 2, "key_size": -1}]},
        "request: field maps[0].key_size: -1 is not in 0..4294967295",
    ),
    (
        {"insns": EXIT, "maps": [{"type": 2, "elems": [["00"]]}]},
        "request: field maps[0].elems[0]: must be a pair [key, value]",
    ),
    ({"insns": EXIT, "kfuncs": [{"insn": 0, "name": "f"}]}, "request: field kfuncs[0].insn: instruction 0 is no call"),
    ({"insns": EXIT, "kfuncs": [{"insn": 0}]}, "request: field kfuncs[0].name: is missing"),
    ({"insns": EXIT, "run": 1}, "request: field run: must be true or false, not a number"),
    ({"insns": EXIT, "place": {"maps": ["x"]}}, "request: field place.maps: must be an address (a number, or hex text), not 'x'"),
    ({"insns": EXIT, "func_info": "00"}, "request: field func_info: 1 bytes are no whole number of records of 8 bytes"),
    ({"insns": EXIT, "runs": 1.5}, "request: field runs: must be a number, not a number with a fraction"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "message"), WRONG)
def test_wrong_fields_are_named(value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_request(value)
    assert str(caught.value) == message


def test_a_broken_btf_is_an_input_error() -> None:
    with pytest.raises(InputError, match="field btf"):
        parse_request({"insns": EXIT, "btf": "9feb01"})
