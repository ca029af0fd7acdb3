"""The r10 stack: reads and writes at fixed and variable offsets, spilled registers.

A slot is 8 bytes with a kind for each byte (verifier/state.py). A register stored whole stays what it is ("spill") and
comes back by a load ("fill"); other bytes are only known to be written, or to be zero. Sources: check_stack_* of
kernel/bpf/verifier.c. The loader is privileged, so bytes never written may be read.
"""

from typing import Final

from verifier.env import Env
from verifier.history import SPILL, WRITE, reg_place, slot_place
from verifier.links import assign_scalar_id_before_mov, clear_scalar_id
from verifier.precision import mark_chain_precision, mark_slots_precise, push_jmp_history
from verifier.references import destroy_if_dynptr_stack_slot
from verifier.regs import NOT_INIT_REG, PTR_TO_STACK, SCALAR_VALUE, UNKNOWN_REG, Reg, const_reg
from verifier.stackrange import (
    BPF_READ,
    READABLE,
    SCRUB,
    check_stack_access_within_bounds,
    check_stack_range_initialized,
    get_spi,
)
from verifier.state import (
    INSN_F_STACK_ACCESS,
    SPILL_BYTES,
    STACK_DYNPTR,
    STACK_INVALID,
    STACK_IRQ_FLAG,
    STACK_ITER,
    STACK_MISC,
    STACK_POISON,
    STACK_SPILL,
    STACK_ZERO,
    FuncState,
    Slot,
)
from verifier.wording import tnum_text

_ST_MEM: Final = 0x62  # class ST, mode MEM, without the size bits
_ST_MEM_MASK: Final = 0xE7
_NO_FASTCALL: Final = -(1 << 15)

_SPILL_BYTE: Final = bytes((STACK_SPILL,))
_SPECIAL: Final = bytes((STACK_SPILL, STACK_DYNPTR, STACK_ITER, STACK_IRQ_FLAG))
# the same beside a narrow spill, where known zeroes stay (mark_stack_slot_misc)
_BESIDE_SPILL: Final = bytes(
    kind if kind in (STACK_INVALID, STACK_POISON, STACK_ZERO) else STACK_MISC for kind in range(256)
)


def check_stack_access(
    env: Env, insn_idx: int, reg: Reg, argno: int, off: int, size: int, access: int, value_regno: int
) -> None:
    """A load or store of an instruction through the stack pointer `reg` (part of check_mem_access)."""
    check_stack_access_within_bounds(env, reg, argno, off, size, access)
    if access == BPF_READ:
        check_stack_read(env, reg, argno, off, size, value_regno)
    else:
        check_stack_write(env, reg, off, size, value_regno, insn_idx)


def check_fastcall_stack_contract(env: Env, frame: FuncState, insn_idx: int, off: int) -> None:
    """A slot that only fastcall patterns may use is used by something else: no pattern of this function counts."""
    subprog = env.subprogs[frame.subprogno]
    if subprog.fastcall_stack_off <= off or env.aux[insn_idx].in_fastcall:
        return
    if not subprog.has_fastcall_patterns:
        return
    subprog.fastcall_stack_off = _NO_FASTCALL
    for aux in env.aux[subprog.function.start : subprog.function.end]:
        aux.fastcall_spills_num = 0
        aux.in_fastcall = False


# ---- writes


def check_stack_write(env: Env, reg: Reg, off: int, size: int, value_regno: int, insn_idx: int) -> None:
    """Stores a register, or with value_regno -1 what the instruction holds (or anything, for a call)."""
    frame = env.cur_state.frames[reg.frameno]
    if reg.num.mask:
        _write_var_off(env, frame, reg, off, size, value_regno, insn_idx)
    else:
        _write_fixed_off(env, frame, off + reg.num.signed_value, size, value_regno, insn_idx)


def _save_register_state(env: Env, frame: FuncState, spi: int, reg: Reg, size: int) -> None:
    if env.history is not None:
        env.history.begin(slot_place(frame, spi), frame.stack[spi].reg, reason=SPILL)
    if size == 8:
        frame.stack[spi] = Slot(SPILL_BYTES, reg)
    else:
        kept = frame.stack[spi].types[: 8 - size].translate(_BESIDE_SPILL)
        frame.stack[spi] = Slot(kept + SPILL_BYTES[:size], reg)
    if env.history is not None:
        env.history.end()


