"""Maps as the verifier sees them: which values may be touched, which are constants, which program may use which map.

Sources: check_map_access, check_map_access_type, bpf_map_is_rdonly, bpf_map_direct_read and
check_map_prog_compatibility of kernel/bpf/verifier.c.
"""

from typing import Final

from bpf import isa
from bpf.btf import Btf
from bpf.maps import MapSpec, MapType
from bpf.program import Program
from verifier.env import F_SLEEPABLE, Env
from verifier.refused import Refused
from verifier.regions import BPF_READ, BPF_WRITE, check_mem_region_access
from verifier.regs import Reg, UsedMap
from verifier.special import KPTRS, Field, Record, record_of

__all__ = [
    "KPTRS",
    "Field",
    "Record",
    "UsedMaps",
    "check_map_access",
    "check_map_access_type",
    "check_map_prog_compatibility",
    "has_known_values",
    "map_direct_read",
    "map_record",
    "struct_record",
]

F_RDONLY_PROG: Final = 1 << 7
F_WRONLY_PROG: Final = 1 << 8

_MAX_USED_MAPS: Final = 64
_ONE_OF_A_TYPE: Final[dict[int, str]] = {
    MapType.CGROUP_STORAGE: "only one cgroup storage of each type is allowed",
    MapType.PERCPU_CGROUP_STORAGE: "only one cgroup storage of each type is allowed",
    MapType.ARENA: "Only one arena per program",
}
_TRACING: Final = frozenset(
    {"kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable"}
)
_SLEEPABLE_MAPS: Final = frozenset(
    {
        MapType.HASH,
        MapType.LRU_HASH,
        MapType.ARRAY,
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
        MapType.LPM_TRIE,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.RINGBUF,
        MapType.USER_RINGBUF,
        MapType.INODE_STORAGE,
        MapType.SK_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
        MapType.QUEUE,
        MapType.STACK,
        MapType.ARENA,
        MapType.INSN_ARRAY,
        MapType.PROG_ARRAY,
    }
)


# ---- special fields


def map_record(env: Env, used: UsedMap) -> Record | None:
    """Special fields of a map's value; None without any."""
    if used.fields is None:
        btf, tid = env.program.btf, used.spec.btf_value
        used.fields = (record_of(btf, tid, in_map=True) if btf is not None and tid else None,)
    return used.fields[0]  # type: ignore[no-any-return] # a slot of this module's own


def struct_record(btf: Btf, type_id: int) -> Record | None:
    """Special fields of a struct that programs allocate; None without any."""
    return record_of(btf, type_id, in_map=False)


# ---- access


def map_mem_size(spec: MapSpec) -> int:
    """Bytes behind a pointer to a value: of an insn_array, all of its entries."""
    return 8 * spec.max_entries if spec.type == MapType.INSN_ARRAY else spec.value_size


_READ_ONLY: Final = frozenset({MapType.INSN_ARRAY, MapType.DEVMAP, MapType.DEVMAP_HASH})


def access_flags(spec: MapSpec) -> int:
    """F_RDONLY_PROG and F_WRONLY_PROG of a map; some types get the former when they are made."""
    implied = F_RDONLY_PROG if spec.type in _READ_ONLY else 0
    return spec.flags & (F_RDONLY_PROG | F_WRONLY_PROG) | implied


def check_map_access_type(env: Env, reg: Reg, off: int, size: int, access: int) -> None:
    """Programs may not write into maps with F_RDONLY_PROG, nor read those with F_WRONLY_PROG."""
    spec = reg.map.spec
    flags = access_flags(spec)
    if not flags:
        return
    tail = f"map forbidden, value_size={spec.value_size} off={reg.num.smin + off} size={size}"
    if access == BPF_WRITE and flags & F_RDONLY_PROG:
        env.refuse("EACCES", f"write into {tail}")
    if access == BPF_READ and not flags & F_RDONLY_PROG:
        env.refuse("EACCES", f"read from {tail}")


def check_map_access(
    env: Env, reg: Reg, argno: int, off: int, size: int, zero_allowed: bool, *, direct: bool
) -> None:
    """The access is inside the value and touches no special field; kptrs may be loaded and stored `direct`ly."""
    used = reg.map
    check_mem_region_access(env, reg, argno, off, size, map_mem_size(used.spec), zero_allowed)
    record = used.fields[0] if used.fields is not None else map_record(env, used)
    if record is None:
        return
    num = reg.num
    low, high = num.smin + off, num.umax + off + size
    for field in record.fields:
        if low < field.offset + field.size and field.offset < high:
            _check_field(env, reg, field, off, size, direct)


