"""Differences between interpreter and native code that mean nothing: made alike, so that what else differs is seen.

Where it comes from: docs/strict.md (an argument 6 that is lost, but not looked at).
"""

from bisect import bisect_right
from dataclasses import replace

from bpf import isa
from bpf.insn import Insn
from bpf.program import Program
from emu.native import function_starts
from emu.outcome import Entry, Outcome, Violation

_SIXTH = 6  # the argument that travels in a register which calls destroy


def without_unread(program: Program, outcome: Outcome) -> Outcome:
    """Without the argument 6 of functions that never load it, where packet loads or may_goto may have lost it."""
    readers = _readers(program)
    if readers is None:
        return outcome
    runs = []
    for run in outcome.runs:
        entries = tuple(e if e.function in readers else _without_sixth(e) for e in run.entries)
        kept = tuple(v for v in run.violations if not _is_of_unread(program, v, readers))
        runs.append(replace(run, entries=entries, violations=kept))
    return replace(outcome, runs=tuple(runs))


def _readers(program: Program) -> frozenset[int] | None:
    """Starts of the functions that load their argument 6; None where nothing comes between storing it and the call."""
    if not any(insn.code == isa.OP_MAY_GOTO or _is_packet_load(insn) for insn in program.insns):
        return None
    starts = function_starts(program)
    loads = (at for at, insn in enumerate(program.insns) if _loads_sixth(insn))
    return frozenset(starts[bisect_right(starts, at) - 1] for at in loads)


def _is_packet_load(insn: Insn) -> bool:
    return insn.cls == isa.LD and insn.mode in (isa.ABS, isa.IND)


def _loads_sixth(insn: Insn) -> bool:
    return insn.src == isa.REG_PARAMS and insn.off == 8 and insn.cls == isa.LDX


def _is_of_unread(program: Program, violation: Violation, readers: frozenset[int]) -> bool:
    if violation.check != "stale-argument" or violation.insn is None:
        return False
    insn = program.insns[violation.insn]
    is_call = insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL
    return is_call and violation.insn + insn.imm + 1 not in readers and "argument 6 of" in violation.message


def _without_sixth(entry: Entry) -> Entry:
    args = (*entry.args[: _SIXTH - 1], None, *entry.args[_SIXTH:])
    return replace(entry, args=args) if len(entry.args) >= _SIXTH else entry
