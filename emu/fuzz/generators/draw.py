"""Random choices of a generator: quick ones, and numbers at the edges of every width. Knows no instruction."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

U64 = (1 << 64) - 1
S32_MIN = -(1 << 31)

# What fits a signed immediate of 32 bits, at and beside the edges of each width.
EDGES32: tuple[int, ...] = (
    0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 0x100, 0x101, 0x7FFE, 0x7FFF, 0x8000,
    0x8001, 0xFFFF, 0x10000, 0x7FFFFFFE, 0x7FFFFFFF, -1, -2, -3, -7, -8, -16, -0x7F, -0x80, -0x81, -0xFF, -0x100, -0x7FFF, -0x8000,
    -0x8001, -0xFFFF, -0x10000, -0x7FFFFFFF, -0x80000000,
)  # fmt: skip

# What needs all 64 bits, or looks as if it did.
EDGES64: tuple[int, ...] = (
    0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 0x100000000, 0x100000001,
    0x1FFFFFFFF, 0x7FFFFFFF00000000, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0x8000000000000001, 0xFFFFFFFF00000000,
    0xFFFFFFFF7FFFFFFF, 0xFFFFFFFF80000000, 0xFFFFFFFFFFFFFF7F, 0xFFFFFFFFFFFFFF80, 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF,
    0x0123456789ABCDEF, 0xA5A5A5A55A5A5A5A,
)  # fmt: skip


class Draw:
    """Choices from one random number generator. Remembers the constants it gave, so that compares can meet them again."""

    __slots__ = ("random", "recent", "rng")

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.random = rng.random
        self.recent: list[int] = [0, 1]

    def below(self, limit: int) -> int:
        """A number in 0..limit - 1."""
        return int(self.random() * limit)

    def between(self, low: int, high: int) -> int:
        """A number in low..high, both included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, some: Sequence[T]) -> T:
        """One of `some`, which is not empty."""
        return some[int(self.random() * len(some))]

    def chance(self, probability: float) -> bool:
        """Whether something that rare happens."""
        return self.random() < probability

    def imm(self) -> int:
        """A signed number of 32 bits: at an edge, one that was used before, small, or any."""
        kind = self.random()
        if kind < 0.3:
            return self.recent[int(self.random() * len(self.recent))]
        if kind < 0.7:
            value = EDGES32[int(self.random() * len(EDGES32))]
        elif kind < 0.9:
            value = int(self.random() * 64)
        else:
            value = int(self.random() * 4294967296.0) + S32_MIN
        self.recent.append(value)
        return value

    def word(self) -> int:
        """An unsigned number of 64 bits, at an edge or any."""
        if self.random() < 0.7:
            return EDGES64[int(self.random() * len(EDGES64))]
        return self.rng.getrandbits(64) >> self.pick((0, 0, 16, 31, 32, 48))

    def bytes(self, size: int) -> bytes:
        """`size` bytes of such words; every fourth word is zero."""
        some = (0 if self.random() < 0.25 else self.word() for _ in range((size + 7) // 8))
        return b"".join(word.to_bytes(8, "little") for word in some)[:size]