def _write_fixed_off(
    env: Env, frame: FuncState, off: int, size: int, value_regno: int, insn_idx: int
) -> None:
    """check_stack_write_fixed_off: a scalar or immediate at a slot's start, or a whole pointer, is spilled."""
    spi = (-off - 1) >> 3
    reg = env.regs[value_regno] if value_regno >= 0 else None
    if frame.stack[spi].types[0] == STACK_DYNPTR:
        destroy_if_dynptr_stack_slot(env, frame, spi)
    check_fastcall_stack_contract(env, frame, insn_idx, off)
    env.scratched_stack_slots |= 1 << spi
    aligned = not off & 7
    if reg is None:
        insn = env.insns[insn_idx]
        if not aligned or insn.code & _ST_MEM_MASK != _ST_MEM:
            is_zero = insn.code & _ST_MEM_MASK == _ST_MEM and insn.imm == 0
            _write_bytes(env, frame, spi, off, size, STACK_ZERO if is_zero else STACK_MISC)
            return
        _save_register_state(env, frame, spi, const_reg(insn.imm), size)
    elif reg.type == SCALAR_VALUE:
        if not aligned:
            if reg.is_null:
                # A zero that is no spill any more cannot be traced back later, so it is precise from now on.
                mark_chain_precision(env, value_regno)
            _write_bytes(env, frame, spi, off, size, STACK_ZERO if reg.is_null else STACK_MISC)
            return
        if reg.num.umax.bit_length() <= 8 * size:
            # Only then do register and slot hold the same number.
            reg = env.regs[value_regno] = assign_scalar_id_before_mov(env, reg)
            _save_register_state(env, frame, spi, reg, size)
        else:
            _save_register_state(env, frame, spi, reg.with_id(0, reg.delta), size)
    else:
        if size != 8:
            env.refuse("EACCES", "invalid size of register spill")
        if frame is not env.cur_state.frames[-1] and reg.type == PTR_TO_STACK:
            env.refuse("EINVAL", "cannot spill pointers to stack into stack frame of the caller")
        _save_register_state(env, frame, spi, reg, size)
    push_jmp_history(env, INSN_F_STACK_ACCESS, spi, frame.frameno)


def _write_bytes(env: Env, frame: FuncState, spi: int, off: int, size: int, kind: int) -> None:
    """Bytes of one slot are written with data; what was kept there as a whole is gone."""
    types = frame.stack[spi].types
    if types[7] == STACK_SPILL and env.history is not None:
        env.history.scrub(slot_place(frame, spi), frame.stack[spi].reg, WRITE)
    if types[7] in _SPECIAL:
        types = types.translate(SCRUB)
    first = ((-off - 1) & 7) - size + 1
    frame.stack[spi] = Slot(types[:first] + bytes((kind,)) * size + types[first + size :])


def _write_var_off(
    env: Env, frame: FuncState, ptr: Reg, off: int, size: int, value_regno: int, insn_idx: int
) -> None:
    """check_stack_write_var_off: each byte in range may be written, or may stay; only zero over zero stays known."""
    min_off = ptr.num.smin + off
    max_off = ptr.num.smax + off + size
    if value_regno >= 0:
        writing_zero = env.regs[value_regno].is_null
    else:
        insn = env.insns[insn_idx]
        writing_zero = insn.code & _ST_MEM_MASK == _ST_MEM and insn.imm == 0
    for spi in range(get_spi(min_off), get_spi(max_off - 1) - 1, -1):
        if frame.stack[spi].types[0] == STACK_DYNPTR:
            destroy_if_dynptr_stack_slot(env, frame, spi)
    check_fastcall_stack_contract(env, frame, insn_idx, min_off)
    zero_used = False
    for spi in range(get_spi(min_off), get_spi(max_off - 1) - 1, -1):
        env.scratched_stack_slots |= 1 << spi
        top = min(-min_off - 1, 8 * spi + 7) - 8 * spi
        bottom = max(-max_off, 8 * spi) - 8 * spi
        zero_used |= _maybe_write_slot(frame, spi, bottom, top, writing_zero)
    if zero_used and value_regno >= 0:
        mark_chain_precision(env, value_regno)
    if env.history is not None:
        env.history.scrub_range(frame, min_off, max_off)


def _maybe_write_slot(frame: FuncState, spi: int, bottom: int, top: int, writing_zero: bool) -> bool:
    """One slot of a write at a variable offset, bytes top..bottom; whether a zero kept its meaning."""
    slot = frame.stack[spi]
    types, reg = bytearray(slot.types), slot.reg
    zero_used = False
    for byte in range(top, bottom - 1, -1):
        if (
            writing_zero
            and types[byte] == STACK_SPILL
            and types[7] == STACK_SPILL
            and reg.type == SCALAR_VALUE
            and reg.is_null
        ):
            zero_used = True
            continue
        if types[7] in _SPECIAL:
            types = bytearray(types.translate(SCRUB))
        reg = NOT_INIT_REG
        if writing_zero and types[byte] == STACK_ZERO:
            zero_used = True
        else:
            types[byte] = STACK_MISC
    frame.stack[spi] = Slot(bytes(types), reg)
    return zero_used


# ---- reads


