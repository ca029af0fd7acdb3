"""One measurement, as all benchmarks give it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """name: what was measured; micros: microseconds of processor time for one of them."""

    name: str
    micros: float
