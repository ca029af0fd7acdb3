"""Whether a kept state covers the current one: `old` was explored and safe, so is `cur` if it allows no more.

Source: regsafe, stacksafe, stack_arg_safe, refsafe and states_equal of kernel/bpf/states.c; C.8 of the rules for
stack arguments.
"""

from functools import cache
from typing import TYPE_CHECKING, Final

from verifier import regs
from verifier.num import Num
from verifier.regs import BPF_ADD_CONST, NOT_INIT, NOT_INIT_REG, SCALAR_VALUE, UNKNOWN_REG, Reg
from verifier.state import (
    REF_TYPE_LOCK_MASK,
    REF_TYPE_PTR,
    STACK_DYNPTR,
    STACK_IRQ_FLAG,
    STACK_ITER,
    STACK_SPILL,
    FuncState,
    Slot,
    VState,
)

if TYPE_CHECKING:
    from verifier.env import Env

# ---- how exactly
NOT_EXACT: Final = 0  # imprecise scalars are as good as any other
EXACT: Final = 1  # everything is the same
RANGE_WITHIN: Final = 2  # as NOT_EXACT, but all scalars lie within

_R0_TO_R10: Final = 0x7FF
_FIRST_SLOT: Final = 16  # FuncState.miss: the register plus one, or the slot from here

_IGNORED: Final = (
    b"\0\2\7"  # STACK_INVALID, STACK_MISC, STACK_POISON: what was not read, or reads as any number
)
_LIKE_INVALID: Final = bytes.maketrans(b"\7", b"\0")
_RANGED: Final = frozenset(
    {
        regs.PTR_TO_MAP_KEY,
        regs.PTR_TO_MAP_VALUE,
        regs.PTR_TO_MEM,
        regs.PTR_TO_BUF,
        regs.PTR_TO_TP_BUFFER,
    }
)


class IdMap:
    """Which id of the current state stands for which of the old one (struct bpf_idmap)."""

    __slots__ = ("map", "tmp_id_gen")

    def __init__(self, id_gen: int) -> None:
        self.map: dict[int, int] = {}
        self.tmp_id_gen = id_gen

    def check(self, old: int, cur: int) -> bool:
        """Whether the ids can stand for each other (check_ids)."""
        if not old or not cur:
            return old == cur
        known = self.map.get(old)
        if known is not None:
            return known == cur
        if cur in self.map.values():
            return False
        self.map[old] = cur
        return True

    def check_scalar(self, old: int, cur: int) -> bool:
        """As `check`; an old scalar without an id accepts any, a current one without gets its own."""
        if not old:
            return True
        if not cur:
            self.tmp_id_gen += 1
            cur = self.tmp_id_gen
        if not self.check(old, cur):
            return False
        return not old & BPF_ADD_CONST or self.check(old & ~BPF_ADD_CONST, cur & ~BPF_ADD_CONST)


def _covers(old: Num, cur: Num) -> bool:
    """range_within and tnum_in."""
    return old is cur or old.holds(cur)


def _regs_exact(old: Reg, cur: Reg, ids: IdMap) -> bool:
    return (
        old.type == cur.type
        and old.delta == cur.delta
        and old.aux == cur.aux
        and old.num == cur.num
        and ids.check(old.id, cur.id)
        and ids.check(old.parent_id, cur.parent_id)
    )


def regsafe(old: Reg, cur: Reg, ids: IdMap, exact: int) -> bool:
    """Whether `cur` may stand where `old` was found safe."""
    if old is cur and not old.id and not old.parent_id:
        return True
    if exact == EXACT:
        return _regs_exact(old, cur, ids)
    reg_type = old.type
    if reg_type == NOT_INIT:
        return True
    if reg_type != cur.type:
        return False
    if reg_type == SCALAR_VALUE:
        if not old.precise and exact == NOT_EXACT:
            return True
        return _scalar_safe(old, cur, ids)
    return _pointer_safe(old, cur, ids)


def _scalar_safe(old: Reg, cur: Reg, ids: IdMap) -> bool:
    if old.id:
        if (old.id ^ cur.id) & BPF_ADD_CONST:
            return False
        if old.id & BPF_ADD_CONST and old.delta != cur.delta:
            return False
        if not ids.check_scalar(old.id, cur.id):
            return False
    return _covers(old.num, cur.num)


