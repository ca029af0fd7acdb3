"""Goes along the verifier's graph of visits while the interpreter runs the program.

At each instruction there are a few candidates: visits that the path so far may belong to. A candidate stays when the
concrete frames lie inside its frames; when none stays, the verifier was wrong. Where the visit ended because a
checkpoint covers it, the checkpoint's own visit is the candidate from there on, and numbers may become loose.
"""

from collections.abc import Sequence

from bpf import exceptions, isa
from bpf.insn import Insn
from emu.interp.state import Frame, Unit
from emu.runtime.world import World
from emu.soundness.contain import Outside, Relation, Word
from emu.soundness.loose import NONE, Loose, called, called_back, compared, flow, let_go, returned
from verifier.recorder import Recorder, Visit

Candidate = tuple[Visit, Loose]
_MANY = 64
_NO_PATH = "no path of the verifier comes here"


class Left(Exception):  # noqa: N818 - a finding, not an error of ours
    """The run left what the verifier knew. insn: where."""

    def __init__(self, insn: int, outside: Outside) -> None:
        self.insn = insn
        self.outside = outside
        super().__init__(f"insn {insn}: {outside.where}")


class Follower:
    """An observer for the interpreter; raises Left. steps: how many states it compared.

    A global function, and what takes exceptions, is verified apart from its callers: while one runs, its own graph is followed, in which its frame
    is the outermost, and the caller's candidates wait.
    """

    def __init__(self, recorder: Recorder, world: World) -> None:
        assert recorder.env is not None
        self.recorder = recorder
        self.relation = Relation(recorder.env, world)
        self.catch = exceptions.callback(recorder.env.program)
        self.insns = recorder.env.insns
        self.steps = 0
        self._begin()

    def _begin(self) -> None:
        self._unit: Unit | None = None
        self._at = -1
        self._depth = 0
        self._base = 0
        self._waits = False
        self._regs: list[Word] = []
        self._candidates: list[Candidate] = []
        self._outer: list[tuple[int, list[Candidate]]] = []

    def __call__(self, frames: Sequence[Frame]) -> None:
        """The interpreter stands before an instruction."""
        frame = frames[-1]
        depth = len(frames)
        if depth == 1 and frame.pc == 0 and (self._depth == 0 or self._is_over(frame)):
            self._begin()
            self.relation.forget()
            self._unit = frame.unit
            following = [(self.recorder.roots[0], NONE)]
        elif frame.unit is not self._unit:
            return  # another program, after a tail call
        else:
            following = self._following(frames)
        self._candidates = self._staying(frame.pc, following, frames)
        self._at, self._depth = frame.pc, depth
        self._waits = frame.waiting is not None
        self._regs = frame.regs[:]
        self.steps += 1

    def finished(self) -> None:
        """A run is over; the next one starts anew."""
        self._depth = 0

    def _is_over(self, frame: Frame) -> bool:
        """The main function begins again, and not by a jump: another round of the same run."""
        return self._depth == 1 and self.insns[self._at].code == isa.OP_EXIT and frame.unit is self._unit

    # ---- what comes next

    def _following(self, frames: Sequence[Frame]) -> list[Candidate]:
        depth, at = len(frames), frames[-1].pc
        while self._outer and depth <= self._base:
            self._base, self._candidates = self._outer.pop()
        before = self.insns[self._at]
        if before.is_call or before.code == isa.OP_EXIT:
            self.relation.forget()
        if depth > self._depth and _is_bpf_call(before) and at in self.recorder.roots:
            self._outer.append((self._base, self._candidates))
            self._base = depth - 1
            return [(self.recorder.roots[at], NONE)]
        if depth == 1 and at == self.catch and before.src == isa.PSEUDO_KFUNC_CALL and before.is_call:
            self._base, self._outer = 0, []  # an exception: all functions were left
            return [(self.recorder.roots[at], NONE)]
        found: list[Candidate] = []
        for visit, loose in self._candidates:
            if loose:
                loose = self._flowed(visit, loose, frames)
            self._next(visit, loose, at, depth - self._base, frames, set(), found)
        return found

    def _next(
        self,
        visit: Visit,
        loose: Loose,
        at: int,
        depth: int,
        frames: Sequence[Frame],
        seen: set[int],
        found: list[Candidate],
    ) -> None:
        """Adds the followers of `visit` at instruction `at` with `depth` frames.

        When a callback ends, the verifier looks at the helper's call again, where the run has none.
        """
        for one in visit.followers:
            if one.insn == at and len(one.frames) == depth:
                found.append((one, loose))
            elif self._is_callers(one) and id(one) not in seen and len(one.frames) <= depth:
                seen.add(id(one))
                target, more = one, loose
                if one.covered is not None:
                    target = self.recorder.visit_of(one.covered)
                    active = frames[self._base : self._base + len(one.frames)]
                    more = let_go(one.covered.frames, active, self.relation, loose)
                self._next(target, more, at, depth, frames, seen, found)

    def _is_callers(self, visit: Visit) -> bool:
        """Whether it is a call that runs callbacks, and a callback just ended."""
        insn = self.insns[visit.insn]
        return self._waits and insn.is_call and not _is_bpf_call(insn)

    def _flowed(self, visit: Visit, loose: Loose, frames: Sequence[Frame]) -> Loose:
        """Loose values after the instruction before, whatever it was."""
        insn, top = self.insns[self._at], len(frames) - 1 - self._base
        if len(frames) > self._depth:
            return called(loose, top) if _is_bpf_call(insn) else called_back(loose, top)
        if self._waits and insn.code == isa.OP_EXIT:
            back = returned(loose, top if len(frames) < self._depth else top - 1) - {top * 128}
            return back if len(frames) < self._depth else called_back(loose, top)
        if len(frames) < self._depth:
            return returned(loose, top)
        if insn.cls in (isa.JMP, isa.JMP32) and not insn.is_call:
            return loose if insn.op == isa.JA else compared(loose, insn, visit.frames)
        return flow(loose, insn, frames, self._base, self._regs)

    # ---- what stays

    def _staying(self, at: int, following: Sequence[Candidate], frames: Sequence[Frame]) -> list[Candidate]:
        """Of what comes next, those that mean the concrete frames. Raises Left when there is none."""
        active = frames[self._base :] if self._base else frames
        stay: dict[tuple[int, Loose], Candidate] = {}
        outside = None
        for visit, loose in following:
            found = self._outside(visit, active, loose)
            reached = [visit]
            if found is None and visit.covered is not None:
                covered = visit.covered
                loose = let_go(covered.frames, active, self.relation, loose)
                visit = self.recorder.visit_of(covered)
                found = self.relation.outside(covered.frames, active, loose)
                # the number that the checkpoint's instruction splits in two: either half may be meant
                reached = [visit, *(v for v in visit.twins if self._outside(v, active, loose) is None)]
            if found is None:
                for one in reached:
                    stay[id(one), loose] = (one, loose)
                if len(stay) >= _MANY:
                    break
            outside = outside or found
        if not stay:
            raise Left(at, outside or Outside("pc", at, _NO_PATH))
        return list(stay.values())

    def _outside(self, visit: Visit, active: Sequence[Frame], loose: Loose) -> Outside | None:
        if len(active) > 1:
            for inner, outer in zip(visit.frames[1:], active, strict=False):
                if inner.callsite != outer.pc - 1:
                    return Outside("call", outer.pc - 1, f"call at {inner.callsite}")
        return self.relation.outside(visit.frames, active, loose)


def _is_bpf_call(insn: Insn) -> bool:
    return insn.is_call and insn.src == isa.PSEUDO_CALL
