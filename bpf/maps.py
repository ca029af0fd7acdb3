"""Maps as a program declares them: types and layouts, no behaviour."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum


class MapType(IntEnum):
    """enum bpf_map_type of include/uapi/linux/bpf.h (those with a behaviour in emu/runtime, and neighbours)."""

    UNSPEC = 0
    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    STACK_TRACE = 7
    CGROUP_ARRAY = 8
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    DEVMAP = 14
    SOCKMAP = 15
    CPUMAP = 16
    XSKMAP = 17
    SOCKHASH = 18
    CGROUP_STORAGE = 19
    REUSEPORT_SOCKARRAY = 20
    PERCPU_CGROUP_STORAGE = 21
    QUEUE = 22
    STACK = 23
    SK_STORAGE = 24
    DEVMAP_HASH = 25
    STRUCT_OPS = 26
    RINGBUF = 27
    INODE_STORAGE = 28
    TASK_STORAGE = 29
    BLOOM_FILTER = 30
    USER_RINGBUF = 31
    CGRP_STORAGE = 32
    ARENA = 33
    INSN_ARRAY = 34


ARENA_USER = 1 << 44  # where an arena without an address of its own (map_extra) is taken to be mapped
JUMP_VALUE = 16  # bytes of struct bpf_insn_array_value, which begins with the number of an instruction


@dataclass(frozen=True, slots=True)
class MapSpec:
    """A map to create before a program is loaded.

    elems: (key, value) pairs in bytes, set in order before the first run. progs: for a prog array,
    (index, program name) pairs. freeze: no writes from user space afterwards (.rodata).
    dump: its contents belong to the outcome. btf_key, btf_value: type ids in the program's BTF, 0 = none.
    inner: of a map of maps, what its elements look like. inner_maps: (index, name of a map of the program) pairs
    to put in before the first run. extra: map_extra (number of hash functions of a bloom filter, ...).
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    elems: tuple[tuple[bytes, bytes], ...] = ()
    progs: tuple[tuple[int, str], ...] = ()
    freeze: bool = False
    dump: bool = False
    btf_key: int = 0
    btf_value: int = 0
    inner: "MapSpec | None" = None
    inner_maps: tuple[tuple[int, str], ...] = ()
    extra: int = 0

    @property
    def jumps(self) -> tuple[int, ...]:
        """Of a jump table (insn_array) the instructions that its elements name; none of any other map."""
        if self.type != MapType.INSN_ARRAY:
            return ()
        return tuple(int.from_bytes(value[:4], "little") for _, value in self.elems)

    def with_jumps(self, jumps: Sequence[int]) -> "MapSpec":
        """The jump table with other instructions in its elements, in the same order."""
        values = (jump.to_bytes(4, "little").ljust(JUMP_VALUE, b"\0") for jump in jumps)
        elems = tuple((key, value) for (key, _), value in zip(self.elems, values, strict=True))
        return replace(self, elems=elems)
