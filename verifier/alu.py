"""Arithmetic instructions: on numbers through verifier/arith.py, on pointers by the rules for their offsets.

Sources: check_alu_op, adjust_reg_min_max_vals, adjust_ptr_min_max_vals, adjust_scalar_min_max_vals of
kernel/bpf/verifier.c. The loader is privileged: nothing is masked against speculation, and pointers may become numbers.
"""

from collections.abc import Callable
from typing import Final

from bpf import isa
from bpf.insn import Insn
from verifier.arith import (
    alu,
    fork_scalars,
    neg,
    offset_add,
    offset_sub,
)
from verifier.casts import byte_swap, resync, truncate_sx, truncate_sx32, zext
from verifier.env import Env, check_dst, check_src
from verifier.links import assign_scalar_id_before_mov, clear_scalar_id
from verifier.num import S32_MAX, S32_MIN, S64_MIN, UNKNOWN, Num, bounds_from_bits
from verifier.precision import mark_chain_precision
from verifier.regs import (
    BPF_ADD_CONST,
    BPF_ADD_CONST32,
    BPF_ADD_CONST64,
    CONST_PTR_TO_DYNPTR,
    CONST_PTR_TO_MAP,
    NOT_INIT,
    PTR_MAYBE_NULL,
    PTR_TO_ARENA,
    PTR_TO_BTF_ID,
    PTR_TO_BUF,
    PTR_TO_CTX,
    PTR_TO_FLOW_KEYS,
    PTR_TO_FUNC,
    PTR_TO_MAP_KEY,
    PTR_TO_MAP_VALUE,
    PTR_TO_MEM,
    PTR_TO_PACKET,
    PTR_TO_PACKET_META,
    PTR_TO_STACK,
    PTR_TO_TP_BUFFER,
    PTR_UNTRUSTED,
    SCALAR_VALUE,
    UNKNOWN_REG,
    Reg,
    base_type,
    const_reg,
)
from verifier.statelog import reg_type_str

BPF_MAX_VAR_OFF: Final = 1 << 29
_SHIFTS: Final = frozenset((isa.LSH, isa.RSH, isa.ARSH))
_BITWISE: Final = frozenset((isa.AND, isa.OR, isa.XOR))

# as messages write the operations (bpf_alu_string)
_OPERATORS: Final = {
    isa.ADD: "+=",
    isa.SUB: "-=",
    isa.MUL: "*=",
    isa.DIV: "/=",
    isa.OR: "|=",
    isa.AND: "&=",
    isa.LSH: "<<=",
    isa.RSH: ">>=",
    isa.MOD: "%=",
    isa.XOR: "^=",
    isa.ARSH: "s>>=",
}

# whose offset may change
_MOVABLE: Final = frozenset(
    {
        PTR_TO_CTX,
        PTR_TO_MAP_VALUE,
        PTR_TO_MAP_KEY,
        PTR_TO_STACK,
        PTR_TO_PACKET_META,
        PTR_TO_PACKET,
        PTR_TO_TP_BUFFER,
        PTR_TO_BTF_ID,
        PTR_TO_MEM,
        PTR_TO_BUF,
        PTR_TO_FUNC,
        CONST_PTR_TO_DYNPTR,
    }
)


def alu_handler(code: int) -> Callable[[Env, Insn], None]:
    """What checks an instruction of the classes ALU and ALU64, by opcode."""
    op = code & isa.OP_MASK
    if op == isa.MOV:
        return _mov if code & isa.X else _mov_imm
    if op in (isa.END, isa.NEG):
        return _unary
    return _binary if code & isa.X or op in (isa.DIV, isa.MOD) or op in _SHIFTS else _binary_imm


# ---- one operand


def _unary(env: Env, insn: Insn) -> None:
    op = insn.code & isa.OP_MASK
    reg = check_src(env, insn.dst)
    check_dst(env, insn.dst, mark=False)
    if reg.type != SCALAR_VALUE:
        env.regs[insn.dst] = UNKNOWN_REG
        return
    is64 = insn.code & isa.CLASS_MASK == isa.ALU64
    if op == isa.NEG:
        env.regs[insn.dst] = reg.with_num(neg(reg.num, not is64)).with_id(0)
        return
    swap = is64 or bool(insn.code & isa.TO_BE)
    if swap or insn.imm != 64:
        reg = clear_scalar_id(reg)
    env.regs[insn.dst] = reg.with_num(byte_swap(reg.num, insn.imm, swap))


