"""One step back: which registers and slots had to be known before an instruction so that others are known after it.

Source: backtrack_insn of kernel/bpf/backtrack.c; C.9 of the rules for stack arguments. The walk over a whole path is
verifier/precision.py's.
"""

from typing import TYPE_CHECKING, Final

from bpf import isa
from bpf.insn import Insn
from verifier.state import (
    INSN_F_DST_REG_STACK,
    INSN_F_SRC_REG_STACK,
    INSN_F_STACK_ACCESS,
    INSN_F_STACK_ARG_ACCESS,
    HistEntry,
)

if TYPE_CHECKING:
    from verifier.env import Env

ARG_REGS = 0b11_1110  # R1..R5
TAIL_CALL = 12


class NotTracked(Exception):  # noqa: N818 # an answer, not an error: -ENOTSUPP
    """What is wanted cannot be followed further back; everything has to be taken as precise."""


class Backtrack:
    """What is still wanted, for each frame a bit mask (struct backtrack_state).

    regs: R0..R9. slots: spilled registers by spi. args: outgoing stack-argument slots. frame: where the walk stands.
    """

    __slots__ = ("args", "frame", "regs", "slots")

    def __init__(self, frame: int) -> None:
        self.frame = frame
        self.regs = [0] * isa.MAX_CALL_FRAMES
        self.slots = [0] * isa.MAX_CALL_FRAMES
        self.args = [0] * isa.MAX_CALL_FRAMES

    @property
    def empty(self) -> bool:
        """Nothing is wanted any more, in this frame and those outside of it."""
        last = self.frame + 1
        return not (any(self.regs[:last]) or any(self.slots[:last]) or any(self.args[:last]))

    def wants(self, reg: int) -> int:
        """Whether a register of the current frame is wanted; not 0 if so."""
        return self.regs[self.frame] >> reg & 1

    def want(self, reg: int) -> None:
        """Wants a register of the current frame."""
        self.regs[self.frame] |= 1 << reg

    def drop(self, reg: int) -> None:
        """A register of the current frame is no longer wanted."""
        self.regs[self.frame] &= ~(1 << reg)

    def enter(self, env: "Env") -> None:
        """Back into a function that was left here (bt_subprog_enter)."""
        if self.frame == isa.MAX_CALL_FRAMES - 1:
            env.bug(f"subprog enter from frame {self.frame}")
        self.frame += 1

    def leave(self, env: "Env") -> None:
        """Back out of a function that was entered here (bt_subprog_exit)."""
        if self.frame == 0:
            env.bug("subprog exit from frame 0")
        self.frame -= 1


def regs_text(mask: int) -> str:
    """A mask of registers as the log shows it: "r0,r2"."""
    return ",".join(f"r{i}" for i in range(mask.bit_length()) if mask >> i & 1)


def slots_text(mask: int) -> str:
    """A mask of spilled slots as the log shows it: "-8,-24"."""
    return ",".join(str(-8 * (i + 1)) for i in range(mask.bit_length()) if mask >> i & 1)


def step_back(env: "Env", bt: Backtrack, idx: int, subseq_idx: int, hist: HistEntry | None) -> None:
    """Takes `bt` from behind instruction idx to before it (backtrack_insn).

    subseq_idx: the instruction that came next on the path, -1 at its end. Raises NotTracked.
    """
    insn = env.insns[idx]
    if not insn.code:
        return
    if env.verbose2:
        frame = bt.frame
        env.trace(
            f"mark_precise: frame{frame}: regs={regs_text(bt.regs[frame])} "
            f"stack={slots_text(bt.slots[frame])} before {idx}: {env.insn_text(idx)}\n"
        )
    _sync_linked(bt, hist)
    _STEPS[insn.code & isa.CLASS_MASK](env, bt, insn, idx, subseq_idx, hist)
    _sync_linked_if_followed(bt, hist)


def _sync_linked(bt: Backtrack, hist: HistEntry | None) -> None:
    """Registers that an instruction refined together are wanted together (bpf_bt_sync_linked_regs)."""
    if hist is None or not hist.linked_regs:
        return
    wanted = any(
        (bt.regs if is_reg else bt.slots)[frame] >> number & 1 for frame, is_reg, number in hist.linked_regs
    )
    if wanted:
        for frame, is_reg, number in hist.linked_regs:
            (bt.regs if is_reg else bt.slots)[frame] |= 1 << number


# The kernel does so only where the step did not end early; only conditional jumps have linked registers, and those
# end early only when neither operand is wanted, in which case there is nothing to add.
_sync_linked_if_followed = _sync_linked


