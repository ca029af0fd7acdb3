"""Every kind of map against a few lines of Python, over random operations."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf.maps import MapSpec, MapType
from emu.runtime.maps import Map
from emu.runtime.maps_create import create
from emu.runtime.maps_hash import HashMap, LruHashMap
from emu.runtime.maps_ring import RingMap
from emu.runtime.memory import Memory

MEMORY = Memory()
KEYS = st.integers(0, 6).map(lambda k: k.to_bytes(4, "little"))
VALUES = st.integers(0, 255).map(lambda v: bytes([v]) * 12)
FLAGS = st.sampled_from([0, 0, 0, 1, 2, 3, 4, 8, 1 << 40])
OPS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), KEYS, VALUES, FLAGS),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("lookup"), KEYS),
        st.tuples(st.just("store"), KEYS, VALUES),
    ),
    max_size=40,
)
ENOENT, E2BIG, EEXIST, EINVAL = -2, -7, -17, -22
SIZE = 4


def make(kind: MapType, key_size: int = 4, max_entries: int = SIZE, flags: int = 0, cpus: int = 1) -> Map:
    MEMORY.reset()
    return create(MapSpec("m", kind, key_size, 12, max_entries, flags), 0, MEMORY, cpus)


class ArrayModel:
    def __init__(self) -> None:
        self.values = [bytes(12)] * SIZE

    def get(self, key: bytes) -> bytes | None:
        index = int.from_bytes(key, "little")
        return self.values[index] if index < SIZE else None

    def put(self, key: bytes, value: bytes) -> None:
        self.values[int.from_bytes(key, "little")] = value

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        if flags not in (0, 1, 2, 4):
            return EINVAL
        if self.get(key) is None:
            return E2BIG
        if flags == 1:
            return EEXIST
        if flags == 4:
            return EINVAL
        self.put(key, value)
        return 0

    def delete(self, key: bytes) -> int:
        del key
        return EINVAL

    def contents(self) -> list[tuple[bytes, bytes]]:
        return [(i.to_bytes(4, "little"), value) for i, value in enumerate(self.values)]


class HashModel:
    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.values[key] = value

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        if flags not in (0, 1, 2):
            return EINVAL
        if flags == 1 and key in self.values:
            return EEXIST
        if flags == 2 and key not in self.values:
            return ENOENT
        if key not in self.values and len(self.values) == SIZE:
            return E2BIG
        self.values[key] = value
        return 0

    def delete(self, key: bytes) -> int:
        return 0 if self.values.pop(key, None) is not None else ENOENT

    def contents(self) -> list[tuple[bytes, bytes]]:
        return sorted(self.values.items())


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        (MapType.ARRAY, ArrayModel),
        (MapType.PERCPU_ARRAY, ArrayModel),
        (MapType.HASH, HashModel),
        (MapType.PERCPU_HASH, HashModel),
    ],
)
@settings(max_examples=60)
@given(ops=OPS)
def test_against_model(
    kind: MapType, model: type[ArrayModel] | type[HashModel], ops: list[tuple[object, ...]]
) -> None:
    ours, theirs = make(kind), model()
    for name, key, *rest in ops:
        assert isinstance(key, bytes)
        if name == "update":
            value, flags = rest
            assert isinstance(value, bytes)
            assert isinstance(flags, int)
            assert ours.update(key, value, flags) == theirs.update(key, value, flags)
        elif name == "delete":
            assert ours.delete(key) == theirs.delete(key)
        else:
            addr, known = ours.lookup(key), theirs.get(key)
            assert (addr == 0) == (known is None)
            if addr and name == "store":
                theirs.put(key, rest[0])  # type: ignore[arg-type] # a store's third field is its value
                MEMORY.write(addr, rest[0])  # type: ignore[arg-type]
            elif addr:
                assert MEMORY.read(addr, 12) == known
    size = 16 if ours.per_cpu else 12
    assert ours.contents() == tuple((key, value.ljust(size, b"\0")) for key, value in theirs.contents())


@pytest.mark.parametrize("kind", [MapType.LRU_HASH, MapType.LRU_PERCPU_HASH])
@pytest.mark.parametrize("flags", [0, 2])
@settings(max_examples=60)
@given(ops=OPS)
def test_lru_tables_forget_but_never_lie(kind: MapType, flags: int, ops: list[tuple[object, ...]]) -> None:
    ours, newest = make(kind, flags=flags), dict[bytes, bytes]()
    for name, key, *rest in ops:
        assert isinstance(key, bytes)
        before = dict(ours.contents())
        if name == "update":
            value, how = rest
            assert isinstance(value, bytes)
            assert isinstance(how, int)
            answer = ours.update(key, value, how)
            if how not in (0, 1, 2):
                assert (answer, dict(ours.contents())) == (EINVAL, before)
            elif answer == 0:
                newest[key] = value
                assert ours.lookup(key)
            else:
                assert answer == (EEXIST if how == 1 else ENOENT)
        elif name == "delete":
            assert ours.delete(key) == (0 if key in before else ENOENT)
            newest.pop(key, None)
        else:
            assert (ours.lookup(key) != 0) == (key in before)
        assert len(ours.contents()) <= SIZE
        for known, value in ours.contents():
            assert value[:12] == newest[known]
            assert (
                MEMORY.read(ours.lookup(known) if name == "store" else address(ours, known), 12)
                == newest[known]
            )


def address(table: Map, key: bytes) -> int:
    """Where the value is, without marking the element as used."""
    assert isinstance(table, HashMap)
    return HashMap.lookup(table, key)


def test_lru_lists_keep_every_node() -> None:
    table = make(MapType.LRU_HASH, max_entries=300)
    assert isinstance(table, LruHashMap)
    for number in range(2000):
        key = (number * 7 % 450).to_bytes(4, "little")
        assert table.update(key, bytes(12)) == 0
        if number % 3:
            table.lookup((number * 5 % 450).to_bytes(4, "little"))
        if number % 11 == 0:
            table.delete((number % 450).to_bytes(4, "little"))
        assert sum(table.lists.counts) == 300
        assert len(table.slots) == len(table.keys) <= 300


@settings(max_examples=60)
@given(
    kind=st.sampled_from([MapType.QUEUE, MapType.STACK]),
    ops=st.lists(
        st.one_of(
            st.tuples(st.just("push"), VALUES, st.sampled_from([0, 0, 1, 2, 3, 4])),
            st.just(("pop",)),
            st.just(("peek",)),
        ),
        max_size=30,
    ),
)
def test_queues_and_stacks(kind: MapType, ops: list[tuple[object, ...]]) -> None:
    ours, model = make(kind, key_size=0, max_entries=3), list[bytes]()
    end = 0 if kind == MapType.QUEUE else -1
    for name, *rest in ops:
        if name == "push":
            value, flags = rest
            assert isinstance(value, bytes)
            assert isinstance(flags, int)
            wanted = EINVAL if flags not in (0, 2) else E2BIG if len(model) == 3 and flags == 0 else 0
            assert ours.push(value, flags) == wanted
            if wanted == 0:
                del model[: len(model) - 2]
                model.append(value)
        elif name == "peek":
            assert ours.peek() == (model[end] if model else ENOENT)
        else:
            assert ours.pop() == (model.pop(end) if model else ENOENT)
    assert [value for _, value in ours.contents()] == model[:: 1 if kind == MapType.QUEUE else -1]


PREFIXES = st.tuples(st.integers(0, 18), st.integers(0, 0xFFFF)).map(
    lambda p: p[0].to_bytes(4, "little") + p[1].to_bytes(2, "big")
)


def bits(key: bytes) -> str:
    return f"{int.from_bytes(key[4:], 'big'):016b}"[: int.from_bytes(key[:4], "little")]


@settings(max_examples=80)
@given(
    ops=st.lists(
        st.one_of(
            st.tuples(st.just("update"), PREFIXES, VALUES),
            st.tuples(st.just("delete"), PREFIXES),
            st.tuples(st.just("lookup"), PREFIXES),
        ),
        max_size=40,
    )
)
def test_longest_prefixes(ops: list[tuple[object, ...]]) -> None:
    ours, model = make(MapType.LPM_TRIE, key_size=6, max_entries=6, flags=1), dict[str, bytes]()
    for name, key, *rest in ops:
        assert isinstance(key, bytes)
        too_long = int.from_bytes(key[:4], "little") > 16
        if name == "update":
            (value,) = rest
            assert isinstance(value, bytes)
            full = len(model) == 6 and bits(key) not in model
            assert ours.update(key, value) == (EINVAL if too_long else -28 if full else 0)
            if not too_long and not full:
                model[bits(key)] = value
        elif name == "delete":
            assert ours.delete(key) == (EINVAL if too_long else 0 if bits(key) in model else ENOENT)
            if not too_long:
                model.pop(bits(key), None)
        else:
            found = [prefix for prefix in model if bits(key).startswith(prefix)]
            addr = ours.lookup(key)
            assert (addr == 0) == (too_long or not found)
            if addr:
                assert MEMORY.read(addr, 12) == model[max(found, key=len)]
    assert {bits(key): value for key, value in ours.contents()} == model


@settings(max_examples=60)
@given(sizes=st.lists(st.one_of(st.integers(0, 600), st.integers(3900, 4100)), max_size=40), data=st.data())
def test_ring_buffers(sizes: list[int], data: st.DataObject) -> None:
    MEMORY.reset()
    ring = create(MapSpec("r", MapType.RINGBUF, 0, 0, 4096), 0, MEMORY)
    assert isinstance(ring, RingMap)
    waiting, used = list[bytes](), 0
    for number, size in enumerate(sizes):
        length = -(-(size + 8) // 8) * 8
        sample = ring.reserve(size)
        assert (sample != 0) == (used + length < 4096)
        if sample:
            used += length
            content = bytes([number]) * size
            MEMORY.write(sample, content)
            discard = data.draw(st.booleans())
            ring.commit(sample, discard=discard)
            waiting += [] if discard else [content]
        assert ring.query(0) == used
        if data.draw(st.integers(0, 3)) == 0:
            assert ring.records() == waiting
            waiting, used = [], 0
    assert ring.records() == waiting
