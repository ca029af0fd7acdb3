"""Creating a map from its declaration, with the checks of the kernel's map_alloc_check functions."""

from collections.abc import Callable

from bpf.errors import InputError
from bpf.maps import MapSpec, MapType
from emu.runtime.maps import (
    F_ACCESS,
    F_INNER_MAP,
    F_MMAPABLE,
    F_NUMA_NODE,
    F_PRESERVE_ELEMS,
    F_RDONLY_PROG,
    F_WRONLY_PROG,
    Map,
    preset,
    round8,
)
from emu.runtime.maps_array import ArrayMap, PerCpuArrayMap
from emu.runtime.memory import Memory

PCPU_MIN_UNIT_SIZE = 32768  # largest object of the per-CPU allocator
INT_MAX = (1 << 31) - 1


class Refused(Exception):  # noqa: N818 - an answer of the kernel
    """A kernel refuses the map: error name and reason."""


def need(condition: bool, why: str, error: str = "EINVAL") -> None:
    """Refuse unless `condition`."""
    if not condition:
        raise Refused(f"{why} ({error})")


def check_array(spec: MapSpec) -> None:
    """array_map_alloc_check."""
    need(spec.max_entries > 0, "max_entries is 0")
    need(spec.key_size == 4, f"key_size is {spec.key_size}, must be 4")
    need(spec.value_size > 0, "value_size is 0")
    allowed = F_NUMA_NODE | F_MMAPABLE | F_ACCESS | F_PRESERVE_ELEMS | F_INNER_MAP
    need(not spec.flags & ~allowed, f"flags {spec.flags:#x} are not allowed")
    array, percpu = spec.type == MapType.ARRAY, spec.type == MapType.PERCPU_ARRAY
    need(array or not spec.flags & (F_MMAPABLE | F_INNER_MAP), f"flags {spec.flags:#x} are only for arrays")
    need(not spec.flags & F_PRESERVE_ELEMS, "BPF_F_PRESERVE_ELEMS is only for perf event arrays")
    need(not (percpu and spec.flags & F_NUMA_NODE), "a per-CPU map has no NUMA node")
    need(spec.value_size <= INT_MAX, "value_size is too large", "E2BIG")
    need(not percpu or round8(spec.value_size) <= PCPU_MIN_UNIT_SIZE, "value_size is too large", "E2BIG")


_KINDS: dict[int, tuple[Callable[[MapSpec], None], type[Map]]] = {
    MapType.ARRAY: (check_array, ArrayMap),
    MapType.PERCPU_ARRAY: (check_array, PerCpuArrayMap),
}


def type_name(number: int) -> str:
    """A map type for messages."""
    try:
        return MapType(number).name.lower()
    except ValueError:
        return str(number)


def create(spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> Map:
    """A new map in `memory` with its preset elements.

    Raises InputError when its kind is not modelled, when the kernel would refuse to create it, or when the memory for maps is full.
    """
    what = f"map {spec.name or index}"
    kind = _KINDS.get(spec.type)
    if kind is None:
        raise InputError(what, "", f"type {type_name(spec.type)} is not supported")
    check, cls = kind
    try:
        both = F_RDONLY_PROG | F_WRONLY_PROG
        need(spec.flags & both != both, "a map is not read-only and write-only at once")
        check(spec)
    except Refused as refused:
        raise InputError(what, f"type {type_name(spec.type)}", str(refused)) from None
    made = cls(spec, index, memory, cpus)
    preset(made)
    return made
