"""The summary as text, for a terminal or a log."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emu.fuzz.coverage import ALL_FORMS
from emu.fuzz.report.numbers import Numbers, plain, share
from emu.fuzz.state import Kept
from emu.report import say


def show(out: Console, numbers: Numbers, folder: str | None) -> None:
    """Figures first, findings last, where one looks. folder: of the campaign; None: the programs are shown whole."""
    result = numbers.result
    tally = result.state.tally
    out.print(_generators(numbers))
    out.print()
    _coverage(out, numbers)
    if tally.arguments:
        counts = ", ".join(f"{count}: {calls:,}" for count, calls in sorted(tally.arguments.items()))
        say(out, f"arguments of the calls made: {counts}")
    out.print()
    _findings(out, numbers, folder)
    speed = f", {tally.cases / result.seconds:,.0f} a second" if result.seconds >= 1 else ""
    ended = "stopped after" if result.stopped else "in"
    say(out, f"{tally.cases:,} cases {ended} {result.seconds:.0f} s{speed}, {_verdict(numbers)}", "bold")
    _remarks(out, numbers, folder)


def _generators(numbers: Numbers) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("generator", no_wrap=True)
    for name in ("cases", "accepted", "", "not taken", "instructions"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in sorted(numbers.result.state.tally.by.items()):
        insns = f"{one.insns / one.cases:.0f}" if one.cases else ""
        table.add_row(
            Text(plain(name)), f"{one.cases:,}", f"{one.accepted:,}", share(one.accepted, one.cases), str(one.untaken or ""), insns
        )  # fmt: skip
    return table


def _coverage(out: Console, numbers: Numbers) -> None:
    say(out, f"instruction forms in accepted programs: {numbers.forms} of {len(ALL_FORMS)}")
    if numbers.missing:
        more = f" and {len(numbers.missing) - 12} more" if len(numbers.missing) > 12 else ""
        say(out, f"missing: {', '.join(numbers.missing[:12])}{more}", "dim", indent=2)
    for one in numbers.reached:
        say(
            out,
            f"{one.package}: {one.branches:,} of {one.all_branches:,} branches, "
            f"{one.lines:,} of {one.all_lines:,} lines",
        )
    if numbers.unmeasured:
        say(out, f"branches: {numbers.unmeasured}", "dim")


def _findings(out: Console, numbers: Numbers, folder: str | None) -> None:
    result = numbers.result
    for number, one in enumerate(result.kept, 1):
        say(out, f"{number}. {plain(one.entry.cause)}", "bold red")
        say(out, plain(one.entry.finding.message), indent=3)
        say(
            out,
            plain(f"{_size(one)}, case {one.entry.generator} {one.entry.number}, seen {_times(one)}"),
            indent=3,
        )
        if folder is not None:
            say(out, plain(f"{folder}/findings/{one.entry.name}.bpf"), "bold", indent=3)
        else:
            for line in result.programs[one.entry.name].text.splitlines():
                say(out, plain(line), indent=6)
        out.print()


def _size(one: Kept) -> str:
    entry = one.entry
    if not entry.reduced:
        return f"{entry.insns} instructions, not reduced"
    return f"{entry.insns} instructions, reduced from {entry.before}"


def _times(one: Kept) -> str:
    return "once" if one.seen == 1 else f"in {one.seen:,} cases"


def _verdict(numbers: Numbers) -> str:
    kept = len(numbers.result.kept)
    return "nothing found" if not kept else f"{kept} finding{'s' if kept > 1 else ''}"


def _remarks(out: Console, numbers: Numbers, folder: str | None) -> None:
    result = numbers.result
    more = result.state.unexplained()
    if more:
        say(out, f"{more:,} complaints more are like these, but have not been reduced", "dim")
    if result.waiting:
        say(out, f"{result.waiting} kinds of complaints were still being reduced", "dim")
    if result.stopped and folder is not None:
        say(out, plain(f"the same command with --out {folder} goes on from here"))
