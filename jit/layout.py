"""Prologue, epilogue and frame of a function. Source: sections D.2, D.3 and D.6 of the convention."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bpf import isa
from bpf.verified import Subprog
from jit import alu
from jit.emitted import Emitted, Move
from jit.errors import CannotLower
from jit.frame import WORD, Frame, Moved, Place, Takeover
from jit.profile import Profile
from jit.regmap import ARENA, ARG6, CALLEE_SAVED
from jit.x64 import registers as x
from jit.x64.encoder import Mem, form

_PUSH: Final = form("push r64")
_POP: Final = form("pop r64")
_MOV64: Final = form("mov rm64, r64")
_SUB8: Final = form("sub rm64, imm8")
_SUB32: Final = form("sub rm64, imm32")
_ADD8: Final = form("add rm64, imm8")
_CMP8: Final = form("cmp rm64, imm8")
_JA: Final = form("ja rel8")
_JMP8: Final = form("jmp rel8")
_JMP32: Final = form("jmp rel32")
_ADD_GS: Final = form("add r64, abs64")
_ENDBR: Final = form("endbr64")()
_NOP3: Final = form("nop 3")()
_NOP5: Final = form("nop 5")()
_LEAVE: Final = form("leave")()
_RET: Final = form("ret")()
_INT3: Final = form("int3")()
_XOR_RAX: Final = form("xor rm64, r64")(x.RAX, x.RAX)

PRIVATE_STACK_GUARD: Final = 8
ARENA_SYMBOL: Final = "arena_vm_start"
THIS_CPU_OFF: Final = "this_cpu_off"


def private_stack_symbol(sub: Subprog) -> str:
    """Name of the per-CPU memory that is the stack of a function; names of functions alone may repeat."""
    return f"priv_stack:{sub.name}:{sub.start}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a function keeps things, decided before its instructions are lowered.

    depth: program stack on the native stack, rounded up. saved: x86 registers in push order. outgoing_size: bytes.
    boundary: of the main program, whose frame an exception callback takes over.
    outgoing_base: rbp-relative end (high side) of the outgoing area, as the offset formula takes it.
    """

    sub: Subprog
    profile: Profile
    depth: int
    saved: tuple[int, ...]
    outgoing_size: int
    boundary: "Plan | None" = None

    @property
    def counts(self) -> int:
        """Bytes of the two words of a tail-call count."""
        return 2 * WORD if self.sub.tail_call_reachable else 0

    @property
    def outgoing_base(self) -> int:
        """The formula knows program stack and saved registers, not the two words of a tail-call count."""
        return -(self.depth + WORD * len(self.saved))

    def native_off(self, off: int) -> int:
        """rbp offset of the outgoing stack argument at r11 + `off`, off <= -16."""
        return self.outgoing_base - self.outgoing_size - off - 16

    @property
    def tail_count_off(self) -> int:
        """rbp offset of the pointer to the tail-call count."""
        return -16 - self.depth


