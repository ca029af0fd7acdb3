"""Which scalars of earlier checkpoints have to be compared exactly because a decision depended on them.

Source: bpf_mark_chain_precision, bpf_push_jmp_history and bpf_mark_all_scalars_precise of kernel/bpf/backtrack.c.
Marks matter in checkpoints only (VState.parent and its parents), never in the current state.
"""

from typing import TYPE_CHECKING

from bpf import isa
from verifier.backtrack import (
    ARG_REGS,
    Backtrack,
    NotTracked,
    Runs,
    regs_text,
    simple_step,
    slots_text,
    step_back,
)
from verifier.regs import SCALAR_VALUE, Reg
from verifier.state import STACK_SPILL, FuncState, HistEntry, LinkedReg, Slot, VState

if TYPE_CHECKING:
    from verifier.env import Env


def pack_linked_regs(linked: list[LinkedReg]) -> tuple[LinkedReg, ...]:
    """What HistEntry.linked_regs holds (linked_regs_pack)."""
    return tuple(linked)


def push_jmp_history(
    env: "Env", flags: int = 0, spi: int = 0, frame: int = 0, linked_regs: tuple[LinkedReg, ...] = ()
) -> None:
    """Notes what backtracking must know about the current instruction; notes of one instruction are joined."""
    entry = env.cur_hist
    if entry is not None:
        entry.flags |= flags
        entry.spi = spi
        entry.frame = frame
        entry.linked_regs = linked_regs
        return
    entry = HistEntry(env.insn_idx, env.prev_insn_idx, flags, frame, spi, linked_regs)
    env.cur_state.jmp_history.append(entry)
    env.cur_hist = entry


def mark_chain_precision(env: "Env", regno: int) -> None:
    """Register `regno` of the current frame is used for its value; so are all that it was computed from."""
    state = env.cur_state
    bt = Backtrack(state.curframe)
    if env.regs[regno].type != SCALAR_VALUE:
        env.bug("backtracking misuse")
    bt.want(regno)
    walk_back(env, state, bt)


def mark_arg_precision(env: "Env", argno: int) -> None:
    """As mark_chain_precision, of argument 1, 2, ... of the call at hand: a register or an outgoing slot."""
    if argno <= isa.MAX_REG_ARGS:
        mark_chain_precision(env, argno)
        return
    state = env.cur_state
    bt = Backtrack(state.curframe)
    bt.args[bt.frame] |= 1 << (argno - isa.MAX_REG_ARGS - 1)
    walk_back(env, state, bt)


def mark_slots_precise(env: "Env", frameno: int, mask: int) -> None:
    """As mark_chain_precision, of the spilled scalars in the slots of `mask` (bit spi) of a frame."""
    bt = Backtrack(env.cur_state.curframe)
    bt.slots[frameno] |= mask
    walk_back(env, env.cur_state, bt)


def walk_back(env: "Env", start: VState, bt: Backtrack) -> bool:
    """Follows what `bt` wants back along the path to `start`, marking checkpoints; whether any mark is new."""
    changed = False
    state = start
    nothing = bt.empty  # under a name of its own: mypy would take it as settled below
    if nothing:
        return False
    last_idx, first_idx, subseq_idx = start.insn_idx, start.first_insn_idx, -1
    skip_first = True
    while True:
        if env.verbose2:
            env.trace(
                f"mark_precise: frame{bt.frame}: last_idx {last_idx} first_idx {first_idx} "
                f"subseq_idx {subseq_idx} \n"
            )
        if last_idx < 0:
            return _at_entry(env, state, bt) or changed
        try:
            if _through_stretch(env, state, bt, last_idx, subseq_idx, skip_first=skip_first):
                return changed
        except NotTracked:
            mark_all_scalars_precise(env, start)
            return changed
        skip_first = False
        parent = state.parent
        if parent is None:
            break
        state = parent
        for frame in range(bt.frame, -1, -1):
            changed |= _mark_frame(env, state, bt, frame)
        if bt.empty:
            return changed
        subseq_idx, last_idx, first_idx = first_idx, state.last_insn_idx, state.first_insn_idx
    mark_all_scalars_precise(env, start)
    return changed


def _through_stretch(
    env: "Env", state: VState, bt: Backtrack, last_idx: int, subseq_idx: int, *, skip_first: bool
) -> bool:
    """Back to where `state` began; True if nothing is wanted any more."""
    history = state.jmp_history
    left = len(history)
    first = state.first_insn_idx
    runs = None if env.verbose2 else _runs(env)
    count = len(env.insns)
    i = last_idx
    while True:
        hist = history[left - 1] if left else None
        if skip_first:
            skip_first = False
        elif runs is not None and (low := runs.low(i, first, hist)) <= i:
            mask = bt.regs[bt.frame]
            if mask:
                bt.regs[bt.frame] = mask = runs.before(i, low, mask)
                if not mask and bt.empty:
                    return True
            i = low
        else:
            step_back(env, bt, i, subseq_idx, hist if hist is not None and hist.idx == i else None)
            if bt.empty:
                return True
        subseq_idx = i
        is_noted = hist is not None and hist.idx == i
        if i == first and (left == 0 or (left == 1 and is_noted)):
            return False
        if hist is not None and is_noted:
            i = hist.prev_idx
            left -= 1
        else:
            i -= 1
        if not 0 <= i < count:
            env.bug(f"backtracking idx {i & isa.U32 if i < 0 else i}")


