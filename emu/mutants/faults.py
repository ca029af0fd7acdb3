"""What goes wrong: each function here takes a piece of the JIT and returns the piece with one fault in it.

Named after the fault; the catalogue says where each is planted.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bpf import isa
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from emu.mutants.mutant import replace_at
from jit import alu, layout
from jit.emitted import Emitted
from jit.layout import Plan
from jit.memory import store_number, store_reg
from jit.mode import Mode
from jit.regmap import ARG6, FP
from jit.x64 import registers as x
from jit.x64.encoder import Mem, form

Any_ = Callable[..., Any]
_STX_DW = isa.STX | isa.MEM | isa.DW
_STD = b"\xfd"


# ---- the plan of a frame


def outgoing_size(size: Callable[[Plan], int]) -> Callable[[Any_], Any_]:
    """The outgoing area has another size."""

    def fault(plan: Any_) -> Any_:
        def wrong(*args: Any, **more: Any) -> Plan:
            right: Plan = plan(*args, **more)
            return replace(right, outgoing_size=max(size(right), 0))

        return wrong

    return fault


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


# ---- stack arguments


def stack_store(emit: Callable[[Plan, Mode, Insn, int], bytes]) -> Callable[[Any_], Any_]:
    """Outgoing arguments in memory are stored by other code: `emit(plan, mode, insn, right offset from rbp)`."""

    def fault(_right: Any_) -> Any_:
        def wrong(function: Any, _index: int, insn: Insn) -> Emitted:
            plan: Plan = function.plan
            return Emitted(emit(plan, function.mode, insn, plan.native_off(insn.off)))

        return wrong

    return fault


def store_at(off: Callable[[int], int]) -> Callable[[Plan, Mode, Insn, int], bytes]:
    """Stored at another displacement."""

    def emit(_plan: Plan, mode: Mode, insn: Insn, right: int) -> bytes:
        return _store(mode, insn, off(right))

    return emit


def _store(mode: Mode, insn: Insn, off: int) -> bytes:
    if insn.code == _STX_DW:
        return store_reg(isa.DW, FP, off, mode.reg(insn.src))
    return store_number(isa.DW, FP, off, insn.imm)


def half_store(_plan: Plan, mode: Mode, insn: Insn, off: int) -> bytes:
    """Four bytes of eight."""
    if insn.code == _STX_DW:
        return store_reg(isa.W, FP, off, mode.reg(insn.src))
    return store_number(isa.W, FP, off, insn.imm)


def lost_store(slot: int) -> Callable[[Plan, Mode, Insn, int], bytes]:
    """One argument is never stored."""

    def emit(_plan: Plan, mode: Mode, insn: Insn, off: int) -> bytes:
        return b"" if isa.store_slot(insn.off) == slot else _store(mode, insn, off)

    return emit


def stored_value(change: Callable[[Insn], Insn]) -> Callable[[Plan, Mode, Insn, int], bytes]:
    """Another value is stored."""

    def emit(_plan: Plan, mode: Mode, insn: Insn, off: int) -> bytes:
        return _store(mode, change(insn), off)

    return emit


def arg6(emit: Callable[[Any_, Insn, Mode], Any]) -> Callable[[Any_], Any_]:
    """The store of argument 6 becomes other code; all other stores stay."""

    def fault(lower: Any_) -> Any_:
        def wrong(insn: Insn, mode: Mode) -> Any:
            if insn.dst == isa.REG_PARAMS and insn.off == -8:
                return emit(lower, insn, mode)
            return lower(insn, mode)

        return wrong

    return fault


def arg6_in_memory(_lower: Any_, insn: Insn, mode: Mode) -> bytes:
    """To the word under the stack pointer, as if it were argument 6 of 6 on the stack."""
    return _rsp_store(mode, insn)


def _rsp_store(mode: Mode, insn: Insn) -> bytes:
    reg = mode.reg(insn.src) if insn.code == _STX_DW else x.R11
    load = b"" if insn.code == _STX_DW else alu.mov_signed(x.R11, insn.imm & isa.U32)
    return load + bytes(
        (0x4C if reg > 7 else 0x48, 0x89, 0x44 | (reg & 7) << 3, 0x24, 0xF8)
    )  # mov [rsp - 8], reg


def arg6_twice(lower: Any_, insn: Insn, mode: Mode) -> bytes:
    """To r9, and then on into the code of the other stores."""
    return bytes(lower(insn, mode)) + _rsp_store(mode, insn)


def arg6_32_bits(_lower: Any_, insn: Insn, mode: Mode) -> bytes:
    """The lower half only."""
    if insn.code == _STX_DW:
        return form("mov rm32, r32")(ARG6, mode.reg(insn.src))
    return alu.mov_imm32(ARG6, insn.imm & isa.U32, signed=False)


def arg6_zero_elsewhere(lower: Any_, insn: Insn, mode: Mode) -> bytes:
    """`xor r9d, r9d` without its prefix: ecx is cleared instead."""
    if insn.code != _STX_DW and insn.imm == 0:
        return b"\x31\xc9"
    return bytes(lower(insn, mode))


def nothing(_lower: Any_, _insn: Insn, _mode: Mode) -> bytes:
    """No code."""
    return b""


def incoming(change: Callable[[Insn, Mode], bytes | None]) -> Callable[[Any_], Any_]:
    """The load of an incoming argument becomes other code where `change` has some; all other loads stay."""

    def fault(lower: Any_) -> Any_:
        def wrong(insn: Insn, mode: Mode) -> Any:
            code = change(insn, mode) if insn.src == isa.REG_PARAMS else None
            return lower(insn, mode) if code is None else code

        return wrong

    return fault


def _load(insn: Insn, mode: Mode, off: int) -> bytes:
    return form("mov r64, m64")(mode.reg(insn.dst), Mem(FP, off))


def incoming_at(by: int) -> Callable[[Insn, Mode], bytes | None]:
    """Arguments from the seventh on, `by` bytes away."""
    return lambda insn, mode: _load(insn, mode, insn.off + by) if insn.off > 8 else None


def arg6_from_memory(insn: Insn, mode: Mode) -> bytes | None:
    """Argument 6 from where argument 7 is."""
    return _load(insn, mode, 16) if insn.off == 8 else None


def arg6_from_rdi(insn: Insn, mode: Mode) -> bytes | None:
    """Argument 6 from the first argument's register."""
    return alu.mov64(mode.reg(insn.dst), x.RDI) if insn.off == 8 else None


