"""Loads through pointers to objects that BTF describes: the kernel's, maps themselves, and what programs allocate.

A walk goes from a struct and an offset to the member there: a scalar, or a pointer that the next load may follow.
Sources: check_ptr_to_btf_access, check_ptr_to_map_access and mark_btf_ld_reg of kernel/bpf/verifier.c, btf_struct_access
and btf_struct_walk of kernel/bpf/btf.c.
"""

from typing import Final, NamedTuple

from bpf.btf import Btf, BtfType, Kind
from bpf.errors import InputError
from bpf.maps import MapType
from verifier.env import Env
from verifier.kernelbtf import SAFE_FIELDS, Safe, kernel_btf, known_structs
from verifier.references import reg_is_referenced
from verifier.regions import BPF_READ
from verifier.regs import (
    MEM_ALLOC,
    MEM_PERCPU,
    MEM_RCU,
    MEM_RDONLY,
    MEM_USER,
    NON_OWN_REF,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_MEM,
    PTR_TRUSTED,
    PTR_UNTRUSTED,
    SCALAR_VALUE,
    UNKNOWN_REG,
    Reg,
    pointer_reg,
)
from verifier.sections import in_rcu_cs
from verifier.special import record_of
from verifier.trust import is_trusted_reg
from verifier.wording import argno_name, tnum_text

_TRUSTED_FLAGS: Final = MEM_ALLOC | PTR_TRUSTED | NON_OWN_REF
_SAFE_FLAGS: Final = _TRUSTED_FLAGS | MEM_RCU
_POINTER_TAGS: Final = {"user": MEM_USER, "percpu": MEM_PERCPU, "rcu": MEM_RCU}

# The kernel's struct behind a map, by map type; where there is none, maps of the type have no readable fields.
_MAP_STRUCTS: Final = {
    **dict.fromkeys(
        (
            MapType.ARRAY,
            MapType.PERCPU_ARRAY,
            MapType.PROG_ARRAY,
            MapType.PERF_EVENT_ARRAY,
            MapType.CGROUP_ARRAY,
            MapType.ARRAY_OF_MAPS,
        ),
        "bpf_array",
    ),
    **dict.fromkeys(
        (
            MapType.HASH,
            MapType.PERCPU_HASH,
            MapType.LRU_HASH,
            MapType.LRU_PERCPU_HASH,
            MapType.HASH_OF_MAPS,
        ),
        "bpf_htab",
    ),
    MapType.STACK_TRACE: "bpf_stack_map",
    MapType.LPM_TRIE: "lpm_trie",
    MapType.DEVMAP: "bpf_dtab",
    MapType.DEVMAP_HASH: "bpf_dtab",
    MapType.SOCKMAP: "bpf_stab",
    MapType.CPUMAP: "bpf_cpu_map",
    MapType.XSKMAP: "xsk_map",
    MapType.SOCKHASH: "bpf_shtab",
    MapType.CGROUP_STORAGE: "bpf_cgroup_storage_map",
    MapType.PERCPU_CGROUP_STORAGE: "bpf_cgroup_storage_map",
    MapType.REUSEPORT_SOCKARRAY: "reuseport_array",
    MapType.QUEUE: "bpf_queue_stack",
    MapType.STACK: "bpf_queue_stack",
    MapType.SK_STORAGE: "bpf_local_storage_map",
    MapType.INODE_STORAGE: "bpf_local_storage_map",
    MapType.TASK_STORAGE: "bpf_local_storage_map",
    MapType.CGRP_STORAGE: "bpf_local_storage_map",
    MapType.STRUCT_OPS: "bpf_struct_ops_map",
    MapType.RINGBUF: "bpf_ringbuf_map",
    MapType.USER_RINGBUF: "bpf_ringbuf_map",
    MapType.BLOOM_FILTER: "bpf_bloom_filter",
    MapType.ARENA: "bpf_arena",
    MapType.INSN_ARRAY: "bpf_insn_array",
}


class Found(NamedTuple):
    """What a load gives. type: SCALAR_VALUE, PTR_TO_BTF_ID or PTR_TO_MEM, flags apart. member: of a pointer."""

    type: int
    flags: int = 0
    btf: Btf | None = None
    btf_id: int | str = 0
    member: str = ""


