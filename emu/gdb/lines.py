"""The line number table of DWARF: which line an address belongs to. Source: DWARF 4, section 6.2."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emu.gdb import wire

_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE, _PROLOGUE_END = 1, 2, 3, 4, 10
_END_SEQUENCE, _SET_ADDRESS = 1, 2
_OPERANDS: Final = bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1))  # of the standard opcodes
_OPCODE_BASE: Final = len(_OPERANDS) + 1


@dataclass(frozen=True, slots=True)
class Row:
    """From `addr` on the code belongs to a line. file: number from 1. body: the first instruction behind a prologue."""

    addr: int
    file: int
    line: int
    body: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """The rows of one function, ascending, and its end."""

    rows: tuple[Row, ...]
    end: int


def debug_line(files: Sequence[str], sequences: Sequence[Code]) -> bytes:
    """The section for one compilation unit. files: relative to its directory, or absolute."""
    listed = b"".join(wire.text(name) + wire.uleb(0) * 3 for name in files) + b"\0"
    # one byte an instruction; every row begins a statement; special opcodes are not used, but have a shape
    header = bytes((1, 1, 1, 256 - 5, 14, _OPCODE_BASE)) + _OPERANDS + b"\0" + listed
    program = b"".join(map(_program, sequences))
    return wire.unit(wire.number(4, 2) + wire.unit(header) + program)


def _program(sequence: Code) -> bytes:
    out = bytearray()
    addr, file, line = 0, 1, 1
    for number, row in enumerate(sequence.rows):
        out += _set_address(row.addr) if not number else bytes((_ADVANCE_PC,)) + wire.uleb(row.addr - addr)
        if row.file != file:
            out += bytes((_SET_FILE,)) + wire.uleb(row.file)
        if row.line != line:
            out += bytes((_ADVANCE_LINE,)) + wire.sleb(row.line - line)
        if row.body:
            out.append(_PROLOGUE_END)
        out.append(_COPY)
        addr, file, line = row.addr, row.file, row.line
    out += bytes((_ADVANCE_PC,)) + wire.uleb(sequence.end - addr)
    return bytes(out) + _extended(_END_SEQUENCE)


def _set_address(addr: int) -> bytes:
    return _extended(_SET_ADDRESS, wire.address(addr))


def _extended(opcode: int, operand: bytes = b"") -> bytes:
    return b"\0" + wire.uleb(1 + len(operand)) + bytes((opcode,)) + operand
