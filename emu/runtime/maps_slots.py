"""Arrays whose elements are kernel objects: programs, devices, sockets, CPUs, perf events.

A program never reads their values, except those of device and CPU maps; an element may be absent.
"""

from bpf.errors import InputError
from bpf.maps import MapSpec
from emu.runtime.maps import (
    BPF_ARRAY_VALUES,
    BPF_EXIST,
    BPF_NOEXIST,
    E2BIG,
    EEXIST,
    EINVAL,
    ENOENT,
    Map,
    round8,
)
from emu.runtime.maps_array import key_of
from emu.runtime.maps_hash import HashMap
from emu.runtime.memory import Memory


class FdArrayMap(Map):
    """Elements are objects that user space puts there; none can be modelled, so all are absent."""

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.place(BPF_ARRAY_VALUES + 8 * spec.max_entries, 0)

    def delete(self, key: bytes) -> int:
        """There is nothing to delete."""
        return -E2BIG if int.from_bytes(key, "little") >= self.spec.max_entries else -ENOENT

    def put(self, key: bytes, value: bytes) -> int:
        """No such objects exist here."""
        del key, value
        return -EINVAL


class ProgArrayMap(FdArrayMap):
    """BPF_MAP_TYPE_PROG_ARRAY: `targets` names the program at each index."""

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.targets: dict[int, str] = {}
        for at, name in spec.progs:
            if not 0 <= at < spec.max_entries:
                raise InputError(self.label, f"program {name}", f"index {at} is not below {spec.max_entries}")
            self.targets[at] = name

    def delete(self, key: bytes) -> int:
        """Remove the program at this index (user space only)."""
        index = int.from_bytes(key, "little")
        if index >= self.spec.max_entries:
            return -E2BIG
        return 0 if self.targets.pop(index, None) is not None else -ENOENT


class SparseArrayMap(Map):
    """Device and CPU maps: an element has a value a program may read, or is absent."""

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.elem_size = round8(spec.value_size)
        self.view = self.place(BPF_ARRAY_VALUES, self.elem_size * spec.max_entries)
        self.values = self.addr + BPF_ARRAY_VALUES
        self.present: set[int] = set()

    def lookup(self, key: bytes, cpu: int = 0) -> int:
        """Address of the value, or 0."""
        del cpu
        index = int.from_bytes(key, "little")
        return self.values + index * self.elem_size if index in self.present else 0

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """Set an element (user space only)."""
        del cpu
        index = int.from_bytes(key, "little")
        if flags > BPF_EXIST:
            return -EINVAL
        if index >= self.spec.max_entries:
            return -E2BIG
        if flags == BPF_NOEXIST:
            return -EEXIST
        at = index * self.elem_size
        self.view[at : at + len(value)] = value
        if index not in self.present:
            self.present.add(index)
            region = self.value_region(self.values + at, self.view[at : at + len(value)])
            region.writable = False
        return 0

    def delete(self, key: bytes) -> int:
        """Remove an element; 0 even when it was absent."""
        index = int.from_bytes(key, "little")
        if index >= self.spec.max_entries:
            return -EINVAL
        if index in self.present:
            self.present.remove(index)
            region = self.memory.region_at(self.values + index * self.elem_size)
            assert region is not None
            self.memory.drop(region)
        return 0

    def contents(self) -> tuple[tuple[bytes, bytes], ...]:
        """Present elements, in order."""
        size, step = self.spec.value_size, self.elem_size
        return tuple((key_of(i), bytes(self.view[i * step : i * step + size])) for i in sorted(self.present))


def device_error(value: bytes) -> int:
    """0 when the value names the only device there is, the loopback device."""
    return 0 if int.from_bytes(value[:4], "little") == 1 else -EINVAL


class DeviceArrayMap(SparseArrayMap):
    """BPF_MAP_TYPE_DEVMAP."""

    def put(self, key: bytes, value: bytes) -> int:
        """Put a device there."""
        return device_error(value) or super().put(key, value)


class DeviceHashMap(HashMap):
    """BPF_MAP_TYPE_DEVMAP_HASH."""

    def put(self, key: bytes, value: bytes) -> int:
        """Put a device there."""
        return device_error(value) or super().put(key, value)
