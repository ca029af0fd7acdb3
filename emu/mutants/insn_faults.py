"""What goes wrong in stack arguments and in other single instructions; as frame_faults, one function a fault."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bpf import isa
from bpf.insn import Insn
from emu.mutants.mutant import replace_at
from jit import alu
from jit.emitted import Emitted
from jit.layout import Plan
from jit.memory import store_number, store_reg
from jit.mode import Mode
from jit.regmap import ARG6, FP
from jit.x64 import registers as x
from jit.x64.encoder import Mem, form

Any_ = Callable[..., Any]
_STX_DW = isa.STX | isa.MEM | isa.DW


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


def through_rax(jump: Any_) -> Any_:
    """An indirect jump takes its target from rax."""

    def wrong(out: Emitted, profile: Any, _reg: int, slot: int) -> None:
        jump(out, profile, x.RAX, slot)

    return wrong


def null_is_cast(cast: Any_) -> Any_:
    """The cast of an address for user space does not look whether it is 0."""

    def wrong(*args: Any) -> bytes:
        code = bytes(cast(*args))
        return code[: code.index(bytes.fromhex("4d31db"))]  # xor r11, r11, which is to take the place of 0

    return wrong


def nothing_loaded(_loaded: Any_) -> Any_:
    """No access of the arena has a register that becomes 0."""
    return lambda _insn: None


def no_sign(base: Callable[[Insn], int]) -> Callable[[Any_], Any_]:
    """A negative displacement from the frame pointer loses its sign."""

    def fault(lower: Any_) -> Any_:
        def wrong(insn: Insn, mode: Mode) -> Any:
            if base(insn) == isa.FP and insn.off < 0:
                return lower(replace(insn, off=-insn.off), mode)
            return lower(insn, mode)

        return wrong

    return fault
