"""Numbers that pruning let go of.

Where a checkpoint covers a path, a number that is not precise in the checkpoint may be another one on that path: the
verifier found that nothing depends on it. From there on the run's number need not be the one that the checkpoint's
continuation knows, nor need anything that is computed from it: such values are "loose". Everything else stays bound.

Keys are those of contain.py. Knows how values flow, not what they are.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from bpf import isa
from bpf.insn import Insn
from emu.interp.state import Frame
from emu.soundness.contain import ARGS, KEYS, SLOTS, Relation, Word
from verifier.regs import BPF_ADD_CONST, SCALAR_VALUE, Reg
from verifier.state import FuncState

Loose = frozenset[int]
NONE: Final[Loose] = frozenset()
_WORDS: Final = range(1, 6)


def _numbers(frames: Sequence[FuncState], actual: Sequence[Frame]) -> Iterator[tuple[int, Reg, Word]]:
    """Every number of the abstract frames: key, state, concrete word (None where it is not a whole word)."""
    for number, (one, frame) in enumerate(zip(frames, actual, strict=True)):
        first = number * KEYS
        for at, reg in enumerate(one.regs):
            if reg.type == SCALAR_VALUE:
                yield first + at, reg, frame.regs[at]
        for at, reg in enumerate(one.stack_args):
            if reg.type == SCALAR_VALUE:
                yield first + ARGS + at, reg, frame.out[at]
        for spi, slot in enumerate(one.stack):
            if slot.is_spilled and slot.reg.type == SCALAR_VALUE:
                at = isa.MAX_STACK - 8 * (spi + 1)
                raw = bytes(frame.region.view[at : at + 8])
                yield first + SLOTS + spi, slot.reg, int.from_bytes(raw, "little")


def let_go(frames: Sequence[FuncState], actual: Sequence[Frame], relation: Relation, before: Loose) -> Loose:
    """Loose values behind the end of a path that a checkpoint with these frames covers.

    An imprecise number is loose when the run's is not among those that it means, or when it is linked with others; then
    all that are linked with it are, because a compare of one narrows all.
    """
    loose = set(before)
    links: dict[int, list[int]] = {}
    for key, reg, word in _numbers(frames, actual):
        plain = reg.id & ~BPF_ADD_CONST
        if plain:
            links.setdefault(plain, []).append(key)
        if not reg.precise and not relation.word(reg, word, actual):
            loose.add(key)
    for keys in links.values():
        if len(keys) > 1:
            by_key = {key: reg for key, reg, _ in _numbers(frames, actual)}
            if not all(by_key[key].precise for key in keys):
                loose.update(keys)
    return frozenset(loose) if len(loose) > len(before) else before


def compared(loose: Loose, insn: Insn, frames: Sequence[FuncState]) -> Loose:
    """Loose values after a compare: it narrows both sides, each by the other, and all that is linked with them."""
    current = (len(frames) - 1) * KEYS
    sides = [insn.dst, insn.src] if insn.code & isa.X else [insn.dst]
    if not any(current + side in loose for side in sides):
        return loose
    regs = frames[-1].regs
    links = {regs[side].id & ~BPF_ADD_CONST for side in sides if regs[side].type == SCALAR_VALUE} - {0}
    linked = (key for key, reg in _linked(frames) if reg.id & ~BPF_ADD_CONST in links)
    return loose.union((current + side for side in sides), linked)


def _linked(frames: Sequence[FuncState]) -> Iterator[tuple[int, Reg]]:
    for number, one in enumerate(frames):
        regs = enumerate(one.regs, number * KEYS)
        args = enumerate(one.stack_args, number * KEYS + ARGS)
        slots = enumerate((slot.reg for slot in one.stack), number * KEYS + SLOTS)
        for some in (regs, args, slots):
            yield from ((key, reg) for key, reg in some if reg.type == SCALAR_VALUE and reg.id)


def flow(loose: Loose, insn: Insn, frames: Sequence[Frame], base: int, before: list[Word]) -> Loose:
    """Loose values after an instruction that stayed in its function. before: the registers it found.

    frames: all that are active; `base` of them are outside the abstract state.
    """
    if not loose:
        return loose
    current = (len(frames) - 1 - base) * KEYS
    cls = insn.code & isa.CLASS_MASK
    out = set(loose)

    def put(key: int, whether: bool) -> None:
        (out.add if whether else out.discard)(key)

    if cls in (isa.ALU, isa.ALU64):
        if insn.code & isa.OP_MASK == isa.MOV:
            put(current + insn.dst, bool(insn.code & isa.X) and current + insn.src in loose)
        elif insn.code & isa.X and insn.op not in (isa.END, isa.NEG) and current + insn.src in loose:
            out.add(current + insn.dst)
    elif cls == isa.LDX:
        if insn.src == isa.REG_PARAMS:
            source = current - KEYS + ARGS + isa.load_slot(insn.off)
        else:
            source = _slot_key(before[insn.src], insn.off, frames, base)
        put(current + insn.dst, source in loose)
    elif cls == isa.LD:
        put(current + (insn.dst if insn.mode == isa.IMM else 0), False)
    elif cls in (isa.ST, isa.STX):
        _store(out, loose, insn, frames, base, current, before)
    elif insn.is_call:
        out.difference_update(range(current, current + 6))
        out.difference_update(range(current + ARGS, current + SLOTS))
    return frozenset(out)


def _store(
    out: set[int],
    loose: Loose,
    insn: Insn,
    frames: Sequence[Frame],
    base: int,
    current: int,
    before: list[Word],
) -> None:
    register = insn.code & isa.CLASS_MASK == isa.STX
    given = register and current + insn.src in loose
    if insn.dst == isa.REG_PARAMS:
        key, whole = current + ARGS + isa.store_slot(insn.off), True
    elif register and insn.mode == isa.ATOMIC:
        load = insn.imm == isa.LOAD_ACQ
        key = _slot_key(before[insn.src if load else insn.dst], insn.off, frames, base)
        if load:
            (out.add if key in loose else out.discard)(current + insn.dst)
            return
        whole = False
        if insn.imm & isa.FETCH and insn.imm != isa.STORE_REL:
            fetched = isa.R0 if insn.imm == isa.CMPXCHG else insn.src
            (out.add if key in loose else out.discard)(current + fetched)
    else:
        key, whole = _slot_key(before[insn.dst], insn.off, frames, base), insn.size == 8
    if key < 0:
        return
    if given:
        out.add(key)
    elif whole:
        out.discard(key)


def _slot_key(word: Word, off: int, frames: Sequence[Frame], base: int) -> int:
    """Key of the stack slot at an address; -1 where there is none of the abstract state's frames."""
    addr = (word or 0) + off
    for number in range(len(frames) - 1, base - 1, -1):
        low = frames[number].low
        if low <= addr < low + isa.MAX_STACK:
            return (number - base) * KEYS + SLOTS + (low + isa.MAX_STACK - 1 - addr) // 8
    return -1


def called(loose: Loose, frame: int) -> Loose:
    """A BPF function was called: frame `frame` takes over the arguments of the one before."""
    out = {key for key in loose if key < frame * KEYS}
    out.update(frame * KEYS + at for at in _WORDS if (frame - 1) * KEYS + at in loose)
    return frozenset(out)


def called_back(loose: Loose, frame: int) -> Loose:
    """A callback was entered; which of the helper's arguments it got is not looked at."""
    out = {key for key in loose if key < frame * KEYS}
    if any((frame - 1) * KEYS + at in loose for at in _WORDS):
        out.update(frame * KEYS + at for at in _WORDS)
    return frozenset(out)


def returned(loose: Loose, frame: int) -> Loose:
    """A function came back to frame `frame`."""
    first = frame * KEYS
    gone = {*range(first, first + 6), *range(first + ARGS, first + SLOTS)}
    out = {key for key in loose if key < first + KEYS and key not in gone}
    if first + KEYS in loose:
        out.add(first)
    return frozenset(out)
