"""`bpfemu verify`: verdict and log in the kernel's form."""

import sys

import click

from bpf.verified import Rejected, Verified
from emu.answer import verify_json
from emu.commands.common import AGREES, REJECTED, emit_json, load_all, mode_option
from verifier import verify as judge


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--prog", metavar="NAME", help="This program only.")
@click.option(
    "-l",
    "--log-level",
    type=click.IntRange(0, 7),
    default=1,
    show_default=True,
    help="As the kernel's log_level.",
)
@mode_option
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Show stack arguments below states, which the kernel's log does not.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a program.")
def verify(
    files: tuple[str, ...], prog: str | None, log_level: int, mode: str, verbose: bool, as_json: bool
) -> None:
    """Say whether Linux 7.3 would accept the programs of each FILE, with its log."""
    rejected = 0
    for item in load_all(files, prog):
        verdict = judge(item.request.program, log_level=log_level, mode=mode, show_stack_args=verbose)
        rejected += isinstance(verdict, Rejected)
        if as_json:
            emit_json(
                {"name": item.request.program.name, "file": item.source, **verify_json(verdict, log=True)}
            )
        else:
            _print(item.request.program.name, verdict)
    sys.exit(REJECTED if rejected else AGREES)


def _print(name: str, verdict: Verified | Rejected) -> None:
    if verdict.log:
        click.echo(verdict.log.rstrip("\n"))
    if isinstance(verdict, Rejected):
        click.echo(f"{name}: rejected, {verdict.errno}: {verdict.message or 'the kernel says no more'}")
        return
    click.echo(f"{name}: accepted, {len(verdict.insns)} instructions after fixups")
    for number, sub in enumerate(verdict.subprogs):
        click.echo(
            f"  func#{number} {sub.name} ({sub.kind}): {sub.arg_cnt} arguments, stack {sub.stack_depth} bytes,"
            f" stack arguments in {sub.in_stack_args}, out {sub.out_stack_args}"
        )
