"""Which maps a kernel refuses to create: the rules of its map_alloc_check functions, one function a family.

A check raises `Refused` with the kernel's error and the reason. It says nothing of room in our own memory.
"""

from bpf.maps import MapSpec, MapType
from emu.runtime.maps import (
    F_ACCESS,
    F_INNER_MAP,
    F_MMAPABLE,
    F_NO_COMMON_LRU,
    F_NO_PREALLOC,
    F_NUMA_NODE,
    F_PRESERVE_ELEMS,
    F_RB_OVERWRITE,
    F_RDONLY,
    F_RDONLY_PROG,
    F_WRONLY,
    F_WRONLY_PROG,
    F_ZERO_SEED,
    round8,
)

PCPU_MIN_UNIT_SIZE = 32768  # largest object of the per-CPU allocator
KMALLOC_MAX_SIZE = 4 << 20
INT_MAX = (1 << 31) - 1
NR_CPUS = 8192  # of Debian's kernels
MAX_STACK_DEPTH = 127  # kernel.perf_event_max_stack
PAGE = 4096
F_SEGV_ON_FAULT = 1 << 17
F_NO_USER_CONV = 1 << 18


class Refused(Exception):  # noqa: N818 - an answer of the kernel
    """A kernel refuses the map: reason and error name."""


def need(condition: bool, why: str, error: str = "EINVAL") -> None:
    """Refuse unless `condition`."""
    if not condition:
        raise Refused(f"{why} ({error})")


def need_flags(spec: MapSpec, allowed: int) -> None:
    """Refuse flags that are not in `allowed`."""
    need(not spec.flags & ~allowed, f"flags {spec.flags:#x} are not allowed")


def need_sizes(spec: MapSpec) -> None:
    """Refuse a map without keys, values or room."""
    need(spec.max_entries > 0, "max_entries is 0")
    need(spec.key_size > 0, "key_size is 0")
    need(spec.value_size > 0, "value_size is 0")


def check_array(spec: MapSpec) -> None:
    """array_map_alloc_check: arrays, per-CPU arrays and all that is built on arrays."""
    need_sizes(spec)
    need(spec.key_size == 4, f"key_size is {spec.key_size}, must be 4")
    need_flags(spec, F_NUMA_NODE | F_MMAPABLE | F_ACCESS | F_PRESERVE_ELEMS | F_INNER_MAP)
    percpu = spec.type == MapType.PERCPU_ARRAY
    if spec.type != MapType.ARRAY:
        need(not spec.flags & (F_MMAPABLE | F_INNER_MAP), f"flags {spec.flags:#x} are only for arrays")
    if spec.type != MapType.PERF_EVENT_ARRAY:
        need(not spec.flags & F_PRESERVE_ELEMS, "BPF_F_PRESERVE_ELEMS is only for perf event arrays")
    need(not (percpu and spec.flags & F_NUMA_NODE), "a per-CPU map has no NUMA node")
    need(spec.value_size <= INT_MAX, "value_size is too large", "E2BIG")
    need(not percpu or round8(spec.value_size) <= PCPU_MIN_UNIT_SIZE, "value_size is too large", "E2BIG")


def check_fd_array(spec: MapSpec) -> None:
    """fd_array_map_alloc_check: program, perf event and cgroup arrays."""
    need(spec.value_size == 4, f"value_size is {spec.value_size}, must be 4")
    need(not spec.flags & (F_RDONLY_PROG | F_WRONLY_PROG), f"flags {spec.flags:#x} are not allowed")
    check_array(spec)


def check_hash(spec: MapSpec) -> None:
    """htab_map_alloc_check."""
    percpu = spec.type in (MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH)
    lru = spec.type in (MapType.LRU_HASH, MapType.LRU_PERCPU_HASH)
    need_flags(spec, F_NO_PREALLOC | F_NO_COMMON_LRU | F_NUMA_NODE | F_ACCESS | F_ZERO_SEED)
    need(lru or not spec.flags & F_NO_COMMON_LRU, "BPF_F_NO_COMMON_LRU is only for LRU maps")
    need(not (lru and spec.flags & F_NO_PREALLOC), "an LRU map is always preallocated", "ENOTSUPP")
    numa = bool(spec.flags & F_NUMA_NODE)
    need(not (numa and (percpu or spec.flags & F_NO_COMMON_LRU)), "a per-CPU map has no NUMA node")
    need_sizes(spec)
    need(spec.key_size + spec.value_size < KMALLOC_MAX_SIZE - 48, "key and value are too large", "E2BIG")
    need(not percpu or round8(spec.value_size) <= PCPU_MIN_UNIT_SIZE, "value_size is too large", "E2BIG")
    need(spec.max_entries <= 1 << 31, "max_entries is too large", "E2BIG")


