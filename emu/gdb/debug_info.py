"""What a debugger knows of functions: names, types, and where each argument is while it is there. Source: DWARF 4, chapter 7.

Writes .debug_info with its tables; knows types and places, not how they were found out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bpf.proto import CType
from emu.gdb import wire

_COMPILE_UNIT, _SUBPROGRAM, _PARAMETER, _VARIABLE = 0x11, 0x2E, 0x05, 0x34
_BASE, _POINTER, _STRUCT, _UNION = 0x24, 0x0F, 0x13, 0x17
(_NAME, _LOCATION, _BYTE_SIZE, _STMT_LIST, _LOW_PC, _HIGH_PC, _LANGUAGE, _COMP_DIR, _PRODUCER, _PROTOTYPED) = (
    0x03, 0x02, 0x0B, 0x10, 0x11, 0x12, 0x13, 0x1B, 0x25, 0x27,
)  # fmt: skip
_DECL_FILE, _DECL_LINE, _DECLARATION, _ENCODING, _EXTERNAL, _FRAME_BASE, _TYPE, _RANGES = (
    0x3A, 0x3B, 0x3C, 0x3E, 0x3F, 0x40, 0x49, 0x55,
)  # fmt: skip
_ADDR, _DATA2, _DATA8, _STRING, _UDATA, _REF4, _SEC_OFFSET, _EXPRLOC, _FLAG = (
    0x01, 0x05, 0x07, 0x08, 0x0F, 0x13, 0x17, 0x18, 0x19,
)  # fmt: skip
_BOOLEAN, _FLOAT, _SIGNED, _UNSIGNED = 0x02, 0x04, 0x05, 0x07
_C99: Final = 0x0C
_REG0, _FBREG, _CALL_FRAME_CFA = 0x50, 0x91, 0x9C
_CU_HEADER: Final = 11  # bytes in front of the first entry

Attribute = tuple[int, int, bytes]  # name, form, value


@dataclass(frozen=True, slots=True)
class Where:
    """A place: a register (its DWARF number), or memory at the CFA plus an offset. [low, high): while it holds; high 0: always."""

    register: int | None = None
    cfa: int = 0
    low: int = 0
    high: int = 0

    @property
    def expression(self) -> bytes:
        """In DWARF's language."""
        if self.register is not None:
            return bytes((_REG0 + self.register,))
        return bytes((_FBREG,)) + wire.sleb(self.cfa)


@dataclass(frozen=True, slots=True)
class Variable:
    """An argument, or something else with a name. where: None if it is nowhere as a whole."""

    name: str
    type: CType
    where: Where | None


@dataclass(frozen=True, slots=True)
class Function:
    """ret: None where it is unknown. file: number from 1, 0 for none."""

    name: str
    addr: int
    size: int
    ret: CType | None
    parameters: tuple[Variable, ...] = ()
    variables: tuple[Variable, ...] = ()
    file: int = 0
    line: int = 0
    external: bool = True


@dataclass(frozen=True, slots=True)
class Unit:
    """All there is to tell. ranges: [low, high) of code."""

    name: str
    folder: str
    producer: str
    functions: Sequence[Function]
    ranges: Sequence[tuple[int, int]]


def sections(unit: Unit) -> dict[str, bytes]:
    """.debug_info, .debug_abbrev, .debug_loc and .debug_ranges."""
    return _Writer().write(unit)


