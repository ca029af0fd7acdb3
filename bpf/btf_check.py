"""Whether the kernel would take a BTF blob: the rules of its checker for what compilers and generators get wrong.

A refused blob does not stop libbpf: the program is then loaded without BTF, and so without prototypes.

Source: Linux 7.3 kernel/bpf/btf.c (btf_*_check_meta, btf_func_proto_check, btf_func_check, btf_datasec_resolve).
"""

import re
from collections.abc import Callable

from bpf.btf import GLOBAL, MODIFIERS, Btf, BtfType, Kind, Member
from bpf.errors import InputError

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,510}")
_VARIABLE = re.compile(r"[A-Za-z_.][A-Za-z0-9_.]{0,510}")
_MAX_TYPE = 0xFFFFF
_TAGGED = (Kind.STRUCT, Kind.UNION, Kind.FUNC, Kind.VAR, Kind.TYPEDEF)
_WITH_FLAG = (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FWD, Kind.DECL_TAG, Kind.TYPE_TAG)
# kinds that a value, a member or a parameter may not have
_NO_VALUE = (Kind.VOID, Kind.FUNC, Kind.FUNC_PROTO, Kind.VAR, Kind.DATASEC, Kind.DECL_TAG, Kind.FWD)


def refusal(btf: Btf) -> str | None:
    """Why the kernel refuses this BTF: "type 7 (FUNC sum): Invalid arg#1", with the kernel's own words; None when it does not."""
    if len(btf.types) - 1 > _MAX_TYPE:
        return f"{len(btf.types)} types are too many"
    if len(btf.types) == 1:
        return "No type found"
    for tid, t in enumerate(btf.types):
        why = None if tid == 0 else _meta(t) or _RULES.get(t.kind, _fine)(btf, t)
        if why:
            return f"{_shown(tid, t)}: {why}"
    loop = _find_loop(btf)
    return None if loop is None else f"{_shown(loop, btf.types[loop])}: Loop detected"


def _shown(tid: int, t: BtfType) -> str:
    return f"type {tid} ({t.kind.name}{' ' if t.name else ''}{t.name})"


def _parts(t: BtfType) -> tuple[int, ...]:
    """Types whose values lie within a value of this type."""
    if t.kind is Kind.ARRAY or t.kind in MODIFIERS:
        return (t.type,)
    return tuple(m.type for m in t.members)


def _find_loop(btf: Btf) -> int | None:
    """A type that contains itself, not counting pointers to it."""
    done: set[int] = set()
    for root in range(len(btf.types)):
        if root in done:
            continue
        path = {root}
        pending = [(root, iter(_parts(btf.types[root])))]
        while pending:
            tid, rest = pending[-1]
            part = next(rest, None)
            if part is None:
                pending.pop()
                path.discard(tid)
                done.add(tid)
            elif part in path:
                return part
            elif part not in done:
                path.add(part)
                pending.append((part, iter(_parts(btf.types[part]))))
    return None


def _fine(_btf: Btf, _t: BtfType) -> str | None:
    return None


def _identifier(name: str) -> bool:
    return _IDENTIFIER.fullmatch(name) is not None


def _meta(t: BtfType) -> str | None:
    """What a type may be called, and flags."""
    if t.kind_flag and t.kind not in _WITH_FLAG:
        return "Invalid btf_info kind_flag"
    match t.kind:
        case Kind.PTR | Kind.CONST | Kind.VOLATILE | Kind.RESTRICT | Kind.ARRAY | Kind.FUNC_PROTO:
            return "Invalid name" if t.name_off else None
        case Kind.FUNC | Kind.TYPEDEF | Kind.FWD:
            return None if _identifier(t.name) else "Invalid name"
        case Kind.STRUCT | Kind.UNION | Kind.ENUM | Kind.ENUM64:
            return None if not t.name_off or _identifier(t.name) else "Invalid name"
        case Kind.VAR:
            return None if _VARIABLE.fullmatch(t.name) else "Invalid name"
        case Kind.DATASEC | Kind.TYPE_TAG:
            return None if t.name and t.name.isprintable() else "Invalid name"
        case Kind.DECL_TAG:
            return None if t.name else "Invalid value"
    return None


def _end(btf: Btf, tid: int) -> Kind | None:
    """Kind behind modifiers, None when they go round in a circle."""
    try:
        return btf.types[btf.resolve(tid)].kind
    except InputError:
        return None


def _is_value(btf: Btf, tid: int) -> bool:
    kind = _end(btf, tid)
    return kind is not None and kind not in _NO_VALUE


def _check_int(_btf: Btf, t: BtfType) -> str | None:
    bits = t.bits + t.bit_offset
    if bits > 128:
        return "nr_bits exceeds 128"
    if (bits + 7) // 8 > t.size:
        return "nr_bits exceeds type_size"
    return None if t.encoding in (0, 1, 2, 4) else "Unsupported encoding"


def _check_array(btf: Btf, t: BtfType) -> str | None:
    if not t.type or not _is_value(btf, t.type):
        return "Invalid elem"
    return None if t.index_type and _end(btf, t.index_type) is Kind.INT else "Invalid index"


