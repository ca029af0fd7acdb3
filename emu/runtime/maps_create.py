"""Creating a map from its declaration."""

from collections.abc import Callable

from bpf import isa
from bpf.errors import InputError
from bpf.maps import MapSpec, MapType
from bpf.program import Program
from emu.runtime import maps_checks as checks
from emu.runtime.maps import BPF_MAP_SIZE, Map, preset
from emu.runtime.maps_arena import ArenaMap
from emu.runtime.maps_array import ArrayMap, PerCpuArrayMap
from emu.runtime.maps_code import InsnArrayMap
from emu.runtime.maps_hash import HashMap, LruHashMap, LruPerCpuHashMap, PerCpuHashMap
from emu.runtime.maps_lpm import LpmTrieMap
from emu.runtime.maps_queue import BloomMap, QueueMap, StackMap
from emu.runtime.maps_ring import RingMap
from emu.runtime.maps_slots import DeviceArrayMap, DeviceHashMap, FdArrayMap, ProgArrayMap, SparseArrayMap
from emu.runtime.memory import Memory

_KINDS: dict[int, tuple[Callable[[MapSpec], None], type[Map]]] = {
    MapType.ARRAY: (checks.check_array, ArrayMap),
    MapType.PERCPU_ARRAY: (checks.check_array, PerCpuArrayMap),
    MapType.HASH: (checks.check_hash, HashMap),
    MapType.PERCPU_HASH: (checks.check_hash, PerCpuHashMap),
    MapType.LRU_HASH: (checks.check_hash, LruHashMap),
    MapType.LRU_PERCPU_HASH: (checks.check_hash, LruPerCpuHashMap),
    MapType.PROG_ARRAY: (checks.check_fd_array, ProgArrayMap),
    MapType.PERF_EVENT_ARRAY: (checks.check_fd_array, FdArrayMap),
    MapType.CGROUP_ARRAY: (checks.check_fd_array, FdArrayMap),
    MapType.STACK_TRACE: (checks.check_stack_trace, FdArrayMap),
    MapType.LPM_TRIE: (checks.check_lpm, LpmTrieMap),
    MapType.QUEUE: (checks.check_queue, QueueMap),
    MapType.STACK: (checks.check_queue, StackMap),
    MapType.BLOOM_FILTER: (checks.check_bloom, BloomMap),
    MapType.RINGBUF: (checks.check_ring, RingMap),
    MapType.DEVMAP: (checks.check_device, DeviceArrayMap),
    MapType.DEVMAP_HASH: (checks.check_device, DeviceHashMap),
    MapType.CPUMAP: (checks.check_device, SparseArrayMap),
    MapType.XSKMAP: (checks.check_device, FdArrayMap),
    MapType.SOCKMAP: (checks.check_device, FdArrayMap),
    MapType.ARENA: (checks.check_arena, ArenaMap),
    MapType.INSN_ARRAY: (checks.check_insn_array, InsnArrayMap),
}

_REFERENCES = frozenset(
    {isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX, isa.PSEUDO_MAP_IDX_VALUE}
)

_UNMODELLED = frozenset(MapType) - _KINDS.keys()

# Shapes that passed the checks: a campaign makes the same few maps again and again.
_ALLOWED: set[tuple[int, int, int, int, int, int]] = set()
_ALLOWED_MAX = 4096


def _what(spec: MapSpec, index: int) -> str:
    return f"map {spec.name or index}"


def type_name(number: int) -> str:
    """A map type for messages: "array", or its number."""
    try:
        return MapType(number).name.lower()
    except ValueError:
        return str(number)


class UnnamedMap(Map):
    """A map of a kind without a behaviour, which the program never names: it lies in memory, and nothing gets at it."""

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.place(BPF_MAP_SIZE, 0)


def create_all(program: Program, memory: Memory, cpus: int = 1) -> tuple[Map, ...]:
    """All maps of a program, as `create`. Those of kinds that are not modelled may be there while nothing names them."""
    if not program.maps:
        return ()
    named = _named(program)
    return tuple(
        UnnamedMap(spec, i, memory)
        if spec.type in _UNMODELLED and i not in named
        else create(spec, i, memory, cpus)
        for i, spec in enumerate(program.maps)
    )


def _named(program: Program) -> set[int]:
    """Indices of the maps that an instruction of the program, or another of its maps, refers to."""
    loads = {insn.imm for insn in program.insns if insn.code == isa.LD_IMM64 and insn.src in _REFERENCES}
    inner = {name for spec in program.maps for _, name in spec.inner_maps}
    return loads | {i for i, spec in enumerate(program.maps) if spec.name in inner}


def create(spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> Map:
    """A new map in `memory` with its preset elements.

    Raises InputError when its kind is not modelled, when a kernel would refuse to create it or to set an
    element, or when the memory for maps has no room.
    """
    kind = _KINDS.get(spec.type)
    if kind is None:
        raise InputError(_what(spec, index), "", f"type {type_name(spec.type)} is not supported")
    check, cls = kind
    shape = (spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags, spec.extra)
    if shape not in _ALLOWED:
        try:
            checks.check_access(spec)
            check(spec)
        except checks.Refused as refused:
            raise InputError(_what(spec, index), f"type {type_name(spec.type)}", str(refused)) from None
        if len(_ALLOWED) < _ALLOWED_MAX:
            _ALLOWED.add(shape)
    made = cls(spec, index, memory, cpus)
    if spec.elems or spec.freeze:
        preset(made)
    return made
