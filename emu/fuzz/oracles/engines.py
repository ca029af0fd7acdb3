"""The interpreter and the sandbox agree: result, maps, packet, every argument of every call; and no convention is broken."""

from collections.abc import Iterator
from typing import Final

from bpf import isa
from bpf.verified import Verified
from emu.arena import in_arena
from emu.compare import Difference, compare, without_inlined
from emu.fuzz.finding import Finding
from emu.fuzz.oracles.allowed import without_unread
from emu.fuzz.oracles.exam import Exam
from emu.fuzz.oracles.limits import is_limit
from emu.interp import Interpreter
from emu.interp.layout import STACK_TOP
from emu.outcome import Outcome
from emu.removed import with_removed
from emu.runtime.world import World

_FILL: Final = 0x5A
_MOVED: Final = 0x2_3450  # by which the stack lies lower
_LONG: Final = 10_000  # instructions that native code never takes seconds for


def judge(exam: Exam) -> Iterator[Finding]:
    """The first point at which both part and may not.

    Nothing when one was only cut off before it, or when the program reads stack that it never wrote, which programs may
    (docs/fidelity.md), or computes with a part of the address of its stack: what comes of that is nobody's business.
    """
    case = exam.case
    found = case.difference
    if found is None or case.interp is None or case.sandbox is None or exam.verified is None:
        return
    found = _telling(exam, exam.verified, case.interp, case.sandbox)
    if found is None:
        return
    if not _cut_off(found, case.interp, case.sandbox) and not _depends_on_stack(exam, case.interp):
        yield Finding(
            "engines", _kind(found, case.interp, case.sandbox), found.message, found.insn, found.run
        )


def _cut_off(found: Difference, left: Outcome, right: Outcome) -> bool:
    """Whether all that differs is how far an engine got: one counts instructions, the other time."""
    if found.run is None:
        return False
    one, other = left.runs[found.run], right.runs[found.run]
    if one.trap is not None and is_limit(one.trap):
        return True
    too_slow = other.trap is not None and other.trap.kind == "budget"
    return too_slow and (one.insns or _LONG) >= _LONG


def _telling(exam: Exam, verified: Verified, interp: Outcome, sandbox: Outcome) -> Difference | None:
    """The first difference that means something."""
    program = exam.request.program
    expected = without_inlined(without_unread(program, interp), verified.inlined)
    actual = with_removed(verified, expected, without_unread(program, sandbox))
    return compare(expected, actual, program.maps)


def _depends_on_stack(exam: Exam, outcome: Outcome) -> bool:
    """Whether the interpreter says something else when stacks hold other bytes at first, and lie elsewhere."""
    options, program = exam.pipeline.options, exam.request.program
    world = World(program, seed=options.seed, programs=exam.others)
    engine = Interpreter(
        world, budget=options.budget, fill=_FILL, top=STACK_TOP - _MOVED, in_arena=in_arena(program)
    )
    runs = tuple(engine.run(run) for run in exam.request.runs)
    other = Outcome("interp", runs, world.contents(), world.dumps())
    return compare(outcome, other, program.maps) is not None


def _kind(found: Difference, left: Outcome, right: Outcome) -> str:
    """What differs, without its values: "violation callee-saved", "stack argument", "trap none access"."""
    if found.kind == "violation":
        return f"violation {found.check}"
    if found.kind == "argument" and (found.argument or 0) > isa.MAX_REG_ARGS:
        return "stack argument"
    if found.kind == "trap" and found.run is not None:
        ends = (side.runs[found.run].trap for side in (left, right))
        return " ".join(("trap", *("none" if trap is None else trap.kind for trap in ends)))
    return found.kind
