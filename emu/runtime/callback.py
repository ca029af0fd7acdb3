"""How a helper asks its engine to run a BPF callback.

A helper or kfunc that calls back (bpf_loop, bpf_for_each_map_elem) is a generator: it yields a `Callback` and
is sent the callback's r0. Each engine drives it in its own way; the helper knows neither.
"""

from collections.abc import Generator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Callback:
    """Call the BPF function at guest address `func` (as an ld_imm64 of kind 4 gave it) with up to 5 arguments."""

    func: int
    args: tuple[int, ...]


HelperResult = int | Generator[Callback, int, int]
