"""Hash tables: plain, per-CPU, LRU and per-CPU LRU (kernel/bpf/hashtab.c).

An element is a struct htab_elem of a 7.3 kernel: 48 bytes of the kernel's own, the key, the value, both padded
to 8 bytes; so inlined lookups, which add 48 + the padded key size to the element, work. Of per-CPU tables a pointer to the
first CPU's copy stands there, and behind it the copies (this_cpu_off is 0 on the CPU that programs run on).

As in the kernel, an element's place is used again at once: a deleted one by the next insertion (last freed,
first used), and the old version of a replaced one by the next replacement, because replacing takes a spare
element and leaves the old one as the spare. A program that still holds the old address sees just that.
"""

from collections.abc import Iterator

from bpf.maps import MapSpec
from emu.runtime.lru import LruLists
from emu.runtime.maps import (
    BPF_EXIST,
    BPF_F_LOCK,
    BPF_NOEXIST,
    E2BIG,
    EEXIST,
    EINVAL,
    ENOENT,
    ENOMEM,
    EPERM,
    F_NO_COMMON_LRU,
    F_RDONLY,
    Map,
    round8,
)
from emu.runtime.memory import Memory, Region

ELEM_KEY = 48  # offsetof(struct htab_elem, key)
HTAB_SIZE = 896  # sizeof(struct bpf_htab)


class HashMap(Map):
    """BPF_MAP_TYPE_HASH, and what the other kinds share.

    slots: key -> number of its element, in order of insertion. Elements are numbered in the order of their
    places; regions are made when a place is first used.
    """

    spares = 1
    pointer_room = 0  # bytes between key and value

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.key_room = round8(spec.key_size)
        self.value_room = round8(spec.value_size) * self.cpus
        self.elem_size = ELEM_KEY + self.key_room + self.pointer_room + self.value_room
        self.view = self.place(HTAB_SIZE, self.elem_size * (spec.max_entries + self.spares))
        self.elems = self.addr + HTAB_SIZE
        self.slots: dict[bytes, int] = {}
        self.free: list[int] = []
        self.fresh = 0
        self.spare = -1

    # ---- places ----

    def _at(self, slot: int) -> int:
        """Offset of the value of an element in `view`."""
        return slot * self.elem_size + ELEM_KEY + self.key_room + self.pointer_room

    def _take(self) -> int:
        """A free place."""
        if self.free:
            return self.free.pop()
        slot = self.fresh
        self.fresh += 1
        self._show(slot)
        return slot

    def _show(self, slot: int) -> None:
        """Make the key and the values of a place known to the memory."""
        at = slot * self.elem_size + ELEM_KEY
        key = Region(
            self.elems + at,
            self.spec.key_size,
            "key",
            f"key in {self.label}",
            self.view[at:][: self.spec.key_size],
        )
        key.writable = False
        self.memory.add(key)
        at = self._at(slot)
        if self.pointer_room:
            self.view[at - 8 : at] = (self.elems + at).to_bytes(8, "little")
        for cpu in range(self.cpus):
            start = at + cpu * round8(self.spec.value_size)
            self.value_region(self.elems + start, self.view[start : start + self.spec.value_size])

    def _fill(self, slot: int, key: bytes, value: bytes, cpu: int) -> None:
        """Write a new element: the value goes to one CPU's copy, the others become zero."""
        at = slot * self.elem_size + ELEM_KEY
        self.view[at : at + len(key)] = key
        at = self._at(slot)
        if self.cpus > 1:
            self.view[at : at + self.value_room] = bytes(self.value_room)
            at += cpu * round8(self.spec.value_size)
        self.view[at : at + len(value)] = value

    def element(self, key: bytes) -> int:
        """Guest address of the struct htab_elem of `key`, or 0: what __htab_map_lookup_elem returns."""
        slot = self.slots.get(key)
        return 0 if slot is None else self.elems + slot * self.elem_size

    # ---- operations ----

    def lookup(self, key: bytes, cpu: int = 0) -> int:
        """Address of the value of `key`, or 0."""
        slot = self.slots.get(key)
        if slot is None or cpu >= self.cpus:
            return 0
        return self.elems + self._at(slot) + cpu * round8(self.spec.value_size)

    def check_flags(self, key: bytes, flags: int) -> int:
        """0, or why an update with these flags fails."""
        if flags & ~BPF_F_LOCK > BPF_EXIST or flags & BPF_F_LOCK:  # no bpf_spin_lock is modelled
            return -EINVAL
        if key in self.slots:
            return -EEXIST if flags == BPF_NOEXIST else 0
        return -ENOENT if flags == BPF_EXIST else 0

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """Insert `key`, or replace its element by a new one."""
        error = self.check_flags(key, flags)
        if error:
            return error
        old = self.slots.get(key)
        if old is None:
            if len(self.slots) >= self.spec.max_entries:
                return -E2BIG
            slot = self._take()
        else:
            slot = self.spare if self.spare >= 0 else self._take()
            self.spare = old
        self._fill(slot, key, value, cpu)
        self.slots[key] = slot
        return 0

    def delete(self, key: bytes) -> int:
        """Remove `key`; its place is the next to be used."""
        slot = self.slots.pop(key, None)
        if slot is None:
            return -ENOENT
        self.free.append(slot)
        return 0

    def walk(self) -> Iterator[tuple[int, int]]:
        """In order of insertion (the kernel's order depends on a random seed)."""
        for key in list(self.slots):
            slot = self.slots.get(key)
            if slot is not None:
                at = self.elems + self._at(slot)
                yield at - self.pointer_room - self.key_room, at

    def contents(self) -> tuple[tuple[bytes, bytes], ...]:
        """Sorted by key."""
        size = self.value_room if self.per_cpu else self.spec.value_size
        return tuple(
            (key, bytes(self.view[self._at(slot) :][:size])) for key, slot in sorted(self.slots.items())
        )


