"""`bpfemu trace`: both engines in step."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from bpf.errors import InputError
from bpf.verified import Rejected
from emu.commands.common import (
    AGREES,
    DIFFERS,
    REJECTED,
    console,
    emit_json,
    load_all,
    printable,
    run_options,
)
from emu.commands.run import given_bytes, theirs_of, with_input
from emu.load import Loaded
from emu.mutants import find
from emu.pipeline import Case, Options
from emu.report import say
from emu.trace import record
from emu.trace.asjson import trace_json
from emu.trace.page import page
from emu.trace.recording import LIMIT
from emu.trace.text import print_trace


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--prog", metavar="NAME", help="This program of FILE.")
@click.option("--data", metavar="HEX|@FILE", help="Packet of the test run.")
@click.option("--ctx", metavar="HEX|@FILE", help="Context of the test run.")
@click.option(
    "--at",
    multiple=True,
    type=click.IntRange(0),
    metavar="INSN",
    help="Show the state where this BPF instruction begins (repeatable).",
)
@click.option(
    "--hits", type=click.IntRange(1), default=3, show_default=True, help="How many times, for each --at."
)
@click.option(
    "--calls", type=click.IntRange(0), default=20, show_default=True, help="Tables of calls to print."
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=LIMIT,
    show_default=True,
    help="Instructions of each engine to record.",
)
@click.option("--through", is_flag=True, help="Go on behind the first difference.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False),
    metavar="OUT.html",
    help="Write a page that steps through the run.",
)
@click.option(
    "--image", metavar="BYTES", help="Native code of another JIT to run in place of ours, as of bpfemu run."
)
@click.option(
    "--symbols",
    metavar="MAP",
    help="With --image: what lies at its addresses, in the form of /proc/kallsyms.",
)
@click.option("--mutant", metavar="NAME", help="Compile with this fault planted (see bpfemu mutants --list).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@run_options
def trace(
    file: str,
    prog: str | None,
    data: str | None,
    ctx: str | None,
    at: tuple[int, ...],
    hits: int,
    calls: int,
    limit: int,
    through: bool,
    html: str | None,
    image: str | None,
    symbols: str | None,
    mutant: str | None,
    as_json: bool,
    options: Options,
) -> None:
    """Run one program in interpreter and sandbox, in step, and show where they part.

    Each call as a table of its arguments from both ends; the state in full, with every word of the stack and its owner, at
    the first difference and wherever --at asks for it. --html writes a page to step through, which needs no network.
    """
    item = _one(file, prog)
    request = with_input(
        item.request, {"data_in": given_bytes(data, "--data"), "ctx_in": given_bytes(ctx, "--ctx")}
    )
    theirs = theirs_of(image, symbols, options)
    if theirs is not None and mutant is not None:
        raise InputError("--mutant", "", "is a fault of our JIT, and --image is the code of another one")
    made = record(
        request,
        item.others,
        options,
        file=file,
        limit=limit,
        through=through,
        mutant=find(mutant) if mutant is not None else None,
        make=theirs.make if theirs is not None else None,
    )
    if isinstance(made, Case):
        _rejected(made, as_json)
    if html is not None:
        Path(html).write_text(page(made), encoding="utf-8")
    if as_json:
        emit_json(trace_json(made))
    else:
        print_trace(console(), made, at, hits, calls)
        for line in theirs.lines() if theirs is not None else ():
            say(console(), line)
    sys.exit(DIFFERS if made.verdict == "differs" else AGREES)


def _one(file: str, prog: str | None) -> Loaded:
    """The one program to trace. Raises InputError when it is not clear which."""
    found = load_all([file], prog)
    if len(found) > 1:
        names = ", ".join(item.request.program.name for item in found)
        raise InputError(file, "", f"has {len(found)} programs; name one with --prog: {names}")
    return found[0]


def _rejected(case: Case, as_json: bool) -> NoReturn:
    verdict = case.verdict
    assert isinstance(verdict, Rejected)
    name = case.request.program.name
    if as_json:
        emit_json({"name": name, "verdict": "rejected", "errno": verdict.errno, "message": verdict.message})
    else:
        message = verdict.message or "the kernel says no more"
        click.echo(printable(f"{name} is rejected: {verdict.errno}: {message}"))
    sys.exit(REJECTED)
