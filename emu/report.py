"""Tables for the terminal: one row a program, and every call with its arguments."""

from collections.abc import Sequence
from itertools import zip_longest

from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bpf.verified import Rejected
from emu.compare import without_inlined
from emu.explain import bpf_place, native_place, parameter
from emu.outcome import CallRecord, Outcome, RunResult
from emu.pipeline import Case

UNBOUNDED = 1 << 16  # columns: more than any row needs
STYLES = {"agrees": "green", "differs": "bold red", "both trap": "yellow", "rejected": "yellow"}


def verdict_of(case: Case) -> str:
    """In a word or two: agrees, differs, both trap, rejected, or what was done where nothing was compared."""
    if case.difference is not None:
        return "differs"
    if case.interp is not None and case.sandbox is not None:
        return "agrees" if all(run.trap is None for run in case.interp.runs) else "both trap"
    return "rejected" if case.rejected else "accepted"


def say(out: Console, text: str, style: str = "", indent: int = 0) -> None:
    """A line of text as it is, wrapped on a terminal only: what reads a pipe wants whole lines."""
    if out.is_terminal:
        out.print(Padding(Text(text, style), (0, 0, 0, indent), expand=False))
    else:
        out.print(Text(" " * indent + text, style), soft_wrap=True)


def fits(out: Console, table: Table) -> bool:
    """Whether every row can be shown whole."""
    return Measurement.get(out, out.options.update(width=UNBOUNDED), table).maximum <= out.width


def print_results(out: Console, cases: Sequence[Case]) -> None:
    """One row a program; remarks stand in the row where all of them fit there, else below the table."""
    table = _result_table(cases, remarks=True)
    if fits(out, table):
        out.print(table)
        return
    out.print(_result_table(cases, remarks=False))
    out.print()
    for case in cases:
        if remark := _remark(case):
            say(out, f"{case.request.program.name}: {remark}")


def _result_table(cases: Sequence[Case], *, remarks: bool) -> Table:
    """Verdict, r0 of the last run, calls compared, instructions executed, time of each program."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("program", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for name in ("r0", "runs", "calls", "insns", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    remarks = remarks and any(map(_remark, cases))
    if remarks:
        table.add_column("", no_wrap=True)
    for case in cases:
        verdict, runs = verdict_of(case), _result_runs(case)
        insns = [run.insns for run in runs if run.insns is not None]
        table.add_row(
            Text(case.request.program.name),
            Text(verdict, STYLES.get(verdict, "")),
            hex(runs[-1].r0) if runs and runs[-1].trap is None else "",
            str(len(runs)) if runs else "",
            str(sum(len(run.calls) + run.calls_dropped for run in runs)) if runs else "",
            str(sum(insns)) if insns else "",
            f"{case.seconds * 1000:.1f}",
            *([Text(_remark(case))] if remarks else []),
        )
    return table


def _result_runs(case: Case) -> tuple[RunResult, ...]:
    return _runs(case.interp) or _runs(case.sandbox)


def _remark(case: Case) -> str:
    """What a row cannot say; a difference is explained elsewhere, in full."""
    runs = _result_runs(case)
    if case.difference is not None:
        return ""
    if case.error is not None:
        return str(case.error)
    if isinstance(case.verdict, Rejected) and not runs:
        return f"{case.verdict.errno}: {case.verdict.message or 'the kernel says no more'}"
    trap = next((run.trap for run in runs if run.trap is not None), None)
    if trap is not None:
        return f"{trap.kind}, {trap.message}"
    errno = next((run.errno for run in runs if run.errno != "OK"), None)
    return f"the test run is refused: {errno}" if errno else ""


def call_tables(case: Case, limit: int = 20) -> list[Table | Text]:
    """Every call of a kfunc or helper as a table of its arguments, both engines side by side; `limit` a run."""
    tables: list[Table | Text] = []
    for number, (left, right) in enumerate(zip_longest(_runs(_compared(case)), _runs(case.sandbox))):
        calls = list(zip_longest(left.calls if left else (), right.calls if right else ()))
        tables += [_call_table(number, index, *pair) for index, pair in enumerate(calls[:limit])]
        dropped = max(run.calls_dropped for run in (left, right) if run is not None)
        if more := len(calls) - len(calls[:limit]) + dropped:
            tables.append(
                Text(f"run {number + 1}: {more} more calls; --json has {len(calls)} of them", "dim")
            )
    return tables


def _compared(case: Case) -> Outcome | None:
    """The interpreter's outcome with the calls that native code makes, too."""
    if case.interp is None or case.image is None:
        return case.interp
    return without_inlined(case.interp, case.image.verified.inlined)


def _runs(outcome: Outcome | None) -> tuple[RunResult, ...]:
    return () if outcome is None else outcome.runs


def _call_table(run: int, index: int, one: CallRecord | None, other: CallRecord | None) -> Table:
    call = one or other
    assert call is not None
    table = Table(
        title=Text(f"run {run + 1}, call {index + 1}: insn {call.insn} calls {call.callee} -> {call.ret:#x}"),
        title_justify="left", title_style="", box=None, pad_edge=False, header_style="dim",
    )  # fmt: skip
    names = ["", "parameter", "put in", "found in", "interpreter", "sandbox"]
    apart = one is not None and other is not None and (one.args, one.shown) != (other.args, other.shown)
    for name in [*names, ""] if apart else names:
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
            *([mark] if apart else []),
        )
    return table


def _value(call: CallRecord | None, number: int) -> str:
    if call is None or number > len(call.args):
        return "-"
    shown = call.shown[number - 1] if number <= len(call.shown) else None
    return hex(call.args[number - 1]) if shown is None else str(shown)