def _check_members(btf: Btf, t: BtfType) -> str | None:
    last = 0
    for member in t.members:
        if member.name_off and not _identifier(member.name):
            return f"Invalid member name {member.name!r}"
        if not member.type or not _is_value(btf, member.type):
            return f"Invalid type_id of member {member.name!r}"
        if (t.kind is Kind.UNION and member.offset) or member.offset < last:
            return f"Invalid member bits_offset of {member.name!r}"
        if (member.offset + 7) // 8 > t.size:
            return f"Member bits_offset of {member.name!r} exceeds its struct size"
        last = member.offset
        why = _check_member(btf, t, member)
        if why:
            return f"{why} ({member.name!r})"
    return None


def _check_member(btf: Btf, t: BtfType, member: Member) -> str | None:
    """Whether the member's value lies within the struct."""
    try:
        size = btf.size_of(member.type)
    except InputError:
        return "Invalid member"
    if not member.bits and member.offset % 8 and _end(btf, member.type) is not Kind.INT:
        return "Member is not byte aligned"
    return "Member exceeds struct_size" if member.offset + (member.bits or 8 * size) > 8 * t.size else None


def _check_enum(_btf: Btf, t: BtfType) -> str | None:
    if t.size not in (1, 2, 4, 8):
        return "Unexpected size"
    bad = next((v for v in t.values if not _identifier(v.name)), None)
    return None if bad is None else f"Invalid name of value {bad.value}"


def _check_proto(btf: Btf, t: BtfType) -> str | None:
    if t.type and not _is_value(btf, t.type):
        return "Invalid return type" if _end(btf, t.type) is not Kind.VOID else None
    params = t.params
    if params and not params[-1].type:
        if params[-1].name_off:
            return f"Invalid arg#{len(params)}"
        params = params[:-1]
    for number, param in enumerate(params, 1):
        if (
            not param.type
            or not _is_value(btf, param.type)
            or (param.name_off and not _identifier(param.name))
        ):
            return f"Invalid arg#{number}"
    return None


def _check_func(btf: Btf, t: BtfType) -> str | None:
    if t.linkage > GLOBAL:
        return "Invalid func linkage"
    proto = btf.types[t.type]
    if proto.kind is not Kind.FUNC_PROTO:
        return "Invalid type_id"
    for number, param in enumerate(proto.params, 1):
        if not param.name_off and param.type:
            return f"Invalid arg#{number}"
    return None


def _check_var(btf: Btf, t: BtfType) -> str | None:
    if not t.type:
        return "Invalid type_id"
    if t.linkage > GLOBAL:
        return "Linkage not supported"
    return None if _is_value(btf, t.type) else "Invalid type_id"


def _check_datasec(btf: Btf, t: BtfType) -> str | None:
    if not t.size:
        return "size == 0"
    last = 0
    for v in t.vars:
        if btf.types[v.type].kind is not Kind.VAR:
            return "Not a VAR kind member"
        if v.offset < last or v.offset >= t.size:
            return "Invalid offset"
        if not v.size or v.size > t.size:
            return "Invalid size"
        last = v.offset + v.size
        if last > t.size:
            return "Invalid offset+size"
        try:
            size = btf.size_of(v.type)
        except InputError:
            return "Invalid type"
        if size > v.size:
            return "Invalid size"
    return None


def _check_decl_tag(btf: Btf, t: BtfType) -> str | None:
    target = btf.types[t.type]
    if target.kind not in _TAGGED:
        return "Invalid type_id"
    if t.component < -1:
        return "Invalid component_idx"
    if t.component == -1:
        return None
    count = len(target.members)
    if target.kind is Kind.FUNC:
        count = len(btf.types[target.type].params)
    return None if t.component < count else "Invalid component_idx"


def _check_modifier(btf: Btf, t: BtfType) -> str | None:
    kind = _end(btf, t.type)
    if kind is None:
        return "Loop detected"
    return "Invalid type_id" if kind in (Kind.FUNC, Kind.VAR, Kind.DATASEC, Kind.DECL_TAG) else None


def _check_float(_btf: Btf, t: BtfType) -> str | None:
    return None if t.size in (2, 4, 8, 12, 16) else "Invalid type_size"


_RULES: dict[Kind, Callable[[Btf, BtfType], str | None]] = {
    Kind.INT: _check_int,
    Kind.ARRAY: _check_array,
    Kind.STRUCT: _check_members,
    Kind.UNION: _check_members,
    Kind.ENUM: _check_enum,
    Kind.ENUM64: _check_enum,
    Kind.FUNC_PROTO: _check_proto,
    Kind.FUNC: _check_func,
    Kind.VAR: _check_var,
    Kind.DATASEC: _check_datasec,
    Kind.DECL_TAG: _check_decl_tag,
    Kind.PTR: _check_modifier,
    Kind.FLOAT: _check_float,
    **dict.fromkeys(MODIFIERS, _check_modifier),
}