def mark_btf_ld_reg(env: Env, regno: int, found: Found) -> None:
    """The register gets what the load found."""
    if found.type == SCALAR_VALUE:
        env.regs[regno] = UNKNOWN_REG
    elif found.type == PTR_TO_MEM:
        env.regs[regno] = pointer_reg(PTR_TO_MEM | found.flags)
    else:
        new_id = env.new_id() if found.flags & PTR_MAYBE_NULL else 0
        aux = (found.btf, found.btf_id)
        env.regs[regno] = pointer_reg(PTR_TO_BTF_ID | found.flags, id=new_id, aux=aux)


def struct_name(btf: Btf | None, btf_id: int | str) -> str:
    """Name of the type that a register points to."""
    if isinstance(btf_id, str):
        return btf_id
    return "" if btf is None else btf.type(btf_id).name


def _locate(env: Env, btf: Btf | None, btf_id: int | str) -> tuple[Btf, int]:
    """BTF and type id; the kernel's structs are known as far as verifier/kernelbtf.py lists them."""
    if btf is not None:
        assert isinstance(btf_id, int)
        return btf, btf_id
    found = kernel_btf()
    tid = found.find(str(btf_id), Kind.STRUCT)
    if tid is None or btf_id not in known_structs():
        what = f"the layout of the kernel's struct {btf_id} is not known here"
        raise InputError(env.program.name, f"insn {env.insn_idx}", what)
    return found, tid


# ---- the walk


def _array_element(btf: Btf, t: BtfType) -> tuple[int, int]:
    """(type id of the innermost element, number of them) of an array of arrays."""
    count = 1
    tid = 0
    while t.kind is Kind.ARRAY:
        count *= t.count
        tid = btf.resolve(t.type)
        t = btf.type(tid)
    return tid, count


def _beyond(env: Env, btf: Btf, t: BtfType, off: int, size: int) -> tuple[int, int] | None:
    """Past the end only a flexible array may follow: (its element's id, offset in it), None for a number there."""
    if t.members:
        last = t.members[-1]
        array = btf.type(btf.resolve(last.type))
        start = last.offset // 8
        if array.kind is Kind.ARRAY and array.count == 0 and off >= start:
            tid = btf.resolve(array.type)
            element = btf.type(tid)
            if element.kind is Kind.INT:
                return None
            if element.kind in (Kind.STRUCT, Kind.UNION) and element.size:
                return tid, (off - start) % element.size
    return env.refuse("EACCES", f"access beyond struct {t.name} at off {off} size {size}")


def _pointer(btf: Btf, t: BtfType, member: str, flags: int) -> Found:
    """A pointer member: to a struct it can be followed, to anything else only read through."""
    tag = btf.type(t.type)
    if tag.kind is Kind.TYPE_TAG and not tag.kind_flag:
        flags |= _POINTER_TAGS.get(tag.name, 0)
    tid = btf.resolve(t.type)
    if btf.type(tid).kind in (Kind.STRUCT, Kind.UNION):
        return Found(PTR_TO_BTF_ID, flags, btf, tid, member)
    return Found(PTR_TO_MEM, MEM_RDONLY | PTR_UNTRUSTED)


def walk(env: Env, btf: Btf, tid: int, off: int, size: int) -> Found:
    """What lies at `off` in the struct `tid` (btf_struct_walk); refuses accesses that fit no member."""
    flags = 0
    while True:
        t = btf.type(btf.resolve(tid))
        if t.kind not in (Kind.STRUCT, Kind.UNION):
            env.refuse("EINVAL", f"Type '{t.name}' is not a struct")
        if t.kind is Kind.UNION and len(t.members) != 1:
            flags |= PTR_UNTRUSTED
        if off + size > t.size:
            after = _beyond(env, btf, t, off, size)
            if after is None:
                return Found(SCALAR_VALUE)
            tid, off = after
            continue
        found = _member_at(env, btf, t, off, size, flags)
        if isinstance(found, Found):
            return found
        tid, off = found


