"""What each arithmetic instruction makes of the numbers that it is given: the verifier's transfer functions on scalars.

Each one is sound because bits, 64-bit range and 32-bit range are moved separately by rules that cover every concrete result,
and `sync` only cuts what two sound parts exclude together. They follow the kernel's rules exactly, where these are not the
best ones too: bounds decide branches, and branches decide what is accepted.

Knows Nums and opcodes (BPF_OP bits), no registers: ids, links and pointers are the caller's. Source:
kernel/bpf/verifier.c of Linux 7.3, adjust_scalar_min_max_vals and the functions that it calls.
"""

import operator
from collections.abc import Callable
from typing import Final

from verifier import cnum, division, tnum
from verifier.casts import zext_parts
from verifier.num import UNKNOWN, Num, bounds_from_bits, const, half_bounds_from_bits, sync
from verifier.tnum import BITS, HALF_BITS, HALF_MAX, HIGH, U_MAX

BPF_ADD: Final = 0x00
BPF_SUB: Final = 0x10
BPF_MUL: Final = 0x20
BPF_DIV: Final = 0x30
BPF_OR: Final = 0x40
BPF_AND: Final = 0x50
BPF_LSH: Final = 0x60
BPF_RSH: Final = 0x70
BPF_NEG: Final = 0x80
BPF_MOD: Final = 0x90
BPF_XOR: Final = 0xA0
BPF_ARSH: Final = 0xC0

Rule = Callable[[Num, Num], Num]

# Operations whose result on two known words is that of the words, whatever way the rules below take.
_ON_WORDS: Final[dict[int, Callable[[int, int], int]]] = {
    BPF_ADD: operator.add,
    BPF_SUB: operator.sub,
    BPF_MUL: operator.mul,
    BPF_OR: operator.or_,
    BPF_AND: operator.and_,
    BPF_XOR: operator.xor,
}


def alu(op: int, is32: bool, dst: Num, src: Num, *, is_signed: bool = False) -> Num:
    """dst op src. is_signed: of division and modulo, the sdiv and smod forms (off 1)."""
    if not (dst.mask or src.mask or dst.size or src.size):
        on_words = _ON_WORDS.get(op)
        if on_words is not None:
            word = on_words(dst.value, src.value)
            return const(word & HALF_MAX if is32 else word)
    key = (op | is32 << 1 | is_signed, id(dst), id(src))
    known = _results.get(key)
    if known is not None:
        return known[2]
    result = _RULES[op | is_signed, is32](dst, src) if is_computable(op, is32, src) else UNKNOWN
    if len(_results) >= _CACHE_LIMIT:
        _results.clear()
    _results[key] = dst, src, result
    return result


_CACHE_LIMIT: Final = 1 << 16
_results: dict[tuple[int, int, int], tuple[Num, Num, Num]] = {}
"""Results so far by the operands' identity, which is theirs as long as the entry holds them."""


def is_computable(op: int, is32: bool, src: Num) -> bool:
    """Whether a result is computed at all; otherwise it is entirely unknown, in 64 bits even of a 32-bit instruction.

    Divisors must be known, shift counts known and less than the width (is_safe_to_compute_dst_reg_range).
    """
    if op in (BPF_DIV, BPF_MOD):
        return _is_known(src, is32)
    if op in (BPF_LSH, BPF_RSH, BPF_ARSH):
        return _is_known(src, is32) and src.umax < (HALF_BITS if is32 else BITS)
    return True


def _is_known(num: Num, is32: bool) -> bool:
    if is32:
        return not num.mask & HALF_MAX and not num.size32
    return not num.mask and not num.size


# ---- sums


def _sum32(dst: Num, src: Num) -> cnum.Arc:
    return cnum.add(dst.base32, dst.size32, src.base32, src.size32, HALF_MAX)


def add64(dst: Num, src: Num) -> Num:
    """scalar_min_max_add."""
    value, mask = tnum.add(dst.value, dst.mask, src.value, src.mask)
    return sync(value, mask, *cnum.add(dst.base, dst.size, src.base, src.size, U_MAX), *_sum32(dst, src))


def add32(dst: Num, src: Num) -> Num:
    """scalar32_min_max_add."""
    value, mask = tnum.add(dst.value, dst.mask, src.value, src.mask)
    return zext_parts(value, mask, *_sum32(dst, src))


