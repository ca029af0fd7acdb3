"""Calls of helpers and kfuncs, written down while a program runs and put into words afterwards.

A row holds what the callee found; turning addresses into `Pointer`s waits until the run is over, because it would
cost more than the call itself.
"""

from dataclasses import dataclass
from typing import Any

from bpf import isa
from emu.interp.layout import FUNC_BASE, STACK_SPACING
from emu.outcome import CODE, CODE_SIZE, CallRecord, Entry, Pointer

LIMIT = 100_000  # rows of one run; later calls are only counted, so that a loop cannot fill the memory
ENTRY_LIMIT = 8192  # calls of functions of the program


@dataclass(slots=True, eq=False)
class Row:
    """insn: of the call; frame: depth of the caller; functions: starts of the caller's program, for `Pointer`s."""

    insn: int
    callee: str
    kind: str
    args: tuple[int, ...]
    frame: int
    functions: tuple[int, ...]
    ret: int = 0


@dataclass(slots=True, eq=False)
class EntryRow:
    """A call of a function of the program: its start, r1 to r5 and the stack arguments; the rest as in `Row`."""

    insn: int
    start: int
    args: tuple[Any, ...]
    frame: int
    functions: tuple[int, ...]
    after: int
    ret: Any = None


class Recorder:
    """Rows of one run, in the order in which the calls were made. top: frame pointer of the main program."""

    def __init__(self, top: int) -> None:
        self._top = top
        self.rows: list[Row] = []
        self.dropped = 0
        self.entries: list[EntryRow] = []
        self.entries_dropped = 0

    def begin(self) -> None:
        """Forget the run before."""
        self.rows.clear()
        self.dropped = 0
        self.entries.clear()
        self.entries_dropped = 0

    def add(self, row: Row) -> None:
        """Keep `row`, or count it as dropped."""
        if len(self.rows) < LIMIT:
            self.rows.append(row)
        else:
            self.dropped += 1

    def enter(
        self, insn: int, start: int, args: tuple[Any, ...], frame: int, functions: tuple[int, ...]
    ) -> EntryRow:
        """Keep a call of the function at `start`, or count it as dropped; the row wants its `ret` later."""
        row = EntryRow(insn, start, args, frame, functions, len(self.rows) + self.dropped)
        if len(self.entries) < ENTRY_LIMIT:
            self.entries.append(row)
        else:
            self.entries_dropped += 1
        return row

    def entered(self) -> tuple[Entry, ...]:
        """All calls of functions of the program as they leave the engine."""
        return tuple(
            Entry(
                row.insn,
                row.start,
                "",
                row.args,
                tuple(None if arg is None else _pointer(arg, row, self._top) for arg in row.args),
                row.after,
                row.frame,
                row.ret,
            )
            for row in self.entries
        )

    def records(self) -> tuple[CallRecord, ...]:
        """All rows as they leave the engine."""
        return tuple(
            CallRecord(
                row.insn,
                row.callee,
                row.kind,
                row.args,
                tuple(_pointer(arg, row, self._top) for arg in row.args),
                row.ret,
                row.frame,
                len(row.args),
            )
            for row in self.rows
        )


def _pointer(value: int, row: Row | EntryRow, top: int) -> Pointer | None:
    """`value` as an address in a live frame's stack, of a function or of an instruction; None when it is none of these."""
    below = top - value
    number = (below + STACK_SPACING // 2) // STACK_SPACING
    if 0 <= number <= row.frame:
        return Pointer("stack", number, number * STACK_SPACING - below)
    insn, rest = divmod(value - CODE, isa.INSN_SIZE)
    if rest == 0 and 0 <= insn < CODE_SIZE // isa.INSN_SIZE:
        return Pointer("code", insn, 0)
    start, rest = divmod(value - FUNC_BASE, isa.INSN_SIZE)
    if rest == 0 and start in row.functions:
        return Pointer("func", row.functions.index(start), 0)
    return None
