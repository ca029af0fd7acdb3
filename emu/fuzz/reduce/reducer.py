"""The order of the passes, round after round until none finds anything more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bpf import isa
from bpf.insn import Insn
from bpf.program import Program, Request
from emu.fuzz.finding import Finding
from emu.fuzz.reduce import calls, code, data
from emu.fuzz.reduce.search import Budget, Judging, Saved, Search, alike, quick
from emu.fuzz.reduce.state import MAIN, State

Pass = Callable[[Search, str], None]

STATE_FREQ: Final = 1 << 3  # BPF_F_TEST_STATE_FREQ
PATHS: Final = "sound"  # the oracle that sees which paths the verifier did not follow
LONG: Final = 10  # instructions of a program that is short enough
SHORT: Final = 15  # likewise, where shortening it takes long

# what cuts much comes first; a program that is small is quickly judged
CODE: Final[tuple[Pass, ...]] = (
    calls.functions,
    code.blocks,
    code.branches,
    code.values,
    calls.parameters,
    calls.callees,
    data.maps,
    code.constants,
    code.registers,
    code.one_register,
    code.stack,
    code.offsets,
    calls.types,
    code.pairs,
)
ORDERS: Final = (4, 7)  # passes that others begin with


@dataclass(frozen=True, slots=True)
class Reduced:
    """What is left of a program.

    finding: about the reduced program. reproduced: whether the finding was met at all; if not, nothing was changed.
    tried: programs that were judged. insns_before, insns_after: instructions of all programs, a 64-bit immediate is one.
    stopped: "" when nothing more could be cut, else the limit that ended it: "candidates", or "seconds", the only case in
    which another machine may give another result.
    """

    request: Request
    others: Mapping[str, Program]
    finding: Finding
    tried: int
    insns_before: int
    insns_after: int
    stopped: str = ""
    reproduced: bool = True


def reduce(
    request: Request,
    others: Mapping[str, Program],
    finding: Finding,
    judge: Judging,
    budget: Budget | None = None,
) -> Reduced:
    """The smallest program that was found to show a finding of the same oracle and kind.

    The same input gives the same output, wherever and however often it runs, unless the clock ended it (`stopped`).
    """
    count = State.of(request, others).count
    found, judged = alike(judge, request, others, finding, thorough=False)
    thorough = found is None
    if thorough:
        found, judged = alike(judge, request, others, finding, thorough=True)
    if found is None:
        return Reduced(request, others, finding, 2, count, count, reproduced=False)
    tried = 1 + thorough
    for asked in (quick(judge, finding, judged), judge):
        search = Search(State.of(request, others), found, asked, budget or Budget(), thorough=thorough)
        if asked is not judge and alike(asked, request, others, finding, thorough=thorough)[0] is None:
            continue
        _search(search)
        made = search.state.made()
        assert made is not None
        last, _ = alike(judge, *made, finding, thorough=thorough)
        tried += search.tried + 1
        if last is not None:
            return Reduced(*made, last, tried, count, search.state.count, search.stopped)
    return Reduced(request, others, found, tried, count, count)


def _search(search: Search) -> None:
    """All rounds."""
    search.settle()
    _plain(search)
    data.attributes(search)
    whole = search.saved()
    _rounds(search)
    _otherwise(search, whole)
    plain = search.saved()
    _denser(search, whole)
    _kept(search, plain)
    _tell(search)


def _rounds(search: Search, first: int = 0) -> None:
    """Until one finds nothing more. first: the pass that each begins with."""
    passes, taken = CODE[first:] + CODE[:first], -1
    while taken != search.taken and not search.stopped:
        taken = search.taken
        _round(search, passes)


def _otherwise(search: Search, whole: Saved) -> None:
    """Once more from the start with the passes in another order, while what is left is long: each ends in a dead end of its own."""
    best = search.saved()
    for first in ORDERS:
        if best.state.count <= SHORT:
            break
        search.restore(whole)
        _rounds(search, first)
        if search.state.count < best.state.count:
            best = search.saved()
    search.restore(best)


def _denser(search: Search, whole: Saved) -> None:
    """Once more with checkpoints at every place where the verifier may keep one, if that makes a long program shorter.

    Faults of pruning otherwise need idle instructions, until there are enough of them for the verifier to keep a state.
    """
    best = search.saved()
    flags = search.main.program.prog_flags
    if search.state.count <= LONG or flags & STATE_FREQ:
        return
    for start in (best, whole):
        search.restore(start)
        if search.attempt(search.state.with_program(prog_flags=flags | STATE_FREQ), smaller=False):
            _rounds(search)
            if search.state.count < best.state.count:
                return
    search.restore(best)


def _kept(search: Search, plain: Saved) -> None:
    """Once more with a place at which the verifier always keeps a state, instead of what makes it keep one.

    That is what it does at may_goto, and a may_goto that leads to the next instruction is nothing else.
    """
    best = search.saved()
    if search.finding.oracle != PATHS:
        return
    for index in range(plain.state.main.count):
        if best.state.count <= SHORT:
            break
        search.restore(plain)
        draft = plain.state.main.inserted(index, Insn(isa.OP_MAY_GOTO))
        if search.attempt(plain.state.with_draft(MAIN, draft), smaller=False):
            _rounds(search)
            if search.state.count < best.state.count:
                best = search.saved()
    search.restore(best)


def _tell(search: Search) -> None:
    """Stack arguments that came down to 0 become their own numbers, where that makes no difference.

    A reader sees which is which, and an argument that gets lost on a real kernel is not right by luck.
    """
    told = {name: code.numbered(draft) for name, draft in search.state.drafts.items()}
    if search.attempt(replace(search.state, drafts=told), smaller=False):
        return
    for name, draft in search.state.drafts.items():
        for index in range(draft.count):
            made = search.state.with_draft(name, code.numbered(search.state.drafts[name], index))
            search.attempt(made, smaller=False)


def _plain(search: Search) -> None:
    """BTF that is made of prototypes, as in the text format, for all programs at once or for one."""
    drafts = {name: draft.as_plain() or draft for name, draft in search.state.drafts.items()}
    if not search.attempt(replace(search.state, drafts=drafts)):
        for name, draft in drafts.items():
            search.attempt_draft(name, draft)


def _round(search: Search, passes: Sequence[Pass]) -> None:
    data.inputs(search)
    data.others(search)
    for step in passes:
        for name in sorted(search.state.drafts):
            step(search, name)
    data.attributes(search)
