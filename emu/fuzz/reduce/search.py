"""Asks whether a simpler state still shows the same fault, and keeps the best one: what all passes share.

A candidate is taken when it is smaller (state.weigh) and the finding is alike. Where it can, it asks a judge that is quick:
one oracle, no explanations, little more instructions and time than the program needed (the reducer asks the full judge about
the result). The number of candidates is limited, so that a reduction depends on nothing but its input; the clock only ends
what would never end.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from time import perf_counter
from typing import Protocol

from bpf.codec import encode
from bpf.errors import InputError
from bpf.program import Program, Request
from emu.compare import STACKS
from emu.fuzz.finding import Finding
from emu.fuzz.judge import Judge, Judged
from emu.fuzz.reduce.draft import Draft
from emu.fuzz.reduce.flow import tidy, well_formed
from emu.fuzz.reduce.state import State, weigh

MIN_BUDGET = 50_000  # instructions that a candidate may run, where the program itself needs fewer
MIN_VISITS = 4_000  # instructions that the verifier may visit, likewise
# processor time of a native run: a hundred times what any run within the budget needs, so that it ends endless ones alone
SECONDS, SECONDS_AN_INSN = 0.2, 2e-5
STACK = hex(STACKS >> 24)  # how an address on a stack of one of the engines begins


class Judging(Protocol):
    """What a reduction asks; `Judge` is one."""

    def judge(
        self, request: Request, others: Mapping[str, Program] | None = None, *, thorough: bool = False
    ) -> Judged:
        """All findings about a program."""


@dataclass(frozen=True, slots=True)
class Budget:
    """candidates: programs that may be judged. seconds: wall clock, far more than they usually take."""

    candidates: int = 4000
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Saved:
    """A state, what was found about it, and its weight."""

    state: State
    finding: Finding
    weight: tuple[int, ...]


class Search:
    """The best state so far, and how it was found."""

    def __init__(
        self, state: State, finding: Finding, judge: Judging, budget: Budget, *, thorough: bool
    ) -> None:
        self.state = state
        self.finding = finding
        self.judge = judge
        self.budget = budget
        self.thorough = thorough
        self.tidies = self.shaped = False
        self.tried = self.taken = 0
        self.stopped = ""
        self._first = finding.message
        self._seen: set[bytes] = set()
        self._weight = weigh(state)
        self._end = perf_counter() + budget.seconds

    @property
    def main(self) -> Draft:
        """The program that is run, as it is now."""
        return self.state.main

    def draft(self, name: str) -> Draft | None:
        """Program `name` as it is now; None when it has gone."""
        return self.state.drafts.get(name)

    def settle(self) -> None:
        """Find out what may be taken for granted: programs of good shape, no code that nothing reaches."""
        self.shaped = all(well_formed(draft) for draft in self.state.drafts.values())
        cleaned = self._tidied(self.state)
        self.tidies = cleaned == self.state or self.attempt(cleaned)

    def saved(self) -> Saved:
        """For `restore`."""
        return Saved(self.state, self.finding, self._weight)

    def restore(self, saved: Saved) -> None:
        """Back to what was the best state then."""
        self.state, self.finding, self._weight = saved.state, saved.finding, saved.weight

    def attempt_draft(self, name: str, draft: Draft | None) -> bool:
        """As `attempt`, with another version of one program."""
        return draft is not None and self.attempt(self.state.with_draft(name, draft))

    def attempt(self, state: State, *, smaller: bool = True) -> bool:
        """Take this state if it is smaller (unless that is not asked for) and shows the same fault."""
        if self.stopped:
            return False
        if self.tidies:
            state = self._tidied(state)
        weight = weigh(state)
        if (smaller and weight >= self._weight) or not self._worth_it(state, again=not smaller):
            return False
        if self.tried >= self.budget.candidates:
            self.stopped = "candidates"
        elif perf_counter() > self._end:
            self.stopped = "seconds"
        if self.stopped:
            return False
        self.tried += 1
        made = state.made()
        assert made is not None
        found, _ = alike(self.judge, *made, self.finding, thorough=self.thorough)
        if found is None or self._by_nature(found):
            return False
        self.state, self.finding, self._weight = state, found, weight
        self.taken += 1
        return True

    def _worth_it(self, state: State, *, again: bool) -> bool:
        """Whether a state can be put together, is of good shape, and was not tried before (unless it may be)."""
        if not all(draft.items for draft in state.drafts.values()):
            return False
        if self.shaped and not all(well_formed(draft) for draft in state.drafts.values()):
            return False
        made = state.made()
        if made is None:
            return False
        mark = _mark(*made)
        if mark in self._seen and not again:
            return False
        self._seen.add(mark)
        return True

    def _by_nature(self, found: Finding) -> bool:
        """Whether a complaint is, other than the first one, about an address on a stack: those differ without any fault."""
        return STACK in found.message and STACK not in self._first

    def _tidied(self, state: State) -> State:
        return replace(state, drafts={name: tidy(draft) for name, draft in state.drafts.items()})


def alike(
    judge: Judging, request: Request, others: Mapping[str, Program], finding: Finding, *, thorough: bool
) -> tuple[Finding | None, Judged | None]:
    """What a judge finds that is the same complaint as `finding`, and all that it says."""
    try:
        judged = judge.judge(request, others, thorough=thorough)
    except InputError:
        return None, None
    except Exception:  # noqa: BLE001  a candidate that breaks an engine is another fault than the one looked for
        return None, None
    return next((one for one in judged.findings if one.alike(finding)), None), judged


def quick(judge: Judging, finding: Finding, judged: Judged | None) -> Judging:
    """The same judge with one oracle, and limits that the program itself keeps easily; itself where it cannot be told."""
    if not isinstance(judge, Judge) or judged is None:
        return judge
    outcome = judged.case.interp
    needed = max((run.insns or 0 for run in outcome.runs), default=0) if outcome is not None else 0
    budget = max(2 * needed, MIN_BUDGET)
    visited = judged.case.verdict.verified_insns if judged.case.verdict is not None else 0
    made = copy.copy(judge)
    if finding.oracle in judge.oracles:
        made.oracles = (finding.oracle,)
    made.pipeline = copy.copy(judge.pipeline)
    options = made.pipeline.options
    made.pipeline.options = replace(
        options,
        budget=min(options.budget, budget),
        seconds=min(options.seconds, SECONDS + SECONDS_AN_INSN * budget),
        explain=False,
        insn_limit=min(options.insn_limit, max(2 * visited, MIN_VISITS)),
    )
    return made


def _mark(request: Request, others: Mapping[str, Program]) -> bytes:
    """What two equal candidates have in common."""
    made = sha256()
    for program in (request.program, *others.values()):
        functions = [str(program.btf.prototype(f.type_id)) for f in program.func_info] if program.btf else []
        rest = replace(program, insns=(), btf=None)
        made.update(encode(program.insns))
        made.update(repr((rest, functions)).encode())
    made.update(repr(request.runs).encode())
    return made.digest()
