"""Who makes samples: each generator is a function of a random number generator, and knows no engine.

`make` is the one way in. A case is reproducible from (generator, seed, number) alone: no generator keeps anything from
one call to the next, asks for the time, iterates over a set of strings, or uses `hash()`.
"""

import random
from dataclasses import replace

from bpf.errors import InputError
from emu.fuzz.generators.calls import calls
from emu.fuzz.generators.corpus import Corpus, load_corpus
from emu.fuzz.generators.isa import forms
from emu.fuzz.generators.made import Generator, Made
from emu.fuzz.generators.mutated import mutated, mutated_from
from emu.fuzz.generators.near import near
from emu.fuzz.sample import Sample

GENERATORS: dict[str, Generator] = {
    "calls": calls,
    "isa": forms,
    "mutated": mutated,
    "near": near,
}


def make(generator: str, seed: int, number: int, corpus: Corpus | None = None) -> Sample:
    """Case `number` of a campaign with this seed. Raises InputError when there is no such generator.

    corpus: programs that `mutated` begins with, in the place of those of other generators and of the package.
    """
    if generator not in GENERATORS:
        raise InputError("generator", generator, f"there is none; there are: {', '.join(GENERATORS)}")
    rng = random.Random(f"{generator} {seed} {number}")  # noqa: S311 - cases, no secrets
    if corpus is not None and generator == "mutated":
        made = mutated_from(rng, corpus)
    else:
        made = GENERATORS[generator](rng)
    sample = Sample(generator, seed, number, made.request, made.others, made.tags)
    program = replace(made.request.program, name=sample.name)
    return replace(sample, request=replace(made.request, program=program))


__all__ = ["GENERATORS", "Corpus", "Generator", "Made", "load_corpus", "make"]
