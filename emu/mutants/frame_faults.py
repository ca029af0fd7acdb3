"""What goes wrong in frames, prologues, epilogues and calls.

Each function takes a piece of the JIT and returns the piece with one fault in it, or makes such a function. Named after the
fault; the catalogue says where each is planted.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bpf import isa
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from jit import layout
from jit.emitted import Emitted
from jit.layout import Plan

Any_ = Callable[..., Any]


# ---- the plan of a frame


def outgoing_size(size: Callable[[Plan], int]) -> Callable[[Any_], Any_]:
    """The outgoing area has another size."""

    def fault(plan: Any_) -> Any_:
        def wrong(*args: Any, **more: Any) -> Plan:
            right: Plan = plan(*args, **more)
            return replace(right, outgoing_size=max(size(right), 0))

        return wrong

    return fault


def unwound_without_outgoing(frame: Any_) -> Any_:
    """Whoever unwinds is told nothing of the outgoing area, and takes saved registers from there."""

    def wrong(*args: Any, **more: Any) -> Any:
        return replace(frame(*args, **more), outgoing_size=0)

    return wrong


def boundary_saves_what_it_uses(plan: Any_) -> Any_:
    """A main program that throws saves no more registers than any other function."""

    def wrong(sub: Any, *args: Any, **more: Any) -> Plan:
        right: Plan = plan(replace(sub, is_exception_boundary=False), *args, **more)
        return replace(right, sub=sub)

    return wrong


def sized_by_first_call(make: Any_) -> Any_:
    """The outgoing area is as large as the first call of the function needs."""

    def wrong(function: Any, profile: Any) -> Plan:
        right: Plan = make(function, profile)
        verified, sub = function.verified, function.sub
        for index, insn in enumerate(function.body):
            if insn.code != isa.OP_CALL or insn.src == isa.HELPER_CALL:
                continue
            if insn.src == isa.PSEUDO_KFUNC_CALL:
                count = len(KFUNCS[verified.kfuncs[insn.imm].name].proto.params) - isa.MAX_REG_ARGS
            else:
                starts = {one.start: one for one in verified.subprogs}
                count = starts[sub.start + index + 1 + insn.imm].in_stack_args
            if count > 0:
                return replace(right, outgoing_size=8 * (count - 1))
        return right

    return wrong


def not_saved(missing: Callable[[tuple[int, ...]], int | None]) -> Callable[[Any_], Any_]:
    """One callee-saved register is forgotten."""

    def fault(plan: Any_) -> Any_:
        def wrong(*args: Any, **more: Any) -> Plan:
            right: Plan = plan(*args, **more)
            return replace(right, saved=tuple(reg for reg in right.saved if reg != missing(right.saved)))

        return wrong

    return fault


def unseen(hidden: Callable[[Insn], bool]) -> Callable[[Any_], Any_]:
    """Registers are saved when they are the destination of an instruction, but not of one that is hidden."""

    def fault(plan: Any_) -> Any_:
        def wrong(function: Any, profile: Any) -> Any:
            right: Plan = plan(function, profile)
            used = {
                function.mode.reg(insn.dst)
                for insn in function.body
                if not hidden(insn) and insn.dst < isa.FP
            }
            return replace(right, saved=tuple(reg for reg in right.saved if reg in used))

        return wrong

    return fault


def native_off(off: Callable[[Plan, int, int], int]) -> Callable[[Any_], Any_]:
    """Outgoing arguments are stored elsewhere: `off(plan, offset from r11, right offset from rbp)`."""

    def fault(right: Any_) -> Any_:
        def wrong(plan: Plan, bpf_off: int) -> int:
            return off(plan, bpf_off, right(plan, bpf_off))

        return wrong

    return fault


# ---- prologue, epilogue, calls


def head(change: Callable[[Plan, bytes], bytes]) -> Callable[[Any_], Any_]:
    """Prologue or epilogue with other bytes."""

    def fault(make: Any_) -> Any_:
        def wrong(plan: Plan) -> Emitted:
            out: Emitted = make(plan)
            out.code = change(plan, out.code)
            return out

        return wrong

    return fault


def with_plan(change: Callable[[Plan], Plan]) -> Callable[[Any_], Any_]:
    """Prologue or epilogue for another plan than the rest of the function."""

    def fault(make: Any_) -> Any_:
        def wrong(plan: Plan) -> Any:
            return make(change(plan))

        return wrong

    return fault


def depth_misaligned(plan: Plan) -> Plan:
    """Four bytes more than the program stack."""
    return replace(plan, depth=plan.depth + 4)


def no_depth(plan: Plan) -> Plan:
    """No program stack."""
    return replace(plan, depth=0)


def depth_in_a_byte(plan: Plan) -> Plan:
    """The program stack by an immediate of 8 bits."""
    return replace(plan, depth=plan.depth & 0x7F)


def grown_by_incoming(plan: Plan) -> Plan:
    """The outgoing area counts incoming arguments, too."""
    return replace(plan, outgoing_size=plan.outgoing_size + 8 * max(plan.sub.in_stack_args - 1, 0))


def no_outgoing(plan: Plan) -> Plan:
    """No outgoing area to give back."""
    return replace(plan, outgoing_size=0)


def without(code: bytes) -> Callable[[Plan, bytes], bytes]:
    """The first occurrence of these bytes left out."""
    return lambda _plan, whole: whole.replace(code, b"", 1)


def give_back_late(plan: Plan, whole: bytes) -> bytes:
    """The outgoing area given back behind the pops."""
    if not plan.outgoing_size:
        return whole
    add, leave = whole[:4], whole.rindex(b"\xc9")
    return whole[4:leave] + add + whole[leave:]


def in_push_order(give_back: Any_) -> Any_:
    """Pops in the order of the pushes."""

    def wrong(out: Emitted, plan: Plan) -> None:
        give_back(out, replace(plan, saved=tuple(reversed(plan.saved))))

    return wrong


def before_return(code: bytes) -> Callable[[Plan, bytes], bytes]:
    """These bytes in front of `leave`."""

    def change(_plan: Plan, whole: bytes) -> bytes:
        at = whole.rindex(b"\xc9")
        return whole[:at] + code + whole[at:]

    return change


def pops_its_arguments(_plan: Plan, whole: bytes) -> bytes:
    """`ret 8`."""
    at = whole.rindex(b"\xc9\xc3")
    return whole[: at + 1] + b"\xc2\x08\x00" + whole[at + 2 :]


def later_exit(change: Callable[[Plan, bytes], bytes]) -> Callable[[Any_], Any_]:
    """Every exit but the first has an epilogue of its own, which is wrong."""

    def fault(make: Any_) -> Any_:
        def wrong(function: Any, index: int, insn: Insn) -> Emitted:
            if function.first_exit is None:
                return make(function, index, insn)  # type: ignore[no-any-return]  # an Emitted
            out = layout.epilogue(function.plan)
            out.code = change(function.plan, out.code)
            out.moves = []
            return out

        return wrong

    return fault


def skip_give_back(plan: Plan, whole: bytes) -> bytes:
    """Past the `add rsp`."""
    return whole[4:] if plan.outgoing_size else whole


def only_leave(_plan: Plan, whole: bytes) -> bytes:
    """Past the pops, too."""
    return whole[whole.rindex(b"\xc9") :]


def around_calls(before: bytes, after: bytes = b"") -> Callable[[Any_], Any_]:
    """Code in front of and behind every call."""

    def fault(call: Any_) -> Any_:
        def wrong(*args: Any, **more: Any) -> Emitted:
            out: Emitted = call(*args, **more)
            out.prefix(before)
            out.code += after
            return out

        return wrong

    return fault


def call_too_far(call: Any_) -> Any_:
    """The distance of a call does not count the call's own bytes."""

    def wrong(*args: Any, **more: Any) -> Emitted:
        out: Emitted = call(*args, **more)
        out.fields = [(*one[:5], one[5] - 5, one[6]) if one[2] == "call" else one for one in out.fields]
        return out

    return wrong