def check_queue(spec: MapSpec) -> None:
    """queue_stack_map_alloc_check."""
    need(spec.max_entries > 0, "max_entries is 0")
    need(spec.value_size > 0, "value_size is 0")
    need(spec.key_size == 0, f"key_size is {spec.key_size}, must be 0")
    need_flags(spec, F_NUMA_NODE | F_ACCESS)
    need(spec.value_size <= KMALLOC_MAX_SIZE, "value_size is too large", "E2BIG")


def check_bloom(spec: MapSpec) -> None:
    """bloom_map_alloc."""
    need(spec.key_size == 0, f"key_size is {spec.key_size}, must be 0")
    need(spec.value_size > 0, "value_size is 0")
    need(spec.max_entries > 0, "max_entries is 0")
    need_flags(spec, F_NUMA_NODE | F_ZERO_SEED | F_ACCESS)


def check_lpm(spec: MapSpec) -> None:
    """trie_alloc's own checks."""
    need(spec.max_entries > 0, "max_entries is 0")
    need(bool(spec.flags & F_NO_PREALLOC), "the flag BPF_F_NO_PREALLOC is missing")
    need_flags(spec, F_NO_PREALLOC | F_NUMA_NODE | F_ACCESS)
    need(5 <= spec.key_size <= 260, f"key_size is {spec.key_size}, must be 5 to 260")
    need(1 <= spec.value_size <= KMALLOC_MAX_SIZE - 256 - 48, f"value_size is {spec.value_size}")


def check_ring(spec: MapSpec) -> None:
    """ringbuf_map_alloc."""
    need_flags(spec, F_NUMA_NODE | F_RB_OVERWRITE)
    need(spec.key_size == 0 and spec.value_size == 0, "key_size and value_size must be 0")
    size = spec.max_entries
    need(
        size >= PAGE and not size & (size - 1),
        f"max_entries is {size}, must be a power of 2 of at least a page",
    )


def check_device(spec: MapSpec) -> None:
    """dev_map_alloc_check, cpu_map_alloc, xsk_map_alloc, sock_map_alloc."""
    need_sizes(spec)
    wide = spec.type != MapType.XSKMAP
    need(spec.key_size == 4, f"key_size is {spec.key_size}, must be 4")
    need(spec.value_size == 4 or (wide and spec.value_size == 8), f"value_size is {spec.value_size}")
    if spec.type == MapType.CPUMAP:
        need_flags(spec, F_NUMA_NODE)
        need(spec.max_entries <= NR_CPUS, "max_entries is too large", "E2BIG")
    else:
        need_flags(spec, F_NUMA_NODE | F_RDONLY | F_WRONLY)


def check_insn_array(spec: MapSpec) -> None:
    """insn_array_alloc_check."""
    need(spec.max_entries > 0, "max_entries is 0")
    need(spec.key_size == 4, f"key_size is {spec.key_size}, must be 4")
    need(spec.value_size == 16, f"value_size is {spec.value_size}, must be 16")
    need_flags(spec, 0)


def check_arena(spec: MapSpec) -> None:
    """arena_map_alloc."""
    need(spec.key_size == 0 and spec.value_size == 0, "key_size and value_size must be 0")
    need(spec.max_entries > 0, "max_entries is 0")
    need(bool(spec.flags & F_MMAPABLE), "the flag BPF_F_MMAPABLE is missing")
    need_flags(spec, F_SEGV_ON_FAULT | F_MMAPABLE | F_NO_USER_CONV)
    need(spec.extra % PAGE == 0, f"map_extra is {spec.extra:#x}, must begin a page")
    size = spec.max_entries * PAGE
    need(size <= 1 << 32, "more than 4 GiB", "E2BIG")
    need(spec.extra >> 32 == (spec.extra + size - 1) >> 32, "crosses a multiple of 4 GiB", "ERANGE")


def check_stack_trace(spec: MapSpec) -> None:
    """stack_map_alloc, for stacks of addresses."""
    need_sizes(spec)
    need_flags(spec, F_NUMA_NODE | F_RDONLY | F_WRONLY)
    need(spec.key_size == 4, f"key_size is {spec.key_size}, must be 4")
    need(spec.value_size % 8 == 0, f"value_size is {spec.value_size}, must be a multiple of 8")
    need(spec.value_size // 8 <= MAX_STACK_DEPTH, "value_size is too large")


def check_access(spec: MapSpec) -> None:
    """What all maps share: neither side may be forbidden both to read and to write."""
    for both in (F_RDONLY_PROG | F_WRONLY_PROG, F_RDONLY | F_WRONLY):
        need(spec.flags & both != both, "a map is not read-only and write-only at once")
