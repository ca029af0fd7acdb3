"""`bpfemu mutants`: known faults of the engines, planted one at a time, and what kills each.

Without an option the faults of the JIT, on fixed programs: which check of the sandbox sees each. With --campaign those of all
layers, on generated programs: which oracle finds each, after how many.
"""

import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from bpf.errors import InputError
from bpf.request import to_request
from emu.commands.common import AGREES, DIFFERS, console, emit_json, shown
from emu.commands.hunting import hunt_faults
from emu.mutants import ALL, Campaign, Mutant, Result
from emu.report import fits, say

LAYERS = ("jit", "verifier", "interp")


@click.command()
@click.option("--name", "names", multiple=True, metavar="NAME", help="This mutant only (repeatable).")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    type=click.Choice(LAYERS),
    help="Faults of this engine only (repeatable).",
)
@click.option("--list", "as_list", is_flag=True, help="List the catalogue; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--campaign",
    is_flag=True,
    help="Generated programs and all layers, until an oracle of `bpfemu fuzz` finds each.",
)
@click.option(
    "--cases",
    type=click.IntRange(1),
    default=2000,
    show_default=True,
    help="--campaign: generated programs, at most.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="--campaign: of the generated programs.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="--campaign: processes."
)
@click.option(
    "--generator",
    "generators",
    multiple=True,
    metavar="NAME",
    help="--campaign: this generator only (repeatable).",
)
@click.option(
    "--tries",
    type=click.IntRange(0),
    default=2000,
    show_default=True,
    help="--campaign: programs tried to make a found one small; 0 leaves all as they are.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="--campaign: folder for the reduced programs, NAME.bpf each.",
)
def mutants(
    names: tuple[str, ...],
    layers: tuple[str, ...],
    as_list: bool,
    as_json: bool,
    campaign: bool,
    **hunting: Any,
) -> None:  # fmt: skip
    """Plant known faults, and show what kills each.

    A fixed set of programs runs with every fault of the JIT: in fast mode first, then in precise mode, which says where. With
    --campaign generated programs run with the faults of all engines, until an oracle finds something that it does not find
    without the fault. Exit status: 0 all are killed by the check that is meant to (--campaign: by any), and nothing is found
    without a mutant; 1 otherwise.
    """
    if campaign or as_list:
        chosen = _chosen(names, layers or LAYERS)
    else:
        chosen = _chosen(names, layers or ("jit",))
        if any(mutant.layer != "jit" for mutant in chosen):
            raise InputError(
                "mutants", "", "only faults of the JIT run on fixed programs; the others need --campaign"
            )
    if as_list:
        _list(chosen)
    elif campaign:
        sys.exit(hunt_faults(chosen, as_json=as_json, **hunting))
    else:
        sys.exit(_fixed(chosen, as_json))


def _chosen(names: Sequence[str], layers: Sequence[str]) -> tuple[Mutant, ...]:
    known = {mutant.name: mutant for mutant in ALL}
    for name in names:
        if name not in known:
            raise InputError("--name", repr(name), "is no mutant; --list shows them all")
    if names:
        return tuple(known[name] for name in dict.fromkeys(names))
    return tuple(mutant for mutant in ALL if mutant.layer in layers)


def _list(chosen: Sequence[Mutant]) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("mutant", "engine", "class", "killed by", "what goes wrong"):
        table.add_column(column, no_wrap=True)
    for mutant in chosen:
        table.add_row(mutant.name, mutant.layer, mutant.kind, mutant.check, mutant.what)
    if fits(out, table):
        out.print(table)
        return
    for mutant in chosen:
        say(out, f"{mutant.name} ({mutant.layer}, {mutant.kind}, {mutant.check}): {mutant.what}")


# ---- fixed programs


def _fixed(chosen: Sequence[Mutant], as_json: bool) -> int:
    campaign = Campaign()
    baseline = campaign.baseline()
    results: list[Result] = []
    stopped: BaseException | None = None
    try:
        for mutant in shown(chosen, "planting"):
            results.append(campaign.run(mutant))  # noqa: PERF401 - what was found before an interrupt is shown
    except KeyboardInterrupt as error:
        stopped = error
    if as_json:
        emit_json(
            {"mutants": [_json(campaign, one) for one in results], "baseline_violations": len(baseline)}
        )
    else:
        _print(results, baseline, len(campaign.subjects))
    if stopped is not None:
        sys.stdout.flush()
        raise stopped
    return AGREES if not baseline and all(one.as_meant for one in results) else DIFFERS


def _json(campaign: Campaign, result: Result) -> dict[str, object]:
    mutant = result.mutant
    subject = next((one for one in campaign.subjects if one.request.program.name == result.program), None)
    return {
        "name": mutant.name,
        "class": mutant.kind,
        "what": mutant.what,
        "killed": result.killed,
        "by": result.by,
        "meant": mutant.check,
        "as_meant": result.as_meant,
        "fast": result.fast,
        "checks": list(result.checks),
        "program": result.program,
        "programs_run": result.programs_run,
        "cases": result.cases,
        "seconds": round(result.seconds, 3),
        "insn": result.insn,
        "symptom": result.symptom,
        "reduced": to_request(subject.request) if subject is not None else None,
    }


def _print(results: Sequence[Result], baseline: Sequence[str], programs: int) -> None:
    out = console()
    table = _table(results)
    if fits(out, table):
        out.print(table)
    else:
        for one in results:
            say(out, f"{one.mutant.name}: {_verdict(one)} {one.by} (fast mode: {one.fast or 'nothing'})")
    out.print()
    meant = sum(one.as_meant for one in results)
    killed = sum(one.killed for one in results)
    out.print(
        f"{len(results)} mutants on {programs} programs: {killed} killed, {meant} by the check that is meant to",
        style="bold",
    )
    for one in results:
        if not one.as_meant:
            why = f"killed by {one.by}, not by {one.mutant.check}: {one.symptom}" if one.killed else "lives"
            say(out, f"{one.mutant.name} {why}", "bold red", indent=2)
    out.print(f"without a mutant: {len(baseline)} violations or differences in {2 * programs} runs")
    for line in baseline:
        say(out, line, "bold red", indent=2)
    if len(results) == 1 and results[0].killed:
        say(out, f"first symptom: {results[0].symptom}")


def _table(results: Sequence[Result]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("mutant", "class", "", "killed by", "fast mode saw", "program"):
        table.add_column(name, no_wrap=True)
    table.add_column("after", justify="right")
    table.add_column("first symptom", overflow="ellipsis", max_width=60, no_wrap=True)
    for one in results:
        table.add_row(
            one.mutant.name,
            one.mutant.kind,
            Text(_verdict(one), "green" if one.as_meant else "bold red"),
            one.by,
            one.fast,
            one.program,
            str(one.programs_run) if one.killed else "",
            Text(one.symptom),
        )
    return table


def _verdict(result: Result) -> str:
    if not result.killed:
        return "lives"
    return "killed" if result.as_meant else "killed by another"
