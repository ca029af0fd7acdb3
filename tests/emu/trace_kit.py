"""What the tests of traces share: programs, and a trace of them."""

from functools import lru_cache
from pathlib import Path

from bpf.asm import parse
from bpf.program import Request
from emu.load import load_file
from emu.mutants import find
from emu.pipeline import Options
from emu.trace import Trace, record
from emu.trace.recording import LIMIT

ROOT = Path(__file__).parents[2]
OPTIONS = Options(seconds=1.0)


def file_of(name: str) -> str:
    """A program of the mutants, or an object or a text of fixtures/."""
    places = (
        ROOT / "emu/mutants/programs" / f"{name}.bpf",
        ROOT / "fixtures/text" / f"{name}.bpf",
        ROOT / "fixtures/objects" / f"{name}.bpf.o",
    )
    return str(next(place for place in places if place.exists()))


@lru_cache(maxsize=32)
def traced(
    name: str, mutant: str = "", prog: str = "", *, through: bool = False, limit: int = LIMIT
) -> Trace:
    """The trace of a program of a file."""
    file = file_of(name)
    item = next(one for one in load_file(file) if prog in ("", one.request.program.name))
    fault = find(mutant) if mutant else None
    made = record(item.request, item.others, OPTIONS, file=file, limit=limit, through=through, mutant=fault)
    assert isinstance(made, Trace)
    return made


def traced_text(text: str, options: Options = OPTIONS, *, limit: int = LIMIT) -> Trace:
    """The trace of the first program of a text, which may tail call the others."""
    assembly = parse(text, "text")
    others = {program.name: program for program in assembly.programs}
    made = record(Request(assembly.programs[0], assembly.runs), others, options, limit=limit)
    assert isinstance(made, Trace)
    return made
