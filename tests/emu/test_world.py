"""The world around a program: addresses, reuse, determinism, dispatch, and maps as objects in memory."""

import struct
from collections.abc import Callable

import pytest

from bpf import isa
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.program import Program, RunInput
from emu.runtime.internals import helper_behind
from emu.runtime.maps_ring import RingMap
from emu.runtime.memory import GuestFault, Memory
from emu.runtime.traps import HelperTrap
from emu.runtime.world import World

MEMORY = Memory()
KEY0, KEY1 = bytes(4), b"\1\0\0\0"


def world(*maps: MapSpec, prog_type: str = "sched_cls", **more: object) -> World:
    return World(Program("p", (), prog_type, maps=maps), memory=MEMORY, **more)  # type: ignore[arg-type]


def array(name: str = "a", value_size: int = 12, max_entries: int = 3, **more: object) -> MapSpec:
    return MapSpec(name, MapType.ARRAY, 4, value_size, max_entries, **more)  # type: ignore[arg-type]


def test_values_follow_the_struct_as_in_struct_bpf_array() -> None:
    one = world(array())
    assert one.map_value(0, 5) == one.map_pointer(0) + 296 + 5
    assert one.maps[0].lookup(KEY1) == one.map_value(0, 16)
    header = one.memory.read(one.map_pointer(0), 296)
    assert struct.unpack_from("<4I", header, 0x38) == (MapType.ARRAY, 4, 12, 3)
    assert struct.unpack_from("<2I", header, 280) == (16, 3)
    with pytest.raises(GuestFault, match="read-only"):
        one.memory.store(one.map_pointer(0) + 0x44, 4, 9)


def test_hash_elements_are_structs_htab_elem() -> None:
    one = world(MapSpec("h", MapType.HASH, 5, 8, 4, elems=((b"abcde", b"12345678"),)))
    key = one.memory.alloc("heap", 8, "mem", "key")
    key.view[:5] = b"abcde"
    element = one.internal("__htab_map_lookup_elem", [one.map_pointer(0), key.base])
    assert isinstance(element, int)
    assert one.memory.read(element + 48, 5) == b"abcde"
    assert one.maps[0].lookup(b"abcde") == element + 48 + 8
    with pytest.raises(GuestFault, match="read-only"):
        one.memory.store(element + 48, 1, 0)
    with pytest.raises(HelperTrap, match="no hash table"):
        world(array()).internal("__htab_map_lookup_elem", [one.map_pointer(0), key.base])


@pytest.mark.parametrize(("flag", "access"), [(1 << 7, "read"), (1 << 8, "write")])
def test_programs_keep_to_the_maps_flags(flag: int, access: str) -> None:
    one = world(array(flags=flag))
    addr = one.map_value(0, 0)
    if access == "read":
        assert one.memory.load(addr, 8) == 0
        with pytest.raises(GuestFault, match="read-only"):
            one.memory.store(addr, 8, 1)
    else:
        one.memory.store(addr, 8, 1)
        with pytest.raises(GuestFault, match="write-only"):
            one.memory.load(addr, 8)


def test_frozen_maps_take_nothing_from_user_space() -> None:
    one = world(array(elems=((KEY1, b"x" * 12),), freeze=True)).maps[0]
    assert one.put(KEY0, bytes(12)) == -1
    assert one.contents()[1] == (KEY1, b"x" * 12)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (array(elems=((b"\1", bytes(12)),)), "map a: element 0: key has 1 bytes, the map's keys have 4"),
        (array(elems=((KEY0, b""),)), "map a: element 0: value has 0 bytes, the map's values have 12"),
        (array(elems=((b"\3\0\0\0", bytes(12)),)), "map a: element 0: cannot be set: error 7 (E2BIG)"),
        (MapSpec("", 99, 4, 4, 1), "map 0: type 99 is not supported"),
        (array(value_size=0), "map a: type array: value_size is 0 (EINVAL)"),
        (
            array(value_size=1 << 20, max_entries=100),
            "map a: needs 104857600 bytes, 67108864 of 67108864 are left for maps",
        ),
        (
            MapSpec("p", MapType.PROG_ARRAY, 4, 4, 2, progs=((2, "x"),)),
            "map p: program x: index 2 is not below 2",
        ),
    ],
)
def test_maps_that_cannot_be_made(spec: MapSpec, text: str) -> None:
    with pytest.raises(InputError) as error:
        world(spec)
    assert str(error.value) == text


