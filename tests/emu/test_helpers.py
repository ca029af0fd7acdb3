"""Helpers one by one: what recordings cannot show, because it differs by machine or needs a callback, and hostile calls."""

import re
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf.helpers import BY_NAME, HELPERS
from bpf.maps import MapSpec, MapType
from bpf.program import Program, RunInput
from emu.runtime.helpers import IMPLEMENTED
from emu.runtime.helpers.checksum import fold, from32to16, partial, replaced
from emu.runtime.helpers.strings import parse
from emu.runtime.helpers.trace import events_of
from emu.runtime.maps_ring import RingMap
from emu.runtime.memory import GuestFault
from emu.runtime.traps import HelperTrap
from emu.runtime.world import World
from tests.emu.call_kit import M64, Calls, recorded, start

EPERM, ENOENT, E2BIG, EFAULT, EINVAL, EEXIST, EOPNOTSUPP, EAGAIN = 1, 2, 7, 14, 22, 17, 95, 11

ARRAY = MapSpec("array", MapType.ARRAY, 4, 8, 3)
HASH = MapSpec("hash", MapType.HASH, 4, 8, 2)
PERCPU = MapSpec("percpu", MapType.PERCPU_ARRAY, 4, 8, 1)
RING = MapSpec("ring", MapType.RINGBUF, 0, 0, 4096)
PERF = MapSpec("perf", MapType.PERF_EVENT_ARRAY, 4, 4, 2)


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
    [(3, [0], 3, 3), (5, [0, 1], 2, 2), (0, [0], 0, 0), (5, [7], 1, 1), ((1 << 32) + 2, [0], 2, 2)],
)
def test_loop(count: int, answers: list[int], want: int, made: int) -> None:
    result, callbacks = start().callbacks("bpf_loop", (count, 0xF00D, 0xC0DE, 0), answers)
    assert result == want
    assert [one.args for one in callbacks] == [(i, 0xC0DE) for i in range(made)]
    assert {one.func for one in callbacks} <= {0xF00D}


@pytest.mark.parametrize(("count", "flags", "want"), [(8 * 1024 * 1024 + 1, 0, -E2BIG), (1, 1, -EINVAL)])
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


# ---- strings and printing ----


@given(st.integers(-(1 << 70), 1 << 70), st.sampled_from([0, 8, 10, 16]), st.sampled_from(["", " ", "\t \n"]))
def test_numbers_are_parsed_as_c_writes_them(number: int, base: int, space: str) -> None:
    digits = format(abs(number), {8: "o", 16: "x"}.get(base, "d"))
    text = space + ("-" if number < 0 else "") + digits
    found = parse((text + " rest").encode(), base)
    if isinstance(found, int):
        assert found == -34
        assert abs(number) >> 64 or len(digits) > 63
    else:
        assert found == (len(text), abs(number), number < 0)


@given(
    st.integers(0, M64),
    st.sampled_from("diuxX"),
    st.sampled_from(["", "l", "ll"]),
    st.sampled_from(["", "0", "-"]),
    st.integers(0, 30),
)
def test_printf_agrees_with_python(word: int, kind: str, length: str, flag: str, width: int) -> None:
    calls = start()
    spec = f"%{flag}{width or ''}{length}{kind}"
    fmt, args, out = (
        calls.buffer(data) for data in (spec.encode() + b"\0", struct.pack("<Q", word), bytes(64))
    )
    bits = 64 if length else 32
    value = word & ((1 << bits) - 1)
    if kind in "di" and value >> (bits - 1):
        value -= 1 << bits
    want = f"%{flag}{width or ''}{kind}" % value
    assert calls.helper("bpf_snprintf", out, 64, fmt, args, 8) == len(want) + 1
    assert calls.read(out, len(want) + 1) == want.encode() + b"\0"


