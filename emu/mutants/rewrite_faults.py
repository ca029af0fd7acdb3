"""What goes wrong when the verifier rewrites an accepted program: divisions, dead code, inlined calls, extensions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bpf import isa
from bpf.insn import Insn

Any_ = Callable[..., Any]


def unpatched(which: Callable[[Insn], bool]) -> Callable[[Any_], Any_]:
    """Some divisions stay as they are."""

    def fault(patch: Any_) -> Any_:
        def wrong(insn: Insn) -> Any:
            return None if which(insn) else patch(insn)

        return wrong

    return fault


def by_register(op: int, off: int) -> Callable[[Insn], bool]:
    """Divisions (or modulos) by a register; off 1: the signed ones."""
    return lambda insn: bool(insn.code & isa.X) and insn.op == op and insn.off == off


def zero_only(_signed: Any_) -> Any_:
    """A signed division looks for a divisor of 0, not for -1."""

    def wrong(insn: Insn, *, wide: bool) -> Sequence[Insn]:
        jump = isa.JMP if wide else isa.JMP32
        return (
            Insn(jump | isa.JNE, insn.src, off=2, imm=0),
            Insn(isa.ALU | isa.XOR | isa.X, insn.dst, insn.dst),
            Insn(isa.OP_JA, off=1),
            insn,
        )

    return wrong


def wired_to_dead_side(wire: Any_) -> Any_:
    """A jump of which the side behind it is dead becomes nothing, one whose target is dead a jump there."""

    def wrong(node: Any, live: Sequence[bool]) -> None:
        before, target = node.insn, node.target
        wire(node, live)
        if node.insn is not before and target is not None:
            node.target = node.index + 1 if node.target == target else target

    return wrong


def one_too_far(is_nop: Any_) -> Any_:
    """A jump over one slot that stays counts as a jump to the next one."""

    def wrong(node: Any, following: int) -> bool:
        return bool(is_nop(node, following)) or (
            node.insn.code == isa.OP_JA and node.target is not None and node.target == following + 1
        )

    return wrong


def replaced(which: Callable[[Insn], bool], change: Callable[[Insn], Insn]) -> Callable[[Any_], Any_]:
    """Some instructions of what a call becomes are other ones."""

    def fault(make: Any_) -> Any_:
        def wrong(*args: Any) -> Any:
            pieces = make(*args)
            return tuple(replace(one, insn=change(one.insn)) if which(one.insn) else one for one in pieces)

        return wrong

    return fault


def one_more(insn: Insn) -> Insn:
    """Immediate plus one."""
    return replace(insn, imm=insn.imm + 1)


def greater(insn: Insn) -> Insn:
    """`>` for `>=`."""
    return replace(insn, code=insn.code & ~isa.OP_MASK | isa.JGT)
