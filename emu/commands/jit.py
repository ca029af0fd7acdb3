"""`bpfemu jit`: annotated listing of the native code, with its frames."""

import sys
from pathlib import Path

import click

from bpf.errors import InputError
from bpf.verified import Rejected
from emu.answer import jit_json
from emu.commands.common import AGREES, REJECTED, emit_json, load_all
from emu.layout import layout_for
from jit import compile_program, place
from jit.listing import render
from jit.profile import PRESETS
from verifier import verify


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--prog", metavar="NAME", help="This program only.")
@click.option(
    "--profile", type=click.Choice(sorted(PRESETS)), default="7.3", show_default=True, help="What is emitted."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    help="Write the raw bytes of all functions, one after the other.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a program.")
def jit(files: tuple[str, ...], prog: str | None, profile: str, output: str | None, as_json: bool) -> None:
    """Show the x86-64 code of each program: BPF instruction, offset, bytes, assembly, and each frame as a picture."""
    loaded = load_all(files, prog)
    if output is not None and len(loaded) != 1:
        raise InputError(
            "--output", "", f"writes one program, and there are {len(loaded)}; choose with --prog"
        )
    rejected = 0
    for item in loaded:
        program = item.request.program
        verdict = verify(program)
        if isinstance(verdict, Rejected):
            rejected += 1
            click.echo(f"{program.name}: rejected, {verdict.errno}: {verdict.message}", err=True)
            continue
        image = compile_program(verdict, PRESETS[profile])
        layout = layout_for(image, item.request.place)
        codes = place(image, layout)
        if output is not None:
            _write(output, b"".join(codes))
        elif as_json:
            emit_json({"name": program.name, "file": item.source, **jit_json(image, layout, codes)})
        else:
            click.echo(render(image, layout))
    sys.exit(REJECTED if rejected else AGREES)


def _write(file: str, code: bytes) -> None:
    try:
        Path(file).write_bytes(code)
    except OSError as error:
        raise InputError(file, "", error.strerror or str(error)) from None
