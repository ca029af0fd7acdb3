"""What the verifier knows of one number: known bits and two circular ranges, kept consistent with each other.

A `Num` is the numeric part of struct bpf_reg_state (var_off, r64, r32): of a scalar its value, of a pointer its offset.
The three parts describe the same number; `sync` lets each one improve the others, by the kernel's deductions, in the
kernel's order and number of rounds, so that bounds print and decide as there. Nums are values: shared, never changed.

Knows nothing of registers, instructions or logs. Sources: kernel/bpf/verifier.c of Linux 7.3 (reg_bounds_sync and what it
calls), include/linux/bpf_verifier.h (reg_umin and its kin).
"""

from typing import Final

from verifier import cnum, tnum
from verifier.tnum import BITS, HALF_BITS, HALF_MAX, HALF_SIGN, HIGH, SIGN, U_MAX

U32_MAX: Final = HALF_MAX
U64_MAX: Final = U_MAX
S32_MIN: Final = -HALF_SIGN
S32_MAX: Final = HALF_SIGN - 1
S64_MIN: Final = -SIGN
S64_MAX: Final = SIGN - 1

_CACHE_LIMIT: Final = 1 << 16
Parts = tuple[int, int, int, int, int, int]


def signed(word: int) -> int:
    """A full-width word read as a signed number."""
    return (word ^ SIGN) - SIGN


def signed32(word: int) -> int:
    """A half-width word read as a signed number."""
    return (word ^ HALF_SIGN) - HALF_SIGN


class Num:
    """One abstract number. Make it with `const`, `sync` and the operations of arith.py; never change its fields.

    value, mask: known bits (verifier/tnum.py). base, size: the 64-bit range, base32, size32: that of the low half
    (verifier/cnum.py), all words unsigned ints. The bounds are those that each range has as signed and unsigned words.
    """

    __slots__ = ("base", "base32", "mask", "size", "size32", "value")

    def __init__(self, value: int, mask: int, base: int, size: int, base32: int, size32: int) -> None:
        self.value = value
        self.mask = mask
        self.base = base
        self.size = size
        self.base32 = base32
        self.size32 = size32

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Num) and self.parts() == other.parts()

    def __hash__(self) -> int:
        return hash(self.parts())

    def __repr__(self) -> str:
        if not self.mask:
            return f"Num({signed(self.value)})"
        return f"Num(({self.value:#x}; {self.mask:#x}), {self.smin}..{self.smax}, {self.umin}..{self.umax})"

    def parts(self) -> Parts:
        """All six fields."""
        return self.value, self.mask, self.base, self.size, self.base32, self.size32

    # ---- bounds

    @property
    def umin(self) -> int:
        """Least unsigned value (reg_umin)."""
        return 0 if self.size > U_MAX - self.base else self.base

    @property
    def umax(self) -> int:
        """Greatest unsigned value (reg_umax)."""
        return U_MAX if self.size > U_MAX - self.base else self.base + self.size

    @property
    def smin(self) -> int:
        """Least signed value (reg_smin)."""
        return cnum.srange(self.base, self.size, U_MAX)[0]

    @property
    def smax(self) -> int:
        """Greatest signed value (reg_smax)."""
        return cnum.srange(self.base, self.size, U_MAX)[1]

    @property
    def u32_min(self) -> int:
        """Least unsigned value of the low half (reg_u32_min)."""
        return 0 if self.size32 > HALF_MAX - self.base32 else self.base32

    @property
    def u32_max(self) -> int:
        """Greatest unsigned value of the low half (reg_u32_max)."""
        return HALF_MAX if self.size32 > HALF_MAX - self.base32 else self.base32 + self.size32

    @property
    def s32_min(self) -> int:
        """Least signed value of the low half (reg_s32_min)."""
        return cnum.srange(self.base32, self.size32, HALF_MAX)[0]

    @property
    def s32_max(self) -> int:
        """Greatest signed value of the low half (reg_s32_max)."""
        return cnum.srange(self.base32, self.size32, HALF_MAX)[1]

    # ---- questions

    @property
    def is_const(self) -> bool:
        """Every bit is known (tnum_is_const)."""
        return self.mask == 0

    @property
    def is_const32(self) -> bool:
        """Every bit of the low half is known (tnum_subreg_is_const)."""
        return not self.mask & HALF_MAX

    @property
    def is_unknown(self) -> bool:
        """No bit is known (tnum_is_unknown)."""
        return self.mask == U_MAX

    @property
    def signed_value(self) -> int:
        """The known bits as a signed number: the number itself where all are known."""
        return (self.value ^ SIGN) - SIGN

    @property
    def is_violated(self) -> bool:
        """A range is empty: no number is meant, the branch is dead (range_bounds_violation)."""
        return (self.base == U_MAX and self.size == U_MAX) or (
            self.base32 == HALF_MAX and self.size32 == HALF_MAX
        )

    def contains(self, word: int) -> bool:
        """Whether the concrete 64-bit word is one that is meant: all three parts allow it."""
        return (
            not (word ^ self.value) & ~self.mask & U_MAX
            and cnum.contains(self.base, self.size, word, U_MAX)
            and cnum.contains(self.base32, self.size32, word & HALF_MAX, HALF_MAX)
        )

    def holds(self, other: "Num") -> bool:
        """Whether this one allows all that `other` does, as pruning asks it (range_within and tnum_in)."""
        return self is other or (
            self.range_holds(other) and tnum.holds(self.value, self.mask, other.value, other.mask)
        )

    def range_holds(self, other: "Num") -> bool:
        """The ranges' part of `holds` (range_within)."""
        return cnum.is_subset(self.base, self.size, other.base, other.size, U_MAX) and cnum.is_subset(
            self.base32, self.size32, other.base32, other.size32, HALF_MAX
        )


