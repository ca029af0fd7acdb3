"""Objects that live on the stack and that only helpers and kfuncs may touch: where a pointer to one points.

Sources: stack_slot_obj_get_spi, is_spi_bounds_valid of kernel/bpf/verifier.c.
"""

from typing import Final

from verifier.env import Env
from verifier.memory import check_mem_access
from verifier.regions import BPF_WRITE
from verifier.regs import Reg
from verifier.state import BPF_REG_SIZE

# What get_spi answers instead of a slot: not such a place; not yet part of the frame's stack.
EINVAL: Final = -22
ERANGE: Final = -34


def get_spi(env: Env, reg: Reg, kind: str, nr_slots: int) -> int:
    """Slot that `reg` points to (the highest of nr_slots), EINVAL (with a line in the log) or ERANGE."""
    if not reg.is_const:
        env.write(f"{kind} has to be at a constant offset\n")
        return EINVAL
    off = reg.num.signed_value
    spi = (-off - 1) // BPF_REG_SIZE
    if off % BPF_REG_SIZE or spi + 1 < nr_slots:
        env.write(f"cannot pass in {kind} at an offset={off}\n")
        return EINVAL
    if spi >= len(env.cur_state.frames[reg.frameno].stack):
        return ERANGE
    return spi


def check_write(env: Env, reg: Reg, argno: int, size: int) -> None:
    """`size` bytes from the pointer (argument 1..12) are written, 8 at a time; grows the stack."""
    for off in range(0, size, BPF_REG_SIZE):
        check_mem_access(env, env.insn_idx, -argno, off, BPF_REG_SIZE, BPF_WRITE, -1, reg=reg)