def _runs(env: "Env") -> Runs:
    """The program's runs, made when they are first asked for."""
    if env.runs is None:
        env.runs = Runs([simple_step(insn) for insn in env.insns])
    return env.runs


def _at_entry(env: "Env", state: VState, bt: Backtrack) -> bool:
    """At the entry of a global function only its arguments may be wanted."""
    frame = state.frames[0]
    regs, slots = bt.regs[bt.frame], bt.slots[bt.frame]
    entered = len(state.frames) == 1 and frame.subprogno and frame.callsite == -1
    if not entered or slots or regs & ~ARG_REGS:
        text = f"subprog {frame.subprogno} reg_mask {regs:x} stack_mask {slots:x}"
        env.bug(f"backtracking func entry {text}")
    for i in range(1, 6):
        if regs >> i & 1 and frame.regs[i].type == SCALAR_VALUE:
            frame.regs[i] = frame.regs[i].with_precise(True)
    return True


def _mark_frame(env: "Env", state: VState, bt: Backtrack, frameno: int) -> bool:
    """Marks what is wanted of one frame of a checkpoint; what is marked already is not followed again."""
    func = state.frames[frameno]
    changed = False
    wanted = bt.regs[frameno]
    if wanted:
        regs = func.regs
        for i in range(wanted.bit_length()):
            if wanted >> i & 1:
                reg = regs[i]
                if reg.type != SCALAR_VALUE or reg.precise:
                    bt.regs[frameno] &= ~(1 << i)
                else:
                    regs[i] = reg.with_precise(True)
                    changed = True
    if bt.slots[frameno]:
        changed |= _mark_slots(env, func, bt, frameno)
    wanted = bt.args[frameno]
    for i, reg in enumerate(func.stack_args if wanted else ()):
        if wanted >> i & 1:
            if reg.type != SCALAR_VALUE or reg.precise:
                bt.args[frameno] &= ~(1 << i)
            else:
                func.stack_args[i] = reg.with_precise(True)
                changed = True
    if env.verbose2:
        env.trace(
            f"mark_precise: frame{frameno}: parent state regs={regs_text(bt.regs[frameno])} "
            f"stack={slots_text(bt.slots[frameno])}: "
        )
        env.trace_state(state, frameno)
    return changed


def _mark_slots(env: "Env", func: FuncState, bt: Backtrack, frameno: int) -> bool:
    changed = False
    wanted = bt.slots[frameno]
    for spi in range(wanted.bit_length()):
        if not wanted >> spi & 1:
            continue
        if spi >= len(func.stack):
            env.bug(f"stack slot {spi}, total slots {len(func.stack)}")
        slot = func.stack[spi]
        reg = slot.reg
        if slot.types[7] != STACK_SPILL or reg.type != SCALAR_VALUE or reg.precise:
            bt.slots[frameno] &= ~(1 << spi)
        else:
            func.stack[spi] = Slot(slot.types, reg.with_precise(True))
            changed = True
    return changed


def mark_all_scalars_precise(env: "Env", start: VState) -> None:
    """All scalars of all checkpoints of the path become precise; stack-argument slots (C.7) only in strict mode."""
    if env.verbose2:
        env.trace(f"mark_precise: frame{start.curframe}: falling back to forcing all scalars precise\n")
    state = start.parent
    while state is not None:
        for frameno, func in enumerate(state.frames):
            for i in range(10):
                reg = func.regs[i]
                if reg.type == SCALAR_VALUE and not reg.precise:
                    func.regs[i] = reg.with_precise(True)
                    if env.verbose2:
                        env.trace(f"force_precise: frame{frameno}: forcing r{i} to be precise\n")
            for spi, slot in enumerate(func.stack):
                if slot.types[7] == STACK_SPILL and slot.reg.type == SCALAR_VALUE and not slot.reg.precise:
                    func.stack[spi] = Slot(slot.types, slot.reg.with_precise(True))
                    if env.verbose2:
                        env.trace(
                            f"force_precise: frame{frameno}: forcing fp{-8 * (spi + 1)} to be precise\n"
                        )
            if env.mode == "strict" and func.stack_args:
                env.strict_acted = True
                func.stack_args = [_precise(reg) for reg in func.stack_args]
        state = state.parent


def _precise(reg: Reg) -> Reg:
    return reg.with_precise(True) if reg.type == SCALAR_VALUE and not reg.precise else reg
