"""The contract between verifier and JIT: what a verified or rejected program is."""

from dataclasses import dataclass, field

from bpf import isa
from bpf.insn import Insn
from bpf.program import KfuncRef, Program


@dataclass(frozen=True, slots=True)
class Subprog:
    """One function of a verified program.

    start, end: half-open range in `Verified.insns`. kind: "main", "static" or "global".
    stack_depth: bytes of r10 stack in use, as the verifier counts them (not rounded for the JIT).
    in_stack_args, out_stack_args: slots, 0..7; out_stack_args is bpf_out_stack_arg_cnt().
    private_stack: r10 stack lies in per-CPU memory. arena_user: user address at which the program's arena starts,
    None without an arena. classic: translated from classic BPF; classic_user: and loaded by a user without CAP_SYS_ADMIN.
    """

    name: str
    start: int
    end: int
    kind: str
    arg_cnt: int = 0
    stack_depth: int = 0
    in_stack_args: int = 0
    out_stack_args: int = 0
    has_tail_call: bool = False
    tail_call_reachable: bool = False
    is_exception_cb: bool = False
    is_exception_boundary: bool = False
    insns_self: int = 0
    insns_total: int = 0
    private_stack: bool = False
    arena_user: int | None = None
    classic: bool = False
    classic_user: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """An accepted program, after fixups, ready for the JIT.

    insns: as `Program.insns`, except that a kfunc call (src 2) holds an index into `kfuncs` in imm,
      and that opcodes only fixups make (`isa.OP_TAIL_CALL`, register AX, ...) may occur. A call of a BPF
      function still holds the distance in imm; a helper call (src 0) holds the helper's number, or, where
      the kernel calls an internal function instead, `symbols[i]` names it.
    origin: for each slot of `insns` the index in `program.insns` that it was made from.
    symbols: slot -> name of an internal kernel function ("bpf_skb_load_helper_8_no_cache",
      "arch_bpf_timed_may_goto") called there instead of a helper.
    indirect_targets: slots that a gotox can reach. arena_args: slot of a kfunc call -> (argument 1..5, may be null) of
      its arena pointers, which the JIT turns into kernel addresses.
    inlined: instructions of the program whose helper call is one no more: instructions, or an internal function, stand
      for it, so that native code shows no call of the helper there.
    pokes: (number of the prog array, index) of each direct tail call, one that always has the same of both. The call is an
      `isa.OP_TAIL_CALL` whose imm is the place here, from 1; imm 0 is a call by what r2 and r3 hold.
    converted: instructions of the program whose access of a context or a socket the kernel turns into accesses of its own
      structures. Here they stay: contexts have their UAPI layout.
    pruned: True when the verifier followed its paths; False when it was only assumed to be accepted.
    """

    program: Program
    insns: tuple[Insn, ...]
    origin: tuple[int, ...]
    subprogs: tuple[Subprog, ...]
    kfuncs: tuple[KfuncRef, ...] = ()
    symbols: dict[int, str] = field(default_factory=dict)
    log: str = ""
    stats: dict[str, int] = field(default_factory=dict)
    verified_insns: int = 0
    pruned: bool = False
    inlined: frozenset[int] = frozenset()
    pokes: tuple[tuple[int, int], ...] = ()
    converted: frozenset[int] = frozenset()
    indirect_targets: frozenset[int] = frozenset()
    arena_args: dict[int, tuple[tuple[int, bool], ...]] = field(default_factory=dict)

    @property
    def in_arena(self) -> frozenset[int]:
        """Instructions of the program that go through a pointer into its arena, or do arithmetic on one, which is 32 bits wide."""
        if not any(sub.arena_user is not None for sub in self.subprogs):
            return frozenset()
        return frozenset(
            self.origin[slot]
            for slot, insn in enumerate(self.insns)
            if _is_arena_access(insn) or _is_narrowed(insn, self.program.insns[self.origin[slot]])
        )

    @property
    def several_functions(self) -> bool:
        """Whether the emitter treats it as a program of several functions.

        One that throws always is: where it names no callback the kernel adds a hidden function, `r0 = r1; exit`.
        """
        return len(self.subprogs) > 1 or any(sub.is_exception_boundary for sub in self.subprogs)


# Modes of an access that only the rewriting makes, by class: plain and sign-extending loads, plain and atomic stores.
_ARENA_MODES = {isa.LDX: (0xA0, 0xC0), isa.ST: (0xA0,), isa.STX: (0xA0, 0xE0)}


def _is_arena_access(insn: Insn) -> bool:
    return insn.mode in _ARENA_MODES.get(insn.cls, ())


def _is_narrowed(insn: Insn, original: Insn) -> bool:
    """Whether 64-bit arithmetic became 32-bit arithmetic; moves and divisions do for other reasons."""
    cast = original.op == isa.MOV and original.off == isa.OFF_ADDR_SPACE_CAST
    same = (insn.op, insn.dst, insn.src, insn.off) == (original.op, original.dst, original.src, original.off)
    return insn.cls == isa.ALU and original.cls == isa.ALU64 and same and not cast


@dataclass(frozen=True, slots=True)
class Rejected:
    """A program that the kernel would refuse.

    errno: name of the load error, "EINVAL". message: last explaining line of the log, None where the kernel
    writes none. messages: all of them. insn: index in `program.insns` or None.
    """

    program: Program
    errno: str
    message: str | None
    messages: tuple[str, ...] = ()
    insn: int | None = None
    log: str = ""
    stats: dict[str, int] = field(default_factory=dict)
    verified_insns: int = 0