def _mov_imm(env: Env, insn: Insn) -> None:
    check_dst(env, insn.dst, mark=False)
    is64 = insn.code & isa.CLASS_MASK == isa.ALU64
    env.regs[insn.dst] = const_reg(insn.imm if is64 else insn.imm & isa.U32)


def _mov(env: Env, insn: Insn) -> None:
    is64 = insn.code & isa.CLASS_MASK == isa.ALU64
    is_cast = insn.off == isa.OFF_ADDR_SPACE_CAST
    if is_cast and not env.has_arena:
        env.refuse(
            "EINVAL",
            "addr_space_cast insn can only be used in a program that has an associated arena",
        )
    src = check_src(env, insn.src)
    check_dst(env, insn.dst, mark=False)
    if not is64:
        env.regs[insn.dst] = _mov32(env, insn, src)
    elif insn.imm:
        env.regs[insn.dst] = Reg(PTR_TO_ARENA, UNKNOWN) if insn.imm == 1 else UNKNOWN_REG
    elif insn.off == 0:
        src = env.regs[insn.src] = assign_scalar_id_before_mov(env, src)
        env.regs[insn.dst] = src
    elif src.type == SCALAR_VALUE:
        env.regs[insn.dst] = _extended(env, insn, src, truncate_sx(src.num, insn.off >> 3))
    else:
        env.regs[insn.dst] = UNKNOWN_REG


def _beside_arena(env: Env, insn: Insn, kind: int) -> None:
    """64-bit arithmetic on addresses in an arena becomes 32-bit arithmetic: it cannot be on numbers, too."""
    if insn.code & isa.CLASS_MASK != isa.ALU64:
        return
    aux = env.aux[env.insn_idx]
    if aux.ptr_type not in (NOT_INIT, kind):
        env.refuse("EINVAL", "same insn cannot be used with and without arena pointer")
    aux.ptr_type = kind


def _extended(env: Env, insn: Insn, src: Reg, num: Num) -> Reg:
    """A sign-extending move: source and result stay linked where they are certainly equal."""
    if src.num.umax < 1 << (insn.off - 1):
        src = env.regs[insn.src] = assign_scalar_id_before_mov(env, src)
        return src.with_num(num)
    return clear_scalar_id(src).with_num(num)


def _mov32(env: Env, insn: Insn, src: Reg) -> Reg:
    """The low half, its upper half zero: linked where the source has nothing there."""
    if src.type != SCALAR_VALUE:
        return Reg(SCALAR_VALUE, zext(UNKNOWN))
    if insn.off:
        return _extended(env, insn, src, truncate_sx32(src.num, insn.off >> 3))
    if src.num.umax <= isa.U32:
        src = env.regs[insn.src] = assign_scalar_id_before_mov(env, src)
    else:
        src = clear_scalar_id(src)
    return src.with_num(zext(src.num))


# ---- two operands


def _binary_imm(env: Env, insn: Insn) -> None:
    """With a constant that no rule forbids."""
    dst = check_src(env, insn.dst)
    if insn.dst != isa.FP and dst.type == SCALAR_VALUE:
        if env.has_arena:
            _beside_arena(env, insn, SCALAR_VALUE)
        _scalars(env, insn, insn.code & isa.OP_MASK, dst, const_reg(insn.imm))
    else:
        _binary(env, insn)


def _binary(env: Env, insn: Insn) -> None:
    op = insn.code & isa.OP_MASK
    from_reg = insn.code & isa.X
    src = check_src(env, insn.src) if from_reg else None
    dst = check_src(env, insn.dst)
    if src is None:
        if op in (isa.DIV, isa.MOD) and insn.imm == 0:
            env.refuse("EINVAL", "div by zero")
        if op in _SHIFTS:
            width = 64 if insn.code & isa.CLASS_MASK == isa.ALU64 else 32
            if not 0 <= insn.imm < width:
                env.refuse("EINVAL", f"invalid shift {insn.imm}")
    check_dst(env, insn.dst, mark=False)
    if src is None:
        src = const_reg(insn.imm)
    if dst.type == SCALAR_VALUE and src.type == SCALAR_VALUE:
        if env.has_arena:
            _beside_arena(env, insn, SCALAR_VALUE)
        if from_reg and dst.precise:
            mark_chain_precision(env, insn.src)
        _scalars(env, insn, op, dst, src)
    elif PTR_TO_ARENA in (dst.type, src.type):
        _beside_arena(env, insn, PTR_TO_ARENA)
        env.regs[insn.dst] = dst if dst.type == PTR_TO_ARENA else src
    else:
        _with_pointer(env, insn, op, dst, src)


