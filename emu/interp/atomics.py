"""Atomic operations: reads and writes of memory that nothing can come between. Source: RFC 9669 section 5.3, and
Linux for load_acquire and store_release. Here each is a plain read and write, as there is one CPU only.
"""

from bpf import isa
from bpf.isa import U64
from emu.interp.alu import ALU64, Binary
from emu.interp.state import Frame, Machine, Op

# What is stored, from the old value and the source register. The store cuts it to its width.
_STORED: dict[int, Binary] = {
    isa.ADD: ALU64[isa.ADD],
    isa.OR: ALU64[isa.OR],
    isa.AND: ALU64[isa.AND],
    isa.XOR: ALU64[isa.XOR],
    isa.XCHG & ~isa.FETCH: lambda _, b: b & U64,
}


def read_modify_write(machine: Machine, frame: Frame, op: Op) -> Frame:
    """add, or, and, xor, with or without fetch, and xchg: (kind, handler, dst, src, (off, size, imm))."""
    _, _, dst, src, (off, size, imm) = op
    regs = frame.regs
    addr = (regs[dst] + off) & U64
    machine.memory.find(addr, size, "write")
    old = machine.memory.load(addr, size)
    machine.memory.store(addr, size, _STORED[imm & ~isa.FETCH](old, regs[src]))
    if imm & isa.FETCH:
        regs[src] = old
    return frame


def compare_exchange(machine: Machine, frame: Frame, op: Op) -> Frame:
    """cmpxchg: stores src where memory equals r0; r0 is what was there. Fields as above."""
    _, _, dst, src, (off, size, _) = op
    regs = frame.regs
    addr = (regs[dst] + off) & U64
    expected = regs[isa.R0] & ((1 << 8 * size) - 1)
    value = regs[src] & U64
    machine.memory.find(addr, size, "write")
    old = machine.memory.load(addr, size)
    if old == expected:
        machine.memory.store(addr, size, value)
    regs[isa.R0] = old
    return frame


def load_acquire(machine: Machine, frame: Frame, op: Op) -> Frame:
    """dst = *(src + off), zero-extended. Fields as above."""
    _, _, dst, src, (off, size, _) = op
    frame.regs[dst] = machine.memory.load((frame.regs[src] + off) & U64, size)
    return frame


def store_release(machine: Machine, frame: Frame, op: Op) -> Frame:
    """*(dst + off) = low bytes of src. Fields as above."""
    _, _, dst, src, (off, size, _) = op
    machine.memory.store((frame.regs[dst] + off) & U64, size, frame.regs[src] & U64)
    return frame


# By immediate; all others read, modify and write.
HANDLERS = {isa.CMPXCHG: compare_exchange, isa.LOAD_ACQ: load_acquire, isa.STORE_REL: store_release}