def _member_at(env: Env, btf: Btf, t: BtfType, off: int, size: int, flags: int) -> Found | tuple[int, int]:
    """The member at `off`: what a load gives, or the struct to go on in and the offset there."""
    for m in t.members:
        start = m.offset // 8
        if off + size <= start:
            break
        if m.bits:
            if off <= start and (m.offset + m.bits + 7) // 8 <= off + size:
                return Found(SCALAR_VALUE)
            continue
        if off < start:
            break
        tid = btf.resolve(m.type)
        member = btf.type(tid)
        msize = btf.size_of(tid)
        end = start + msize
        if off >= end:
            continue
        if member.kind is Kind.ARRAY:
            tid, count = _array_element(btf, member)
            member = btf.type(tid)
            msize //= count
            start += (off - start) // msize * msize
        if member.kind in (Kind.STRUCT, Kind.UNION):
            return tid, off - start
        where = f"in struct {t.name} with off {off} size {size}"
        if member.kind is Kind.PTR:
            if msize != size or off != start:
                env.refuse("EACCES", f"cannot access ptr member {m.name} with moff {start} {where}")
            return _pointer(btf, member, m.name, flags)
        if off + size > end:
            env.refuse("EACCES", f"access beyond the end of member {m.name} (mend:{end}) {where}")
        return Found(SCALAR_VALUE)
    return env.refuse("EINVAL", f"struct {t.name} doesn't have field at offset {off}")


def struct_ids_match(
    btf: Btf | None, btf_id: int | str, off: int, need_btf: Btf | None, need_id: int | str, strict: bool
) -> bool:
    """Whether an object of one type has one of another at `off` (btf_struct_ids_match)."""
    if off == 0 and btf is need_btf and btf_id == need_id:
        return True
    if strict:
        return False
    if btf is None:
        btf = kernel_btf()
        found = btf.find(str(btf_id), Kind.STRUCT)
        target = btf.find(str(need_id), Kind.STRUCT) if need_btf is None else None
    else:
        found = btf_id if isinstance(btf_id, int) else None
        target = need_id if need_btf is btf and isinstance(need_id, int) else None
    if found is None or target is None:
        return False
    return _nested_at(btf, found, off, target)


