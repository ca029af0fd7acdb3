"""What goes wrong in the verifier's numbers: bounds, known bits, conversions, branches.

Each function takes a piece of the verifier and returns the piece with one fault in it, or makes such a function. Named after
the fault; the catalogue says where each is planted.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from verifier import cnum, refine
from verifier.num import Num, const, sync
from verifier.tnum import HALF_MAX, U_MAX, Tnum

Any_ = Callable[..., Any]

# ---- known bits


def no_carry(_add: Any_) -> Any_:
    """A sum's bits are known where both are: no carry comes out of unknown ones."""

    def wrong(av: int, am: int, bv: int, bm: int) -> Tnum:
        mask = am | bm
        return (av + bv) & U_MAX & ~mask, mask

    return wrong


def half_mask(operation: Any_) -> Any_:
    """Only the first operand's unknown bits make the result unknown."""

    def wrong(av: int, am: int, bv: int, bm: int) -> Tnum:
        value, mask = operation(av, am, bv, bm)
        mask &= am
        return value & ~mask, mask

    return wrong


def join_of_masks(_union: Any_) -> Any_:
    """Bits in which both sides differ are taken for known."""

    def wrong(av: int, am: int, bv: int, bm: int) -> Tnum:
        mask = am | bm
        return av & bv & ~mask, mask

    return wrong


# ---- bounds


def clipped(bounds: Callable[[Num, Num], tuple[int, int]]) -> Callable[[Any_], Any_]:
    """A result that has unsigned bounds of its own in addition: `bounds(dst, src)`."""

    def fault(rule: Any_) -> Any_:
        def wrong(dst: Num, src: Num, *more: Any) -> Num:
            right: Num = rule(dst, src, *more)
            low, high = bounds(dst, src)
            if not right.mask or low > high or high > U_MAX:
                return right
            arc = cnum.intersect(right.base, right.size, *cnum.from_urange(low, high, U_MAX), U_MAX)
            return sync(right.value, right.mask, *arc, right.base32, right.size32)

        return wrong

    return fault


def greater_of_both(dst: Num, src: Num) -> tuple[int, int]:
    """Between the operands' least and greatest."""
    return min(dst.umin, src.umin), max(dst.umax, src.umax)


def corners_of_product(dst: Num, src: Num) -> tuple[int, int]:
    """Products of the corners modulo 2**64, as if none overflowed."""
    return dst.umin * src.umin & U_MAX, dst.umax * src.umax & U_MAX


def shifted_corners(dst: Num, src: Num) -> tuple[int, int]:
    """Both bounds shifted modulo 2**64, as if no set bit left the word."""
    return dst.umin << src.umin & U_MAX, dst.umax << src.umin & U_MAX


def shifted_right(dst: Num, src: Num) -> tuple[int, int]:
    """Bounds of a shift that brings zeros in."""
    return dst.umin >> src.umin, dst.umax >> src.umin


def same_ends(_difference: Any_) -> Any_:
    """A difference lies between those of the least and of the greatest."""

    def wrong(dst: Num, src: Num) -> cnum.Arc:
        low, high = (dst.umin - src.umin) & U_MAX, (dst.umax - src.umax) & U_MAX
        return cnum.from_urange(min(low, high), max(low, high), U_MAX)

    return wrong


def keeps_low_half(rule: Any_) -> Any_:
    """A shift to the right keeps the low half's range."""

    def wrong(dst: Num, src: Num) -> Num:
        right: Num = rule(dst, src)
        if not right.mask or not dst.size32:
            return right
        arc = cnum.intersect(right.base32, right.size32, dst.base32, dst.size32, HALF_MAX)
        return sync(right.value, right.mask, right.base, right.size, *arc)

    return wrong


def remainder_too_small(rule: Any_) -> Any_:
    """The greatest remainder is the divisor less two."""

    def wrong(dst: Num, src: Num) -> Num:
        right: Num = rule(dst, src)
        if src.value < 3 or dst.umax < src.value:
            return right
        return sync(0, U_MAX, 0, src.value - 2, 0, HALF_MAX)

    return wrong


