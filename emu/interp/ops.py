"""One instruction to one op, where that needs no look at the rest of the program.

    op = (kind, a, b, c, e)      what the fields mean stands beside each kind

Kinds are ordered as the hot loop tests them. What is wrong with an instruction becomes an op that stops the program
when it is reached, so that decoding never fails. Answers are kept, because programs repeat themselves.
"""

from functools import lru_cache
from struct import Struct

from bpf import isa
from bpf.insn import Insn
from bpf.isa import U32, U64
from bpf.opcodes import Form, form_of
from emu.interp import alu, atomics, calls, special
from emu.interp.state import Op, Stop

ADD_K = 0  # dst, -, value
MOV_X = 1  # dst, src
LDX = 2  # dst, src, off, (last offset in a stack at which it fits, unpack, size)
STX = 3  # dst, src, off, (last offset as above, pack, size, mask)
JEQ_K = 4  # dst, -, value, target
JNE_K = 5  # dst, -, value, target
ALU_K = 6  # dst, -, value, function
ALU_X = 7  # dst, src, -, function
ADD_X = 8  # dst, src
MOV_K = 9  # dst, -, value
JMP_K = 10  # dst, function, value, target
JMP_X = 11  # dst, src, function, target
JA = 12  # -, -, -, target
LD64 = 13  # dst, -, value; takes two slots
ST = 14  # dst, -, off, (last offset, pack, size, value)
LOAD_ARG = 15  # dst, slot
STORE_ARG = 16  # slot, src
STORE_ARG_K = 17  # slot, -, value
LDSX = 18  # as LDX, with a signed unpack
CALL_OUT = 19  # handler(machine, frame, op) -> frame | None; b, c, e are the handler's own

_PACK = {size: Struct(f"<{letter}") for size, letter in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))}
_SIGNED = {size: Struct(f"<{letter}") for size, letter in ((1, "b"), (2, "h"), (4, "i"))}


@lru_cache(maxsize=1 << 14)
def plain(insn: Insn) -> Op:
    """The op of an arithmetic or memory instruction."""
    try:
        checked(insn)
    except Stop as why:
        return stop_op(why.kind, why.why)
    match insn.cls:
        case isa.LDX:
            return _ldx(insn)
        case isa.ST:
            return _st(insn)
        case isa.STX:
            return _stx(insn)
        case _:
            return _alu(insn)


@lru_cache(maxsize=1 << 14)
def conditional(insn: Insn) -> Op:
    """The op of a conditional jump, without its target. Raises Stop for what is no instruction."""
    checked(insn)
    wide = insn.cls == isa.JMP
    condition = (alu.JMP64 if wide else alu.JMP32)[insn.op]
    if insn.code & isa.X:
        return (JMP_X, insn.dst, insn.src, condition, None)
    if wide and insn.op in (isa.JEQ, isa.JNE):
        return (JEQ_K if insn.op == isa.JEQ else JNE_K, insn.dst, None, insn.imm & U64, None)
    return (JMP_K, insn.dst, condition, insn.imm & U64, None)


def checked(insn: Insn, nxt: Insn | None = None) -> Form:
    """The form of an instruction that programs may contain. Raises Stop.

    r0..r10 only, r11 where the form itself names it; r10 is never written.
    """
    form = form_of(insn, nxt)
    if form is None:
        raise Stop("opcode", "no instruction has this opcode with these fields")
    if not form.loadable and form.code != isa.OP_NOSPEC:
        raise Stop("opcode", "no program may contain this instruction")
    for field, number in ((form.dst, insn.dst), (form.src, insn.src)):
        if isinstance(field, int):
            continue
        if number > isa.FP:
            raise Stop("opcode", f"R{number} is invalid")
        if number == isa.FP and field in ("write", "update"):
            raise Stop("opcode", "frame pointer is read only")
    return form


def stop_op(kind: str, why: str, insn: int | None = None) -> Op:
    """The op that ends a run with a trap. insn: where it is another instruction than the one reached."""
    return (CALL_OUT, calls.stop, kind, why, insn)


