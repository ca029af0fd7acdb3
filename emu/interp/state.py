"""What a run holds while it goes: frames, their stacks, and the way a run stops.

    machine ── frames[0] main program      fp 0xffffc90000100000
            ── frames[1] its callee        fp 64 KiB lower
            ── ...      up to 16           a frame owns 512 bytes below its fp, the rest of the 64 KiB is a gap

Frames are a list, not calls of Python, so that nothing a program does can exhaust Python's own stack.
Knows nothing of opcodes.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from bpf import isa
from bpf.program import Program
from emu.interp.layout import STACK_SPACING
from emu.interp.records import EntryRow, Recorder, Row
from emu.runtime.callback import Callback
from emu.runtime.memory import Region
from emu.runtime.world import World

MAY_GOTO_ROUNDS = 0xFFFF  # BPF_MAX_TIMED_LOOPS

# A register or argument slot holds an unsigned 64-bit number, or None where it holds nothing. They are typed Any,
# because arithmetic on None is meant to raise TypeError: that is the check for undefined registers.
Word = Any
Op = tuple[Any, ...]


class Stop(Exception):  # noqa: N818 - the program's end, not an error of ours
    """The program cannot go on. insn: where it is another instruction than the one that is being executed."""

    def __init__(self, kind: str, why: str, insn: int | None = None) -> None:
        self.kind = kind
        self.why = why
        self.insn = insn
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Unit:
    """A program, decoded.

    code: an op for each instruction slot, then ops that only report wild jumps. functions: start of every
    function, ascending. slots: by function start, how many stack arguments its BTF prototype lets it read;
    functions without a prototype are not in it.
    """

    program: Program
    code: tuple[Op, ...]
    functions: tuple[int, ...]
    slots: dict[int, int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A helper or kfunc that waits for a callback's result. void: it leaves r0 undefined in the end."""

    run: Generator[Callback, int, int]
    row: Row
    void: bool


class Frame:
    """One activation of a function.

    pc: next instruction (up to date only outside the hot loop). regs: r0..r10. out, incoming: 7 stack arguments
    each. low: lowest address of its stack. depth: frames of its own program above it. rounds: what is left of
    may_goto's count. waiting: of a callback, who called it. entry: of a called function, its record.
    """

    __slots__ = (
        "depth",
        "entry",
        "incoming",
        "low",
        "number",
        "out",
        "pc",
        "refreshed",
        "region",
        "regs",
        "rounds",
        "unit",
        "waiting",
    )

    def __init__(self, number: int, region: Region, waiting: Waiting | None) -> None:
        self.number = number
        self.depth = 0
        self.region = region
        self.low = region.base
        self.waiting = waiting
        self.entry: EntryRow | None = None

    def enter(self, unit: Unit, pc: int, args: list[Word], incoming: list[Word]) -> None:
        """Begin at `pc` with up to 5 arguments in r1..r5; nothing else is defined yet, the fp excepted."""
        self.unit = unit
        self.pc = pc
        self.regs: list[Word] = [None, *args, *[None] * (9 - len(args)), self.low + isa.MAX_STACK]
        self.incoming = incoming
        self.out: list[Word] = no_args()
        self.rounds = MAY_GOTO_ROUNDS
        self.refreshed = False

    def returned(self, r0: Word) -> None:
        """Take a callee's result: r1..r5 and the stack arguments that were stored are gone."""
        self.regs[:6] = (r0, None, None, None, None, None)
        self.out = no_args()


def no_args() -> list[Word]:
    """Seven undefined stack arguments."""
    return [None, None, None, None, None, None, None]


class Machine:
    """Everything that the runs of one interpreter share, and how far the current run has come.

    unit_of: decodes another program of the world, for tail calls. fill: the byte that a frame's stack is filled
    with at entry. Where the kernel leaves what was there before, here a program that reads what it never wrote
    finds the same bytes each time. top: frame pointer of the main program.
    """

    def __init__(self, world: World, unit_of: Callable[[str], Unit], fill: int, top: int) -> None:
        self.world = world
        self.memory = world.memory
        self.unit_of = unit_of
        self.frames: list[Frame] = []
        self.recorder = Recorder(top)
        self.tail_calls = 0
        self.ctx = 0
        self.result: Word = None
        self._fill = bytes([fill]) * isa.MAX_STACK
        self._top = top
        self._stacks: list[Region] = []  # of all depths that were reached so far

    def begin(self, unit: Unit, ctx: int) -> Frame:
        """The frame of a main program that is started anew."""
        self.tail_calls = 0
        self.ctx = ctx
        self.result = None
        return self.push(unit, 0, [ctx])

    def push(
        self,
        unit: Unit,
        pc: int,
        args: list[Word],
        incoming: list[Word] | None = None,
        waiting: Waiting | None = None,
    ) -> Frame:
        """A new innermost frame. Raises Stop when the program has 16 already; a tail call starts another count."""
        number = len(self.frames)
        depth = self.frames[-1].depth + 1 if self.frames else 0
        if depth == isa.MAX_CALL_FRAMES:
            raise Stop("stack", f"more than {isa.MAX_CALL_FRAMES} call frames")
        if number == len(self._stacks):
            self._stacks.append(_stack(number, self._top))
        region = self._stacks[number]
        region.view[:] = self._fill
        region.live = True
        self.memory.add(region)
        frame = Frame(number, region, waiting)
        frame.depth = depth
        frame.enter(unit, pc, args, no_args() if incoming is None else incoming)
        self.frames.append(frame)
        return frame

    def pop(self) -> Frame | None:
        """Drop the innermost frame; the one that called it, or None."""
        self.memory.drop(self.frames.pop().region)
        return self.frames[-1] if self.frames else None

    def replace(self, frame: Frame, unit: Unit, ctx: Word) -> None:
        """A tail call: the frame starts over as the main function of another program."""
        frame.region.view[:] = self._fill
        frame.depth = 0
        frame.enter(unit, 0, [ctx], no_args())

    def enter_again(self, frame: Frame, pc: int, argument: Word) -> None:
        """The frame goes on as another function of its program, with one argument."""
        frame.region.view[:] = self._fill
        frame.enter(frame.unit, pc, [argument], no_args())

    def unwind(self) -> None:
        """Drop all frames, innermost first, and close the helpers that wait for callbacks."""
        while self.frames:
            waiting = self.frames[-1].waiting
            if waiting is not None:
                waiting.run.close()
            self.pop()


def _stack(number: int, top: int) -> Region:
    base = top - number * STACK_SPACING - isa.MAX_STACK
    view = memoryview(bytearray(isa.MAX_STACK))
    return Region(base, isa.MAX_STACK, "stack", f"the stack of frame {number}", view)
