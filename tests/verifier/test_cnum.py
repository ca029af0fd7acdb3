"""Circular ranges: exhaustively at 4 bits against sets of words, at 64 by examples of the kernel's documentation."""

from itertools import product

from tests.verifier.small import arcs, domain, members_of_arc, words_of
from verifier import cnum
from verifier.num import U32_MAX, U64_MAX

BITS = 4
TOP = 15
ALL = [(arc, members_of_arc(*arc, BITS)) for arc in arcs(BITS)]
HALVES = [(arc, members_of_arc(*arc, BITS // 2)) for arc in arcs(BITS // 2)]


def walk(arc: tuple[int, int], bits: int) -> int:
    return members_of_arc(*arc, bits)


def signed(word: int) -> int:
    return (word ^ 8) - 8


def test_bounds_are_those_of_the_members_unless_the_arc_passes_the_edge() -> None:
    for (base, size), members in ALL[:-1]:
        words = words_of(members)
        low, high = cnum.umin(base, size, TOP), cnum.umax(base, size, TOP)
        assert (low, high) == (min(words), max(words))
        assert cnum.srange(base, size, TOP) == (min(map(signed, words)), max(map(signed, words)))
        assert [w for w in range(16) if cnum.contains(base, size, w, TOP)] == words


def test_ranges_make_the_arcs_that_they_name() -> None:
    for low, high in product(range(16), range(16)):
        if low <= high:
            assert members_of_arc(*cnum.from_urange(low, high, TOP), BITS) == sum(
                1 << w for w in range(low, high + 1)
            )
        if signed(low) <= signed(high):
            words = [w & TOP for w in range(signed(low), signed(high) + 1)]
            assert members_of_arc(*cnum.from_srange(signed(low), signed(high), TOP), BITS) == sum(
                1 << w for w in words
            )


def test_intersection_holds_the_common_part_and_no_more_where_it_is_one_arc() -> None:
    whole = {members: arc for arc, members in ALL}
    for (a, xs), (b, ys) in product(ALL, ALL):
        result = cnum.intersect(*a, *b, TOP)
        common, got = xs & ys, members_of_arc(*result, BITS)
        assert common & ~got == 0
        if common in whole:
            assert got == common
        else:
            assert got in (xs, ys)
            assert got.bit_count() == min(xs.bit_count(), ys.bit_count())
        assert members_of_arc(*cnum.intersect(*b, *a, TOP), BITS).bit_count() == got.bit_count()


def test_subset_is_that_of_sets() -> None:
    for (a, xs), (b, ys) in product(ALL, ALL):
        assert cnum.is_subset(*a, *b, TOP) == (ys & ~xs == 0)


def test_sums_and_complements_are_exact() -> None:
    for (a, xs), (b, ys) in product(ALL, ALL):
        sums = {x + y & TOP for x in words_of(xs) for y in words_of(ys)}
        assert set(words_of(members_of_arc(*cnum.add(*a, *b, TOP), BITS))) == sums
    for a, xs in ALL:
        assert set(words_of(members_of_arc(*cnum.negate(*a, TOP), BITS))) == {-x & TOP for x in words_of(xs)}


def test_halves_and_wholes_learn_from_each_other_soundly() -> None:
    narrowed = 0
    for (arc, xs), (half, lows) in product(ALL, HALVES):
        got = walk(domain(BITS).cnum.intersect_half(*arc, *half, TOP, 3), BITS)
        wanted = sum(1 << x for x in words_of(xs) if lows >> (x & 3) & 1)
        assert wanted & ~got == 0
        assert got & ~xs == 0
        assert bool(got) == bool(wanted)
        narrowed += got != xs
    assert narrowed
    for arc, xs in ALL[:-1]:
        low = walk(domain(BITS).cnum.low_half(*arc, 3), BITS // 2)
        assert words_of(low) == sorted({x & 3 for x in words_of(xs)})


def test_a_wide_arc_is_cut_at_both_ends_to_the_half_arc() -> None:
    arc = cnum.intersect_half(0x1_0000_0005, 0x2_0000_0000, 0x10, 0x10, U64_MAX, U32_MAX)
    assert arc == (0x1_0000_0010, 0x2_0000_0020 - 0x1_0000_0010)