def _alu(insn: Insn) -> Op:
    wide = insn.cls == isa.ALU64
    if insn.op == isa.END:
        swap = wide or insn.code & isa.TO_BE
        return (ALU_K, insn.dst, None, 0, (alu.SWAP if swap else alu.TO_LE)[insn.imm])
    if insn.op == isa.NEG:
        return (ALU_K, insn.dst, None, 0, alu.NEG64 if wide else alu.NEG32)
    function = _move(insn, wide) if insn.op == isa.MOV else _binary(insn, wide)
    if insn.code & isa.X:
        plain = wide and insn.off == 0
        if plain and insn.op in (isa.MOV, isa.ADD):
            return (MOV_X if insn.op == isa.MOV else ADD_X, insn.dst, insn.src, None, None)
        return (ALU_X, insn.dst, insn.src, None, function)
    value = insn.imm & U64
    if insn.op == isa.MOV:
        return (MOV_K, insn.dst, None, value if wide else value & U32, None)
    if wide and insn.op in (isa.ADD, isa.SUB):
        return (ADD_K, insn.dst, None, value if insn.op == isa.ADD else -insn.imm, None)
    return (ALU_K, insn.dst, None, value, function)


def _ldx(insn: Insn) -> Op:
    if insn.src == isa.REG_PARAMS:
        return (LOAD_ARG, insn.dst, isa.load_slot(insn.off), None, None)
    size = insn.size
    signed = insn.mode == isa.MEMSX
    how = (isa.MAX_STACK - size, (_SIGNED if signed else _PACK)[size].unpack_from, size)
    return (LDSX if signed else LDX, insn.dst, insn.src, insn.off, how)


def _st(insn: Insn) -> Op:
    if insn.code == isa.OP_NOSPEC:
        return (CALL_OUT, special.no_operation, None, None, None)
    if insn.dst == isa.REG_PARAMS:
        return _store_arg(insn, STORE_ARG_K, None, insn.imm & U64)
    size = insn.size
    how = (isa.MAX_STACK - size, _PACK[size].pack_into, size, insn.imm & ((1 << 8 * size) - 1))
    return (ST, insn.dst, None, insn.off, how)


def _stx(insn: Insn) -> Op:
    if insn.mode == isa.ATOMIC:
        handler = atomics.HANDLERS.get(insn.imm, atomics.read_modify_write)
        return (CALL_OUT, handler, insn.dst, insn.src, (insn.off, insn.size, insn.imm))
    if insn.dst == isa.REG_PARAMS:
        return _store_arg(insn, STORE_ARG, insn.src, None)
    size = insn.size
    how = (isa.MAX_STACK - size, _PACK[size].pack_into, size, (1 << 8 * size) - 1)
    return (STX, insn.dst, insn.src, insn.off, how)


def _move(insn: Insn, wide: bool) -> alu.Binary:
    if insn.off == isa.OFF_ADDR_SPACE_CAST and wide:
        # To the kernel's address space; what goes the other way needs an arena (arena.py).
        return alu.MOV32
    if insn.off:
        return (alu.MOVSX64 if wide else alu.MOVSX32)[insn.off]
    return alu.MOV32


def _binary(insn: Insn, wide: bool) -> alu.Binary:
    if insn.off:
        return (alu.SIGNED64 if wide else alu.SIGNED32)[insn.op]
    return (alu.ALU64 if wide else alu.ALU32)[insn.op]


def _store_arg(insn: Insn, kind: int, src: int | None, value: int | None) -> Op:
    slot = isa.store_slot(insn.off)
    if slot >= isa.MAX_STACK_ARG_SLOTS:
        # The words of check_stack_arg_write, which is what keeps this from running in the kernel.
        return stop_op(
            "opcode", f"stack arg write offset {insn.off} exceeds max {isa.MAX_STACK_ARG_SLOTS} stack args"
        )
    return (kind, slot, src, value, None)