def _pointer_safe(old: Reg, cur: Reg, ids: IdMap) -> bool:
    base = old.type & regs.BASE_TYPE_MASK
    if base in _RANGED:
        return (
            old.delta == cur.delta
            and old.aux == cur.aux
            and _covers(old.num, cur.num)
            and ids.check(old.id, cur.id)
            and ids.check(old.parent_id, cur.parent_id)
        )
    if base in (regs.PTR_TO_PACKET, regs.PTR_TO_PACKET_META):
        before, now = old.pkt_range, cur.pkt_range
        if before != now if before < 0 or now < 0 else before > now:
            return False
        # The least distance is what packet pointers from one source have been compared by (seen on 7.3.4).
        return ids.check(old.id, cur.id) and old.num.base == cur.num.base and _covers(old.num, cur.num)
    if base == regs.PTR_TO_STACK:
        return _regs_exact(old, cur, ids) and old.frameno == cur.frameno
    if base == regs.PTR_TO_ARENA:
        return True
    if base == regs.PTR_TO_INSN:
        return old.delta == cur.delta and old.aux == cur.aux and _covers(old.num, cur.num)
    return _regs_exact(old, cur, ids)


def _scalar_of_slot(slot: Slot, half: int) -> Reg | None:
    """What a load of the whole slot (half 0) or its lower half (4) gives, if that is a number."""
    if slot.types[half] == STACK_SPILL:
        return slot.reg if slot.reg.type == SCALAR_VALUE else None
    return None if slot.types[half:].strip(_IGNORED) else UNKNOWN_REG


def _slot_safe(old: Slot, cur: Slot, ids: IdMap, exact: int) -> bool:
    before, now = old.types, cur.types
    for i in range(8):
        kind = before[i]
        if kind in _IGNORED:
            continue
        if i in (0, 4):
            was, reg = _scalar_of_slot(old, i), _scalar_of_slot(cur, i)
            if was is not None and reg is not None:
                return regsafe(was, reg, ids, exact)
        if kind != now[i]:
            return False
    return before[7] in _IGNORED or _same_kind_safe(before[7], old.reg, cur.reg, ids, exact)


def _same_kind_safe(kind: int, old: Reg, cur: Reg, ids: IdMap, exact: int) -> bool:
    if kind == STACK_SPILL:
        return regsafe(old, cur, ids, exact)
    if kind == STACK_DYNPTR:
        return old.aux == cur.aux and ids.check(old.id, cur.id) and ids.check(old.parent_id, cur.parent_id)
    if kind == STACK_ITER:
        # not how often it went round: that would never converge
        return old.type == cur.type and old.aux[:3] == cur.aux[:3] and ids.check(old.id, cur.id)
    if kind == STACK_IRQ_FLAG:
        return ids.check(old.id, cur.id) and old.aux == cur.aux
    return True


def stacksafe(old: FuncState, cur: FuncState, ids: IdMap, exact: int) -> bool:
    """Slots that the old state did not use may hold anything."""
    now = cur.stack
    size = len(now)
    for spi, slot in enumerate(old.stack):
        if spi < size and slot is now[spi] and not slot.reg.id and not slot.reg.parent_id:
            continue
        if exact == EXACT and (
            spi >= size or slot.types.translate(_LIKE_INVALID) != now[spi].types.translate(_LIKE_INVALID)
        ):
            return False
        if not slot.types.strip(_IGNORED):
            continue
        if spi >= size or not _slot_safe(slot, now[spi], ids, exact):
            old.miss = _FIRST_SLOT + spi
            return False
    return True


def _misses_again(old: FuncState, cur: FuncState, exact: int) -> bool:
    """Whether what was in the way last time is so again, ids left aside: then there is no need to look at the rest."""
    miss = old.miss
    if miss < _FIRST_SLOT:
        return not regsafe(old.regs[miss - 1], cur.regs[miss - 1], IdMap(0), exact)
    slot, spi = old.stack[miss - _FIRST_SLOT], miss - _FIRST_SLOT
    if not slot.types.strip(_IGNORED):
        return False
    return spi >= len(cur.stack) or not _slot_safe(slot, cur.stack[spi], IdMap(0), exact)


