"""`bpfemu selftest`: kernel-style selftest objects by the expectations in their BTF tags."""

import sys
from collections import Counter
from pathlib import Path

import click
from rich.table import Table

from bpf.errors import BpfemuError, InputError
from emu.commands.common import AGREES, BAD_INPUT, DIFFERS, console, emit_json, printable, run_options, shown
from emu.pipeline import Options, Pipeline
from emu.selftest import junit
from emu.selftest.runner import Result, State, run_object

STATES: tuple[State, ...] = ("pass", "fail", "unsupported", "skipped")


@click.command()
@click.argument("objects", nargs=-1, required=True, metavar="OBJECT...")
@click.option("--run", "only", metavar="NAME", help="Only programs whose name or description contains this.")
@click.option("--junit", "xml", type=click.Path(dir_okay=False), metavar="OUT.xml", help="Write JUnit XML.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a program.")
@click.option("-v", "--verbose", is_flag=True, help="List every program that does not pass.")
@run_options
def selftest(
    objects: tuple[str, ...],
    only: str | None,
    xml: str | None,
    as_json: bool,
    verbose: bool,
    options: Options,
) -> None:
    """Run objects built like the kernel's BPF selftests by the expectations in their BTF decl tags.

    Expectations that need an unprivileged user are left out and counted. Exit status: 0 nothing failed, 1 some failed,
    2 a file is missing or no object with BTF, or --run names no program. See docs/selftest.md.
    """
    pipeline = Pipeline(options)
    results: list[Result] = []
    for file in shown(objects, "running"):
        results += _results(pipeline, file, only)
    if only and not results:
        raise InputError(
            ", ".join(objects), f"--run {only}", "no program's name or description contains this"
        )
    if xml is not None:
        _write(xml, junit.render(results))
    if as_json:
        for item in results:
            emit_json(
                {"object": item.object, "program": item.program, "state": item.state, "why": item.why,
                 "description": item.description, "unprivileged": item.unprivileged}
            )  # fmt: skip
    else:
        _print(results, verbose)
    unread = [item for item in results if not item.program]
    for item in unread:
        click.echo(f"bpfemu: error: {printable(item.why)}", err=True)
    if any(item.state == "fail" for item in results):
        sys.exit(DIFFERS)
    sys.exit(BAD_INPUT if unread else AGREES)


def _results(pipeline: Pipeline, file: str, only: str | None) -> list[Result]:
    """An object that cannot be loaded is one unsupported result; a missing file ends the command."""
    if not Path(file).exists():
        raise InputError(file, "", "no such file")
    results: list[Result] = []
    try:
        results.extend(run_object(pipeline, file, only))
    except BpfemuError as error:
        results.append(Result(file, "", "", "unsupported", str(error)))
    return results


def _write(file: str, data: bytes) -> None:
    try:
        Path(file).write_bytes(data)
    except OSError as error:
        raise InputError(file, "", error.strerror or str(error)) from None


def _print(results: list[Result], verbose: bool) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("object", no_wrap=True)
    for name in (*STATES, "unprivileged"):
        table.add_column(name, justify="right")
    groups: dict[str, list[Result]] = {}
    for item in results:
        groups.setdefault(item.object, []).append(item)
    for name, items in [*groups.items(), ("all", results)]:
        counts = Counter(item.state for item in items)
        left = sum(item.unprivileged for item in items)
        table.add_row(Path(name).name, *(str(counts[state] or "") for state in STATES), str(left or ""))
    out.print(table)
    listed = [item for item in results if item.state == "fail" or (verbose and item.state != "pass")]
    for item in listed:
        out.print(
            f"{item.state}: {Path(item.object).name}: {item.program or '-'}: {item.why}",
            markup=False,
            soft_wrap=True,
        )
