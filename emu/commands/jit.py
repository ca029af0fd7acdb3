"""`bpfemu jit`: annotated listing of the native code, with its frames."""

import random
import sys
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import click

from bpf.errors import InputError
from bpf.program import Placement
from bpf.verified import Rejected, Verified
from emu import against
from emu.answer import jit_json
from emu.commands.common import AGREES, DIFFERS, REJECTED, emit_json, load_all
from emu.frame_json import with_listing
from emu.layout import layout_for
from jit import Profile, blind, compile_program, place
from jit.image import Image, Layout
from jit.listing import render
from jit.profile import PRESETS
from jit.svg import svg
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
@click.option(
    "--against",
    "other",
    metavar="FILE",
    help="Compare with this code: raw, hex, bpftool's listing with opcodes (text or JSON), a recording.",
)
@click.option(
    "--svg",
    "drawing",
    type=click.Path(dir_okay=False),
    metavar="OUT",
    help="Draw the frames of all functions as an SVG picture.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a program.")
@click.option(
    "--blind",
    "seed",
    type=int,
    metavar="SEED",
    help="Hide numbers as with bpf_jit_harden=2, with random numbers that follow from SEED.",
)
def jit(
    files: tuple[str, ...],
    prog: str | None,
    profile: str,
    output: str | None,
    other: str | None,
    drawing: str | None,
    as_json: bool,
    seed: int | None,
) -> None:
    """Show the x86-64 code of each program: BPF instruction, offset, bytes, assembly, and each frame as a picture."""
    loaded = load_all(files, prog)
    if output is not None and len(loaded) != 1:
        raise InputError(
            "--output", "", f"writes one program, and there are {len(loaded)}; choose with --prog"
        )
    if other is not None and len(loaded) != 1:
        raise InputError(
            "--against", "", f"compares one program, and there are {len(loaded)}; choose with --prog"
        )
    rejected = different = 0
    images: list[Image] = []
    for item in loaded:
        program = item.request.program
        verdict = verify(program)
        if isinstance(verdict, Rejected):
            rejected += 1
            click.echo(f"{program.name}: rejected, {verdict.errno}: {verdict.message}", err=True)
            continue
        image, layout = _compile(verdict, PRESETS[profile], item.request.place, seed)
        codes = place(image, layout)
        images.append(image)
        if output is not None:
            _write(output, b"".join(codes))
        if other is not None:
            different += not _compare(image, other, as_json=as_json)
        elif output is not None or (drawing is not None and not as_json):
            continue
        elif as_json:
            emit_json(
                {
                    "name": program.name,
                    "file": item.source,
                    **with_listing(jit_json(image, layout, codes), image),
                }
            )
        else:
            click.echo(render(image, layout))
    if drawing is not None and images:
        _write(drawing, svg(images).encode())
    sys.exit(REJECTED if rejected else DIFFERS if different else AGREES)


def _compile(
    verified: Verified, profile: Profile, where: Placement | None, seed: int | None
) -> tuple[Image, Layout]:
    """The image, and where it lies; blinded with random numbers that follow from the seed."""
    image = compile_program(verified, profile)
    layout = layout_for(image, where)
    if seed is None:
        return image, layout
    numbers = random.Random(seed)  # noqa: S311 - the same seed must give the same code
    image = compile_program(blind(verified, (numbers.getrandbits(32) for _ in repeat(None)), layout), profile)
    return image, replace(layout, functions=layout_for(image, where).functions)


def _compare(image: Image, file: str, *, as_json: bool) -> bool:
    """Show how the image and the code in `file` differ; whether they are equal."""
    program = image.verified.program
    kind, foreign = against.read(file, program.name)
    match = against.compare(image, foreign)
    if as_json:
        emit_json({"name": program.name, "against": file, "kind": kind, **against.as_json(image, match)})
        return match.equal
    click.echo(f"{program.name} against {file} ({kind}): {'equal' if match.equal else 'different'}")
    click.echo(against.text(image, match))
    if not match.equal and image.verified.converted:
        click.echo(
            f"{len(image.verified.converted)} context accesses are those of UAPI structures here, "
            "and of a kernel's own there (docs/fidelity.md)"
        )
    return match.equal


def _write(file: str, code: bytes) -> None:
    try:
        Path(file).write_bytes(code)
    except OSError as error:
        raise InputError(file, "", error.strerror or str(error)) from None
