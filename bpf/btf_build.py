"""Builds BTF: for programs that are written as text or generated, and for tests. Knows no bytes (btf_wire does)."""

from collections.abc import Sequence
from dataclasses import replace

from bpf.btf import Btf
from bpf.btf_types import (
    GLOBAL,
    INT_BOOL,
    INT_SIGNED,
    VOID,
    BtfType,
    EnumValue,
    Kind,
    Member,
    ParamType,
    SecVar,
)
from bpf.proto import CType, FuncProto


class BtfBuilder:
    """Types and strings in the making; every method adds one type and returns its id.

    Strings are shared, and so are equal C types made by `ctype`. Ids may refer to types that come later
    (`next_id`), which is how a struct can point to itself.
    """

    def __init__(self, base: Btf | None = None) -> None:
        """base: types to begin with, ids and strings as they are."""
        self._types: list[BtfType] = list(base.types) if base else [VOID]
        self._strings = bytearray(base.strings if base else b"\0")
        self._offsets: dict[str, int] = {"": 0}
        self._ctypes: dict[CType, int] = {}

    @property
    def next_id(self) -> int:
        """The id that the next type will get."""
        return len(self._types)

    def string(self, text: str) -> int:
        """Offset of `text` in the string section."""
        if text not in self._offsets:
            self._offsets[text] = len(self._strings)
            self._strings += text.encode() + b"\0"
        return self._offsets[text]

    def build(self) -> Btf:
        """What was made so far."""
        return Btf(tuple(self._types), bytes(self._strings))

    def _add(self, t: BtfType) -> int:
        self._types.append(replace(t, name_off=self.string(t.name)))
        return len(self._types) - 1

    def int_(
        self, name: str, size: int, encoding: int = 0, *, bits: int | None = None, bit_offset: int = 0
    ) -> int:
        """An integer of `size` bytes; encoding: 0 or one of `INT_SIGNED`, `INT_CHAR`, `INT_BOOL`."""
        return self._add(
            BtfType(
                Kind.INT,
                name=name,
                size=size,
                encoding=encoding,
                bits=8 * size if bits is None else bits,
                bit_offset=bit_offset,
            )
        )

    def ptr(self, to: int) -> int:
        """A pointer."""
        return self._add(BtfType(Kind.PTR, type=to))

    def array(self, element: int, index: int, count: int) -> int:
        """An array; index: id of the type of its indices (any integer)."""
        return self._add(BtfType(Kind.ARRAY, type=element, index_type=index, count=count))

    def struct(
        self, name: str, size: int, members: Sequence[tuple[str, int, int] | tuple[str, int, int, int]] = ()
    ) -> int:
        """A struct; members: (name, type id, offset in bits[, width of the bit field])."""
        return self._compound(Kind.STRUCT, name, size, members)

    def union(
        self, name: str, size: int, members: Sequence[tuple[str, int, int] | tuple[str, int, int, int]] = ()
    ) -> int:
        """A union; members as for `struct`."""
        return self._compound(Kind.UNION, name, size, members)

    def _compound(
        self,
        kind: Kind,
        name: str,
        size: int,
        members: Sequence[tuple[str, int, int] | tuple[str, int, int, int]],
    ) -> int:
        made = tuple(Member(self.string(m[0]), m[1], m[2], m[3] if len(m) == 4 else 0, m[0]) for m in members)
        return self._add(
            BtfType(kind, name=name, size=size, members=made, kind_flag=any(m.bits for m in made))
        )

    def enum(
        self, name: str, values: Sequence[tuple[str, int]], *, size: int = 4, signed: bool = False
    ) -> int:
        """An enum with values of up to 32 bits."""
        return self._enum(Kind.ENUM, name, values, size, signed)

    def enum64(
        self, name: str, values: Sequence[tuple[str, int]], *, size: int = 8, signed: bool = False
    ) -> int:
        """An enum with values of up to 64 bits."""
        return self._enum(Kind.ENUM64, name, values, size, signed)

    def _enum(self, kind: Kind, name: str, values: Sequence[tuple[str, int]], size: int, signed: bool) -> int:
        made = tuple(EnumValue(self.string(text), value, text) for text, value in values)
        return self._add(BtfType(kind, name=name, size=size, values=made, kind_flag=signed))

    def fwd(self, name: str, *, union: bool = False) -> int:
        """A struct or union that is only declared."""
        return self._add(BtfType(Kind.FWD, name=name, kind_flag=union))

    def typedef(self, name: str, of: int) -> int:
        """A typedef."""
        return self._add(BtfType(Kind.TYPEDEF, name=name, type=of))

    def const(self, of: int) -> int:
        """A const-qualified type."""
        return self._add(BtfType(Kind.CONST, type=of))

    def volatile(self, of: int) -> int:
        """A volatile type."""
        return self._add(BtfType(Kind.VOLATILE, type=of))

    def restrict(self, of: int) -> int:
        """A restrict-qualified pointer."""
        return self._add(BtfType(Kind.RESTRICT, type=of))

    def type_tag(self, text: str, of: int) -> int:
        """A type with a tag ("user", "percpu", ...)."""
        return self._add(BtfType(Kind.TYPE_TAG, name=text, type=of))

    def float_(self, name: str, size: int) -> int:
        """A floating-point type of `size` bytes."""
        return self._add(BtfType(Kind.FLOAT, name=name, size=size))

    def proto(self, ret: int, params: Sequence[tuple[str, int]]) -> int:
        """A FUNC_PROTO; params: (name, type id); ("", 0) as the last one is "..."."""
        made = tuple(ParamType(self.string(name), tid, name) for name, tid in params)
        return self._add(BtfType(Kind.FUNC_PROTO, type=ret, params=made))

    def func(self, name: str, proto: int, linkage: int = GLOBAL) -> int:
        """A function with the FUNC_PROTO `proto`; linkage: STATIC, GLOBAL or EXTERN."""
        return self._add(BtfType(Kind.FUNC, name=name, type=proto, linkage=linkage))

    def var(self, name: str, of: int, linkage: int = GLOBAL) -> int:
        """A global variable."""
        return self._add(BtfType(Kind.VAR, name=name, type=of, linkage=linkage))

    def datasec(self, name: str, size: int, variables: Sequence[tuple[int, int, int]]) -> int:
        """A section of variables; variables: (id of the VAR, offset, size) in bytes."""
        return self._add(
            BtfType(Kind.DATASEC, name=name, size=size, vars=tuple(SecVar(*v) for v in variables))
        )

    def decl_tag(self, text: str, of: int, component: int = -1) -> int:
        """A tag of a declaration, or of its member or parameter number `component`."""
        return self._add(BtfType(Kind.DECL_TAG, name=text, type=of, component=component))

    def ctype(self, t: CType) -> int:
        """Id of a C type; structs and unions are only of the right size, enums have no values, void is 0."""
        if t not in self._ctypes:
            self._ctypes[t] = self._ctype(t)
        return self._ctypes[t]

    def _ctype(self, t: CType) -> int:
        if t.const:
            return self.const(self.ctype(replace(t, const=False)))
        match t.kind:
            case "ptr":
                return self.ptr(self.ctype(t.to) if t.to else 0)
            case "void":
                return 0 if t.name in ("", "void") else self.typedef(t.name, 0)
            case "int" | "bool":
                encoding = INT_BOOL if t.kind == "bool" else INT_SIGNED if t.signed else 0
                return self.int_(t.name or t.kind, (t.bits or 8) // 8, encoding)
            case "float":
                return self.float_(t.name or "double", t.bits // 8)
            case "enum":
                tag = t.name.removeprefix("enum ")
                made = self._enum(
                    Kind.ENUM64 if t.bits > 32 else Kind.ENUM,
                    tag if t.name.startswith("enum ") else "",
                    (),
                    t.bits // 8,
                    t.signed,
                )
            case "struct" | "union":
                tag = t.name.removeprefix(f"{t.kind} ")
                kind = Kind.STRUCT if t.kind == "struct" else Kind.UNION
                made = self._compound(kind, tag if t.name.startswith(f"{t.kind} ") else "", t.bits // 8, ())
        return made if not t.name or tag != t.name or t.name == t.kind else self.typedef(t.name, made)

    def name_params(self, func: int, names: Sequence[str]) -> None:
        """Give the FUNC `func` a prototype of its own, with the same types and these names of parameters."""
        proto = self._types[self._types[func].type]
        made = self.proto(proto.type, [(n, p.type) for n, p in zip(names, proto.params, strict=True)])
        self._types[func] = replace(self._types[func], type=made)

    def function(self, proto: FuncProto, linkage: int = GLOBAL) -> int:
        """Id of a FUNC with this prototype."""
        params = [(p.name, self.ctype(p.type)) for p in proto.params]
        return self.func(proto.name, self.proto(self.ctype(proto.ret), params), linkage)
