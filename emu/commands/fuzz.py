"""`bpfemu fuzz`: a campaign that generates programs, judges them, and keeps what it finds."""

import contextlib
import hashlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

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
    shown,
    warn,
)
from emu.external.judge import ORACLES as ORACLES_OF_JITS
from emu.fuzz.campaign import Campaign, Limits, Result
from emu.fuzz.describe import describe
from emu.fuzz.describe_text import print_description
from emu.fuzz.executors import Executor
from emu.fuzz.executors.inline import Inline
from emu.fuzz.executors.processes import Processes
from emu.fuzz.export import FORMS
from emu.fuzz.generators import GENERATORS, load_corpus
from emu.fuzz.oracles import ORACLES
from emu.fuzz.report import junit, page, table
from emu.fuzz.report.numbers import Numbers, summary_json
from emu.fuzz.report.progress import Progress
from emu.fuzz.store import FullError, Store
from emu.fuzz.tasks import Config
from emu.fuzz.worker import build
from emu.load import read_bytes
from emu.mutants import find
from emu.runtime.kfuncs import load

SECONDS = 60.0  # of a campaign that nobody limits
MAX_JOBS = 1024
DESCRIBED = 1000  # cases of each generator, where no other number is given


# fmt: off
_OPTIONS = (
    click.option("--out", type=click.Path(file_okay=False), metavar="DIR", help="Keep everything there; the same command goes on where it ended."),
    click.option("--seconds", type=click.FloatRange(0.0, 1e9), metavar="S", help="End after so long (60, unless --cases is given)."),
    click.option("--cases", type=click.IntRange(0), metavar="N", help="End after so many cases."),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Other seed, other cases."),
    click.option("--jobs", type=click.IntRange(0, MAX_JOBS), metavar="N", help="Worker processes (one a core); 0: in this process."),
    click.option("--mode", type=click.Choice(["strict", "kernel"]), default="strict", show_default=True, help=MODE_HELP),
    click.option("--generator", "generators", multiple=True, metavar="NAME", help="Cases of this generator only (repeatable)."),
    click.option("--oracle", "oracles", multiple=True, metavar="NAME", help="Ask this oracle only (repeatable)."),
    click.option("--mutant", metavar="NAME", help="Plant this fault first (bpfemu mutants --list)."),
    click.option("--jit", metavar="COMMAND", help="A JIT to test in place of ours: it reads a job a line and writes an answer a line (docs/your-jit.md)."),
    click.option("--kfuncs", "modules", multiple=True, type=click.Path(dir_okay=False), metavar="FILE.py", help="Python module with more kfuncs and generators (repeatable)."),
    click.option("--corpus", type=click.Path(file_okay=False), metavar="DIR", help="Programs (.bpf) that the generator `mutated` begins with."),
    click.option("--cluster", metavar="local|ADDRESS", help="Dask workers: a cluster of --jobs processes, or that of a scheduler (tcp://host:port)."),
    click.option("--coverage/--no-coverage", default=True, show_default=True, help="Record which branches of our own code are taken, in a few cases."),
    click.option("--export", "export", multiple=True, type=click.Choice(tuple(FORMS)), help="Write each finding in this form, too (repeatable)."),
    click.option("--describe", "described", is_flag=True, help="Show what the generators make (1,000 cases each, or --cases), and run nothing."),
    click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object."),
    click.option("--junit", type=click.Path(dir_okay=False), metavar="OUT.xml", help="Write JUnit XML."),
    click.option("--html", type=click.Path(dir_okay=False), metavar="OUT.html", help="Write a report as a page."),
)
# fmt: on


