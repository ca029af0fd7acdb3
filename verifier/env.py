"""`Env`: all that one verification knows and counts (struct bpf_verifier_env), and how it writes its log.

Every module of the main pass takes the Env first. It holds no rules but one: how registers are read and written
(`check_reg_arg`).
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

from bpf import isa
from bpf.disasm import log_text
from bpf.insn import Insn
from bpf.program import Program
from bpf.proto import FuncProto
from verifier.arena import arena_user
from verifier.backtrack import Runs
from verifier.cycles import Chain, Visit
from verifier.diagnose import Callee, Diagnosis, MemAccess
from verifier.found import InsnAux, Pending, SubprogInfo
from verifier.recorder import Recorder
from verifier.refused import Refused
from verifier.regs import NOT_INIT, NOT_INIT_REG, UNKNOWN_REG, Reg, UsedMap
from verifier.state import FuncState, HistEntry, VState
from verifier.statelog import state_text
from verifier.subprogs import Layout

BPF_COMPLEXITY_LIMIT_INSNS: Final = 1_000_000
BPF_COMPLEXITY_LIMIT_JMP_SEQ: Final = 8192

LOG_LEVEL1: Final = 1
LOG_LEVEL2: Final = 2
LOG_STATS: Final = 4

F_STRICT_ALIGNMENT: Final = 1 << 0
F_ANY_ALIGNMENT: Final = 1 << 1
F_TEST_STATE_FREQ: Final = 1 << 3
F_SLEEPABLE: Final = 1 << 4
F_XDP_HAS_FRAGS: Final = 1 << 5
F_TEST_REG_INVARIANTS: Final = 1 << 7

# What the log shows as addresses of maps and their values, which are different in every kernel.
_MAP_ADDRESS: Final = 0xFFFF_8880_0400_0000
_MAP_STEP: Final = 0x10000
_VALUE_REFS: Final = (isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX_VALUE)
_MAP_REFS: Final = (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_IDX, *_VALUE_REFS)

_ARG_NAMES: Final = (
    *(f"R{argno}" for argno in range(isa.MAX_REG_ARGS + 1)),
    *(f"*(R11-{8 * slot})" for slot in range(1, isa.MAX_FUNC_ARGS)),
)

_GPL_LICENSES = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")


class Env:
    """One verification.

    program, insns, layout, kfuncs (call instruction -> prototype): what is verified; never changed.
    prog_type, sleepable, gpl, license: of the program. flags: Program.prog_flags. mode: "kernel" or "strict".
    strict_alignment: F_STRICT_ALIGNMENT was asked for, and F_ANY_ALIGNMENT not. test_state_freq: F_TEST_STATE_FREQ.
    has_arena: the program refers to one. verified_subprog: number of the function that is being verified, with what it
      calls. maps: one UsedMap for each of Program.maps. aux: one InsnAux an instruction. seen: which instructions some path reached. live_regs: of each instruction, bit r: Rr is
      read there or later (live_regs_before). subprogs: one SubprogInfo a function.
    log_level: bits LOG_LEVEL1, LOG_LEVEL2, LOG_STATS; `verbose` says whether instructions and states are to be shown,
      `verbose2` (level 2) whether all paths are kept in the log, and backtracking.
    has_cycles: some instruction lies in a cycle of the control flow (InsnAux.scc). visits: of cycles.
    cur_state: the state being explored; regs: its current frame's registers (the same list as cur_state.func.regs; set
      anew by `enter_frame`). insn_idx, prev_insn_idx: where it stands and where it came from. insn: insns[insn_idx].
    pending: branches to explore, the last is next. explored: checkpoints by instruction.
    id_gen: the last id given out. insn_processed, jmps_processed, prev_*: counters of the kernel's heuristics.
    scratched_regs, scratched_stack_slots: bits of what the log shows behind an instruction.
    insn_limit: visited instructions after which it gives up. show_stack_args: the log shows outgoing slots, in lines
      of our own. may_goto_clobbers (strict): may_goto is taken to destroy argument 6. may_goto_visits, converged: how
      often a may_goto was visited, and whether some path ended because it went round in a loop.
    strict_acted: strict mode did something that kernel mode does not, so that the kernel may say something else.
    log_from (level 1): the log shows nothing before so many instructions are visited, 0 for all.
    cur_hist: the history entry of this instruction, or None. recorder: is shown every state, if there is one.
    """

    def __init__(
        self,
        program: Program,
        layout: Layout,
        kfuncs: Mapping[int, FuncProto],
        *,
        log_level: int = 0,
        mode: str = "kernel",
        insn_limit: int = BPF_COMPLEXITY_LIMIT_INSNS,
        show_stack_args: bool = False,
        may_goto_clobbers: bool = False,
        recorder: Recorder | None = None,
        log_from: int = 0,
    ) -> None:
        self.program = program
        self.recorder = recorder
        self.insns: Sequence[Insn] = program.insns
        self.layout = layout
        self.kfuncs = kfuncs
        self.prog_type = program.prog_type
        self.flags = program.prog_flags
        self.sleepable = bool(program.prog_flags & F_SLEEPABLE)
        self.license = program.license
        self.gpl = program.license in _GPL_LICENSES
        self.mode = mode
        self.strict_acted = False
        self.insn_limit = insn_limit
        self.log_from = log_from if log_level & LOG_LEVEL1 else 0
        self.show_stack_args = show_stack_args
        self.shown_stack_args = ""
        self.may_goto_clobbers = may_goto_clobbers
        self.may_goto_visits = 0
        self.converged = False
        self.strict_alignment = (
            program.prog_flags & (F_STRICT_ALIGNMENT | F_ANY_ALIGNMENT) == F_STRICT_ALIGNMENT
        )
        self.test_state_freq = bool(program.prog_flags & F_TEST_STATE_FREQ)
        self.maps = [UsedMap(i, spec) for i, spec in enumerate(program.maps)]
        self.verified_subprog = 0
        self.has_arena = arena_user(program) is not None
        self.aux = [InsnAux() for _ in program.insns]
        self.subprogs = [SubprogInfo(function) for function in layout.functions]
        self.log_level = log_level
        self.verbose = bool(log_level & (LOG_LEVEL1 | LOG_LEVEL2)) and not log_from
        self.verbose2 = bool(log_level & LOG_LEVEL2)
        self.cur_state = VState()
        self.regs: list[Reg] = []
        self.insn_idx = 0
        self.prev_insn_idx = -1
        self.insn: Insn = program.insns[0]
        self.pending: list[Pending] = []
        self.explored: dict[int, list[VState]] = {}
        self.has_cycles = False
        self.visits: dict[Chain, Visit] = {}
        self.live_stack: Any = None
        self.live_regs: list[int] = []
        self.seen = [False] * len(program.insns)
        self.runs: Runs | None = None
        self.id_gen = 0
        self.insn_processed = 0
        self.prev_insn_processed = 0
        self.jmps_processed = 0
        self.prev_jmps_processed = 0
        self.max_states_per_insn = 0
        self.total_states = 0
        self.peak_states = 0
        self.stack_max = 0
        self.explored_states_size = 0
        self.free_list_size = 0
        self.num_backedges = 0
        self.scratched_regs = 0
        self.scratched_stack_slots = 0
        self.cur_hist: HistEntry | None = None
        self.seen_direct_write = False
        self.log: list[str] = []
        self.said: list[tuple[int, int]] = []  # place in the log, insn_processed
        self.prev_log_pos = 0
        self.prev_line_info: tuple[str, str, int] | None = None
        self._texts: dict[int, str] = {}
        self.diagnosis = Diagnosis(self) if self.verbose else None
        self.history = None if self.diagnosis is None else self.diagnosis.history

    # ---- state

    @property
    def func(self) -> FuncState:
        """The current frame (cur_func)."""
        return self.cur_state.frames[-1]

    def new_id(self) -> int:
        """An id never given out before (++env->id_gen)."""
        self.id_gen += 1
        return self.id_gen

    def enter_state(self, state: VState) -> None:
        """`state` is the one being explored from now on."""
        self.cur_state = state
        self.regs = state.frames[-1].regs

    def enter_frame(self) -> None:
        """The number of frames changed: `regs` follows."""
        self.regs = self.cur_state.frames[-1].regs

    def set_reg(self, regno: int, reg: Reg) -> None:
        """Writes a register of the current frame."""
        self.regs[regno] = reg

    def push_state(self, insn_idx: int, prev_insn_idx: int) -> VState:
        """A copy of the current state to be explored later from insn_idx (push_stack); change it as needed.

        Refuses when 8,192 branches are waiting.
        """
        state = self.cur_state.copy()
        events = 0 if self.history is None else len(self.history.events)
        self.pending.append(Pending(state, insn_idx, prev_insn_idx, len(self.log), events))
        if len(self.pending) > BPF_COMPLEXITY_LIMIT_JMP_SEQ:
            self.refuse("E2BIG", f"The sequence of {len(self.pending)} jumps is too complex.")
        if state.parent is not None:
            # Of the state that was copied from: its parent has one more child to wait for.
            state.parent.branches += 1
        return state

    # ---- log

    def start_log(self) -> None:
        """From here on the log shows what happens, and notes what may explain a refusal."""
        self.verbose = True
        self.diagnosis = Diagnosis(self)
        self.history = self.diagnosis.history

    def write(self, text: str) -> None:
        """verbose(): explaining text, with its line ends; belongs to Rejected.messages."""
        self.said.append((len(self.log), self.insn_processed))
        self.log.append(text)

    def explain_insn(self) -> None:
        """The instruction's own line belongs to the explanation, where the disassembler has no words for it."""
        if self.verbose:
            self.said.append((len(self.log) - 1, self.insn_processed))
        else:
            self.write(f"{self.insn_idx}: {self.insn_text(self.insn_idx)}\n")

    def write_note(self, text: str) -> None:
        """verbose() of something that explains no refusal: not part of Rejected.messages."""
        self.log.append(text)

    def trace(self, text: str) -> None:
        """Text that shows what happens (states, instructions, backtracking); ask `verbose2` before you make it."""
        self.log.append(text)

    def trace_state(self, state: VState, frameno: int) -> None:
        """All of a frame, into the log."""
        self.log.append(state_text(state, frameno))

    def insn_text(self, idx: int) -> str:
        """An instruction as the log shows it."""
        text = self._texts.get(idx)
        if text is None:
            proto = self.kfuncs.get(idx)
            text = self._texts[idx] = insn_text(self.insns, idx, proto.name if proto else None)
        return text

    def trace_line_info(self, idx: int) -> None:
        """The source line of an instruction, if it is another one than last time (verbose_linfo)."""
        infos = self.program.line_info
        if not infos:
            return
        at = max(bisect_right(infos, idx, key=lambda info: info.insn) - 1, 0)
        info = infos[at]
        shown = (info.file, info.text, info.line)
        if shown != self.prev_line_info:
            name = info.file.rsplit("/", 1)[-1]
            self.trace(f"; {info.text.lstrip()} @ {name}:{info.line}\n")
            self.prev_line_info = shown

    def reset_log(self, pos: int) -> None:
        """Forgets what was written since `pos` (bpf_vlog_reset).

        The line end in front of it may have been overwritten: of the blanks for an instruction's state one stays.
        """
        del self.log[pos:]
        if pos and self.log[-1].endswith(";"):
            self.log[-1] = self.log[-1][:-1].rstrip(" ") + " "
        while self.said and self.said[-1][0] >= pos:
            self.said.pop()

    def refuse(
        self,
        errno: str,
        *messages: str,
        insn: int | None = None,
        about: MemAccess | Callee | None = None,
        plain: bool = False,
    ) -> NoReturn:
        """Ends the verification: writes the lines (no line ends) and raises Refused. errno: "EACCES".

        insn: where, if not at the current instruction. Without messages, what was written before explains.
        about: what is refused, for the block that explains it in the log; plain: there is no such block.
        """
        for message in messages:
            self.write(message + "\n")
        if self.diagnosis is not None and messages and not plain:
            self.trace(self.diagnosis.block(messages[-1], about))
        raise Refused(errno, *self.messages(), insn=self.insn_idx if insn is None else insn)

    def messages(self) -> tuple[str, ...]:
        """The lines that the current instruction, or what comes before the first one, had to say; no line ends.

        A line that was written before is not one of them.
        """
        now = self.insn_processed
        old = {self.log[i] for i, when in self.said if when != now}
        return tuple(
            "".join(
                self.log[i] for i, when in self.said if when == now and self.log[i] not in old
            ).splitlines()
        )

    def bug(self, text: str) -> NoReturn:
        """verifier_bug(): the kernel's own check failed."""
        self.refuse("EFAULT", f"verifier bug: {text}")

    # ---- what the log shows behind an instruction

    def scratch_reg(self, regno: int) -> None:
        """mark_reg_scratched."""
        self.scratched_regs |= 1 << regno

    def scratch_slot(self, spi: int) -> None:
        """mark_stack_slot_scratched."""
        self.scratched_stack_slots |= 1 << spi


