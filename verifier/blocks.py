"""The parts that explaining blocks are made of, and the blocks about locks, interrupts, RCU and preemption.

Source: kernel/bpf/diagnostics.c. Which block a refusal gets is verifier/diagnose.py's business.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from bpf import isa
from bpf.helpers import HELPERS
from verifier import reasons
from verifier.history import History, Place, arg_place
from verifier.reasons import Row
from verifier.regs import Reg
from verifier.report import Code, Report
from verifier.state import REF_TYPE_IRQ, REF_TYPE_LOCK, REF_TYPE_RES_LOCK, REF_TYPE_RES_LOCK_IRQ

if TYPE_CHECKING:
    import re

    from verifier.env import Env

_WAYS: Final = {
    reasons.RCU: "RCU read-side critical sections cannot call operations that may sleep",
    reasons.PREEMPT: "preemption-disabled code cannot call operations that may sleep",
    reasons.IRQ: "IRQ-disabled code cannot call operations that may sleep",
    reasons.LOCK: "code holding a BPF spin lock cannot call operations that may sleep",
}
_NO_SECTION: Final = "non-sleepable program"
_LOCKS: Final = {
    REF_TYPE_LOCK: "bpf_spin_lock",
    REF_TYPE_RES_LOCK: "resource spin lock",
    REF_TYPE_RES_LOCK_IRQ: "IRQ-saving resource spin lock",
}


def filled(text: str, match: "re.Match[str]", names: Mapping[str, object]) -> str:
    """A row's text with what its pattern found, {1} and on, and with names."""
    return text.format("", *match.groups(), **names) if "{" in text else text


class BlockWriter:
    """Writes blocks about the current instruction. history: what happened on the path so far."""

    def __init__(self, env: "Env") -> None:
        self.env = env
        self.history = History(env)

    # ---- parts

    def _code(self) -> Code:
        env = self.env
        return Code(env.program, env.insns, env.layout.functions, env.insn_text)

    def _report(self, category: str, problem: str) -> Report:
        return Report(self._code(), category, problem)

    def _at(self, report: Report, message: str) -> None:
        report.section("At")
        report.at(self.env.insn_idx, "error", message)

    def _path(self, report: Report, place: Place) -> None:
        report.path(self.history.of_value(place))

    def _argument_path(self, report: Report, slot: int) -> None:
        events = self.history.of_value(arg_place(self.env.func, slot))
        if events:
            report.path(events)

    def _place(self, name: str) -> tuple[Reg, int]:
        """State of what a message calls R3 or *(R11-8), and the register's number, -1 for a slot."""
        if name[0] == "R":
            return self.env.regs[int(name[1:])], int(name[1:])
        slot = int(name[6:-1]) // 8 - 1
        return self.env.func.stack_args[slot], -1

    def _callee(self) -> str:
        env = self.env
        insn = env.insns[env.insn_idx]
        if insn.src == isa.PSEUDO_CALL:
            name = env.layout.starting_at(env.insn_idx + insn.imm + 1).name
        elif insn.src == isa.PSEUDO_KFUNC_CALL:
            name = env.kfuncs[env.insn_idx].name
        else:
            helper = HELPERS.get(insn.imm)
            name = "" if helper is None else helper.name
        return name or "call"

    # ---- critical sections

    def _depth(self, section: str) -> int:
        state = self.env.cur_state
        if section == reasons.RCU:
            return state.active_rcu_locks
        if section == reasons.PREEMPT:
            return state.active_preempt_locks
        if section == reasons.IRQ:
            return sum(ref.type == REF_TYPE_IRQ for ref in state.refs)
        return state.active_locks

    def _open_section(self) -> str:
        state = self.env.cur_state
        if state.active_rcu_locks:
            return reasons.RCU
        if state.active_preempt_locks:
            return reasons.PREEMPT
        if state.active_irq_id:
            return reasons.IRQ
        return reasons.LOCK if state.active_locks else ""

    def _inside(self, section: str) -> str:
        depth = self._depth(section)
        if depth == 1:
            return f"an active {section} (depth 1)"
        return f"{depth} active {section}s (depth {depth})"

    def _forbidden(self, row: Row, match: "re.Match[str]", about: object) -> str:
        del about
        operation = filled(row.problem, match, {})
        section = self._open_section()
        report = self._report(reasons.CONTEXTS, "operation is not allowed in this context")
        text = f"The operation {operation} cannot be used in {section or _NO_SECTION}"
        if section:
            text += f" because {_WAYS[section]}. This path is still inside {self._inside(section)}"
        report.reason(f"{text}.")
        self._at(report, f"{operation} is not allowed in {section or _NO_SECTION}")
        if section:
            report.path(self.history.of_section(section, self._depth(section)))
        report.suggestion(row.suggestion)
        return report.text()

    def _active(self, row: Row, match: "re.Match[str]", about: object) -> str:
        del about
        operation = filled(row.problem, match, {"call": self._callee()})
        section = row.reason
        report = self._report(reasons.CONTEXTS, "operation is not allowed in this context")
        report.reason(
            f"The operation {operation} cannot be used while this path is still inside {self._inside(section)}."
            " Leave the region before this operation."
        )
        self._at(report, f"{operation} is not allowed before leaving {section}")
        report.path(self.history.of_section(section, self._depth(section)))
        report.suggestion(row.suggestion)
        return report.text()

    def _required(self, row: Row, match: "re.Match[str]", about: object) -> str:
        del about
        operation, section = match.group(1), row.reason
        report = self._report(reasons.CONTEXTS, "required context is not active")
        report.reason(
            f"The operation {operation} requires an active {section}, but this path is outside one."
        )
        self._at(report, f"{operation} requires {section}")
        report.suggestion(row.suggestion)
        return report.text()

    def _underflow(self, row: Row, match: "re.Match[str]", about: object) -> str:
        del about
        operation, section = match.group(1), row.reason
        report = self._report(reasons.CONTEXTS, "unmatched context exit")
        report.reason(
            f"The operation {operation} tries to leave {section}, but this path has no active {section} to leave."
            " The current depth is 0."
        )
        self._at(report, f"{operation} has no matching enter on this path")
        report.path(self.history.of_section(section, 0))
        report.suggestion(row.suggestion)
        return report.text()

    def _irq(self, row: Row, match: "re.Match[str]", about: object) -> str:
        del about
        report = self._report(reasons.RESOURCES, row.problem)
        report.reason(filled(row.reason, match, {}))
        self._at(report, row.problem)
        depth = self._depth(reasons.IRQ)
        if depth:
            report.path(self.history.of_section(reasons.IRQ, depth))
        report.suggestion(row.suggestion)
        return report.text()

    def _lock(self, row: Row, match: "re.Match[str]", about: object) -> str:
        del about
        report = self._report(reasons.RESOURCES, row.problem)
        report.reason(filled(row.reason, match, {}))
        self._at(report, row.problem)
        state = self.env.cur_state
        held = next((ref for ref in reversed(state.refs) if ref.type in _LOCKS), None)
        if held is not None:
            report.section("Active lock")
            report.at(
                held.insn_idx, "acquired", f"active {_LOCKS[held.type]} has verifier identity {held.id}"
            )
        report.suggestion(row.suggestion)
        return report.text()