def _difference32(dst: Num, src: Num) -> cnum.Arc:
    return cnum.add(dst.base32, dst.size32, *cnum.negate(src.base32, src.size32, HALF_MAX), HALF_MAX)


def _difference64(dst: Num, src: Num) -> cnum.Arc:
    return cnum.add(dst.base, dst.size, *cnum.negate(src.base, src.size, U_MAX), U_MAX)


def sub64(dst: Num, src: Num) -> Num:
    """scalar_min_max_sub."""
    value, mask = tnum.sub(dst.value, dst.mask, src.value, src.mask)
    return sync(value, mask, *_difference64(dst, src), *_difference32(dst, src))


def sub32(dst: Num, src: Num) -> Num:
    """scalar32_min_max_sub."""
    value, mask = tnum.sub(dst.value, dst.mask, src.value, src.mask)
    return zext_parts(value, mask, *_difference32(dst, src))


def neg(num: Num, is32: bool) -> Num:
    """0 - num."""
    return (sub32 if is32 else sub64)(const(0), num)


def offset_add(pointer: Num, num: Num) -> Num:
    """The offset of pointer + num, to be checked and then given to `resync`; pointers have no 32-bit range.

    (adjust_ptr_min_max_vals, BPF_ADD.)
    """
    if not pointer.mask and not num.mask:
        return const(pointer.value + num.value)
    value, mask = tnum.add(pointer.value, pointer.mask, num.value, num.mask)
    return Num(value, mask, *cnum.add(pointer.base, pointer.size, num.base, num.size, U_MAX), 0, HALF_MAX)


def offset_sub(pointer: Num, num: Num) -> Num:
    """The offset of pointer - num, likewise (adjust_ptr_min_max_vals, BPF_SUB)."""
    if not pointer.mask and not num.mask:
        return const(pointer.value - num.value)
    value, mask = tnum.sub(pointer.value, pointer.mask, num.value, num.mask)
    return Num(value, mask, *_difference64(pointer, num), 0, HALF_MAX)


def add_delta(num: Num, delta: int, *, is32: bool = False) -> Num:
    """A linked register, `delta` from the one just refined; is32: it was linked by a 32-bit add (sync_linked_regs)."""
    return (add32 if is32 else add64)(num, const(delta))


# ---- products


def _product_arc(
    unsigned: tuple[int, int, int, int], signed_bounds: tuple[int, int, int, int], top: int
) -> cnum.Arc:
    """Products of two ranges, each given by (dst low, dst high, src low, src high) in both readings.

    What overflows says nothing; else the products of the corners are the bounds (scalar_min_max_mul).
    """
    dlow, dhigh, slow, shigh = unsigned
    arc: cnum.Arc = (0, top)
    if dhigh * shigh <= top:
        arc = cnum.from_urange(dlow * slow, dhigh * shigh, top)
    dlow, dhigh, slow, shigh = signed_bounds
    corners = (dlow * slow, dlow * shigh, dhigh * slow, dhigh * shigh)
    least, greatest = min(corners), max(corners)
    if greatest <= top >> 1 and least >= ~(top >> 1):
        return cnum.intersect(*arc, *cnum.from_srange(least, greatest, top), top)
    return cnum.intersect(*arc, 0, top, top)


def _product32(dst: Num, src: Num) -> cnum.Arc:
    return _product_arc(
        (dst.u32_min, dst.u32_max, src.u32_min, src.u32_max),
        (*cnum.srange(dst.base32, dst.size32, HALF_MAX), *cnum.srange(src.base32, src.size32, HALF_MAX)),
        HALF_MAX,
    )


def _mul64(dst: Num, src: Num) -> Num:
    """scalar_min_max_mul."""
    value, mask = tnum.mul(dst.value, dst.mask, src.value, src.mask)
    arc = _product_arc(
        (dst.umin, dst.umax, src.umin, src.umax),
        (*cnum.srange(dst.base, dst.size, U_MAX), *cnum.srange(src.base, src.size, U_MAX)),
        U_MAX,
    )
    return sync(value, mask, *arc, *_product32(dst, src))


def _mul32(dst: Num, src: Num) -> Num:
    """scalar32_min_max_mul."""
    value, mask = tnum.mul(dst.value, dst.mask, src.value, src.mask)
    return zext_parts(value, mask, *_product32(dst, src))


# ---- bitwise


