"""Speed of the number domain, and how often it is as exact as its form allows. Run as `python -m benchmarks.numdomain`.

Speed: operations a second on operands seen before (kept results) and on new ones. Precision: at 4 bits, over random pairs
of consistent numbers, the share of results that mean the same words as the best Num for the concrete results would: least
known bits, shortest arc in each width. The kernel's rules are kept where they are not the best.
"""

import random
from itertools import count
from time import perf_counter
from typing import Any

from tests.verifier.small import domain, members, sample, words_of
from tests.verifier.test_arith import NAMES, concrete
from verifier import arith, refine
from verifier.num import Num, const, from_urange

BITS = 4
PAIRS = 2_000
ROUNDS = 20_000


def best_arc(words: list[int], top: int) -> tuple[int, int]:
    """The shortest arc over some words: around the ring but for the widest gap."""
    words = sorted(set(words))
    gaps = [
        (following - word & top or top + 1, following)
        for word, following in zip(words, words[1:] + words[:1], strict=True)
    ]
    gap, start = max(gaps)
    size = top + 1 - gap
    return (0, top) if size == top else (start, size)


def best(small: Any, results: set[int]) -> int:
    """The words that the best Num over some words means."""
    top, half = small.tnum.U_MAX, small.tnum.HALF_MAX
    ones = zeros = top
    for word in results:
        ones &= word
        zeros &= ~word
    arc = best_arc(list(results), top)
    arc32 = best_arc([word & half for word in results], half)
    return members(small.num.Num(ones, top & ~(ones | zeros), *arc, *arc32), BITS)


def precision() -> None:
    small, rng = domain(BITS), random.Random(0)
    pool = sample(BITS, 200, 0)
    consts = [small.num.const(word) for word in range(small.words)]
    for op, name in NAMES.items():
        shares = []
        for is32 in (False, True):
            optimal = 0
            for _ in range(PAIRS):
                dst, src = rng.choice(pool), rng.choice(pool + consts)
                if op[0] in (arith.BPF_LSH, arith.BPF_RSH, arith.BPF_ARSH):
                    src = rng.choice(consts[: BITS // 2 if is32 else BITS])
                elif op[0] in (arith.BPF_DIV, arith.BPF_MOD):
                    src = rng.choice(consts)
                xs, ys = words_of(members(dst, BITS)), words_of(members(src, BITS))
                results = {concrete(op, x, y, BITS, is32) for x in xs for y in ys}
                held = members(small.arith.alu(op[0], is32, dst, src, is_signed=op[1]), BITS)
                optimal += held == best(small, results)
            shares.append(f"{optimal / PAIRS:6.1%}")
        print(f"  {name:5} 64 bit {shares[0]}   32 bit {shares[1]}")


def rate(operation: Any) -> str:
    start = perf_counter()
    for turn in range(ROUNDS):
        operation(turn)
    return f"{ROUNDS / (perf_counter() - start):12,.0f}/s"


def speed() -> None:
    byte, five, fresh = from_urange(0, 255), const(5), count(1)
    new: list[Num] = [from_urange(turn, 3 * turn + 7) for turn in range(ROUNDS)]
    print("  add, known words  ", rate(lambda _: arith.alu(arith.BPF_ADD, False, five, const(next(fresh)))))
    print("  add, kept         ", rate(lambda _: arith.alu(arith.BPF_ADD, False, byte, five)))
    print("  add, new          ", rate(lambda turn: arith.alu(arith.BPF_ADD, False, new[turn], five)))
    print("  and, new          ", rate(lambda turn: arith.alu(arith.BPF_AND, False, new[turn], five)))
    print("  mul, new          ", rate(lambda turn: arith.alu(arith.BPF_MUL, False, new[turn], five)))
    print("  jump, known words ", rate(lambda _: refine.decide(refine.BPF_JLT, False, five, five)))
    print("  jump, kept        ", rate(lambda _: refine.decide(refine.BPF_JLT, False, byte, five)))
    print("  jump, new         ", rate(lambda turn: refine.decide(refine.BPF_JLT, False, new[turn], five)))


if __name__ == "__main__":
    print("operations a second")
    speed()
    print(f"as exact as the form allows, at {BITS} bits")
    precision()
