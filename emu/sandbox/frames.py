"""Frames on the native stack: the chain of frame pointers, and which frame an address belongs to."""

import struct

from bpf import isa
from emu.outcome import ABOVE, Pointer
from emu.sandbox import addresses
from emu.sandbox.entry import entry_rsp
from emu.sandbox.gates import Gates
from emu.sandbox.images import CodeMap

_MAX_FRAMES = 64
_WORD = struct.Struct("<Q")
TOP = addresses.STACK + addresses.STACK_SIZE


def chain(stack: memoryview, rbp: int) -> tuple[int, ...]:
    """Frame pointers from `rbp` outwards, as far as they are a chain."""
    frames: list[int] = []
    while addresses.STACK <= rbp <= TOP - 16 and rbp % 8 == 0 and len(frames) < _MAX_FRAMES:
        frames.append(rbp)
        (outer,) = _WORD.unpack_from(stack, rbp - addresses.STACK)
        if outer <= rbp:
            break
        rbp = outer
    return tuple(frames)


def behind_gates(gates: Gates) -> tuple[int, ...]:
    """Frame pointers from the innermost function outwards, whatever kind of frames they have: each has been through a gate."""
    entered = gates.entries(_MAX_FRAMES)
    return (*(entry - 8 for entry in reversed(entered)), entry_rsp() - 8)


def owners(gates: Gates) -> tuple[int, ...]:
    """The gates of the functions whose frames `behind_gates` gives; the main function's is 0."""
    return (*reversed(gates.numbers(_MAX_FRAMES)), 0)


def pointer(
    value: int, frames: tuple[int, ...], rsp: int, code: CodeMap, owned: tuple[int, ...] = ()
) -> Pointer | None:
    """An address in a frame's program stack, of a function, or of an instruction that a jump table names, in terms that no
    engine owns.

    frames: frame pointers, innermost first; rsp: the lowest address of the innermost one. owned: gates of their
    functions, where any has its stack in per-CPU memory.
    """
    for inner, number in enumerate(owned):
        low, top = code.private.get(number, (1, 0))
        if low <= value <= top:
            return Pointer("stack", len(owned) - 1 - inner, value - top)
    if addresses.STACK <= value < TOP:
        low = rsp
        for inner, rbp in enumerate(frames):
            if low < value <= rbp + ABOVE:
                off = value - rbp
                number = len(frames) - 1 - inner
                return Pointer("stack", number, off) if off >= -isa.MAX_STACK or not code.usual else None
            low = rbp + 8
        return None
    function = code.numbers.get(value)
    if function is not None:
        return Pointer("func", function, 0)
    insn = code.targets.get(value)
    return None if insn is None else Pointer("code", insn, 0)