def test_trace_lines_are_kept() -> None:
    calls = start()
    text = calls.buffer(b"sum %d of %s\n\0")
    name = calls.buffer(b"two\0")
    assert calls.helper("bpf_trace_printk", text, 14, -3, name, 0) == len("sum -3 of two\n")
    args = calls.buffer(struct.pack("<QQ", 7, name))
    assert calls.helper("bpf_trace_vprintk", text, 14, args, 16) == len("sum 7 of two\n")
    assert calls.world.trace == ["sum -3 of two", "sum 7 of two"]


def test_formats_that_no_verifier_lets_through() -> None:
    calls = start()
    out, args = calls.buffer(bytes(16)), calls.buffer(bytes(8))
    for bad in (
        b"%o\0",
        b"%#x\0",
        b"%.3d\0",
        b"%*d\0",
        b"%e\0",
        b"%n\0",
        b"a%sb\0",
        b"\1\0",
        b"%p4cc\0",
        b"%d%d\0",
        b"%\0",
    ):
        assert calls.helper("bpf_snprintf", out, 16, calls.buffer(bad), args, 8) == -EINVAL
    for size in (7, 13 * 8):
        assert calls.helper("bpf_snprintf", out, 16, calls.buffer(b"x\0"), args, size) == -EINVAL
    with pytest.raises(HelperTrap, match="no end"):
        calls.helper("bpf_snprintf", out, 16, calls.buffer(b"xyz"), args, 0)


def test_perf_events_have_no_reader() -> None:
    calls = start(maps=(PERF,))
    data = calls.buffer(b"event")
    assert (
        calls.helper("bpf_perf_event_output", calls.ctx, calls.world.map_pointer(0), 0xFFFFFFFF, data, 5)
        == -ENOENT
    )
    assert events_of(calls.world) == [b"event"]


def test_there_is_no_kernel_stack() -> None:
    calls = start("raw_tracepoint", ctx=bytes(8), maps=(MapSpec("stacks", MapType.STACK_TRACE, 4, 80, 16),))
    buffer = calls.buffer(b"\xee" * 16)
    assert calls.helper("bpf_get_stack", calls.ctx, buffer, 16, 0) == -EFAULT
    assert calls.read(buffer, 16) == bytes(16)
    assert calls.helper("bpf_get_stack", calls.ctx, buffer, 15, 0) == -EINVAL
    assert calls.helper("bpf_get_stack", calls.ctx, buffer, 0, 0) == 0
    assert calls.helper("bpf_get_stackid", calls.ctx, calls.world.map_pointer(0), 0) == -EFAULT
    assert calls.helper("bpf_get_stackid", calls.ctx, calls.world.map_pointer(0), 1 << 20) == -EINVAL


# ---- probing ----


def test_user_memory_is_nowhere() -> None:
    calls = start()
    buffer, there = calls.buffer(b"\xee" * 8), calls.buffer(b"in here\0")
    assert calls.helper("bpf_copy_from_user_task", buffer, 8, there, 0, 0) == -EFAULT
    assert calls.read(buffer, 8) == bytes(8)
    assert calls.helper("bpf_copy_from_user_task", buffer, 8, there, 0, 1) == -EINVAL
    assert calls.helper("bpf_probe_write_user", 4096, there, 8) == -EFAULT


def test_packets_are_kernel_memory_though_they_lie_low() -> None:
    calls = start(data=bytes(range(64)))
    buffer = calls.buffer(bytes(8))
    packet = calls.world.packet
    assert packet is not None
    assert calls.helper("bpf_probe_read_kernel", buffer, 8, packet.base + packet.data) == 0
    assert calls.helper("bpf_probe_read", buffer, 8, packet.base + packet.data + 8) == 0
    assert calls.read(buffer, 8) == bytes(range(8, 16))


# ---- checksums, by the definition of RFC 1071 ----


