"""Owners of stack words, found out by watching, against the frames that the JIT says it makes."""

import pytest

from bpf.program import Request
from emu.load import load_file
from emu.pipeline import Options, Pipeline
from emu.trace import Trace, record
from emu.trace.trace import Row, walk
from jit.frame import Moment
from jit.image import Image
from jit.profile import PRESETS
from tests.emu.trace_kit import file_of, traced

PROGRAMS = ("arithmetic", "bare", "callback", "deep", "exits", "growing", "kfunc12", "pointers", "reverse12")
PROFILES = ("7.3", "7.3-nobmi2", "plain")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_word_has_the_owner_that_the_frame_names(name: str, profile: str) -> None:
    options = Options(seconds=1.0, profile=PRESETS[profile])
    item = load_file(file_of(name))[0]
    trace, image = both(item.request, options)
    compared = 0
    for _, step, state in walk(trace):
        assert step.addr is not None or not step.words
        if step.addr is None or not state.frames:
            continue
        activation, shape = state.frames[-1]
        function = trace.functions[trace.activations[activation].function]
        assert function is trace.functions[step.function]
        moment = image.functions[function.number].frame.at(step.addr - function.addr)
        body = image.functions[function.number].frame.body <= step.addr - function.addr
        compared += compare(
            trace.shapes[shape], moment, image.functions[function.number].frame.stack_depth, body=body
        )
        assert state.regs["rsp"] == trace.activations[activation].cfa - moment.depth
    assert compared > len(trace.steps)


def both(request: Request, options: Options) -> tuple[Trace, Image]:
    case = Pipeline(options).run(request, {})
    trace = record(request, {}, options)
    assert isinstance(trace, Trace)
    assert case.image is not None
    return trace, case.image


def compare(rows: tuple[Row, ...], moment: Moment, stack_depth: int, *, body: bool) -> int:
    """How many words were compared."""
    words = {off: row for row in rows for off in range(row.off, row.off + row.size, 8)}
    assert min(words) == -moment.depth
    assert sorted(words) == list(range(-moment.depth, max(words) + 8, 8))  # none is missing
    want: dict[int, str] = {moment.return_address.cfa: "return address of"}
    want |= {spot.cfa: f"saved {reg}" for reg, spot in moment.saved.items()}
    want |= {spot.cfa: f"pushed {reg}" for reg, spot in moment.temporaries.items()}
    want |= {spot.cfa: f"argument {number} of" for number, spot in moment.incoming.items()}
    if moment.stack is not None:
        want |= dict.fromkeys(range(moment.stack.cfa, moment.stack.cfa + stack_depth, 8), "program stack of")
    if moment.counts is not None:
        want |= {moment.counts.cfa: "pointer to the count", moment.counts.cfa + 8: "tail-call count"}
    if body:
        want |= {spot.cfa: f"outgoing argument {number}" for number, spot in moment.outgoing.items()}
    for off, what in want.items():
        assert words[off].what.startswith(what), (off, words[off], what)
    kernel = {off for off, row in words.items() if row.kind == "kernel"}
    known = {off for off in words if off >= 0 or body}
    assert known - kernel <= set(want), {off: words[off] for off in known - kernel - set(want)}
    return len(want)


def test_a_word_that_two_claim_names_both() -> None:
    """The prologue does not allocate the program stack, so registers are pushed where the program has its own words."""
    trace = traced("deep", "depth-forgotten")
    rows = [row for rows in trace.shapes for row in rows if row.kind == "saved"]
    assert any(row.note == "in the program stack" for row in rows)


def test_an_argument_in_the_wrong_word_is_said_to_be_there() -> None:
    trace = traced("kfunc12", "arguments-7-8-swapped", through=True)
    notes = {row.what: row.note for rows in trace.shapes for row in rows if row.note.startswith("argument")}
    assert notes["outgoing argument 7"].startswith("argument 8 of okf_sum12 at insn")
    assert notes["outgoing argument 8"].startswith("argument 7 of okf_sum12 at insn")