class PerCpuHashMap(HashMap):
    """BPF_MAP_TYPE_PERCPU_HASH: an element has a copy of the value for each CPU, and is updated in place."""

    per_cpu = True
    spares = 0
    pointer_room = 8

    def check_flags(self, key: bytes, flags: int) -> int:
        """As of other hash tables; BPF_F_LOCK is no flag here."""
        return -EINVAL if flags > BPF_EXIST else super().check_flags(key, flags)

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """Set this CPU's copy."""
        error = self.check_flags(key, flags)
        slot = self.slots.get(key)
        if error or slot is None:
            return error or super().update(key, value, flags, cpu)
        at = self._at(slot) + cpu * round8(self.spec.value_size)
        self.view[at : at + len(value)] = value
        return 0

    def put(self, key: bytes, value: bytes) -> int:
        """Set all copies."""
        if self.frozen or self.spec.flags & F_RDONLY:
            return -EPERM
        step = round8(self.spec.value_size)
        for cpu in range(self.cpus):
            error = self.update(key, value[cpu * step :][: self.spec.value_size], 0, cpu)
            if error:
                return error
        return 0


class LruHashMap(HashMap):
    """BPF_MAP_TYPE_LRU_HASH: a full table drops elements to make room, chosen as a kernel with one CPU would.

    An update first takes a free place, which may drop an element even if the update then fails.
    """

    spares = 0

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.lists = LruLists(spec.max_entries, self._drop, common=not spec.flags & F_NO_COMMON_LRU)
        self.keys: dict[int, bytes] = {}  # place -> key
        self._known: set[int] = set()  # places that were used before

    def _drop(self, slot: int) -> bool:
        """Take the element at a place out of the table; False when none is there."""
        key = self.keys.pop(slot, None)
        return key is not None and self.slots.pop(key, None) is not None

    def lookup(self, key: bytes, cpu: int = 0) -> int:
        """Address of the value of `key`, or 0; it counts as used."""
        self._touch(key)
        return super().lookup(key, cpu)

    def element(self, key: bytes) -> int:
        """As of other hash tables; code that looks up so marks the element as used, too."""
        self._touch(key)
        return super().element(key)

    def _touch(self, key: bytes) -> None:
        slot = self.slots.get(key)
        if slot is not None:
            self.lists.mark(slot)

    def _new(self) -> int | None:
        slot = self.lists.take()
        if slot is not None and slot not in self._known:
            self._known.add(slot)
            self._show(slot)
        return slot

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """Insert `key`, or replace its element by a new one. Never E2BIG."""
        if flags > BPF_EXIST:
            return -EINVAL
        slot = self._new()
        if slot is None:
            return -ENOMEM
        error = self.check_flags(key, flags)
        if error:
            self.lists.give(slot)
            return error
        old = self.slots.pop(key, None)
        self._put(slot, key, value, cpu)
        if old is not None:
            self.lists.mark(slot)
            self.keys.pop(old, None)
            self.lists.give(old)
        return 0

    def _put(self, slot: int, key: bytes, value: bytes, cpu: int) -> None:
        self._fill(slot, key, value, cpu)
        self.slots[key] = slot
        self.keys[slot] = key

    def delete(self, key: bytes) -> int:
        """Remove `key`."""
        slot = self.slots.pop(key, None)
        if slot is None:
            return -ENOENT
        del self.keys[slot]
        self.lists.give(slot)
        return 0


class LruPerCpuHashMap(LruHashMap, PerCpuHashMap):
    """BPF_MAP_TYPE_LRU_PERCPU_HASH: an element that is there is updated in place."""

    per_cpu = True

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """Set this CPU's copy."""
        if flags > BPF_EXIST:
            return -EINVAL
        slot = None
        if flags != BPF_EXIST:
            slot = self._new()
            if slot is None:
                return -ENOMEM
        error = self.check_flags(key, flags)
        old = self.slots.get(key)
        if not error and old is not None:
            self.lists.mark(old)
            at = self._at(old) + cpu * round8(self.spec.value_size)
            self.view[at : at + len(value)] = value
        elif not error and slot is not None:
            self._put(slot, key, value, cpu)
            return 0
        if slot is not None:
            self.lists.give(slot)
        return error
