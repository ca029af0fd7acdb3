"""The state on one path: frames with registers and stack, references, locks.

`Slot`, `Ref` and `Reg` are values and shared between states. `FuncState` and `VState` are mutable and owned by the
worklist (verifier/mainpass.py, verifier/prune.py); copying one copies lists of references only.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

from verifier.num import ZERO
from verifier.regs import NOT_INIT, NOT_INIT_REG, PTR_TO_STACK, Reg

BPF_REG_SIZE: Final = 8
MAX_BPF_STACK: Final = 512

# ---- enum bpf_stack_slot_type: the bytes of Slot.types

STACK_INVALID: Final = 0  # nothing was stored
STACK_SPILL: Final = 1  # part of a register, in Slot.reg
STACK_MISC: Final = 2  # something was written
STACK_ZERO: Final = 3  # zero was written
STACK_DYNPTR: Final = 4
STACK_ITER: Final = 5
STACK_IRQ_FLAG: Final = 6
STACK_POISON: Final = 7  # dead by liveness: as STACK_INVALID, but reading it is a bug of ours

# ---- enum bpf_reference_type: Ref.type

REF_TYPE_PTR: Final = 1 << 1
REF_TYPE_IRQ: Final = 1 << 2
REF_TYPE_LOCK: Final = 1 << 3
REF_TYPE_RES_LOCK: Final = 1 << 4
REF_TYPE_RES_LOCK_IRQ: Final = 1 << 5
REF_TYPE_LOCK_MASK: Final = REF_TYPE_LOCK | REF_TYPE_RES_LOCK | REF_TYPE_RES_LOCK_IRQ


class Slot:
    """8 bytes of stack (struct bpf_stack_state). A value: never changed after it is made.

    types: 8 bytes, one STACK_* for each byte of stack. types[0] is the byte at the highest address (fp-1 of slot 0),
      types[7] the lowest (fp-8): the kernel's numbering, and the order in which the log prints them.
    reg: the spilled register (types[7] == STACK_SPILL), or what a dynptr, iterator or irq flag is; else NOT_INIT_REG.
      A spill of 4 bytes has STACK_SPILL in types[4..7] and the narrowed register.
    """

    __slots__ = ("reg", "types")

    def __init__(self, types: bytes, reg: Reg = NOT_INIT_REG) -> None:
        self.types = types
        self.reg = reg

    @property
    def is_spilled(self) -> bool:
        """A register was spilled here (bpf_is_spilled_reg)."""
        return self.types[7] == STACK_SPILL


INVALID_BYTES: Final = bytes(8)
SPILL_BYTES: Final = bytes([STACK_SPILL]) * 8
MISC_BYTES: Final = bytes([STACK_MISC]) * 8
ZERO_BYTES: Final = bytes([STACK_ZERO]) * 8
POISON_BYTES: Final = bytes([STACK_POISON]) * 8
INVALID_SLOT: Final = Slot(INVALID_BYTES)
MISC_SLOT: Final = Slot(MISC_BYTES)
ZERO_SLOT: Final = Slot(ZERO_BYTES)
POISON_SLOT: Final = Slot(POISON_BYTES)


class Ref:
    """Something acquired and not yet released (struct bpf_reference_state). A value.

    type: REF_TYPE_*. id: as in Reg.id. insn_idx: where it was acquired. parent_id: of REF_TYPE_PTR, the reference it
    was derived from, 0 for none. ptr: of locks, what is locked (a UsedMap or BTF), compared by identity.
    """

    __slots__ = ("id", "insn_idx", "parent_id", "ptr", "type")

    def __init__(
        self,
        type: int,  # noqa: A002 # the kernel's name
        id: int,  # noqa: A002 # the kernel's name
        insn_idx: int,
        parent_id: int = 0,
        ptr: Any = None,
    ) -> None:
        self.type = type
        self.id = id
        self.insn_idx = insn_idx
        self.parent_id = parent_id
        self.ptr = ptr


# (frameno, whether it is a register, its number or the spi of a spilled one)
LinkedReg = tuple[int, bool, int]

# ---- HistEntry.flags

INSN_F_STACK_ACCESS: Final = 1  # through spi of frame
INSN_F_DST_REG_STACK: Final = 2  # a compare whose dst is a stack pointer
INSN_F_SRC_REG_STACK: Final = 4
INSN_F_STACK_ARG_ACCESS: Final = 8  # spi is a stack-argument slot


class HistEntry:
    """One step that backtracking cannot find out by itself (struct bpf_jmp_history_entry).

    idx, prev_idx: the instruction and the one before it on this path. flags: INSN_F_*. frame, spi: of the stack access.
    linked_regs: the registers that a conditional jump refined together, (frameno, is_reg, register or spi) each.
    """

    __slots__ = ("flags", "frame", "idx", "linked_regs", "prev_idx", "spi")

    def __init__(
        self,
        idx: int,
        prev_idx: int,
        flags: int = 0,
        frame: int = 0,
        spi: int = 0,
        linked_regs: "tuple[LinkedReg, ...]" = (),
    ) -> None:
        self.idx = idx
        self.prev_idx = prev_idx
        self.flags = flags
        self.frame = frame
        self.spi = spi
        self.linked_regs = linked_regs


_SERIALS: Final = count(1)


class FuncState:
    """One frame (struct bpf_func_state). Mutable.

    regs: R0..R10. stack: slot spi covers fp-8*(spi+1) .. fp-8*spi-1; grows as it is used (allocated_stack == 8 *
      len(stack)). stack_args: outgoing stack-argument slots of THIS frame, NOT_INIT_REG where unwritten (C.1); the
      callee reads its incoming arguments here.
    callsite: instruction of the call that made this frame (-1 in frame 0). frameno: its place in VState.frames.
    subprogno: the function. async_entry_cnt: tells apart loops and timers that start themselves.
    callback_ret_range: (minval, maxval) that a callback may return.
    in_callback_fn, in_async_callback_fn, in_exception_callback_fn: what kind of function this frame runs.
    no_stack_arg_load: r11 loads are over (C.4). callback_depth: how often the callback called here was entered.
    insns_subtotal: instructions of this path in this frame and its callees, for statistics; 0 in copies.
    serial: tells apart the activations of functions; that of copies is the same.
    miss: of checkpoints only: where the last comparison failed (verifier/compare.py), 0 for nowhere.
    """

    __slots__ = (
        "async_entry_cnt",
        "callback_depth",
        "callback_ret_range",
        "callsite",
        "frameno",
        "in_async_callback_fn",
        "in_callback_fn",
        "in_exception_callback_fn",
        "insns_subtotal",
        "miss",
        "no_stack_arg_load",
        "regs",
        "serial",
        "stack",
        "stack_args",
        "subprogno",
    )

    def __init__(self, callsite: int, frameno: int, subprogno: int, regs: list[Reg] | None = None) -> None:
        self.callsite = callsite
        self.frameno = frameno
        self.subprogno = subprogno
        if regs is None:
            regs = [NOT_INIT_REG] * 10 + [Reg(PTR_TO_STACK, ZERO, 0, 0, 0, False, frameno)]
        self.regs = regs
        self.stack: list[Slot] = []
        self.stack_args: list[Reg] = []
        self.async_entry_cnt = 0
        self.callback_ret_range = (0, 0)
        self.in_callback_fn = False
        self.in_async_callback_fn = False
        self.in_exception_callback_fn = False
        self.no_stack_arg_load = False
        self.callback_depth = 0
        self.insns_subtotal = 0
        self.serial = next(_SERIALS)
        self.miss = 0

    def copy(self) -> "FuncState":
        """A frame of its own that shares all values."""
        new = FuncState(self.callsite, self.frameno, self.subprogno, self.regs[:])
        new.stack = self.stack[:]
        new.stack_args = self.stack_args[:]
        new.async_entry_cnt = self.async_entry_cnt
        new.callback_ret_range = self.callback_ret_range
        new.in_callback_fn = self.in_callback_fn
        new.in_async_callback_fn = self.in_async_callback_fn
        new.in_exception_callback_fn = self.in_exception_callback_fn
        new.no_stack_arg_load = self.no_stack_arg_load
        new.callback_depth = self.callback_depth
        new.insns_subtotal = 0
        new.serial = self.serial
        new.miss = 0
        return new

    @property
    def out_stack_arg_mask(self) -> int:
        """Bit i: outgoing slot i (argument 6 + i) is initialised."""
        return sum(1 << i for i, reg in enumerate(self.stack_args) if reg.type != NOT_INIT)

    def grow_stack(self, size: int) -> None:
        """At least `size` bytes of stack exist (grow_stack_state)."""
        missing = (size + BPF_REG_SIZE - 1) // BPF_REG_SIZE - len(self.stack)
        if missing > 0:
            self.stack.extend([INVALID_SLOT] * missing)

    def grow_stack_args(self, count: int) -> None:
        """At least `count` outgoing stack-argument slots exist (grow_stack_arg_slots)."""
        missing = count - len(self.stack_args)
        if missing > 0:
            self.stack_args.extend([NOT_INIT_REG] * missing)


class VState:
    """All of one path at one instruction (struct bpf_verifier_state). Mutable.

    frames: frame 0 (the main program, a global function or an async callback) to the current one; the last is
      current. parent: the checkpoint this path comes from. branches: paths from here not yet explored.
    insn_idx: set when the state is saved or pushed. first_insn_idx, last_insn_idx: of the stretch of path since the
      parent. jmp_history: HistEntry's of that stretch. equal_state: the state that this one was pruned by.
    refs: references held, a list of Ref in order of acquisition. active_locks: number of locks held (Ref's of
      REF_TYPE_LOCK_MASK). active_lock_id, active_lock_ptr: the newest of them. active_preempt_locks,
      active_rcu_locks: nesting depths. active_irq_id: id of the innermost saved irq flags, 0 for none.
    speculative: never set, since the loader is privileged. in_sleepable: sleeping is allowed here.
    callback_unroll_depth, may_goto_depth: how often this path went round. dfs_depth: checkpoints above this state.
    hits, misses, evicted: of checkpoints only: how often they ended a path or did not; no longer looked at.
    """

    __slots__ = (
        "active_irq_id",
        "active_lock_id",
        "active_lock_ptr",
        "active_locks",
        "active_preempt_locks",
        "active_rcu_locks",
        "branches",
        "callback_unroll_depth",
        "dfs_depth",
        "equal_state",
        "evicted",
        "first_insn_idx",
        "frames",
        "hits",
        "in_sleepable",
        "insn_idx",
        "jmp_history",
        "last_insn_idx",
        "may_goto_depth",
        "misses",
        "parent",
        "refs",
        "speculative",
    )

    def __init__(self) -> None:
        self.frames: list[FuncState] = []
        self.parent: VState | None = None
        self.equal_state: VState | None = None
        self.branches = 1
        self.insn_idx = 0
        self.first_insn_idx = 0
        self.last_insn_idx = -1
        self.jmp_history: list[HistEntry] = []
        self.refs: list[Ref] = []
        self.active_locks = 0
        self.active_lock_id = 0
        self.active_lock_ptr: Any = None
        self.active_preempt_locks = 0
        self.active_rcu_locks = 0
        self.active_irq_id = 0
        self.speculative = False
        self.in_sleepable = False
        self.callback_unroll_depth = 0
        self.may_goto_depth = 0
        self.dfs_depth = 0
        self.hits = 0
        self.misses = 0
        self.evicted = False

    def copy(self) -> "VState":
        """copy_verifier_state: frames of its own, the same parent, history copied, branches too."""
        new = VState()
        new.frames = [frame.copy() for frame in self.frames]
        new.parent = self.parent
        new.equal_state = self.equal_state
        new.branches = self.branches
        new.insn_idx = self.insn_idx
        new.first_insn_idx = self.first_insn_idx
        new.last_insn_idx = self.last_insn_idx
        new.jmp_history = self.jmp_history[:]
        new.refs = self.refs[:]
        new.active_locks = self.active_locks
        new.active_lock_id = self.active_lock_id
        new.active_lock_ptr = self.active_lock_ptr
        new.active_preempt_locks = self.active_preempt_locks
        new.active_rcu_locks = self.active_rcu_locks
        new.active_irq_id = self.active_irq_id
        new.speculative = self.speculative
        new.in_sleepable = self.in_sleepable
        new.callback_unroll_depth = self.callback_unroll_depth
        new.may_goto_depth = self.may_goto_depth
        new.dfs_depth = self.dfs_depth
        new.hits = 0
        new.misses = 0
        new.evicted = False
        return new

    @property
    def curframe(self) -> int:
        """Number of the current frame."""
        return len(self.frames) - 1

    @property
    def func(self) -> FuncState:
        """The current frame."""
        return self.frames[-1]

    def frame_insn_idx(self, frame: int) -> int:
        """Where frame `frame` stands: the current instruction, or its call (bpf_frame_insn_idx)."""
        return self.insn_idx if frame == len(self.frames) - 1 else self.frames[frame + 1].callsite

    # ---- all registers (bpf_for_each_reg_in_vstate): R0..R10, spilled registers, written stack-argument slots

    def each_reg(self) -> Iterator[Reg]:
        """Registers of all frames, for looking only."""
        found: list[Reg] = []
        for frame in self.frames:
            found += frame.regs
            if frame.stack:
                found += [slot.reg for slot in frame.stack if slot.types[7] == STACK_SPILL]
            if frame.stack_args:
                found += [reg for reg in frame.stack_args if reg.type != NOT_INIT]
        return iter(found)

    def update_regs(self, change: Callable[[Reg], Reg]) -> None:
        """Replaces every register of all frames by change(register); return the same object to leave it."""
        for frame in self.frames:
            regs = frame.regs
            for i, reg in enumerate(regs):
                new = change(reg)
                if new is not reg:
                    regs[i] = new
            stack = frame.stack
            for i, slot in enumerate(stack):
                if slot.types[7] == STACK_SPILL:
                    new = change(slot.reg)
                    if new is not slot.reg:
                        stack[i] = Slot(slot.types, new)
            args = frame.stack_args
            for i, reg in enumerate(args):
                if reg.type != NOT_INIT:
                    new = change(reg)
                    if new is not reg:
                        args[i] = new