def test_a_map_of_an_unmodelled_kind_may_be_there_while_nothing_names_it() -> None:
    spec = MapSpec("s", MapType.STRUCT_OPS, 4, 4, 1)
    load = (Insn(isa.LD_IMM64, 1, isa.PSEUDO_MAP_FD), Insn(0))
    assert world(spec).maps[0].addr
    with pytest.raises(InputError) as error:
        World(Program("names", (*load, Insn(isa.OP_EXIT)), maps=(spec,)))
    assert str(error.value) == "map s: type struct_ops is not supported"


def test_a_large_map_costs_no_time_and_is_empty_when_used_again() -> None:
    spec = array(value_size=8, max_entries=1_000_000)
    last = (999_999).to_bytes(4, "little")
    one = world(spec)
    one.memory.store(one.maps[0].lookup(last), 8, 77)
    assert one.maps[0].contents()[-1] == (last, struct.pack("<Q", 77))
    again = world(spec)
    assert again.memory.load(again.maps[0].lookup(last), 8) == 0


def test_per_cpu_values() -> None:
    spec = MapSpec("c", MapType.PERCPU_ARRAY, 4, 4, 2, elems=((KEY1, b"aaaa\0\0\0\0bbbb\0\0\0\0"),))
    one = world(spec, cpus=2)
    shared = one.maps[0]
    assert one.memory.read(shared.lookup(KEY1, 0), 4) == b"aaaa"
    assert one.memory.read(shared.lookup(KEY1, 1), 4) == b"bbbb"
    assert shared.lookup(KEY1, 2) == 0
    assert shared.contents()[1] == (KEY1, b"aaaa\0\0\0\0bbbb\0\0\0\0")
    pointer = one.memory.load(one.map_pointer(0) + 296 + 8, 8)
    assert pointer == shared.lookup(KEY1, 0)
    table = world(MapSpec("h", MapType.PERCPU_HASH, 4, 4, 2), cpus=3).maps[0]
    assert table.update(KEY1, b"zzzz", 0, 1) == 0
    assert table.contents() == ((KEY1, bytes(8) + b"zzzz" + bytes(12)),)


def test_program_arrays() -> None:
    one = world(MapSpec("p", MapType.PROG_ARRAY, 4, 4, 4, progs=((2, "next"),)), array())
    pointer = one.map_pointer(0)
    assert [one.tail_target(pointer, index) for index in (0, 2, 4, 1 << 31)] == [None, "next", None, None]
    assert one.tail_target(one.map_pointer(1), 2) is None
    assert (one.maps[0].delete(b"\2\0\0\0"), one.tail_target(pointer, 2)) == (0, None)


def test_records_of_a_ring_buffer_end_at_the_first_open_one() -> None:
    ring = world(MapSpec("r", MapType.RINGBUF, 0, 0, 4096)).maps[0]
    assert isinstance(ring, RingMap)
    first, second = ring.reserve(3), ring.reserve(4)
    ring.commit(second, discard=False)
    assert ring.records() == []
    ring.memory.write(first, b"abc")
    ring.commit(first, discard=False)
    assert ring.records() == [b"abc", bytes(4)]
    with pytest.raises(HelperTrap, match="no reserved sample"):
        ring.commit(first, discard=False)
    with pytest.raises(GuestFault):
        ring.memory.write(first, b"abc")


@pytest.mark.parametrize(
    "spec",
    [
        array(),
        MapSpec("h", MapType.HASH, 4, 12, 3, elems=((b"abcd", bytes(12)), (b"efgh", bytes(12)))),
        MapSpec(
            "l", MapType.LPM_TRIE, 8, 4, 3, flags=1, elems=((b"\x08\0\0\0abcd", b"1234"), (bytes(8), b"5678"))
        ),
    ],
    ids=lambda spec: str(spec.name),
)
def test_walking_gives_each_key_with_its_value(spec: MapSpec) -> None:
    one = world(spec)
    found = [
        (one.memory.read(key, spec.key_size), one.memory.read(value, spec.value_size))
        for key, value in one.maps[0].walk()
    ]
    assert sorted(found) == list(one.contents()[0])


def test_elements_may_be_deleted_while_walking() -> None:
    one = world(
        MapSpec("h", MapType.HASH, 4, 4, 8, elems=tuple((bytes([k, 0, 0, 0]), b"vvvv") for k in range(8)))
    )
    seen = []
    for key, _ in one.maps[0].walk():
        seen.append(one.memory.read(key, 4)[0])
        one.maps[0].delete(bytes([seen[-1] + 1, 0, 0, 0]))
    assert seen == [0, 2, 4, 6]


