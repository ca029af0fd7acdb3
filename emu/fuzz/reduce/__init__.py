"""Shrinks a program that shows a fault to the smallest one that still shows it (docs/reduce.md).

One line a file: draft (a program that can be cut), flow (facts that propose cuts), state (all that is reduced, and its size),
search (asks the judge and keeps the best), code, calls, data (the passes), reducer (their order).
"""

from emu.fuzz.reduce.reducer import Reduced, reduce
from emu.fuzz.reduce.search import Budget, Judging

__all__ = ["Budget", "Judging", "Reduced", "reduce"]
