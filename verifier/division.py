"""Quotients and remainders of numbers by a known divisor, which may be 0: x / 0 is 0, x % 0 is x.

Only the range of the result is known, its bits are what the range says of them. Knows Nums only. Source:
kernel/bpf/verifier.c of Linux 7.3, scalar_min_max_udiv, _sdiv, _umod, _smod and their 32-bit forms.
"""

from verifier import cnum
from verifier.casts import resync, zext, zext_parts
from verifier.num import Num, const, signed, signed32, sync
from verifier.tnum import HALF_MAX, U_MAX


def _of_arc64(arc: cnum.Arc) -> Num:
    """A 64-bit result of which only the range is known (reset_reg32_and_tnum)."""
    return sync(0, U_MAX, *arc, 0, HALF_MAX)


def _of_arc32(arc: cnum.Arc) -> Num:
    """A 32-bit result of which only the range is known (reset_reg64_and_tnum)."""
    return zext_parts(0, U_MAX, *arc)


def _quotients(low: int, high: int, divisor: int, top: int) -> cnum.Arc:
    """Signed bounds over a known divisor, rounding towards zero (scalar_min_max_sdiv).

    The least number over -1 is itself; with others beside it the quotients go all round.
    """
    if low == ~(top >> 1) and divisor == -1:
        return cnum.from_srange(low, low if high == low else top >> 1, top)
    ends = sorted(
        abs(word) // abs(divisor) * (1 if (word < 0) == (divisor < 0) else -1) for word in (low, high)
    )
    return cnum.from_srange(ends[0], ends[1], top)


def udiv64(dst: Num, src: Num) -> Num:
    """scalar_min_max_udiv."""
    divisor = src.value
    if not divisor:
        return const(0)
    return _of_arc64(cnum.from_urange(dst.umin // divisor, dst.umax // divisor, U_MAX))


def udiv32(dst: Num, src: Num) -> Num:
    """scalar32_min_max_udiv."""
    divisor = src.value & HALF_MAX
    if not divisor:
        return const(0)
    return _of_arc32(cnum.from_urange(dst.u32_min // divisor, dst.u32_max // divisor, HALF_MAX))


def sdiv64(dst: Num, src: Num) -> Num:
    """scalar_min_max_sdiv."""
    divisor = signed(src.value)
    if not divisor:
        return const(0)
    return _of_arc64(_quotients(dst.smin, dst.smax, divisor, U_MAX))


def sdiv32(dst: Num, src: Num) -> Num:
    """scalar32_min_max_sdiv."""
    divisor = signed32(src.value & HALF_MAX)
    if not divisor:
        return const(0)
    return _of_arc32(_quotients(dst.s32_min, dst.s32_max, divisor, HALF_MAX))


def umod64(dst: Num, src: Num) -> Num:
    """scalar_min_max_umod: a dividend below the divisor stays; else 0 to divisor - 1."""
    divisor = src.value
    if not divisor or dst.umax < divisor:
        return resync(dst)
    return _of_arc64((0, divisor - 1))


def umod32(dst: Num, src: Num) -> Num:
    """scalar32_min_max_umod."""
    divisor = src.value & HALF_MAX
    if not divisor or dst.u32_max < divisor:
        return zext(dst)
    return _of_arc32((0, divisor - 1))


def _remainders(low: int, high: int, divisor: int, top: int) -> cnum.Arc | None:
    """Signed remainders have the dividend's sign and less than the divisor's size; None: all stay (scalar_min_max_smod)."""
    most = abs(divisor) - 1
    if low >= -most and high <= most:
        return None
    if low >= 0:
        return cnum.from_srange(0, min(high, most), top)
    if high <= 0:
        return cnum.from_srange(max(low, -most), 0, top)
    return cnum.from_srange(-most, most, top)


def smod64(dst: Num, src: Num) -> Num:
    """scalar_min_max_smod."""
    divisor = signed(src.value)
    arc = _remainders(dst.smin, dst.smax, divisor, U_MAX) if divisor else None
    return resync(dst) if arc is None else _of_arc64(arc)


def smod32(dst: Num, src: Num) -> Num:
    """scalar32_min_max_smod."""
    divisor = signed32(src.value & HALF_MAX)
    arc = _remainders(dst.s32_min, dst.s32_max, divisor, HALF_MAX) if divisor else None
    return zext(dst) if arc is None else _of_arc32(arc)
