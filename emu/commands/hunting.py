"""`bpfemu mutants --campaign`: generated programs with every fault planted, as a table or as JSON."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bpf.errors import InputError
from bpf.request import to_request
from emu.commands.common import AGREES, DIFFERS, console, emit_json
from emu.fuzz.generators import GENERATORS
from emu.fuzz.keep import Kept, render
from emu.mutants import Mutant
from emu.mutants.hunt import Found, Hunt, Hunted
from emu.mutants.shares import Order, Outcome, hunt
from emu.report import fits, say


def hunt_faults(
    chosen: Sequence[Mutant],
    *,
    as_json: bool,
    cases: int,
    seed: int,
    jobs: int,
    generators: Sequence[str],
    tries: int,
    out: str | None,
) -> int:
    """Run, print and keep; the exit status. Raises InputError for what is no generator, or a folder that cannot be written."""
    for name in generators:
        if name not in GENERATORS:
            raise InputError("--generator", repr(name), f"there is none; there are: {', '.join(GENERATORS)}")
    order = Order(
        tuple(mutant.name for mutant in chosen), cases, seed, tuple(generators) or tuple(GENERATORS), tries
    )
    folder = _folder(out)
    done = hunt(order, jobs, _watch(len(chosen)))
    by_name = {mutant.name: mutant for mutant in chosen}
    texts = {one.name: _text(order, one) for one in done.hunted if one.found is not None}
    if folder is not None:
        for name, text in texts.items():
            (folder / f"{name}.bpf").write_text(text)
    if as_json:
        emit_json(_json(order, done, by_name, texts))
    else:
        _print(done, by_name)
    return AGREES if not done.baseline and all(one.found is not None for one in done.hunted) else DIFFERS


def _folder(out: str | None) -> Path | None:
    if out is None:
        return None
    folder = Path(out)
    folder.mkdir(
        parents=True, exist_ok=True
    )  # what goes wrong is an OSError, which the command's entry tells
    return folder


def _watch(count: int) -> Any:
    """Called after each chunk of cases: one line that is written again and again, where somebody looks."""
    err = Console(stderr=True, highlight=False)

    def watch(state: Hunt) -> None:
        if err.is_terminal:
            living = len(state.living)
            sys.stderr.write(f"\r{state.cases} cases, {count - living} of {count} faults found \x1b[K")
            sys.stderr.flush()

    return watch


def _text(order: Order, hunted: Hunted) -> str:
    """The `.bpf` file of a fault that was found."""
    found = hunted.found
    assert found is not None
    sample, finding = found.sample, found.finding
    kept = Kept(
        request=found.reduced or sample.request,
        others=found.others if found.reduced is not None else sample.others,
        finding=finding,
        cause=f"fault {hunted.name}",
        sample=sample.name,
        generator=sample.generator,
        seed=order.seed,
        number=sample.number,
        mode="strict",
        mutant=hunted.name,
        before=len(sample.request.program.insns),
    )
    return render(kept, None)


def _insns(found: Found) -> int:
    return len((found.reduced or found.sample.request).program.insns)


def _json(order: Order, done: Outcome, by_name: dict[str, Mutant], texts: dict[str, str]) -> object:
    return {
        "mutants": [_row(one, by_name[one.name], texts.get(one.name)) for one in done.hunted],
        "baseline_violations": len(done.baseline),
        "baseline": [f"{name}: {one.oracle}: {one.message}" for name, one in done.baseline],
        "seed": order.seed,
        "cases": done.cases,
        "accepted": done.accepted,
        "median_cases": done.median,
    }


def _row(one: Hunted, mutant: Mutant, text: str | None) -> dict[str, object]:
    found = one.found
    return {
        "name": one.name,
        "layer": mutant.layer,
        "class": mutant.kind,
        "what": mutant.what,
        "killed": found is not None,
        "by": "" if found is None else f"{found.finding.oracle} {found.finding.kind}",
        "program": "" if found is None else found.sample.name,
        "programs_run": one.cases,
        "cases": one.cases,
        "seconds": round(one.seconds, 3),
        "insn": None if found is None else found.finding.insn,
        "symptom": "" if found is None else found.finding.message,
        "insns": None if found is None else _insns(found),
        "reduced": None if found is None or found.reduced is None else to_request(found.reduced),
        "text": text,
    }


def _print(done: Outcome, by_name: dict[str, Mutant]) -> None:
    out = console()
    table = _table(done.hunted, by_name)
    if fits(out, table):
        out.print(table)
    else:
        for one in done.hunted:
            say(out, f"{one.name}: {_verdict(one)} after {one.cases} cases")
    out.print()
    found = [one for one in done.hunted if one.found is not None]
    out.print(
        f"{len(done.hunted)} mutants, {done.cases} cases ({done.accepted} accepted): {len(found)} found, median {done.median:g} cases",
        style="bold",
    )
    for one in done.hunted:
        if one.found is None:
            say(out, f"{one.name} lives: {by_name[one.name].what}", "bold red", indent=2)
    out.print(f"without a mutant: {len(done.baseline)} findings")
    if len(done.hunted) == 1 and done.hunted[0].found is not None:
        say(out, f"what it said: {done.hunted[0].found.finding.message}")
    for name, finding in done.baseline:
        say(out, f"{name}: {finding.oracle}: {finding.message}", "bold red", indent=2)


def _table(hunted: Sequence[Hunted], by_name: dict[str, Mutant]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("mutant", "engine", "class", "found by"):
        table.add_column(name, no_wrap=True)
    for name in ("cases", "seconds", "insns"):
        table.add_column(name, justify="right")
    table.add_column("case", no_wrap=True)
    for one in hunted:
        mutant, found = by_name[one.name], one.found
        table.add_row(
            one.name,
            mutant.layer,
            mutant.kind,
            Text(_verdict(one), "bold red" if found is None else "green"),
            str(one.cases),
            f"{one.seconds:.1f}",
            "" if found is None else str(_insns(found)),
            "" if found is None else found.sample.name,
        )
    return table


def _verdict(one: Hunted) -> str:
    return "lives" if one.found is None else f"{one.found.finding.oracle}: {one.found.finding.kind}"
