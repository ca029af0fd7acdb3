"""Programs to begin with, for the generator `mutated`: those that come with the package, or a folder's.

What a campaign does must not depend on what happens to lie on a disk, so a folder is only read when it is named, and its
digest belongs to the campaign's arguments.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bpf import asm
from bpf.errors import InputError
from bpf.program import Program, RunInput
from emu.load import read_bytes

_PACKAGED = Path(__file__).parents[2] / "mutants" / "programs"


@dataclass(frozen=True, slots=True)
class Base:
    """A program with its inputs, and others that its tail calls may reach."""

    program: Program
    runs: tuple[RunInput, ...]
    others: Mapping[str, Program]


@dataclass(frozen=True, slots=True)
class Corpus:
    """bases: in order of their files' names. digest: of names and contents."""

    bases: tuple[Base, ...]
    digest: str


def load_corpus(folder: str | Path) -> Corpus:
    """All .bpf files below a folder. Raises InputError when there are none, or one cannot be read."""
    root = Path(folder)
    files = sorted(root.rglob("*.bpf"), key=lambda file: file.relative_to(root).as_posix())
    if not files:
        raise InputError(str(folder), "", "there is no .bpf file below this folder")
    digest = hashlib.sha256()
    bases = []
    for file in files:
        data = read_bytes(file)
        name = file.relative_to(root).as_posix()
        digest.update(f"{name} {len(data)}\n".encode() + data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise InputError(str(file), "", "is no text") from None
        unit = asm.parse(text, file.stem)
        others = {one.name: one for one in unit.programs[1:]}
        bases.append(Base(unit.program, unit.runs, others))
    return Corpus(tuple(bases), digest.hexdigest())


@cache
def packaged() -> Corpus:
    """The programs that come with the package."""
    return load_corpus(_PACKAGED)
