"""Tracked numbers: for each bit of a 64-bit word, known 0, known 1 or unknown.

A tnum is the pair ``(value, mask)``: a set bit of ``mask`` is unknown, the others are as in ``value``; no bit is set in
both. It stands for every ``value | s`` with ``s`` a sub-mask of ``mask``. Functions take and give plain ints and pairs:
they run for every instruction the verifier visits. This module knows nothing of ranges, registers or instructions.

Source of the rules: kernel/bpf/tnum.c of Linux 7.3.
"""

BITS = 64
HALF_BITS = 32

U_MAX = (1 << BITS) - 1
HALF_MAX = (1 << HALF_BITS) - 1
HIGH = U_MAX ^ HALF_MAX
SIGN = 1 << (BITS - 1)
HALF_SIGN = 1 << (HALF_BITS - 1)

Tnum = tuple[int, int]

UNKNOWN: Tnum = (0, U_MAX)


def span(low: int, high: int) -> Tnum:
    """The best tnum that holds ``low..high``: the common prefix is known, all after it is not (tnum_range)."""
    bits = (low ^ high).bit_length()
    if bits >= BITS:
        return UNKNOWN
    delta = (1 << bits) - 1
    return low & ~delta & U_MAX, delta


def lshift(value: int, mask: int, shift: int) -> Tnum:
    """All members shifted left by a known count (tnum_lshift)."""
    return value << shift & U_MAX, mask << shift & U_MAX


def rshift(value: int, mask: int, shift: int) -> Tnum:
    """All members shifted right, zeros coming in (tnum_rshift)."""
    return value >> shift, mask >> shift


def arshift(value: int, mask: int, shift: int) -> Tnum:
    """All members shifted right as signed words: an unknown sign stays unknown in every bit it fills (tnum_arshift)."""
    if value & SIGN:
        value |= ~U_MAX
    if mask & SIGN:
        mask |= ~U_MAX
    return value >> shift & U_MAX, mask >> shift & U_MAX


def arshift_half(value: int, mask: int, shift: int) -> Tnum:
    """The same on the low half, the high half becoming known zero (tnum_arshift, 32 bit)."""
    value &= HALF_MAX
    mask &= HALF_MAX
    if value & HALF_SIGN:
        value |= ~HALF_MAX
    if mask & HALF_SIGN:
        mask |= ~HALF_MAX
    return value >> shift & HALF_MAX, mask >> shift & HALF_MAX


def add(av: int, am: int, bv: int, bm: int) -> Tnum:
    """Sums: unknown is each unknown bit and each bit that a carry out of unknown bits can change (tnum_add)."""
    sv = (av + bv) & U_MAX
    mu = ((sv + am + bm) ^ sv | am | bm) & U_MAX
    return sv & ~mu, mu


def sub(av: int, am: int, bv: int, bm: int) -> Tnum:
    """Differences: compare the largest and the smallest one to see where a borrow can reach (tnum_sub)."""
    dv = (av - bv) & U_MAX
    mu = ((dv + am) ^ (dv - bm) | am | bm) & U_MAX
    return dv & ~mu, mu


def neg(value: int, mask: int) -> Tnum:
    """Two's complements (tnum_neg)."""
    return sub(0, 0, value, mask)


def and_(av: int, am: int, bv: int, bm: int) -> Tnum:
    """Bitwise and: a known 0 on either side decides (tnum_and)."""
    value = av & bv
    return value, (av | am) & (bv | bm) & ~value


def or_(av: int, am: int, bv: int, bm: int) -> Tnum:
    """Bitwise or: a known 1 on either side decides (tnum_or)."""
    value = av | bv
    return value, (am | bm) & ~value


def xor(av: int, am: int, bv: int, bm: int) -> Tnum:
    """Bitwise exclusive or: known where both are (tnum_xor)."""
    mu = am | bm
    return (av ^ bv) & ~mu, mu


def union(av: int, am: int, bv: int, bm: int) -> Tnum:
    """The smallest tnum over both sets (tnum_union)."""
    mu = (av ^ bv) | am | bm
    return av & bv & ~mu, mu


def mul(av: int, am: int, bv: int, bm: int) -> Tnum:
    """Products (tnum_mul). An entirely unknown factor leaves of the other one its zeros at the end."""
    if not am and not bm:
        return av * bv & U_MAX, 0
    if am == U_MAX:
        return _multiples_of_lowest(bv | bm)
    if bm == U_MAX:
        return _multiples_of_lowest(av | am)
    return long_mul(av, am, bv, bm)


def _multiples_of_lowest(possible: int) -> Tnum:
    """All multiples of the lowest bit that can be set; 0 if none can."""
    return 0, -(possible & -possible) & U_MAX


def long_mul(av: int, am: int, bv: int, bm: int) -> Tnum:
    """Long multiplication along the bits of ``a``; an unknown one joins both continuations."""
    rv = rm = 0
    while av or am:
        if av & 1:
            rv, rm = add(rv, rm, bv, bm)
        elif am & 1:
            sv, sm = add(rv, rm, bv, bm)
            rv, rm = union(rv, rm, sv, sm)
        av >>= 1
        am >>= 1
        bv = bv << 1 & U_MAX
        bm = bm << 1 & U_MAX
    return rv, rm


def overlap(av: int, am: int, bv: int, bm: int) -> bool:
    """Whether some number is in both sets (tnum_overlap)."""
    return not (av ^ bv) & ~(am | bm)


def intersect(av: int, am: int, bv: int, bm: int) -> Tnum:
    """What both say together; where they contradict each other the bit is taken as 1 (tnum_intersect)."""
    mu = am & bm
    return (av | bv) & ~mu, mu


def holds(av: int, am: int, bv: int, bm: int) -> bool:
    """Whether every member of ``b`` is one of ``a`` (tnum_in)."""
    return not bm & ~am and bv & ~am == av


def cast(value: int, mask: int, size: int) -> Tnum:
    """The low ``size`` bytes, zero-extended (tnum_cast)."""
    keep = (1 << size * 8) - 1
    return value & keep, mask & keep


def is_aligned(value: int, mask: int, size: int) -> bool:
    """Whether every member is a multiple of ``size``, a power of two or 0 for "any" (tnum_is_aligned)."""
    return not size or not (value | mask) & (size - 1)


def with_half(value: int, mask: int, low_value: int, low_mask: int) -> Tnum:
    """The high half of the first with the low half of the second (tnum_with_subreg)."""
    return value & HIGH | low_value & HALF_MAX, mask & HIGH | low_mask & HALF_MAX


def bswap(value: int, mask: int, size: int) -> Tnum:
    """The low ``size`` bytes in the opposite order, zero-extended (tnum_bswap16/32/64)."""
    keep = (1 << size * 8) - 1
    return (
        int.from_bytes((value & keep).to_bytes(size, "little"), "big"),
        int.from_bytes((mask & keep).to_bytes(size, "little"), "big"),
    )


def step(value: int, mask: int, after: int) -> int:
    """The smallest member greater than ``after``; the largest one if there is none (tnum_step).

    Counting up inside the mask: with every known bit below the carry's way set, adding 1 ripples over the gaps.
    """
    if after >= value | mask:
        return value | mask
    if after < value:
        return value
    done = after - value
    gap = (1 << (done & ~mask).bit_length()) - 1
    return value | ((done | gap | ~mask) + 1 & mask)
