"""What every map has in common: its struct bpf_map in guest memory and the operations programs and users call.

A map answers in the kernel's terms: addresses of values (0 = NULL) and negative error numbers. It knows
nothing of helpers, of programs or of instructions. The kinds of maps are in the modules maps_*.

Layout: `addr` is the struct bpf_map of a 7.3 kernel (280 bytes, the fields a program may read are filled in);
an array's values follow at offset 296, as in struct bpf_array, so that lookups inlined by the verifier work.
"""

import struct
from collections.abc import Iterable, Iterator

from bpf.errors import InputError
from bpf.maps import MapSpec
from emu.runtime.memory import Memory, Region

# Errors a map operation can return (negative), from include/uapi/asm-generic/errno*.h.
ENOENT, E2BIG, EAGAIN, ENOMEM, EBUSY, EEXIST, EINVAL, ENOSPC, EPERM, ENOTSUPP = (
    2,
    7,
    11,
    12,
    16,
    17,
    22,
    28,
    1,
    524,
)
EOPNOTSUPP = 95

# Flags of an update.
BPF_ANY, BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK = 0, 1, 2, 4

# Flags of a map.
F_NO_PREALLOC = 1 << 0
F_NO_COMMON_LRU = 1 << 1
F_NUMA_NODE = 1 << 2
F_RDONLY = 1 << 3
F_WRONLY = 1 << 4
F_ZERO_SEED = 1 << 6
F_RDONLY_PROG = 1 << 7
F_WRONLY_PROG = 1 << 8
F_MMAPABLE = 1 << 10
F_PRESERVE_ELEMS = 1 << 11
F_INNER_MAP = 1 << 12
F_RB_OVERWRITE = 1 << 19
F_ACCESS = F_RDONLY | F_WRONLY | F_RDONLY_PROG | F_WRONLY_PROG

BPF_MAP_SIZE = 280  # sizeof(struct bpf_map)
BPF_ARRAY_VALUES = 296  # offsetof(struct bpf_array, value)

_SIZES = struct.Struct("<IIII")  # map_type, key_size, value_size, max_entries
_FLAGS = struct.Struct("<II")  # map_flags, id
_ARRAY = struct.Struct("<II")  # elem_size, index_mask, behind struct bpf_map


