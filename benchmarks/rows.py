"""One measurement, as all benchmarks give it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """name: what was measured; micros: microseconds of processor time for one of them.

    peak_mib: memory that a process needs at most for it, in MiB; 0 where it was not measured.
    """

    name: str
    micros: float
    peak_mib: float = 0