def stack_arg_safe(old: FuncState, cur: FuncState, ids: IdMap, exact: int) -> bool:
    """The old mask is a subset of the current one, and common slots are pairwise safe."""
    before, now = old.stack_args, cur.stack_args
    for slot in range(max(len(before), len(now))):
        was = before[slot] if slot < len(before) else NOT_INIT_REG
        reg = now[slot] if slot < len(now) else NOT_INIT_REG
        if not regsafe(was, reg, ids, exact):
            return False
    return True


def _refsafe(old: VState, cur: VState, ids: IdMap) -> bool:
    if (
        len(old.refs) != len(cur.refs)
        or old.active_locks != cur.active_locks
        or old.active_preempt_locks != cur.active_preempt_locks
        or old.active_rcu_locks != cur.active_rcu_locks
        or not (
            old.active_irq_id == cur.active_irq_id == 0 or ids.check(old.active_irq_id, cur.active_irq_id)
        )
        or not (
            old.active_lock_id == cur.active_lock_id == 0 or ids.check(old.active_lock_id, cur.active_lock_id)
        )
        or old.active_lock_ptr is not cur.active_lock_ptr
    ):
        return False
    for was, ref in zip(old.refs, cur.refs, strict=True):
        if not ids.check(was.id, ref.id) or was.type != ref.type:
            return False
        if ref.type == REF_TYPE_PTR and not ids.check(was.parent_id, ref.parent_id):
            return False
        if ref.type & REF_TYPE_LOCK_MASK and was.ptr is not ref.ptr:
            return False
    return True


def _frames_equal(env: "Env", old: FuncState, cur: FuncState, insn_idx: int, ids: IdMap, exact: int) -> bool:
    if old.callback_depth > cur.callback_depth:
        return False
    if cur.no_stack_arg_load and not old.no_stack_arg_load:
        return False
    before, now = old.regs, cur.regs
    for i in _numbers(env.live_regs[insn_idx] & _R0_TO_R10):
        was, reg = before[i], now[i]
        if was.type == SCALAR_VALUE == reg.type and exact == NOT_EXACT and not was.precise:
            continue
        if not regsafe(was, reg, ids, exact):
            old.miss = i + 1
            return False
    return (not old.stack or stacksafe(old, cur, ids, exact)) and (
        not (old.stack_args or cur.stack_args) or stack_arg_safe(old, cur, ids, exact)
    )


@cache
def _numbers(mask: int) -> tuple[int, ...]:
    """The bits of a mask of registers."""
    return tuple(i for i in range(mask.bit_length()) if mask >> i & 1)


def states_equal(env: "Env", old: VState, cur: VState, exact: int) -> bool:
    """Whether `old`, found safe, covers `cur`."""
    if len(old.frames) != len(cur.frames) or old.in_sleepable != cur.in_sleepable:
        return False
    frame = old.frames[-1]
    if frame.miss and _misses_again(frame, cur.frames[-1], exact):
        return False
    ids = IdMap(env.id_gen)
    if not _refsafe(old, cur, ids):
        return False
    for i, frame in enumerate(old.frames):
        now = cur.frames[i]
        if frame.callsite != now.callsite:
            return False
        if not _frames_equal(env, frame, now, old.frame_insn_idx(i), ids, exact):
            return False
    return True


def states_maybe_looping(old: VState, cur: VState) -> bool:
    """A quick look before the exact comparison: the registers of the current frame are the same, ids included."""
    if len(old.frames) != len(cur.frames):
        return False
    now = cur.frames[-1].regs
    for i, was in enumerate(old.frames[-1].regs):
        reg = now[i]
        if was is not reg and not (
            was.type == reg.type
            and (was.num is reg.num or (was.num.value == reg.num.value and was.num == reg.num))
            and was.id == reg.id
            and was.parent_id == reg.parent_id
            and was.delta == reg.delta
            and was.frameno == reg.frameno
            and was.aux == reg.aux
        ):
            return False
    return True
