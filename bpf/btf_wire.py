"""BTF bytes to types and back. The only place that knows BTF's byte layout; resolves no references.

      +--------+---------------------------+--------------------+
      | header | types: 12 bytes + rest    | strings, NUL-ended |
      +--------+---------------------------+--------------------+
       hdr_len   at hdr_len + type_off       at hdr_len + str_off

      second word of a type:  31: kind_flag   30..24: kind   23..0: vlen

A header of 32 bytes and more also names a layout section (sizes of each kind's records); it lies between types
and strings, is kept as it came, and is not believed.

Source: Linux 7.3 include/uapi/linux/btf.h; what is refused here is refused by kernel/bpf/btf.c too.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bpf import isa
from bpf.btf_types import REFERENCES, SIZED, VOID, BtfType, EnumValue, Kind, Member, ParamType, SecVar
from bpf.errors import InputError

MAGIC = 0xEB9F
VERSION = 1
HEADER = struct.Struct("<HBBIIIII")
_COMMON = struct.Struct("<III")
_WORD = struct.Struct("<I")
_PAIR = struct.Struct("<II")
_TRIPLE = struct.Struct("<III")
_MAX_VLEN = 0xFFFFFF
_LAYOUT = struct.Struct("<II")
# Strings may share bytes, so their text can be far longer than the section: keep hostile input small.
_MAX_TEXT = 1 << 26

# bytes behind the common 12: (fixed, per vlen)
_TAIL = {
    Kind.INT: (4, 0),
    Kind.ARRAY: (12, 0),
    Kind.STRUCT: (0, 12),
    Kind.UNION: (0, 12),
    Kind.ENUM: (0, 8),
    Kind.FUNC_PROTO: (0, 8),
    Kind.VAR: (4, 0),
    Kind.DATASEC: (0, 12),
    Kind.DECL_TAG: (4, 0),
    Kind.ENUM64: (0, 12),
}
_HAS_VLEN = frozenset({k for k, (_, each) in _TAIL.items() if each} | {Kind.FUNC})


class DanglingError(InputError):
    """A type refers to one that is not there, in BTF whose bytes are otherwise well-formed."""


class StringTable:
    """The string section; texts are decoded once."""

    def __init__(self, data: bytes, what: str) -> None:
        self.data = data
        self._what = what
        self._texts: dict[int, str] = {0: ""}
        self._total = 0

    def text(self, off: int, where: str) -> str:
        """The text at `off`. Raises InputError when it lies outside the section."""
        found = self._texts.get(off)
        if found is not None:
            return found
        if off >= len(self.data):
            raise InputError(
                self._what,
                where,
                f"string offset {off} is past the end of the {len(self.data)} bytes of strings",
            )
        end = self.data.index(b"\0", off)
        self._total += end - off
        if self._total > _MAX_TEXT:
            raise InputError(self._what, where, f"the names are longer than {_MAX_TEXT} bytes altogether")
        # Names are identified by offset when written, so a lossy text can't harm the round trip.
        found = self.data[off:end].decode("utf-8", "backslashreplace")
        self._texts[off] = found
        return found


@dataclass(frozen=True, slots=True)
class Parts:
    """A BTF blob taken apart. flags, extra: of the header, as they came (extra: bytes past the first 24)."""

    types: tuple[BtfType, ...]
    strings: bytes
    flags: int = 0
    extra: bytes = b""
    layout: bytes = b""


def parse(blob: bytes, what: str) -> Parts:
    """Takes a little-endian BTF blob apart. Raises InputError, which names the place, for all that is malformed."""
    if len(blob) < HEADER.size:
        raise InputError(what, "header", f"truncated: {len(blob)} of {HEADER.size} bytes")
    magic, version, flags, hdr_len, type_off, type_len, str_off, str_len = HEADER.unpack_from(blob)
    if magic == 0x9FEB:
        raise InputError(what, "header", "big-endian BTF is not supported")
    if magic != MAGIC:
        raise InputError(what, "header", f"bad magic {magic:#06x}, expected {MAGIC:#06x}")
    if version != VERSION:
        raise InputError(what, "header", f"unsupported version {version}")
    if not HEADER.size <= hdr_len <= len(blob):
        raise InputError(what, "header", f"header length {hdr_len} is not within {HEADER.size}..{len(blob)}")
    body = len(blob) - hdr_len
    if type_off + type_len > body:
        raise InputError(
            what,
            "header",
            f"the types (offset {type_off}, {type_len} bytes) reach past the end of the {body} bytes of data",
        )
    if str_off + str_len > body:
        raise InputError(
            what,
            "header",
            f"the strings (offset {str_off}, {str_len} bytes) reach past the end of the {body} bytes of data",
        )
    extra = blob[HEADER.size : hdr_len]
    layout_off, layout_len = _LAYOUT.unpack_from(extra) if len(extra) >= _LAYOUT.size else (type_len, 0)
    if not layout_len:
        layout_off = type_len
    if type_off or layout_off != type_len or str_off != layout_off + layout_len or str_off + str_len != body:
        raise InputError(
            what,
            "header",
            f"types ({type_off}, {type_len} bytes) and strings ({str_off}, {str_len} bytes) do not fill the {body} bytes of data one behind the other",
        )
    if type_len % 4:
        raise InputError(what, "header", f"{type_len} bytes of types are no multiple of 4")
    strings = blob[hdr_len + str_off :]
    if not strings or strings[0] or strings[-1]:
        raise InputError(what, "strings", "the section must begin and end with a zero byte")
    table = StringTable(strings, what)
    types = _parse_types(blob[hdr_len : hdr_len + type_len], table, what)
    return Parts(types, strings, flags, extra, blob[hdr_len + layout_off : hdr_len + str_off])


def _parse_types(data: bytes, strings: StringTable, what: str) -> tuple[BtfType, ...]:
    types = [VOID]
    at = 0
    while at < len(data):
        where = f"type {len(types)} at byte {at}"
        if at + _COMMON.size > len(data):
            raise InputError(what, where, f"truncated: {len(data) - at} of {_COMMON.size} bytes")
        name_off, info, third = _COMMON.unpack_from(data, at)
        number = info >> 24 & 0x7F
        if not 1 <= number <= max(Kind):
            raise InputError(what, where, f"unknown kind {number}")
        kind, vlen = Kind(number), info & _MAX_VLEN
        if vlen and kind not in _HAS_VLEN:
            raise InputError(what, where, f"{kind.name} with vlen {vlen}")
        if third and kind not in SIZED and kind not in REFERENCES:
            raise InputError(what, where, f"{kind.name} with size or type {third}")
        fixed, each = _TAIL.get(kind, (0, 0))
        length = _COMMON.size + fixed + each * vlen
        if at + length > len(data):
            raise InputError(
                what,
                where,
                f"{kind.name} of {length} bytes (vlen {vlen}) reaches past the end of the types, {len(data) - at} bytes are left",
            )
        fields: dict[str, Any] = (
            {"size": third} if kind in SIZED else {"type": third} if kind in REFERENCES else {}
        )
        if kind in _READ:
            fields |= _READ[kind](
                _Tail(data[at + _COMMON.size : at + length], vlen, bool(info >> 31), strings, what, where)
            )
        types.append(BtfType(kind, name_off, strings.text(name_off, where), bool(info >> 31), **fields))
        at += length
    _check_ids(types, what)
    return tuple(types)


@dataclass(frozen=True, slots=True)
class _Tail:
    """What follows the common part of a type, and what is needed to read it."""

    data: bytes
    vlen: int
    kind_flag: bool
    strings: StringTable
    what: str
    where: str

    def text(self, off: int) -> str:
        return self.strings.text(off, self.where)


def _read_int(tail: _Tail) -> dict[str, Any]:
    (word,) = _WORD.unpack(tail.data)
    if word & 0xF000FF00:
        raise InputError(tail.what, tail.where, f"unknown bits in INT data {word:#010x}")
    return {"encoding": word >> 24, "bit_offset": word >> 16 & 0xFF, "bits": word & 0xFF}


def _read_array(tail: _Tail) -> dict[str, Any]:
    element, index, count = _TRIPLE.unpack(tail.data)
    return {"type": element, "index_type": index, "count": count}


def _read_members(tail: _Tail) -> dict[str, Any]:
    members = []
    for name, tid, off in _TRIPLE.iter_unpack(tail.data):
        offset, bits = (off & 0xFFFFFF, off >> 24) if tail.kind_flag else (off, 0)
        members.append(Member(name, tid, offset, bits, tail.text(name)))
    return {"members": tuple(members)}


def _read_enum(tail: _Tail) -> dict[str, Any]:
    values = []
    for name, value in _PAIR.iter_unpack(tail.data):
        values.append(EnumValue(name, isa.sext(value, 32) if tail.kind_flag else value, tail.text(name)))
    return {"values": tuple(values)}


def _read_enum64(tail: _Tail) -> dict[str, Any]:
    values = []
    for name, low, high in _TRIPLE.iter_unpack(tail.data):
        value = high << 32 | low
        values.append(EnumValue(name, isa.sext(value, 64) if tail.kind_flag else value, tail.text(name)))
    return {"values": tuple(values)}


def _read_func(tail: _Tail) -> dict[str, Any]:
    return {"linkage": tail.vlen}


def _read_func_proto(tail: _Tail) -> dict[str, Any]:
    return {
        "params": tuple(ParamType(name, tid, tail.text(name)) for name, tid in _PAIR.iter_unpack(tail.data))
    }


def _read_var(tail: _Tail) -> dict[str, Any]:
    return {"linkage": _WORD.unpack(tail.data)[0]}


def _read_datasec(tail: _Tail) -> dict[str, Any]:
    return {"vars": tuple(SecVar(*words) for words in _TRIPLE.iter_unpack(tail.data))}


def _read_decl_tag(tail: _Tail) -> dict[str, Any]:
    return {"component": isa.sext(_WORD.unpack(tail.data)[0], 32)}


_READ: dict[Kind, Callable[[_Tail], dict[str, Any]]] = {
    Kind.INT: _read_int,
    Kind.ARRAY: _read_array,
    Kind.STRUCT: _read_members,
    Kind.UNION: _read_members,
    Kind.ENUM: _read_enum,
    Kind.FUNC: _read_func,
    Kind.FUNC_PROTO: _read_func_proto,
    Kind.VAR: _read_var,
    Kind.DATASEC: _read_datasec,
    Kind.DECL_TAG: _read_decl_tag,
    Kind.ENUM64: _read_enum64,
}


def _check_ids(types: list[BtfType], what: str) -> None:
    for tid, t in enumerate(types):
        ids = [
            t.type,
            t.index_type,
            *(m.type for m in t.members),
            *(p.type for p in t.params),
            *(v.type for v in t.vars),
        ]
        worst = max(ids)
        if worst >= len(types):
            why = f"{t.kind.name} refers to type id {worst}, of {len(types)}"
            raise DanglingError(what, f"type {tid}", why)


def _write_type(t: BtfType) -> bytes:
    tail = b""
    vlen = 0
    match t.kind:
        case Kind.INT:
            tail = _WORD.pack(t.encoding << 24 | t.bit_offset << 16 | t.bits)
        case Kind.ARRAY:
            tail = _TRIPLE.pack(t.type, t.index_type, t.count)
        case Kind.STRUCT | Kind.UNION:
            vlen = len(t.members)
            tail = b"".join(
                _TRIPLE.pack(m.name_off, m.type, m.bits << 24 | m.offset if t.kind_flag else m.offset)
                for m in t.members
            )
        case Kind.ENUM:
            vlen = len(t.values)
            tail = b"".join(_PAIR.pack(v.name_off, v.value & isa.U32) for v in t.values)
        case Kind.ENUM64:
            vlen = len(t.values)
            tail = b"".join(
                _TRIPLE.pack(v.name_off, v.value & isa.U32, v.value >> 32 & isa.U32) for v in t.values
            )
        case Kind.FUNC:
            vlen = t.linkage
        case Kind.FUNC_PROTO:
            vlen = len(t.params)
            tail = b"".join(_PAIR.pack(p.name_off, p.type) for p in t.params)
        case Kind.VAR:
            tail = _WORD.pack(t.linkage)
        case Kind.DATASEC:
            vlen = len(t.vars)
            tail = b"".join(_TRIPLE.pack(v.type, v.offset, v.size) for v in t.vars)
        case Kind.DECL_TAG:
            tail = _WORD.pack(t.component & isa.U32)
    third = t.size if t.kind in SIZED else t.type if t.kind in REFERENCES else 0
    return _COMMON.pack(t.name_off, t.kind_flag << 31 | t.kind << 24 | vlen, third) + tail


def write(
    types: Iterable[BtfType], strings: bytes, flags: int = 0, extra: bytes = b"", layout: bytes = b""
) -> bytes:
    """The blob of `types` (with void at 0) and a string section; the inverse of `parse`."""
    body = b"".join(_write_type(t) for t in types if t.kind is not Kind.VOID)
    if layout:
        extra = _LAYOUT.pack(len(body), len(layout)) + extra[_LAYOUT.size :]
    head = HEADER.pack(
        MAGIC, VERSION, flags, HEADER.size + len(extra), 0, len(body), len(body) + len(layout), len(strings)
    )
    return head + extra + body + layout + strings
