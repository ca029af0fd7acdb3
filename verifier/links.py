"""Scalars that are equal, or a constant apart, and so are refined together: ids, who shares one, and what follows.

Sources: assign_scalar_id_before_mov, collect_linked_regs, sync_linked_regs of kernel/bpf/verifier.c.
"""

from typing import Final

from bpf import isa
from verifier.arith import add_delta
from verifier.env import Env
from verifier.regs import BPF_ADD_CONST, BPF_ADD_CONST32, SCALAR_VALUE, Reg
from verifier.state import STACK_SPILL, LinkedReg, Slot, VState

LINKED_REGS_MAX: Final = 5  # what one entry of the kernel's history can hold


def clear_scalar_id(reg: Reg) -> Reg:
    """The register on its own."""
    return reg.with_id(0) if reg.id or reg.delta else reg


def assign_scalar_id_before_mov(env: Env, reg: Reg) -> Reg:
    """The register as it must be before it is copied: a scalar that is not constant has an id to share.

    One that is a constant apart from others leaves them: distances do not add up.
    """
    if reg.type != SCALAR_VALUE:
        return reg
    if reg.id & BPF_ADD_CONST:
        reg = reg.with_id(0)
    if not reg.id and reg.num.mask:
        reg = reg.with_id(env.new_id(), reg.delta)
    return reg


def collect_linked_regs(env: Env, state: VState, reg_id: int, linked: list[LinkedReg]) -> None:
    """Adds all live registers and spilled registers that share the id; who finds no place leaves the others."""
    reg_id &= ~BPF_ADD_CONST
    for frameno in range(len(state.frames) - 1, -1, -1):
        frame = state.frames[frameno]
        live = env.live_regs[state.frame_insn_idx(frameno)]
        for regno in range(isa.FP):
            reg = frame.regs[regno]
            if not live >> regno & 1 or reg.type != SCALAR_VALUE or reg.id & ~BPF_ADD_CONST != reg_id:
                continue
            if len(linked) < LINKED_REGS_MAX:
                linked.append((frameno, True, regno))
            else:
                frame.regs[regno] = clear_scalar_id(reg)
        for spi, slot in enumerate(frame.stack):
            if slot.types[7] != STACK_SPILL:
                continue
            reg = slot.reg
            if reg.type != SCALAR_VALUE or reg.id & ~BPF_ADD_CONST != reg_id:
                continue
            if len(linked) < LINKED_REGS_MAX:
                linked.append((frameno, False, spi))
            else:
                frame.stack[spi] = Slot(slot.types, clear_scalar_id(reg))


def sync_linked_regs(env: Env, state: VState, known_regno: int, linked: list[LinkedReg]) -> None:
    """Gives all of `linked` what became known of a register of the current frame, moved by their distance from it."""
    known = state.frames[-1].regs[known_regno]
    here = (len(state.frames) - 1, True, known_regno)
    for entry in linked:
        if entry == here:
            continue
        frameno, is_reg, place = entry
        frame = state.frames[frameno]
        reg = frame.regs[place] if is_reg else frame.stack[place].reg
        if reg.type != SCALAR_VALUE or (reg.id ^ known.id) & ~BPF_ADD_CONST:
            continue
        if (reg.id ^ known.id) & BPF_ADD_CONST == BPF_ADD_CONST:
            # One by a 32-bit addition, the other by a 64-bit one: nothing follows.
            continue
        new = _moved(reg, known)
        if is_reg:
            frame.regs[place] = new
            env.scratch_reg(place)
        else:
            frame.stack[place] = Slot(frame.stack[place].types, new)
            env.scratch_slot(place)


def _moved(reg: Reg, known: Reg) -> Reg:
    """What `reg` is, given `known`: reg = known + (reg.delta - known.delta)."""
    both = reg.id | known.id
    if not both & BPF_ADD_CONST or reg.delta == known.delta:
        return known
    num = add_delta(known.num, reg.delta - known.delta, is32=bool(both & BPF_ADD_CONST32))
    return known.with_(num=num, id=reg.id, delta=reg.delta)
