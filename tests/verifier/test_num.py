"""The reduced product: no concrete word is lost by consistency, at 4 bits over all combinations of parts."""

import random
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.small import arcs, domain, members, members_of_arc, members_of_tnum, tnums
from verifier import num
from verifier.num import (
    UNKNOWN,
    ZERO,
    Num,
    Parts,
    const,
    from_srange,
    from_urange,
    invariant_violation,
    s32_range,
    sync,
)

words = st.integers(0, num.U64_MAX)


def test_making_parts_consistent_loses_nothing_and_often_gains() -> None:
    small = domain(4)
    bit_sets = [(t, members_of_tnum(*t, 4)) for t in tnums(4)]
    wide = [(arc, members_of_arc(*arc, 4)) for arc in arcs(4)[:-1]]
    narrow = [(arc, sum(members_of_arc(*arc, 2) << turn for turn in (0, 4, 8, 12))) for arc in arcs(2)[:-1]]
    kept: dict[Num, int] = {}
    better = 0
    for (bits, a), (arc, b), (half, c) in product(bit_sets, wide, narrow):
        after = small.num.sync(*bits, *arc, *half)
        if after not in kept:
            kept[after] = members(after, 4)
        allowed = a & b & c
        assert not allowed & ~kept[after]
        assert not (allowed and after.is_violated)
        better += after.parts() != (*bits, *arc, *half)
    assert better > 200_000, better


def plain(small: Any, value: int, mask: int, base: int, size: int, base32: int, size32: int) -> Parts:
    """reg_bounds_sync step by step, every step taken."""
    tnum, cnum, top, half = small.tnum, small.cnum, small.tnum.U_MAX, small.tnum.HALF_MAX

    def from_bits(parts: Parts) -> Parts:
        value, mask, base, size, base32, size32 = parts
        arc32 = small.num._arc_of_bits(value & half, mask & half, tnum.HALF_SIGN, half)
        base32, size32 = cnum.intersect(base32, size32, *arc32, half)
        base, size = cnum.intersect(base, size, *small.num._arc_of_bits(value, mask, tnum.SIGN, top), top)
        only = small.num._only_member(value, mask, base, size)
        return (only, 0, only, 0, only & half, 0) if only >= 0 else (value, mask, base, size, base32, size32)

    value, mask, base, size, base32, size32 = from_bits((value, mask, base, size, base32, size32))
    for _ in range(2):
        low = (half, half) if (base, size) == (top, top) else cnum.low_half(base, size, half)
        base32, size32 = cnum.intersect(base32, size32, *low, half)
        base, size = cnum.intersect_half(base, size, base32, size32, top, half)
    span = tnum.span(cnum.umin(base, size, top), cnum.umax(base, size, top))
    value, mask = tnum.intersect(value, mask, *span)
    span = tnum.span(cnum.umin(base32, size32, half), cnum.umax(base32, size32, half))
    value, mask = tnum.with_half(value, mask, *tnum.intersect(value & half, mask & half, *span))
    return from_bits((value, mask, base, size, base32, size32))


def test_shortcuts_change_nothing() -> None:
    small = domain(4)
    for bits, arc, half in product(tnums(4)[::4], arcs(4)[:-1], arcs(2)[:-1]):
        assert small.num.sync(*bits, *arc, *half).parts() == plain(small, *bits, *arc, *half)


def test_an_empty_range_stays_and_is_named() -> None:
    empty = Num(0, num.U64_MAX, num.U64_MAX, num.U64_MAX, 0, num.U32_MAX)
    assert empty.is_violated
    assert sync(*empty.parts()) == empty
    assert invariant_violation(empty) == "range bounds violation"


def test_constants_and_unknown_exist_once() -> None:
    assert const(-1) is const(num.U64_MAX)
    assert sync(*const(7).parts()) is const(7)
    assert sync(*UNKNOWN.parts()) is UNKNOWN
    assert ZERO.is_const
    assert ZERO.signed_value == 0
    assert const(-5).signed_value == const(-5).smin == const(-5).s32_max == -5


def test_bounds_bring_bits_and_the_other_width() -> None:
    byte = from_urange(0, 255)
    assert (byte.value, byte.mask) == (0, 0xFF)
    assert (byte.smin, byte.smax, byte.u32_max, byte.s32_min) == (0, 255, 255, 0)
    around = from_srange(-2, 5)
    assert (around.umin, around.umax) == (0, num.U64_MAX)
    assert (around.s32_min, around.s32_max, around.smin, around.smax) == (-2, 5, -2, 5)
    assert around.mask == num.U64_MAX
    errno = s32_range(UNKNOWN, -4095, 0)
    assert (errno.smin, errno.smax, errno.s32_min, errno.s32_max) == (-4095, 0, -4095, 0)


def test_a_single_number_that_bits_and_range_share_is_known() -> None:
    # A multiple of 16 between 17 and 47 is 32.
    assert sync(0, num.U64_MAX & ~15, 17, 30, 0, num.U32_MAX) is const(32)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((5, 0, 6, 0, 5, 0), "const tnum out of sync with range bounds"),
        ((5, 0, 5, 0, 6, 0), "const subreg tnum out of sync with range bounds"),
        ((5, 0, 5, 0, 5, 0), None),
    ],
)
def test_invariants_are_named_as_the_kernel_names_them(parts: Parts, message: str | None) -> None:
    assert invariant_violation(Num(*parts)) == message


@given(words, words, words, words, words, words)
def test_consistency_keeps_every_word_at_full_width(
    word: int, mask: int, before: int, after: int, low_before: int, low_after: int
) -> None:
    base, size = word - before & num.U64_MAX, min(before + after, num.U64_MAX - 1)
    low = word & num.U32_MAX
    low_before, low_after = low_before >> 33, low_after >> 33
    base32, size32 = low - low_before & num.U32_MAX, min(low_before + low_after, num.U32_MAX - 1)
    if before > size or low_before > size32:
        return
    made = sync(word & ~mask, mask, base, size, base32, size32)
    assert made.contains(word)
    assert made.umin <= word <= made.umax
    assert made.smin <= num.signed(word) <= made.smax
    assert made.u32_min <= low <= made.u32_max
    assert made.s32_min <= num.signed32(low) <= made.s32_max


def test_pruning_order_is_reflexive_and_implies_inclusion() -> None:
    small, rng = domain(4), random.Random(1)
    pool = [
        small.num.sync(*rng.choice(tnums(4)), *rng.choice(arcs(4)[:-1]), *rng.choice(arcs(2)[:-1]))
        for _ in range(300)
    ]
    pool = [n for n in pool if members(n, 4)]
    for a in pool:
        assert a.holds(a)
        for b in pool:
            if a.holds(b):
                assert members(b, 4) & ~members(a, 4) == 0