def _bitwise32(value: int, mask: int, src: Num, low: int, high: int) -> tuple[int, int, int, int]:
    """Known bits and 32-bit range after a bitwise operation with these unsigned bounds of the low half.

    Two known halves make a known one (the head of scalar32_min_max_and, _or, _xor).
    """
    if not (src.mask | mask) & HALF_MAX:
        return value, mask & HIGH, value & HALF_MAX, 0
    return value, mask, *cnum.from_urange(low, high, HALF_MAX)


def _and_or(value: int, mask: int, arc: cnum.Arc, base32: int, size32: int, is32: bool) -> Num:
    """The end of both `and` and `or`: ranges learn from the bits once before all else, even of 32-bit ones."""
    value, mask, base, size, base32, size32 = bounds_from_bits(value, mask, *arc, base32, size32)
    if is32:
        return zext_parts(value, mask, base32, size32)
    return sync(value, mask, base, size, base32, size32)


def _and(dst: Num, src: Num, is32: bool) -> Num:
    """Least is what the bits say, greatest the smaller of the operands' (scalar_min_max_and, scalar32_min_max_and)."""
    value, mask = tnum.and_(dst.value, dst.mask, src.value, src.mask)
    high = min(dst.u32_max, src.u32_max)
    value, mask, base32, size32 = _bitwise32(value, mask, src, value & HALF_MAX, high)
    if not src.mask and not mask:
        return const(value & HALF_MAX if is32 else value)
    arc = cnum.from_urange(value, min(dst.umax, src.umax), U_MAX)
    return _and_or(value, mask, arc, base32, size32, is32)


def _or(dst: Num, src: Num, is32: bool) -> Num:
    """Least is the greater of the operands', greatest what the bits say (scalar_min_max_or, scalar32_min_max_or)."""
    value, mask = tnum.or_(dst.value, dst.mask, src.value, src.mask)
    low = max(dst.u32_min, src.u32_min)
    value, mask, base32, size32 = _bitwise32(value, mask, src, low, (value | mask) & HALF_MAX)
    if not src.mask and not mask:
        return const(value & HALF_MAX if is32 else value)
    arc = cnum.from_urange(max(dst.umin, src.umin), value | mask, U_MAX)
    return _and_or(value, mask, arc, base32, size32, is32)


def _xor(dst: Num, src: Num, is32: bool) -> Num:
    """Both bounds from the bits (scalar_min_max_xor, scalar32_min_max_xor)."""
    value, mask = tnum.xor(dst.value, dst.mask, src.value, src.mask)
    low, high = value & HALF_MAX, (value | mask) & HALF_MAX
    value, mask, base32, size32 = _bitwise32(value, mask, src, low, high)
    if is32:
        return zext_parts(value, mask, base32, size32)
    if not src.mask and not mask:
        return const(value)
    return sync(value, mask, value, mask, base32, size32)


def fork_scalars(dst: Num) -> tuple[Num, Num] | None:
    """Before `and` or `or` with a constant: -1 or 0, as from a sign shift, goes on as two paths, (pushed, current).

    The pushed path is looked at later and repeats the instruction; whole words first, else low halves
    (maybe_fork_scalars). The caller drops the link of a whole word (__mark_reg_known).
    """
    if dst.base == U_MAX and dst.size == 1:
        return const(0), const(-1)
    if dst.base32 == HALF_MAX and dst.size32 == 1:
        return _with_half(dst, 0), _with_half(dst, HALF_MAX)
    return None


def _with_half(num: Num, low: int) -> Num:
    """Its low half known (__mark_reg32_known)."""
    value, mask = tnum.with_half(num.value, num.mask, low, 0)
    return Num(value, mask, num.base, num.size, low, 0)


# ---- shifts by a known count


def _lsh_arc32(num: Num, shift: int) -> cnum.Arc:
    """The low half's range shifted; unknown if a set bit may leave it (__scalar32_min_max_lsh)."""
    if shift >= HALF_BITS or num.u32_max > 1 << (HALF_BITS - 1 - shift):
        return 0, HALF_MAX
    return cnum.from_urange(num.u32_min << shift, num.u32_max << shift, HALF_MAX)


