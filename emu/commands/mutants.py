"""`bpfemu mutants`: known faults of the JIT, planted one at a time, and which check kills each."""

import sys
from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from bpf.errors import InputError
from bpf.request import to_request
from emu.commands.common import AGREES, DIFFERS, console, emit_json, shown
from emu.mutants import MUTANTS, Campaign, Mutant, Result
from emu.report import fits, say


@click.command()
@click.option("--name", "names", multiple=True, metavar="NAME", help="This mutant only (repeatable).")
@click.option("--list", "as_list", is_flag=True, help="List the catalogue; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def mutants(names: tuple[str, ...], as_list: bool, as_json: bool) -> None:
    """Plant known faults in the JIT, and show which check of the sandbox kills each.

    A fixed set of programs runs with every mutant: in fast mode first, then in precise mode, which says where. Exit status: 0
    all are killed by the check that is meant to, and nothing is found without a mutant; 1 otherwise.
    """
    chosen = _chosen(names)
    if as_list:
        _list(chosen)
        return
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
    sys.exit(AGREES if not baseline and all(one.as_meant for one in results) else DIFFERS)


def _chosen(names: tuple[str, ...]) -> tuple[Mutant, ...]:
    known = {mutant.name: mutant for mutant in MUTANTS}
    for name in names:
        if name not in known:
            raise InputError("--name", repr(name), "is no mutant; --list shows them all")
    return tuple(known[name] for name in dict.fromkeys(names)) if names else MUTANTS


def _list(chosen: Sequence[Mutant]) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("mutant", "class", "killed by", "what goes wrong"):
        table.add_column(column, no_wrap=True)
    for mutant in chosen:
        table.add_row(mutant.name, mutant.kind, mutant.check, mutant.what)
    if fits(out, table):
        out.print(table)
        return
    for mutant in chosen:
        say(out, f"{mutant.name} ({mutant.kind}, {mutant.check}): {mutant.what}")


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
