"""Numbers of the BPF instruction set: fields of the opcode byte, registers, limits.

       7 6 5 4   3    2 1 0          7 6 5   4 3    2 1 0
      +-------+-----+-------+       +-------+------+-------+
      |  op   |  s  | class |       | mode  | size | class |
      +-------+-----+-------+       +-------+------+-------+
       ALU, ALU64, JMP, JMP32        LD, LDX, ST, STX

Source: RFC 9669 section 3 and 4, Linux include/uapi/linux/bpf.h and include/linux/filter.h.
"""

from typing import Final

# ---- classes (bits 0..2)
LD: Final = 0x00
LDX: Final = 0x01
ST: Final = 0x02
STX: Final = 0x03
ALU: Final = 0x04
JMP: Final = 0x05
JMP32: Final = 0x06
ALU64: Final = 0x07
CLASS_MASK: Final = 0x07

# ---- source of an ALU or jump operand (bit 3)
K: Final = 0x00
X: Final = 0x08

# ---- sizes of a memory access (bits 3..4)
W: Final = 0x00
H: Final = 0x08
B: Final = 0x10
DW: Final = 0x18
SIZE_MASK: Final = 0x18
SIZE_BYTES: Final = {W: 4, H: 2, B: 1, DW: 8}

# ---- modes of a memory access (bits 5..7)
IMM: Final = 0x00
ABS: Final = 0x20
IND: Final = 0x40
MEM: Final = 0x60
MEMSX: Final = 0x80
ATOMIC: Final = 0xC0
MODE_MASK: Final = 0xE0

# ---- ALU operations (bits 4..7)
ADD: Final = 0x00
SUB: Final = 0x10
MUL: Final = 0x20
DIV: Final = 0x30
OR: Final = 0x40
AND: Final = 0x50
LSH: Final = 0x60
RSH: Final = 0x70
NEG: Final = 0x80
MOD: Final = 0x90
XOR: Final = 0xA0
MOV: Final = 0xB0
ARSH: Final = 0xC0
END: Final = 0xD0
TO_LE: Final = 0x00
TO_BE: Final = 0x08

# ---- jump operations (bits 4..7)
JA: Final = 0x00
JEQ: Final = 0x10
JGT: Final = 0x20
JGE: Final = 0x30
JSET: Final = 0x40
JNE: Final = 0x50
JSGT: Final = 0x60
JSGE: Final = 0x70
CALL: Final = 0x80
EXIT: Final = 0x90
JLT: Final = 0xA0
JLE: Final = 0xB0
JSLT: Final = 0xC0
JSLE: Final = 0xD0
JCOND: Final = 0xE0
OP_MASK: Final = 0xF0

# ---- atomic operations, in the immediate
FETCH: Final = 0x01
XCHG: Final = 0xE0 | FETCH
CMPXCHG: Final = 0xF0 | FETCH
LOAD_ACQ: Final = 0x100
STORE_REL: Final = 0x110

# ---- whole opcode bytes that are met by name everywhere
LD_IMM64: Final = LD | DW | IMM  # 0x18, the only instruction of 16 bytes
OP_CALL: Final = JMP | CALL  # 0x85
OP_CALLX: Final = JMP | CALL | X  # 0x8d
OP_EXIT: Final = JMP | EXIT  # 0x95
OP_JA: Final = JMP | JA  # 0x05
OP_GOTOL: Final = JMP32 | JA  # 0x06
OP_GOTOX: Final = JMP | JA | X  # 0x0d
OP_MAY_GOTO: Final = JMP | JCOND  # 0xe5
MAY_GOTO: Final = 0  # src_reg of JCOND

# ---- opcodes that only fixups make; no program may contain them
OP_TAIL_CALL: Final = JMP | 0xF0  # 0xf5: tail call; imm of 0 is indirect
OP_NOSPEC: Final = ST | ATOMIC  # 0xc2: speculation barrier
OFF_PERCPU: Final = -1  # offset of a `mov` that adds this CPU's base
OFF_ADDR_SPACE_CAST: Final = 1  # offset of a `mov` that casts between address spaces

# ---- src_reg of ld_imm64
PSEUDO_MAP_FD: Final = 1
PSEUDO_MAP_VALUE: Final = 2
PSEUDO_BTF_ID: Final = 3
PSEUDO_FUNC: Final = 4
PSEUDO_MAP_IDX: Final = 5
PSEUDO_MAP_IDX_VALUE: Final = 6

# ---- src_reg of call
HELPER_CALL: Final = 0
PSEUDO_CALL: Final = 1
PSEUDO_KFUNC_CALL: Final = 2

# ---- registers
R0: Final = 0
FP: Final = 10  # r10, read-only frame pointer
MAX_BPF_REG: Final = 11  # number of the general registers r0..r10
REG_PARAMS: Final = 11  # r11, base of the stack-argument areas (BPF_REG_PARAMS)
REG_AX: Final = 12  # used by fixups and the JIT, never by programs

# ---- limits
MAX_STACK: Final = 512  # bytes of r10 stack of one function
MAX_FUNC_ARGS: Final = 12
MAX_REG_ARGS: Final = 5
MAX_STACK_ARG_SLOTS: Final = MAX_FUNC_ARGS - MAX_REG_ARGS  # 7
MAX_CALL_FRAMES: Final = 16
MAX_TAIL_CALLS: Final = 33
MAX_INSNS: Final = 1_000_000
INSN_SIZE: Final = 8

U32: Final = (1 << 32) - 1
U64: Final = (1 << 64) - 1
S32_MIN: Final = -(1 << 31)
S64_MIN: Final = -(1 << 63)


def sext(value: int, bits: int) -> int:
    """The signed value of the low `bits` bits of `value`."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def is_stack_arg_load(code: int, src: int, off: int) -> bool:
    """Whether an instruction is `rD = *(u64 *)(r11 + off)` (is_stack_arg_ldx, filter.h)."""
    return code == LDX | MEM | DW and src == REG_PARAMS and off > 0 and off % 8 == 0


def is_stack_arg_store(code: int, dst: int, off: int) -> bool:
    """Whether an instruction is `*(u64 *)(r11 - n) = ...` (is_stack_arg_st and _stx, filter.h)."""
    return code in (ST | MEM | DW, STX | MEM | DW) and dst == REG_PARAMS and off < 0 and off % 8 == 0


def load_slot(off: int) -> int:
    """Slot index of an incoming argument: +8 is slot 0 (argument 6), +56 slot 6 (argument 12)."""
    return off // 8 - 1


def store_slot(off: int) -> int:
    """Slot index of an outgoing argument: -8 is slot 0 (argument 6), -56 slot 6 (argument 12)."""
    return -off // 8 - 1