def _lsh32(dst: Num, src: Num) -> Num:
    """scalar32_min_max_lsh."""
    shift = src.u32_min
    value = (dst.value & HALF_MAX) << shift & HALF_MAX
    mask = (dst.mask & HALF_MAX) << shift & HALF_MAX
    return zext_parts(value, mask, *half_bounds_from_bits(value, mask, *_lsh_arc32(dst, shift)))


def _lsh64(dst: Num, src: Num) -> Num:
    """scalar_min_max_lsh: a shift by the half's width also carries its signed bounds, as compilers sign-extend so."""
    shift = src.umin
    wide, narrow = (0, U_MAX), (0, U_MAX)
    if shift == HALF_BITS:
        wide = cnum.from_srange(dst.s32_min << shift, dst.s32_max << shift, U_MAX)
    if dst.umax <= 1 << (BITS - 1 - shift):
        narrow = cnum.from_urange(dst.umin << shift, dst.umax << shift, U_MAX)
    arc = cnum.intersect(*narrow, *wide, U_MAX)
    value, mask = tnum.lshift(dst.value, dst.mask, shift)
    return sync(*bounds_from_bits(value, mask, *arc, *_lsh_arc32(dst, shift)))


def _rsh32(dst: Num, src: Num) -> Num:
    """scalar32_min_max_rsh."""
    shift = src.u32_min
    value, mask = (dst.value & HALF_MAX) >> shift, (dst.mask & HALF_MAX) >> shift
    arc = cnum.from_urange(dst.u32_min >> shift, dst.u32_max >> shift, HALF_MAX)
    return zext_parts(value, mask, *half_bounds_from_bits(value, mask, *arc))


def _rsh64(dst: Num, src: Num) -> Num:
    """scalar_min_max_rsh: bits come down from the high half, so the low half's range starts anew."""
    shift = src.umin
    arc = cnum.from_urange(dst.umin >> shift, dst.umax >> shift, U_MAX)
    value, mask = tnum.rshift(dst.value, dst.mask, shift)
    return sync(*bounds_from_bits(value, mask, *arc, 0, HALF_MAX))


def _arsh32(dst: Num, src: Num) -> Num:
    """scalar32_min_max_arsh."""
    shift = src.u32_min
    low, high = cnum.srange(dst.base32, dst.size32, HALF_MAX)
    value, mask = tnum.arshift_half(dst.value, dst.mask, shift)
    arc = cnum.from_srange(low >> shift, high >> shift, HALF_MAX)
    return zext_parts(value, mask, *half_bounds_from_bits(value, mask, *arc))


def _arsh64(dst: Num, src: Num) -> Num:
    """scalar_min_max_arsh."""
    shift = src.umin
    low, high = cnum.srange(dst.base, dst.size, U_MAX)
    value, mask = tnum.arshift(dst.value, dst.mask, shift)
    arc = cnum.from_srange(low >> shift, high >> shift, U_MAX)
    return sync(*bounds_from_bits(value, mask, *arc, 0, HALF_MAX))


_RULES: Final[dict[tuple[int, bool], Rule]] = {
    (BPF_ADD, False): add64,
    (BPF_ADD, True): add32,
    (BPF_SUB, False): sub64,
    (BPF_SUB, True): sub32,
    (BPF_MUL, False): _mul64,
    (BPF_MUL, True): _mul32,
    (BPF_DIV, False): division.udiv64,
    (BPF_DIV, True): division.udiv32,
    (BPF_DIV | 1, False): division.sdiv64,
    (BPF_DIV | 1, True): division.sdiv32,
    (BPF_MOD, False): division.umod64,
    (BPF_MOD, True): division.umod32,
    (BPF_MOD | 1, False): division.smod64,
    (BPF_MOD | 1, True): division.smod32,
    (BPF_AND, False): lambda dst, src: _and(dst, src, False),
    (BPF_AND, True): lambda dst, src: _and(dst, src, True),
    (BPF_OR, False): lambda dst, src: _or(dst, src, False),
    (BPF_OR, True): lambda dst, src: _or(dst, src, True),
    (BPF_XOR, False): lambda dst, src: _xor(dst, src, False),
    (BPF_XOR, True): lambda dst, src: _xor(dst, src, True),
    (BPF_LSH, False): _lsh64,
    (BPF_LSH, True): _lsh32,
    (BPF_RSH, False): _rsh64,
    (BPF_RSH, True): _rsh32,
    (BPF_ARSH, False): _arsh64,
    (BPF_ARSH, True): _arsh32,
}
