"""Branches: whoever can go a way is held on that way, and a way that is ruled out is one that nobody can go."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.small import domain, members, sample, words_of
from tests.verifier.test_arith import nums, signed
from verifier import refine
from verifier.num import U32_MAX, U64_MAX, UNKNOWN, Num, const, from_srange, from_urange, sync
from verifier.refine import EITHER, NOT_TAKEN, TAKEN

HOLDS: dict[int, Callable[[int, int, int], bool]] = {
    refine.BPF_JEQ: lambda x, y, _: x == y,
    refine.BPF_JNE: lambda x, y, _: x != y,
    refine.BPF_JSET: lambda x, y, _: x & y != 0,
    refine.BPF_JGT: lambda x, y, _: x > y,
    refine.BPF_JGE: lambda x, y, _: x >= y,
    refine.BPF_JLT: lambda x, y, _: x < y,
    refine.BPF_JLE: lambda x, y, _: x <= y,
    refine.BPF_JSGT: lambda x, y, bits: signed(x, bits) > signed(y, bits),
    refine.BPF_JSGE: lambda x, y, bits: signed(x, bits) >= signed(y, bits),
    refine.BPF_JSLT: lambda x, y, bits: signed(x, bits) < signed(y, bits),
    refine.BPF_JSLE: lambda x, y, bits: signed(x, bits) <= signed(y, bits),
}
OPS = {op: f"{op:#x}" for op in HOLDS}


def holds(op: int, x: int, y: int, bits: int, is32: bool) -> bool:
    width = bits // 2 if is32 else bits
    top = (1 << width) - 1
    return HOLDS[op](x & top, y & top, width)


@pytest.mark.parametrize("is32", [False, True], ids=["64", "32"])
@pytest.mark.parametrize("op", HOLDS, ids=OPS.values())
@pytest.mark.parametrize("bits", [4, 6])
def test_both_sides_hold_whoever_goes_there(op: int, is32: bool, bits: int) -> None:
    small, rng = domain(bits), random.Random(op + bits)
    pool = sample(bits, 60, bits)
    consts = [small.num.const(word) for word in range(small.words)]
    outcomes = set()
    for _ in range(300):
        left, right = rng.choice(pool), rng.choice(pool if rng.random() < 0.5 else consts)
        if rng.random() < 0.2:
            left, right = right, left
        outcomes.add(check(small, op, is32, left, right))
    assert outcomes >= {EITHER}


def check(small: Any, op: int, is32: bool, left: Any, right: Any) -> int:
    bits = small.bits
    outcome, *sides = small.refine.decide(op, is32, left, right)
    held = [members(side, bits) for side in sides]
    for x in words_of(members(left, bits)):
        for y in words_of(members(right, bits)):
            goes = holds(op, x, y, bits, is32)
            assert outcome in (EITHER, int(goes)), (left.parts(), right.parts(), x, y)
            if outcome == EITHER:
                assert held[2 * goes] >> x & 1, (left.parts(), right.parts(), x, y)
                assert held[2 * goes + 1] >> y & 1, (left.parts(), right.parts(), x, y)
    return int(outcome)


@settings(max_examples=400)
@given(nums(), nums(), st.sampled_from(list(HOLDS)), st.booleans(), st.booleans())
def test_both_sides_hold_whoever_goes_there_at_full_width(
    one: tuple[int, Num], other: tuple[int, Num], op: int, is32: bool, known: bool
) -> None:
    (x, left), (y, right) = one, other
    if known:
        right = const(y)
    outcome, *sides = refine.decide(op, is32, left, right)
    goes = holds(op, x, y, 64, is32)
    assert outcome in (EITHER, int(goes))
    if outcome == EITHER:
        assert sides[2 * goes].contains(x)
        assert sides[2 * goes + 1].contains(y)


@pytest.mark.parametrize("op", HOLDS, ids=OPS.values())
def test_a_register_against_itself(op: int) -> None:
    for n in (UNKNOWN, const(0), const(3), from_srange(-3, -1), from_urange(0, 4)):
        outcome, *sides = refine.decide(op, False, n, n, same=True)
        assert sides == [n, n, n, n]
        if op != refine.BPF_JSET:
            assert outcome == HOLDS[op](1, 1, 64)
        elif n.is_const:
            assert outcome == bool(n.value)
        else:
            assert outcome == (TAKEN if n.smax < 0 else EITHER)


def test_reversing_and_exchanging() -> None:
    for op, rule in HOLDS.items():
        for x in range(4):
            for y in range(4):
                assert HOLDS[refine.flip(op)](x, y, 2) == rule(y, x, 2)
                if op != refine.BPF_JSET:
                    assert HOLDS[refine.reverse(op)](x, y, 2) != rule(x, y, 2)
    assert refine.reverse(refine.BPF_JSET) == refine.JNSET


def test_bounds_after_the_checks_that_programs_make() -> None:
    _, small, _, big, _ = refine.decide(refine.BPF_JGT, False, UNKNOWN, const(7))
    assert (small.umin, small.umax, small.mask) == (0, 7, 7)
    assert (big.umin, big.umax) == (8, U64_MAX)
    _, rest, _, negative, _ = refine.decide(refine.BPF_JSLT, False, UNKNOWN, const(0))
    assert rest.smin == 0
    assert negative.smax == -1
    _, other, _, equal, _ = refine.decide(refine.BPF_JEQ, True, UNKNOWN, const(5))
    assert equal.is_const32
    assert not equal.is_const
    assert (other.base32, other.size32) == (6, U32_MAX - 1)
    _, clear, _, is_set, _ = refine.decide(refine.BPF_JSET, False, UNKNOWN, const(8))
    assert clear.mask == U64_MAX & ~8
    assert is_set.value == 8


def test_a_side_that_contradicts_itself_is_dead() -> None:
    # An even number from 1 to 3 is not compared with 2 but known to be it.
    even = UNKNOWN.parts()[0], U64_MAX & ~1, 1, 2, 0, U32_MAX
    assert sync(*even) is const(2)
    ends = from_srange(-1, 0)
    _, left, _, _, _ = refine.decide(refine.BPF_JEQ, False, ends, const(0))
    assert left is const(-1)
    outcome, *_ = refine.decide(refine.BPF_JNE, False, left, const(-1))
    assert outcome == NOT_TAKEN