def plan(sub: Subprog, profile: Profile, used: set[int], main: Subprog | None = None) -> Plan:
    """The plan of `sub` in the program of `main` (None: `sub` itself).

    used: BPF registers that occur in the function. Raises CannotLower for impossible counts.
    """
    if (
        not 0 <= sub.out_stack_args <= isa.MAX_STACK_ARG_SLOTS
        or not 0 <= sub.in_stack_args <= isa.MAX_STACK_ARG_SLOTS
    ):
        raise CannotLower(f"{sub.name}: more than {isa.MAX_STACK_ARG_SLOTS} stack arguments")
    if not 0 <= sub.stack_depth < 1 << 20:
        raise CannotLower(f"{sub.name}: stack depth {sub.stack_depth}")
    if sub.private_stack and (sub.out_stack_args or sub.in_stack_args):
        raise CannotLower(f"{sub.name}: r9 cannot be both private stack and argument 6")
    depth = 0 if sub.private_stack else -(-sub.stack_depth // WORD) * WORD
    if sub.is_exception_boundary:
        saved = [ARENA, *(reg for _, reg in CALLEE_SAVED)]
    else:
        saved = [] if sub.arena_user is None else [ARENA]
        saved += [reg for number, reg in CALLEE_SAVED if number in used]
    boundary = None
    if sub.is_exception_cb:
        boundary = _boundary(main or sub, profile)
    return Plan(sub, profile, depth, tuple(saved), WORD * max(sub.out_stack_args - 1, 0), boundary)


def _boundary(main: Subprog, profile: Profile) -> Plan:
    """The main program as bpf_throw needs it; a callback of a program that never throws is compiled alike."""
    return plan(replace(main, is_exception_boundary=True, is_exception_cb=False), profile, set())


@dataclass(slots=True)
class Prologue(Emitted):
    """rbp_from: offset from which rbp belongs to the frame. takeover: offsets between which it is the main program's."""

    rbp_from: int = 0
    takeover: tuple[int, int] | None = None


def _first(sub: Subprog, *, is_main: bool) -> bytes:
    """The start of a tail-call count, or its place; filters of classic BPF make no tail calls."""
    if sub.classic:
        return b""
    return _XOR_RAX if sub.tail_call_reachable and is_main else _NOP3


def prologue(plan: Plan) -> Prologue:
    """Everything in front of the first instruction."""
    sub, profile = plan.sub, plan.profile
    is_main = sub.kind == "main"
    out = Prologue()
    if profile.ibt:
        out.add(_ENDBR)
    out.add(_NOP5)
    out.add(_first(sub, is_main=is_main))
    if plan.boundary is not None:
        _exception_entry(out, plan.boundary)
    else:
        out.add(_PUSH(x.RBP), WORD)
        out.add(_MOV64(x.RBP, x.RSP))
        out.rbp_from = len(out.code)
    if profile.ibt:
        out.add(_ENDBR)
    if plan.depth:
        out.add(_SUB32(x.RSP, plan.depth), plan.depth)
    if sub.tail_call_reachable:
        if is_main:
            _make_tail_count(out)
        out.add(_PUSH(x.RAX), WORD)
        out.add(_PUSH(x.RAX), WORD)
    for reg in plan.saved:
        out.add(_PUSH(reg), WORD)
    if plan.outgoing_size:
        out.add(_SUB8(x.RSP, plan.outgoing_size), plan.outgoing_size)
    if sub.arena_user is not None:
        out.add_field(alu.movabs(ARENA, 0), 8, "symbol", symbol=ARENA_SYMBOL)
    if sub.private_stack:
        addend = PRIVATE_STACK_GUARD + -(-sub.stack_depth // WORD) * WORD
        name = private_stack_symbol(sub)
        if profile.percpu_far:
            out.add_field(alu.movabs(ARG6, 0), 8, "symbol", symbol=name, addend=addend)
        else:
            out.add_field(alu.mov_signed(ARG6, 0), 4, "symbol", symbol=name, addend=addend)
        out.add_field(_ADD_GS(ARG6, Mem(None, 0)), 4, "symbol", symbol=THIS_CPU_OFF)
    return out


def _exception_entry(out: Prologue, main: Plan) -> None:
    """The callback runs on the frame of the main program, whose registers it takes back first."""
    above = (
        main.depth + main.counts + WORD * len(main.saved)
    )  # rsi: the lowest word that the main program saved
    out.add(_MOV64(x.RSP, x.RSI), WORD + above)
    start = len(out.code)
    out.add(_MOV64(x.RBP, x.RDX))
    out.rbp_from = len(out.code)
    for reg in reversed(main.saved):
        out.add(_POP(reg), -WORD)
    out.add(_MOV64(x.RSP, x.RBP), WORD * len(main.saved) - above)
    out.takeover = start, len(out.code)


def _make_tail_count(out: Emitted) -> None:
    """rax is 0 or, above 33, the address of the count that a caller made: make the count, or keep the pointer.

    The pointer is pushed twice behind this; a count that was made takes the place of the first.
    """
    push = _PUSH(x.RAX)
    rest = _MOV64(x.RAX, x.RSP) + _JMP8(len(push))
    out.add(_CMP8(x.RAX, isa.MAX_TAIL_CALLS) + _JA(len(push + rest)))
    out.add(push, WORD)
    out.add(rest, -WORD)  # who comes behind the jump has pushed nothing


def give_back(out: Emitted, plan: Plan) -> None:
    """Append the pops of the saved registers, in reverse."""
    for reg in reversed(plan.saved):
        out.add(_POP(reg), -WORD)


def epilogue(plan: Plan) -> Emitted:
    """The first exit of a function; later ones jump here."""
    out = Emitted()
    if plan.outgoing_size:
        out.add(_ADD8(x.RSP, plan.outgoing_size), -plan.outgoing_size)
    give_back(out, plan)
    out.add(_LEAVE, -(WORD + plan.depth + plan.counts))
    if plan.profile.return_thunk:
        out.add_field(_JMP32(0), 4, "jump", symbol=plan.profile.return_thunk)
    else:
        out.add(_RET + (_INT3 if plan.profile.sls else b""))
    return out


def frame(plan: Plan, head: Prologue, pieces: Iterable[tuple[int, int, Sequence[Move]]]) -> Frame:
    """Where everything lies, and when. pieces: offset, end, and moves of rsp of what moves it behind the prologue."""
    incoming = _places(plan.sub.in_stack_args, lambda number: 16 + WORD * (number - 7))
    outgoing = _places(plan.sub.out_stack_args, lambda number: plan.native_off(-WORD * (number - 5)))
    size = plan.depth + plan.counts + WORD * len(plan.saved) + plan.outgoing_size
    takeover = None
    if head.takeover is not None and plan.boundary is not None:
        takeover = Takeover(*head.takeover, _saved(plan.boundary))
    return Frame(
        plan.depth,
        _saved(plan),
        incoming,
        outgoing,
        plan.outgoing_size,
        size,
        counts=plan.counts,
        private_depth=-(-plan.sub.stack_depth // WORD) * WORD if plan.sub.private_stack else None,
        moves=_history(head, pieces),
        rbp_from=head.rbp_from,
        body=len(head.code),
        takeover=takeover,
    )


def _saved(plan: Plan) -> tuple[tuple[str, int], ...]:
    below = plan.depth + plan.counts
    return tuple((x.NAMES64[reg], -(below + WORD * (k + 1))) for k, reg in enumerate(plan.saved))


def _history(head: Prologue, pieces: Iterable[tuple[int, int, Sequence[Move]]]) -> tuple[Moved, ...]:
    """Every piece behind the prologue begins and ends in the body: jumps lead there, whatever it does in between."""
    rows: list[Moved] = []
    depth = WORD
    for at, down, _ in head.moves:
        depth += down
        rows.append((at, depth, ()))
    body = depth
    for base, end, moves in pieces:
        depth = body
        pushed: tuple[str, ...] = ()
        for at, down, reg in moves:
            depth += down
            if reg:
                pushed = (*pushed, reg) if down > 0 else pushed[:-1]
            rows.append((base + at, depth, pushed))
        if depth != body:
            rows.append((end, body, ()))
    return tuple(rows)


def _places(slots: int, off: Callable[[int], int]) -> dict[int, Place]:
    first = {6: Place(x.NAMES64[ARG6])} if slots else {}
    return first | {number: Place("rbp", off(number)) for number in range(7, 6 + slots)}
