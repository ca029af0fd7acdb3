"""Types for a debugger: those of BTF with all their members, and C types of functions that no BTF of ours describes.

Source: include/uapi/linux/btf.h and DWARF 4, chapter 5.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from bpf.btf import Btf
from bpf.btf_types import INT_BOOL, INT_CHAR, INT_SIGNED, BtfType, Kind
from bpf.errors import InputError
from bpf.proto import CType
from emu.gdb import wire
from emu.gdb.entries import (
    BYTE_SIZE,
    DECLARATION,
    FLAG,
    REF4,
    SDATA,
    TYPE,
    UDATA,
    Attribute,
    Entries,
    named,
)

_BASE, _POINTER, _STRUCT, _UNION, _ARRAY, _ENUM, _TYPEDEF, _SUBROUTINE = (
    0x24, 0x0F, 0x13, 0x17, 0x01, 0x04, 0x16, 0x15,
)  # fmt: skip
_MEMBER, _SUBRANGE, _ENUMERATOR, _PARAMETER = 0x0D, 0x21, 0x28, 0x05
_QUALIFIERS: Final = {Kind.CONST: 0x26, Kind.VOLATILE: 0x35, Kind.RESTRICT: 0x37}
_ENCODING, _BIT_SIZE, _COUNT, _MEMBER_LOCATION, _BIT_OFFSET, _CONST_VALUE = 0x3E, 0x0D, 0x37, 0x38, 0x6B, 0x1C
_BOOLEAN, _FLOAT, _SIGNED, _SIGNED_CHAR, _UNSIGNED, _UNSIGNED_CHAR = 0x02, 0x04, 0x05, 0x06, 0x07, 0x08


@dataclass(frozen=True, slots=True)
class BtfRef:
    """A type by its id. Two of the same BTF value are the same."""

    btf: Btf
    id: int

    def __hash__(self) -> int:
        return hash((id(self.btf), self.id))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BtfRef) and self.btf is other.btf and self.id == other.id


AnyType = CType | BtfRef


class Types:
    """Entries of the types that are referred to; they are written when all references are known."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._known: set[Hashable] = set()
        self._waiting: list[AnyType] = []

    def reference(self, kind: AnyType | None) -> list[Attribute]:
        """DW_AT_type, nothing for void."""
        if kind is None or self._is_void(kind):
            return []
        if kind not in self._known:
            self._known.add(kind)
            self._waiting.append(kind)
        return [(TYPE, REF4, kind)]

    def write(self) -> None:
        """Append all entries that were referred to, and those that they refer to."""
        while self._waiting:
            kind = self._waiting.pop()
            if isinstance(kind, CType):
                self._c_type(kind)
            else:
                self._btf_type(kind, kind.btf.type(kind.id))

    @staticmethod
    def _is_void(kind: AnyType) -> bool:
        if isinstance(kind, CType):
            return kind.kind == "void"
        try:
            return kind.btf.type(kind.btf.resolve(kind.id)).kind in (
                Kind.VOID, Kind.VAR, Kind.DATASEC, Kind.DECL_TAG, Kind.FUNC,
            )  # fmt: skip
        except InputError:
            return True  # nothing is known of it

    def _c_type(self, kind: CType) -> None:
        size = _size(8 if kind.kind == "ptr" else max(kind.bits // 8, 1))
        match kind.kind:
            case "ptr":
                self._entries.add(_POINTER, size, *self.reference(kind.to), key=kind)
                return
            case "struct" | "union":
                tag = _STRUCT if kind.kind == "struct" else _UNION
                name = kind.name.removeprefix(kind.kind).strip()
                self._entries.add(tag, *named(name), (DECLARATION, FLAG, b""), key=kind)
                return
            case "bool":
                encoding = _BOOLEAN
            case "float":
                encoding = _FLOAT
            case _:
                encoding = _SIGNED if kind.signed else _UNSIGNED
        self._entries.add(_BASE, size, _encoding(encoding), *named(kind.name or kind.kind), key=kind)

    def _btf_type(self, ref: BtfRef, kind: BtfType) -> None:
        add, to = self._entries.add, self.reference(BtfRef(ref.btf, kind.type))
        match kind.kind:
            case Kind.INT | Kind.FLOAT:
                add(_BASE, _size(kind.size), _encoding(_number_kind(kind)), *named(kind.name), key=ref)
            case Kind.PTR:
                add(_POINTER, _size(8), *to, key=ref)
            case Kind.STRUCT | Kind.UNION:
                self._struct(ref, kind)
            case Kind.FWD:
                tag = _UNION if kind.kind_flag else _STRUCT
                add(tag, *named(kind.name), (DECLARATION, FLAG, b""), key=ref)
            case Kind.ENUM | Kind.ENUM64:
                add(_ENUM, _size(kind.size), *named(kind.name), children=True, key=ref)
                for value in kind.values:
                    add(_ENUMERATOR, *named(value.name), (_CONST_VALUE, SDATA, wire.sleb(value.value)))
                self._entries.end()
            case Kind.ARRAY:
                add(_ARRAY, *to, children=True, key=ref)
                index = self.reference(BtfRef(ref.btf, kind.index_type))
                add(_SUBRANGE, *index, (_COUNT, UDATA, wire.uleb(kind.count)))
                self._entries.end()
            case Kind.FUNC_PROTO:
                add(_SUBROUTINE, *to, children=True, key=ref)
                for param in kind.params:
                    add(_PARAMETER, *self.reference(BtfRef(ref.btf, param.type)))
                self._entries.end()
            case Kind.CONST | Kind.VOLATILE | Kind.RESTRICT:
                add(_QUALIFIERS[kind.kind], *to, key=ref)
            case _:  # a typedef, or a tag, which is one without a name of its own
                add(_TYPEDEF, *named(kind.name), *to, key=ref)

    def _struct(self, ref: BtfRef, kind: BtfType) -> None:
        tag = _UNION if kind.kind is Kind.UNION else _STRUCT
        self._entries.add(tag, _size(kind.size), *named(kind.name), children=True, key=ref)
        for member in kind.members:
            place: list[Attribute] = [(_MEMBER_LOCATION, UDATA, wire.uleb(member.offset // 8))]
            if member.bits:
                place = [
                    (_BIT_SIZE, UDATA, wire.uleb(member.bits)),
                    (_BIT_OFFSET, UDATA, wire.uleb(member.offset)),
                ]
            self._entries.add(
                _MEMBER, *named(member.name), *self.reference(BtfRef(ref.btf, member.type)), *place
            )
        self._entries.end()


def _size(size: int) -> Attribute:
    return (BYTE_SIZE, UDATA, wire.uleb(size))


def _encoding(encoding: int) -> Attribute:
    return (_ENCODING, UDATA, wire.uleb(encoding))


def _number_kind(kind: BtfType) -> int:
    if kind.kind is Kind.FLOAT:
        return _FLOAT
    if kind.encoding & INT_BOOL:
        return _BOOLEAN
    signed = kind.encoding & INT_SIGNED
    if kind.encoding & INT_CHAR or (kind.size == 1 and "char" in kind.name):
        return _SIGNED_CHAR if signed else _UNSIGNED_CHAR
    return _SIGNED if signed else _UNSIGNED
