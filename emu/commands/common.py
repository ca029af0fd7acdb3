"""What all commands share: options, exit statuses, one-line errors."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from errno import EPIPE
from functools import wraps
from typing import Any, Literal, NoReturn, TypeVar, cast

import click
from rich.console import Console
from rich.progress import track

from bpf.errors import BpfemuError, InputError
from emu.load import Loaded, load_file
from emu.pipeline import ENGINES, Options
from emu.runtime.kfuncs import load as load_module
from emu.sandbox import Checks
from jit.profile import PRESETS

AGREES, DIFFERS, BAD_INPUT, REJECTED, OUR_FAULT = range(5)
MIN_SECONDS, MAX_SECONDS = 0.01, 86_400
INTERRUPTED, CLOSED_PIPE = 130, 141  # what a shell says of a process that SIGINT or SIGPIPE ended

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def fail(error: BpfemuError) -> NoReturn:
    """End with one line on standard error: status 2 for bad input, 4 for a fault of ours."""
    bad_input = isinstance(error, InputError)
    words = "error" if bad_input else "internal error (please report)"
    click.echo(f"bpfemu: {words}: {one_line(error)}", err=True)
    sys.exit(BAD_INPUT if bad_input else OUR_FAULT)


class _Output(Console):
    """A console that leaves a closed pipe to the entry point."""

    def on_broken_pipe(self) -> None:
        """Rich would end the process with status 1, which says "differs"."""
        raise BrokenPipeError(EPIPE, os.strerror(EPIPE))


def console() -> Console:
    """Standard output: as wide as the terminal, and wide enough for any row when it is no terminal."""
    out = _Output(highlight=False)
    return out if out.is_terminal else _Output(highlight=False, width=160)


def shown(items: Sequence[T], doing: str) -> Iterable[T]:
    """The items one after the other, with a progress bar on standard error where that is a terminal."""
    err = Console(stderr=True, highlight=False)
    return track(items, doing, console=err, transient=True, disable=not err.is_terminal)


def emit_json(value: object) -> None:
    """One JSON value on one line."""
    click.echo(json.dumps(value, separators=(", ", ": ")))


def select(loaded: Iterable[Loaded], file: str, prog: str | None) -> list[Loaded]:
    """The programs of a file, or the one that is named. Raises InputError when there is none."""
    found = list(loaded)
    if prog is not None:
        names = ", ".join(item.request.program.name for item in found)
        found = [item for item in found if item.request.program.name == prog]
        if not found:
            raise InputError(
                file, f"program {prog}", f"there is no such program; there are: {names or 'none'}"
            )
    return found


def load_all(files: Iterable[str], prog: str | None) -> list[Loaded]:
    """The programs of all files; what is left out of them is told on standard error. Raises InputError."""
    return [item for file in files for item in select(load_file(file, warn, prog), file, prog)]


def warn(text: str) -> None:
    """One line on standard error, after which the command goes on."""
    click.echo(f"bpfemu: warning: {printable(text)}", err=True)


def one_line(error: BpfemuError) -> str:
    """Its text, `printable`."""
    return printable(str(error))


def printable(text: str) -> str:
    """A text without what moves a terminal's cursor or has no letter: file names may hold anything."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _engines(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    for name in names:
        if name not in ENGINES:
            raise click.BadParameter(f"{name!r} is no engine; there are: {', '.join(ENGINES)}")
    if not names:
        raise click.BadParameter(f"names no engine; there are: {', '.join(ENGINES)}")
    return names


def _seconds(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    if not MIN_SECONDS <= value <= MAX_SECONDS:  # nan is not, either
        raise click.BadParameter(f"{value} is not between {MIN_SECONDS} and {MAX_SECONDS}")
    return value


engines_option = click.option(
    "--engine",
    "engines",
    default=",".join(ENGINES),
    show_default=True,
    callback=_engines,
    help="Stages to run.",
)


MODE_HELP = "Rules: the kernel's, or without its holes."
mode_option = click.option(
    "--mode", type=click.Choice(["kernel", "strict"]), default="kernel", show_default=True, help=MODE_HELP
)


def run_options(function: F) -> F:
    """The options that say how programs are run; the command gets them as one `options: Options`.

    Modules of --kfuncs are imported before the command starts.
    """
    return _run_options(function, 2.0, "Seconds a run, sandbox.")


def held_options(function: F) -> F:
    """As `run_options`, for a run that somebody holds: it has as much time as there is."""
    return _run_options(function, MAX_SECONDS, "Seconds that it may run from one stop to the next.")


def _run_options(function: F, seconds_default: float, seconds_help: str) -> F:
    @wraps(function)
    def wrapper(
        *args: Any,
        seed: int,
        budget: int,
        seconds: float,
        profile: str,
        mode: str,
        unverified: bool,
        kfunc_files: tuple[str, ...],
        align: Literal["kernel", "sysv"],
        extended: tuple[str, ...],
        dirty: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        for file in kfunc_files:
            load_module(file)
        rules = Checks(align, frozenset(extended), frozenset(dirty))
        options = Options(seed, budget, seconds, unverified, PRESETS[profile], mode, rules)
        return function(*args, options=options, **rest)

    decorators = [
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of time, random numbers and ids."),
        click.option("--budget", type=click.IntRange(1), default=4_000_000, show_default=True, help="BPF instructions a run, interpreter."),
        click.option("--seconds", type=float, callback=_seconds, default=seconds_default, show_default=True, help=seconds_help),
        click.option("--profile", type=click.Choice(sorted(PRESETS)), default="7.3", show_default=True, help="What the JIT emits."),
        mode_option,
        click.option("--unverified", is_flag=True, help="Run programs that the verifier rejects, too."),
        click.option("--align", type=click.Choice(["kernel", "sysv"]), default="kernel", show_default=True, help="Stack alignment at calls: 8 bytes, or 16."),
        click.option("--extended", multiple=True, metavar="KFUNC", help="It relies on narrow arguments being extended; * for all (repeatable)."),
        click.option("--dirty", multiple=True, metavar="KFUNC", help="Its narrow results have rubbish in the upper bits; * for all (repeatable)."),
        click.option("--kfuncs", "kfunc_files", multiple=True, metavar="FILE.py", help="Python module with more kfuncs (repeatable)."),
    ]  # fmt: skip
    decorated: Any = wrapper
    for decorator in reversed(decorators):
        decorated = decorator(decorated)
    return cast(F, decorated)