def test_a_new_world_has_nothing_of_the_last() -> None:
    spec = MapSpec("h", MapType.HASH, 4, 4, 2)
    first = world(spec)
    first.begin(RunInput(data_in=b"x" * 100))
    first.maps[0].update(b"abcd", b"1234")
    addr = first.maps[0].lookup(b"abcd")
    again = world(spec)
    assert again.contents() == ((),)
    with pytest.raises(GuestFault):
        again.memory.read(addr, 1)
    again.maps[0].update(b"zzzz", b"5678")
    assert again.maps[0].lookup(b"zzzz") == addr


def test_the_same_seed_gives_the_same_answers() -> None:
    def answers(seed: int) -> list[int]:
        env = world(seed=seed).env
        return [env.random32(), env.now(), env.random64(), env.now(), env.jiffies(), env.random32()]

    assert answers(1) == answers(1) != answers(2)
    env = world().env
    times = [env.now() for _ in range(5)]
    assert times == sorted(set(times))


@pytest.mark.parametrize("seed", [0, 1, -1, 1 << 70])
def test_random_numbers_have_32_bits(seed: int) -> None:
    env = world(seed=seed).env
    numbers = [env.random32() for _ in range(50)]
    assert all(0 <= number < 1 << 32 for number in numbers)
    assert len(set(numbers)) == 50


def test_unknown_functions_trap() -> None:
    one = world()
    calls: list[Callable[[], object]] = [
        lambda: one.helper(999, [0] * 5),
        lambda: one.kfunc("no_such_kfunc", [0] * 12),
        lambda: one.internal("no_such_symbol", [0] * 5),
    ]
    for call in calls:
        with pytest.raises(HelperTrap, match="is not known") as trap:
            call()
        assert trap.value.kind == "call"
    with pytest.raises(HelperTrap, match="0x10 is no map"):
        one.map_at(16)


@pytest.mark.parametrize(
    ("symbol", "number"),
    [
        ("htab_map_update_elem", 2),
        ("htab_lru_map_lookup_elem", 1),
        ("array_map_lookup_percpu_elem", 195),
        ("trie_delete_elem", 3),
        ("queue_stack_map_push_elem", 87),
        ("bpf_for_each_hash_elem", 164),
        ("bpf_user_rnd_u32", 7),
        ("bpf_something", None),
    ],
)
def test_operations_of_map_types_are_helpers(symbol: str, number: int | None) -> None:
    assert helper_behind(symbol) == number


def test_timed_may_goto_refreshes_once() -> None:
    one = world()
    pair = one.memory.alloc("heap", 16, "mem", "pair")
    assert one.internal("arch_bpf_timed_may_goto", [pair.base]) == 65535
    assert one.memory.load(pair.base + 8, 8) > 0
    assert one.internal("arch_bpf_timed_may_goto", [pair.base]) == 0


@pytest.mark.parametrize(
    ("off", "size", "value"),
    [
        (0, 4, 0x00010203),
        (60, 4, 0x3C3D3E3F),
        (61, 4, None),
        (-0x100000, 2, 0x0E0F),
        (-0x200000 + 12, 2, 0x0C0D),
        (-1, 1, None),
        (-0x200001, 1, None),
        (0x7FFFFFFF, 4, None),
    ],
)
def test_packet_loads(off: int, size: int, value: int | None) -> None:
    one = world()
    one.begin(RunInput(data_in=bytes(range(64))))
    assert one.skb_load(off, size) == value
    name = f"bpf_skb_load_helper_{8 * size}_no_cache"
    assert one.internal(name, [0, off & 0xFFFF_FFFF]) == ((1 << 64) - 14 if value is None else value)


def test_programs_without_a_packet_load_nothing() -> None:
    one = world(prog_type="syscall")
    one.begin(RunInput())
    assert one.skb_load(0, 1) is None


def test_map_indices_are_checked() -> None:
    one = world(MapSpec("h", MapType.HASH, 4, 4, 2))
    calls: list[Callable[[], object]] = [
        lambda: one.map_pointer(1),
        lambda: one.map_pointer(-1),
        lambda: one.map_value(0, 0),
    ]
    for call in calls:
        with pytest.raises(InputError):
            call()