_consts: dict[int, Num] = {}
_synced: dict[Parts, Num] = {}


def const(value: int) -> Num:
    """The number `value`, any Python int, taken modulo 2**64 (___mark_reg_known)."""
    value &= U_MAX
    num = _consts.get(value)
    if num is None:
        if len(_consts) >= _CACHE_LIMIT:
            _consts.clear()
        num = _consts[value] = Num(value, 0, value, 0, value & HALF_MAX, 0)
    return num


UNKNOWN: Final = Num(0, U_MAX, 0, U_MAX, 0, HALF_MAX)
ZERO: Final = const(0)


def unbounded(num: Num) -> Num:
    """The same known bits, no ranges (__mark_reg_unbounded)."""
    return Num(num.value, num.mask, 0, U_MAX, 0, HALF_MAX)


def invariant_violation(num: Num) -> str | None:
    """What is inconsistent in a Num after an operation, in the kernel's words; None for a sound one.

    The kernel then reports a bug of its own and goes on with `unbounded(num)` (reg_bounds_sanity_check).
    """
    if num.is_violated:
        return "range bounds violation"
    if not num.mask and (num.size or num.base != num.value):
        return "const tnum out of sync with range bounds"
    if not num.mask & HALF_MAX and (num.size32 or num.base32 != num.value & HALF_MAX):
        return "const subreg tnum out of sync with range bounds"
    return None


def from_urange(low: int, high: int) -> Num:
    """What is known of a number within unsigned bounds."""
    base, size = cnum.from_urange(low, high, U_MAX)
    return sync(0, U_MAX, base, size, 0, HALF_MAX)


def from_srange(low: int, high: int) -> Num:
    """What is known of a number within signed bounds."""
    base, size = cnum.from_srange(low, high, U_MAX)
    return sync(0, U_MAX, base, size, 0, HALF_MAX)


def s32_range(num: Num, low: int, high: int) -> Num:
    """A number known to lie in low..high both as a signed word and in its low half (__mark_reg_s32_range)."""
    low32, high32 = cnum.srange(num.base32, num.size32, HALF_MAX)
    low64, high64 = cnum.srange(num.base, num.size, U_MAX)
    base32, size32 = cnum.from_srange(max(low32, low), min(high32, high), HALF_MAX)
    base, size = cnum.from_srange(max(low64, low), min(high64, high), U_MAX)
    return sync(num.value, num.mask, base, size, base32, size32)


# ---- the reduced product


def sync(value: int, mask: int, base: int, size: int, base32: int, size32: int) -> Num:
    """The Num with these parts, each improved by the others (reg_bounds_sync)."""
    if not mask and not size and not size32 and base == value and base32 == value & HALF_MAX:
        return const(value)
    key = (value, mask, base, size, base32, size32)
    num = _synced.get(key)
    if num is None:
        if len(_synced) >= _CACHE_LIMIT:
            _synced.clear()
        num = _synced[key] = _reduce(key)
    return num


