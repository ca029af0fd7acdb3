"""`bpfemu fuzz`: a campaign that generates programs, judges them, and keeps what it finds."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from bpf.errors import BpfemuError, InputError
from emu.commands.common import (
    AGREES,
    DIFFERS,
    INTERRUPTED,
    MODE_HELP,
    console,
    emit_json,
    warn,
)
from emu.fuzz.campaign import Campaign, Limits, Result
from emu.fuzz.executors import Executor
from emu.fuzz.executors.inline import Inline
from emu.fuzz.executors.processes import Processes
from emu.fuzz.generators import GENERATORS
from emu.fuzz.oracles import ORACLES
from emu.fuzz.report import junit, page, table
from emu.fuzz.report.numbers import Numbers, summary_json
from emu.fuzz.report.progress import Progress
from emu.fuzz.store import FullError, Store
from emu.fuzz.tasks import Config
from emu.fuzz.worker import build
from emu.mutants import find
from emu.runtime.kfuncs import load

SECONDS = 60.0  # of a campaign that nobody limits
MAX_JOBS = 1024


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Keep everything there; the same command goes on where it ended.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.0, 1e9),
    metavar="S",
    help="End after so long (60, unless --cases is given).",
)
@click.option("--cases", type=click.IntRange(0), metavar="N", help="End after so many cases.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Other seed, other cases.")
@click.option(
    "--jobs",
    type=click.IntRange(0, MAX_JOBS),
    metavar="N",
    help="Worker processes (one a core); 0: in this process.",
)
@click.option(
    "--mode", type=click.Choice(["strict", "kernel"]), default="strict", show_default=True, help=MODE_HELP
)
@click.option(
    "--generator",
    "generators",
    multiple=True,
    metavar="NAME",
    help="Cases of this generator only (repeatable).",
)
@click.option("--oracle", "oracles", multiple=True, metavar="NAME", help="Ask this oracle only (repeatable).")
@click.option("--mutant", metavar="NAME", help="Plant this fault first (bpfemu mutants --list).")
@click.option(
    "--kfuncs",
    "modules",
    multiple=True,
    type=click.Path(dir_okay=False),
    metavar="FILE.py",
    help="Python module with more kfuncs and generators (repeatable).",
)
@click.option(
    "--cluster",
    metavar="local|ADDRESS",
    help="Dask workers: a cluster of --jobs processes, or that of a scheduler (tcp://host:port).",
)
@click.option(
    "--coverage/--no-coverage",
    default=True,
    show_default=True,
    help="Record which branches of our own code are taken, in a few cases.",
)
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object.")
@click.option("--junit", "xml", type=click.Path(dir_okay=False), metavar="OUT.xml", help="Write JUnit XML.")
@click.option("--html", type=click.Path(dir_okay=False), metavar="OUT.html", help="Write a report as a page.")
def fuzz(
    out: str | None,
    seconds: float | None,
    cases: int | None,
    seed: int,
    jobs: int | None,
    mode: str,
    generators: tuple[str, ...],
    oracles: tuple[str, ...],
    mutant: str | None,
    modules: tuple[str, ...],
    cluster: str | None,
    coverage: bool,
    as_json: bool,
    xml: str | None,
    html: str | None,
) -> None:
    """Generate programs, run them through verifier, interpreter and sandbox, compare, shrink what differs, keep it.

    A case is a function of generator, seed and number: the same seed finds the same with any number of jobs. Ctrl-C
    ends the campaign in order. Exit status: 0 nothing found, 1 something found, 2 bad arguments or a full disk, 130
    interrupted. See docs/fuzz.md.
    """
    for module in modules:
        load(module)
    config = Config(
        seed=seed,
        mode=mode,
        generators=_chosen("--generator", generators, tuple(GENERATORS)),
        oracles=_chosen("--oracle", oracles, tuple(ORACLES)),
        mutant=find(mutant).name if mutant else "",
        modules=tuple(os.path.abspath(module) for module in modules),
        coverage=coverage,
        build=build(),
    )
    for file in (xml, html):
        _writable(file)
    if seconds is None and cases is None:
        seconds = SECONDS
    stop = threading.Event()
    store = Store(Path(out), _asked(config)) if out is not None else None
    with contextlib.ExitStack() as stack:
        if store is not None:
            stack.callback(store.close)
        stack.enter_context(_interrupts(stop))
        executor = _executor(config, jobs, cluster, stop)
        stack.callback(executor.close)
        progress = Progress(Console(stderr=True, highlight=False))
        campaign = Campaign(config, Limits(cases, seconds), executor, store, progress.show, warn, stop)
        result = _run(campaign, progress)
    _report(result, out, xml, html, as_json=as_json)
    if result.stopped:
        sys.stdout.flush()
        sys.exit(INTERRUPTED)
    sys.exit(DIFFERS if result.kept else AGREES)


def _chosen(option: str, names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """In the order in which they are known; all, where none is named."""
    for name in names:
        if name not in known:
            raise InputError(option, repr(name), f"there is none; there are: {', '.join(known)}")
    return tuple(name for name in known if not names or name in names)


def _asked(config: Config) -> dict[str, object]:
    """What must be the same for a campaign to go on in its folder."""
    asked: dict[str, object] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()
    }
    del asked["coverage"]
    return {"bpfemu": version("bpfemu"), **asked}


def _writable(file: str | None) -> None:
    """Told before the campaign, not after it. Raises InputError."""
    if file is not None and not Path(file).resolve().parent.is_dir():
        raise InputError(file, "", "there is no such folder")


@contextlib.contextmanager
def _interrupts(stop: threading.Event) -> Iterator[None]:
    """Inside, the first Ctrl-C (or SIGTERM) asks for an end in order, and the next one ends at once."""

    def asked(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _executor(config: Config, jobs: int | None, cluster: str | None, stop: threading.Event) -> Executor:
    count = len(os.sched_getaffinity(0)) if jobs is None else jobs
    if cluster is not None:
        from emu.fuzz.executors.cluster import Cluster  # noqa: PLC0415  an extra, and slow to import

        return Cluster(config, cluster, max(1, count))
    return Processes(config, count) if count else Inline(config, stop.is_set)


def _run(campaign: Campaign, progress: Progress) -> Result:
    """Raises what the campaign does; what could not be written is printed first."""
    try:
        with progress:
            return campaign.run()
    except FullError:
        for text in campaign.unwritten():
            click.echo(text)
        sys.stdout.flush()
        raise


def _report(result: Result, out: str | None, xml: str | None, html: str | None, *, as_json: bool) -> None:
    numbers = Numbers.of(result)
    errors: list[BpfemuError] = []
    forms: tuple[tuple[str | None, Callable[[Numbers, str | None], bytes]], ...] = (
        (xml, junit.render),
        (html, page.render),
    )
    for file, render in forms:
        if file is not None:
            try:
                Path(file).write_bytes(render(numbers, out))
            except OSError as error:
                errors.append(InputError(file, "", error.strerror or str(error)))
    if as_json:
        emit_json(summary_json(numbers, out))
    else:
        table.show(console(), numbers, out)
    if errors:
        raise errors[0]
