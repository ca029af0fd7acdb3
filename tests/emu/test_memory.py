"""Memory: which bytes a program may touch, and that reuse leaves nothing behind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf.errors import InternalError
from emu.runtime.memory import ARENAS, GuestFault, Memory, Region

SMALL = {"a": (0x1000, 1 << 16), "b": (0xFFFF_8880_0000_0000, 8 << 20)}


@pytest.fixture
def memory() -> Memory:
    return Memory(SMALL)


@pytest.mark.parametrize(
    ("off", "size", "why"),
    [
        (0, 16, None),
        (15, 1, None),
        (12, 4, None),
        (-1, 1, "no object"),
        (-1, 2, "no object"),
        (13, 4, "runs 1 bytes past"),
        (16, 1, "no object"),
        (0, 17, "runs 1 bytes past"),
    ],
)
def test_bounds(memory: Memory, off: int, size: int, why: str | None) -> None:
    memory.alloc("a", 32, "mem", "before")
    region = memory.alloc("a", 16, "mem", "object", gap=64)
    if why is None:
        memory.write(region.base + off, bytes(range(size)))
        assert memory.read(region.base + off, size) == bytes(range(size))
        return
    for access in (
        lambda: memory.read(region.base + off, size),
        lambda: memory.write(region.base + off, bytes(size)),
    ):
        with pytest.raises(GuestFault, match=why):
            access()


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_load_and_store_are_little_endian_and_cut(memory: Memory, size: int) -> None:
    region = memory.alloc("a", 8, "mem", "object")
    memory.store(region.base, size, 0xFFEE_DDCC_BBAA_9988_7766)
    whole = (0xDDCC_BBAA_9988_7766).to_bytes(8, "little")
    assert bytes(region.view) == whole[:size] + bytes(8 - size)
    assert memory.load(region.base, size) == int.from_bytes(whole[:size], "little")


def test_neighbours_do_not_touch(memory: Memory) -> None:
    first, second = (memory.alloc("a", 8, "mem", name) for name in "xy")
    assert second.base > first.end
    with pytest.raises(GuestFault):
        memory.read(first.base, second.end - first.base)


def test_permissions_bind_the_guest_only(memory: Memory) -> None:
    region = memory.alloc("a", 8, "mem", "object", writable=False)
    region.view[0] = 7
    with pytest.raises(GuestFault, match="object is read-only"):
        memory.store(region.base, 1, 1)
    region.readable = False
    with pytest.raises(GuestFault, match="object is write-only"):
        memory.load(region.base, 1)
    assert region.view[0] == 7


@pytest.mark.parametrize(
    ("base", "size"), [(0x1008, 8), (0x1000, 1), (0xFFF, 2), (0x1007, 1), (0xF00, 0x1000)]
)
def test_objects_may_not_overlap(memory: Memory, base: int, size: int) -> None:
    memory.add(Region(0x1000, 12, "mem", "object", memoryview(bytearray(12))))
    with pytest.raises(InternalError, match="overlaps"):
        memory.add(Region(base, size, "mem", "other", memoryview(bytearray(size))))


def test_dropped_objects_are_gone(memory: Memory) -> None:
    region = memory.alloc("a", 8, "mem", "object")
    memory.drop(region)
    assert not region.live
    assert memory.region_at(region.base) is None
    with pytest.raises(InternalError, match="not known"):
        memory.drop(region)


@pytest.mark.parametrize("size", [64, 3 << 20])  # below and above the size from which pages are given back
def test_reset_zeroes_and_starts_again(memory: Memory, size: int) -> None:
    first = memory.alloc("b", size, "mem", "object")
    first.view[0] = first.view[size - 1] = 0xAA
    memory.reset()
    assert memory.region_at(first.base) is None
    again = memory.alloc("b", size, "mem", "object")
    assert again.base == first.base
    assert not any((again.view[0], again.view[size - 1]))


def test_clear_leaves_other_arenas_alone(memory: Memory) -> None:
    kept, gone = memory.alloc("a", 8, "mem", "kept"), memory.alloc("b", 8, "mem", "gone")
    kept.view[:] = gone.view[:] = b"x" * 8
    memory.clear(("b",))
    assert memory.read(kept.base, 8) == b"x" * 8
    assert not gone.live
    assert bytes(memory.alloc("b", 8, "mem", "new").view) == bytes(8)


def test_a_full_arena_is_our_fault(memory: Memory) -> None:
    with pytest.raises(InternalError, match="arena a is full"):
        memory.alloc("a", 1 << 16, "mem", "object")


def test_packets_have_32_bit_addresses() -> None:
    base, size = ARENAS["packet"]
    assert base + size <= 1 << 32


SPANS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 24)), max_size=12)


@given(spans=SPANS, probe=st.integers(-4, 330), size=st.integers(1, 16))
def test_find_agrees_with_a_list_of_bytes(spans: list[tuple[int, int]], probe: int, size: int) -> None:
    memory = Memory(SMALL)
    owner: dict[int, int] = {}
    for number, (at, length) in enumerate(spans):
        region = Region(0x1000 + at, length, "mem", str(number), memoryview(bytearray(length)))
        if any(byte in owner for byte in range(at, at + length)):
            with pytest.raises(InternalError):
                memory.add(region)
        else:
            memory.add(region)
            owner.update(dict.fromkeys(range(at, at + length), number))
    wanted = {owner.get(byte) for byte in range(probe, probe + size)}
    if len(wanted) == 1 and None not in wanted:
        assert memory.find(0x1000 + probe, size, "read").name == str(wanted.pop())
    else:
        with pytest.raises(GuestFault):
            memory.find(0x1000 + probe, size, "read")
