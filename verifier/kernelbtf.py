"""The kernel's own structs as BTF, as far as verifier/kernelstructs.py lists them, and which members can be trusted.

Sources: the BTF_TYPE_SAFE_* lists of kernel/bpf/verifier.c.
"""

from enum import Enum, auto
from functools import cache
from typing import Final

from bpf.btf import Btf, BtfType, Kind, Member
from bpf.btf_types import VOID
from bpf.kfuncs import STRUCTS
from verifier.kernelstructs import TABLE


class Safe(Enum):
    """What a pointer member is worth when the object that it is read from is trusted."""

    RCU = auto()  # good while RCU is held, never null
    RCU_OR_NULL = auto()
    TRUSTED = auto()  # good in any case, never null
    TRUSTED_OR_NULL = auto()


SAFE_FIELDS: Final = {
    ("task_struct", "cpus_ptr"): Safe.RCU,
    ("task_struct", "cgroups"): Safe.RCU,
    ("task_struct", "real_parent"): Safe.RCU,
    ("task_struct", "group_leader"): Safe.RCU,
    ("cgroup", "kn"): Safe.RCU,
    ("css_set", "dfl_cgrp"): Safe.RCU,
    ("cgroup_subsys_state", "cgroup"): Safe.RCU,
    ("mm_struct", "exe_file"): Safe.RCU_OR_NULL,
    ("mm_struct", "owner"): Safe.RCU_OR_NULL,
    ("sk_buff", "sk"): Safe.RCU_OR_NULL,
    ("request_sock", "sk"): Safe.RCU_OR_NULL,
    ("bpf_iter_meta", "seq"): Safe.TRUSTED,
    ("bpf_iter__task", "meta"): Safe.TRUSTED,
    ("bpf_iter__task", "task"): Safe.TRUSTED,
    ("linux_binprm", "file"): Safe.TRUSTED,
    ("file", "f_inode"): Safe.TRUSTED,
    ("dentry", "d_inode"): Safe.TRUSTED_OR_NULL,
    ("socket", "sk"): Safe.TRUSTED_OR_NULL,
    ("vm_area_struct", "vm_mm"): Safe.TRUSTED_OR_NULL,
    ("vm_area_struct", "vm_file"): Safe.TRUSTED_OR_NULL,
}


class _Builder:
    """Collects types; a struct has an id as soon as it is mentioned."""

    def __init__(self) -> None:
        self.types: list[BtfType] = [VOID]
        self.structs: dict[str, int] = {}
        self.made: dict[str, int] = {}

    def struct(self, name: str) -> int:
        """Id of a struct or union, an empty one until it is defined."""
        tid = self.structs.get(name)
        if tid is None:
            tid = self.structs[name] = self._add(BtfType(Kind.STRUCT, name=name))
        return tid

    def _add(self, t: BtfType) -> int:
        self.types.append(t)
        return len(self.types) - 1

    def _pointer(self, text: str) -> int:
        tag, colon, name = text.partition(":")
        if not colon:
            tag, name = "", text
        to = self.struct(name) if name else 0
        if tag:
            to = self._add(BtfType(Kind.TYPE_TAG, name=tag, type=to))
        return self._add(BtfType(Kind.PTR, type=to))

    def type(self, text: str) -> int:
        """Id of a type written as in the table."""
        if text not in self.made:
            self.made[text] = self._type(text)
        return self.made[text]

    def _type(self, text: str) -> int:
        match text[0]:
            case "*":
                return self._pointer(text[1:])
            case "[":
                count, _, element = text[1:].partition("]")
                return self._add(BtfType(Kind.ARRAY, type=self.type(element), count=int(count)))
            case "{" | "|":
                return self.struct(text.lstrip("|").strip("{}"))
            case _:
                return self._add(BtfType(Kind.INT, size=int(text), bits=8 * int(text)))

    def define(self, name: str, size: int, union: bool, members: list[Member]) -> None:
        """The struct's layout."""
        kind = Kind.UNION if union else Kind.STRUCT
        self.types[self.struct(name)] = BtfType(kind, name=name, size=size, members=tuple(members))


def _member(builder: _Builder, text: str) -> Member:
    name, _, rest = text.partition("@")
    off, _, type_text = rest.partition("=")
    at, colon, bits = off.partition(":")
    offset = int(at) if colon else 8 * int(at)
    return Member(0, builder.type(type_text), offset, int(bits or 0), "" if name == "-" else name)


@cache
def kernel_btf() -> Btf:
    """The listed structs, those of kfuncs' prototypes too. Structs that are only pointed to have no members."""
    builder = _Builder()
    entry: list[str] = []
    entries = [entry]
    for line in TABLE.strip().splitlines():
        if not line.startswith(" "):
            entry = []
            entries.append(entry)
        entry += line.split()
    for name, size, *words in filter(None, entries):
        union = words[:1] == ["union"]
        members = [_member(builder, word) for word in words[union:]]
        builder.define(name, int(size), union, members)
    for struct in STRUCTS.values():
        offset, members = 0, []
        for param in struct.members:
            width = param.type.bits // 8
            offset = -(-offset // width) * width
            members.append(Member(0, builder.type(str(width)), 8 * offset, 0, param.name))
            offset += width
        builder.define(struct.name, struct.size, False, members)
    return Btf(tuple(builder.types), what="the kernel's BTF")


@cache
def known_structs() -> frozenset[str]:
    """Names of the structs whose layout is listed."""
    names = {line.split()[0] for line in TABLE.strip().splitlines() if not line.startswith(" ")}
    return frozenset(names | set(STRUCTS))
