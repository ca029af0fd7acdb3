"""The interpreter and the sandbox agree: result, maps, packet, every argument of every call; and no convention is broken."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bpf import isa
from bpf.insn import Insn
from bpf.program import Program
from emu.compare import Difference, compare, without_inlined
from emu.fuzz.finding import Finding
from emu.fuzz.oracles.exam import Exam
from emu.fuzz.oracles.limits import is_limit
from emu.interp import Interpreter
from emu.native import function_starts
from emu.outcome import Entry, Outcome, Violation
from emu.runtime.world import World

_FILL: Final = 0x5A
_SIXTH: Final = 6  # the argument that travels in a register which calls destroy
_LONG: Final = 10_000  # instructions that native code never takes seconds for


def judge(exam: Exam) -> Iterator[Finding]:
    """The first point at which both part; an argument 6 that nobody looks at is left aside where it may be lost.

    Nothing when one was only cut off before it, or when the program reads stack that it never wrote, which programs may
    (docs/fidelity.md): what is there then is nobody's business.
    """
    case = exam.case
    found = case.difference
    if found is None or case.interp is None or case.sandbox is None or exam.verified is None:
        return
    readers = _readers(exam.request.program)
    if readers is not None:
        expected = without_inlined(
            _as_read(exam.request.program, case.interp, readers), exam.verified.inlined
        )
        sandbox = _as_read(exam.request.program, case.sandbox, readers)
        found = compare(expected, sandbox, exam.request.program.maps)
        if found is None:
            return
    if not _cut_off(found, case.interp, case.sandbox) and not _reads_unwritten(exam, case.interp):
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


def _readers(program: Program) -> frozenset[int] | None:
    """Starts of the functions that load their argument 6; None where nothing comes between storing it and the call."""
    if not any(insn.code == isa.OP_MAY_GOTO or _is_packet_load(insn) for insn in program.insns):
        return None
    starts = function_starts(program)
    loads = (at for at, insn in enumerate(program.insns) if _loads_sixth(insn))
    return frozenset(starts[bisect_right(starts, at) - 1] for at in loads)


def _as_read(program: Program, outcome: Outcome, readers: frozenset[int]) -> Outcome:
    """Without the argument 6 of functions that never load it, which packet loads and may_goto may have lost.

    Strict mode allows that, too: docs/strict.md.
    """
    runs = []
    for run in outcome.runs:
        entries = tuple(e if e.function in readers else _without_sixth(e) for e in run.entries)
        kept = tuple(v for v in run.violations if not _is_of_unread(program, v, readers))
        runs.append(replace(run, entries=entries, violations=kept))
    return replace(outcome, runs=tuple(runs))


def _is_of_unread(program: Program, violation: Violation, readers: frozenset[int]) -> bool:
    if violation.check != "stale-argument" or violation.insn is None:
        return False
    insn = program.insns[violation.insn]
    is_call = insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL
    return is_call and violation.insn + insn.imm + 1 not in readers and "argument 6 of" in violation.message


def _loads_sixth(insn: Insn) -> bool:
    return insn.src == isa.REG_PARAMS and insn.off == 8 and insn.cls == isa.LDX


def _is_packet_load(insn: Insn) -> bool:
    return insn.cls == isa.LD and insn.mode in (isa.ABS, isa.IND)


def _without_sixth(entry: Entry) -> Entry:
    args = (*entry.args[: _SIXTH - 1], None, *entry.args[_SIXTH:])
    return replace(entry, args=args) if len(entry.args) >= _SIXTH else entry


def _reads_unwritten(exam: Exam, outcome: Outcome) -> bool:
    """Whether the interpreter says something else when stacks hold other bytes at first."""
    options, program = exam.pipeline.options, exam.request.program
    world = World(program, seed=options.seed, programs=exam.others)
    engine = Interpreter(world, budget=options.budget, fill=_FILL)
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