def _check_field(env: Env, reg: Reg, field: Field, off: int, size: int, direct: bool) -> None:
    name = field.type_name
    if field.kind not in KPTRS:
        env.refuse("EACCES", f"{name} cannot be accessed directly by load/store")
    if not direct:
        env.refuse("EACCES", f"{name} cannot be accessed indirectly by helper")
    if reg.num.mask:
        env.refuse("EACCES", f"{name} access cannot have variable offset")
    at = off + reg.num.signed_value
    if at != field.offset:
        env.refuse("EACCES", f"{name} access misaligned expected={field.offset} off={at & isa.U64}")
    if size != isa.SIZE_BYTES[isa.DW]:
        env.refuse("EACCES", f"{name} access size must be BPF_DW")


# ---- constants


def has_known_values(spec: MapSpec) -> bool:
    """Whether nobody can change the values any more and they have one address (bpf_map_is_rdonly)."""
    return spec.freeze and bool(spec.flags & F_RDONLY_PROG) and spec.type == MapType.ARRAY


def map_direct_read(spec: MapSpec, off: int, size: int, is_ldsx: bool) -> int | None:
    """The bytes at `off` of the only value as a number, sign-extended for is_ldsx; None where there is none."""
    if spec.max_entries != 1 or not 0 <= off < spec.value_size:
        return None
    value = bytes(spec.value_size)
    for key, stored in spec.elems:
        if not any(key):
            value = stored.ljust(spec.value_size, b"\0")
    return int.from_bytes(value[off : off + size], "little", signed=is_ldsx and size < 8)


# ---- programs


def check_map_prog_compatibility(program: Program, spec: MapSpec) -> None:
    """Raises Refused when a program of this type may not use the map at all."""
    record = None
    if program.btf is not None and spec.btf_value:
        record = record_of(program.btf, spec.btf_value, in_map=True)
    tracing = program.prog_type in _TRACING
    if record is not None:
        if record.has("bpf_list_head", "bpf_rb_root") and tracing:
            raise Refused("EINVAL", "tracing progs cannot use bpf_{list_head,rb_root} yet")
        if record.has("bpf_spin_lock", "bpf_res_spin_lock") and program.prog_type == "socket_filter":
            raise Refused("EINVAL", "socket filter progs cannot use bpf_spin_lock yet")
        if record.has("bpf_spin_lock") and tracing:
            raise Refused("EINVAL", "tracing progs cannot use bpf_spin_lock yet")
    if spec.type == MapType.STRUCT_OPS:
        raise Refused("EINVAL", "bpf_struct_ops map cannot be used in prog")
    if program.prog_flags & F_SLEEPABLE and spec.type not in _SLEEPABLE_MAPS:
        message = "Sleepable programs can only use array, hash, ringbuf and local storage maps"
        raise Refused("EINVAL", message)


class UsedMaps:
    """The maps that a program refers to, checked when it first does (__add_used_map)."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.indices: set[int] = set()
        self.types: set[int] = set()

    def add(self, index: int, insn: int) -> None:
        """Notes a reference to map `index` by instruction `insn`; raises Refused for what the program may not use."""
        if index in self.indices:
            return
        if len(self.indices) >= _MAX_USED_MAPS:
            message = f"The total number of maps per program has reached the limit of {_MAX_USED_MAPS}"
            raise Refused("E2BIG", message, insn=insn)
        spec = self.program.maps[index]
        try:
            check_map_prog_compatibility(self.program, spec)
        except Refused as no:
            no.insn = insn
            raise
        if spec.type in _ONE_OF_A_TYPE and spec.type in self.types:
            raise Refused("EBUSY", _ONE_OF_A_TYPE[spec.type], insn=insn)
        if spec.type == MapType.INSN_ARRAY and not _is_jump_table(self.program, spec):
            raise Refused("EINVAL", "Failed to properly initialize insn array", insn=insn)
        self.indices.add(index)
        self.types.add(spec.type)


def _is_jump_table(program: Program, spec: MapSpec) -> bool:
    """Whether user space may not change it any more, and every entry names an instruction (bpf_insn_array_init)."""
    insns = program.insns
    return spec.freeze and all(
        at < len(insns) and not (at and insns[at - 1].code == isa.LD_IMM64) for at in spec.jumps
    )
