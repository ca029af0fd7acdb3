"""Known bits: sound, exhaustively at 4 bits; as good as can be where the rule is exact; a lattice."""

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.small import domain, members_of_tnum, tnums, words_of
from verifier import tnum

BITS = 4
TOP = 15
ALL = [(t, words_of(members_of_tnum(*t, BITS))) for t in tnums(BITS)]
words = st.integers(0, tnum.U_MAX)


def best(results: list[int]) -> tuple[int, int]:
    """The smallest tnum over some words."""
    ones = zeros = TOP
    for word in results:
        ones &= word
        zeros &= ~word
    return ones, TOP & ~(ones | zeros)


BINARY: dict[str, Callable[[int, int], int]] = {
    "add": lambda x, y: x + y & TOP,
    "sub": lambda x, y: x - y & TOP,
    "mul": lambda x, y: x * y & TOP,
    "and_": lambda x, y: x & y,
    "or_": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_operations_hold_every_result_and_most_are_the_best(name: str) -> None:
    operation, concrete = getattr(domain(BITS).tnum, name), BINARY[name]
    optimal = 0
    for (a, xs), (b, ys) in product(ALL, ALL):
        value, mask = operation(*a, *b)
        assert not value & mask
        results = [concrete(x, y) for x in xs for y in ys]
        assert all(word & ~mask == value for word in results)
        optimal += best(results) == (value, mask)
    share = optimal / len(ALL) ** 2
    assert share == 1 if name != "mul" else share > 0.95, share


def test_products_take_short_ways_to_the_same_result() -> None:
    small = domain(BITS).tnum
    for (a, _), (b, _) in product(ALL, ALL):
        assert small.mul(*a, *b) == small.long_mul(*a, *b)


def test_union_intersection_and_order_are_those_of_sets() -> None:
    small = domain(BITS).tnum
    for (a, xs), (b, ys) in product(ALL, ALL):
        common = set(xs) & set(ys)
        assert small.overlap(*a, *b) == bool(common)
        assert small.holds(*a, *b) == set(xs).issuperset(ys)
        assert small.union(*a, *b) == best(xs + ys)
        if common:
            assert small.intersect(*a, *b) == best(list(common))


def test_step_counts_up_within_the_members() -> None:
    small = domain(BITS).tnum
    for (value, mask), xs in ALL:
        for after in range(TOP + 1):
            assert small.step(value, mask, after) == next((x for x in xs if x > after), max(xs))


def test_shifts_and_spans_are_the_best() -> None:
    small = domain(BITS).tnum
    for low in range(TOP + 1):
        for high in range(low, TOP + 1):
            assert small.span(low, high) == best(list(range(low, high + 1)))
    for (t, xs), shift in product(ALL, range(BITS)):
        assert small.lshift(*t, shift) == best([x << shift & TOP for x in xs])
        assert small.rshift(*t, shift) == best([x >> shift for x in xs])
        assert small.arshift(*t, shift) == best([((x ^ 8) - 8) >> shift & TOP for x in xs])
        assert small.neg(*t) == best([-x & TOP for x in xs])


@given(words, words, words, words, words, words)
def test_sums_and_products_at_full_width(av: int, am: int, bv: int, bm: int, pick: int, other: int) -> None:
    av, bv = av & ~am, bv & ~bm
    x, y = av | pick & am, bv | other & bm
    for operation, result in ((tnum.add, x + y), (tnum.sub, x - y), (tnum.mul, x * y)):
        value, mask = operation(av, am, bv, bm)
        assert result & tnum.U_MAX & ~mask == value


@given(words, words, words, st.sampled_from([2, 4, 8]))
def test_byte_swaps_move_every_bit_with_its_byte(value: int, mask: int, pick: int, size: int) -> None:
    value &= ~mask
    word = value | pick & mask
    swapped = int.from_bytes(word.to_bytes(8, "little")[:size], "big")
    new_value, new_mask = tnum.bswap(value, mask, size)
    assert swapped & ~new_mask == new_value
