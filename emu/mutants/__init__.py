"""Known faults of the JIT, the verifier and the interpreter, planted one at a time, and what kills each.

| module | what |
|---|---|
| mutant | what one is, and planting it |
| catalogue, frame_faults, insn_faults | all faults of the JIT as a table, and what goes wrong, as code |
| verifier_catalogue, number_faults, state_faults, rewrite_faults | the same of the verifier |
| interp_catalogue, interp_faults | the same of the interpreter |
| campaign | fixed programs (programs/) with each fault of the JIT: which check of the sandbox sees it, and where |
| hunt | generated programs with each fault of any layer: which oracle finds it, after how many |
"""

from typing import Final

from bpf.errors import InputError
from emu.mutants.campaign import Campaign, Result
from emu.mutants.catalogue import MUTANTS
from emu.mutants.interp_catalogue import INTERP_MUTANTS
from emu.mutants.mutant import Mutant, planted
from emu.mutants.verifier_catalogue import VERIFIER_MUTANTS

ALL: Final[tuple[Mutant, ...]] = (*MUTANTS, *VERIFIER_MUTANTS, *INTERP_MUTANTS)


def find(name: str) -> Mutant:
    """The mutant of this name. Raises InputError when there is none."""
    for mutant in ALL:
        if mutant.name == name:
            return mutant
    raise InputError("--mutant", repr(name), "is no mutant; `bpfemu mutants --list` shows them all")


__all__ = [
    "ALL",
    "INTERP_MUTANTS",
    "MUTANTS",
    "VERIFIER_MUTANTS",
    "Campaign",
    "Mutant",
    "Result",
    "find",
    "planted",
]
