"""Test runs: what a real 7.3.4 kernel answered to the same requests, and refusals."""

import struct
from itertools import groupby
from typing import Any

import pytest

from bpf.program import Program, RunInput
from bpf.request import parse_request
from emu.interp import Interpreter
from emu.runtime.memory import GuestFault, Memory
from emu.runtime.traps import RunRefused
from emu.runtime.world import World
from tests.emu.recorded_runs import lines

MEMORY = Memory()


def families() -> list[tuple[str, list[dict[str, Any]]]]:
    records = sorted(lines("runs.jsonl.gz"), key=lambda record: str(record["name"].split(":")[0]))
    return [
        (name, list(group))
        for name, group in groupby(records, lambda record: str(record["name"].split(":")[0]))
    ]


FAMILIES = families()


@pytest.mark.parametrize("records", [group for _, group in FAMILIES], ids=[name for name, _ in FAMILIES])
def test_recorded(records: list[dict[str, Any]]) -> None:
    for record in records:
        request = parse_request(record)
        world = World(request.program, memory=MEMORY)
        result = Interpreter(world).run(request.runs[0])
        expect = record["expect"]
        assert (result.trap, result.errno) == (None, expect["errno"]), record["name"]
        if result.errno != "OK":
            continue
        assert result.retval == expect["retval"], record["name"]
        for field in ("data_out", "ctx_out"):
            if field in expect:
                found = getattr(result, field) or b""
                assert found.hex() == expect[field], (record["name"], field)


def world_of(prog_type: str, **more: Any) -> World:
    return World(Program("p", (), prog_type, **more), memory=MEMORY)


def refused(prog_type: str, run: RunInput, **more: Any) -> str:
    with pytest.raises(RunRefused) as found:
        world_of(prog_type, **more).begin(run)
    return found.value.errno


@pytest.mark.parametrize(
    ("prog_type", "run", "errno"),
    [
        ("sched_cls", RunInput(data_in=bytes(13)), "EINVAL"),
        ("xdp", RunInput(data_in=bytes(13)), "EINVAL"),
        ("flow_dissector", RunInput(data_in=bytes(13)), "EINVAL"),
        ("flow_dissector", RunInput(data_in=bytes(5000)), "EINVAL"),
        ("flow_dissector", RunInput(ctx_in=b"\1"), "EINVAL"),
        ("flow_dissector", RunInput(flags=1), "EINVAL"),
        ("syscall", RunInput(data_in=bytes(64)), "EINVAL"),
        ("syscall", RunInput(repeat=1), "EINVAL"),
        ("syscall", RunInput(repeat=2), "EINVAL"),
        ("raw_tracepoint", RunInput(repeat=1), "EINVAL"),
        ("raw_tracepoint", RunInput(repeat=2), "EINVAL"),
        ("raw_tracepoint", RunInput(data_in=b"\0"), "EINVAL"),
        ("sk_lookup", RunInput(), "EINVAL"),
        ("kprobe", RunInput(), "ENOTSUPP"),
        ("cgroup_device", RunInput(), "ENOTSUPP"),
        ("99", RunInput(), "ENOTSUPP"),
    ],
)
def test_refusals(prog_type: str, run: RunInput, errno: str) -> None:
    assert refused(prog_type, run) == errno


def test_xdp_programs_of_maps_are_not_run() -> None:
    assert refused("xdp", RunInput(), expected_attach_type=35) == "EINVAL"


def test_a_refused_run_leaves_room_for_the_next() -> None:
    world = world_of("sched_cls")
    with pytest.raises(RunRefused):
        world.begin(RunInput(data_in=bytes(5000), ctx_in=bytes(8) + b"\1" * 4 + bytes(156) + b"\1" * 8))
    first = world.begin(RunInput())
    assert world.finish(7).data_out == bytes(64)
    assert world.begin(RunInput()) == first


def test_a_packet_may_be_touched_from_data_to_data_end_only() -> None:
    world = world_of("xdp")
    ctx = world.begin(RunInput(data_in=bytes(range(64)), ctx_in=struct.pack("<6I", 8, 40, 0, 0, 0, 0)))
    data, end, meta = struct.unpack("<3I", world.memory.read(ctx, 12))
    assert (data - meta, end - data) == (8, 32)
    assert world.memory.read(meta, 40) == bytes(range(40))
    for addr, size in ((meta - 1, 1), (end, 1), (end - 1, 2)):
        with pytest.raises(GuestFault):
            world.memory.read(addr, size)


def test_repetitions_and_the_last_result() -> None:
    world = world_of("sched_cls")
    world.begin(RunInput(repeat=5))
    assert world.rounds == 5
    world.begin(RunInput(repeat=0))
    assert world.rounds == 1
    done = world.finish(0x1_2345_6789)
    assert (done.errno, done.retval) == ("OK", 0x2345_6789)


def test_syscall_contexts_are_changed_in_place() -> None:
    world = world_of("syscall")
    ctx = world.begin(RunInput(ctx_in=bytes(16)))
    world.memory.store(ctx + 8, 8, 0x55)
    assert world.finish(0).ctx_out == bytes(8) + b"\x55" + bytes(7)
    assert world.begin(RunInput()) == 0
    assert world.finish(0).ctx_out is None


def test_flow_keys_are_kept_in_range() -> None:
    world = world_of("flow_dissector")
    ctx = world.begin(RunInput(data_in=bytes(12) + b"\x08\x00" + bytes(20)))
    keys = world.memory.load(ctx + 144, 8)
    assert world.memory.read(keys, 16) == struct.pack("<HHHBBBBHHH", 14, 14, 0, 0, 0, 0, 0, 8, 0, 0)
    world.memory.write(keys, struct.pack("<HH", 3, 900))
    out = world.finish(0).data_out
    assert out is not None
    assert struct.unpack_from("<HH", out) == (14, 34)
    assert len(out) == 56


IPV4 = b"\x08\x00" + bytes(12) + bytes([10, 0, 0, 1, 11, 0, 0, 2])
IPV6 = b"\x86\xdd" + bytes(8) + b"\xa1" * 16 + b"\xb2" * 16


@pytest.mark.parametrize(
    ("rest", "family", "src", "dst"),
    [
        (bytes(50), 0, bytes(20), bytes(20)),
        (IPV4, 2, bytes([10, 0, 0, 1]) + bytes(16), bytes([11, 0, 0, 2]) + bytes(16)),
        (IPV6, 10, bytes(4) + b"\xa1" * 16, bytes(4) + b"\xb2" * 16),
    ],
)
def test_the_socket_has_the_addresses_of_the_packet(rest: bytes, family: int, src: bytes, dst: bytes) -> None:
    world = world_of("sched_cls")
    ctx = world.begin(RunInput(data_in=bytes(12) + rest))
    sock = world.memory.load(ctx + 168, 8)
    raw = world.memory.read(sock, 80)
    assert struct.unpack_from("<I", raw, 4) == (family,)
    assert (raw[24:44], raw[52:72]) == (src, dst)
    assert struct.unpack_from("<Ii", raw, 72) == (7, -1)
    with pytest.raises(GuestFault):
        world.memory.store(sock, 4, 1)
