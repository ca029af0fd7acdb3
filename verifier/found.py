"""What one verification finds out about single instructions and functions, and the branches that it still has to follow.

Records without rules: every module of the main pass fills in its own part. `Env` holds them all.
"""

from typing import Any

from bpf import isa
from verifier.regs import NOT_INIT
from verifier.state import VState
from verifier.subprogs import Function


class InsnAux:
    """What was found out about one instruction (struct bpf_insn_aux_data). Mutable; 0 or False until found.

    prune_point, jmp_point, force_checkpoint: where states are kept, where history is recorded, where a state must be
      kept. calls_callback: a call that runs a callback now. is_iter_next: an iterator's next. scc: number of the
      cycle it lies in, 0 for none. zext_dst: writes 32 bits of a register whose upper half is read later.
    indirect_target: some path came here from a gotox. ptr_type: register type that a load, store or atomic here goes through; of 64-bit
      arithmetic in a program with an arena PTR_TO_ARENA or SCALAR_VALUE.
    map_ptr: the one UsedMap that all paths give the helper here, or `poison` when they differ. map_key: the same
      for constant keys. loop_inline: (fits, callback) of bpf_loop calls (struct bpf_loop_inline_state).
    in_fastcall, fastcall_spills_num: of fastcall patterns.
    arena_args: (argument 1..5, may be null) of a kfunc's arena pointers.
    """

    # Defaults of the class: most instructions never have another value, and an object that holds nothing is made fast.
    prune_point = False
    jmp_point = False
    force_checkpoint = False
    calls_callback = False
    is_iter_next = False
    scc = 0
    indirect_target = False
    zext_dst = False
    ptr_type = NOT_INIT
    map_ptr: Any = None
    map_key: Any = None
    loop_inline: tuple[bool, int] | None = None
    in_fastcall = False
    fastcall_spills_num = 0
    arena_args: tuple[tuple[int, bool], ...] = ()


class SubprogInfo:
    """What was found out about one function (struct bpf_subprog_info, struct bpf_func_info_aux). Mutable.

    function: from verifier/subprogs.py (start, end, name, type_id, nargs, is_global, ...).
    arg_cnt: parameters as the kernel's four bits hold them; set by btf_prepare_func_args only (B.1), 0 before.
    stack_arg_cnt: incoming + most outgoing stack-argument slots seen (C.1). max_out_stack_arg_cnt: highest slot written
      + 1. args, args_cached: parameter types as funccalls.py keeps them. unreliable: a call did not match its BTF (B.2).
    called: calls enter it, in code that may (True) or may not sleep: a global function is verified for each.
    stack_depth: bytes of r10 stack, as written.
    has_fastcall_patterns, fastcall_stack_off, keep_fastcall_stack: of fastcall patterns. Effects: might_sleep, changes_pkt_data, might_throw.
    verified_insns: insn_processed of this function alone, insns_self and insns_total of the statistics.
    """

    __slots__ = (
        "arg_cnt",
        "args",
        "args_cached",
        "called",
        "changes_pkt_data",
        "fastcall_stack_off",
        "function",
        "has_fastcall_patterns",
        "insns_self",
        "insns_total",
        "is_async_cb",
        "is_cb",
        "is_exception_cb",
        "keep_fastcall_stack",
        "max_out_stack_arg_cnt",
        "might_sleep",
        "might_throw",
        "stack_arg_cnt",
        "stack_depth",
        "unreliable",
    )

    def __init__(self, function: Function) -> None:
        self.function = function
        self.arg_cnt = 0
        self.stack_arg_cnt = 0
        self.max_out_stack_arg_cnt = 0
        self.args: Any = None
        self.args_cached = False
        self.unreliable = False
        self.called: set[bool] = set()
        self.stack_depth = 0
        self.has_fastcall_patterns = False
        self.fastcall_stack_off = 0
        self.keep_fastcall_stack = False
        self.might_sleep = False
        self.changes_pkt_data = False
        self.might_throw = False
        self.is_exception_cb = function.is_exception_cb
        self.is_cb = self.is_async_cb = function.is_exception_cb
        self.insns_self = 0
        self.insns_total = 0

    @property
    def in_stack_args(self) -> int:
        """Incoming slots (bpf_in_stack_arg_cnt)."""
        return max(self.arg_cnt - isa.MAX_REG_ARGS, 0)


class Pending:
    """A branch still to explore (struct bpf_verifier_stack_elem). log_pos: where the log is cut to at its
    turn; events: how many of the history stay.
    """

    __slots__ = ("events", "insn_idx", "log_pos", "prev_insn_idx", "state")

    def __init__(
        self, state: VState, insn_idx: int, prev_insn_idx: int, log_pos: int, events: int = 0
    ) -> None:
        self.state = state
        self.insn_idx = insn_idx
        self.prev_insn_idx = prev_insn_idx
        self.log_pos = log_pos
        self.events = events
