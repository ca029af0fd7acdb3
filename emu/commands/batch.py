"""`bpfemu batch`: requests in, results out, one line each, in order."""

import json
import sys
from collections.abc import Iterator
from typing import BinaryIO

import click

from bpf.errors import BpfemuError, InputError, InternalError
from bpf.request import parse_request
from emu.answer import case_json, error_json, jit_json
from emu.commands.common import AGREES, DIFFERS, engines_option, run_options
from emu.layout import layout_for
from emu.load import MAX_FILE, json_line, open_bytes
from emu.pipeline import Options, Pipeline
from jit import place


@click.command()
@click.argument("file", metavar="REQUESTS.jsonl|-")
@engines_option
@click.option("--log", is_flag=True, help="Put the verifier's log into each result.")
@run_options
def batch(file: str, engines: tuple[str, ...], log: bool, options: Options) -> None:
    """Answer JSON requests, one a line, as docs/formats.md says; a bad line is answered with an error object.

    Exit status: 0 all answered, 1 some answered with an error, 2 the file cannot be read.
    """
    pipeline = Pipeline(options)
    errors = 0
    for number, line in _lines(file):
        result = answer(pipeline, line, number, engines, log=log)
        errors += result["error"] is not None
        click.echo(json.dumps(result, separators=(",", ":")))
        sys.stdout.flush()
    sys.exit(DIFFERS if errors else AGREES)


def _lines(file: str) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of each line that is not blank, read as it comes. Raises InputError."""
    if file == "-":
        yield from _not_blank(sys.stdin.buffer, "standard input")
        return
    with open_bytes(file) as stream:
        yield from _not_blank(stream, file)


def _not_blank(stream: BinaryIO, file: str) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        while line := stream.readline(MAX_FILE + 1):
            number += 1
            if len(line) > MAX_FILE:
                raise InputError(file, f"line {number}", f"is longer than {MAX_FILE >> 20} MiB")
            text = line.decode(errors="replace").strip()
            if text:
                yield number, text
    except OSError as error:
        raise InputError(file, "", error.strerror or str(error)) from None


def answer(
    pipeline: Pipeline, line: str, number: int, engines: tuple[str, ...], *, log: bool = False
) -> dict[str, object]:
    """The result object of one line; whatever goes wrong with it is told in its `error`."""
    name: object = None
    try:
        value = json_line(line, "request", number)
        if isinstance(value, dict):
            name = value.get("name") if isinstance(value.get("name"), str) else None
        request = parse_request(value, f"line {number}")
        case = pipeline.run(request, engines=engines)
        out = case_json(case, log=log)
        if case.image is not None and "jit" in engines:
            layout = layout_for(case.image, request.place)
            out["jit"] = jit_json(case.image, layout, place(case.image, layout))
        return out | {"name": name}
    except BpfemuError as error:
        return {"name": name, "error": error_json(error)}
    except Exception as error:  # noqa: BLE001  one line's fault of ours must not end the others
        ours = InternalError(f"line {number}: {type(error).__name__}: {error}".replace("\n", " "))
        return {"name": name, "error": error_json(ours)}
