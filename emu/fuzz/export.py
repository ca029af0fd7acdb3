"""A program for other projects: one of FORMS as files of text.

`selftest`: C in the manner of the kernel's own BPF selftests. `conformance`: a test of the bpf_conformance suite. `request`: JSON
that a real kernel can be asked with. Each says in one line why it cannot hold a program. Knows no engine.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bpf.asm import Expectation
from bpf.errors import InputError
from bpf.program import Program, Request
from emu.fuzz import export_conformance, export_request, export_selftest
from emu.fuzz.finding import Finding

Form = Callable[[Request, Mapping[str, Program], Finding | None, Expectation | None, str], dict[str, str]]

FORMS: Final[dict[str, Form]] = {
    "selftest": export_selftest.files,
    "conformance": export_conformance.files,
    "request": export_request.files,
}


def export(
    form: str,
    request: Request,
    others: Mapping[str, Program],
    finding: Finding | None = None,
    expectation: Expectation | None = None,
) -> dict[str, str]:
    """Texts by name of their file. finding: goes into a comment. expectation: what a right implementation does.

    Raises InputError when there is no such form, or when it cannot hold this program.
    """
    if form not in FORMS:
        raise InputError("form", repr(form), f"there are {', '.join(FORMS)}")
    return FORMS[form](request, others, finding, expectation, file_stem(request.program.name))


def file_stem(name: str) -> str:
    """A program's name as the name of a file, and of a C function."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return f"p_{plain}" if not plain or plain[0].isdigit() else plain


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files; each is there whole or not at all. Raises InputError naming the one that cannot be written."""
    for name, text in texts.items():
        path = folder / name
        draft = path.with_name(f".{name}.new")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(path)
        except OSError as error:
            raise InputError(str(path), "", error.strerror or str(error)) from None
