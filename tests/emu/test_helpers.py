"""Helpers that recordings cannot show, because answers differ by machine or the program is called back: time, ids, maps, loops, ring buffers."""

import struct
from itertools import pairwise

import pytest

from bpf.helpers import BY_NAME
from bpf.maps import MapSpec, MapType
from emu.runtime.maps_ring import RingMap
from emu.runtime.memory import GuestFault
from emu.runtime.traps import HelperTrap
from tests.emu.call_kit import Calls, start

ENOENT, E2BIG, EINVAL, EEXIST, EAGAIN = 2, 7, 22, 17, 11

ARRAY = MapSpec("array", MapType.ARRAY, 4, 8, 3)
HASH = MapSpec("hash", MapType.HASH, 4, 8, 2)
PERCPU = MapSpec("percpu", MapType.PERCPU_ARRAY, 4, 8, 1)
RING = MapSpec("ring", MapType.RINGBUF, 0, 0, 4096)


# ---- time and ids: a function of the seed, and of kernel-like range ----


def test_time_moves_on_with_each_question() -> None:
    calls = start()
    clocks = ["bpf_ktime_get_ns", "bpf_ktime_get_boot_ns", "bpf_ktime_get_coarse_ns", "bpf_ktime_get_tai_ns"]
    times = [calls.helper(name) for name in clocks]
    assert [later - first for first, later in pairwise(times)] == [1000] * 3


def test_jiffies_count_250_a_second() -> None:
    calls = start()
    before, now = calls.helper("bpf_jiffies64"), calls.helper("bpf_ktime_get_ns")
    for _ in range(250_000):
        calls.world.env.now()
    assert calls.helper("bpf_jiffies64") - before == pytest.approx(250 * 0.25, abs=1)
    assert calls.helper("bpf_ktime_get_ns") - now == 250_001_000


def test_random_numbers_follow_from_the_seed() -> None:
    def draw(seed: int) -> list[int]:
        calls = start(seed=seed)
        return [calls.helper("bpf_get_prandom_u32") for _ in range(64)]

    assert draw(1) == draw(1) != draw(2)
    assert all(0 <= number < 1 << 32 for number in draw(3))
    assert len(set(draw(4))) == 64


def test_ids() -> None:
    calls = start()
    pid_tgid = calls.helper("bpf_get_current_pid_tgid")
    assert pid_tgid >> 32 == pid_tgid & 0xFFFFFFFF > 1
    assert calls.helper("bpf_get_current_uid_gid") == 0
    assert calls.helper("bpf_get_smp_processor_id") == calls.helper("bpf_get_numa_node_id") == 0
    assert calls.helper("bpf_get_current_task") == calls.helper("bpf_get_current_task_btf") < 0
    assert (
        calls.helper("bpf_get_current_cgroup_id")
        == calls.helper("bpf_get_current_ancestor_cgroup_id", 0)
        == 1
    )
    assert calls.helper("bpf_get_current_ancestor_cgroup_id", 1) == 0
    assert calls.helper("bpf_get_attach_cookie", calls.ctx) == calls.helper("bpf_get_func_ip", calls.ctx) == 0
    buffer = calls.buffer(b"\xee" * 16)
    assert calls.helper("bpf_get_ns_current_pid_tgid", 0, 0, buffer, 8) == -EINVAL
    assert calls.read(buffer, 16) == bytes(8) + b"\xee" * 8


@pytest.mark.parametrize(("size", "want"), [(16, b"bpfemu".ljust(16, b"\0")), (4, b"bpf\0"), (1, b"\0")])
def test_comm_is_cut_and_padded(size: int, want: bytes) -> None:
    calls = start()
    buffer = calls.buffer(b"\xee" * 16)
    assert calls.helper("bpf_get_current_comm", buffer, size) == 0
    assert calls.read(buffer, 16) == want.ljust(16, b"\xee")


def test_retval_is_an_int_that_lasts() -> None:
    calls = start()
    assert calls.helper("bpf_get_retval") == 0
    assert calls.helper("bpf_set_retval", 0x1_FFFF_FFFF) == 0
    assert calls.helper("bpf_get_retval") == -1


# ---- maps ----


def test_map_elements() -> None:
    calls = start(maps=(HASH,))
    bpf_map = calls.world.map_pointer(0)
    key, value = calls.buffer(b"abcd"), calls.buffer(b"12345678")
    assert calls.helper("bpf_map_lookup_elem", bpf_map, key) == 0
    assert calls.helper("bpf_map_update_elem", bpf_map, key, value, 0) == 0
    found = calls.raw(1, bpf_map, key)
    assert calls.read(found, 8) == b"12345678"
    assert calls.helper("bpf_map_update_elem", bpf_map, key, value, 1) == -EEXIST
    assert calls.helper("bpf_map_delete_elem", bpf_map, key) == 0
    assert calls.helper("bpf_map_delete_elem", bpf_map, key) == -ENOENT


