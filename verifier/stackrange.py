"""Ranges of the r10 stack: which offsets an access may have, and what a call may do with the bytes that it is given.

Sources: check_stack_access_within_bounds and check_stack_range_initialized of kernel/bpf/verifier.c. Loads and stores of
instructions are verifier/stack.py's.
"""

from typing import Any, Final

from bpf import isa
from verifier.env import Env
from verifier.regs import NOT_INIT_REG, Reg
from verifier.state import (
    MAX_BPF_STACK,
    STACK_INVALID,
    STACK_MISC,
    STACK_POISON,
    STACK_SPILL,
    STACK_ZERO,
    FuncState,
    Slot,
)
from verifier.wording import argno_name, tnum_text

BPF_READ: Final = 1
BPF_WRITE: Final = 2
BPF_MAX_VAR_OFF: Final = 1 << 29

# bytes that a load may take as they are: written, zero, or (privileged) never written
READABLE: Final = bytes((STACK_MISC, STACK_ZERO, STACK_INVALID))
# what a byte becomes when the object that it was part of is overwritten (scrub_spilled_slot)
SCRUB: Final = bytes(kind if kind in (STACK_INVALID, STACK_POISON) else STACK_MISC for kind in range(256))


def get_spi(off: int) -> int:
    """Slot of the byte at fp+off (bpf_get_spi)."""
    return (-off - 1) // 8


def check_stack_access_within_bounds(
    env: Env, reg: Reg, argno: int, off: int, access_size: int, access: int
) -> None:
    """Every offset that the pointer may have lies in the frame's 512 bytes; the frame grows to the lowest."""
    what = " read from" if access == BPF_READ else " write to"
    num = reg.num
    if not num.mask:
        min_off = num.signed_value + off
        max_off = min_off + access_size
    else:
        low, high = num.smin, num.smax
        if high >= BPF_MAX_VAR_OFF or low <= -BPF_MAX_VAR_OFF:
            env.refuse("EACCES", f"invalid unbounded variable-offset{what} stack {argno_name(argno)}")
        min_off = low + off
        max_off = high + off + access_size
    errno = ""
    if min_off < -MAX_BPF_STACK or min_off > -1:
        errno = "EACCES"
    elif max_off > 0:
        errno = "EINVAL"
    elif access_size < 0:
        errno = "EFAULT"
    if errno:
        name = argno_name(argno)
        if not num.mask:
            env.refuse(errno, f"invalid{what} stack {name} off={min_off} size={access_size}")
        text = tnum_text(num.value, num.mask)
        env.refuse(
            errno,
            f"invalid variable-offset{what} stack {name} var_off={text} off={off} size={access_size}",
        )
    frame = env.cur_state.frames[reg.frameno]
    size = -min_off + 7 & ~7
    if len(frame.stack) * 8 < size:
        frame.grow_stack(size)
        subprog = env.subprogs[frame.subprogno]
        subprog.stack_depth = max(subprog.stack_depth, size)


def check_stack_range_initialized(
    env: Env,
    reg: Reg,
    argno: int,
    off: int,
    access_size: int,
    zero_size_allowed: bool,
    access: int,
    meta: Any,
) -> None:
    """A call gets access_size bytes from fp+off: they are readable, and data (or anything) after a write.

    access_size < 0: a global function's argument, whose dead bytes may be passed. meta: of the call; where it names
    this register as one whose memory the call fills (raw_mem_regno), nothing has to be there, and raw_mem_size tells
    the caller how much is written.
    """
    allow_poison = access_size < 0 or access == BPF_WRITE
    access_size = abs(access_size)
    if not access_size and not zero_size_allowed:
        env.refuse("EACCES", "invalid zero-sized read")
    check_stack_access_within_bounds(env, reg, argno, off, access_size, access)
    num = reg.num
    if not num.mask:
        min_off = max_off = num.signed_value + off
        if meta is not None and meta.raw_mem_regno == _register(argno):
            meta.raw_mem_size = access_size
            return
    else:
        min_off, max_off = num.smin + off, num.smax + off
    frame = env.cur_state.frames[reg.frameno]
    at = min_off
    end = max_off + access_size
    while at < end:
        spi = get_spi(at)
        stop = min(end, -8 * spi)
        bad = _use_slot(frame, spi, at, stop, access == BPF_WRITE, allow_poison)
        if bad is not None:
            _refuse_range(env, reg, argno, frame.stack[spi].types[(-bad - 1) & 7], min_off, bad, access_size)
        at = stop


def _register(argno: int) -> int:
    """The register that an argument is in, -1 for a stack-argument slot (reg_from_argno)."""
    if argno >= 0:
        return argno
    return -argno if argno >= -isa.MAX_REG_ARGS else -1


def _use_slot(
    frame: FuncState, spi: int, start: int, stop: int, clobber: bool, allow_poison: bool
) -> int | None:
    """Bytes start..stop-1 of one slot; the first offset that may not be used, or None."""
    slot = frame.stack[spi]
    types = slot.types
    is_spilled = types[7] == STACK_SPILL
    bad = None
    for off in range(start, stop):
        byte = (-off - 1) & 7
        kind = types[byte]
        if kind in READABLE:
            if clobber:
                types = types[:byte] + bytes((STACK_MISC,)) + types[byte + 1 :]
        elif is_spilled:
            if clobber:
                types = types.translate(SCRUB)
                is_spilled = False
        elif kind != STACK_POISON or not allow_poison:
            bad = off
            break
    if types is not slot.types:
        frame.stack[spi] = Slot(types, slot.reg if types[7] == STACK_SPILL else NOT_INIT_REG)
    return bad


def _refuse_range(env: Env, reg: Reg, argno: int, kind: int, min_off: int, bad: int, size: int) -> None:
    name = argno_name(argno)
    if kind == STACK_POISON:
        text = f"reading from stack {name} off {min_off}+{bad - min_off} size {size}"
        env.refuse("EACCES", f"{text}, slot poisoned by dead code elimination")
    if not reg.num.mask:
        env.refuse("EACCES", f"invalid read from stack {name} off {min_off}+{bad - min_off} size {size}")
    var_off = tnum_text(reg.num.value, reg.num.mask)
    env.refuse("EACCES", f"invalid read from stack {name} var_off {var_off}+{bad - min_off} size {size}")
