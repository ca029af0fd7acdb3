"""What goes wrong in what the verifier keeps: registers, stack, stack arguments, checkpoints, precision, access checks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bpf import isa
from verifier import cnum
from verifier.num import const, sync
from verifier.regs import PTR_MAYBE_NULL, SCALAR_VALUE, Reg
from verifier.state import FuncState
from verifier.tnum import U_MAX

Any_ = Callable[..., Any]


# ---- any function


def gives(answer: Any) -> Callable[[Any_], Any_]:
    """Does nothing and answers always the same."""

    def fault(_right: Any_) -> Any_:
        def wrong(*_args: Any, **_more: Any) -> Any:
            return answer

        return wrong

    return fault


def gives_first(_right: Any_) -> Any_:
    """Gives its first argument back."""

    def wrong(first: Any, *_args: Any, **_more: Any) -> Any:
        return first

    return wrong


# ---- registers


def keeps(count: int) -> Callable[[Any_], Any_]:
    """A call of a helper or kfunc leaves the first `count` argument registers as they are."""

    def fault(clear: Any_) -> Any_:
        def wrong(env: Any) -> None:
            kept = env.regs[1 : 1 + count]
            clear(env)
            env.regs[1 : 1 + count] = kept

        return wrong

    return fault


def keeps_in_caller(clear: Any_) -> Any_:
    """A call of a function leaves r1 to r5 of the caller as they are."""

    def wrong(env: Any, frame: FuncState) -> None:
        kept = frame.regs[1:6]
        clear(env, frame)
        frame.regs[1:6] = kept

    return wrong


def at_no_distance(_moved: Any_) -> Any_:
    """Linked numbers are refined as if they were equal, not a constant apart."""

    def wrong(reg: Reg, known: Reg) -> Reg:
        return reg.with_num(known.num)

    return wrong


# ---- null


def all_or_none(mark: Any_) -> Any_:
    """A check against null counts for every pointer that may be null, not only for copies of this one."""

    def wrong(env: Any, state: Any, regno: int, is_null: bool) -> None:
        mine = state.frames[-1].regs[regno]
        others = [
            (frame, at)
            for frame in state.frames
            for at, reg in enumerate(frame.regs)
            if reg.type & PTR_MAYBE_NULL and reg.id != mine.id and reg.type == mine.type
        ]
        mark(env, state, regno, is_null)
        for frame, at in others if not is_null else ():
            frame.regs[at] = frame.regs[at].with_type(frame.regs[at].type & ~PTR_MAYBE_NULL)

    return wrong


def other_branch(mark: Any_) -> Any_:
    """A check against null counts for the wrong branch."""

    def wrong(env: Any, state: Any, regno: int, is_null: bool) -> None:
        mark(env, state, regno, not is_null)

    return wrong


def without_check(access: Any_) -> Any_:
    """Memory is accessed through pointers that may be null."""

    def wrong(env: Any, insn_idx: int, argno: int, *args: Any, **rest: Any) -> None:
        reg = env.regs[argno] if argno >= 0 else None
        if reg is not None and reg.type & PTR_MAYBE_NULL:
            env.regs[argno] = reg.with_type(reg.type & ~PTR_MAYBE_NULL)
        access(env, insn_idx, argno, *args, **rest)

    return wrong


# ---- access


def one_byte_behind(_inside: Any_) -> Any_:
    """One byte behind the end counts as inside."""

    def wrong(off: int, size: int, mem_size: int, zero_allowed: bool) -> bool:
        return off >= 0 and (size > 0 or (size == 0 and zero_allowed)) and off + size <= mem_size + 1

    return wrong


def least_offset_only(check: Any_) -> Any_:
    """Of a variable offset only the least one is looked at."""

    def wrong(env: Any, reg: Reg, *args: Any) -> None:
        check(env, reg.with_num(const(reg.num.smin)) if reg.num.mask else reg, *args)

    return wrong


def no_negative_offset(check: Any_) -> Any_:
    """A variable offset is taken for one that is not negative."""

    def wrong(env: Any, reg: Reg, *args: Any) -> None:
        num = reg.num
        if num.mask and num.smin < 0:
            arc = cnum.intersect(num.base, num.size, 0, U_MAX >> 1, U_MAX)
            if arc != (U_MAX, U_MAX):
                reg = reg.with_num(sync(num.value, num.mask, *arc, num.base32, num.size32))
        check(env, reg, *args)

    return wrong


def reach_too_far(find: Any_) -> Any_:
    """One byte more of the packet than was compared with its end."""

    def wrong(state: Any, pointer: Reg, _is_less: bool) -> None:
        find(state, pointer, True)

    return wrong


# ---- stack


def by_instructions_only(write: Any_) -> Any_:
    """What a call writes into the stack is forgotten: what was there before counts as there still."""

    def wrong(env: Any, reg: Reg, off: int, size: int, value_regno: int, insn_idx: int) -> None:
        if not env.insns[insn_idx].is_call:
            write(env, reg, off, size, value_regno, insn_idx)

    return wrong


def parts_kept(write: Any_) -> Any_:
    """A byte written over a spilled register leaves it as it was."""

    def wrong(env: Any, frame: FuncState, spi: int, off: int, size: int, kind: int) -> None:
        if not frame.stack[spi].is_spilled:
            write(env, frame, spi, off, size, kind)

    return wrong


def frame_too_small(rewrite: Any_) -> Any_:
    """Functions with a stack get one slot less than they use."""

    def wrong(*args: Any) -> Any:
        right = rewrite(*args)
        return replace(right, depths=tuple(max(depth - 8, 0) for depth in right.depths))

    return wrong


def depth_not_counted(check: Any_) -> Any_:
    """A variable offset into the stack does not count for the depth of the frame."""

    def wrong(env: Any, reg: Reg, *args: Any) -> None:
        subprog = env.subprogs[env.cur_state.frames[reg.frameno].subprogno]
        depth = subprog.stack_depth
        check(env, reg, *args)
        if reg.num.mask:
            subprog.stack_depth = depth

    return wrong


# ---- stack arguments


def late_loads(read: Any_) -> Any_:
    """Incoming arguments may be loaded behind a store or a call."""

    def wrong(env: Any, off: int, dst: int) -> None:
        frame = env.func
        over, frame.no_stack_arg_load = frame.no_stack_arg_load, False
        read(env, off, dst)
        frame.no_stack_arg_load = over

    return wrong


def one_slot_more(read: Any_) -> Any_:
    """A function may load one incoming argument more than it has."""

    def wrong(env: Any, off: int, dst: int) -> None:
        sub = env.subprogs[env.func.subprogno]
        sub.arg_cnt += 1
        try:
            read(env, off, dst)
        finally:
            sub.arg_cnt -= 1

    return wrong


def next_slot(read: Any_) -> Any_:
    """What an incoming argument holds is looked up one slot further, where there is one."""

    def wrong(env: Any, off: int, dst: int) -> None:
        frames = env.cur_state.frames
        stored = frames[-2].stack_args if len(frames) > 1 else []
        slot = isa.load_slot(off)
        read(env, off, dst)
        if slot + 1 < len(stored):
            env.regs[dst] = stored[slot + 1]

    return wrong


def but_the_last(check: Any_) -> Any_:
    """The last argument of a call need not be stored."""

    def wrong(env: Any, nargs: int, **rest: Any) -> None:
        check(env, nargs - 1, **rest)

    return wrong


# ---- checkpoints


def any_scalar(regsafe: Any_) -> Any_:
    """Numbers are never compared, precise or not."""

    def wrong(old: Reg, cur: Reg, ids: Any, exact: int) -> bool:
        return (old.type == cur.type == SCALAR_VALUE) or regsafe(old, cur, ids, exact)

    return wrong


def innermost_only(equal: Any_) -> Any_:
    """Only the innermost frame of two states is compared."""

    def wrong(env: Any, old: FuncState, cur: FuncState, *args: Any) -> bool:
        return old.frameno < env.cur_state.curframe or bool(equal(env, old, cur, *args))

    return wrong


def without_slots(collect: Any_) -> Any_:
    """What a checkpoint needs of the stack is not asked of the path that it ends."""

    def wrong(env: Any, frame: FuncState, frameno: int, bt: Any) -> None:
        collect(env, frame, frameno, bt)
        bt.slots[frameno] = 0

    return wrong


def without_args(collect: Any_) -> Any_:
    """What a checkpoint needs of stack arguments is not asked of the path that it ends (hole 6 of the kernel)."""

    def wrong(env: Any, frame: FuncState, frameno: int, bt: Any) -> None:
        collect(env, frame, frameno, bt)
        bt.args[frameno] = 0

    return wrong


def ends_at_loads(_load: Any_) -> Any_:
    """Precision ends where a number was loaded: spilled registers and stack arguments are not followed."""

    def wrong(bt: Any, reg: int, _hist: Any) -> None:
        if bt.wants(reg):
            bt.drop(reg)

    return wrong


def destination_only(step: Any_) -> Any_:
    """Precision of a result asks for the destination, not for the source."""

    def wrong(insn: Any) -> Any:
        right = step(insn)
        if right is None or insn.cls not in (isa.ALU, isa.ALU64):
            return right
        return right[0], right[1], 0

    return wrong
