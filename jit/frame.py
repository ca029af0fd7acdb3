"""Where everything of a function's native frame lives, at every native instruction. Knows no code: the emitter tells it.

      CFA + 8*(k-7)        incoming argument k, k = 7..12            rbp + 16 + 8*(k-7)
      CFA - 8              return address                            rbp + 8
      CFA - 16             saved rbp                                 rbp
                           program stack (r10 = rbp), round_up(stack depth, 8) bytes
                           two words of a tail-call count
                           saved registers, one word each, in push order
                           outgoing argument k, k = 7..12            rsp + 8*(k-7)
      r9                   argument 6, incoming until it is overwritten, then outgoing

CFA, the canonical frame address of DWARF, is rsp as it was before the call that entered the function. Everything has a
fixed distance from it; what changes from instruction to instruction is rsp, and whether rbp is the function's own
yet. So the whole history of a frame is a list of (offset, CFA - rsp), and a word is in use when it is not below rsp.

Source: section D.3 of the convention, arch/x86/net/bpf_jit_comp.c.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

WORD: Final = 8
RETURN_ADDRESS: Final = -8  # from the CFA
SAVED_RBP: Final = -16


@dataclass(frozen=True, slots=True)
class Place:
    """A register, or a word of memory at a register plus an offset in bytes."""

    reg: str
    off: int | None = None

    def __str__(self) -> str:
        if self.off is None:
            return self.reg
        return f"[{self.reg}{'-' if self.off < 0 else '+'}{abs(self.off):#x}]"


@dataclass(frozen=True, slots=True)
class Spot:
    """Memory of a frame, by its lowest byte. cfa, rsp, rbp: its distance from each, in bytes.

    rbp is None while that register is not the function's own.
    """

    cfa: int
    rsp: int
    rbp: int | None

    def __str__(self) -> str:
        return str(Place("rsp", self.rsp))


@dataclass(frozen=True, slots=True)
class Cfi:
    """What an unwinder asks at one native instruction, in the terms of DWARF's call frame information.

    cfa: register and offset whose sum is the CFA. saved: register -> offset from the CFA at which its value in the
    caller lies; "rip" is the return address; a register that is missing still holds its value. The caller's rsp is
    the CFA itself.
    """

    cfa: Place
    saved: dict[str, int]


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame right before one native instruction. Absent is what is not there yet or no more.

    off: native offset of the instruction. depth: CFA - rsp. cfi: for unwinders. return_address: always there.
    saved: registers whose values in the caller lie on the stack. stack: of the program, `Frame.stack_depth` bytes;
    None where there is none, or where it lies elsewhere. pointer: where r10 is: a register or, around a call, a word.
    counts: the two words of a tail-call count. incoming, outgoing: arguments 7 to 12 in memory; argument 6 is in r9.
    temporaries: registers pushed inside of one BPF instruction.
    """

    off: int
    depth: int
    cfi: Cfi
    return_address: Spot
    saved: dict[str, Spot]
    stack: Spot | None
    pointer: Place | None
    counts: Spot | None
    incoming: dict[int, Spot]
    outgoing: dict[int, Spot]
    temporaries: dict[str, Spot]


