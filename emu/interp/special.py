"""Instructions of Linux that RFC 9669 does not have or no longer recommends: packet loads, may_goto and indirect jumps.

Same form as calls.py: a function carries out an op and answers with the frame to go on with.
"""

from bpf.isa import sext
from emu.interp.calls import leave
from emu.interp.state import MAY_GOTO_ROUNDS, Frame, Machine, Op, Stop

_CTX = 6  # packet loads take the context from r6


def load_packet(machine: Machine, frame: Frame, op: Op) -> Frame | None:
    """LD_ABS and LD_IND: (kind, handler, register or None, imm, size).

    Outside of the packet the function returns 0 at once. Offsets are 32 bits and signed, as those of the kernel's
    bpf_skb_load_helper_*; r1..r5 are gone afterwards.
    """
    _, _, src, imm, size = op
    regs = frame.regs
    if regs[_CTX] is None:
        raise TypeError
    if regs[_CTX] != machine.ctx:
        raise Stop("call", f"r6 is {regs[_CTX]:#x}, not the context")
    off = imm if src is None else sext(regs[src] + imm, 32)
    value = machine.world.skb_load(off, size)
    regs[1:6] = (None,) * 5
    regs[0] = 0 if value is None else value
    return leave(machine, frame, op) if value is None else frame


def may_goto(_machine: Machine, frame: Frame, op: Op) -> Frame:
    """May leave a loop: (kind, handler, target). Falls through 65535 times, and after one refresh 65535 times more.

    The kernel asks a clock at the end of each 65535 rounds and goes on until 250 ms are over; here the first
    question of an activation is answered with "go on", the second with "leave".
    """
    if frame.rounds == 0:
        frame.pc = op[2]
        return frame
    frame.rounds -= 1
    if frame.rounds == 0 and not frame.refreshed:
        frame.rounds = MAY_GOTO_ROUNDS
        frame.refreshed = True
    return frame


def indirect_jump(_machine: Machine, frame: Frame, op: Op) -> Frame:
    """gotox: (kind, handler, register, addresses of the jump tables -> instruction)."""
    _, _, reg, targets, _ = op
    value = frame.regs[reg]
    if value is None:
        raise TypeError
    target = targets.get(value)
    if target is None:
        raise Stop("fetch", f"r{reg} is {value:#x}, no entry of a jump table")
    frame.pc = target
    return frame


def no_operation(_machine: Machine, frame: Frame, _op: Op) -> Frame:
    """nospec: a barrier against speculation, of which there is none here."""
    return frame
