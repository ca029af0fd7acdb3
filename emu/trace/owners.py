"""Who owns each word of a frame, from what was executed: not from the JIT's own `Frame`, which may be wrong.

      CFA + 8*(k-7)   argument k, which the caller put there
      CFA - 8         return address
      CFA - 16        saved rbp, once it was pushed
      below           program stack: as many bytes as the verifier counted; pushed words: of whoever pushed them
      down to rsp     what was allocated beside that: the outgoing area, argument 7 of the next call at the bottom

Where two claim a word, both are named. Knows no bytes of memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from bpf import isa
from emu.trace.code import Stored
from emu.trace.trace import Row
from jit.regmap import CALLEE_SAVED
from jit.x64.registers import NAMES64

_WORD: Final = 8
_SAVED: Final = ("rbx", "rbp", "r12", "r13", "r14", "r15")
_BPF_NAME: Final = {NAMES64[reg]: f" (r{number})" for number, reg in CALLEE_SAVED}
_MOST: Final = 2560  # words of a stack of 20 KiB
_LINKS: Final = 2  # return address and saved rbp


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known beforehand of a function's frame, from the verified program.

    depth: bytes of program stack on the native stack. incoming, outgoing: arguments on the stack; None outgoing where
    nothing is known of a frame. params: as in C. counted: pushes of rax are its tail-call count.
    """

    name: str
    depth: int
    incoming: int
    outgoing: int | None
    params: tuple[str, ...]
    counted: bool


@dataclass(slots=True, eq=False)
class Owners:
    """The words of one activation, kept up to date by its caller.

    pushed: words by offset from the CFA -> what was pushed, and whether by the prologue. tags: words -> the argument stored
    there. body: CFA - rsp behind the prologue. kernel: bytes above the arguments that belong to a kernel function.
    """

    shape: Shape
    pushed: dict[int, tuple[str, bool]] = field(default_factory=dict)
    tags: dict[int, Stored] = field(default_factory=dict)
    body: int | None = None
    kernel: int = 0
    by: str = ""

    def pushes(self, depth: int, register: str, *, prologue: bool) -> None:
        """A register was pushed, and CFA - rsp is now `depth`."""
        self.pushed[-depth] = (register, prologue)

    def shrinks(self, depth: int) -> None:
        """rsp went up to CFA - `depth`: what is below is gone."""
        self.pushed = {off: one for off, one in self.pushed.items() if off >= -depth}
        self.tags = {off: one for off, one in self.tags.items() if off >= -depth}

    def rows(self, depth: int) -> tuple[Row, ...]:
        """All words from high to low addresses, while CFA - rsp is `depth`."""
        return tuple(_merged(self._rows(min(depth, _MOST * _WORD))))

    def _rows(self, depth: int) -> Iterator[Row]:
        shape = self.shape
        arguments = _WORD * shape.incoming
        if self.kernel > arguments:
            yield Row(self.kernel - _WORD, _WORD, "link", f"return address of {self.by}")
            yield Row(arguments, self.kernel - arguments - _WORD, "kernel", f"frame of {self.by}")
        for number in range(shape.incoming - 1, -1, -1):
            param = shape.params[number + 6] if number + 6 < len(shape.params) else ""
            yield Row(_WORD * number, _WORD, "caller", f"argument {number + 7} of {shape.name}", param)
        yield Row(-_WORD, _WORD, "link", f"return address of {shape.name}")
        counts = [off for off, (reg, early) in self.pushed.items() if reg == "rax" and early]
        low = depth // _WORD * _WORD
        for off in range(-2 * _WORD, -low - 1, -_WORD):
            yield self._row(off, sorted(counts, reverse=True))
        if low < depth:
            yield Row(-depth, depth - low, "outgoing", "less than a word")

    def _row(self, off: int, counts: list[int]) -> Row:
        """The word at `off`, below the return address."""
        shape = self.shape
        inside = -_LINKS * _WORD - shape.depth <= off < -_LINKS * _WORD
        tag = self.tags.get(off)
        note = "" if tag is None else f"argument {tag.argument} of {tag.calls}, by insn {tag.insn}"
        pushed = self.pushed.get(off)
        if pushed is not None:
            if inside:
                note = f"{note}; " * bool(note) + "in the program stack"
            register, early = pushed
            if shape.counted and off in counts:
                what = "pointer to the count" if counts.index(off) else "tail-call count"
                return Row(off, _WORD, "count", what, note)
            if not early:
                return Row(off, _WORD, "temporary", f"pushed {register}", note)
            if shape.outgoing is None and register not in _SAVED:
                return Row(off, _WORD, "temporary", f"pushed {register}", note)
            kind = "link" if off == -_LINKS * _WORD else "saved"
            name = "" if shape.outgoing is None else _BPF_NAME.get(register, "")
            return Row(off, _WORD, kind, f"saved {register}{name}", note)
        if inside:
            return Row(off, _WORD, "stack", f"program stack of {shape.name}", note)
        if shape.outgoing is None:
            return Row(off, _WORD, "temporary", f"frame of {shape.name}", note)
        number = self._argument(off)
        what = "outgoing area" if number is None else f"outgoing argument {number}"
        if tag is not None and tag.argument == number:
            note = f"of {tag.calls}, by insn {tag.insn}"
        return Row(off, _WORD, "outgoing", what, note)

    def _argument(self, off: int) -> int | None:
        """The argument that a callee would find in a word of the outgoing area."""
        if self.body is None or self.shape.outgoing is None:
            return None
        at = (off + self.body) // _WORD
        return at + isa.MAX_REG_ARGS + 2 if 0 <= at < self.shape.outgoing else None


def _merged(rows: Iterator[Row]) -> Iterator[Row]:
    """Words of a program stack that lie together as one row."""
    held: Row | None = None
    for row in rows:
        if held is not None and (row.kind, row.what, row.note) == ("stack", held.what, held.note):
            held = Row(row.off, held.size + row.size, held.kind, held.what, held.note)
            continue
        if held is not None:
            yield held
        held = None
        if row.kind == "stack":
            held = row
        else:
            yield row
    if held is not None:
        yield held