def _alu(env: "Env", bt: Backtrack, insn: Insn, idx: int, subseq_idx: int, hist: HistEntry | None) -> None:
    del env, idx, subseq_idx, hist
    if not bt.wants(insn.dst) or insn.op in (isa.END, isa.NEG):
        return
    if insn.op == isa.MOV:
        bt.drop(insn.dst)
    if insn.code & isa.X and insn.src != isa.FP:
        bt.want(insn.src)


def _load(bt: Backtrack, reg: int, hist: HistEntry | None) -> None:
    """A value came from memory: only from the stack can it be followed."""
    if not bt.wants(reg):
        return
    bt.drop(reg)
    if hist is None:
        return
    if hist.flags & INSN_F_STACK_ARG_ACCESS:
        bt.args[bt.frame - 1] |= 1 << hist.spi
    elif hist.flags & INSN_F_STACK_ACCESS:
        bt.slots[hist.frame] |= 1 << hist.spi


def _ldx(env: "Env", bt: Backtrack, insn: Insn, idx: int, subseq_idx: int, hist: HistEntry | None) -> None:
    del env, idx, subseq_idx
    _load(bt, insn.dst, hist)


def _store(env: "Env", bt: Backtrack, insn: Insn, idx: int, subseq_idx: int, hist: HistEntry | None) -> None:
    del env, idx, subseq_idx
    if insn.code & isa.CLASS_MASK == isa.STX and insn.mode == isa.ATOMIC:
        if insn.imm == isa.LOAD_ACQ:
            _load(bt, insn.dst, hist)
            return
        if insn.imm & isa.FETCH:
            _load(bt, isa.R0 if insn.imm == isa.CMPXCHG else insn.src, hist)
            return
    if insn.dst < isa.MAX_BPF_REG and bt.wants(insn.dst):
        raise NotTracked  # the difference of two pointers
    if hist is None:
        return
    if hist.flags & INSN_F_STACK_ARG_ACCESS:
        masks, frame = bt.args, bt.frame
    elif hist.flags & INSN_F_STACK_ACCESS:
        masks, frame = bt.slots, hist.frame
    else:
        return
    bit = 1 << hist.spi
    if masks[frame] & bit:
        masks[frame] &= ~bit
        if insn.code & isa.CLASS_MASK == isa.STX:
            bt.want(insn.src)


def _jump(env: "Env", bt: Backtrack, insn: Insn, idx: int, subseq_idx: int, hist: HistEntry | None) -> None:
    if insn.op == isa.CALL:
        _call(env, bt, insn, idx, subseq_idx)
    elif insn.op == isa.EXIT:
        _exit(env, bt, subseq_idx)
    elif insn.code & isa.X and (bt.wants(insn.dst) or bt.wants(insn.src)):
        flags = 0 if hist is None else hist.flags
        if not flags & INSN_F_SRC_REG_STACK:
            bt.want(insn.src)
        if not flags & INSN_F_DST_REG_STACK:
            bt.want(insn.dst)


def _call(env: "Env", bt: Backtrack, insn: Insn, idx: int, subseq_idx: int) -> None:
    regs = bt.regs[bt.frame]
    if insn.src == isa.PSEUDO_CALL:
        if env.layout.starting_at(idx + insn.imm + 1).is_global:
            if regs & ARG_REGS:
                env.bug(f"global subprog unexpected regs {regs:x}")
            bt.drop(isa.R0)
        else:
            _out_of_callee(env, bt)
    elif idx != subseq_idx - 1 and env.aux[idx].calls_callback:
        _out_of_callback(env, bt)
    else:
        if insn.src == isa.PSEUDO_KFUNC_CALL and idx not in env.kfuncs:
            raise NotTracked
        bt.drop(isa.R0)
        if bt.regs[bt.frame] & ARG_REGS:
            env.bug(f"backtracking call unexpected regs {bt.regs[bt.frame]:x}")
        if insn.src == isa.HELPER_CALL and insn.imm == TAIL_CALL and subseq_idx - idx != 1:
            bt.enter(env)


def _out_of_callee(env: "Env", bt: Backtrack) -> None:
    """Before a static function's first instruction only its arguments may be wanted; they are the caller's."""
    regs, slots, args = bt.regs[bt.frame], bt.slots[bt.frame], bt.args[bt.frame]
    if regs & ~ARG_REGS:
        env.bug(f"static subprog unexpected regs {regs:x}")
    if slots:
        env.bug(f"static subprog leftover stack slots {slots:x}")
    bt.regs[bt.frame] = 0
    bt.regs[bt.frame - 1] |= regs
    if args:
        env.bug(f"static subprog leftover stack arg slots {args:x}")
    bt.leave(env)


