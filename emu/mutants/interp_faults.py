"""What goes wrong in the reference interpreter; one function a fault, as in the other files of faults."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bpf import isa
from bpf.insn import Insn
from bpf.isa import U32, U64
from emu.interp.alu import s32, s64

Any_ = Callable[..., Any]


def always(function: Any_) -> Callable[[Any_], Any_]:
    """Another function altogether."""
    return lambda _right: function


def floor_division(_quotient: Any_) -> Any_:
    """Quotients of signed numbers are rounded down."""
    return lambda a, b: a // b if b else 0


def sign_of_divisor(_remainder: Any_) -> Any_:
    """Remainders have the sign of the divisor."""
    return lambda a, b: a % b if b else a


def all_ones(_div: Any_) -> Any_:
    """x / 0 is all ones."""
    return lambda a, b: a // b if b > 0 else a | U64


def overflow(_div: Any_) -> Any_:
    """MIN s/ -1 is the largest signed number."""

    def wrong(a: int, b: int) -> int:
        if a == 1 << 63 and b == U64:
            return (1 << 63) - 1
        x, y = s64(a), s64(b)
        if y == 0:
            return 0
        quotient = abs(x) // abs(y)
        return (quotient if (x < 0) == (y < 0) else -quotient) & U64

    return wrong


def next_way(jump: Any_) -> Any_:
    """An indirect jump goes to the way behind the one that was chosen, from the last to the first."""

    def wrong(machine: Any, frame: Any, op: Any) -> Any:
        ways = sorted(op[3])
        following = dict(zip(ways, ways[1:] + ways[:1], strict=True))
        turned = {addr: op[3][following[addr]] for addr in ways}
        return jump(machine, frame, (*op[:3], turned, *op[4:]))

    return wrong


def plain_cast(_machine: Any, frame: Any, op: Any) -> Any:
    """The low half of an address, and nothing else."""
    frame.regs[op[2]] = frame.regs[op[3]] & U32
    return frame


def wide_cast(move: Any_) -> Any_:
    """An addr_space_cast moves all 64 bits."""

    def wrong(insn: Insn, wide: bool) -> Any:
        return (lambda _, b: b & U64) if wide and insn.off == isa.OFF_ADDR_SPACE_CAST else move(insn, wide)

    return wrong


def kept_at_fault(load: Any_) -> Any_:
    """A load that finds no page changes nothing."""

    def wrong(machine: Any, frame: Any, op: Any) -> Any:
        insn, pages = op[2], op[3]
        before, addr = frame.regs[insn.dst], frame.regs[insn.src] + insn.off
        load(machine, frame, op)
        if addr // 4096 not in pages.memory.pages and before is not None:
            frame.regs[insn.dst] = before
        return frame

    return wrong


def other_insn(change: Callable[[Insn], Insn]) -> Callable[[Any_], Any_]:
    """An instruction is taken for another one."""

    def fault(right: Any_) -> Any_:
        def wrong(insn: Insn, *rest: Any) -> Any:
            return right(change(insn), *rest)

        return wrong

    return fault


def unsigned_load(insn: Insn) -> Insn:
    """A load that extends with zeros."""
    return replace(insn, code=insn.code & ~isa.MODE_MASK | isa.MEM) if insn.mode == isa.MEMSX else insn


def signed_load(insn: Insn) -> Insn:
    """A load of 4 bytes that extends with the sign."""
    plain = insn.code == isa.LDX | isa.MEM | isa.W
    return replace(insn, code=isa.LDX | isa.MEMSX | isa.W) if plain else insn


def unsigned_store(st: Any_) -> Any_:
    """The immediate of a store of 8 bytes is extended with zeros."""

    def wrong(insn: Insn) -> Any:
        op = st(insn)
        if insn.code != isa.ST | isa.MEM | isa.DW or insn.dst == isa.REG_PARAMS:
            return op
        *rest, (last, pack, size, _) = op
        return (*rest, (last, pack, size, insn.imm & U32))

    return wrong


def unsigned_argument(st: Any_) -> Any_:
    """The immediate of a stored stack argument is extended with zeros."""

    def wrong(insn: Insn) -> Any:
        op = st(insn)
        if insn.code != isa.ST | isa.MEM | isa.DW or insn.dst != isa.REG_PARAMS:
            return op
        kind, slot, src, _, rest = op
        return (kind, slot, src, insn.imm & U32, rest)

    return wrong


def unsigned_condition(conditional: Any_) -> Any_:
    """The immediate of a 64-bit comparison is extended with zeros."""

    def wrong(insn: Insn) -> Any:
        op = conditional(insn)
        if insn.code & isa.X or insn.cls != isa.JMP:
            return op
        return (*op[:3], insn.imm & U32, *op[4:])

    return wrong


def low_half_of_wide(wide: Any_) -> Any_:
    """Of a 64-bit immediate the low half, extended with the sign."""

    def wrong(decoder: Any, at: int, insn: Insn, high: int) -> Any:
        value = wide(decoder, at, insn, high)
        return value if insn.src else isa.sext(value, 32)

    return wrong


# ---- calls


def frame_changed(change: Callable[[Any], None]) -> Callable[[Any_], Any_]:
    """Something is done to the caller's frame before the call."""

    def fault(call: Any_) -> Any_:
        def wrong(machine: Any, frame: Any, op: Any) -> Any:
            change(frame)
            return call(machine, frame, op)

        return wrong

    return fault


