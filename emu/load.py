"""Reads a FILE of the command line: an ELF object, BPF assembly text, or a JSON request (or several).

The kind is told by content first and by name second, so that a wrong file gives the right complaint.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from bpf import asm, elf
from bpf.asm import Expectation
from bpf.errors import InputError
from bpf.program import Program, Request
from bpf.request import parse_request

MAX_FILE = 64 << 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program to run. others: the programs of the same file by name, for tail calls."""

    request: Request
    source: str
    expect: Expectation | None = None
    others: Mapping[str, Program] = field(default_factory=dict)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def open_bytes(file: str | Path) -> BinaryIO:
    """Open a file or pipe to read; a pipe without a writer is empty, so that nothing waits for one that may not come.

    Raises InputError when it is missing, unreadable or a directory.
    """
    try:
        stream = open(file, "rb", opener=_without_waiting)  # noqa: SIM115  the caller closes it
        os.set_blocking(stream.fileno(), True)
        return stream
    except FileNotFoundError:
        raise InputError(str(file), "", "no such file") from None
    except IsADirectoryError:
        raise InputError(str(file), "", "is a directory") from None
    except (OSError, ValueError) as error:
        raise InputError(str(file), "", getattr(error, "strerror", None) or str(error)) from None


def read_bytes(file: str | Path) -> bytes:
    """The content of a file or pipe. Raises InputError as `open_bytes`, and when it is larger than 64 MiB."""
    with open_bytes(file) as stream:
        try:
            large = os.fstat(stream.fileno()).st_size > MAX_FILE
            data = b"" if large else stream.read(MAX_FILE + 1)
        except OSError as error:
            raise InputError(str(file), "", error.strerror or str(error)) from None
    if large or len(data) > MAX_FILE:
        raise InputError(str(file), "", f"is larger than {MAX_FILE >> 20} MiB")
    return data


def read_text(file: str | Path) -> str:
    """As `read_bytes`, as UTF-8."""
    try:
        return read_bytes(file).decode()
    except UnicodeDecodeError as error:
        raise InputError(str(file), f"byte {error.start}", "is not UTF-8 text") from None


def _ignore(_warning: str) -> None:
    """For callers who do not ask for warnings."""


def load_file(file: str, warn: Callable[[str], None] = _ignore, wanted: str | None = None) -> list[Loaded]:
    """All programs of a file. Raises InputError.

    warn: gets a line for each program that is left out, and one when the file's BTF is. wanted: the one program that
    is asked for; when that one is left out, the reason is raised, and nothing is said of the others.
    """
    data = read_bytes(file)
    if not data:
        raise InputError(file, "", "is empty")
    suffix = Path(file).suffix
    if data[:4] == b"\x7fELF" or suffix == ".o":
        return _elf(data, file, warn, wanted)
    if suffix in (".json", ".jsonl") or (suffix != ".bpf" and data[:64].lstrip()[:1] in (b"{", b"[")):
        return _json(read_text(file), file)
    if suffix != ".bpf" and b"\0" in data:
        raise InputError(file, "", "is neither an ELF object, nor BPF assembly text, nor a JSON request")
    return _text(read_text(file), file)


def _elf(data: bytes, file: str, warn: Callable[[str], None], wanted: str | None) -> list[Loaded]:
    loaded = elf.load(data, file)
    programs = loaded.programs
    if not programs:
        raise InputError(file, "", "has no program section")
    if wanted is not None and any(name == wanted for name, _ in loaded.unsupported):
        loaded.program(wanted)
    if loaded.btf_refused:
        warn(
            f"{file}: its BTF is not used, as a kernel would refuse it ({loaded.btf_refused}):"
            " functions have no prototypes and no stack arguments"
        )
    for name, why in loaded.unsupported if wanted is None else ():
        warn(f"{file}: program {name} is left out: {why.removeprefix(f'{file}: ')}")
    others = {program.name: program for program in programs}
    return [Loaded(Request(program), file, None, others) for program in programs]


def _text(text: str, file: str) -> list[Loaded]:
    assembly = asm.parse(text, file)
    # a program that the text does not name bears the file's name, without its folder
    programs = [replace(p, name=Path(file).stem) if p.name == file else p for p in assembly.programs]
    others = {program.name: program for program in programs}
    return [Loaded(Request(programs[0], assembly.runs), file, assembly.expect, others)]


def _json(text: str, file: str) -> list[Loaded]:
    loaded = [Loaded(parse_request(obj, what), file) for what, obj in json_objects(text, file)]
    if not loaded:
        raise InputError(file, "", "holds no request")
    return loaded


def json_objects(text: str, file: str) -> Iterator[tuple[str, object]]:
    """(name for messages, value) of each request of a text: one value, a list, or one a line. Raises InputError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if (
            len(lines) < 2
            or not isinstance(error, json.JSONDecodeError)
            or not error.msg.startswith("Extra data")
        ):
            raise _bad_json(file, error, 0) from None
        for number, line in lines:
            yield f"{file}: line {number}", json_line(line, file, number)
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield f"{file}: request {index}", item
    else:
        yield file, value


def json_line(line: str, file: str, number: int) -> object:
    """The value of one line of JSON Lines. Raises InputError."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _bad_json(file, error, number) from None


def _bad_json(file: str, error: Exception, line: int) -> InputError:
    if isinstance(error, json.JSONDecodeError):
        return InputError(
            file, f"line {line or error.lineno}, column {error.colno}", f"not JSON: {error.msg}"
        )
    return InputError(
        file,
        f"line {line}" if line else "",
        "not JSON: nested too deeply" if isinstance(error, RecursionError) else f"not JSON: {error}",
    )