def _with_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command line, by their names."""

    out: str | None
    seconds: float | None
    cases: int | None
    seed: int
    jobs: int | None
    mode: str
    generators: tuple[str, ...]
    oracles: tuple[str, ...]
    mutant: str | None
    jit: str | None
    modules: tuple[str, ...]
    corpus: str | None
    cluster: str | None
    coverage: bool
    export: tuple[str, ...]
    described: bool
    as_json: bool
    junit: str | None
    html: str | None


@click.command()
@_with_options
def fuzz(**options: Any) -> None:
    """Generate programs, run them through verifier, interpreter and sandbox, compare, shrink what differs, keep it.

    A case is a function of generator, seed and number: the same seed finds the same with any number of jobs. Ctrl-C
    ends the campaign in order. Exit status: 0 nothing found, 1 something found, 2 bad arguments or a full disk, 130
    interrupted. See docs/fuzz.md.
    """
    asked = Asked(**options)
    config = _config(asked)
    if asked.described:
        _describe(config, asked)
        sys.exit(AGREES)
    for file in (asked.junit, asked.html):
        _writable(file)
    seconds = SECONDS if asked.seconds is None and asked.cases is None else asked.seconds
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        store = None
        if asked.out is not None:
            store = stack.enter_context(contextlib.closing(Store(Path(asked.out), _same(config))))
        stack.enter_context(_interrupts(stop))
        executor = stack.enter_context(contextlib.closing(_executor(config, asked, stop)))
        progress = Progress(Console(stderr=True, highlight=False))
        limits = Limits(asked.cases, seconds)
        campaign = Campaign(config, limits, executor, store, progress.show, warn, stop)
        result = _run(campaign, progress)
    _report(result, asked)
    if result.stopped:
        sys.stdout.flush()
        sys.exit(INTERRUPTED)
    sys.exit(DIFFERS if result.kept else AGREES)


def _config(asked: Asked) -> Config:
    """Raises InputError for names that there are not, and for files that cannot be read."""
    for module in asked.modules:
        load(module)
    known = ORACLES_OF_JITS if asked.jit is not None else tuple(ORACLES)
    if asked.jit is not None and asked.mutant:
        raise InputError("--mutant", asked.mutant, "is a fault of our own; --jit tests another JIT")
    return Config(
        seed=asked.seed,
        mode=asked.mode,
        generators=_chosen("--generator", asked.generators, tuple(GENERATORS)),
        oracles=_chosen("--oracle", asked.oracles, known),
        mutant=find(asked.mutant).name if asked.mutant else "",
        modules=tuple(os.path.abspath(module) for module in asked.modules),
        corpus=os.path.abspath(asked.corpus) if asked.corpus else "",
        digest=load_corpus(asked.corpus).digest if asked.corpus else "",
        jit=asked.jit or "",
        coverage=asked.coverage,
        export=tuple(form for form in FORMS if form in asked.export),
        build=build(),
    )


def _describe(config: Config, asked: Asked) -> None:
    count = DESCRIBED if asked.cases is None else asked.cases
    corpus = load_corpus(asked.corpus) if asked.corpus else None
    made = describe(config.generators, config.seed, count, config.mode, corpus, shown)
    if asked.as_json:
        emit_json(made.as_json())
    else:
        print_description(console(), made)


def _chosen(option: str, names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """In the order in which they are known; all, where none is named."""
    for name in names:
        if name not in known:
            raise InputError(option, repr(name), f"there is none; there are: {', '.join(known)}")
    return tuple(name for name in known if not names or name in names)


def _same(config: Config) -> dict[str, object]:
    """What must be the same for a campaign to go on in its folder."""
    same: dict[str, object] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()
    }
    for name in ("coverage", "export", "modules", "corpus"):  # the same files may lie somewhere else
        del same[name]
    files = [hashlib.sha256(read_bytes(module)).hexdigest()[:16] for module in config.modules]
    return {"bpfemu": version("bpfemu"), **same, "modules": files}


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


def _executor(config: Config, asked: Asked, stop: threading.Event) -> Executor:
    count = len(os.sched_getaffinity(0)) if asked.jobs is None else asked.jobs
    if asked.cluster is not None:
        from emu.fuzz.executors.cluster import Cluster  # noqa: PLC0415  an extra, and slow to import

        return Cluster(config, asked.cluster, max(1, count))
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


def _report(result: Result, asked: Asked) -> None:
    numbers = Numbers.of(result)
    errors: list[BpfemuError] = []
    for file, render in ((asked.junit, junit.render), (asked.html, page.render)):
        if file is not None:
            try:
                Path(file).write_bytes(render(numbers, asked.out))
            except OSError as error:
                errors.append(InputError(file, "", error.strerror or str(error)))
    if asked.as_json:
        emit_json(summary_json(numbers, asked.out))
    else:
        table.show(console(), numbers, asked.out)
    if errors:
        raise errors[0]
