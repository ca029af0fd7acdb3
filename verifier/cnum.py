"""Circular numbers: one arc on the ring of all words of a width, for signed and unsigned ranges at once.

An arc ``(base, size)`` starts at ``base`` and goes on for ``size`` further words, wrapping past the largest one to 0. So
``(0xffffffff, 1)`` is the signed range -1..0. ``(0, top)`` is everything; ``(top, top)`` is kept for the empty arc, where
``top`` is the largest word of the width, the parameter that all functions take. Results are pairs of ints.

An arc that wraps at 0 has no unsigned bounds other than 0 and ``top``; one that wraps between the largest and the smallest
signed number has no signed ones. This module knows nothing of known bits, registers or instructions.

Source of the rules: kernel/bpf/cnum.c and cnum_defs.h of Linux 7.3. The empty arc has bounds too where it meets the
functions below (0 and top; -2 and -1), as there: some deductions on dead branches show them.
"""

Arc = tuple[int, int]


def from_urange(low: int, high: int, top: int) -> Arc:
    """The arc of the unsigned range ``low..high``; the arguments may be any ints, taken modulo the width."""
    low &= top
    return low, (high - low) & top


def from_srange(low: int, high: int, top: int) -> Arc:
    """The arc of the signed range ``low..high``; the whole ring starts at 0."""
    size = (high - low) & top
    return (0 if size == top else low & top), size


def umin(base: int, size: int, top: int) -> int:
    """Least unsigned member, 0 if the arc passes 0."""
    return 0 if size > top - base else base


def umax(base: int, size: int, top: int) -> int:
    """Greatest unsigned member, ``top`` if the arc passes 0."""
    return top if size > top - base else base + size


def contains(base: int, size: int, word: int, top: int) -> bool:
    """Whether ``word`` lies on the arc."""
    return (word - base) & top <= size and not (base == top and size == top)


def srange(base: int, size: int, top: int) -> tuple[int, int]:
    """Signed bounds, the whole signed range if the arc passes from the largest to the smallest signed number."""
    sign = (top >> 1) + 1
    start = base ^ sign
    if base == top and size == top:
        return -2, -1
    if size > top - start:
        return -sign, sign - 1
    return start - sign, start + size - sign


def intersect(abase: int, asize: int, bbase: int, bsize: int, top: int) -> Arc:
    """One arc around the common part of two; where that is two arcs, the smaller of the operands (cnum_intersect)."""
    if (abase == top and asize == top) or (bbase == top and bsize == top):
        return top, top
    if abase > bbase:
        abase, asize, bbase, bsize = bbase, bsize, abase, asize
    gap = bbase - abase
    if bsize > top - gap:  # b passes a's start
        if gap <= asize:
            return (abase, asize) if asize <= bsize else (bbase, bsize)
        tail = (gap + bsize) & top
        return abase, (min(tail, asize))
    if asize >= gap:
        rest = asize - gap
        return bbase, (min(bsize, rest))
    return top, top


def add(abase: int, asize: int, bbase: int, bsize: int, top: int) -> Arc:
    """Sums of members modulo the width (cnum_add)."""
    if (abase == top and asize == top) or (bbase == top and bsize == top):
        return top, top
    size = asize + bsize
    if size > top:
        return 0, top
    return _normal((abase + bbase) & top, size, top)


def negate(base: int, size: int, top: int) -> Arc:
    """Two's complements of the members: the arc seen from its other end (cnum_negate)."""
    if base == top and size == top:
        return top, top
    return _normal(-(base + size) & top, size, top)


def _normal(base: int, size: int, top: int) -> Arc:
    """The whole ring starts at 0, or at the largest signed number, where the kernel leaves it."""
    if size == top and base and base != top >> 1:
        return 0, top
    return base, size


def is_subset(obase: int, osize: int, ibase: int, isize: int, top: int) -> bool:
    """Whether the inner arc (second pair) lies within the outer one (cnum_is_subset)."""
    if ibase == top and isize == top:
        return True
    if obase == top and osize == top:
        return False
    start = (ibase - obase) & top
    if isize > top - start and osize < top:
        return False
    return (start + isize) & top <= osize


def low_half(base: int, size: int, half_top: int) -> Arc:
    """The low halves of the members of a full-width arc, which is not empty (cnum32_from_cnum64)."""
    if size >= half_top:
        return 0, half_top
    return base & half_top, size


def intersect_half(base: int, size: int, hbase: int, hsize: int, top: int, half_top: int) -> Arc:
    """The full-width arc cut at both ends to words whose low half lies on the half-width arc (cnum64_cnum32_intersect).

    The frame is turned so that the wide arc starts at a multiple of the half's ring; ``start`` is then where the half arc
    lies in each turn, ``rest`` how far into its last turn the wide arc goes.
    """
    if (base == top and size == top) or (hbase == half_top and hsize == half_top):
        return top, top
    start = (hbase - base) & half_top
    rest = size & half_top
    if hsize > half_top - start:  # passes the turn's start: only the end can be cut
        end = (start + hsize) & half_top
        if end < rest < start:
            size -= rest - end
        return base, size
    if size < start:
        return top, top
    end = start + hsize
    base = (base + start) & top
    size -= start
    cut = 0
    if rest < start:
        cut = rest + half_top + 1 - end
    elif rest >= end:
        cut = rest - end
    if size < cut:
        return top, top
    return base, size - cut
