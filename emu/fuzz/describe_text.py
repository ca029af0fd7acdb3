"""A `Description` as tables for the terminal."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emu.fuzz.describe import Counts, Description
from emu.report import say

_REASONS = 12  # lines of a table that has no end
_TAGS = 24
_RARER = 48  # words of a line
_BAR = 24


def print_description(out: Console, description: Description) -> None:
    """One overview, then for each generator its distributions."""
    out.print(_overview(description.counts))
    for counts in description.counts:
        out.print()
        say(out, f"{counts.generator}, seed {description.seed}", "bold")
        _print_one(out, counts)


def _overview(some: Sequence[Counts]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("generator")
    for name in ("cases", "accepted", "insns, median", "most", "forms", "kinds of refusal"):
        table.add_column(name, justify="right")
    for counts in some:
        sizes = sorted(counts.sizes) or [0]
        table.add_row(
            counts.generator,
            str(counts.cases),
            _share(counts.accepted, counts.cases),
            str(sizes[len(sizes) // 2]),
            str(sizes[-1]),
            f"{len(counts.forms) - ('none' in counts.forms)} of {len(counts.forms) - ('none' in counts.forms) + len(counts.never)}",
            str(len(counts.reasons)),
        )
    return table


def _print_one(out: Console, counts: Counts) -> None:
    for title, counter in (
        ("parameters of functions", counts.functions),
        ("arguments of kfunc calls", counts.kfuncs),
        ("frames of the longest chain of calls", counts.depths),
        ("bytes of stack of a function", counts.stacks),
    ):
        _print_numbers(out, title, counter)
    _print_words(out, "registers r6 to r9 that a function names", counts.saved, 16)
    _print_words(out, "program types", counts.types, _TAGS)
    _print_registers(out, counts)
    _print_words(out, "tags", counts.tags, _TAGS)
    rarer = sorted(counts.tags.items(), key=lambda one: (-one[1], one[0]))[_TAGS : _TAGS + _RARER]
    if rarer:
        say(out, "of the others: " + ", ".join(f"{tag} {count}" for tag, count in rarer), indent=2)
    say(out, "instructions, rarest first: " + ", ".join(_rarest(counts)), indent=2)
    say(out, "never: " + (", ".join(counts.never) or "none"), indent=2)
    if counts.reasons:
        _print_words(out, "refused", counts.reasons, _REASONS, counts.examples)


def _rarest(counts: Counts) -> list[str]:
    some = sorted((count, name) for name, count in counts.forms.items() if name != "none")
    return [f"{name} {count}" for count, name in some[:10]]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


def _print_numbers(out: Console, title: str, counter: Counter[int]) -> None:
    """A row a number, with a bar; many different numbers are put on one line."""
    if not counter:
        return
    total = sum(counter.values())
    if len(counter) > 16:
        text = ", ".join(f"{key}: {count}" for key, count in sorted(counter.items()))
        say(out, f"{title}: {text}", indent=2)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=False)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    most = max(counter.values())
    for key, count in sorted(counter.items()):
        table.add_row(f"    {key}", str(count), _share(count, total), "#" * round(_BAR * count / most))
    say(out, title, indent=2)
    out.print(table)


def _print_words(
    out: Console, title: str, counter: Counter[str], most: int, examples: dict[str, str] | None = None
) -> None:
    if not counter:
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    ordered = sorted(counter.items(), key=lambda one: (-one[1], one[0]))
    for text, count in ordered[:most]:
        table.add_row(f"    {count}", Text(text), examples[text] if examples else "")
    if len(ordered) > most:
        rest = sum(count for _, count in ordered[most:])
        table.add_row(f"    {rest}", Text(f"({len(ordered) - most} others)"), "")
    say(out, title, indent=2)
    out.print(table)


def _print_registers(out: Console, counts: Counts) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("    register", no_wrap=True)
    for reg in range(12):
        table.add_column(f"r{reg}", justify="right", no_wrap=True)
    table.add_row("    read", *(str(counts.reads[reg]) for reg in range(12)))
    table.add_row("    written", *(str(counts.writes[reg]) for reg in range(12)))
    say(out, "instructions that name a register", indent=2)
    out.print(table)
