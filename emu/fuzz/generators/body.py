"""A function in the making: its instructions, and what registers, stack slots and arguments hold at this point.

What is known here is what any verifier can know: this register is a number, that one a pointer to 16 bytes, this slot was
written. Statements ask before they read; so a program reads nothing that was never written, and its results are the same
wherever it runs. Knows no statement.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from emu.fuzz.generators.code import Code
from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.plan import Plan
from emu.fuzz.generators.prototypes import Signature

TEMPORARY = 0b0000111111  # r0 to r5, which calls clobber
SAVED = 0b1111000000  # r6 to r9
FP = 10
PARAMS = 11

# Numbers of the registers in each of the 1,024 sets of r0 to r9.
REGS: tuple[tuple[int, ...], ...] = tuple(
    tuple(reg for reg in range(10) if mask >> reg & 1) for mask in range(1 << 10)
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """room: bytes that may be read and written there. kind: "stack", "map" or "ctx"."""

    kind: str
    room: int


class Known(NamedTuple):
    """What is known at one point, to go back to or to join with."""

    numbers: int
    bounds: dict[int, int]
    pointers: dict[int, Pointer]
    slots: dict[int, int | None]
    spilled: dict[int, Pointer]
    may_load: bool


class Body:
    """One function. Sets of registers are bit masks.

    numbers: registers that hold numbers; bounds: the largest value of some of them. pointers: registers that hold
    pointers. slots: offsets (-8, -16, ...) of stack words that hold numbers, with their largest value or None; spilled:
    of words that hold pointers. noise: what may stand between the steps of building a call. locked: registers that must keep what they hold; r11 among
    them: the arguments of a call are being stored. may_load: stack arguments may still
    be loaded. quiet: a lock is held, or may be. keep: which of r6 to r9 the function uses at all; loaded: which of these only loads write.
    """

    def __init__(
        self, plan: Plan, signature: Signature, keep: int, depth: int, noise: "Callable[[Body], None]"
    ) -> None:
        self.plan = plan
        self.draw: Draw = plan.draw
        self.signature = signature
        self.code = Code()
        self.keep = keep
        self.loaded = 0
        self.depth = depth
        self.frame: tuple[int, ...] = ()  # offsets of the stack words it uses
        self.numbers = 0
        self.bounds: dict[int, int] = {}
        self.pointers: dict[int, Pointer] = {}
        self.slots: dict[int, int | None] = {}
        self.spilled: dict[int, Pointer] = {}
        self.callee = ""  # the function of the program whose call is being built
        self.counts: set[int] = set()  # how many arguments its calls have
        self.widest = 0  # the most slots that a call so far needed
        self.exposed: set[int] = set()  # offsets of stack words whose address is known somewhere
        self.locked = 0
        self.may_load = True
        self.nesting = 0
        self.loops = 0
        self.quiet = signature.quiet
        self.noise = noise

    # ---- what holds what

    def number(self, reg: int, bound: int | None = None) -> int:
        """The register holds a number now, of at most `bound`. Returns the register."""
        self.numbers |= 1 << reg
        self.pointers.pop(reg, None)
        if bound is None:
            self.bounds.pop(reg, None)
        else:
            self.bounds[reg] = bound
        return reg

    def point(self, reg: int, pointer: Pointer) -> int:
        """The register holds a pointer now. Returns the register."""
        self.numbers &= ~(1 << reg)
        self.bounds.pop(reg, None)
        self.pointers[reg] = pointer
        return reg

    def forget(self, mask: int) -> None:
        """Nothing is known of these registers any more."""
        for reg in REGS[mask & 0x3FF]:
            self.bounds.pop(reg, None)
            self.pointers.pop(reg, None)
        self.numbers &= ~mask

    def copied(self, dst: int, src: int) -> None:
        """dst holds what src holds."""
        if src in self.pointers:
            self.point(dst, self.pointers[src])
        else:
            self.number(dst, self.bounds.get(src))

    def called(self, *, result: bool = True) -> None:
        """A call was made: r1 to r5 are gone, r0 is a number, or undefined."""
        self.forget(TEMPORARY)
        if result:
            self.number(0)
        for off in self.exposed:
            if off in self.slots:
                self.slots[off] = None
        if self.signature.slots:
            self.may_load = False

    # ---- choosing registers

    def any_number(self) -> int | None:
        """A register that holds a number."""
        some = REGS[self.numbers]
        return some[int(self.draw.random() * len(some))] if some else None

    def temporary(self) -> int:
        """One of r0 to r5 that may be overwritten; r0 can always be."""
        some = REGS[TEMPORARY & ~self.locked & ~1]
        if not some or self.draw.random() < 0.3:
            return 0
        return some[int(self.draw.random() * len(some))]

    def target(self) -> int:
        """A register that may be overwritten with a number by any instruction; pointers in it are lost."""
        free = (TEMPORARY | self.keep) & ~self.locked & ~self.loaded
        some = REGS[free & ~self._precious()] or REGS[free]
        return some[int(self.draw.random() * len(some))]

    def load_target(self) -> int:
        """The same for a load, which may also write the registers that only loads write."""
        free = (TEMPORARY | self.keep) & ~self.locked
        some = REGS[free & ~self._precious()] or REGS[free]
        return some[int(self.draw.random() * len(some))]

    def changeable(self) -> int | None:
        """A register with a number that arithmetic may change."""
        some = REGS[self.numbers & ~self.locked & ~self.loaded]
        return some[int(self.draw.random() * len(some))] if some else None

    def _precious(self) -> int:
        mask = 0
        for reg in self.pointers:
            mask |= 1 << reg
        return mask

    # ---- paths

    def known(self) -> Known:
        """A copy of what is known."""
        return Known(
            self.numbers,
            dict(self.bounds),
            dict(self.pointers),
            dict(self.slots),
            dict(self.spilled),
            self.may_load,
        )

    def return_to(self, known: Known) -> None:
        """Go on from there."""
        self.numbers, bounds, pointers, slots, spilled, self.may_load = known
        self.bounds, self.pointers, self.slots, self.spilled = (
            dict(bounds),
            dict(pointers),
            dict(slots),
            dict(spilled),
        )

    def join(self, other: Known) -> None:
        """Two paths meet: what both know is known."""
        self.numbers &= other.numbers
        self.bounds = {r: max(b, other.bounds[r]) for r, b in self.bounds.items() if r in other.bounds}
        self.pointers = {r: p for r, p in self.pointers.items() if other.pointers.get(r) == p}
        self.slots = {
            off: None if bound is None or other.slots[off] is None else max(bound, other.slots[off] or 0)
            for off, bound in self.slots.items()
            if off in other.slots
        }
        self.spilled = {off: p for off, p in self.spilled.items() if other.spilled.get(off) == p}
        self.may_load = self.may_load and other.may_load

    def unbind(self) -> None:
        """No bounds: a loop may change what holds now."""
        self.bounds.clear()
        self.slots = dict.fromkeys(self.slots)
