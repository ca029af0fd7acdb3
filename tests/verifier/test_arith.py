"""Transfer functions: every concrete result lies in the abstract one, at 4 and 6 bits over many pairs and at 64 sampled."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.small import domain, members, sample, words_of
from verifier import arith, casts, cnum
from verifier.num import (
    S32_MIN,
    S64_MIN,
    U32_MAX,
    U64_MAX,
    UNKNOWN,
    Num,
    const,
    from_srange,
    from_urange,
    sync,
)

words = st.integers(0, U64_MAX) | st.sampled_from([0, 1, 7, 1 << 31, 1 << 32, 1 << 63, U32_MAX, U64_MAX])

Concrete = Callable[[int, int, int], int]


def quotient(x: int, y: int) -> int:
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def signed(word: int, bits: int) -> int:
    return (word ^ 1 << bits - 1) - (1 << bits - 1)


def sdiv(x: int, y: int, bits: int) -> int:
    return quotient(signed(x, bits), signed(y, bits)) if y else 0


def smod(x: int, y: int, bits: int) -> int:
    a, b = signed(x, bits), signed(y, bits)
    return a - quotient(a, b) * b if b else a


CONCRETE: dict[tuple[int, bool], Concrete] = {
    (arith.BPF_ADD, False): lambda x, y, _: x + y,
    (arith.BPF_SUB, False): lambda x, y, _: x - y,
    (arith.BPF_MUL, False): lambda x, y, _: x * y,
    (arith.BPF_AND, False): lambda x, y, _: x & y,
    (arith.BPF_OR, False): lambda x, y, _: x | y,
    (arith.BPF_XOR, False): lambda x, y, _: x ^ y,
    (arith.BPF_LSH, False): lambda x, y, bits: x << y % bits,
    (arith.BPF_RSH, False): lambda x, y, bits: x >> y % bits,
    (arith.BPF_ARSH, False): lambda x, y, bits: signed(x, bits) >> y % bits,
    (arith.BPF_DIV, False): lambda x, y, _: x // y if y else 0,
    (arith.BPF_MOD, False): lambda x, y, _: x % y if y else x,
    (arith.BPF_DIV, True): sdiv,
    (arith.BPF_MOD, True): smod,
}
NAMES = dict(
    zip(
        CONCRETE,
        ["add", "sub", "mul", "and", "or", "xor", "lsh", "rsh", "arsh", "div", "mod", "sdiv", "smod"],
        strict=True,
    )
)


def concrete(op: tuple[int, bool], x: int, y: int, bits: int, is32: bool) -> int:
    """The operation on words, in the low half where is32."""
    width = bits // 2 if is32 else bits
    top = (1 << width) - 1
    return CONCRETE[op](x & top, y & top, width) & top


@pytest.mark.parametrize("is32", [False, True], ids=["64", "32"])
@pytest.mark.parametrize("op", CONCRETE, ids=NAMES.values())
@pytest.mark.parametrize("bits", [4, 6])
def test_every_result_is_held(op: tuple[int, bool], is32: bool, bits: int) -> None:
    small, rng = domain(bits), random.Random(op[0] + bits)
    pool = sample(bits, 60, bits)
    consts = [small.num.const(word) for word in range(small.words)]
    for _ in range(300):
        dst, src = rng.choice(pool), rng.choice(pool if rng.random() < 0.6 else consts)
        result = small.arith.alu(op[0], is32, dst, src, is_signed=op[1])
        held = members(result, bits)
        for x in words_of(members(dst, bits)):
            for y in words_of(members(src, bits)):
                assert held >> concrete(op, x, y, bits, is32) & 1, (dst.parts(), src.parts(), x, y)


@pytest.mark.parametrize("bits", [4, 6])
def test_results_of_known_words_are_known_except_remainders(bits: int) -> None:
    small = domain(bits)
    for op in CONCRETE:
        for is32 in (False, True):
            for x in range(0, small.words, 3):
                for y in range(bits // 2):
                    result = small.arith.alu(
                        op[0], is32, small.num.const(x), small.num.const(y), is_signed=op[1]
                    )
                    assert members(result, bits) >> concrete(op, x, y, bits, is32) & 1
                    assert op[0] == arith.BPF_MOD or result is small.num.const(concrete(op, x, y, bits, is32))


def test_known_words_take_the_short_way_to_the_same_result() -> None:
    rng = random.Random(5)
    for op in (arith.BPF_ADD, arith.BPF_SUB, arith.BPF_MUL, arith.BPF_OR, arith.BPF_AND, arith.BPF_XOR):
        for is32 in (False, True):
            for _ in range(50):
                a, b = const(rng.getrandbits(64)), const(rng.getrandbits(rng.choice([3, 32, 64])))
                assert arith.alu(op, is32, a, b) == arith._RULES[op, is32](a, b)


@st.composite
def nums(draw: st.DrawFn) -> tuple[int, Num]:
    """A word and a Num that holds it."""
    word, mask = draw(words), draw(words)
    size, size32 = draw(words), draw(words) & U32_MAX
    before, before32 = draw(words) % (size + 1), draw(words) % (size32 + 1)
    base, base32 = word - before & U64_MAX, (word & U32_MAX) - before32 & U32_MAX
    if size == U64_MAX:
        base = 0
    if size32 == U32_MAX:
        base32 = 0
    return word, sync(word & ~mask, mask, base, size, base32, size32)


@settings(max_examples=400)
@given(nums(), nums(), st.sampled_from(list(CONCRETE)), st.booleans(), st.booleans())
def test_every_result_is_held_at_full_width(
    left: tuple[int, Num], right: tuple[int, Num], op: tuple[int, bool], is32: bool, known: bool
) -> None:
    (x, dst), (y, src) = left, right
    if known:
        src = const(y)
    result = arith.alu(op[0], is32, dst, src, is_signed=op[1])
    assert result.contains(concrete(op, x, y, 64, is32))


@given(nums(), st.sampled_from([1, 2, 4]))
def test_casts_at_full_width(given_: tuple[int, Num], size: int) -> None:
    word, n = given_
    bits = size * 8
    low = word & (1 << bits) - 1
    assert casts.truncate(n, size).contains(low)
    assert casts.truncate_sx(n, size).contains(signed(low, bits) & U64_MAX)
    assert casts.zext(n).contains(word & U32_MAX)
    if size < 4:
        assert casts.truncate_sx32(n, size).contains(signed(low, bits) & U32_MAX)


@given(nums(), st.sampled_from([16, 32, 64]))
def test_byte_swaps_and_negation_at_full_width(given_: tuple[int, Num], bits: int) -> None:
    word, n = given_
    low = (word & (1 << bits) - 1).to_bytes(bits // 8, "little")
    assert casts.byte_swap(n, bits, True).contains(int.from_bytes(low, "big"))
    assert casts.byte_swap(n, bits, False).contains(int.from_bytes(low, "little"))
    assert arith.neg(n, False).contains(-word & U64_MAX)
    assert arith.neg(n, True).contains(-word & U32_MAX)


@given(nums(), nums())
def test_offsets_and_distances_at_full_width(left: tuple[int, Num], right: tuple[int, Num]) -> None:
    (x, pointer), (y, n) = left, right
    assert casts.resync(arith.offset_add(pointer, n)).contains(x + y & U64_MAX)
    assert casts.resync(arith.offset_sub(pointer, n)).contains(x - y & U64_MAX)
    assert arith.add_delta(pointer, y).contains(x + y & U64_MAX)
    assert arith.add_delta(pointer, y, is32=True).contains(x + y & U32_MAX)


def test_what_must_be_known_makes_everything_unknown_if_it_is_not() -> None:
    byte = from_urange(0, 7)
    for op in (arith.BPF_LSH, arith.BPF_RSH, arith.BPF_ARSH, arith.BPF_DIV, arith.BPF_MOD):
        assert arith.alu(op, False, byte, byte) is UNKNOWN
        assert arith.alu(op, True, byte, byte) is UNKNOWN
    assert arith.alu(arith.BPF_LSH, True, byte, const(32)) is UNKNOWN
    assert arith.alu(arith.BPF_LSH, False, byte, const(32)).umax == 7 << 32


def test_division_at_its_edges() -> None:
    least = const(S64_MIN)
    assert arith.alu(arith.BPF_DIV, False, least, const(-1), is_signed=True) is least
    assert arith.alu(arith.BPF_MOD, False, least, const(-1), is_signed=True) == const(0)
    low = from_srange(S64_MIN, S64_MIN + 10)
    assert arith.alu(arith.BPF_DIV, False, low, const(-1), is_signed=True) is UNKNOWN
    assert arith.alu(arith.BPF_DIV, True, const(S32_MIN), const(-1), is_signed=True) == const(1 << 31)
    assert arith.alu(arith.BPF_DIV, False, low, const(0)) == const(0)
    assert arith.alu(arith.BPF_MOD, False, low, const(0)) == low
    inside = arith.alu(arith.BPF_MOD, False, from_urange(2, 5), const(10))
    assert (inside.umin, inside.umax) == (2, 5)


def test_a_sign_shift_forks_before_and() -> None:
    assert arith.fork_scalars(from_srange(-1, 0)) == (const(0), const(-1))
    low = arith.alu(arith.BPF_ARSH, True, UNKNOWN, const(31))
    pushed, current = arith.fork_scalars(low) or (UNKNOWN, UNKNOWN)
    assert (pushed.value & U32_MAX, current.value & U32_MAX) == (0, U32_MAX)
    assert pushed.is_const32
    assert current.is_const32
    assert arith.fork_scalars(from_srange(-1, 1)) is None


def test_sign_extension_by_two_shifts_keeps_the_low_half_s_bounds() -> None:
    word = sync(0, U64_MAX, 0, U64_MAX, *cnum.from_srange(-4, 9, U32_MAX))
    shifted = arith.alu(arith.BPF_LSH, False, word, const(32))
    extended = arith.alu(arith.BPF_ARSH, False, shifted, const(32))
    assert (extended.smin, extended.smax) == (-4, 9)
