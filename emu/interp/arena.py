"""Instructions that go through a pointer into an arena, or calculate one.

Which they are the verifier says, since types alone tell: such an address is 32 bits, its arithmetic is 32 bits wide, and
an access finds the byte at the arena's base plus the address. Where no page is, a load gives 0 and a store is lost.

Same form as calls.py: a function carries out an op and answers with the frame to go on with.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bpf import isa
from bpf.insn import Insn
from bpf.isa import U64, sext
from emu.interp import atomics
from emu.interp.ops import CALL_OUT, plain
from emu.interp.state import Frame, Machine, Op
from emu.runtime.maps_arena import ArenaMap
from emu.runtime.memory import GuestFault

_CAST = isa.ALU64 | isa.MOV | isa.X
_TO_USER = 1 << 16  # immediate of an addr_space_cast from the kernel's address space to the user's


@dataclass(frozen=True, slots=True)
class _Pages:
    """What the atomic operations take for a machine: its memory is the arena."""

    memory: ArenaMap


def ops(insns: tuple[Insn, ...], arena: ArenaMap, uses: frozenset[int]) -> dict[int, Op]:
    """The ops of instructions that are not what they are elsewhere. uses: instructions that go through the arena."""
    pages = _Pages(arena)
    found: dict[int, Op] = {}
    for at, insn in enumerate(insns):
        if insn.code == _CAST and insn.off == isa.OFF_ADDR_SPACE_CAST and insn.imm == _TO_USER:
            found[at] = (CALL_OUT, _cast, insn.dst, insn.src, arena)
        elif at in uses and insn.cls == isa.ALU64:
            found[at] = plain(replace(insn, code=isa.ALU | insn.code & ~isa.CLASS_MASK))
        elif at in uses:
            found[at] = (CALL_OUT, _handler(insn), insn, pages, None)
    return found


def _handler(insn: Insn) -> Callable[[Machine, Frame, Op], Frame]:
    if insn.cls == isa.LDX:
        return _load
    return _atomic if insn.cls == isa.STX and insn.mode == isa.ATOMIC else _store


def _cast(_machine: Machine, frame: Frame, op: Op) -> Frame:
    """An address of the program's as user space sees it."""
    _, _, dst, src, arena = op
    frame.regs[dst] = arena.to_user(frame.regs[src] & U64)
    return frame


def _load(_machine: Machine, frame: Frame, op: Op) -> Frame:
    insn, pages = op[2], op[3]
    addr = frame.regs[insn.src] + insn.off
    try:
        value = pages.memory.load(addr, insn.size)
    except GuestFault:
        value = 0
    frame.regs[insn.dst] = sext(value, 8 * insn.size) & U64 if insn.mode == isa.MEMSX else value
    return frame


def _store(_machine: Machine, frame: Frame, op: Op) -> Frame:
    insn, pages = op[2], op[3]
    addr = frame.regs[insn.dst] + insn.off
    value = (insn.imm if insn.cls == isa.ST else frame.regs[insn.src]) & U64
    try:
        pages.memory.store(addr, insn.size, value)
    except GuestFault:
        return frame
    return frame


def _atomic(_machine: Machine, frame: Frame, op: Op) -> Frame:
    """Where there is no page, the register that would have what was there is 0."""
    insn, pages = op[2], op[3]
    handler = atomics.HANDLERS.get(insn.imm, atomics.read_modify_write)
    try:
        handler(pages, frame, (*op[:2], insn.dst, insn.src, (insn.off, insn.size, insn.imm)))
    except GuestFault:
        loaded = _loaded(insn)
        if loaded is not None:
            frame.regs[loaded] = 0
    return frame


def _loaded(insn: Insn) -> int | None:
    if insn.imm == isa.LOAD_ACQ:
        return insn.dst
    if insn.imm == isa.CMPXCHG:
        return isa.R0
    return insn.src if insn.imm & isa.FETCH and insn.imm != isa.STORE_REL else None
