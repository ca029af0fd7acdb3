"""Calls of helpers and kfuncs, written down while a program runs and put into words afterwards.

A row holds what the callee found; turning addresses into `Pointer`s waits until the run is over, because it would
cost more than the call itself.
"""

from dataclasses import dataclass

from bpf import isa
from emu.interp.layout import FUNC_BASE, STACK_SPACING, STACK_TOP
from emu.outcome import CallRecord, Pointer

LIMIT = 100_000  # rows of one run; later calls are only counted, so that a loop cannot fill the memory


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


class Recorder:
    """Rows of one run, in the order in which the calls were made."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.dropped = 0

    def begin(self) -> None:
        """Forget the run before."""
        self.rows.clear()
        self.dropped = 0

    def add(self, row: Row) -> None:
        """Keep `row`, or count it as dropped."""
        if len(self.rows) < LIMIT:
            self.rows.append(row)
        else:
            self.dropped += 1

    def records(self) -> tuple[CallRecord, ...]:
        """All rows as they leave the engine."""
        return tuple(
            CallRecord(
                row.insn,
                row.callee,
                row.kind,
                row.args,
                tuple(_pointer(arg, row) for arg in row.args),
                row.ret,
                row.frame,
                len(row.args),
            )
            for row in self.rows
        )


def _pointer(value: int, row: Row) -> Pointer | None:
    """`value` as an address in a live frame's stack or of a function, None when it is neither."""
    below = STACK_TOP - value
    if 0 <= below <= row.frame * STACK_SPACING + isa.MAX_STACK:
        number, off = divmod(below, STACK_SPACING)
        return Pointer("stack", number, -off) if off <= isa.MAX_STACK else None
    start, rest = divmod(value - FUNC_BASE, isa.INSN_SIZE)
    if rest == 0 and start in row.functions:
        return Pointer("func", row.functions.index(start), 0)
    return None