def rfc1071(data: bytes) -> int:
    """The sum of big-endian words, carries added, complemented."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@given(st.binary(max_size=200))
def test_sums_are_internet_checksums(data: bytes) -> None:
    assert fold(partial(data, 0)).to_bytes(2, "little") == rfc1071(data).to_bytes(2, "big")
    assert from32to16(partial(data, 0)) == fold(partial(data, 0)) ^ 0xFFFF


@given(st.binary(min_size=20, max_size=20), st.integers(0, 3), st.binary(min_size=4, max_size=4))
def test_replacing_a_field_is_like_summing_again(data: bytes, at: int, new: bytes) -> None:
    old = data[4 * at : 4 * at + 4]
    changed = data[: 4 * at] + new + data[4 * at + 4 :]
    before = int.from_bytes(rfc1071(data).to_bytes(2, "big"), "little")
    after = int.from_bytes(rfc1071(changed).to_bytes(2, "big"), "little")
    got = replaced(before, int.from_bytes(old, "little"), int.from_bytes(new, "little"))
    assert got % 0xFFFF == after % 0xFFFF  # 0 and 0xffff are the same number


# ---- packets ----


def test_a_hash_is_made_once_and_kept() -> None:
    calls = start(data=bytes(range(64)))
    first = calls.helper("bpf_get_hash_recalc", calls.ctx)
    assert 0 < first < 1 << 32
    calls.helper("bpf_skb_store_bytes", calls.ctx, 20, calls.buffer(b"new!"), 4, 0)
    assert calls.helper("bpf_get_hash_recalc", calls.ctx) == first
    calls.helper("bpf_skb_store_bytes", calls.ctx, 20, calls.buffer(b"new!"), 4, 2)
    assert calls.helper("bpf_get_hash_recalc", calls.ctx) != first


def test_time_stamps_of_packets() -> None:
    ip = bytes(12) + b"\x08\x00" + bytes(40)
    calls = start(data=ip)
    assert calls.helper("bpf_skb_set_tstamp", calls.ctx, 5, 1) == 0
    assert calls.world.memory.load(calls.ctx + 152, 8) == 5
    assert calls.helper("bpf_skb_set_tstamp", calls.ctx, 0, 1) == -EINVAL
    assert calls.helper("bpf_skb_set_tstamp", calls.ctx, 5, 0) == -EINVAL
    assert calls.helper("bpf_skb_set_tstamp", calls.ctx, 5, 3) == -EINVAL
    other = start(data=bytes(64))
    assert other.helper("bpf_skb_set_tstamp", other.ctx, 5, 1) == -EOPNOTSUPP


def test_encapsulating_twice_is_refused() -> None:
    calls = start(data=bytes(12) + b"\x08\x00\x45" + bytes(60))
    assert calls.helper("bpf_skb_adjust_room", calls.ctx, 20, 1, 2) == 0
    assert calls.helper("bpf_skb_adjust_room", calls.ctx, 20, 1, 2) == -114


def test_redirects() -> None:
    calls = start()
    assert calls.helper("bpf_redirect_peer", 1, 0) == 7
    assert calls.helper("bpf_redirect_peer", 1, 1) == 2
    assert calls.helper("bpf_redirect_neigh", 1, 0, 0, 0) == 7
    assert calls.helper("bpf_redirect_neigh", 1, 0, 0, 1) == 2


def test_there_are_no_sockets() -> None:
    calls = start()
    tuple_ = calls.buffer(bytes(12))
    for name in ("bpf_sk_lookup_tcp", "bpf_sk_lookup_udp", "bpf_skc_lookup_tcp"):
        assert calls.helper(name, calls.ctx, tuple_, 12, M64, 0) == 0
    for name in (
        "bpf_sk_fullsock",
        "bpf_tcp_sock",
        "bpf_get_listener_sock",
        "bpf_skc_to_tcp6_sock",
        "bpf_skc_to_tcp_sock",
        "bpf_skc_to_tcp_timewait_sock",
        "bpf_skc_to_tcp_request_sock",
        "bpf_skc_to_udp6_sock",
        "bpf_skc_to_unix_sock",
        "bpf_skc_to_mptcp_sock",
    ):
        assert calls.helper(name, calls.ctx) == 0
    with pytest.raises(HelperTrap, match="not a socket"):
        calls.helper("bpf_sk_release", calls.ctx)
    assert calls.helper("bpf_get_netns_cookie", calls.ctx) == 1
    assert calls.helper("bpf_tcp_check_syncookie", 0, 0, 0, 0, 0) == -EINVAL


# ---- hostile calls ----


@pytest.mark.parametrize(
    "call",
    [
        ("bpf_skb_load_bytes", "ctx", 0, "buf", 0xFFFFFFFF),
        ("bpf_skb_store_bytes", "ctx", 0, 0x10, 8, 0),
        ("bpf_csum_diff", "buf", 1 << 31, 0, 0, 0),
        ("bpf_probe_read_kernel", "buf", 0xFFFFFFFF, 0),
        ("bpf_strtol", "buf", 1 << 62, 0, "buf"),
        ("bpf_get_current_comm", "buf", 1 << 30),
        ("bpf_snprintf", "buf", 1 << 31, "buf", 0, 0),
        ("bpf_trace_printk", "buf", 1 << 31, 0, 0, 0),
        ("bpf_dynptr_from_mem", "buf", 8, 0, 8),
        ("bpf_get_stack", "ctx", "buf", 1 << 31, 0),
    ],
    ids=lambda call: call[0],
)
def test_sizes_and_pointers_out_of_bounds_fault(call: tuple[str | int, ...]) -> None:
    calls = start()
    buffer = calls.buffer(bytes(8))
    name, *args = call
    words = [calls.ctx if arg == "ctx" else buffer if arg == "buf" else int(arg) for arg in args]
    with pytest.raises(GuestFault):
        calls.helper(name, *words)


def test_only_the_context_is_a_context() -> None:
    for prog_type, name, more in (
        ("sched_cls", "bpf_skb_pull_data", (0,)),
        ("xdp", "bpf_xdp_adjust_head", (0,)),
        ("xdp", "bpf_check_mtu", (0, 0, 0, 0)),
    ):
        calls = start(prog_type)
        with pytest.raises(HelperTrap, match="not the address"):
            calls.helper(name, calls.ctx + 8, *more)
    xdp = start("xdp")
    with pytest.raises(HelperTrap, match="struct __sk_buff"):
        xdp.helper("bpf_skb_pull_data", xdp.ctx, 0)


def test_a_huge_packet_cannot_be_made() -> None:
    calls = start()
    for size in (16065, 1 << 20, 0xFFFFFFFF):
        assert calls.helper("bpf_skb_change_tail", calls.ctx, size, 0) == -EINVAL


def test_what_is_missing_says_so() -> None:
    calls = start()
    missing = next(number for number in HELPERS if number not in IMPLEMENTED)
    name = HELPERS[missing].name
    with pytest.raises(HelperTrap, match=f"helper {name}#{missing} is not implemented"):
        calls.helper(missing)
    with pytest.raises(HelperTrap, match="#9999 is not known"):
        calls.helper(9999)


def test_every_run_starts_without_the_last_ones_trace() -> None:
    world = World(Program("test", ()))
    calls = Calls(world, world.begin(RunInput()))
    calls.helper("bpf_trace_printk", calls.buffer(b"x\0"), 2)
    assert world.trace == ["x"]
    world.begin(RunInput())
    assert world.trace == []


def test_every_helper_has_a_test() -> None:
    """Each is called in the recordings or named in this file."""
    called = {
        call[0]
        for folder in ("helpers", "kfuncs")
        for case in recorded(folder)
        for call in case["calls"]
        if isinstance(call[0], int)
    }
    named = set(re.findall(r"bpf_\w+", Path(__file__).read_text(encoding="utf-8")))
    untested = [
        HELPERS[number].name
        for number in IMPLEMENTED
        if number not in called and HELPERS[number].name not in named
    ]
    assert untested == []