def _nested_at(btf: Btf, tid: int, off: int, target: int) -> bool:
    """Whether going down to the members at `off` meets `target`, at its own start."""
    while True:
        t = btf.type(tid)
        if t.kind not in (Kind.STRUCT, Kind.UNION):
            return False
        inner = next(
            (
                m
                for m in t.members
                if not m.bits and m.offset // 8 <= off < m.offset // 8 + btf.size_of(m.type)
            ),
            None,
        )
        if inner is None:
            return False
        off -= inner.offset // 8
        tid = btf.resolve(inner.type)
        if btf.type(tid).kind is Kind.ARRAY:
            size = btf.size_of(tid)
            tid, count = _array_element(btf, btf.type(tid))
            off %= max(size // max(count, 1), 1)
        if tid == target and off == 0:
            return True


# ---- checks


def _check_btf_pointer(env: Env, reg: Reg, argno: int, off: int) -> int:
    """Rules that do not depend on the member; the offset from the object's start."""
    name = argno_name(argno)
    tname = struct_name(reg.btf, reg.btf_id)
    if not env.gpl and reg.btf is None:
        env.refuse("EINVAL", f"Cannot access kernel 'struct {tname}' from non-GPL compatible program")
    num = reg.num
    if num.mask:
        text = tnum_text(num.value, num.mask)
        env.refuse("EACCES", f"{name} is ptr_{tname} invalid variable offset: off={off}, var_off={text}")
    at = off + num.signed_value
    if at < 0:
        env.refuse("EACCES", f"{name} is ptr_{tname} invalid negative access: off={at}")
    if reg.type & MEM_USER:
        env.refuse("EACCES", f"{name} is ptr_{tname} access user memory: off={at}")
    if reg.type & MEM_PERCPU:
        env.refuse("EACCES", f"{name} is ptr_{tname} access percpu memory: off={at}")
    return at


def check_ptr_to_btf_access(env: Env, reg: Reg, argno: int, off: int, size: int, access: int) -> Found:
    """An access to an object of the kernel or of the program; what a load finds."""
    at = _check_btf_pointer(env, reg, argno, off)
    write = access != BPF_READ
    if write and reg.type & PTR_UNTRUSTED:
        env.refuse("EACCES", "only read is supported")
    if write and not reg.type & MEM_ALLOC:
        _refuse_kernel_write(env, reg, argno, at, size)
    if reg.type & MEM_ALLOC and not reg.type & (NON_OWN_REF | MEM_RCU) and not reg_is_referenced(env, reg):
        env.bug("allocated object must have a referenced id")
    if reg.type & MEM_ALLOC and reg.btf is not None and isinstance(reg.btf_id, int):
        _check_special(env, reg.btf, reg.btf_id, at, size)
    btf, tid = _locate(env, reg.btf, reg.btf_id)
    found = walk(env, btf, tid, at, size)
    if found.type != PTR_TO_BTF_ID:
        return found
    if reg.type & MEM_ALLOC:
        return Found(SCALAR_VALUE)
    owner = struct_name(btf, tid)
    if reg.btf is None:
        found = found._replace(btf=None, btf_id=struct_name(btf, found.btf_id))
    return found._replace(flags=_walked_flags(env, reg, owner, found))


def _refuse_kernel_write(env: Env, reg: Reg, argno: int, at: int, size: int) -> None:
    if env.prog_type in ("sched_cls", "sched_act", "xdp"):
        tname = struct_name(reg.btf, reg.btf_id)
        env.refuse("EACCES", f"{argno_name(argno)} cannot write into ptr_{tname} at off={at} size={size}")
    env.refuse("EACCES", "only read is supported")


def _check_special(env: Env, btf: Btf, tid: int, off: int, size: int) -> None:
    record = record_of(btf, tid, in_map=False)
    for field in record.fields if record is not None else ():
        if off < field.offset + field.size and field.offset < off + size:
            env.refuse("EACCES", f"direct access to {field.type_name} is disallowed")


def _walked_flags(env: Env, reg: Reg, owner: str, found: Found) -> int:
    """How far a pointer read from an object may be trusted: by the object's own trust and by known fields."""
    flags = found.flags
    if reg.type & PTR_UNTRUSTED:
        return PTR_UNTRUSTED
    if not (is_trusted_reg(env, reg) or reg.type & MEM_RCU):
        return flags & ~_SAFE_FLAGS
    safe = SAFE_FIELDS.get((owner, found.member))
    if safe is Safe.TRUSTED:
        return flags | PTR_TRUSTED
    if safe is Safe.TRUSTED_OR_NULL:
        return flags | PTR_TRUSTED | PTR_MAYBE_NULL
    if not in_rcu_cs(env) or reg.type & PTR_MAYBE_NULL:
        return PTR_UNTRUSTED
    if safe is Safe.RCU:
        return flags | MEM_RCU
    if flags & MEM_RCU or safe is Safe.RCU_OR_NULL:
        flags |= MEM_RCU | PTR_MAYBE_NULL
        return flags & ~PTR_UNTRUSTED if safe is Safe.RCU_OR_NULL else flags
    if flags & (MEM_PERCPU | MEM_USER):
        return flags
    return flags & ~_SAFE_FLAGS


def check_ptr_to_map_access(env: Env, reg: Reg, argno: int, off: int, size: int, access: int) -> Found:
    """A load from a map itself, as from the kernel's struct behind it."""
    spec = reg.map.spec
    tname = _MAP_STRUCTS.get(MapType(spec.type)) if spec.type in set(MapType) else None
    if tname is None:
        env.refuse("ENOTSUPP", f"map_ptr access not supported for map type {spec.type}")
    if off < 0:
        env.refuse("EACCES", f"{argno_name(argno)} is {tname} invalid negative access: off={off}")
    if access != BPF_READ:
        env.refuse("EACCES", f"only read from {tname} is supported")
    btf, tid = _locate(env, None, tname)
    found = walk(env, btf, tid, off, size)
    if found.type == PTR_TO_BTF_ID:
        return found._replace(btf=None, btf_id=struct_name(btf, found.btf_id))
    return found
