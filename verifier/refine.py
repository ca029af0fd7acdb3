"""What a conditional jump says of the two numbers compared: whether it is taken, and what holds on each side.

`decide` answers both at once. Where comparing bounds does not settle the branch, each side is refined; a side on which a
range becomes empty is dead, so that the other one is taken: refinement itself decides. A refinement is sound as it only
intersects with what the condition states.

Knows Nums and opcodes (BPF_OP bits), no registers; pointers are compared elsewhere. Source: kernel/bpf/verifier.c of
Linux 7.3, is_scalar_branch_taken, simulate_both_branches_taken, regs_refine_cond_op.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from verifier import cnum, tnum
from verifier.num import Num, sync
from verifier.tnum import HALF_MAX, U_MAX

BPF_JEQ: Final = 0x10
BPF_JGT: Final = 0x20
BPF_JGE: Final = 0x30
BPF_JSET: Final = 0x40
BPF_JNE: Final = 0x50
BPF_JSGT: Final = 0x60
BPF_JSGE: Final = 0x70
BPF_JLT: Final = 0xA0
BPF_JLE: Final = 0xB0
BPF_JSLT: Final = 0xC0
BPF_JSLE: Final = 0xD0
JNSET: Final = 0x48
"""The opposite of BPF_JSET, which has no opcode: none of the bits is set."""

NOT_TAKEN: Final = 0
TAKEN: Final = 1
EITHER: Final = -1

_REVERSE: Final = {
    BPF_JEQ: BPF_JNE,
    BPF_JNE: BPF_JEQ,
    BPF_JSET: JNSET,
    BPF_JGE: BPF_JLT,
    BPF_JGT: BPF_JLE,
    BPF_JLE: BPF_JGT,
    BPF_JLT: BPF_JGE,
    BPF_JSGE: BPF_JSLT,
    BPF_JSGT: BPF_JSLE,
    BPF_JSLE: BPF_JSGT,
    BPF_JSLT: BPF_JSGE,
}
_FLIP: Final = {
    BPF_JGE: BPF_JLE,
    BPF_JGT: BPF_JLT,
    BPF_JLE: BPF_JGE,
    BPF_JLT: BPF_JGT,
    BPF_JSGE: BPF_JSLE,
    BPF_JSGT: BPF_JSLT,
    BPF_JSLE: BPF_JSGE,
    BPF_JSLT: BPF_JSGT,
}
_REFLEXIVE: Final = frozenset((BPF_JEQ, BPF_JGE, BPF_JLE, BPF_JSGE, BPF_JSLE))

Sides = tuple[Num, Num, Num, Num]
Decision = tuple[int, Num, Num, Num, Num]


def reverse(op: int) -> int:
    """The condition that holds where `op` does not (rev_opcode)."""
    return _REVERSE[op]


def flip(op: int) -> int:
    """The condition on exchanged operands (flip_opcode)."""
    return _FLIP.get(op, op)


def decide(op: int, is32: bool, left: Num, right: Num, *, same: bool = False) -> Decision:
    """Outcome of `left op right` and both numbers on each side: (outcome, false left, false right, true left, true right).

    outcome: TAKEN, NOT_TAKEN or EITHER; the numbers matter for EITHER only. same: both are one register.
    """
    if same:
        return _of_one(op, is32, left), left, right, left, right
    if not (left.mask or right.mask or left.size or right.size):
        return is_taken(op, is32, left, right), left, right, left, right
    key = (op | is32, id(left), id(right))
    known = _decisions.get(key)
    if known is not None:
        return known[2]
    decision = _decide(op, is32, left, right)
    if len(_decisions) >= _CACHE_LIMIT:
        _decisions.clear()
    _decisions[key] = left, right, decision
    return decision


_CACHE_LIMIT: Final = 1 << 16
_decisions: dict[tuple[int, int, int], tuple[Num, Num, Decision]] = {}
"""Decisions so far by the operands' identity, which is theirs as long as the entry holds them."""


def _decide(op: int, is32: bool, left: Num, right: Num) -> Decision:
    outcome = is_taken(op, is32, left, right)
    if outcome != EITHER or (op == BPF_JSET and not _has_known_side(is32, left, right)):
        return outcome, left, right, left, right
    false_left, false_right = refine(_REVERSE[op], is32, left, right)
    if false_left.is_violated or false_right.is_violated:
        return TAKEN, left, right, left, right
    true_left, true_right = refine(op, is32, left, right)
    if true_left.is_violated or true_right.is_violated:
        return NOT_TAKEN, left, right, left, right
    return EITHER, false_left, false_right, true_left, true_right