def _scalars(env: Env, insn: Insn, op: int, dst: Reg, src: Reg) -> None:
    """adjust_reg_min_max_vals of two numbers: the result, and whether it stays linked at a distance."""
    is32 = insn.code & isa.CLASS_MASK != isa.ALU64
    before = dst.num
    if op in (isa.AND, isa.OR) and not src.num.mask:
        dst = _maybe_fork(env, insn, dst)
    num = alu(op, is32, dst.num, src.num, is_signed=insn.off == 1)
    if dst.id:
        env.regs[insn.dst] = _distance(insn, op, is32, dst.with_num(num), before, src)
    elif num is UNKNOWN and not dst.precise:
        env.regs[insn.dst] = UNKNOWN_REG
    else:
        env.regs[insn.dst] = dst.with_num(num)


def _distance(insn: Insn, op: int, is32: bool, new: Reg, before: Num, src: Reg) -> Reg:
    """The result's link: adding or subtracting a constant once keeps it, all else ends it."""
    mask = isa.U32 if is32 else isa.U64
    if (
        op not in (isa.ADD, isa.SUB)
        or src.num.mask & mask
        or (insn.code & isa.X and insn.src == insn.dst)
        or new.id & BPF_ADD_CONST
    ):
        return clear_scalar_id(new)
    delta = isa.sext(src.num.value, 32 if is32 else 64)
    if not S32_MIN <= delta <= S32_MAX or (is32 and before.umax > isa.U32):
        return clear_scalar_id(new)
    if op == isa.SUB:
        if delta == S32_MIN:
            return clear_scalar_id(new)
        delta = -delta
    return new.with_id(new.id | (BPF_ADD_CONST32 if is32 else BPF_ADD_CONST64), delta)


def _maybe_fork(env: Env, insn: Insn, dst: Reg) -> Reg:
    """A number that is 0 or -1, as from a sign shift, goes on as two paths; the other one repeats the instruction."""
    fork = fork_scalars(dst.num)
    if fork is None:
        return dst
    pushed, current = fork
    branch = env.push_state(env.insn_idx, env.insn_idx)
    if not pushed.mask:
        dst = clear_scalar_id(dst)
    branch.frames[-1].regs[insn.dst] = dst.with_num(pushed)
    return dst.with_num(current)


# ---- pointers


def _with_pointer(env: Env, insn: Insn, op: int, dst: Reg, src: Reg) -> None:
    if dst.type != SCALAR_VALUE and src.type != SCALAR_VALUE:
        if op != isa.SUB:
            env.refuse("EACCES", f"R{insn.dst} pointer {_OPERATORS[op]} pointer prohibited")
        env.regs[insn.dst] = UNKNOWN_REG
        return
    if dst.type == SCALAR_VALUE:
        mark_chain_precision(env, insn.dst)
        pointer, offset = src, dst
    else:
        if insn.code & isa.X:
            mark_chain_precision(env, insn.src)
        pointer, offset = dst, src
    env.regs[insn.dst] = _moved(env, insn, op, pointer, offset, dst is pointer)


