"""`bpfemu export`: a program for other projects."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from bpf.errors import InputError
from emu.commands.common import AGREES, BAD_INPUT, load_all, one_line
from emu.fuzz.export import FORMS, export, file_stem, write
from emu.fuzz.keep import expected
from emu.load import Loaded
from emu.pipeline import Options, Pipeline


@click.command("export")
@click.argument("file", metavar="FILE")
@click.option("--form", type=click.Choice(tuple(FORMS)), required=True, help="What to make of it.")
@click.option("--prog", metavar="NAME", help="This program only.")
@click.option("-o", "folder", metavar="DIR", help="Write files there; without it they are printed.")
@click.option("--mode", type=click.Choice(("kernel", "strict")), default="kernel", show_default=True, help="Rules of the verifier.")  # fmt: skip
def export_command(file: str, form: str, prog: str | None, folder: str | None, mode: str) -> None:
    """Write the programs of FILE for other projects.

    selftest: C with inline assembly and the annotations of the kernel's BPF selftests. conformance: a .data file of the
    bpf_conformance suite. request: JSON for a real kernel. What is expected stands in FILE, or is what verifier and
    interpreter say.
    """
    pipeline = Pipeline(Options(mode=mode))
    missed = False
    taken: set[str] = set()
    made: dict[str, str] = {}
    for item in load_all((file,), prog):
        try:
            made |= _exported(pipeline, form, item, taken)
        except InputError as error:
            click.echo(f"bpfemu: error: {one_line(error)}", err=True)
            missed = True
    if folder is not None:
        write(Path(folder), made)
    else:
        for name, text in made.items():
            if len(made) > 1:
                click.echo(f"==> {name} <==")
            click.echo(text, nl=False)
    sys.exit(BAD_INPUT if missed else AGREES)


def _exported(pipeline: Pipeline, form: str, item: Loaded, taken: set[str]) -> dict[str, str]:
    """The files of one program. taken: names of programs so far; two that are alike get numbers."""
    expectation = item.expect
    if expectation is None:
        case = pipeline.run(item.request, item.others, ("verify", "interp"))
        expectation = expected(case)
    program = item.request.program
    name = stem = file_stem(program.name)
    while name in taken:
        name = f"{stem}_{len(taken)}"
    taken.add(name)
    request, others = item.request, item.others
    if name != stem:
        others = {key: one for key, one in others.items() if key != program.name}
        request = replace(request, program=replace(program, name=name))
    return export(form, request, others, None, expectation)
