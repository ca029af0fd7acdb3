"""What happened on a path: branches taken, registers and slots written, references and sections; for explaining a refusal.

Kept only while a log is written, and forgotten with the branch that it belongs to. Source: the event log of
kernel/bpf/diagnostics.c. Makes no text (verifier/report.py) and decides nothing.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from bpf import isa
from verifier import regs
from verifier.num import Num
from verifier.regs import NOT_INIT, Reg
from verifier.state import STACK_SPILL, FuncState

if TYPE_CHECKING:
    from verifier.env import Env

# Kinds of places
REG: Final = 0
STACK_ARG: Final = 1
STACK_SLOT: Final = 2
STACK_RANGE: Final = 3
# Kinds of events
BRANCH: Final = "branch"
CHANGE: Final = "change"
ACQUIRE: Final = "acquired"
RELEASE: Final = "released"
SECTION: Final = "section"
# Why a place changed
WRITE: Final = "write"
SPILL: Final = "spill"
VAR_WRITE: Final = "variable write"
CALLER_SAVED: Final = "caller-saved"
PKT_DATA_CHANGE: Final = "packet"
REF_RELEASE: Final = "release"
NON_OWNING: Final = "non-owning"

_MAPS: Final = (regs.CONST_PTR_TO_MAP, regs.PTR_TO_MAP_KEY, regs.PTR_TO_MAP_VALUE)
_ALU: Final = (isa.ALU, isa.ALU64)
# Operations whose result is an old value changed; a move or a division starts anew.
_KEEPING: Final = frozenset(
    {
        isa.ADD, isa.SUB, isa.MUL, isa.OR, isa.AND, isa.LSH, isa.RSH, isa.ARSH, isa.XOR, isa.NEG, isa.END,
    }
)  # fmt: skip


class Place(NamedTuple):
    """A register, stack-argument slot or stack slot of one activation; of a range, `number` is its end."""

    frame: int
    kind: int
    number: int
    start: int = 0


class Event:
    """One thing that happened at an instruction; which fields count depends on the kind.

    taken: of a branch, or whether a section was entered. old, new: registers before and behind, None for nothing.
    origin: where a moved value came from. ref: reference. name, depth: section. chosen: it belongs to the value at hand.
    """

    __slots__ = (
        "chosen",
        "depth",
        "insn",
        "kind",
        "name",
        "new",
        "old",
        "origin",
        "place",
        "reason",
        "ref",
        "taken",
    )

    def __init__(self, insn: int, kind: str) -> None:
        self.insn = insn
        self.kind = kind
        self.taken = False
        self.place = Place(-1, REG, 0)
        self.old: Reg | None = None
        self.new: Reg | None = None
        self.reason = WRITE
        self.origin: Place | None = None
        self.ref = 0
        self.name = ""
        self.depth = 0
        self.chosen = False


def reg_place(frame: FuncState, regno: int) -> Place:
    """The place of a register."""
    return Place(frame.serial, REG, regno)


def slot_place(frame: FuncState, spi: int) -> Place:
    """The place of a stack slot."""
    return Place(frame.serial, STACK_SLOT, spi)


def arg_place(frame: FuncState, slot: int) -> Place:
    """The place of an outgoing stack-argument slot."""
    return Place(frame.serial, STACK_ARG, slot)


class History:
    """The events of the path being followed."""

    def __init__(self, env: "Env") -> None:
        self.env = env
        self.events: list[Event] = []
        self._open: tuple[int, Place, Reg, str, Place | None] | None = None

    def forget(self, count: int) -> None:
        """Back to the first `count` events."""
        del self.events[count:]

    # ---- what happens

    def edge(self, prev: int, at: int) -> None:
        """The path goes from instruction prev to at: a conditional jump went one way."""
        insn = self.env.insns[prev]
        if insn.cls not in (isa.JMP, isa.JMP32) or insn.op in (isa.JA, isa.CALL, isa.EXIT):
            return
        target = prev + insn.off + 1
        if target == prev + 1 or at not in (target, prev + 1):
            return
        event = Event(prev, BRANCH)
        event.taken = at == target
        self.events.append(event)

    def begin(self, place: Place, old: Reg, origin: Place | None = None, reason: str = WRITE) -> None:
        """A place is about to change; of nested changes the innermost counts."""
        self._open = (self.env.insn_idx, place, old, reason, origin)

    def end(self) -> None:
        """The change is complete."""
        if self._open is None:
            return
        insn, place, old, reason, origin = self._open
        self._open = None
        new = self._at(place)
        if new is not None:
            self._changed(insn, place, reason, old, new, origin)

    def scrub(self, place: Place, reg: Reg, reason: str) -> None:
        """What a place held is lost."""
        if reg.type != NOT_INIT:
            self._changed(self.env.insn_idx, place, reason, reg, None, None)

    def lose_arguments(self, frame: FuncState) -> None:
        """A call leaves nothing in r1 to r5."""
        for regno in range(1, 6):
            self.scrub(reg_place(frame, regno), frame.regs[regno], CALLER_SAVED)

    def update(self, change: Callable[[Reg], Reg], reason: str) -> None:
        """All registers and slots are about to be changed in this way; WRITE: into something that still counts."""
        for frame in self.env.cur_state.frames:
            held = [(reg_place(frame, i), reg) for i, reg in enumerate(frame.regs)]
            held += [
                (slot_place(frame, i), slot.reg)
                for i, slot in enumerate(frame.stack)
                if slot.types[7] == STACK_SPILL
            ]
            held += [(arg_place(frame, i), reg) for i, reg in enumerate(frame.stack_args)]
            for place, reg in held:
                new = change(reg)
                if reg.type != NOT_INIT and new is not reg:
                    kept = new if reason == WRITE else None
                    self._changed(self.env.insn_idx, place, reason, reg, kept, None)

    def scrub_range(self, frame: FuncState, min_off: int, max_off: int) -> None:
        """Some bytes from min_off to below max_off of a stack may be written."""
        place = Place(frame.serial, STACK_RANGE, max_off, min_off)
        self._changed(self.env.insn_idx, place, VAR_WRITE, None, None, None)

    def reference(self, kind: str, insn: int, ref: int) -> None:
        """A reference is acquired or released."""
        event = Event(insn, kind)
        event.ref = ref
        self.events.append(event)

    def section(self, name: str, depth: int, *, entered: bool) -> None:
        """A critical section is entered or left, and is `depth` deep afterwards."""
        event = Event(self.env.insn_idx, SECTION)
        event.name, event.depth, event.taken = name, depth, entered
        self.events.append(event)

    def _at(self, place: Place) -> Reg | None:
        for frame in self.env.cur_state.frames:
            if frame.serial == place.frame:
                break
        else:
            return None
        if place.kind == REG:
            return frame.regs[place.number]
        if place.kind == STACK_ARG:
            return frame.stack_args[place.number] if place.number < len(frame.stack_args) else None
        return frame.stack[place.number].reg if place.number < len(frame.stack) else None

    def _changed(
        self, insn: int, place: Place, reason: str, old: Reg | None, new: Reg | None, origin: Place | None
    ) -> None:
        event = Event(insn, CHANGE)
        event.place, event.reason, event.old, event.new = place, reason, old, new
        event.origin = origin or self._moved_from(insn, place)
        if (
            event.origin is None
            and old is not None
            and new is not None
            and self._keeps(event)
            and _snapshot(old) == _snapshot(new)
        ):
            return
        self.events.append(event)

    def _moved_from(self, at: int, place: Place) -> Place | None:
        """Where an instruction that moves a value has it from."""
        insn = self.env.insns[at]
        if place.kind == REG and insn.cls in _ALU and insn.op == isa.MOV and insn.code & isa.X:
            return Place(place.frame, REG, insn.src)
        if place.kind in (STACK_ARG, STACK_SLOT) and insn.cls == isa.STX:
            return reg_place(self.env.func, insn.src)
        return None

    def _keeps(self, event: Event) -> bool:
        """Whether the instruction changes a value that is still followed (diag_mod_keeps_lineage)."""
        insn = self.env.insns[event.insn]
        return event.reason == WRITE and event.place.kind == REG and insn.cls in _ALU and insn.op in _KEEPING

    # ---- questions

    def last_change(self, place: Place) -> Event | None:
        """The latest change of a place."""
        return next((e for e in reversed(self.events) if e.kind == CHANGE and _matches(e.place, place)), None)

    def of_value(self, place: Place) -> Sequence[Event]:
        """Branches and changes since the value at a place was made; all branches where that is not known."""
        start = 0
        for event in self.events:
            event.chosen = False
        for at in range(len(self.events) - 1, -1, -1):
            event = self.events[at]
            if event.kind != CHANGE or not _matches(event.place, place):
                continue
            event.chosen = True
            start = at
            if event.origin is not None:
                place = event.origin
            elif event.reason in (WRITE, SPILL) and not self._keeps(event):
                break
        return [e for e in self.events[start:] if e.kind == BRANCH or (e.kind == CHANGE and e.chosen)]

    def of_reference(self, ref: int) -> Sequence[Event]:
        """Branches since a reference was acquired, and what became of it."""
        start = next(
            (at for at in range(len(self.events) - 1, -1, -1) if self._acquires(self.events[at], ref)), 0
        )
        return [
            e
            for e in self.events[start:]
            if e.kind == BRANCH or (e.kind in (ACQUIRE, RELEASE) and e.ref == ref)
        ]

    @staticmethod
    def _acquires(event: Event, ref: int) -> bool:
        return event.kind == ACQUIRE and event.ref == ref

    def of_section(self, name: str, depth: int) -> Sequence[Event]:
        """Branches since a critical section was entered from outside, and its changes of depth."""
        start = 0
        for at in range(len(self.events) - 1, -1, -1) if depth else ():
            event = self.events[at]
            if event.kind == SECTION and event.name == name and event.depth == event.taken:
                start = at if event.taken else 0
                break
        return [e for e in self.events[start:] if e.kind == BRANCH or (e.kind == SECTION and e.name == name)]


def _matches(changed: Place, place: Place) -> bool:
    if changed.kind == STACK_RANGE and place.kind == STACK_SLOT:
        low = -8 * (place.number + 1)
        return changed.frame == place.frame and changed.start < low + 8 and changed.number > low
    return changed[:3] == place[:3]


def _snapshot(reg: Reg) -> tuple[object, ...]:
    """What is compared of a register."""
    base = reg.type & regs.BASE_TYPE_MASK
    aux = (reg.btf, reg.btf_id) if base == regs.PTR_TO_BTF_ID else reg.map if base in _MAPS else None
    num: Num = reg.num
    return reg.type, aux, num.value, num.mask, num.base, num.size