def insn_text(insns: Sequence[Insn], idx: int, kfunc: str | None, *, resolved: bool = True) -> str:
    """An instruction as the log shows it, maps by addresses of ours, if resolved. kfunc: name of what it calls."""
    insn = insns[idx]
    nxt = insns[idx + 1] if idx + 1 < len(insns) else None
    if resolved and insn.code == isa.LD_IMM64 and insn.src in _MAP_REFS and nxt is not None:
        low = _MAP_ADDRESS + insn.imm * _MAP_STEP + (nxt.imm if insn.src in _VALUE_REFS else 0)
        insn, nxt = replace(insn, imm=low & isa.U32), replace(nxt, imm=low >> 32)
    return log_text(insn, nxt, symbol=kfunc)


def reg_arg_name(argno: int) -> str:
    """Name of argument 1, 2, ... in messages: R1 .. R5, then *(R11-8), *(R11-16), ..."""
    return _ARG_NAMES[argno]


def get_func_arg_reg(env: Env, argno: int) -> Reg:
    """State of argument 1, 2, ... of the call at hand: a register, or an outgoing slot of the current frame."""
    if argno <= isa.MAX_REG_ARGS:
        return env.regs[argno]
    args = env.cur_state.frames[-1].stack_args
    slot = argno - isa.MAX_REG_ARGS - 1
    return args[slot] if slot < len(args) else NOT_INIT_REG


def set_func_arg_reg(env: Env, argno: int, reg: Reg) -> None:
    """Replaces argument 1, 2, ...; the slot exists."""
    if argno <= isa.MAX_REG_ARGS:
        env.regs[argno] = reg
    else:
        env.cur_state.frames[-1].stack_args[argno - isa.MAX_REG_ARGS - 1] = reg


def check_src(env: Env, regno: int) -> Reg:
    """Reads a register (check_reg_arg with SRC_OP): its state; refuses one that holds nothing."""
    reg = env.regs[regno]
    env.scratched_regs |= 1 << regno
    if reg.type == NOT_INIT:
        env.refuse("EACCES", f"R{regno} !read_ok")
    return reg


def check_dst(env: Env, regno: int, *, mark: bool = True) -> None:
    """A register is about to be written (DST_OP; DST_OP_NO_MARK with mark=False); marked, it becomes unknown."""
    env.scratched_regs |= 1 << regno
    if regno == isa.FP:
        env.refuse("EACCES", "frame pointer is read only")
    if mark:
        env.regs[regno] = UNKNOWN_REG