def test_percpu_elements() -> None:
    calls = start(maps=(PERCPU, ARRAY), cpus=2)
    key = calls.buffer(bytes(4))
    percpu, array = calls.world.map_pointer(0), calls.world.map_pointer(1)
    lookup = BY_NAME["bpf_map_lookup_percpu_elem"].id
    first, second, third = (calls.raw(lookup, percpu, key, cpu) for cpu in range(3))
    assert first == calls.raw(1, percpu, key) != second != 0
    assert third == 0
    assert calls.raw(lookup, array, key, 1) == 0


def test_a_pointer_that_is_no_map_is_a_trap() -> None:
    calls = start(maps=(HASH,))
    key = calls.buffer(bytes(4))
    with pytest.raises(HelperTrap, match="no map"):
        calls.helper("bpf_map_lookup_elem", calls.world.map_pointer(0) + 8, key)
    with pytest.raises(GuestFault):
        calls.helper("bpf_map_lookup_elem", calls.world.map_pointer(0), 16)


def test_bloom_filter_peek_reads_its_value() -> None:
    calls = start(maps=(MapSpec("bloom", MapType.BLOOM_FILTER, 0, 4, 8),))
    bloom, value = calls.world.map_pointer(0), calls.buffer(b"abcd")
    assert calls.helper("bpf_map_peek_elem", bloom, value) == -ENOENT
    assert calls.helper("bpf_map_push_elem", bloom, value, 0) == 0
    assert calls.helper("bpf_map_peek_elem", bloom, value) == 0
    assert calls.read(value, 4) == b"abcd"


def test_spin_locks_are_checked() -> None:
    calls = start()
    lock = calls.buffer(bytes(4))
    with pytest.raises(HelperTrap, match="not taken"):
        calls.helper("bpf_spin_unlock", lock)
    calls.helper("bpf_spin_lock", lock)
    with pytest.raises(HelperTrap, match="deadlock"):
        calls.helper("bpf_spin_lock", lock)
    calls.helper("bpf_spin_unlock", lock)
    assert calls.read(lock, 4) == bytes(4)


def test_kptr_xchg_swaps() -> None:
    calls = start()
    at = calls.buffer(struct.pack("<Q", 0x1234))
    assert calls.helper("bpf_kptr_xchg", at, 0x5678) == 0x1234
    assert calls.helper("bpf_kptr_xchg", at, 0) == 0x5678


def test_there_is_no_local_storage() -> None:
    calls = start(maps=(HASH,))
    bpf_map = calls.world.map_pointer(0)
    for get, delete in (
        ("bpf_sk_storage_get", "bpf_sk_storage_delete"),
        ("bpf_inode_storage_get", "bpf_inode_storage_delete"),
        ("bpf_task_storage_get", "bpf_task_storage_delete"),
        ("bpf_cgrp_storage_get", "bpf_cgrp_storage_delete"),
    ):
        assert calls.helper(get, bpf_map, 0, 0, 0) == 0
        assert calls.helper(delete, bpf_map, 0) == -EINVAL


def test_cgroup_arrays_are_empty() -> None:
    calls = start(maps=(MapSpec("cgroups", MapType.CGROUP_ARRAY, 4, 4, 1),))
    cgroups = calls.world.map_pointer(0)
    assert calls.helper("bpf_current_task_under_cgroup", cgroups, 0) == -EAGAIN
    assert calls.helper("bpf_current_task_under_cgroup", cgroups, 1) == -E2BIG
    assert calls.helper("bpf_skb_under_cgroup", calls.ctx, cgroups, 0) == -EAGAIN
    assert calls.helper("bpf_skb_under_cgroup", calls.ctx, cgroups, 1) == -E2BIG


# ---- loops ----


@pytest.mark.parametrize(
    ("count", "answers", "want", "made"),
    [(3, [0], 3, 3), (5, [0, 1], 2, 2), (0, [0], 0, 0), (5, [7], 1, 1)],
)
def test_loop(count: int, answers: list[int], want: int, made: int) -> None:
    result, callbacks = start().callbacks("bpf_loop", (count, 0xF00D, 0xC0DE, 0), answers)
    assert result == want
    assert [one.args for one in callbacks] == [(i, 0xC0DE) for i in range(made)]
    assert {one.func for one in callbacks} <= {0xF00D}


