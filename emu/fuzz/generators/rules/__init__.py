"""Programs on the border of each verifier rule, on either side; each file is a table of small makers.

| file | rules of |
|---|---|
| stack | the stack: bounds, alignment, depth, spilled values |
| arguments | stack arguments and kfuncs |
| values | numbers and registers |
| memory | map values, packets, contexts, pointers |
| objects | references, callbacks, loops, sections, helpers, the program as a whole |
| jumps | jump tables and indirect jumps |
| paths | what holds where ways join |
| edges | what only certain numbers reach, which the map then holds |

recipe.py says what a maker returns. None of them knows an engine, nor what the verifier says.
"""

from emu.fuzz.generators.rules import arguments, edges, jumps, memory, objects, paths, stack, values
from emu.fuzz.generators.rules.recipe import Maker, Recipe

MAKERS: tuple[tuple[str, Maker], ...] = (
    *stack.RULES,
    *arguments.RULES,
    *values.RULES,
    *memory.RULES,
    *objects.RULES,
    *jumps.RULES,
    *paths.RULES,
    *edges.RULES,
)
# Those whose programs depend on few numbers; they are made more often.
EDGES: tuple[tuple[str, Maker], ...] = tuple(edges.RULES)

__all__ = ["EDGES", "MAKERS", "Maker", "Recipe"]