# ---- by bounds


def _of_one(op: int, is32: bool, num: Num) -> int:
    """A register compared with itself."""
    if op != BPF_JSET:
        return TAKEN if op in _REFLEXIVE else NOT_TAKEN
    top = HALF_MAX if is32 else U_MAX
    if not num.mask & top:
        return TAKEN if num.value & top else NOT_TAKEN
    low, high = _signed(num, is32)
    return EITHER if low <= 0 <= high else TAKEN


def is_taken(op: int, is32: bool, left: Num, right: Num) -> int:
    """What bits and bounds alone say of the branch (is_scalar_branch_taken without its last resort)."""
    if op in (BPF_JEQ, BPF_JNE):
        equal = _is_equal(is32, left, right)
        return equal if op == BPF_JEQ or equal == EITHER else 1 - equal
    if op == BPF_JSET:
        return _has_bits(is32, left, right)
    if op in _FLIP_FIRST:
        op = _FLIP[op]
        left, right = right, left
    bounds = _signed if op in (BPF_JSLT, BPF_JSLE) else _unsigned
    low1, high1 = bounds(left, is32)
    low2, high2 = bounds(right, is32)
    if op in (BPF_JLT, BPF_JSLT):
        return TAKEN if high1 < low2 else NOT_TAKEN if low1 >= high2 else EITHER
    return TAKEN if high1 <= low2 else NOT_TAKEN if low1 > high2 else EITHER


_FLIP_FIRST: Final = frozenset((BPF_JGE, BPF_JGT, BPF_JSGE, BPF_JSGT))


def _unsigned(num: Num, is32: bool) -> tuple[int, int]:
    if is32:
        return (0, HALF_MAX) if num.size32 > HALF_MAX - num.base32 else (num.base32, num.base32 + num.size32)
    return (0, U_MAX) if num.size > U_MAX - num.base else (num.base, num.base + num.size)


def _signed(num: Num, is32: bool) -> tuple[int, int]:
    if is32:
        return cnum.srange(num.base32, num.size32, HALF_MAX)
    return cnum.srange(num.base, num.size, U_MAX)


def _is_equal(is32: bool, left: Num, right: Num) -> int:
    """Equality: known words decide, bits or bounds of either reading that exclude each other deny it."""
    top = HALF_MAX if is32 else U_MAX
    unknown = (left.mask | right.mask) & top
    differ = (left.value ^ right.value) & top
    if not unknown:
        return NOT_TAKEN if differ else TAKEN
    if differ & ~unknown:
        return NOT_TAKEN
    if _are_apart(left, right, is32) or (not is32 and _are_apart(left, right, True)):
        return NOT_TAKEN
    return EITHER


def _are_apart(left: Num, right: Num, is32: bool) -> bool:
    low1, high1 = _unsigned(left, is32)
    low2, high2 = _unsigned(right, is32)
    if low1 > high2 or high1 < low2:
        return True
    low1, high1 = _signed(left, is32)
    low2, high2 = _signed(right, is32)
    return low1 > high2 or high1 < low2


def _has_bits(is32: bool, left: Num, right: Num) -> int:
    """left & right != 0, one of them known (BPF_JSET)."""
    top = HALF_MAX if is32 else U_MAX
    if right.mask & top:
        left, right = right, left
    if right.mask & top:
        return EITHER
    if left.value & right.value & top:
        return TAKEN
    return EITHER if (left.value | left.mask) & right.value & top else NOT_TAKEN


# ---- by refinement


def refine(op: int, is32: bool, left: Num, right: Num) -> tuple[Num, Num]:
    """Both numbers where `left op right` holds; op may be JNSET (regs_refine_cond_op, then reg_bounds_sync of each)."""
    if op in _FLIP_FIRST:
        right, left = _REFINE[_FLIP[op]](is32, right, left)
        return left, right
    return _REFINE[op](is32, left, right)


def _has_known_side(is32: bool, left: Num, right: Num) -> bool:
    top = HALF_MAX if is32 else U_MAX
    return not left.mask & top or not right.mask & top