def round8(size: int) -> int:
    """`size` rounded up to a multiple of 8."""
    return -(-size // 8) * 8


class Map:
    """One map. Operations that its kind does not have return -EOPNOTSUPP, or 0 for an address.

    spec: as declared. addr: guest address of its struct bpf_map. cpus: possible CPUs, of per-CPU maps.
    frozen: user space may not write any more. label: its name in messages. head: the object of the struct.
    """

    per_cpu = False

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        self.spec = spec
        self.index = index
        self.memory = memory
        self.cpus = cpus if self.per_cpu else 1
        self.frozen = False
        self.addr = 0
        self.label = f"map {spec.name or index}"

    def place(self, head: int, values: int) -> memoryview:
        """Take `head` bytes for the struct and `values` behind them; sets `addr`, returns the bytes of the latter.

        Raises InputError when the arena of maps has no room.
        """
        arena = self.memory.arenas["maps"]
        align = 64
        if arena.used + head + values + 2 * align > arena.size:
            raise InputError(
                self.label,
                "",
                f"needs {values} bytes, {arena.size - arena.used} of {arena.size} are left for maps",
            )
        self.addr, view = arena.take(head + values + 8, align)
        spec = self.spec
        _SIZES.pack_into(view, 0x38, spec.type, spec.key_size, spec.value_size, spec.max_entries)
        _FLAGS.pack_into(view, 0x50, spec.flags, self.index + 1)
        if spec.name:
            name = spec.name.encode()[:15]
            view[0x80 : 0x80 + len(name)] = name
        self.head = self.memory.add(Region(self.addr, head, "map", self.label, view[:head], writable=False))
        return view[head : head + values]

    def value_region(self, base: int, view: memoryview, name: str = "") -> Region:
        """Make values known to the memory, with the access that the map's flags leave to programs."""
        flags = self.spec.flags
        region = Region(
            base, len(view), "value", name or self.label, view, writable=not flags & F_RDONLY_PROG
        )
        if flags & F_WRONLY_PROG:
            region.readable = False
        return self.memory.add(region)

    # ---- what programs call ----

    def lookup(self, key: bytes, cpu: int = 0) -> int:
        """Guest address of the value of `key` (of this CPU's, in per-CPU maps), or 0."""
        del key, cpu
        return 0

    def update(self, key: bytes, value: bytes, flags: int = BPF_ANY, cpu: int = 0) -> int:
        """Set `key` to `value` (value_size bytes). 0 or a negative error."""
        del key, value, flags, cpu
        return -EOPNOTSUPP

    def delete(self, key: bytes) -> int:
        """Remove `key`. 0 or a negative error."""
        del key
        return -EOPNOTSUPP

    def push(self, value: bytes, flags: int = BPF_ANY) -> int:
        """Queues, stacks, bloom filters: add `value`. 0 or a negative error."""
        del value, flags
        return -EOPNOTSUPP

    def pop(self) -> bytes | int:
        """Queues, stacks: take the next value, or a negative error."""
        return -EOPNOTSUPP

    def peek(self, value: bytes = b"") -> bytes | int:
        """Queues, stacks: the next value. Bloom filters: b"" when `value` may be in it. Else a negative error."""
        del value
        return -EOPNOTSUPP

    def direct(self) -> int:
        """Guest address of what an ld_imm64 of the map's value loads, or 0 where there is no such value."""
        return self.lookup(bytes(4))

    def walk(self) -> Iterator[tuple[int, int]]:
        """Guest addresses of key and value of each element, as bpf_for_each_map_elem visits them."""
        return iter(())

    # ---- what user space does ----

    def put(self, key: bytes, value: bytes) -> int:
        """BPF_MAP_UPDATE_ELEM with BPF_ANY; per-CPU maps take the values of all CPUs. 0 or a negative error."""
        if self.frozen or self.spec.flags & F_RDONLY:
            return -EPERM
        return self.update(key, value)

    def contents(self) -> tuple[tuple[bytes, bytes], ...]:
        """(key, value) pairs as BPF_MAP_LOOKUP_ELEM reads them; arrays in order, others sorted by key."""
        return ()

    def dump(self) -> str:
        """Keys and values in hex in the order of BPF_MAP_GET_NEXT_KEY, as recordings of a kernel with one CPU hold them.

        Of a per-CPU value only the first value_size bytes; nothing where there are no keys.
        """
        if not self.spec.key_size:
            return ""
        size = self.spec.value_size
        return "".join(key.hex() + value[:size].hex() for key, value in self.ordered())

    def ordered(self) -> Iterable[tuple[bytes, bytes]]:
        """`contents` in the order of BPF_MAP_GET_NEXT_KEY; of hash tables that order is not reproducible."""
        return self.contents()

    # ---- between runs ----

    def settle(self) -> None:
        """A run is over: what was only kept for its sake goes."""


def preset(bpf_map: Map) -> None:
    """Set a new map's elements and freeze it. Raises InputError where a kernel refuses an element."""
    spec = bpf_map.spec
    size = round8(spec.value_size) * bpf_map.cpus if bpf_map.per_cpu else spec.value_size
    for at, (key, value) in enumerate(spec.elems):
        where = f"element {at}"
        if len(key) != spec.key_size:
            raise InputError(
                bpf_map.label, where, f"key has {len(key)} bytes, the map's keys have {spec.key_size}"
            )
        if bpf_map.per_cpu and len(value) == spec.value_size:
            value = value.ljust(size, b"\0")  # of the first CPU; the others' are zero
        if len(value) != size:
            raise InputError(
                bpf_map.label, where, f"value has {len(value)} bytes, the map's values have {size}"
            )
        error = bpf_map.put(key, value)
        if error:
            raise InputError(
                bpf_map.label, where, f"cannot be set: error {-error} ({_NAMES.get(-error, '?')})"
            )
    bpf_map.frozen = spec.freeze


_NAMES = {
    1: "EPERM", 2: "ENOENT", 7: "E2BIG", 11: "EAGAIN", 12: "ENOMEM", 16: "EBUSY", 17: "EEXIST", 22: "EINVAL", 28: "ENOSPC",
    95: "EOPNOTSUPP", 524: "ENOTSUPP",
}  # fmt: skip


def array_head(view: memoryview, elem_size: int, max_entries: int) -> None:
    """Fill in the two fields of struct bpf_array between struct bpf_map and the values."""
    mask = (1 << (max_entries - 1).bit_length()) - 1
    _ARRAY.pack_into(view, BPF_MAP_SIZE, elem_size, mask)
