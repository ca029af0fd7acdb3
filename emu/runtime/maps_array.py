"""Arrays and per-CPU arrays (kernel/bpf/arraymap.c)."""

from collections.abc import Iterator

from bpf.maps import MapSpec
from emu.runtime.maps import (
    BPF_ARRAY_VALUES,
    BPF_EXIST,
    BPF_F_LOCK,
    BPF_NOEXIST,
    E2BIG,
    EEXIST,
    EINVAL,
    EPERM,
    F_RDONLY,
    Map,
    array_head,
    round8,
)
from emu.runtime.memory import Memory, Region


def key_of(index: int) -> bytes:
    """An index as the key user space uses."""
    return index.to_bytes(4, "little")


class ArrayBase(Map):
    """What arrays of values share: all elements exist from the start, none can be deleted."""

    def check_update(self, key: bytes, flags: int) -> int:
        """The index, or a negative error."""
        if flags & ~BPF_F_LOCK > BPF_EXIST:
            return -EINVAL
        index = int.from_bytes(key, "little")
        if index >= self.spec.max_entries:
            return -E2BIG
        if flags & BPF_NOEXIST:
            return -EEXIST
        if flags & BPF_F_LOCK:  # no BTF record with a bpf_spin_lock is modelled
            return -EINVAL
        return index

    def delete(self, key: bytes) -> int:
        """An element of an array cannot be deleted."""
        del key
        return -EINVAL

    def keys(self) -> Region:
        """A scratch object that holds the key while an element is visited."""
        return self.memory.alloc("heap", 4, "key", f"key of {self.label}", writable=False)

    def walk(self) -> Iterator[tuple[int, int]]:
        """In order of the index; the key lies in one scratch object, as on the kernel's stack."""
        scratch = self.keys()
        for index in range(self.spec.max_entries):
            scratch.view[:] = key = key_of(index)
            yield scratch.base, self.lookup(key)


class ArrayMap(ArrayBase):
    """BPF_MAP_TYPE_ARRAY: one object holds all values, `elem_size` bytes apart."""

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.elem_size = round8(spec.value_size)
        size = self.elem_size * spec.max_entries
        self.view = self.place(BPF_ARRAY_VALUES, size)
        self.values = self.addr + BPF_ARRAY_VALUES
        # The last element's padding belongs to no object.
        self.region = self.value_region(self.values, self.view[: size - self.elem_size + spec.value_size])
        array_head(self.head.view, self.elem_size, spec.max_entries)

    def lookup(self, key: bytes, cpu: int = 0) -> int:
        """Address of element `key`, or 0."""
        del cpu
        index = int.from_bytes(key, "little")
        return self.values + index * self.elem_size if index < self.spec.max_entries else 0

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """Overwrite element `key`."""
        del cpu
        index = self.check_update(key, flags)
        if index >= 0:
            at = index * self.elem_size
            self.view[at : at + self.spec.value_size] = value
            return 0
        return index

    def contents(self) -> tuple[tuple[bytes, bytes], ...]:
        """Every element, in order."""
        raw, step, size = bytes(self.view), self.elem_size, self.spec.value_size
        return tuple(
            (key_of(i), raw[at : at + size])
            for i, at in enumerate(range(0, step * self.spec.max_entries, step))
        )


class PerCpuArrayMap(ArrayBase):
    """BPF_MAP_TYPE_PERCPU_ARRAY: a copy of the values for each possible CPU.

    Behind the header lie the pointers to the elements' first copies (struct bpf_array's pptrs); the copy of CPU
    c lies c * `stride` bytes further, so that this_cpu_off is c * `stride` (0 on the CPU that programs run on).
    """

    per_cpu = True

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.elem_size = round8(spec.value_size)
        self.stride = self.elem_size * spec.max_entries
        head = BPF_ARRAY_VALUES + 8 * spec.max_entries
        self.view = self.place(head, self.stride * self.cpus)
        self.values = self.addr + head
        array_head(self.head.view, self.elem_size, spec.max_entries)
        self.head.view[BPF_ARRAY_VALUES:] = b"".join(
            (self.values + i * self.elem_size).to_bytes(8, "little") for i in range(spec.max_entries)
        )
        for cpu in range(self.cpus):
            at = cpu * self.stride
            end = at + self.stride - self.elem_size + spec.value_size
            self.value_region(self.values + at, self.view[at:end], f"{self.label} of cpu {cpu}")

    def lookup(self, key: bytes, cpu: int = 0) -> int:
        """Address of this CPU's copy of element `key`, or 0."""
        index = int.from_bytes(key, "little")
        if index >= self.spec.max_entries or cpu >= self.cpus:
            return 0
        return self.values + cpu * self.stride + index * self.elem_size

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """Overwrite this CPU's copy of element `key`."""
        index = self.check_update(key, flags)
        if index >= 0:
            at = cpu * self.stride + index * self.elem_size
            self.view[at : at + self.spec.value_size] = value
            return 0
        return index

    def put(self, key: bytes, value: bytes) -> int:
        """Set all copies: `value` holds one of `elem_size` bytes for each CPU."""
        if self.frozen or self.spec.flags & F_RDONLY:
            return -EPERM
        for cpu in range(self.cpus):
            at = cpu * self.elem_size
            error = self.update(key, value[at : at + self.spec.value_size], 0, cpu)
            if error:
                return error
        return 0

    def contents(self) -> tuple[tuple[bytes, bytes], ...]:
        """Every element, in order; its value is the copies of all CPUs, each padded to 8 bytes."""
        raw, step = bytes(self.view), self.elem_size
        starts = [cpu * self.stride for cpu in range(self.cpus)]
        return tuple(
            (key_of(i), b"".join(raw[at + i * step : at + (i + 1) * step] for at in starts))
            for i in range(self.spec.max_entries)
        )
