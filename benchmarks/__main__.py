"""`python -m benchmarks` (`make bench`): every benchmark with its baseline, in one table, in two minutes at most.

A ratio compares a row with the baseline of its own group, measured in the same run.
"""

import rich
from rich.table import Table

from benchmarks import cases, fuzz, interp, jit, sandbox, verifier
from benchmarks.rows import Row


def table(groups: dict[str, list[Row]]) -> Table:
    """One row a measurement, the baseline of each group first."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("")
    for name in ("us each", "a second", "times the baseline", "peak MiB"):
        made.add_column(name, justify="right", no_wrap=True)
    for title, rows in groups.items():
        made.add_row(title, style="bold")
        for row in rows:
            ratio = "baseline" if row is rows[0] else f"{rows[0].micros / row.micros:.1f}"
            memory = f"{row.peak_mib:,.0f}" if row.peak_mib else ""
            made.add_row(f"  {row.name}", f"{row.micros:,.3f}", f"{1e6 / row.micros:,.0f}", ratio, memory)
    return made


def main() -> None:
    groups = {
        "verifier, one visited instruction": verifier.rows(),
        "interpreter, one BPF instruction": interp.rows(),
        "JIT, one BPF instruction": jit.rows(),
        **{title: measure() for title, measure in sandbox.GROUPS.items()},
        "a case of 42 instructions with calls of 6 to 12 arguments": cases.rows("fixed"),
        "a case of the generator of calls": cases.rows("calls"),
        "a case of the generator of instructions": cases.rows("isa"),
        "a quick case of 42 instructions, wall clock": cases.processes("fixed"),
        "a case of a campaign, all oracles asked": fuzz.rows(),
    }
    rich.print(table(groups))


if __name__ == "__main__":
    main()
