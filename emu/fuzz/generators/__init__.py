"""Who makes samples: each generator is a function of a random number generator, and knows no engine.

`make` is the one way in. A case is reproducible from (generator, seed, number) alone: no generator keeps anything from
one call to the next, asks for the time, iterates over a set of strings, or uses `hash()`.
"""

import random
from dataclasses import replace

from bpf.errors import InputError
from emu.fuzz.generators.calls import calls
from emu.fuzz.generators.isa import forms
from emu.fuzz.generators.made import Generator, Made
from emu.fuzz.sample import Sample

GENERATORS: dict[str, Generator] = {
    "calls": calls,
    "isa": forms,
}


def make(generator: str, seed: int, number: int) -> Sample:
    """Case `number` of a campaign with this seed. Raises InputError when there is no such generator."""
    if generator not in GENERATORS:
        raise InputError("generator", generator, f"there is none; there are: {', '.join(GENERATORS)}")
    rng = random.Random(f"{generator} {seed} {number}")  # noqa: S311 - cases, no secrets
    made = GENERATORS[generator](rng)
    sample = Sample(generator, seed, number, made.request, made.others, made.tags)
    program = replace(made.request.program, name=sample.name)
    return replace(sample, request=replace(made.request, program=program))


__all__ = ["GENERATORS", "Generator", "Made", "make"]
