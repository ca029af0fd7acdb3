"""Helpers on text, probing and checksums, against independent definitions."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf.maps import MapSpec, MapType
from emu.runtime.helpers.checksum import fold, from32to16, partial, replaced
from emu.runtime.helpers.strings import parse
from emu.runtime.helpers.trace import events_of
from emu.runtime.traps import HelperTrap
from tests.emu.call_kit import M64, start

ENOENT, EFAULT, EINVAL = 2, 14, 22

ARRAY = MapSpec("array", MapType.ARRAY, 4, 8, 3)
HASH = MapSpec("hash", MapType.HASH, 4, 8, 2)
PERF = MapSpec("perf", MapType.PERF_EVENT_ARRAY, 4, 4, 2)


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
