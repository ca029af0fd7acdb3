"""Checkpoints: which states are kept, when a path may end because a kept state covers it, and what loops forever.

Source: kernel/bpf/states.c. Comparing two states is verifier/compare.py's, cycles are verifier/cycles.py's, making dead
registers and slots disappear is verifier/clean.py's.
"""

from typing import TYPE_CHECKING, Final

from bpf import isa
from verifier.backtrack import Backtrack
from verifier.clean import clean_verifier_state
from verifier.compare import EXACT, NOT_EXACT, RANGE_WITHIN, states_equal, states_maybe_looping
from verifier.cycles import add_backedge, has_backedges, maybe_enter_scc, maybe_exit_scc
from verifier.precision import mark_all_scalars_precise, push_jmp_history, walk_back
from verifier.regs import BPF_ADD_CONST, BPF_ITER_STATE_ACTIVE, SCALAR_VALUE, UNKNOWN_REG, Reg
from verifier.state import STACK_ITER, STACK_SPILL, FuncState, Slot, VState
from verifier.statelog import print_verifier_state

if TYPE_CHECKING:
    from verifier.env import Env

_MAX_HISTORY: Final = 40
_MISS: Final = 0
_HIT: Final = 1
_HIT_LOOP: Final = 2


def bucket(env: "Env", insn_idx: int) -> list[VState]:
    """The checkpoints that share a place in the kernel's hash table, oldest first (bpf_explored_state)."""
    place = ((insn_idx ^ env.cur_state.frames[-1].callsite) & isa.U32) % len(env.insns)
    return env.explored.setdefault(place, [])


def is_state_visited(env: "Env", insn_idx: int) -> bool:
    """Whether a checkpoint covers the current state; if none does, it may become one (bpf_is_state_visited)."""
    cur = env.cur_state
    aux = env.aux[insn_idx]
    force = env.test_state_freq or aux.force_checkpoint or len(cur.jmp_history) > _MAX_HISTORY
    add = force or (
        env.jmps_processed - env.prev_jmps_processed >= 2
        and env.insn_processed - env.prev_insn_processed >= 8
    )
    clean_verifier_state(env, cur)
    states = bucket(env, insn_idx)
    count = len(states)
    converging = count > 0 and _may_converge(env, insn_idx)
    compare = _compare_with_ancestor if converging else _compare_exactly
    for at in range(count - 1, -1, -1):
        old = states[at]
        if old.insn_idx != insn_idx:
            continue
        if old.branches:
            found = compare(env, old, cur, insn_idx)
            if (
                found == _MISS
                and not force
                and (
                    env.jmps_processed - env.prev_jmps_processed < 20
                    and env.insn_processed - env.prev_insn_processed < 100
                )
            ):
                add = False
        else:
            loop = has_backedges(env, old)
            equal = states_equal(env, old, cur, RANGE_WITHIN if loop else NOT_EXACT)
            found = (_HIT_LOOP if loop else _HIT) if equal else _MISS
        if found != _MISS:
            _hit(env, old, cur, insn_idx, loop=found == _HIT_LOOP)
            return True
        if add:
            old.misses += 1
        patience = 64 if aux.force_checkpoint and old.branches > 0 else 3
        if old.misses > old.hits * patience + patience:
            del states[at]
            old.evicted = True
            env.free_list_size += 1
            env.explored_states_size -= 1
            _maybe_free(env, old)
    env.max_states_per_insn = max(env.max_states_per_insn, count)
    if add:
        _add_checkpoint(env, cur, states, insn_idx)
    return False


def _may_converge(env: "Env", insn_idx: int) -> bool:
    """Whether a loop through this instruction may end by widening: an iterator's next, a may_goto, a callback."""
    aux, insn = env.aux[insn_idx], env.insns[insn_idx]
    return (
        aux.is_iter_next or aux.calls_callback or (insn.code == isa.OP_MAY_GOTO and insn.src == isa.MAY_GOTO)
    )


def _compare_with_ancestor(env: "Env", old: VState, cur: VState, insn_idx: int) -> int:
    """A checkpoint whose paths are not all explored: the current path may go round in a loop through it."""
    if _is_another_entry(old, cur):
        return _MISS
    aux = env.aux[insn_idx]
    if aux.is_iter_next:
        if states_equal(env, old, cur, RANGE_WITHIN) and _iter_is_active(cur):
            return _HIT_LOOP
        return _MISS
    insn = env.insns[insn_idx]
    if (
        insn.code == isa.OP_MAY_GOTO
        and insn.src == isa.MAY_GOTO
        and old.may_goto_depth != cur.may_goto_depth
        and states_equal(env, old, cur, RANGE_WITHIN)
    ):
        return _HIT_LOOP
    if aux.calls_callback:
        return _HIT_LOOP if states_equal(env, old, cur, RANGE_WITHIN) else _MISS
    return _compare_exactly(env, old, cur, insn_idx)


