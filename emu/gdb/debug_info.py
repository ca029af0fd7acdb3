"""What a debugger knows of functions and variables: names, types, and where each is while it is there.

Writes .debug_info with its tables; knows types and places, not how they were found out. Source: DWARF 4, chapters 2 and 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emu.gdb import wire
from emu.gdb.entries import (
    ADDR,
    DATA2,
    DATA8,
    EXPRLOC,
    FLAG,
    NAME,
    SEC_OFFSET,
    STRING,
    UDATA,
    Attribute,
    Entries,
    block,
    named,
)
from emu.gdb.types import AnyType, Types

_COMPILE_UNIT, _SUBPROGRAM, _PARAMETER, _VARIABLE = 0x11, 0x2E, 0x05, 0x34
_LOCATION, _STMT_LIST, _LOW_PC, _HIGH_PC, _LANGUAGE, _COMP_DIR, _PRODUCER, _PROTOTYPED = (
    0x02, 0x10, 0x11, 0x12, 0x13, 0x1B, 0x25, 0x27,
)  # fmt: skip
_DECL_FILE, _DECL_LINE, _EXTERNAL, _FRAME_BASE, _RANGES = 0x3A, 0x3B, 0x3F, 0x40, 0x55
_C99: Final = 0x0C
_OP_ADDR, _OP_REG0, _OP_FBREG, _OP_CALL_FRAME_CFA = 0x03, 0x50, 0x91, 0x9C


@dataclass(frozen=True, slots=True)
class Where:
    """A place: a register (its DWARF number), memory at an address, or memory at the CFA plus an offset.

    [low, high): while it holds; high 0: always.
    """

    register: int | None = None
    cfa: int = 0
    address: int | None = None
    low: int = 0
    high: int = 0

    @property
    def expression(self) -> bytes:
        """In DWARF's language."""
        if self.register is not None:
            return bytes((_OP_REG0 + self.register,))
        if self.address is not None:
            return bytes((_OP_ADDR,)) + wire.address(self.address)
        return bytes((_OP_FBREG,)) + wire.sleb(self.cfa)


@dataclass(frozen=True, slots=True)
class Variable:
    """An argument, or something else with a name. where: None if it is nowhere as a whole."""

    name: str
    type: AnyType
    where: Where | None


@dataclass(frozen=True, slots=True)
class Function:
    """ret: None where it is unknown. file: number from 1, 0 for none."""

    name: str
    addr: int
    size: int
    ret: AnyType | None
    parameters: tuple[Variable, ...] = ()
    variables: tuple[Variable, ...] = ()
    file: int = 0
    line: int = 0
    external: bool = True


@dataclass(frozen=True, slots=True)
class Unit:
    """All there is to tell. ranges: [low, high) of code. variables: of all functions."""

    name: str
    folder: str
    producer: str
    functions: Sequence[Function]
    ranges: Sequence[tuple[int, int]]
    variables: Sequence[Variable] = ()


def sections(unit: Unit) -> dict[str, bytes]:
    """.debug_info, .debug_abbrev, .debug_loc and .debug_ranges."""
    return _Writer().write(unit)


class _Writer:
    def __init__(self) -> None:
        self._entries = Entries()
        self._types = Types(self._entries)
        self._locations = bytearray()

    def write(self, unit: Unit) -> dict[str, bytes]:
        self._entries.add(
            _COMPILE_UNIT,
            (_PRODUCER, STRING, wire.text(unit.producer)),
            (_LANGUAGE, DATA2, wire.number(_C99, 2)),
            (NAME, STRING, wire.text(unit.name)),
            (_COMP_DIR, STRING, wire.text(unit.folder)),
            (_LOW_PC, ADDR, wire.address(0)),  # so that places are told by their own addresses
            (_RANGES, SEC_OFFSET, wire.number(0, 4)),
            (_STMT_LIST, SEC_OFFSET, wire.number(0, 4)),
            children=True,
        )
        for function in unit.functions:
            self._function(function)
        for variable in unit.variables:
            self._variable(_VARIABLE, variable, (_EXTERNAL, FLAG, b""))
        self._types.write()
        self._entries.end()
        info, abbrev = self._entries.sections()
        ranges = b"".join(wire.address(low) + wire.address(high) for low, high in unit.ranges)
        return {
            ".debug_info": info,
            ".debug_abbrev": abbrev,
            ".debug_loc": bytes(self._locations),
            ".debug_ranges": ranges + bytes(16),
        }

    def _function(self, function: Function) -> None:
        attributes: list[Attribute] = [
            (NAME, STRING, wire.text(function.name)),
            (_PROTOTYPED, FLAG, b""),
            (_LOW_PC, ADDR, wire.address(function.addr)),
            (_HIGH_PC, DATA8, wire.number(function.size, 8)),
            (_FRAME_BASE, EXPRLOC, block(bytes((_OP_CALL_FRAME_CFA,)))),
        ]
        if function.external:
            attributes.append((_EXTERNAL, FLAG, b""))
        if function.file:
            attributes.append((_DECL_FILE, UDATA, wire.uleb(function.file)))
            attributes.append((_DECL_LINE, UDATA, wire.uleb(function.line)))
        attributes += self._types.reference(function.ret)
        inside = [(_PARAMETER, one) for one in function.parameters]
        inside += [(_VARIABLE, one) for one in function.variables]
        self._entries.add(_SUBPROGRAM, *attributes, children=bool(inside))
        for tag, one in inside:
            self._variable(tag, one)
        if inside:
            self._entries.end()

    def _variable(self, tag: int, one: Variable, *more: Attribute) -> None:
        attributes = [*named(one.name), *self._types.reference(one.type), *more]
        if one.where is not None:
            attributes.append(self._location(one.where))
        self._entries.add(tag, *attributes)

    def _location(self, where: Where) -> Attribute:
        if not where.high:
            return (_LOCATION, EXPRLOC, block(where.expression))
        at = len(self._locations)
        expression = where.expression
        self._locations += wire.address(where.low) + wire.address(where.high)
        self._locations += wire.number(len(expression), 2) + expression + bytes(16)
        return (_LOCATION, SEC_OFFSET, wire.number(at, 4))