# ---- other instructions


def scratch(reg: int) -> Callable[[Any_], Any_]:
    """Another register than r11 as scratch."""

    def fault(lower: Any_) -> Any_:
        def wrong(insn: Insn, mode: Mode) -> Any:
            back = replace_at("jit.alu:AUX", lambda _right: reg)
            try:
                return lower(insn, mode)
            finally:
                back()

        return wrong

    return fault


def cut(codes: tuple[bytes, ...]) -> Callable[[Any_], Any_]:
    """Some bytes of an instruction are left out."""

    def fault(lower: Any_) -> Any_:
        def wrong(insn: Insn, mode: Mode) -> bytes:
            code = bytes(lower(insn, mode))
            for one in codes:
                code = code.replace(one, b"", 1)
            return code

        return wrong

    return fault


def shift_in_red_zone(lower: Any_) -> Any_:
    """A shift by a register saves rcx under the stack pointer."""

    def wrong(insn: Insn, mode: Mode) -> bytes:
        dst, count = mode.reg(insn.dst), mode.reg(insn.src)
        if x.RCX in (dst, count):
            return bytes(lower(insn, mode))
        shift = form("shl rm64, cl")(dst)
        keep, back = b"\x48\x89\x4c\x24\xf8", b"\x48\x8b\x4c\x24\xf8"  # mov [rsp - 8], rcx and back
        return keep + alu.mov64(x.RCX, count) + shift + back

    return wrong


def shift_without_saving(lower: Any_) -> Any_:
    """A shift by a register goes through rcx, which is not saved."""

    def wrong(insn: Insn, mode: Mode) -> bytes:
        dst, count = mode.reg(insn.dst), mode.reg(insn.src)
        if x.RCX in (dst, count):
            return bytes(lower(insn, mode))
        return alu.mov64(x.RCX, count) + form("shl rm64, cl")(dst)

    return wrong


def swapped(lower: Any_) -> Any_:
    """Source and destination exchanged."""

    def wrong(insn: Insn, mode: Mode) -> Any:
        return lower(insn if insn.off == 0 else replace(insn, dst=insn.src, src=insn.dst), mode)

    return wrong


def no_sign(base: Callable[[Insn], int]) -> Callable[[Any_], Any_]:
    """A negative displacement from the frame pointer loses its sign."""

    def fault(lower: Any_) -> Any_:
        def wrong(insn: Insn, mode: Mode) -> Any:
            if base(insn) == isa.FP and insn.off < 0:
                return lower(replace(insn, off=-insn.off), mode)
            return lower(insn, mode)

        return wrong

    return fault
