"""Keeps every abstract state that the main pass had, and which one came from which: for looking afterwards.

`Visit`s form a graph: an edge for each step from an instruction to the next one of a path, a branch that is put off
included. A visit that a checkpoint covered ends there and names the checkpoint; the checkpoint's own visit goes on.
Off unless Env.recorder is set. Knows no rules.
"""

from typing import TYPE_CHECKING

from bpf import isa
from verifier.state import FuncState, VState

if TYPE_CHECKING:
    from verifier.env import Env

_ALU = (isa.ALU, isa.ALU64)
LIMIT = 200_000  # visits; what a longer verification does is not kept


class Visit:
    """One visit of an instruction. frames: the state before it, outermost frame first. followers: what came next.

    covered: the checkpoint that ended the path here, or None. kept: the checkpoint made here, or None; its registers
    carry the precision marks that were found in the end. twins: the same instruction once more, with the other half of a
    number that an AND or OR splits in two.
    """

    __slots__ = ("covered", "followers", "frames", "insn", "kept", "twins")

    def __init__(self, insn: int, frames: list[FuncState]) -> None:
        self.insn = insn
        self.frames = frames
        self.followers: list[Visit] = []
        self.covered: VState | None = None
        self.kept: VState | None = None
        self.twins: list[Visit] = []


class Recorder:
    """The visits of one verification. roots: first visit of the main program (0) and of each global function.

    visits: how many there were. full: there were more than `limit`, so that the graph is not whole.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.roots: dict[int, Visit] = {}
        self.visits = 0
        self.env: Env | None = None
        self._last: Visit | None = None
        self._origin: Visit | None = None  # what `_last` follows
        self._state: VState | None = None
        self._origins: dict[int, Visit] = {}  # by identity of a waiting branch's state
        self._twins: dict[int, Visit] = {}  # likewise, of a number that is split in two
        self._kept: dict[int, tuple[VState, Visit]] = {}

    @property
    def full(self) -> bool:
        """Whether visits are missing."""
        return self.visits > self.limit

    def visit(self, env: "Env", insn: int) -> None:
        """The main pass stands before `insn` with its current state."""
        self.env = env
        self.visits += 1
        if self.full:
            return
        state = env.cur_state
        one = Visit(insn, [frame.copy() for frame in state.frames])
        last, origin = self._last, self._origin
        if state is not self._state and state.parent is None and env.prev_insn_idx < 0:
            self.roots[insn] = one
            self._origin = None
        elif last is not None:
            for waiting in reversed(env.pending):
                if id(waiting.state) in self._origins:
                    break
                # An AND or OR may be taken twice, with a number known in one case: both are followers of what came before.
                again = (
                    origin is not None and waiting.insn_idx == last.insn and env.insns[last.insn].cls in _ALU
                )
                self._origins[id(waiting.state)] = origin if again and origin is not None else last
                if again:
                    self._twins[id(waiting.state)] = last
            before = last if state is self._state else self._origins.pop(id(state), last)
            if state is not self._state and id(state) in self._twins:
                self._twins.pop(id(state)).twins.append(one)
            before.followers.append(one)
            self._origin = before
        self._last = one
        self._state = state

    def covered(self, old: VState) -> None:
        """The path ends, `old` covers it."""
        if self._last is not None and not self.full:
            self._last.covered = old

    def kept(self, new: VState) -> None:
        """The current state became a checkpoint."""
        if self._last is not None and not self.full:
            self._last.kept = new
            self._kept[id(new)] = (new, self._last)

    def visit_of(self, checkpoint: VState) -> Visit:
        """Where a checkpoint was made."""
        return self._kept[id(checkpoint)][1]