@pytest.mark.parametrize(
    ("count", "flags", "want"),
    [
        (8 * 1024 * 1024 + 1, 0, 0xFFFF_FFF9),  # as the loop that the verifier puts in place of the call
        ((1 << 32) + 2, 0, 0xFFFF_FFF9),
        (1, 1, -EINVAL),
    ],
)
def test_loop_refuses(count: int, flags: int, want: int) -> None:
    assert start().callbacks("bpf_loop", (count, 1, 2, flags), [0]) == (want, [])


def test_for_each_element_of_an_array() -> None:
    calls = start(maps=(ARRAY,))
    bpf_map = calls.world.map_pointer(0)
    result, callbacks = calls.callbacks("bpf_for_each_map_elem", (bpf_map, 7, 9, 0), [0])
    assert result == 3
    first = calls.world.map_value(0, 0)
    assert [one.args[2] for one in callbacks] == [first, first + 8, first + 16]
    assert {(one.args[0], one.args[3]) for one in callbacks} == {(bpf_map, 9)}


def test_for_each_element_sees_keys_and_stops() -> None:
    spec = MapSpec("hash", MapType.HASH, 4, 8, 2, elems=((b"aaaa", b"1" * 8), (b"bbbb", b"2" * 8)))
    calls = start(maps=(spec,))
    bpf_map = calls.world.map_pointer(0)
    running = calls.world.helper(164, [bpf_map, 7, 0, 0])
    assert not isinstance(running, int)
    callback = next(running)
    key, value = (calls.read(addr, size) for addr, size in zip(callback.args[1:3], (4, 8), strict=True))
    assert (key, value) in spec.elems
    with pytest.raises(StopIteration) as stop:
        running.send(1)
    assert stop.value.value == 1
    assert calls.callbacks("bpf_for_each_map_elem", (bpf_map, 7, 0, 1), [0]) == (-EINVAL, [])


# ---- ring buffers ----


RESERVE = BY_NAME["bpf_ringbuf_reserve"].id


def _ring(calls: Calls) -> RingMap:
    found = calls.world.maps[0]
    assert isinstance(found, RingMap)
    return found


def test_samples_are_reserved_and_submitted_or_discarded() -> None:
    calls = start(maps=(RING,))
    ring = calls.world.map_pointer(0)
    first, second = calls.raw(RESERVE, ring, 8, 0), calls.raw(RESERVE, ring, 4, 0)
    calls.world.memory.write(first, b"abcdefgh")
    calls.world.memory.write(second, b"wxyz")
    with pytest.raises(GuestFault):
        calls.world.memory.write(second, b"wxyz!")
    calls.helper("bpf_ringbuf_discard", second, 0)
    calls.helper("bpf_ringbuf_submit", first, 0)
    assert calls.helper("bpf_ringbuf_query", ring, 3) == 16 + 16
    assert _ring(calls).records() == [b"abcdefgh"]
    with pytest.raises(HelperTrap, match="no reserved sample"):
        calls.helper("bpf_ringbuf_submit", first, 0)
    assert calls.raw(RESERVE, ring, 8, 1) == 0
    assert calls.raw(RESERVE, ring, 4096, 0) == 0


def test_samples_as_dynptrs() -> None:
    calls = start(maps=(RING,))
    ring, ptr, data = calls.world.map_pointer(0), calls.buffer(bytes(16)), calls.buffer(b"abcd")
    assert calls.helper("bpf_ringbuf_reserve_dynptr", ring, 8, 0, ptr) == 0
    assert calls.helper("bpf_dynptr_write", ptr, 4, data, 4, 0) == 0
    inside = calls.raw(203, ptr, 4, 4)
    assert calls.read(inside, 4) == b"abcd"
    calls.helper("bpf_ringbuf_submit_dynptr", ptr, 0)
    calls.helper("bpf_ringbuf_submit_dynptr", ptr, 0)  # a null dynptr: nothing to do
    assert _ring(calls).records() == [b"\0\0\0\0abcd"]
    assert calls.helper("bpf_ringbuf_reserve_dynptr", ring, 5000, 0, ptr) == -EINVAL
    assert calls.helper("bpf_ringbuf_reserve_dynptr", ring, 1 << 24, 0, ptr) == -E2BIG
    assert calls.helper("bpf_ringbuf_reserve_dynptr", ring, 8, 1, ptr) == -EINVAL
    assert calls.read(ptr, 16) == bytes(16)
    assert calls.helper("bpf_ringbuf_reserve_dynptr", ring, 8, 0, ptr) == 0
    calls.helper("bpf_ringbuf_discard_dynptr", ptr, 0)
    assert _ring(calls).records() == []


def test_a_ring_buffer_helper_wants_a_ring_buffer() -> None:
    calls = start(maps=(HASH,))
    with pytest.raises(HelperTrap, match="no ring buffer"):
        calls.helper("bpf_ringbuf_query", calls.world.map_pointer(0), 0)
