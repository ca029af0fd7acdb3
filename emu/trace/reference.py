"""The reference interpreter's side: what it holds before each instruction, written down by an observer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bpf import isa
from emu.arena import in_arena
from emu.interp import Interpreter
from emu.interp.state import Frame
from emu.runtime.world import World

FILL = 0xA5  # of stacks that nobody wrote to, in both engines
NAMES = (
    *(f"r{number}" for number in range(isa.FP + 1)),
    *(f"in{number}" for number in range(6, isa.MAX_FUNC_ARGS + 1)),
    *(f"out{number}" for number in range(6, isa.MAX_FUNC_ARGS + 1)),
)


@dataclass(frozen=True, slots=True)
class Moment:
    """Before one instruction. program: its name; frame: of the innermost function, 0 = main.

    values: in the order of NAMES, None for undefined. stacks: the 512 bytes of each frame, outermost first.
    """

    run: int
    program: str
    insn: int
    frame: int
    values: tuple[int | None, ...]
    stacks: tuple[bytes, ...]


class ReferenceLog:
    """An observer that keeps the first `limit` moments, then ends the run. full: whether it did."""

    def __init__(self, limit: int) -> None:
        self.moments: list[Moment] = []
        self.run = 0
        self.full = False
        self._limit = limit
        self._engine: Interpreter | None = None

    def engine(self, world: World, budget: int) -> Interpreter:
        """An interpreter that is observed."""
        uses = in_arena(world.program)
        self._engine = Interpreter(world, budget=budget, fill=FILL, observer=self, in_arena=uses)
        return self._engine

    def __call__(self, frames: Sequence[Frame]) -> None:
        """The interpreter stands before an instruction."""
        if len(self.moments) >= self._limit:
            self.full = True
            assert self._engine is not None
            self._engine.budget = 0
            return
        frame = frames[-1]
        values: tuple[Any, ...] = (*frame.regs, *frame.incoming, *frame.out)
        before = self.moments[-1].stacks if self.moments else ()
        stacks = tuple(
            old if old is not None and one.region.view == old else bytes(one.region.view)
            for one, old in _paired(frames, before)
        )
        self.moments.append(
            Moment(self.run, frame.unit.program.name, frame.pc, len(frames) - 1, values, stacks)
        )


def _paired(frames: Sequence[Frame], before: Sequence[bytes]) -> list[tuple[Frame, bytes | None]]:
    """Each frame with what its stack was before; the same bytes are kept once."""
    return [(frame, before[number] if number < len(before) else None) for number, frame in enumerate(frames)]