def _is_another_entry(old: VState, cur: VState) -> bool:
    """An asynchronous callback that was started once more."""
    frame = old.frames[-1]
    return frame.in_async_callback_fn and frame.async_entry_cnt != cur.frames[-1].async_entry_cnt


def _compare_exactly(env: "Env", old: VState, cur: VState, insn_idx: int) -> int:
    """As _compare_with_ancestor where loops do not converge: to be in the same state again is to loop for ever."""
    if (
        states_maybe_looping(old, cur)
        and not _is_another_entry(old, cur)
        and states_equal(env, old, cur, EXACT)
        and not _iter_depths_differ(old, cur)
        and old.may_goto_depth == cur.may_goto_depth
        and old.callback_unroll_depth == cur.callback_unroll_depth
    ):
        _refuse_loop(env, old, cur, insn_idx)
    return _MISS


def _iter_is_active(cur: VState) -> bool:
    """Whether the iterator that R1 points to has not come to its end; equal states have it."""
    pointer = cur.frames[-1].regs[1]
    slot = cur.frames[pointer.frameno].stack[(-pointer.num.signed_value - 1) // 8]
    return slot.reg.iter_state == BPF_ITER_STATE_ACTIVE


def _iter_depths_differ(old: VState, cur: VState) -> bool:
    """Going round with an active iterator is no endless loop (iter_active_depths_differ)."""
    for frame, now in zip(old.frames, cur.frames, strict=True):
        for spi, slot in enumerate(frame.stack):
            if (
                slot.types[0] == STACK_ITER
                and slot.reg.iter_state == BPF_ITER_STATE_ACTIVE
                and now.stack[spi].reg.iter_depth != slot.reg.iter_depth
            ):
                return True
    return False


def _refuse_loop(env: "Env", old: VState, cur: VState, insn_idx: int) -> None:
    env.trace_line_info(insn_idx)
    env.write(f"infinite loop detected at insn {insn_idx}\n")
    if env.verbose2:
        env.trace("cur state:")
        print_verifier_state(env, cur, cur.curframe, True)
        env.trace("old state:")
        print_verifier_state(env, old, cur.curframe, True)
    env.refuse("EINVAL", insn=insn_idx)


def _hit(env: "Env", old: VState, cur: VState, insn_idx: int, *, loop: bool) -> None:
    old.hits += 1
    if env.recorder is not None:
        env.recorder.covered(old)
    if env.aux[env.insn_idx].jmp_point:
        push_jmp_history(env)
    propagate_precision(env, old, cur)
    if loop:
        env.converged = True
        backedge = cur.copy()
        backedge.equal_state = old
        backedge.insn_idx = insn_idx
        add_backedge(env, old, backedge)


def _add_checkpoint(env: "Env", cur: VState, states: list[VState], insn_idx: int) -> None:
    env.total_states += 1
    env.explored_states_size += 1
    update_peak_states(env)
    env.prev_jmps_processed = env.jmps_processed
    env.prev_insn_processed = env.insn_processed
    _mark_all_scalars_imprecise(cur)
    clear_singular_ids(cur)
    new = cur.copy()
    new.insn_idx = insn_idx
    if env.recorder is not None:
        env.recorder.kept(new)
    maybe_enter_scc(env, new)
    cur.parent = new
    cur.first_insn_idx = insn_idx
    cur.dfs_depth = new.dfs_depth + 1
    cur.jmp_history = []
    states.append(new)


def _mark_all_scalars_imprecise(cur: VState) -> None:
    """What the parent needed precise, the new checkpoint may not; stack-argument slots keep their marks (C.7)."""
    for frame in cur.frames:
        regs = frame.regs
        for i in range(10):
            reg = regs[i]
            if reg.precise and reg.type == SCALAR_VALUE:
                regs[i] = reg.with_precise(False)
        for spi, slot in enumerate(frame.stack):
            if slot.types[7] == STACK_SPILL and slot.reg.precise and slot.reg.type == SCALAR_VALUE:
                frame.stack[spi] = Slot(slot.types, slot.reg.with_precise(False))


def clear_singular_ids(state: VState) -> None:
    """A scalar's id that no other register has says nothing (bpf_clear_singular_ids)."""
    ids = [reg.id & ~BPF_ADD_CONST for reg in state.each_reg() if reg.id and reg.type == SCALAR_VALUE]
    seen = set(ids)
    shared = {one for one in seen if ids.count(one) > 1} if len(ids) > 1 else set()
    if len(shared) == len(seen):
        return

    def clear(reg: Reg) -> Reg:
        if reg.id and reg.type == SCALAR_VALUE and reg.id & ~BPF_ADD_CONST not in shared:
            return reg.with_id(0)
        return reg

    state.update_regs(clear)


def propagate_precision(env: "Env", old: VState, cur: VState) -> bool:
    """What a checkpoint needed to be precise, the path that it ends needs too; whether any mark is new."""
    bt = Backtrack(cur.curframe)
    for frameno in range(old.curframe, -1, -1):
        _collect_precise(env, old.frames[frameno], frameno, bt)
    return walk_back(env, cur, bt)


def _collect_precise(env: "Env", frame: FuncState, frameno: int, bt: Backtrack) -> None:
    names = []
    for i in range(10):
        reg = frame.regs[i]
        if reg.precise and reg.type == SCALAR_VALUE:
            bt.regs[frameno] |= 1 << i
            names.append(f"r{i}")
    for spi, slot in enumerate(frame.stack):
        if slot.types[7] == STACK_SPILL and slot.reg.precise and slot.reg.type == SCALAR_VALUE:
            bt.slots[frameno] |= 1 << spi
            names.append(f"fp{-8 * (spi + 1)}")
    if env.mode == "strict":
        # Hole 6: the kernel leaves stack arguments out.
        for i, reg in enumerate(frame.stack_args):
            if reg.precise and reg.type == SCALAR_VALUE:
                env.strict_acted = True
                bt.args[frameno] |= 1 << i
                names.append(f"sa{i}")
    if names and env.verbose2:
        env.trace(f"frame {frameno}: propagating {','.join(names)}\n")


def update_peak_states(env: "Env") -> None:
    """How many states were in memory at once, at most."""
    states = env.explored_states_size + env.free_list_size + env.num_backedges
    env.peak_states = max(env.peak_states, states)


def _maybe_free(env: "Env", state: VState) -> None:
    """An evicted checkpoint goes when no path comes from it (maybe_free_verifier_state)."""
    if state.evicted and state.branches == 0 and not has_backedges(env, state):
        state.evicted = False
        env.free_list_size -= 1


def update_branch_counts(env: "Env", state: VState | None) -> None:
    """A path that came from `state` ended (bpf_update_branch_counts)."""
    below: VState | None = None
    while state is not None:
        state.branches -= 1
        if state.branches:
            break
        backedges = maybe_exit_scc(env, state)
        if backedges is not None:
            update_peak_states(env)
            _propagate_backedges(env, backedges)
        if below is not None:
            _maybe_free(env, below)
        below = state.parent
        state = state.parent


_MAX_BACKEDGE_ITERS: Final = 64


def _propagate_backedges(env: "Env", backedges: list[VState]) -> None:
    """All paths of a cycle are explored: what one needs precise, the others need, until nothing changes."""
    for _ in range(_MAX_BACKEDGE_ITERS):
        changed = False
        for state in backedges:
            assert state.equal_state is not None
            changed |= propagate_precision(env, state.equal_state, state)
        if not changed:
            break
    else:
        _give_up_backedges(env, backedges)
    backedges.clear()


def _give_up_backedges(env: "Env", backedges: list[VState]) -> None:
    if env.verbose2:
        env.trace("propagate_backedges: too many iterations\n")
    for state in backedges:
        mark_all_scalars_precise(env, state)


# ---- convergence of iterators and callbacks


def find_prev_entry(env: "Env", cur: VState, insn_idx: int) -> VState | None:
    """The newest checkpoint at insn_idx that lies on the current path, with the same calls around it."""
    for state in reversed(bucket(env, insn_idx)):
        if (
            state.insn_idx == insn_idx
            and state.branches
            and state.dfs_depth < cur.dfs_depth
            and [f.callsite for f in state.frames] == [f.callsite for f in cur.frames]
        ):
            return state
    return None


def widen_imprecise_scalars(env: "Env", old: VState, cur: VState) -> None:
    """Scalars that changed since `old` and were never needed are forgotten, so that the loop comes to an end.

    Stack-argument slots are not touched (C.7).
    """
    del env
    for before, now in zip(old.frames, cur.frames, strict=True):
        for i in range(10):
            now.regs[i] = _widened(before.regs[i], now.regs[i])
        for spi, (was, slot) in enumerate(zip(before.stack, now.stack, strict=False)):
            if was.types[7] == STACK_SPILL and slot.types[7] == STACK_SPILL:
                reg = _widened(was.reg, slot.reg)
                if reg is not slot.reg:
                    now.stack[spi] = Slot(slot.types, reg)


def _widened(old: Reg, cur: Reg) -> Reg:
    if old is cur or old.type != SCALAR_VALUE or cur.type != SCALAR_VALUE or old.precise or cur.precise:
        return cur
    if old.delta == cur.delta and old.num == cur.num:
        return cur
    return UNKNOWN_REG