def _equal(is32: bool, left: Num, right: Num) -> tuple[Num, Num]:
    """Both are what both can be; each keeps what it knows of the other width."""
    if not is32:
        arc = cnum.intersect(left.base, left.size, right.base, right.size, U_MAX)
        value, mask = tnum.intersect(left.value, left.mask, right.value, right.mask)
        return (
            sync(value, mask, *arc, left.base32, left.size32),
            sync(value, mask, *arc, right.base32, right.size32),
        )
    arc = cnum.intersect(left.base32, left.size32, right.base32, right.size32, HALF_MAX)
    low = tnum.intersect(
        left.value & HALF_MAX, left.mask & HALF_MAX, right.value & HALF_MAX, right.mask & HALF_MAX
    )
    return (
        sync(*tnum.with_half(left.value, left.mask, *low), left.base, left.size, *arc),
        sync(*tnum.with_half(right.value, right.mask, *low), right.base, right.size, *arc),
    )


def _with_arc(num: Num, base: int, size: int, is32: bool) -> Num:
    """The number cut to an arc of one width, made consistent."""
    if is32:
        arc = cnum.intersect(num.base32, num.size32, base, size, HALF_MAX)
        return sync(num.value, num.mask, num.base, num.size, *arc)
    arc = cnum.intersect(num.base, num.size, base, size, U_MAX)
    return sync(num.value, num.mask, *arc, num.base32, num.size32)


OneSided = Callable[[bool, Num, int], Num]


def _by_known(one_sided: OneSided, is32: bool, left: Num, right: Num) -> tuple[Num, Num]:
    """Refine the one that is compared with a known word; nothing is learnt if neither is known."""
    top = HALF_MAX if is32 else U_MAX
    if not right.mask & top:
        return one_sided(is32, left, right.value & top), sync(*right.parts())
    if not left.mask & top:
        return sync(*left.parts()), one_sided(is32, right, left.value & top)
    return sync(*left.parts()), sync(*right.parts())


def _not_word(is32: bool, num: Num, word: int) -> Num:
    """All of the ring but one word."""
    top = HALF_MAX if is32 else U_MAX
    return _with_arc(num, (word + 1) & top, top - 1, is32)


def _any_bit(_is32: bool, num: Num, word: int) -> Num:
    """A single bit asked for is set; of several nothing is known."""
    value, mask = num.value, num.mask
    if word and not word & (word - 1):
        value, mask = tnum.or_(value, mask, word, 0)
    return sync(value, mask, num.base, num.size, num.base32, num.size32)


def _no_bit(_is32: bool, num: Num, word: int) -> Num:
    """All the bits are clear; ranges are forgotten first, lest a dead branch contradict itself."""
    return sync(num.value & ~word, num.mask & ~word, 0, U_MAX, 0, HALF_MAX)


def _unsigned_order(is32: bool, left: Num, right: Num, strict: int) -> tuple[Num, Num]:
    """left <= right, or < with strict 1: the right one learns from the left one as already cut."""
    top = HALF_MAX if is32 else U_MAX
    base, size = (left.base32, left.size32) if is32 else (left.base, left.size)
    arc = cnum.from_urange(0, _unsigned(right, is32)[1] - strict, top)
    base, size = cnum.intersect(base, size, *arc, top)
    arc = cnum.from_urange(cnum.umin(base, size, top) + strict, top, top)
    return _set_arc(left, base, size, is32), _with_arc(right, *arc, is32)


def _signed_order(is32: bool, left: Num, right: Num, strict: int) -> tuple[Num, Num]:
    """left s<= right, or s< with strict 1, likewise."""
    top = HALF_MAX if is32 else U_MAX
    base, size = (left.base32, left.size32) if is32 else (left.base, left.size)
    arc = cnum.from_srange(~(top >> 1), _signed(right, is32)[1] - strict, top)
    base, size = cnum.intersect(base, size, *arc, top)
    arc = cnum.from_srange(cnum.srange(base, size, top)[0] + strict, top >> 1, top)
    return _set_arc(left, base, size, is32), _with_arc(right, *arc, is32)


def _set_arc(num: Num, base: int, size: int, is32: bool) -> Num:
    if is32:
        return sync(num.value, num.mask, num.base, num.size, base, size)
    return sync(num.value, num.mask, base, size, num.base32, num.size32)


Refinement = Callable[[bool, Num, Num], tuple[Num, Num]]

_REFINE: Final[dict[int, Refinement]] = {
    BPF_JEQ: _equal,
    BPF_JNE: partial(_by_known, _not_word),
    BPF_JSET: partial(_by_known, _any_bit),
    JNSET: partial(_by_known, _no_bit),
    BPF_JLE: partial(_unsigned_order, strict=0),
    BPF_JLT: partial(_unsigned_order, strict=1),
    BPF_JSLE: partial(_signed_order, strict=0),
    BPF_JSLT: partial(_signed_order, strict=1),
}
