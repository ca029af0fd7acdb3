"""The number domain at a small width, from the same sources: words of 4 or 6 bits can be tried exhaustively.

`domain(bits)` executes the domain's modules once more with BITS and HALF_BITS replaced.
Sets of concrete words are ints, one bit a word.
"""

import random
import sys
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import verifier

MODULES = ("tnum", "cnum", "num", "casts", "division", "arith", "refine")
SOURCES = Path(verifier.__file__).parent


@cache
def domain(bits: int) -> Any:
    """The modules of the number domain for words of so many bits."""
    package = ModuleType(f"small{bits}")
    sys.modules[package.__name__] = package
    for name in MODULES:
        text = (SOURCES / f"{name}.py").read_text()
        text = text.replace("from verifier", f"from {package.__name__}")
        text = text.replace("BITS = 64", f"BITS = {bits}").replace(
            "HALF_BITS = 32", f"HALF_BITS = {bits // 2}"
        )
        module = ModuleType(f"{package.__name__}.{name}")
        sys.modules[module.__name__] = module
        setattr(package, name, module)
        exec(compile(text, f"{name}.py at {bits} bits", "exec"), module.__dict__)
    return SimpleNamespace(
        bits=bits,
        words=1 << bits,
        **{name: sys.modules[f"{package.__name__}.{name}"] for name in MODULES},
    )


def tnums(bits: int) -> list[tuple[int, int]]:
    """All tnums of so many bits."""
    words = range(1 << bits)
    return [(value, mask) for mask in words for value in words if not value & mask]


def arcs(bits: int) -> list[tuple[int, int]]:
    """All arcs of so many bits, the whole ring once and the empty one."""
    words = range(1 << bits)
    top = words[-1]
    return [(base, size) for base in words for size in words if size < top] + [(0, top), (top, top)]


def members_of_tnum(value: int, mask: int, bits: int) -> int:
    """Its concrete words."""
    return sum(1 << word for word in range(1 << bits) if word & ~mask == value)


def members_of_arc(base: int, size: int, bits: int) -> int:
    """Its concrete words, by walking along it."""
    top = (1 << bits) - 1
    if (base, size) == (top, top):
        return 0
    return sum(1 << (base + step & top) for step in range(size + 1))


def members(num: Any, bits: int) -> int:
    """The concrete words that all parts of a small Num allow."""
    half = bits // 2
    low = members_of_arc(num.base32, num.size32, half)
    lows = sum(low << (turn << half) for turn in range(1 << (bits - half)))
    return members_of_tnum(num.value, num.mask, bits) & members_of_arc(num.base, num.size, bits) & lows


def words_of(members: int) -> list[int]:
    """The words of a set."""
    return [word for word in range(members.bit_length()) if members >> word & 1]


def sample(bits: int, count: int, seed: int) -> list[Any]:
    """Different consistent Nums, constants and the unknown one among them, none of them empty."""
    small, rng = domain(bits), random.Random(seed)
    bit_sets, wide, narrow = tnums(bits), arcs(bits)[:-1], arcs(bits // 2)[:-1]
    chosen: dict[Any, Any] = {small.num.UNKNOWN.parts(): small.num.UNKNOWN}
    while len(chosen) < count:
        value, mask = rng.choice(bit_sets) if rng.random() < 0.7 else (0, small.tnum.U_MAX)
        arc = rng.choice(wide) if rng.random() < 0.7 else (0, small.tnum.U_MAX)
        half = rng.choice(narrow) if rng.random() < 0.5 else (0, small.tnum.HALF_MAX)
        num = small.num.sync(value, mask, *arc, *half)
        if not num.is_violated and members(num, bits):
            chosen[num.parts()] = num
    return list(chosen.values())
