"""Whole cases of a campaign a second: made, run through all stages, judged by all oracles; by generator, and where the time goes.

    python -m benchmarks.fuzz [--count N]        a table with the share of each step

The baseline is a worker in this process on the first generator's cases; `two processes` are the workers of `--jobs 2`, in time on the clock.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import rich
from rich.table import Table

from benchmarks.rows import Row
from emu import pipeline
from emu.fuzz.executors.processes import Processes
from emu.fuzz.generators import GENERATORS
from emu.fuzz.judge import Judge
from emu.fuzz.oracles import ORACLES
from emu.fuzz.tasks import CHUNK, Chunk, Config, Counted
from emu.fuzz.worker import THOROUGH, Worker, made
from emu.pipeline import Options, Pipeline

COUNT = 2 * CHUNK  # cases of a generator
STEPS = ("generate", "verify", "compile", "interpret", "native", *ORACLES, "rest")


def config_of(generators: tuple[str, ...]) -> Config:
    return Config(1, "strict", generators, tuple(ORACLES), coverage=False)


def alone(generator: str, count: int) -> float:
    """Microseconds of processor time a case, in this process, when everything is warm."""
    with Worker(config_of((generator,))) as worker:
        worker.do(Chunk(count, count + CHUNK))
        start = time.process_time()
        answer = worker.do(Chunk(0, count))
        spent = time.process_time() - start
    assert isinstance(answer, Counted)
    return spent / count * 1e6


def together(generators: tuple[str, ...], workers: int, count: int) -> float:
    """Microseconds on the clock a case, with so many processes."""
    executor = Processes(config_of(generators), workers)
    try:
        for start in range(workers):  # each worker makes its machine
            executor.submit(Chunk(count + start * CHUNK, count + (start + 1) * CHUNK))
        _all(executor)
        begin = time.perf_counter()
        for start in range(0, count, CHUNK):
            executor.submit(Chunk(start, min(start + CHUNK, count)))
        _all(executor)
        return (time.perf_counter() - begin) / count * 1e6
    finally:
        executor.close()


def _all(executor: Processes) -> None:
    while executor.asked:
        executor.wait(1.0)


def shares(generator: str, count: int) -> dict[str, float]:
    """Seconds of processor time of each step, over `count` cases."""
    spent = dict.fromkeys(STEPS, 0.0)
    config = config_of((generator,))
    line = Pipeline(Options(mode="strict", explain=False, insn_limit=50_000, quick=True))
    judge, _ = Judge(line), line.machine  # made once: no program's time

    def timed(step: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                result = work(*args, **options)
                return iter(list(result)) if step in ORACLES else result
            finally:
                spent[step] += time.process_time() - start

        return run

    with ExitStack() as stack:
        for step, owner, name in (
            ("verify", pipeline, "verify"),
            ("compile", pipeline, "compile_program"),
            ("interpret", line, "interpret"),
            ("native", line, "_confirmed"),
            ("native", line, "execute"),
        ):
            stack.enter_context(patch.object(owner, name, timed(step, getattr(owner, name))))
        stack.enter_context(patch.dict(ORACLES, {name: timed(name, one) for name, one in ORACLES.items()}))
        make, ask = timed("generate", made), timed("rest", judge.judge)
        for number in range(count):
            sample = make(config, number)
            ask(sample.request, sample.others, thorough=number % THOROUGH == 0)
    spent["rest"] -= sum(seconds for step, seconds in spent.items() if step not in ("generate", "rest"))
    line.close()
    return spent


def rows() -> list[Row]:
    """One process, by generator; then both."""
    names = tuple(GENERATORS)
    measured = [Row(f"{name}, one process", alone(name, COUNT)) for name in names]
    mixed = (names[0],)
    return [
        *measured,
        Row(f"{names[0]}, one worker process", together(mixed, 1, 2 * COUNT)),
        Row(f"{names[0]}, two worker processes", together(mixed, 2, 2 * COUNT)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=COUNT)
    count = parser.parse_args().count
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    columns = []
    for name in GENERATORS:
        table.add_column(name, justify="right", no_wrap=True)
        micros, spent = alone(name, count), shares(name, count)
        whole = sum(spent.values())
        parts = [f"{100 * spent[step] / whole:.0f} %" for step in STEPS]
        columns.append([f"{micros:,.0f}", f"{1e6 / micros:,.0f}", *parts])
    for label, cells in zip(("us a case", "cases a second", *STEPS), zip(*columns, strict=True), strict=True):
        table.add_row(label, *cells)
    rich.print(table)


if __name__ == "__main__":
    main()