class _Writer:
    def __init__(self) -> None:
        self._out = bytearray()
        self._abbreviations: dict[tuple[int, bool, tuple[tuple[int, int], ...]], int] = {}
        self._locations = bytearray()
        self._types: dict[tuple[object, ...], int] = {}

    def write(self, unit: Unit) -> dict[str, bytes]:
        self._entry(
            _COMPILE_UNIT,
            (_PRODUCER, _STRING, wire.text(unit.producer)),
            (_LANGUAGE, _DATA2, wire.number(_C99, 2)),
            (_NAME, _STRING, wire.text(unit.name)),
            (_COMP_DIR, _STRING, wire.text(unit.folder)),
            (_LOW_PC, _ADDR, wire.address(0)),  # so that places are told by their own addresses
            (_RANGES, _SEC_OFFSET, wire.number(0, 4)),
            (_STMT_LIST, _SEC_OFFSET, wire.number(0, 4)),
            children=True,
        )
        for function in unit.functions:
            self._function(function)
        self._out.append(0)
        header = wire.number(4, 2) + wire.number(0, 4) + bytes((wire.ADDRESS,))
        ranges = b"".join(wire.address(low) + wire.address(high) for low, high in unit.ranges)
        return {
            ".debug_info": wire.unit(header + bytes(self._out)),
            ".debug_abbrev": self._table(),
            ".debug_loc": bytes(self._locations),
            ".debug_ranges": ranges + bytes(16),
        }

    # ---- entries

    def _entry(self, tag: int, *attributes: Attribute, children: bool = False) -> int:
        """Append an entry; its offset in the unit."""
        at = _CU_HEADER + len(self._out)
        shape = (tag, children, tuple((name, form) for name, form, _ in attributes))
        code = self._abbreviations.setdefault(shape, len(self._abbreviations) + 1)
        self._out += wire.uleb(code) + b"".join(value for _, _, value in attributes)
        return at

    def _table(self) -> bytes:
        out = b""
        for (tag, children, shape), code in self._abbreviations.items():
            out += wire.uleb(code) + wire.uleb(tag) + bytes((children,))
            out += b"".join(wire.uleb(name) + wire.uleb(form) for name, form in shape) + b"\0\0"
        return out + b"\0"

    def _function(self, function: Function) -> None:
        inside = [(_PARAMETER, one, self._type(one.type)) for one in function.parameters]
        inside += [(_VARIABLE, one, self._type(one.type)) for one in function.variables]
        attributes: list[Attribute] = [
            (_NAME, _STRING, wire.text(function.name)),
            (_PROTOTYPED, _FLAG, b""),
            (_LOW_PC, _ADDR, wire.address(function.addr)),
            (_HIGH_PC, _DATA8, wire.number(function.size, 8)),
            (_FRAME_BASE, _EXPRLOC, _block(bytes((_CALL_FRAME_CFA,)))),
        ]
        if function.external:
            attributes.append((_EXTERNAL, _FLAG, b""))
        if function.file:
            attributes.append((_DECL_FILE, _UDATA, wire.uleb(function.file)))
            attributes.append((_DECL_LINE, _UDATA, wire.uleb(function.line)))
        result = self._type(function.ret) if function.ret is not None else None
        attributes += _reference(result)
        self._entry(_SUBPROGRAM, *attributes, children=bool(inside))
        for tag, one, kind in inside:
            shown = [(_NAME, _STRING, wire.text(one.name)), *_reference(kind)]
            if one.where is not None:
                shown.append(self._location(one.where))
            self._entry(tag, *shown)
        if inside:
            self._out.append(0)

    def _location(self, where: Where) -> Attribute:
        if not where.high:
            return (_LOCATION, _EXPRLOC, _block(where.expression))
        at = len(self._locations)
        expression = where.expression
        self._locations += wire.address(where.low) + wire.address(where.high)
        self._locations += wire.number(len(expression), 2) + expression + bytes(16)
        return (_LOCATION, _SEC_OFFSET, wire.number(at, 4))

    # ---- types

    def _type(self, kind: CType) -> int | None:
        """The offset of a type's entry, None for void. Types stand in front of the functions that name them."""
        if kind.kind == "void":
            return None
        target = self._type(kind.to) if kind.kind == "ptr" and kind.to is not None else None
        key = (kind.kind, target) if kind.kind == "ptr" else (kind.kind, kind.name, kind.bits, kind.signed)
        found = self._types.get(key)
        if found is None:
            found = self._types[key] = self._new_type(kind, target)
        return found

    def _new_type(self, kind: CType, target: int | None) -> int:
        size = (_BYTE_SIZE, _UDATA, wire.uleb(8 if kind.kind == "ptr" else max(kind.bits // 8, 1)))
        match kind.kind:
            case "ptr":
                return self._entry(_POINTER, size, *_reference(target))
            case "struct" | "union":
                tag = _STRUCT if kind.kind == "struct" else _UNION
                name = kind.name.removeprefix(kind.kind).strip()
                return self._entry(tag, (_NAME, _STRING, wire.text(name)), (_DECLARATION, _FLAG, b""))
            case "bool":
                encoding = _BOOLEAN
            case "float":
                encoding = _FLOAT
            case _:
                encoding = _SIGNED if kind.signed else _UNSIGNED
        called = (_NAME, _STRING, wire.text(kind.name or kind.kind))
        return self._entry(_BASE, size, (_ENCODING, _UDATA, wire.uleb(encoding)), called)


def _reference(target: int | None) -> list[Attribute]:
    return [] if target is None else [(_TYPE, _REF4, wire.number(target, 4))]


def _block(data: bytes) -> bytes:
    return wire.uleb(len(data)) + data
