"""What a generator is, and what it returns."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bpf.program import Program, Request


@dataclass(frozen=True, slots=True)
class Made:
    """What a generator returns; `Sample` explains the fields."""

    request: Request
    others: Mapping[str, Program] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


Generator = Callable[[random.Random], Made]