def slots_7_8_swapped(frame: Any) -> None:
    """Arguments 7 and 8 change places, where both are there."""
    if frame.out[2] is not None:
        frame.out[1:3] = frame.out[2], frame.out[1]


def slots_reversed(frame: Any) -> None:
    """Stack arguments in reverse order."""
    count = next((at for at, word in enumerate(frame.out) if word is None), len(frame.out))
    frame.out[:count] = frame.out[:count][::-1]


def slots_shifted(frame: Any) -> None:
    """Each stack argument one slot further up, the first one twice."""
    count = next((at for at, word in enumerate(frame.out) if word is None), len(frame.out))
    if count > 1:
        frame.out[1:count] = frame.out[: count - 1]


def r1_r2_swapped(frame: Any) -> None:
    """The first two arguments change places, where both are there."""
    if frame.regs[2] is not None and frame.regs[1] is not None:
        frame.regs[1:3] = frame.regs[2], frame.regs[1]


def leaks(register: int) -> Callable[[Any_], Any_]:
    """A callee-saved register comes back as the callee left it."""

    def fault(leave: Any_) -> Any_:
        def wrong(machine: Any, frame: Any, op: Any) -> Any:
            back = leave(machine, frame, op)
            if back is not None and frame.waiting is None and frame.regs[register] is not None:
                back.regs[register] = frame.regs[register]
            return back

        return wrong

    return fault


def narrow_result(leave: Any_) -> Any_:
    """A function returns 32 bits."""

    def wrong(machine: Any, frame: Any, op: Any) -> Any:
        if frame.number and frame.regs[0] is not None and frame.regs[0] >> 63:
            frame.regs[0] &= U32
        return leave(machine, frame, op)

    return wrong


# ---- atomics


def fetches_new(change: Any_) -> Any_:
    """A fetch gives the new value."""

    def wrong(machine: Any, frame: Any, op: Any) -> Any:
        _, _, dst, src, (off, size, imm) = op
        addr = (frame.regs[dst] + off) & U64
        out = change(machine, frame, op)
        if imm & isa.FETCH:
            frame.regs[src] = machine.memory.load(addr, size)
        return out

    return wrong


def whole_r0(exchange: Any_) -> Any_:
    """A 32-bit compare-exchange compares all of r0."""

    def wrong(machine: Any, frame: Any, op: Any) -> Any:
        _, _, dst, _src, (off, size, _imm) = op
        if size == 4 and frame.regs[0] >> 32:
            frame.regs[0] = machine.memory.load((frame.regs[dst] + off) & U64, size)
            return frame
        return exchange(machine, frame, op)

    return wrong


def r0_kept(exchange: Any_) -> Any_:
    """A compare-exchange that stores leaves r0 as it was, upper half and all."""

    def wrong(machine: Any, frame: Any, op: Any) -> Any:
        before = frame.regs[0]
        out = exchange(machine, frame, op)
        if frame.regs[0] == before & ((1 << 8 * op[4][1]) - 1):
            frame.regs[0] = before
        return out

    return wrong


# ---- single results


def unsigned_arsh32(a: int, b: int) -> int:
    """w s>>= as w >>=."""
    return (a & U32) >> (b & 31)


def wrong_count(a: int, b: int) -> int:
    """<<= with a count of 5 bits."""
    return (a << (b & 31)) & U64


def unmasked_count(a: int, b: int) -> int:
    """w >>= with a count of 6 bits."""
    return (a & U32) >> (b & 63)


def unsigned_less(a: int, b: int) -> bool:
    """s< as <."""
    return a < b


def whole_greater(a: int, b: int) -> bool:
    """w > as r >."""
    return a > b


def half_set(a: int, b: int) -> bool:
    """& of the low halves only."""
    return a & b & U32 != 0


def add_wide(a: int, b: int) -> int:
    """w += with 64 bits of result."""
    return (a + b) & U64


def mul_signed32(a: int, b: int) -> int:
    """w *= whose result is extended with the sign."""
    return (s32(a) * s32(b)) & U64


def neg_wide(a: int, _b: int) -> int:
    """w = -w with 64 bits of result."""
    return -a & U64


def move_wide(_a: int, b: int) -> int:
    """w = w with 64 bits of result."""
    return b & U64


def byte_unsigned(_a: int, b: int) -> int:
    """(s8) as (u8)."""
    return b & 0xFF


def swap_keeps(a: int, _b: int) -> int:
    """bswap16 keeps the upper bytes."""
    return a & ~0xFFFF & U64 | (a & 0xFF) << 8 | a >> 8 & 0xFF


def not_cut(a: int, _b: int) -> int:
    """le32 does not cut."""
    return a & U64
