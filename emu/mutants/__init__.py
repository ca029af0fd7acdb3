"""Known faults of the JIT, planted one at a time, and which check of the sandbox kills each.

One line a file: mutant (what one is, and planting it), frame_faults and insn_faults (what goes wrong, as
code), catalogue (all of them, as a table), campaign (running programs with each); programs/ holds what is run.
"""

from emu.mutants.campaign import Campaign, Result
from emu.mutants.catalogue import MUTANTS
from emu.mutants.mutant import Mutant

__all__ = ["MUTANTS", "Campaign", "Mutant", "Result"]
