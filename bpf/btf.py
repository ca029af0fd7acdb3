"""BTF as a value: types by id, and what the other stages ask of them. Knows no bytes (btf_wire does).

Nothing here judges as the kernel's BTF checker would: that a blob parses does not mean that it would load.
"""

from dataclasses import dataclass, field
from typing import Self

from bpf import btf_wire
from bpf.btf_types import (
    EXTERN,
    GLOBAL,
    INT_BOOL,
    INT_CHAR,
    INT_SIGNED,
    MODIFIERS,
    REFERENCES,
    SIZED,
    STATIC,
    VOID,
    BtfType,
    EnumValue,
    Kind,
    Member,
    ParamType,
    SecVar,
)
from bpf.errors import InputError
from bpf.proto import CType, FuncProto, Param

__all__ = [
    "EXTERN",
    "GLOBAL",
    "INT_BOOL",
    "INT_CHAR",
    "INT_SIGNED",
    "MODIFIERS",
    "REFERENCES",
    "SIZED",
    "STATIC",
    "VOID",
    "Btf",
    "BtfType",
    "EnumValue",
    "Kind",
    "Member",
    "ParamType",
    "SecVar",
]

# The kernel follows at most 32 references (MAX_RESOLVE_DEPTH); so many of each sort are followed here too.
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Btf:
    """Parsed BTF. types: by type id, types[0] is void. strings: the string section as it came.

    what: names the source in errors. flags, extra, layout: of the header and the layout section, as they came.
    """

    types: tuple[BtfType, ...] = (VOID,)
    strings: bytes = b"\0"
    what: str = field(default="BTF", compare=False)
    flags: int = 0
    extra: bytes = b""
    layout: bytes = b""
    _names: dict[tuple[Kind, str], int] = field(init=False, repr=False, compare=False)
    _tags: dict[int, list[tuple[str, int]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names: dict[tuple[Kind, str], int] = {}
        tags: dict[int, list[tuple[str, int]]] = {}
        for tid, t in enumerate(self.types):
            if t.name:
                names.setdefault((t.kind, t.name), tid)
            if t.kind is Kind.DECL_TAG:
                tags.setdefault(t.type, []).append((t.name, t.component))
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_tags", tags)

    @classmethod
    def parse(cls, blob: bytes, what: str = "BTF") -> Self:
        """Reads a blob, little-endian. Raises InputError, which says what is malformed and where."""
        parts = btf_wire.parse(bytes(blob), what)
        return cls(parts.types, parts.strings, what, parts.flags, parts.extra, parts.layout)

    def raw(self) -> bytes:
        """The blob; the very bytes that were parsed."""
        return btf_wire.write(self.types, self.strings, self.flags, self.extra, self.layout)

    def type(self, tid: int) -> BtfType:
        """The type with id `tid`. Raises InputError when there is none."""
        if not 0 <= tid < len(self.types):
            raise InputError(self.what, f"type {tid}", f"no such type id, there are {len(self.types)}")
        return self.types[tid]

    def find(self, name: str, kind: Kind) -> int | None:
        """Id of the first type of this kind and name, or None."""
        return self._names.get((kind, name))

    def decl_tags(self, tid: int) -> list[tuple[str, int]]:
        """(text, component) of the declaration tags of a type, in the order of their ids; component -1 is the type itself."""
        return list(self._tags.get(tid, ()))

    def resolve(self, tid: int) -> int:
        """Id of the type behind typedefs, qualifiers and type tags. Raises InputError when they go round in a circle."""
        if 0 <= tid < len(self.types) and self.types[tid].kind not in MODIFIERS:
            return tid
        at = tid
        for _ in range(len(self.types) + 1):
            t = self.type(at)
            if t.kind not in MODIFIERS:
                return at
            at = t.type
        raise InputError(self.what, f"type {tid}", "its typedefs and qualifiers go round in a circle")

    def size_of(self, tid: int) -> int:
        """Size in bytes of a value (void: 0; FUNC and FUNC_PROTO have none). Raises InputError when it has no size."""
        at, count = tid, 1
        for _ in range(_MAX_DEPTH):
            at = self.resolve(at)
            t = self.types[at]
            if t.kind in SIZED:
                return count * t.size
            match t.kind:
                case Kind.VOID:
                    return 0
                case Kind.PTR:
                    return count * 8
                case Kind.ARRAY:
                    count *= t.count
                    at = t.type
                case Kind.VAR:
                    at = t.type
                case _:
                    raise InputError(self.what, f"type {tid}", f"{t.kind.name} has no size")
        raise InputError(self.what, f"type {tid}", f"its size needs more than {_MAX_DEPTH} steps")

    def ctype(self, tid: int) -> CType:
        """The C type of a parameter, result or variable. Raises InputError for ids that are no such type."""
        levels: list[bool] = []  # const of each pointer passed
        at = tid
        for _ in range(_MAX_DEPTH):
            end, name, const = self._strip(at)
            t = self.types[end]
            if t.kind is not Kind.PTR:
                made = self._value_type(end, t, name, const)
                for pointer_const in reversed(levels):
                    made = CType("ptr", "", 64, to=made, const=pointer_const)
                return made
            levels.append(const)
            at = t.type
        raise InputError(self.what, f"type {tid}", f"pointer to pointer more than {_MAX_DEPTH} deep")

    def _strip(self, tid: int) -> tuple[int, str, bool]:
        """(id behind modifiers, outermost typedef name or "", const seen)."""
        end = self.resolve(tid)
        at, name, const = tid, "", False
        while at != end:
            t = self.types[at]
            if t.kind is Kind.TYPEDEF and not name:
                name = t.name
            const |= t.kind is Kind.CONST
            at = t.type
        return end, name, const

    def _value_type(self, tid: int, t: BtfType, name: str, const: bool) -> CType:
        match t.kind:
            case Kind.VOID:
                return CType("void", name or "void", const=const)
            case Kind.INT:
                kind = "bool" if t.encoding & INT_BOOL else "int"
                return CType(kind, name or t.name, 8 * t.size, bool(t.encoding & INT_SIGNED), const=const)  # type: ignore[arg-type] # mypy widens the conditional to str
            case Kind.ENUM | Kind.ENUM64:
                return CType("enum", name or f"enum {t.name}".rstrip(), 8 * t.size, t.kind_flag, const=const)
            case Kind.STRUCT:
                return CType("struct", name or f"struct {t.name}".rstrip(), 8 * t.size, const=const)
            case Kind.UNION:
                return CType("union", name or f"union {t.name}".rstrip(), 8 * t.size, const=const)
            case Kind.FWD:
                word = "union" if t.kind_flag else "struct"
                return CType("union" if t.kind_flag else "struct", name or f"{word} {t.name}", const=const)
            case Kind.FLOAT:
                return CType("float", name or t.name, 8 * t.size, const=const)
            case Kind.ARRAY:
                # Only behind a pointer: memory of that size, which callees see as a struct without members.
                return CType(
                    "struct",
                    name or f"{self.types[self.resolve(t.type)].name}[{t.count}]",
                    8 * self.size_of(tid),
                    const=const,
                )
            case Kind.FUNC_PROTO:
                # Only behind a pointer: nothing can be loaded from there.
                return CType("void", name or "void", const=const)
            case _:
                raise InputError(self.what, f"type {tid}", f"{t.kind.name} is no type of a value")

    def prototype(self, tid: int) -> FuncProto:
        """Prototype of a FUNC (with its name) or FUNC_PROTO type id; "..." is left out.

        However many parameters it has: that more than 12 are too many is the verifier's to say.
        """
        name, result, params = self._function(tid)
        return FuncProto(name, self.ctype(result), tuple(Param(p.name, self.ctype(p.type)) for p in params))

    def arity(self, tid: int) -> int:
        """How many parameters `prototype` has, which is quicker to say. Raises InputError where it does."""
        _, result, params = self._function(tid)
        for one in (result, *(param.type for param in params)):
            if self.types[self.resolve(one)].kind is not Kind.INT:
                self.ctype(one)
        return len(params)

    def _function(self, tid: int) -> tuple[str, int, tuple[ParamType, ...]]:
        """Name, result and parameters of a FUNC or FUNC_PROTO."""
        t = self.type(tid)
        name = ""
        if t.kind is Kind.FUNC:
            name, tid, t = t.name, t.type, self.type(t.type)
        if t.kind is not Kind.FUNC_PROTO:
            raise InputError(self.what, f"type {tid}", f"{t.kind.name} is no function")
        return name, t.type, t.params[:-1] if t.params and t.params[-1] == ParamType(0, 0) else t.params

    def linkage(self, tid: int) -> int:
        """Linkage of a FUNC or VAR: 0 static, 1 global, 2 extern."""
        t = self.type(tid)
        if t.kind not in (Kind.FUNC, Kind.VAR):
            raise InputError(self.what, f"type {tid}", f"{t.kind.name} has no linkage")
        return t.linkage
