"""Special fields by BTF: locks, timers, kptrs, list heads, ... inside map values and allocated objects.

A `Record` lists the fields of one struct or data section. Source: btf_find_field and btf_parse_fields of
kernel/bpf/btf.c. That a struct is one of the kernel's is known here only by name, from the prototypes of helpers and
kfuncs: the kernel looks kptr targets up in its own BTF first.
"""

from functools import cache
from typing import Final, NamedTuple

from bpf.btf import Btf, BtfType, Kind
from bpf.helpers import HELPERS
from bpf.kfuncs import KFUNCS

KPTR_UNREF: Final = "kptr_unref"
KPTR_REF: Final = "kptr_ref"
KPTR_PERCPU: Final = "kptr_percpu"
UPTR: Final = "uptr"
KPTRS: Final = frozenset({KPTR_UNREF, KPTR_REF, KPTR_PERCPU, UPTR})

# struct name -> size; alignment is 8 for those of 8 bytes and more
_STRUCTS: Final = {
    "bpf_spin_lock": 4,
    "bpf_res_spin_lock": 4,
    "bpf_timer": 16,
    "bpf_wq": 16,
    "bpf_task_work": 8,
    "bpf_list_head": 16,
    "bpf_list_node": 24,
    "bpf_rb_root": 16,
    "bpf_rb_node": 32,
    "bpf_refcount": 4,
}
_TAGS: Final = {"kptr_untrusted": KPTR_UNREF, "kptr": KPTR_REF, "percpu_kptr": KPTR_PERCPU, "uptr": UPTR}
_ROOTS: Final = frozenset({"bpf_list_head", "bpf_rb_root"})
_NODES: Final = {"bpf_list_head": "bpf_list_node", "bpf_rb_root": "bpf_rb_node"}
# What a map value may hold; the rest (nodes, reference counts) only lives in allocated objects.
_IN_OBJECTS_ONLY: Final = frozenset({"bpf_list_node", "bpf_rb_node"})
_MAX_DEPTH: Final = 32
_MAX_FIELDS: Final = 11


class Field(NamedTuple):
    """A special field.

    kind: its struct's name, or KPTR_UNREF, ... of pointers. btf, btf_id: of pointers and roots what they hold: the
    program's BTF and a type id, or None and the name of a kernel struct. node_offset: of roots, where in that type
    the node lies.
    """

    kind: str
    offset: int
    size: int
    btf: Btf | None = None
    btf_id: int | str = 0
    node_offset: int = 0

    @property
    def type_name(self) -> str:
        """What messages call it (btf_field_type_name)."""
        if self.kind in (KPTR_UNREF, KPTR_REF):
            return "kptr"
        return "percpu_kptr" if self.kind == KPTR_PERCPU else self.kind


class Record(NamedTuple):
    """The special fields of a type, in order of their offsets; never empty."""

    fields: tuple[Field, ...]

    def find(self, offset: int, kinds: frozenset[str]) -> Field | None:
        """The field of one of these kinds that begins at `offset` (btf_record_find)."""
        return next((f for f in self.fields if f.offset == offset and f.kind in kinds), None)

    def has(self, *kinds: str) -> bool:
        """Whether there is a field of one of these kinds (btf_record_has_field)."""
        return any(f.kind in kinds for f in self.fields)

    def off(self, kind: str) -> int:
        """Where the only field of this kind is; -1 without one."""
        return next((f.offset for f in self.fields if f.kind == kind), -1)


@cache
def kernel_structs() -> frozenset[str]:
    """Names of the kernel's structs that prototypes mention."""
    names = set()
    for kfunc in KFUNCS.values():
        for ctype in (kfunc.proto.ret, *(param.type for param in kfunc.proto.params)):
            while ctype.to is not None:
                ctype = ctype.to
            if ctype.name.startswith("struct "):
                names.add(ctype.name.removeprefix("struct "))
    for helper in HELPERS.values():
        names.update(arg.btf for arg in (helper.ret, *helper.args) if arg.btf)
    return frozenset(names - {"?", ""})


def _kptr(btf: Btf, pointer: BtfType, offset: int) -> Field | None:
    """A tagged pointer to a struct (btf_find_kptr)."""
    tag = btf.type(pointer.type)
    if tag.kind is not Kind.TYPE_TAG or tag.name not in _TAGS:
        return None
    kind = _TAGS[tag.name]
    target = btf.resolve(tag.type)
    struct = btf.type(target)
    if struct.kind is not Kind.STRUCT:
        return None
    if kind != UPTR and struct.name in kernel_structs():
        return Field(kind, offset, 8, None, struct.name)
    return Field(kind, offset, 8, btf, target)


def _root(btf: Btf, kind: str, owner: int, component: int, offset: int) -> Field | None:
    """A list head or tree root; the tag "contains:STRUCT:MEMBER" says what is in it (btf_find_graph_root)."""
    for text, which in btf.decl_tags(owner):
        if which != component or not text.startswith("contains:"):
            continue
        struct_name, _, member_name = text.removeprefix("contains:").partition(":")
        target = btf.find(struct_name, Kind.STRUCT)
        if target is None:
            return None
        for member in btf.type(target).members:
            node = btf.type(btf.resolve(member.type))
            if member.name == member_name and node.name == _NODES[kind]:
                return Field(kind, offset, _STRUCTS[kind], btf, target, member.offset // 8)
    return None


def _fields_at(btf: Btf, tid: int, owner: int, component: int, offset: int, depth: int) -> list[Field]:
    """Special fields in a member or variable of type `tid` at `offset`, through arrays and nested structs."""
    count = 1
    resolved = btf.resolve(tid)
    t = btf.type(resolved)
    while t.kind is Kind.ARRAY:
        count *= t.count
        resolved = btf.resolve(t.type)
        t = btf.type(resolved)
    if t.kind is Kind.PTR:
        found = _kptr(btf, t, offset)
        return [] if found is None else [found._replace(offset=offset + 8 * i) for i in range(count)]
    if t.kind is not Kind.STRUCT or not count:
        return []
    if t.name in _ROOTS:
        root = _root(btf, t.name, owner, component, offset)
        return [] if root is None else [root._replace(offset=offset + t.size * i) for i in range(count)]
    if t.name in _STRUCTS:
        return [Field(t.name, offset, _STRUCTS[t.name])]
    if depth >= _MAX_DEPTH:
        return []
    inner = [
        field
        for i, member in enumerate(t.members)
        for field in _fields_at(btf, member.type, resolved, i, member.offset // 8, depth + 1)
    ]
    return [f._replace(offset=offset + t.size * i + f.offset) for i in range(count) for f in inner]


def find_fields(btf: Btf, tid: int) -> tuple[Field, ...]:
    """All special fields of a struct or data section, in order of their offsets."""
    tid = btf.resolve(tid)
    t = btf.type(tid)
    if t.kind is Kind.DATASEC:
        places = [(btf.type(var.type).type, var.type, -1, var.offset) for var in t.vars]
    elif t.kind is Kind.STRUCT:
        places = [(member.type, tid, i, member.offset // 8) for i, member in enumerate(t.members)]
    else:
        places = []
    found = [f for place in places for f in _fields_at(btf, *place, 1)]
    return tuple(sorted(found, key=lambda field: field.offset)[:_MAX_FIELDS])


def record_of(btf: Btf, tid: int, *, in_map: bool) -> Record | None:
    """Record of a map's value type, or of a type to allocate objects of; None without special fields."""
    fields = find_fields(btf, tid)
    if in_map:
        fields = tuple(f for f in fields if f.kind not in _IN_OBJECTS_ONLY)
    return Record(fields) if fields else None
