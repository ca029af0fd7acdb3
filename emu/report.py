"""Tables for the terminal: one row a program, and every call with its arguments."""

from rich.table import Table
from rich.text import Text

from bpf.verified import Rejected
from emu.compare import without_inlined
from emu.explain import bpf_place, native_place, parameter
from emu.outcome import CallRecord, Outcome, RunResult
from emu.pipeline import Case

STYLES = {"agrees": "green", "differs": "bold red", "rejected": "yellow"}


def verdict_of(case: Case) -> str:
    """One word: agrees, differs, rejected, or what was done where nothing was compared."""
    if case.difference is not None:
        return "differs"
    if case.interp is not None and case.sandbox is not None:
        return "agrees"
    return "rejected" if case.rejected else "accepted"


def result_table() -> Table:
    """An empty table of programs."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (
        ("program", "left"), ("verdict", "left"), ("r0", "right"), ("runs", "right"), ("calls", "right"),
        ("insns", "right"), ("ms", "right"), ("", "left"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, no_wrap=name != "", overflow="fold")  # type: ignore[arg-type]
    return table


def add_row(table: Table, case: Case) -> None:
    """One program: verdict, r0 of the last run, calls compared, instructions executed, time."""
    verdict = verdict_of(case)
    runs = case.interp.runs if case.interp else case.sandbox.runs if case.sandbox else ()
    insns = [run.insns for run in runs if run.insns is not None]
    table.add_row(
        Text(case.request.program.name),
        Text(verdict, STYLES.get(verdict, "")),
        hex(runs[-1].r0) if runs and runs[-1].trap is None else "",
        str(len(runs)) if runs else "",
        str(sum(len(run.calls) for run in runs)) if runs else "",
        str(sum(insns)) if insns else "",
        f"{case.seconds * 1000:.1f}",
        Text(_remark(case, runs)),
    )


def _remark(case: Case, runs: tuple[RunResult, ...]) -> str:
    if case.difference is not None:
        return case.difference.message
    if isinstance(case.verdict, Rejected) and not runs:
        return f"{case.verdict.errno}: {case.verdict.message or 'the kernel says no more'}"
    trap = next((run.trap for run in runs if run.trap is not None), None)
    if trap is not None:
        return (
            f"both engines trap: {trap.message}" if case.sandbox and case.interp else f"trap: {trap.message}"
        )
    errno = next((run.errno for run in runs if run.errno != "OK"), None)
    return f"the test run is refused: {errno}" if errno else ""


def call_tables(case: Case, limit: int = 20) -> list[Table]:
    """Every call of a kfunc or helper as a table of its arguments, both engines side by side; `limit` a run."""
    tables = []
    left, right = _runs(_compared(case)), _runs(case.sandbox)
    for number in range(max(len(left), len(right))):
        one = left[number].calls if number < len(left) else ()
        other = right[number].calls if number < len(right) else ()
        for index in range(min(limit, max(len(one), len(other)))):
            call = one[index] if index < len(one) else other[index]
            tables.append(
                _call_table(
                    number,
                    index,
                    call,
                    one[index] if index < len(one) else None,
                    other[index] if index < len(other) else None,
                )
            )
    return tables


def _compared(case: Case) -> Outcome | None:
    """The interpreter's outcome with the calls that native code makes, too."""
    if case.interp is None or case.image is None:
        return case.interp
    return without_inlined(case.interp, case.image.verified.inlined)


def _runs(outcome: Outcome | None) -> tuple[RunResult, ...]:
    return () if outcome is None else outcome.runs


def _call_table(
    run: int, index: int, call: CallRecord, one: CallRecord | None, other: CallRecord | None
) -> Table:
    table = Table(
        title=Text(f"run {run + 1}, call {index + 1}: insn {call.insn} calls {call.callee} -> {call.ret:#x}"),
        title_justify="left", title_style="", box=None, pad_edge=False, header_style="dim",
    )  # fmt: skip
    for name in ("", "parameter", "put in", "found in", "interpreter", "sandbox", ""):
        table.add_column(
            name, justify="right" if name in ("interpreter", "sandbox") else "left", no_wrap=True
        )
    for number in range(1, len(call.args) + 1):
        values = [_value(side, number) for side in (one, other)]
        mark = Text("<- differs", "bold red") if one and other and values[0] != values[1] else Text("")
        table.add_row(
            f"arg {number}",
            parameter(call.callee, number),
            bpf_place(number),
            Text(native_place(number)),  # its brackets are no markup
            *values,
            mark,
        )
    return table


def _value(call: CallRecord | None, number: int) -> str:
    if call is None or number > len(call.args):
        return "-"
    shown = call.shown[number - 1] if number <= len(call.shown) else None
    return hex(call.args[number - 1]) if shown is None else str(shown)