def _moved(env: Env, insn: Insn, op: int, pointer: Reg, offset: Reg, from_dst: bool) -> Reg:
    """The pointer moved by a number (adjust_ptr_min_max_vals). from_dst: the pointer is the left operand."""
    num = offset.num
    if num.is_violated or (not num.mask and num.size):
        return UNKNOWN_REG
    if insn.code & isa.CLASS_MASK != isa.ALU64:
        if op == isa.SUB:
            return UNKNOWN_REG
        env.refuse("EACCES", f"R{insn.dst} 32-bit pointer arithmetic prohibited")
    _check_movable(env, insn.dst, op, pointer, num)
    base = base_type(pointer.type)
    if base == PTR_TO_MEM and pointer.type & PTR_UNTRUSTED:
        # Loads through it are checked as they run: its offset does not matter.
        return pointer
    _check_sane_distance(env, num, pointer.type)
    _check_sane_offset(env, pointer.num, pointer.type)
    known = not num.mask
    if op == isa.ADD:
        moved = offset_add(pointer.num, num)
    elif op == isa.SUB:
        _check_subtraction(env, insn.dst, pointer, from_dst)
        moved = offset_sub(pointer.num, num)
    else:
        text = _OPERATORS[op]
        if op in _BITWISE:
            env.refuse("EACCES", f"R{insn.dst} bitwise operator {text} on pointer prohibited")
        env.refuse("EACCES", f"R{insn.dst} pointer arithmetic with {text} operator prohibited")
    _check_sane_offset(env, moved, pointer.type)
    if base not in (PTR_TO_PACKET, PTR_TO_PACKET_META):
        return pointer.with_num(resync(moved))
    # A packet pointer moved by an unknown distance is the base of new comparisons with the packet's end.
    stays = pointer.pkt_range >= 0 and (known or (op == isa.SUB and num.smin >= 0))
    pkt_range = pointer.pkt_range if stays else 0
    # Moved by a known distance, or with a range still, its bounds only learn from its bits (seen on 7.3.4).
    num = Num(*bounds_from_bits(*moved.parts())) if moved.mask and (known or pkt_range) else resync(moved)
    return pointer.with_(num=num, id=pointer.id if known else env.new_id(), aux=pkt_range)


def _check_movable(env: Env, dst: int, op: int, pointer: Reg, num: Num) -> None:
    if pointer.type & PTR_MAYBE_NULL:
        text = reg_type_str(pointer.type)
        env.refuse("EACCES", f"R{dst} pointer arithmetic on {text} prohibited, null-check it first")
    base = base_type(pointer.type)
    if base in _MOVABLE or (base == PTR_TO_FLOW_KEYS and not num.mask):
        return
    if base in (PTR_TO_FLOW_KEYS, CONST_PTR_TO_MAP) and not num.mask and not num.value and op == isa.ADD:
        return
    env.refuse("EACCES", f"R{dst} pointer arithmetic on {reg_type_str(pointer.type)} prohibited")


def _check_subtraction(env: Env, dst: int, pointer: Reg, from_dst: bool) -> None:
    if not from_dst:
        env.refuse("EACCES", f"R{dst} tried to subtract pointer from scalar")
    if pointer.type == PTR_TO_STACK:
        env.refuse("EACCES", f"R{dst} subtraction from stack pointer prohibited")


def _check_sane_distance(env: Env, num: Num, pointer_type: int) -> None:
    """check_reg_sane_offset_scalar: what is added lies within 2**29 of 0."""
    if not num.mask and not -BPF_MAX_VAR_OFF < num.signed_value < BPF_MAX_VAR_OFF:
        text = reg_type_str(pointer_type)
        env.refuse("EINVAL", f"math between {text} pointer and {num.signed_value} is not allowed")
    low = num.smin
    if low == S64_MIN:
        text = reg_type_str(pointer_type)
        env.refuse(
            "EINVAL",
            f"math between {text} pointer and register with unbounded min value is not allowed",
        )
    if not -BPF_MAX_VAR_OFF < low < BPF_MAX_VAR_OFF:
        env.refuse("EINVAL", f"value {low} makes {reg_type_str(pointer_type)} pointer be out of bounds")


def _check_sane_offset(env: Env, num: Num, pointer_type: int) -> None:
    """check_reg_sane_offset_ptr: the pointer's least offset lies within 2**29 of its object."""
    value = num.signed_value
    if not num.mask and not -BPF_MAX_VAR_OFF < value < BPF_MAX_VAR_OFF:
        env.refuse("EINVAL", f"{reg_type_str(pointer_type)} pointer offset {value} is not allowed")
    low = num.smin
    if not -BPF_MAX_VAR_OFF < low < BPF_MAX_VAR_OFF:
        env.refuse("EINVAL", f"{reg_type_str(pointer_type)} pointer offset {low} is not allowed")