def _reduce(parts: Parts) -> Num:
    """sync without the shortcuts: bits cut ranges, ranges each other in two rounds, ranges bits, bits ranges again.

    A step that changed nothing is not repeated, as it would not change anything again.
    """
    _, _, base, size, base32, size32 = parts
    if (base == U_MAX and size == U_MAX) or (base32 == HALF_MAX and size32 == HALF_MAX):
        return Num(*parts)
    value, mask, base, size, base32, size32 = bounds_from_bits(*parts)
    arcs = base, size, base32, size32
    base, size, base32, size32 = _bounds_from_bounds(base, size, base32, size32)
    settled = arcs == (base, size, base32, size32)
    if not settled:
        base, size, base32, size32 = _bounds_from_bounds(base, size, base32, size32)
    bits = _bits_from_bounds(value, mask, base, size, base32, size32)
    if not settled or bits != (value, mask):
        value, mask, base, size, base32, size32 = bounds_from_bits(*bits, base, size, base32, size32)
    if not mask and not size and not size32 and base == value and base32 == value & HALF_MAX:
        return const(value)
    if mask == U_MAX and size == U_MAX and size32 == HALF_MAX and not base and not base32:
        return UNKNOWN
    return Num(value, mask, base, size, base32, size32)


def _arc_of_bits(value: int, mask: int, sign: int, top: int) -> cnum.Arc:
    """The arc of a tnum: signed bounds where the sign can be set, else unsigned ones (cnum64_from_tnum)."""
    if (value | mask) & sign:
        return cnum.from_srange(value | (mask & sign), value | (mask & ~sign), top)
    return value, mask


def half_bounds_from_bits(value: int, mask: int, base32: int, size32: int) -> cnum.Arc:
    """The low half's range cut by its known bits (__update_reg32_bounds)."""
    if mask & HALF_MAX == HALF_MAX:
        return _uncut(base32, size32, HALF_MAX)
    low, width = _arc_of_bits(value & HALF_MAX, mask & HALF_MAX, HALF_SIGN, HALF_MAX)
    return cnum.intersect(base32, size32, low, width, HALF_MAX)


def _uncut(base: int, size: int, top: int) -> cnum.Arc:
    """What cnum.intersect makes of an arc and the whole ring: the arc, the ring always from 0."""
    return (0, top) if size == top and base != top else (base, size)


def bounds_from_bits(value: int, mask: int, base: int, size: int, base32: int, size32: int) -> Parts:
    """Both ranges cut by the known bits (__update_reg_bounds).

    Where bits and the unsigned range have a single number in common it is known: the range's first, the bits' last, or
    the only one of the bits between.
    """
    base32, size32 = half_bounds_from_bits(value, mask, base32, size32)
    if mask == U_MAX:
        base, size = _uncut(base, size, U_MAX)
        if size or base == U_MAX:
            return value, mask, base, size, base32, size32
        return base, 0, base, 0, base & HALF_MAX, 0
    low, width = _arc_of_bits(value, mask, SIGN, U_MAX)
    base, size = cnum.intersect(base, size, low, width, U_MAX)
    only = _only_member(value, mask, base, size)
    if only >= 0:
        return only, 0, only, 0, only & HALF_MAX, 0
    return value, mask, base, size, base32, size32


def _only_member(value: int, mask: int, base: int, size: int) -> int:
    """The one number that bits and unsigned range share, -1 if there may be several or the kernel does not see it."""
    wraps = size > U_MAX - base
    umin = 0 if wraps else base
    umax = U_MAX if wraps else base + size
    member = tnum.step(value, mask, umin)
    if umin & ~mask == value:
        return umin if member > umax else -1
    if member == value | mask or (member <= umax < tnum.step(value, mask, member)):
        return member
    return -1


def _bounds_from_bounds(base: int, size: int, base32: int, size32: int) -> tuple[int, int, int, int]:
    """The half's range from the whole's, then the whole's from the half's (__reg_deduce_bounds)."""
    if base == U_MAX and size == U_MAX:
        return base, size, HALF_MAX, HALF_MAX
    if size < HALF_MAX:
        base32, size32 = cnum.intersect(base32, size32, base & HALF_MAX, size, HALF_MAX)
    else:
        base32, size32 = _uncut(base32, size32, HALF_MAX)
    if size32 < HALF_MAX or base32:
        base, size = cnum.intersect_half(base, size, base32, size32, U_MAX, HALF_MAX)
    return base, size, base32, size32


def _bits_from_bounds(value: int, mask: int, base: int, size: int, base32: int, size32: int) -> tnum.Tnum:
    """Known bits from the common prefix of each range's unsigned bounds (__reg_bound_offset)."""
    if size <= U_MAX - base and (size < U_MAX or base):
        value, mask = tnum.intersect(value, mask, *tnum.span(base, base + size))
    if size32 <= HALF_MAX - base32:
        low_value, low_mask = tnum.span(base32, base32 + size32)
    else:
        low_value, low_mask = 0, HALF_MAX
    low_value, low_mask = tnum.intersect(value & HALF_MAX, mask & HALF_MAX, low_value, low_mask)
    return value & HIGH | low_value, mask & HIGH | low_mask


assert BITS == 2 * HALF_BITS
