"""Numbers cut to a width and extended again: what loads, 32-bit instructions, sign extensions and byte swaps keep.

Knows Nums only. Source: kernel/bpf/verifier.c of Linux 7.3, zext_32_to_64, coerce_reg_to_size and its kin,
scalar_byte_swap.
"""

from verifier import cnum, tnum
from verifier.num import Num, const, sync
from verifier.tnum import BITS, HALF_MAX, U_MAX


def zext_parts(value: int, mask: int, base32: int, size32: int) -> Num:
    """The result of a 32-bit instruction: the high half is known zero (zext_32_to_64, then reg_bounds_sync)."""
    wraps = size32 > HALF_MAX - base32
    base, size = (0, HALF_MAX) if wraps else (base32, size32)
    return sync(value & HALF_MAX, mask & HALF_MAX, base, size, base32, size32)


def zext(num: Num) -> Num:
    """w1 = w2: the low half, the high half zero."""
    return zext_parts(num.value, num.mask, num.base32, num.size32)


def resync(num: Num) -> Num:
    """Its parts once more made consistent with each other (reg_bounds_sync)."""
    return sync(*num.parts())


def truncate(num: Num, size: int) -> Num:
    """The low 1, 2 or 4 bytes, zero-extended (coerce_reg_to_size)."""
    keep = (1 << size * 8) - 1
    umin, umax = num.umin, num.umax
    base, length = (umin & keep, umax - umin) if umin | keep == umax | keep else (0, keep)
    base32, size32 = (0, HALF_MAX) if keep < HALF_MAX else (num.base32, num.size32)
    return sync(num.value & keep, num.mask & keep, base, length, base32, size32)


def truncate_sx(num: Num, size: int) -> Num:
    """The low 1, 2 or 4 bytes, sign-extended to 64 bits; not made consistent afterwards (coerce_reg_to_size_sx)."""
    bits = size * 8
    if not num.mask:
        return const(_sign_extended(num.value, bits))
    low, high = cnum.srange(num.base, num.size, U_MAX)
    if (low ^ high) >> bits & U_MAX >> bits:
        return _any_sx(bits)
    first, last = _sign_extended(low, bits), _sign_extended(high, bits)
    if (first < 0) != (last < 0):
        return _any_sx(bits)
    if first > last:
        first, last = last, first
    arc32 = cnum.from_srange(first, last, HALF_MAX)
    return Num(*tnum.span(first & U_MAX, last & U_MAX), *cnum.from_srange(first, last, U_MAX), *arc32)


def _any_sx(bits: int) -> Num:
    """Any sign-extended value of so many bits (set_sext64_default_val)."""
    edge = 1 << (bits - 1)
    arc32 = cnum.from_srange(-edge, edge - 1, HALF_MAX)
    return Num(0, U_MAX, *cnum.from_srange(-edge, edge - 1, U_MAX), *arc32)


def truncate_sx32(num: Num, size: int) -> Num:
    """w1 = (s8)w2, w1 = (s16)w2 (coerce_subreg_to_size_sx, then zext_32_to_64)."""
    bits = size * 8
    if not num.mask:
        return const(_sign_extended(num.value, bits) & HALF_MAX)
    low, high = cnum.srange(num.base32, num.size32, HALF_MAX)
    first, last = _sign_extended(low, bits), _sign_extended(high, bits)
    if (low ^ high) >> bits & HALF_MAX >> bits or (first < 0) != (last < 0):
        edge = 1 << (bits - 1)
        return zext_parts(0, HALF_MAX, *cnum.from_srange(-edge, edge - 1, HALF_MAX))
    if first > last:
        first, last = last, first
    value, mask = tnum.span(first & U_MAX, last & U_MAX)
    return zext_parts(value, mask, *cnum.from_srange(first, last, HALF_MAX))


def _sign_extended(word: int, bits: int) -> int:
    edge = 1 << (bits - 1)
    return (word & (edge << 1) - 1 ^ edge) - edge


def byte_swap(num: Num, bits: int, swap: bool) -> Num:
    """bswap16/32/64, be16/32/64 (swap) and le16/32/64 (no swap, only truncation) on our byte order (scalar_byte_swap)."""
    if swap:
        value, mask = tnum.bswap(num.value, num.mask, bits // 8)
        num = Num(value, mask, 0, U_MAX, 0, HALF_MAX)
    if bits < BITS:
        num = truncate(num, bits // 8)
    return resync(num)
