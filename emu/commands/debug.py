"""`bpfemu debug`: a program in the sandbox, under the control of gdb."""

import signal
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NoReturn

import click

from bpf.errors import InputError
from bpf.program import Request
from bpf.verified import Rejected
from emu.commands.common import (
    BAD_INPUT,
    INTERRUPTED,
    REJECTED,
    console,
    held_options,
    load_all,
    one_line,
    printable,
)
from emu.commands.run import given_bytes, print_cases, status_of, theirs_of, unexpected, with_input
from emu.compare import compare, without_inlined
from emu.gdb.held import Held, run_held
from emu.gdb.server import Listener
from emu.gdb.symbols import Symbols
from emu.gdb.target import Target
from emu.load import Loaded
from emu.pipeline import Case, Options, Pipeline
from emu.removed import with_removed
from emu.report import say
from emu.sandbox.debug import DebugMachine


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--prog", metavar="NAME", help="This program of FILE.")
@click.option(
    "--run", "number", type=click.IntRange(1), default=1, show_default=True, help="Which of several runs."
)
@click.option("--data", metavar="HEX|@FILE", help="Packet of the test run.")
@click.option("--ctx", metavar="HEX|@FILE", help="Context of the test run.")
@click.option(
    "--gdb",
    "port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    metavar="PORT",
    help="Port on 127.0.0.1 to wait at; 0 chooses a free one.",
)
@click.option(
    "--symbols",
    type=click.Path(dir_okay=False),
    metavar="OUT.elf",
    help="Where to write the symbols, with sources beside them; else they are gone at the end.",
)
@click.option(
    "--lines",
    type=click.Choice(["source", "bpf"]),
    default="source",
    show_default=True,
    help="What gdb's lines are: of C source where that is known, or BPF instructions everywhere.",
)
@click.option("--image", metavar="BYTES", help="Native code of another JIT, as with `bpfemu run`.")
@click.option("--kallsyms", metavar="MAP", help="With --image: what lies at its addresses.")
@held_options
def debug(
    file: str,
    prog: str | None,
    number: int,
    data: str | None,
    ctx: str | None,
    port: int,
    symbols: str | None,
    lines: Literal["source", "bpf"],
    image: str | None,
    kallsyms: str | None,
    options: Options,
) -> None:
    """Run one program under the control of gdb, then compare it with the interpreter as `bpfemu run` does.

    Waits for one gdb on 127.0.0.1, which finds names, lines, arguments and frames in the ELF file of --symbols.
    """
    item = _one(load_all([file], prog), file)
    given = {"data_in": given_bytes(data, "--data"), "ctx_in": given_bytes(ctx, "--ctx")}
    request = with_input(item.request, given)
    if number > len(request.runs):
        raise InputError("--run", str(number), f"there are {len(request.runs)} runs")
    theirs = theirs_of(image, kallsyms, options)
    pipeline = Pipeline(options)
    case = pipeline.run(request, item.others, ("verify", "jit"), make=theirs.make if theirs else None)
    if case.image is None:
        _give_up(case)
    machine = DebugMachine()
    engine = pipeline.sandbox(machine, options.seconds, request.program, case.image, item.others)
    target = Target(machine, engine, f"program {request.program.name}, run {number}")
    with TemporaryDirectory(prefix="bpfemu-") as temporary:
        if symbols is not None and Path(symbols).exists() and Path(symbols).samefile(file):
            raise InputError("--symbols", symbols, "is the program itself")
        path = Path(symbols or f"{temporary}/{_file_name(request.program.name)}.elf")
        Symbols(target, path, (Path(), Path(file).parent), c_lines=lines == "source").write()
        listener = Listener(port)
        click.echo(
            f"{printable(request.program.name)}: waiting for gdb on 127.0.0.1:{listener.port}; connect with"
        )
        click.echo(f"  gdb -ex 'target remote 127.0.0.1:{listener.port}' {printable(str(path))}")
        sys.stdout.flush()
        before = signal.signal(signal.SIGINT, lambda _number, _frame: machine.cancel())
        try:
            held = run_held(target, request, number, listener, str(path.absolute()))
        finally:
            signal.signal(signal.SIGINT, before)
    if held.killed:
        click.echo(f"bpfemu: {held.killed}: nothing was compared", err=True)
        sys.exit(INTERRUPTED)
    case = _judged(pipeline, request, case, held)
    missed = unexpected(item, case)
    print_cases(console(), [case], missed, verbose=False)
    for line in theirs.lines() if theirs is not None else ():
        say(console(), line)
    if case.error is not None:
        click.echo(f"bpfemu: error: {one_line(case.error)}", err=True)
    sys.exit(status_of([case], missed))


def _one(loaded: list[Loaded], file: str) -> Loaded:
    if len(loaded) != 1:
        names = ", ".join(item.request.program.name for item in loaded)
        raise InputError(file, "", f"has {len(loaded)} programs, choose one with --prog: {names}")
    return loaded[0]


def _give_up(case: Case) -> NoReturn:
    """The program cannot run at all."""
    if case.error is not None:
        click.echo(f"bpfemu: error: {one_line(case.error)}", err=True)
        sys.exit(BAD_INPUT)
    assert isinstance(case.verdict, Rejected)
    name, verdict = case.request.program.name, case.verdict
    click.echo(f"{name}: rejected, {verdict.errno}: {verdict.message or 'the kernel says no more'}", err=True)
    sys.exit(REJECTED)


def _file_name(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name)[:60] or "program"


def _judged(pipeline: Pipeline, request: Request, case: Case, held: Held) -> Case:
    """The case with both outcomes and their difference; what precise mode found is in the outcome itself."""
    assert case.image is not None
    assert held.outcome is not None
    verified = case.image.verified
    case = replace(case, sandbox=held.outcome, precise=held.outcome)
    try:
        interp = pipeline.interpret(request, case.others)
    except InputError as error:
        return replace(case, error=error)
    expected = without_inlined(interp, verified.inlined)
    actual = with_removed(verified, expected, held.outcome)
    return replace(case, interp=interp, difference=compare(expected, actual, request.program.maps))
