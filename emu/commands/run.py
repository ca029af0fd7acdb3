"""`bpfemu run`: the main job."""

import sys
from dataclasses import replace

import click
from rich.console import Console

from bpf.errors import InputError
from bpf.program import Request, RunInput
from bpf.verified import Rejected
from emu.answer import case_json
from emu.commands.common import (
    AGREES,
    BAD_INPUT,
    DIFFERS,
    REJECTED,
    console,
    emit_json,
    load_all,
    one_line,
    run_options,
    shown,
)
from emu.explain import explain, located
from emu.external.command import Command
from emu.external.pipeline import JitPipeline
from emu.foreign import Theirs, read_symbols
from emu.load import Loaded, read_bytes
from emu.pipeline import Case, Options, Pipeline
from emu.report import call_tables, print_results, say
from jit.profile import PRESETS

SYSCALL_CTX = bytes(256)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--prog", metavar="NAME", help="This program only.")
@click.option("--data", metavar="HEX|@FILE", help="Packet of the test run.")
@click.option("--ctx", metavar="HEX|@FILE", help="Context of the test run.")
@click.option(
    "--image",
    metavar="BYTES",
    help="Native code of another JIT to run in place of ours: a recording, bpftool's listing with opcodes, ELF, raw, hex.",
)
@click.option(
    "--symbols",
    metavar="MAP",
    help="With --image: what lies at its addresses, in the form of /proc/kallsyms.",
)
@click.option(
    "--jit",
    metavar="COMMAND",
    help="A JIT to test in place of ours: it reads a job a line and writes an answer a line (docs/your-jit.md).",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every call with its arguments.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a program.")
@run_options
def run(
    files: tuple[str, ...],
    prog: str | None,
    data: str | None,
    ctx: str | None,
    image: str | None,
    symbols: str | None,
    jit: str | None,
    verbose: bool,
    as_json: bool,
    options: Options,
) -> None:
    """Verify, compile, run in sandbox and interpreter, and compare the programs of each FILE.

    A program of an ELF object runs once: packet programs on 64 zero bytes, syscall programs on 256 zero bytes of
    context, unless --data or --ctx say otherwise. Text and JSON files carry their own inputs.
    """
    theirs = theirs_of(image, symbols, options)
    given = {"data_in": given_bytes(data, "--data"), "ctx_in": given_bytes(ctx, "--ctx")}
    loaded = load_all(files, prog)
    if theirs is not None and len(loaded) != 1:
        raise InputError("--image", "", f"is of one program, and there are {len(loaded)}; choose with --prog")
    if jit is not None and theirs is not None:
        raise InputError("--jit", "", "makes the code that --image would be; give one of them")
    command = None if jit is None else Command(jit)
    pipeline = Pipeline(options) if command is None else JitPipeline(command, command.command, options)
    cases: list[Case] = []
    missed: list[str] = []
    stopped: BaseException | None = None
    try:
        for item in shown(loaded, "running"):
            case = pipeline.run(
                with_input(item.request, given), item.others, make=theirs.make if theirs else None
            )
            cases.append(case)
            misses = unexpected(item, case)
            missed += misses
            if as_json:
                more = {} if theirs is None else {"image": theirs.as_json()}
                emit_json({"file": item.source, "unexpected": misses, **case_json(case), **more})
    except (KeyboardInterrupt, InputError) as error:
        stopped = error  # what was found so far is shown first
    if cases and not as_json:
        print_cases(console(), cases, missed, verbose)
        for line in theirs.lines() if theirs is not None else ():
            say(console(), line)
    if command is not None:
        command.close()
    if stopped is not None:
        sys.stdout.flush()
        raise stopped
    for case in cases:
        if case.error is not None:
            click.echo(f"bpfemu: error: {one_line(case.error)}", err=True)
    sys.exit(status_of(cases, missed))


def theirs_of(image: str | None, symbols: str | None, options: Options) -> Theirs | None:
    """The code that is to run in place of ours. Raises InputError."""
    if image is None:
        if symbols is not None:
            raise InputError("--symbols", "", "names addresses of an --image, and there is none")
        return None
    profile = None if options.profile == PRESETS["7.3"] else options.profile
    return Theirs(image, {} if symbols is None else read_symbols(symbols), profile)


def given_bytes(text: str | None, option: str) -> bytes | None:
    """The bytes that an option names: hex digits, or a file behind an @. Raises InputError."""
    if text is None:
        return None
    if text.startswith("@"):
        return read_bytes(text[1:])
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise InputError(option, "", f"{text[:40]!r} is not hex; @FILE reads bytes from a file") from None


def with_input(request: Request, given: dict[str, bytes | None]) -> Request:
    """A request with the inputs of the command line, and a zeroed context for a syscall program that has none."""
    default = SYSCALL_CTX if request.program.prog_type == "syscall" else None
    data, ctx = given["data_in"], given["ctx_in"]
    runs = tuple(
        replace(run, data_in=_first(data, run.data_in), ctx_in=_first(ctx, run.ctx_in, default))
        for run in request.runs or (RunInput(),)
    )
    return replace(request, runs=runs)


def _first(*values: bytes | None) -> bytes | None:
    """The first that is given; no byte at all is given, too."""
    return next((value for value in values if value is not None), None)


def unexpected(item: Loaded, case: Case) -> list[str]:
    """Where a case is not what the text file's own `expect` line says, one line each."""
    expect, verdict = item.expect, case.verdict
    if expect is None or verdict is None:
        return []
    where = f"{item.source}: line {expect.line}: expected"
    if expect.accepted == case.rejected:
        return [f"{where} {'accepted' if expect.accepted else 'rejected'}"]
    if isinstance(verdict, Rejected):
        wanted = (("errno", expect.errno, verdict.errno), ("message", expect.message, verdict.message))
        return [
            f"{where} {name} {want!r}, not {have!r}" for name, want, have in wanted if want and want != have
        ]
    out = []
    for outcome in (case.interp, case.sandbox):
        for number, run in enumerate(outcome.runs if outcome is not None else ()):
            assert outcome is not None
            name = f"{outcome.engine} run {number + 1}"
            if expect.run_errno and run.errno != expect.run_errno:
                out.append(f"{where} run {expect.run_errno}, {name} has {run.errno}")
            if expect.retvals:
                retval = expect.retvals[min(number, len(expect.retvals) - 1)]
                if run.trap is not None or run.retval != retval:
                    found = f"trap {run.trap.kind}" if run.trap is not None else str(run.retval)
                    out.append(f"{where} retval {retval}, {name} has {found}")
    return out


def print_cases(out: Console, cases: list[Case], missed: list[str], verbose: bool) -> None:
    """A row for each case, its calls if they are asked for, and its difference, explained."""
    print_results(out, cases)
    for case in cases:
        name = case.request.program.name
        if verbose:
            for calls in call_tables(case):
                out.print()
                out.print(calls)
        if case.difference is not None:
            out.print()
            say(out, f"{name} differs:", "bold red")
            for line in explain(case.difference, case.request.program, case.image, case.sandbox):
                say(out, line.lstrip(), indent=2 + len(line) - len(line.lstrip()))
            for line in located(case.precise):
                say(out, line, indent=2)
    for miss in missed:
        say(out, miss, "bold red")


def status_of(cases: list[Case], missed: list[str]) -> int:
    """The exit status that says what became of all cases."""
    if missed or any(case.difference is not None for case in cases):
        return DIFFERS
    if any(case.error is not None for case in cases):
        return BAD_INPUT
    return REJECTED if any(case.rejected and case.interp is None for case in cases) else AGREES
