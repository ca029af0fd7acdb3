"""Which element of an LRU table goes next: the lists of kernel/bpf/bpf_lru_list.c, as one CPU moves them.

Nodes are numbers 0..n-1. A node is on one of five lists; a lookup only marks it. Getting a free node flushes the
pending nodes, ages the lists a little, and, when nothing is free, drops unmarked nodes from the tail of the
inactive list. Knows nothing of keys and values: `drop` takes a node's element out of its table.
"""

from array import array
from collections.abc import Callable, Iterator

ACTIVE, INACTIVE, FREE, LOCAL_FREE, PENDING = range(5)
FREE_TARGET = 128  # LOCAL_FREE_TARGET, and nodes looked at in one go
PER_CPU_TARGET = 4  # the same of tables with BPF_F_NO_COMMON_LRU


class LruLists:
    """The lists of one table. common: all CPUs share the lists, with free and pending nodes of their own."""

    def __init__(self, count: int, drop: Callable[[int], bool], *, common: bool = True) -> None:
        self.drop = drop
        self.common = common
        self.target = max(1, min(count // 2, FREE_TARGET)) if common else PER_CPU_TARGET
        self.scans = FREE_TARGET if common else PER_CPU_TARGET
        # Rings through the nodes and the five heads behind them; the nodes begin on the free list, in order.
        self.heads = range(count, count + 5)
        self.after = array("l", range(1, count + 1)) + array("l", self.heads)
        self.before = array("l", range(-1, count - 1)) + array("l", self.heads)
        free = count + FREE
        if count:
            self.after[free], self.before[free] = 0, count - 1
            self.after[count - 1], self.before[0] = free, free
        self.kind = bytearray([FREE]) * count
        self.marked = bytearray(count)
        self.counts = [0, 0, count, 0, 0]
        self.rotation = count + INACTIVE

    # ---- lists ----

    def _move(self, node: int, kind: int) -> None:
        """To the head of another (or the same) list; a node that was due for rotation passes that on."""
        before, after = self.before, self.after
        if node == self.rotation:
            self.rotation = before[node]
        before[after[node]], after[before[node]] = before[node], after[node]
        head = self.heads[kind]
        first = after[head]
        before[node], after[node] = head, first
        after[head] = before[first] = node
        self.counts[self.kind[node]] -= 1
        self.counts[kind] += 1
        self.kind[node] = kind
        self.marked[node] = 0

    def _from_tail(self, kind: int) -> Iterator[int]:
        """Nodes of a list, oldest first; the one just seen may be moved."""
        head = self.heads[kind]
        node = self.before[head]
        while node != head:
            older = self.before[node]
            yield node
            node = older

    def _first(self, kind: int) -> int | None:
        node = self.after[self.heads[kind]]
        return None if node == self.heads[kind] else node

    # ---- ageing ----

    def _rotate(self) -> None:
        if self.counts[INACTIVE] < self.counts[ACTIVE]:
            first = self._first(ACTIVE)
            for seen, node in enumerate(self._from_tail(ACTIVE), 1):
                self._move(node, ACTIVE if self.marked[node] else INACTIVE)
                if seen == self.scans or node == first:
                    break
        self._rotate_inactive()

    def _rotate_inactive(self) -> None:
        """Marked nodes become active, from where the last call stopped, once round at most."""
        head, before = self.heads[INACTIVE], self.before
        if self._first(INACTIVE) is None:
            return
        last = self.after[self.rotation]
        if last == head:
            last = self.after[last]
        node = following = self.rotation
        seen = 0
        while seen < self.scans:
            if node == head:
                node = before[node]
                continue
            following = before[node]
            if self.marked[node]:
                self._move(node, ACTIVE)
            if node == last:
                break
            node = following
            seen += 1
        self.rotation = following

    def _shrink(self, wanted: int, kind: int) -> None:
        """Drop unmarked nodes of the inactive list; if there is none, the oldest node whatever its mark."""
        dropped = 0
        for seen, node in enumerate(self._from_tail(INACTIVE), 1):
            if self.marked[node]:
                self._move(node, ACTIVE)
            elif self.drop(node):
                self._move(node, kind)
                dropped += 1
                if dropped == wanted:
                    break
            if seen == self.scans:
                break
        if dropped:
            return
        for node in self._from_tail(ACTIVE if self._first(INACTIVE) is None else INACTIVE):
            if self.drop(node):
                self._move(node, kind)
                return

    # ---- what tables call ----

    def take(self) -> int | None:
        """A free node; some other's element may be dropped for it. None when there is none at all."""
        return self._take_common() if self.common else self._take_per_cpu()

    def _take_common(self) -> int | None:
        node = self._first(LOCAL_FREE)
        if node is None:
            for pending in self._from_tail(PENDING):
                self._move(pending, ACTIVE if self.marked[pending] else INACTIVE)
            self._rotate()
            moved = 0
            while moved < self.target and (node := self._first(FREE)) is not None:
                self._move(node, LOCAL_FREE)
                moved += 1
            if moved < self.target:
                self._shrink(self.target - moved, LOCAL_FREE)
            node = self._first(LOCAL_FREE)
        if node is not None:
            self._move(node, PENDING)
        return node

    def _take_per_cpu(self) -> int | None:
        self._rotate()
        if self._first(FREE) is None:
            self._shrink(PER_CPU_TARGET, FREE)
        node = self._first(FREE)
        if node is not None:
            self._move(node, INACTIVE)
        return node

    def give(self, node: int) -> None:
        """The node's element is gone."""
        self._move(node, LOCAL_FREE if self.kind[node] == PENDING else FREE)

    def mark(self, node: int) -> None:
        """The node's element was used."""
        self.marked[node] = 1
