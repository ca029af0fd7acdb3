"""The 19 kinds of BTF types as values. Knows neither bytes (btf_wire) nor lookups (btf).

Source: Linux include/uapi/linux/btf.h and Documentation/bpf/btf.rst.
"""

from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """BTF_KIND_*; VOID is type id 0, which is never written."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# kinds whose third word is a size in bytes
SIZED = frozenset({Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.DATASEC, Kind.FLOAT, Kind.ENUM64})
# kinds that only decorate or rename the type they refer to
MODIFIERS = frozenset({Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})
# kinds whose third word is a type id
REFERENCES = MODIFIERS | {Kind.PTR, Kind.FUNC, Kind.FUNC_PROTO, Kind.VAR, Kind.DECL_TAG}

INT_SIGNED = 1
INT_CHAR = 2
INT_BOOL = 4

STATIC = 0
GLOBAL = 1
EXTERN = 2


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct or union. offset: in bits; bits: width of a bit field, 0 = none."""

    name_off: int
    type: int
    offset: int
    bits: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class EnumValue:
    """An enumerator; value is negative only in signed enums."""

    name_off: int
    value: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class ParamType:
    """A parameter of a FUNC_PROTO; type 0 as the last one means "and more" (...)."""

    name_off: int
    type: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class SecVar:
    """A variable (or extern function) of a DATASEC. offset, size: in bytes."""

    type: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class BtfType:
    """One type.

    name, name_off: text and its offset in the string section (0 = anonymous).
    size: bytes, of `SIZED` kinds. type: of `REFERENCES` kinds the id they refer to (FUNC_PROTO: what it
    returns), of ARRAY the element's.
    kind_flag: signed (ENUM, ENUM64), union (FWD), has bit fields (STRUCT, UNION), attribute (tags).
    encoding, bit_offset, bits: of INT. index_type, count: of ARRAY. linkage: of FUNC and VAR.
    component: of DECL_TAG, -1 = the type itself, else index of a member or parameter.
    """

    kind: Kind
    name_off: int = 0
    name: str = ""
    kind_flag: bool = False
    size: int = 0
    type: int = 0
    encoding: int = 0
    bit_offset: int = 0
    bits: int = 0
    index_type: int = 0
    count: int = 0
    linkage: int = 0
    component: int = -1
    members: tuple[Member, ...] = ()
    values: tuple[EnumValue, ...] = ()
    params: tuple[ParamType, ...] = ()
    vars: tuple[SecVar, ...] = ()


VOID = BtfType(Kind.VOID, name="void")
