"""Soundness checked by execution, over generated programs: `python -m benchmarks.soundness FIRST COUNT`.

A breach in kernel mode that strict mode does not have is counted as a hole of the kernel's rules (docs/strict.md).
"""

import sys
from collections import Counter
from time import perf_counter

from benchmarks.generated import generate
from emu.soundness import check
from emu.soundness.inputs import random_inputs, random_maps

_RUNS = 3
_REPORT = 100


def main(first: int, count: int) -> int:
    """Checks the programs `first` .. and says how it went; 1 if there was a breach that strict mode has, too."""
    found: Counter[str] = Counter()
    started = perf_counter()
    for number in range(first, first + count):
        program = generate(number)
        with_maps, inputs = random_maps(program, number), random_inputs(program, _RUNS, number)
        done = check(with_maps, inputs, budget=5_000, seed=number)
        found["steps"] += done.steps
        found["runs"] += done.runs
        outcome = done.why.split(":")[0] or "inside"
        if done.breach:
            strictly = check(with_maps, inputs, budget=5_000, seed=number, mode="strict")
            outcome = "breach" if strictly.breach else "hole of the kernel"
            print(f"{outcome}: {done.breach}")
        found[outcome] += 1
        if (number - first + 1) % _REPORT == 0 or number == first + count - 1:
            print(
                f"{number + 1 - first} programs, {perf_counter() - started:.0f} s: {dict(found)}", flush=True
            )
    return int(bool(found["breach"]))


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:3])))
