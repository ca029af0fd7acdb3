"""Known faults of the JIT, planted one at a time, and which check of the sandbox kills each.

One line a file: mutant (what one is, and planting it), frame_faults and insn_faults (what goes wrong, as
code), catalogue (all of them, as a table), campaign (running programs with each); programs/ holds what is run.
"""

from bpf.errors import InputError
from emu.mutants.campaign import Campaign, Result
from emu.mutants.catalogue import MUTANTS
from emu.mutants.mutant import Mutant, planted


def find(name: str) -> Mutant:
    """The mutant of this name. Raises InputError when there is none."""
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise InputError("--mutant", repr(name), "is no mutant; `bpfemu mutants --list` shows them all")


__all__ = ["MUTANTS", "Campaign", "Mutant", "Result", "find", "planted"]