def _out_of_callback(env: "Env", bt: Backtrack) -> None:
    """Before a callback's first instruction nothing of the caller's registers is meant."""
    regs, slots = bt.regs[bt.frame], bt.slots[bt.frame]
    if regs & ~ARG_REGS:
        env.bug(f"callback unexpected regs {regs:x}")
    if slots:
        env.bug(f"callback leftover stack slots {slots:x}")
    bt.regs[bt.frame] = 0
    bt.leave(env)


def _exit(env: "Env", bt: Backtrack, subseq_idx: int) -> None:
    """Back into a callee; its R0 is wanted if the caller's is, unless a callback returned.

    What a call that calls back is given (R1 to R5) stays wanted: the call is made again after the callback.
    """
    frame = bt.frame
    from_callback = subseq_idx >= 0 and env.aux[subseq_idx].calls_callback
    if bt.regs[frame] & ARG_REGS and not from_callback:
        env.bug(f"backtracking exit unexpected regs {bt.regs[frame]:x}")
    before = env.insns[subseq_idx - 1] if subseq_idx > 0 else None
    called = before is not None and before.code == isa.OP_CALL and before.src == isa.PSEUDO_CALL
    wanted = called and bt.wants(isa.R0)
    bt.drop(isa.R0)
    bt.enter(env)
    if wanted:
        bt.want(isa.R0)


def _ld(env: "Env", bt: Backtrack, insn: Insn, idx: int, subseq_idx: int, hist: HistEntry | None) -> None:
    del hist
    if insn.mode in (isa.IND, isa.ABS) and subseq_idx not in (-1, idx + 1):
        _exit(env, bt, subseq_idx)  # there was no such packet data, and its function ended here
    if bt.wants(insn.dst):
        bt.drop(insn.dst)
        if insn.mode in (isa.IND, isa.ABS):
            raise NotTracked


_STEPS = (_ld, _ldx, _store, _store, _alu, _jump, _jump, _alu)  # by class


def simple_step(insn: Insn) -> tuple[int, int, int] | None:
    """What step_back does where the path noted nothing: (if one of these is wanted, drop these, want these).

    None where more has to be looked at: calls, exits, stores and packet loads.
    """
    code = insn.code
    cls = code & isa.CLASS_MASK
    dst, src = 1 << insn.dst, 1 << insn.src
    if not code:
        return (0, 0, 0)
    if code == isa.LD_IMM64 or cls == isa.LDX:
        return (dst, dst, 0)
    op = code & isa.OP_MASK
    if cls in (isa.ALU, isa.ALU64):
        if op in (isa.END, isa.NEG):
            return (0, 0, 0)
        more = src if code & isa.X and insn.src != isa.FP else 0
        return (dst, dst if op == isa.MOV else 0, more)
    if cls in (isa.JMP, isa.JMP32) and op not in (isa.CALL, isa.EXIT):
        return (dst | src, 0, dst | src) if code & isa.X else (0, 0, 0)
    return None


_RUNS_LIMIT: Final = 1 << 16


class Runs:
    """Stretches of simple steps that follow each other, taken at once: a path goes through the same ones many times.

    Each step wants, drops and adds registers of one frame whatever else is wanted, so that a run from instruction i
    down to `low` turns the same mask into the same mask.
    """

    __slots__ = ("_known", "_starts", "_steps")

    def __init__(self, steps: list[tuple[int, int, int] | None]) -> None:
        self._steps = steps
        self._known: dict[tuple[int, int, int], int] = {}
        self._starts: list[int] = []
        start = 0
        for at, step in enumerate(steps):
            if step is None:
                start = at + 1
            self._starts.append(start)

    def low(self, i: int, first: int, hist: HistEntry | None) -> int:
        """The last instruction of the run that begins at i and goes back; greater than i if there is none.

        hist: the path's next note, whose instruction ends the run; it belongs to it if the note says only where the
        path came from. first: where the path begins.
        """
        start = self._starts[i]
        if hist is None:
            return max(first, start)
        return max(hist.idx + 1 if hist.flags or hist.linked_regs else hist.idx, start)

    def before(self, i: int, low: int, mask: int) -> int:
        """Registers wanted before instruction `low`, given those that are wanted behind instruction i."""
        key = (i, low, mask)
        known = self._known.get(key)
        if known is None:
            known = mask
            for at in range(i, low - 1, -1):
                step = self._steps[at]
                if step is not None and known & step[0]:
                    known = known & ~step[1] | step[2]
            if len(self._known) >= _RUNS_LIMIT:
                self._known.clear()
            self._known[key] = known
        return known
