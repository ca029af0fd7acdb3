"""Queues and stacks (kernel/bpf/queue_stack_maps.c) and bloom filters (kernel/bpf/bloom_filter.c).

No program gets an address into them, so their values live on the host.
"""

from collections import deque

from bpf.maps import MapSpec
from emu.runtime.maps import BPF_EXIST, BPF_MAP_SIZE, BPF_NOEXIST, E2BIG, EINVAL, ENOENT, EPERM, F_RDONLY, Map
from emu.runtime.memory import Memory


class QueueMap(Map):
    """BPF_MAP_TYPE_QUEUE: first in, first out. BPF_EXIST drops the oldest value of a full one."""

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.place(BPF_MAP_SIZE, 0)
        self.values: deque[bytes] = deque()

    def push(self, value: bytes, flags: int = 0) -> int:
        """Append `value`."""
        if flags & BPF_NOEXIST or flags > BPF_EXIST:
            return -EINVAL
        if len(self.values) >= self.spec.max_entries:
            if flags != BPF_EXIST:
                return -E2BIG
            self.values.popleft()
        self.values.append(value)
        return 0

    def peek(self, value: bytes = b"") -> bytes | int:
        """The value `pop` would take."""
        del value
        return self.values[0] if self.values else -ENOENT

    def pop(self) -> bytes | int:
        """Take the oldest value."""
        return self.values.popleft() if self.values else -ENOENT

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """A queue has no keys."""
        del key, value, flags, cpu
        return -EINVAL

    def delete(self, key: bytes) -> int:
        """A queue has no keys."""
        del key
        return -EINVAL

    def put(self, key: bytes, value: bytes) -> int:
        """User space pushes by updating an empty key."""
        del key
        return -EPERM if self.frozen or self.spec.flags & F_RDONLY else self.push(value)

    def contents(self) -> tuple[tuple[bytes, bytes], ...]:
        """Values in the order `pop` would take them, with empty keys."""
        return tuple((b"", value) for value in self.values)


class StackMap(QueueMap):
    """BPF_MAP_TYPE_STACK: last in, first out."""

    def peek(self, value: bytes = b"") -> bytes | int:
        """The value `pop` would take."""
        del value
        return self.values[-1] if self.values else -ENOENT

    def pop(self) -> bytes | int:
        """Take the newest value."""
        return self.values.pop() if self.values else -ENOENT

    def contents(self) -> tuple[tuple[bytes, bytes], ...]:
        """Values in the order `pop` would take them, with empty keys."""
        return tuple((b"", value) for value in reversed(self.values))


class BloomMap(Map):
    """BPF_MAP_TYPE_BLOOM_FILTER, without false positives (a kernel's depend on a random seed)."""

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.place(BPF_MAP_SIZE, 0)
        self.values: set[bytes] = set()

    def push(self, value: bytes, flags: int = 0) -> int:
        """Add `value`."""
        if flags:
            return -EINVAL
        self.values.add(value)
        return 0

    def peek(self, value: bytes = b"") -> bytes | int:
        """b"" when `value` was added, else -ENOENT."""
        return b"" if value in self.values else -ENOENT

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """A bloom filter has no keys."""
        del key, value, flags, cpu
        return -EINVAL

    def put(self, key: bytes, value: bytes) -> int:
        """User space adds a value by updating an empty key."""
        del key
        return -EPERM if self.frozen or self.spec.flags & F_RDONLY else self.push(value)