Moved = tuple[int, int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Takeover:
    """Where an exception callback stands on the frame of the main program: in [start, end) of its prologue.

    saved: (register, rbp offset) of what the main program saved, and the callback takes back.
    """

    start: int
    end: int
    saved: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame of one native function.

    In its body, between prologue and epilogue:
    stack_depth: program stack in bytes, rounded up to 8. saved: (register, rbp offset) in push order.
    incoming, outgoing: argument number (6..12) -> place; outgoing memory places are rbp-based.
    outgoing_size: bytes of the outgoing area. size: bytes from rbp down to rsp. counts: bytes of the tail-call words.
    private_depth: bytes of a program stack that lies in per-CPU memory, below r9.

    And how it comes and goes (`at` reads this):
    moves: from the native offset on, CFA - rsp in bytes, and the registers pushed for a while; ascending.
    rbp_from: offset from which rbp is CFA - 16, until rbp is popped. body: offset of the first instruction's code.
    """

    stack_depth: int
    saved: tuple[tuple[str, int], ...]
    incoming: dict[int, Place]
    outgoing: dict[int, Place]
    outgoing_size: int
    size: int
    counts: int = 0
    private_depth: int | None = None
    moves: tuple[Moved, ...] = ()
    rbp_from: int = 0
    body: int = 0
    takeover: Takeover | None = None

    def depth(self, off: int) -> int:
        """CFA - rsp, in bytes, before the instruction at native offset `off`."""
        return self._row(off)[1]

    def cfi(self, off: int) -> Cfi:
        """How to unwind from the instruction at native offset `off`, which has not been executed yet."""
        depth = self._row(off)[1]
        return Cfi(self._cfa(off, depth), {"rip": RETURN_ADDRESS, **self._saved(off, depth)})

    def at(self, off: int) -> Moment:
        """The frame right before the instruction at native offset `off`."""
        _, depth, pushed = self._row(off)
        cfa = self._cfa(off, depth)
        has_rbp = cfa.reg == "rbp"

        def spot(from_cfa: int) -> Spot:
            return Spot(from_cfa, from_cfa + depth, from_cfa - SAVED_RBP if has_rbp else None)

        saved = self._saved(off, depth)
        whole = not self._in_takeover(off)
        stack = SAVED_RBP - self.stack_depth
        counts = stack - self.counts
        outgoing = {} if not whole else self._memory(self.outgoing)
        temporaries = {reg: spot(-depth + WORD * below) for below, reg in enumerate(reversed(pushed))}
        return Moment(
            off,
            depth,
            Cfi(cfa, {"rip": RETURN_ADDRESS, **saved}),
            spot(RETURN_ADDRESS),
            {reg: spot(at) for reg, at in saved.items()},
            spot(stack) if whole and self.stack_depth and -stack <= depth else None,
            self._pointer(off, temporaries, has_rbp=has_rbp),
            spot(counts) if whole and self.counts and -counts <= depth else None,
            {number: spot(at) for number, at in self._memory(self.incoming).items()},
            {number: spot(at) for number, at in outgoing.items() if -at <= depth},
            temporaries,
        )

    def changes(self) -> Iterator[int]:
        """The native offsets at which what `at` says may change, ascending: enough for a table of all."""
        found = {0, self.rbp_from, self.body, *(off for off, _, _ in self.moves)}
        if self.takeover is not None:
            found |= {self.takeover.start, self.takeover.end}
        yield from sorted(found)

    def _row(self, off: int) -> Moved:
        at = bisect_right(self.moves, off, key=_offset) - 1
        return self.moves[at] if at >= 0 else (0, WORD, ())

    def _in_takeover(self, off: int) -> bool:
        return self.takeover is not None and self.takeover.start <= off < self.takeover.end

    def _cfa(self, off: int, depth: int) -> Place:
        if depth > WORD and off >= self.rbp_from:
            return Place("rbp", -SAVED_RBP)
        return Place("rsp", depth)

    def _saved(self, off: int, depth: int) -> dict[str, int]:
        """Register -> offset from the CFA. A word is written when it is pushed, so it is valid when rsp is not above it."""
        known = self.saved
        if self.takeover is not None and self._in_takeover(off):
            known = self.takeover.saved
        places = {"rbp": SAVED_RBP} | {reg: at + SAVED_RBP for reg, at in known}
        return {reg: at for reg, at in places.items() if -at <= depth}

    def _pointer(self, off: int, temporaries: dict[str, Spot], *, has_rbp: bool) -> Place | None:
        if self.private_depth is None:
            return Place("rbp") if has_rbp and not self._in_takeover(off) else None
        if "r9" in temporaries:
            return Place("rsp", temporaries["r9"].rsp)
        return Place("r9") if off >= self.body and has_rbp else None

    @staticmethod
    def _memory(places: dict[int, Place]) -> dict[int, int]:
        return {number: place.off + SAVED_RBP for number, place in places.items() if place.off is not None}


def _offset(row: Moved) -> int:
    return row[0]
