"""What is never read again is forgotten, so that states differ only in what matters.

Source: clean_verifier_state of kernel/bpf/states.c. What is read again say Env.live_regs and verifier/livestack.py.
"""

from typing import TYPE_CHECKING, Final

from verifier.livestack import alive_masks
from verifier.regs import NOT_INIT_REG, SCALAR_VALUE
from verifier.state import (
    POISON_SLOT,
    STACK_DYNPTR,
    STACK_IRQ_FLAG,
    STACK_ITER,
    STACK_MISC,
    STACK_POISON,
    STACK_SPILL,
    FuncState,
    Slot,
    VState,
)

if TYPE_CHECKING:
    from verifier.env import Env

# By mask of what is alive of R0..R9: the others.
_DEAD: Final = tuple(tuple(r for r in range(10) if not mask >> r & 1) for mask in range(1 << 10))
_POISONED_HALF: Final = bytes([STACK_POISON]) * 4
_SPECIAL: Final = (STACK_DYNPTR, STACK_ITER, STACK_IRQ_FLAG)


def clean_verifier_state(env: "Env", state: VState) -> None:
    """Dead registers hold nothing afterwards, dead halves of slots are poisoned."""
    live = env.live_regs
    at = state.insn_idx
    on_stack = False
    for frame in reversed(state.frames):
        regs = frame.regs
        for r in _DEAD[live[at] & 0x3FF]:
            regs[r] = NOT_INIT_REG
        if frame.stack:
            on_stack = True
        at = frame.callsite
    if not on_stack:
        return
    for frame, mask in zip(state.frames, alive_masks(env, state), strict=True):
        all_halves = (1 << 2 * len(frame.stack)) - 1
        if mask & all_halves != all_halves:
            _clean_stack(frame, mask)


def _clean_stack(frame: FuncState, alive: int) -> None:
    """alive: bit 2 * spi is the half at the higher address (types[0..3]), bit 2 * spi + 1 the lower one."""
    stack = frame.stack
    for spi, slot in enumerate(stack):
        halves = alive >> (2 * spi) & 3
        if halves == 3 or slot is POISON_SLOT or slot.types[7] in _SPECIAL:
            continue
        if halves == 0:
            stack[spi] = POISON_SLOT
        elif halves == 2:
            stack[spi] = Slot(_POISONED_HALF + slot.types[4:], slot.reg)
        else:
            _forget_spill(stack, spi, slot)


def _forget_spill(stack: list[Slot], spi: int, slot: Slot) -> None:
    """Only the upper half of a slot is read: a spilled number is plain bytes then.

    A pointer stays what it is, and so does the number 0: as bytes it would be known whatever becomes of its precision.
    """
    types = slot.types[:4]
    if slot.types[7] == STACK_SPILL:
        if slot.reg.type != SCALAR_VALUE or slot.reg.is_null:
            return
        types = types.replace(bytes([STACK_SPILL]), bytes([STACK_MISC]))
    stack[spi] = Slot(types + _POISONED_HALF)