# ---- both halves


def half_of_any_range(deduce: Any_) -> Any_:
    """The low half's range is learnt from the whole's, however wide that is."""

    def wrong(base: int, size: int, base32: int, size32: int) -> tuple[int, int, int, int]:
        if size < U_MAX and size >= HALF_MAX:
            cut = cnum.intersect(base32, size32, base & HALF_MAX, size & HALF_MAX, HALF_MAX)
            if cut != (HALF_MAX, HALF_MAX):
                base32, size32 = cut
        return deduce(base, size, base32, size32)  # type: ignore[no-any-return]  # as the right one

    return wrong


def whole_is_its_half(_cut: Any_) -> Any_:
    """The whole lies in the low half's range, as if the high half were zero."""

    def wrong(base: int, size: int, hbase: int, hsize: int, top: int, half_top: int) -> cnum.Arc:
        if hsize > half_top - hbase:
            return base, size
        both = cnum.intersect(base, size, hbase, hsize, top)
        return (base, size) if both == (top, top) else both

    return wrong


def same_number(_convert: Any_) -> Any_:
    """A conversion that changes nothing."""

    def wrong(num: Num, *_more: Any) -> Num:
        return num

    return wrong


def not_extended(_convert: Any_) -> Any_:
    """Zeros instead of the sign."""

    def wrong(num: Num, size: int) -> Num:
        keep = (1 << 8 * size) - 1
        return const(num.value & keep) if not num.mask else sync(0, keep, 0, keep, 0, min(keep, HALF_MAX))

    return wrong


# ---- branches


def strictly(order: Any_, strict: int) -> Callable[[Any_], Any_]:
    """A condition refines by another order."""
    return lambda _right: partial(order, strict=strict)


unsigned_order = refine._unsigned_order  # noqa: SLF001 - what is put in the wrong place
signed_order = refine._signed_order  # noqa: SLF001 - as above


def two_words(_not_word: Any_) -> Any_:
    """Unequal to a word: the one behind it is excluded, too."""

    def wrong(is32: bool, num: Num, word: int) -> Num:
        top = HALF_MAX if is32 else U_MAX
        return refine._with_arc(num, (word + 2) & top, top - 2, is32)  # noqa: SLF001 - with the piece's own means

    return wrong


def all_bits(_any_bit: Any_) -> Any_:
    """Some bit of a mask is set: all are."""

    def wrong(_is32: bool, num: Num, word: int) -> Num:
        return sync(num.value | word, num.mask & ~word, num.base, num.size, num.base32, num.size32)

    return wrong


def always_wide(refine_: Any_) -> Any_:
    """Comparisons of low halves refine the whole."""

    def wrong(op: int, _is32: bool, left: Num, right: Num) -> tuple[Num, Num]:
        return refine_(op, False, left, right)  # type: ignore[no-any-return]  # as the right one

    return wrong


def sides_exchanged(op: int) -> Callable[[Any_], Any_]:
    """What is learnt of one condition goes to the wrong side."""

    def fault(decide: Any_) -> Any_:
        def wrong(which: int, is32: bool, left: Num, right: Num) -> Any:
            outcome, *sides = decide(which, is32, left, right)
            if which == op and outcome == refine.EITHER:
                sides = sides[2:] + sides[:2]
            return (outcome, *sides)

        return wrong

    return fault


def taken_too_soon(is_taken: Any_) -> Any_:
    """`<` counts as certain where the greatest equals the least."""

    def wrong(op: int, is32: bool, left: Num, right: Num) -> int:
        if op == refine.BPF_JLT and not is32 and left.umax == right.umin and left.size:
            return refine.TAKEN
        return is_taken(op, is32, left, right)  # type: ignore[no-any-return]  # as the right one

    return wrong