def check_stack_read(env: Env, reg: Reg, argno: int, off: int, size: int, dst_regno: int) -> None:
    """Loads into a register; with dst_regno -1 only asks whether the bytes may be used as a number."""
    frame = env.cur_state.frames[reg.frameno]
    if not reg.num.mask:
        _read_fixed_off(env, frame, off + reg.num.signed_value, size, dst_regno)
        return
    if dst_regno < 0:
        env.refuse(
            "EACCES",
            "variable offset stack pointer cannot be passed into helper function; "
            f"var_off={tnum_text(reg.num.value, reg.num.mask)} off={off} size={size}",
        )
    check_stack_range_initialized(env, reg, argno, off, size, False, BPF_READ, None)
    min_off = reg.num.smin + off
    _mark_reg_stack_read(env, frame, min_off, reg.num.smax + off + size, dst_regno)
    check_fastcall_stack_contract(env, frame, env.insn_idx, min_off)


def _read_fixed_off(env: Env, frame: FuncState, off: int, size: int, dst_regno: int) -> None:
    """check_stack_read_fixed_off: a spilled register is filled; other bytes make an unknown number, or zero."""
    spi = (-off - 1) >> 3
    slot = frame.stack[spi]
    types = slot.types
    env.scratched_stack_slots |= 1 << spi
    check_fastcall_stack_contract(env, env.func, env.insn_idx, off)
    if dst_regno >= 0 and env.history is not None:
        env.history.begin(reg_place(env.func, dst_regno), env.regs[dst_regno], slot_place(frame, spi))
    if types[7] != STACK_SPILL:
        _check_readable(env, types, off, size)
        if dst_regno >= 0:
            _mark_reg_stack_read(env, frame, off, off + size, dst_regno)
        return
    if size != 8 or types != SPILL_BYTES:
        if slot.reg.type != SCALAR_VALUE:
            env.refuse("EACCES", "invalid size of register fill")
        if dst_regno < 0:
            return
        if not _fill_part(env, frame, off, size, dst_regno):
            return
    elif dst_regno >= 0:
        env.regs[dst_regno] = _linked_slot(env, frame, spi)
    push_jmp_history(env, INSN_F_STACK_ACCESS, spi, frame.frameno)


def _linked_slot(env: Env, frame: FuncState, spi: int) -> Reg:
    """The spilled register; a scalar gets an id first, so that slot and register stay linked."""
    slot = frame.stack[spi]
    reg = assign_scalar_id_before_mov(env, slot.reg)
    if reg is not slot.reg:
        frame.stack[spi] = Slot(slot.types, reg)
    return reg


def _fill_part(env: Env, frame: FuncState, off: int, size: int, dst_regno: int) -> bool:
    """A load of a part of a spilled scalar, or of a narrow spill; whether it is a fill for backtracking."""
    spi = (-off - 1) >> 3
    slot = frame.stack[spi]
    types = slot.types
    spill_size = 8 - len(types.rstrip(_SPILL_BYTE))
    if size <= spill_size and not off & 7:
        width = slot.reg.num.umax.bit_length()
        reg = _linked_slot(env, frame, spi) if size == 4 == spill_size and width <= 32 else slot.reg
        env.regs[dst_regno] = clear_scalar_id(reg) if width > 8 * size else reg
        return True
    _check_readable(env, types, off, size, READABLE + _SPILL_BYTE)
    first = ((-off - 1) & 7) - size + 1
    part = types[first : first + size]
    if part == SPILL_BYTES[:size] and slot.reg.is_null:
        env.regs[dst_regno] = const_reg(0)
        return True
    if part == bytes((STACK_ZERO,)) * size:
        env.regs[dst_regno] = const_reg(0)
    else:
        _mark_reg_stack_read(env, frame, off, off + size, dst_regno)
    return False


def _check_readable(env: Env, types: bytes, off: int, size: int, allowed: bytes = READABLE) -> None:
    """Each byte of the access may be taken as data."""
    first = ((-off - 1) & 7) - size + 1
    part = types[first : first + size]
    if not part.strip(allowed):
        return
    # Bytes are named from the lowest address, which is the end of the slot.
    at, kind = next((i, kind) for i, kind in enumerate(reversed(part)) if kind not in allowed)
    if kind == STACK_POISON:
        env.refuse(
            "EACCES",
            f"reading from stack off {off}+{at} size {size}, slot poisoned by dead code elimination",
        )
    env.refuse("EACCES", f"invalid read from stack off {off}+{at} size {size}")


def _mark_reg_stack_read(env: Env, frame: FuncState, min_off: int, max_off: int, dst_regno: int) -> None:
    """mark_reg_stack_read: the register becomes zero where all bytes are, whatever made them so; else unknown."""
    zero_spills = 0
    for off in range(min_off, max_off):
        spi, byte = divmod(-off - 1, 8)
        env.scratched_stack_slots |= 1 << spi
        slot = frame.stack[spi]
        kind = slot.types[byte]
        if kind == STACK_SPILL and slot.reg.is_null:
            zero_spills |= 1 << spi
        elif kind != STACK_ZERO:
            env.regs[dst_regno] = UNKNOWN_REG
            return
    env.regs[dst_regno] = const_reg(0)
    if zero_spills:
        mark_slots_precise(env, frame.frameno, zero_spills)
