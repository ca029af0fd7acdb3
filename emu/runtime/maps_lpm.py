"""Longest-prefix-match tries (kernel/bpf/lpm_trie.c).

A key is a 32-bit prefix length in host order, then the data, most significant bit first. The trie is a dict
by length and masked data: no program sees its shape.
"""

from collections.abc import Iterable, Iterator

from bpf.maps import MapSpec
from emu.runtime.maps import (
    BPF_EXIST,
    BPF_MAP_SIZE,
    BPF_NOEXIST,
    EEXIST,
    EINVAL,
    ENOENT,
    ENOSPC,
    Map,
    round8,
)
from emu.runtime.memory import Memory, Region


class LpmTrieMap(Map):
    """BPF_MAP_TYPE_LPM_TRIE. An update replaces the node, so an old address keeps the old value."""

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.bits = 8 * (spec.key_size - 4)
        self.node_size = round8(spec.key_size) + round8(spec.value_size)
        self.view = self.place(BPF_MAP_SIZE, self.node_size * (spec.max_entries + 1))
        self.nodes: dict[tuple[int, int], int] = {}
        self.free: list[int] = []
        self.fresh = 0

    def _split(self, key: bytes) -> tuple[int, int]:
        return int.from_bytes(key[:4], "little"), int.from_bytes(key[4:], "big")

    def _masked(self, key: bytes) -> tuple[int, int] | None:
        """The node's identity, None when the prefix is longer than the data."""
        length, data = self._split(key)
        if length > self.bits:
            return None
        return length, data >> (self.bits - length)

    def _addr(self, slot: int) -> int:
        return self.addr + BPF_MAP_SIZE + slot * self.node_size + round8(self.spec.key_size)

    def lookup(self, key: bytes, cpu: int = 0) -> int:
        """Address of the value of the longest prefix of `key`, at most as long as it says, or 0."""
        del cpu
        length, data = self._split(key)
        if length > self.bits:
            return 0
        for size in range(length, -1, -1):
            slot = self.nodes.get((size, data >> (self.bits - size)))
            if slot is not None:
                return self._addr(slot)
        return 0

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """Set exactly this prefix."""
        del cpu
        if flags > BPF_EXIST:
            return -EINVAL
        node = self._masked(key)
        if node is None:
            return -EINVAL
        old = self.nodes.get(node)
        if old is None:
            if flags == BPF_EXIST:
                return -ENOENT
            if len(self.nodes) >= self.spec.max_entries:
                return -ENOSPC
        elif flags == BPF_NOEXIST:
            return -EEXIST
        slot = self._take()
        at = slot * self.node_size
        self.view[at : at + len(key)] = key
        at += round8(len(key))
        self.view[at : at + len(value)] = value
        self.nodes[node] = slot
        if old is not None:
            self.free.append(old)
        return 0

    def _take(self) -> int:
        if self.free:
            return self.free.pop()
        slot = self.fresh
        self.fresh += 1
        at = slot * self.node_size
        key = Region(
            self.addr + BPF_MAP_SIZE + at,
            self.spec.key_size,
            "key",
            f"key in {self.label}",
            self.view[at : at + self.spec.key_size],
            writable=False,
        )
        self.memory.add(key)
        at += round8(self.spec.key_size)
        self.value_region(self._addr(slot), self.view[at : at + self.spec.value_size])
        return slot

    def delete(self, key: bytes) -> int:
        """Remove exactly this prefix."""
        node = self._masked(key)
        if node is None:
            return -EINVAL
        slot = self.nodes.pop(node, None)
        if slot is None:
            return -ENOENT
        self.free.append(slot)
        return 0

    def _post_order(self) -> list[int]:
        """Nodes as get_next_key visits them: left before right, both before the node above."""

        def path(node: tuple[int, int]) -> str:
            length, data = node
            return (f"{data:0{length}b}" if length else "") + "2"  # the node itself comes behind bits 0 and 1

        return [self.nodes[node] for node in sorted(self.nodes, key=path)]

    def walk(self) -> Iterator[tuple[int, int]]:
        """In the order of get_next_key."""
        room = round8(self.spec.key_size)
        for slot in self._post_order():
            yield self._addr(slot) - room, self._addr(slot)

    def _pair(self, slot: int) -> tuple[bytes, bytes]:
        at = slot * self.node_size
        value = at + round8(self.spec.key_size)
        view, spec = self.view, self.spec
        return bytes(view[at : at + spec.key_size]), bytes(view[value : value + spec.value_size])

    def ordered(self) -> Iterable[tuple[bytes, bytes]]:
        """In the order of get_next_key."""
        return [self._pair(slot) for slot in self._post_order()]

    def contents(self) -> tuple[tuple[bytes, bytes], ...]:
        """Sorted by key."""
        return tuple(sorted(self._pair(slot) for slot in self.nodes.values()))
