"""Call frame information of DWARF: how to find the caller's frame from any instruction. Source: DWARF 4, section 6.4.

What a function's frame looks like at each instruction is what `jit.frame` says; here it is only written down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from emu.gdb import wire
from jit.frame import Frame

# DWARF's numbers of the registers, System V ABI for x86-64, figure 3.36
NUMBERS: Final = {
    name: number
    for number, name in enumerate(
        ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip")
    )
}
_LOST: Final = ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")  # a call takes them away
_CODE_UNIT, _DATA_UNIT = 1, -8
_ADVANCE, _OFFSET = 0x40, 0x80
_ADVANCE4, _UNDEFINED, _SAME, _DEF_CFA = 0x04, 0x07, 0x08, 0x0C
_CIE: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Row:
    """From `off` on: the CFA is reg + add; saved: register -> offset from the CFA. No saved rip: there is no caller."""

    off: int
    reg: str
    add: int
    saved: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Function:
    """The rows of [addr, addr + size), ascending, the first at 0."""

    addr: int
    size: int
    rows: Sequence[Row]


def rows_of(frame: Frame) -> list[Row]:
    """What an unwinder needs to know of a compiled function."""
    rows: list[Row] = []
    for off in frame.changes():
        cfi = frame.cfi(off)
        row = Row(off, cfi.cfa.reg, cfi.cfa.off or 0, cfi.saved)
        if not rows or (row.reg, row.add, row.saved) != (rows[-1].reg, rows[-1].add, rows[-1].saved):
            rows.append(row)
    return rows


def debug_frame(functions: Sequence[Function]) -> bytes:
    """The section."""
    rip = NUMBERS["rip"]
    start = (
        bytes((_DEF_CFA,)) + wire.uleb(NUMBERS["rsp"]) + wire.uleb(8) + bytes((_OFFSET | rip,)) + wire.uleb(1)
    )
    start += b"".join(bytes((_UNDEFINED,)) + wire.uleb(NUMBERS[reg]) for reg in _LOST)
    head = wire.number(_CIE, 4) + b"\3" + wire.text("") + wire.uleb(_CODE_UNIT) + wire.sleb(_DATA_UNIT)
    out = wire.unit(_padded(head + wire.uleb(rip) + start))
    for function in functions:
        body = wire.number(0, 4) + wire.address(function.addr) + wire.address(function.size)
        out += wire.unit(_padded(body + _program(function.rows)))
    return out


def _padded(body: bytes) -> bytes:
    """DW_CFA_nop up to a multiple of the size of an address, the length in front counted."""
    return body + bytes(-(len(body) + 4) % wire.ADDRESS)


def _program(rows: Sequence[Row]) -> bytes:
    out = bytearray()
    at, cfa, known = 0, ("rsp", 8), {"rip": -8}
    for row in rows:
        out += _advance(row.off - at)
        if (row.reg, row.add) != cfa:
            out += bytes((_DEF_CFA,)) + wire.uleb(NUMBERS[row.reg]) + wire.uleb(row.add)
        for reg, where in row.saved.items():
            if known.get(reg) != where:
                out += bytes((_OFFSET | NUMBERS[reg],)) + wire.uleb(where // _DATA_UNIT)
        for reg in sorted(known.keys() - row.saved.keys()):
            out += bytes((_UNDEFINED if reg == "rip" else _SAME,)) + wire.uleb(NUMBERS[reg])
        at, cfa, known = row.off, (row.reg, row.add), dict(row.saved)
    return bytes(out)


def _advance(by: int) -> bytes:
    if not by:
        return b""
    return bytes((_ADVANCE | by,)) if by < _ADVANCE else bytes((_ADVANCE4,)) + wire.number(by, 4)
