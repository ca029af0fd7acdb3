"""One instruction to text, in three styles; knows nothing of programs (bpf.listing does).

- "kernel": what the verifier's log shows behind the opcode, `r1 = *(u64 *)(r11 +8)`; also for instructions that
  are malformed, as the kernel does. Source: Linux kernel/bpf/disasm.c, checked against logs of a real 7.3.4 kernel.
- "text": the kernel's syntax where it is unambiguous, else marked: 64-bit immediates end in `ll`, references to maps
  and functions look like references. What the assembler makes of it is the same instruction again.
- "llvm": what llvm-objdump shows for -mcpu=v3 and later, `r1 = *(u64 *)(r11 + 0x8)`, but for two things that it leaves
  out: which kind of call it is, and the displacement of an indirect packet load. Checked against LLVM 23.
"""

from collections.abc import Callable
from typing import Literal

from bpf import isa
from bpf.helpers import HELPERS
from bpf.insn import Insn

Style = Literal["kernel", "text", "llvm"]

ALU_OPS = {
    isa.ADD: "+=",
    isa.SUB: "-=",
    isa.MUL: "*=",
    isa.DIV: "/=",
    isa.OR: "|=",
    isa.AND: "&=",
    isa.LSH: "<<=",
    isa.RSH: ">>=",
    isa.NEG: "neg",
    isa.MOD: "%=",
    isa.XOR: "^=",
    isa.MOV: "=",
    isa.ARSH: "s>>=",
    isa.END: "endian",
}
SIGNED_OPS = {isa.DIV: "s/=", isa.MOD: "s%="}
JUMP_OPS = {
    isa.JEQ: "==",
    isa.JGT: ">",
    isa.JGE: ">=",
    isa.JSET: "&",
    isa.JNE: "!=",
    isa.JSGT: "s>",
    isa.JSGE: "s>=",
    isa.JLT: "<",
    isa.JLE: "<=",
    isa.JSLT: "s<",
    isa.JSLE: "s<=",
}
TYPES = {isa.W: "u32", isa.H: "u16", isa.B: "u8", isa.DW: "u64"}
SIGNED_TYPES = {isa.W: "s32", isa.H: "s16", isa.B: "s8", isa.DW: "s64"}
ATOMIC_NAMES = {isa.ADD: "add", isa.OR: "or", isa.AND: "and", isa.XOR: "xor"}
MAP_WORDS = {
    isa.PSEUDO_MAP_FD: "map",
    isa.PSEUDO_MAP_VALUE: "map",
    isa.PSEUDO_MAP_IDX: "map_idx",
    isa.PSEUDO_MAP_IDX_VALUE: "map_idx",
}
# modes that only fixups make; only "text" and "llvm" name them, "kernel" says BUG
PROBE_MODES = {0x20: "probe", 0x40: "probe", 0xA0: "arena", 0xC0: "arena", 0xE0: "arena"}


def disasm(insn: Insn, nxt: Insn | None = None, *, style: Style = "kernel", symbol: str | None = None) -> str:
    """`insn` as text, without index and opcode.

    nxt: the slot behind, for the upper half of a 64-bit immediate. symbol: the name of what the instruction
    refers to (label of a branch, function, kfunc, map); kernel style shows it for kfuncs only.
    """
    return _STYLES[style](insn, nxt, symbol)


def log_text(insn: Insn, nxt: Insn | None = None, *, symbol: str | None = None) -> str:
    """`insn` as the verifier's log has it, opcode in front: `(79) r1 = *(u64 *)(r11 +8)`; BUG_xx where it has none."""
    text = _kernel(insn, nxt, symbol)
    return text if text.startswith("BUG_") else f"({insn.code:02x}) {text}"


def wide_value(insn: Insn, nxt: Insn | None) -> int:
    """The 64 bits that an ld_imm64 holds in its two slots, unsigned."""
    return (((nxt.imm if nxt else 0) & isa.U32) << 32) | (insn.imm & isa.U32)


# ---------------------------------------------------------------- kernel


def _kernel(insn: Insn, nxt: Insn | None, symbol: str | None) -> str:
    match insn.cls:
        case isa.ALU | isa.ALU64:
            return _kernel_alu(insn)
        case isa.STX:
            return _kernel_stx(insn)
        case isa.ST:
            return _kernel_st(insn)
        case isa.LDX:
            return _kernel_ldx(insn)
        case isa.LD:
            return _kernel_ld(insn, nxt)
        case _:
            return _kernel_jump(insn, symbol)


def _kernel_alu(insn: Insn) -> str:
    wide = insn.cls == isa.ALU64
    r = "r" if wide else "w"
    dst, src = insn.dst, insn.src
    if insn.op == isa.END:
        kind = "bswap" if wide else ("be" if insn.code & isa.X else "le")
        return f"r{dst} = {kind}{insn.imm} r{dst}"
    if insn.op == isa.NEG:
        return f"{r}{dst} = -{r}{dst}"
    mov = insn.code == isa.ALU64 | isa.MOV | isa.X
    if mov and insn.off == isa.OFF_ADDR_SPACE_CAST:
        return f"r{dst} = addr_space_cast(r{src}, {(insn.imm & isa.U32) >> 16}, {insn.imm & 0xFFFF})"
    if mov and insn.off == isa.OFF_PERCPU:
        return f"r{dst} = &(void __percpu *)(r{src})"
    op = ALU_OPS.get(insn.op, "(null)")
    if insn.off == 1:
        op = SIGNED_OPS.get(insn.op, op)
    if not insn.code & isa.X:
        return f"{r}{dst} {op} {insn.imm}"
    sign = f"(s{insn.off})" if insn.op == isa.MOV and insn.off in (8, 16, 32) else ""
    return f"{r}{dst} {op} {sign}{r}{src}"


def _kernel_stx(insn: Insn) -> str:
    size = insn.code & isa.SIZE_MASK
    place = f"({TYPES[size]} *)(r{insn.dst} {insn.off:+d})"
    if insn.mode == isa.MEM:
        return f"*{place} = r{insn.src}"
    if insn.mode == isa.ATOMIC:
        return _kernel_atomic(insn, place)
    return f"BUG_{insn.code:02x}"


def _kernel_atomic(insn: Insn, place: str) -> str:
    long = "64" if insn.code & isa.SIZE_MASK == isa.DW else ""
    src = insn.src
    if insn.imm in ATOMIC_NAMES:
        return f"lock *{place} {ALU_OPS[insn.imm]} r{src}"
    if insn.imm & ~isa.FETCH in ATOMIC_NAMES:
        return f"r{src} = atomic{long}_fetch_{ATOMIC_NAMES[insn.imm & ~isa.FETCH]}({place}, r{src})"
    if insn.imm == isa.CMPXCHG:
        return f"r0 = atomic{long}_cmpxchg({place}, r0, r{src})"
    if insn.imm == isa.XCHG:
        return f"r{src} = atomic{long}_xchg({place}, r{src})"
    if insn.imm == isa.LOAD_ACQ:
        return f"r{insn.dst} = load_acquire(({TYPES[insn.code & isa.SIZE_MASK]} *)(r{src} {insn.off:+d}))"
    if insn.imm == isa.STORE_REL:
        return f"store_release({place}, r{src})"
    return f"BUG_{insn.code:02x}"


def _kernel_st(insn: Insn) -> str:
    if insn.mode == isa.MEM:
        return f"*({TYPES[insn.code & isa.SIZE_MASK]} *)(r{insn.dst} {insn.off:+d}) = {insn.imm}"
    if insn.mode == isa.ATOMIC:
        return "nospec"
    return f"BUG_st_{insn.code:02x}"


def _kernel_ldx(insn: Insn) -> str:
    wide = insn.code & isa.SIZE_MASK == isa.DW  # nothing to extend
    if insn.mode != isa.MEM and (insn.mode != isa.MEMSX or wide):
        return f"BUG_ldx_{insn.code:02x}"
    types = TYPES if insn.mode == isa.MEM else SIGNED_TYPES
    return f"r{insn.dst} = *({types[insn.code & isa.SIZE_MASK]} *)(r{insn.src} {insn.off:+d})"


def _kernel_ld(insn: Insn, nxt: Insn | None) -> str:
    size = TYPES[insn.code & isa.SIZE_MASK]
    if insn.mode == isa.ABS:
        return f"r0 = *({size} *)skb[{insn.imm}]"
    if insn.mode == isa.IND:
        return f"r0 = *({size} *)skb[r{insn.src} + {insn.imm}]"
    if insn.code == isa.LD_IMM64:
        return f"r{insn.dst} = 0x{wide_value(insn, nxt):x}"
    return f"BUG_ld_{insn.code:02x}"


def _kernel_jump(insn: Insn, symbol: str | None) -> str:
    if insn.op == isa.CALL:
        return _kernel_call(insn, symbol)
    match insn.code:
        case isa.OP_JA:
            return f"goto pc{insn.off:+d}"
        case isa.OP_GOTOX:
            return f"gotox r{insn.dst}"
        case isa.OP_MAY_GOTO if insn.src == isa.MAY_GOTO:
            return f"may_goto pc{insn.off:+d}"
        case isa.OP_GOTOL:
            return f"gotol pc{insn.imm:+d}"
        case isa.OP_EXIT:
            return "exit"
    r = "r" if insn.cls == isa.JMP else "w"
    op = JUMP_OPS.get(insn.op, "(null)")
    other = f"{r}{insn.src}" if insn.code & isa.X else f"0x{insn.imm & isa.U32:x}"
    return f"if {r}{insn.dst} {op} {other} goto pc{insn.off:+d}"


def _kernel_call(insn: Insn, symbol: str | None) -> str:
    if insn.src == isa.PSEUDO_CALL:
        return f"call pc{insn.imm:+d}"
    name = "unknown"
    if insn.src == isa.HELPER_CALL and insn.imm == 0:
        name = "bpf_unspec"  # has a number, but is no helper
    elif insn.src == isa.HELPER_CALL and insn.imm in HELPERS:
        name = HELPERS[insn.imm].name
    elif insn.src == isa.PSEUDO_KFUNC_CALL:
        # number 0 stands for a kfunc that this kernel does not have
        name = symbol or ("kernel-function" if insn.imm else "<error>")
    return f"call {name}#{insn.imm}"


# ---------------------------------------------------------------- text


def _text(insn: Insn, nxt: Insn | None, symbol: str | None) -> str:
    if insn.code == isa.LD_IMM64:
        return f"r{insn.dst} = {_wide_operand(insn, nxt, symbol)}"
    if insn.code == isa.OP_CALL:
        return _text_call(insn, symbol)
    if insn.code == isa.OP_CALLX:
        return f"callx r{insn.dst}"
    if insn.code == isa.OP_TAIL_CALL:
        return f"tail_call {insn.imm}"
    if insn.code == isa.LDX | isa.MEMSX | isa.DW:
        return f"BUG_ldx_{insn.code:02x}"
    base = _rewritten(insn)
    if base is not None:
        return f"{PROBE_MODES[insn.mode]} {_kernel(base, nxt, None)}"
    text = _kernel(insn, nxt, None)
    if symbol is not None and insn.cls in (isa.JMP, isa.JMP32) and " pc" in text:
        return text[: text.rindex(" pc")] + f" {symbol}"
    return text


def _rewritten(insn: Insn) -> Insn | None:
    """The ordinary instruction that a fixup turned into the faulting or arena access `insn`; None for others."""
    mode, size = insn.mode, insn.code & isa.SIZE_MASK
    plain = {
        (isa.LDX, 0x20): isa.LDX | isa.MEM,
        (isa.LDX, 0x40): isa.LDX | isa.MEMSX,
        (isa.LDX, 0xA0): isa.LDX | isa.MEM,
        (isa.LDX, 0xC0): isa.LDX | isa.MEMSX,
        (isa.STX, 0xA0): isa.STX | isa.MEM,
        (isa.ST, 0xA0): isa.ST | isa.MEM,
        (isa.STX, 0xE0): isa.STX | isa.ATOMIC,
    }.get((insn.cls, mode))
    return None if plain is None else Insn(plain | size, insn.dst, insn.src, insn.off, insn.imm)


def _wide_operand(insn: Insn, nxt: Insn | None, symbol: str | None) -> str:
    high = nxt.imm if nxt else 0
    match insn.src:
        case isa.PSEUDO_MAP_FD | isa.PSEUDO_MAP_IDX:
            return f"{MAP_WORDS[insn.src]}[{symbol or insn.imm}]"
        case isa.PSEUDO_MAP_VALUE | isa.PSEUDO_MAP_IDX_VALUE:
            return f"{MAP_WORDS[insn.src]}[{symbol or insn.imm}][0]+{high & isa.U32}"
        case isa.PSEUDO_BTF_ID:
            return f"btf_id[{insn.imm}]" + (f"+{high}" if high else "")
        case isa.PSEUDO_FUNC:
            return f"subprog[{symbol or f'pc{insn.imm:+d}'}]"
    return f"0x{wide_value(insn, nxt):x} ll"


def _text_call(insn: Insn, symbol: str | None) -> str:
    if insn.src == isa.PSEUDO_CALL and symbol is not None:
        return f"call {symbol}"
    if insn.src == isa.PSEUDO_KFUNC_CALL:
        module = f"@{insn.off}" if insn.off else ""
        number = f"#{insn.imm}" if insn.imm or module or symbol is None else ""
        return f"call {symbol or 'kernel-function'}{number}{module}"
    return _kernel_call(insn, symbol)


# ---------------------------------------------------------------- llvm


def _hex(value: int) -> str:
    return f"-0x{-value:x}" if value < 0 else f"0x{value:x}"


def _signed(value: int) -> str:
    """Distance of a branch."""
    return f"-0x{-value:x}" if value < 0 else f"+0x{value:x}"


def _llvm_place(reg: int, off: int) -> str:
    return f"r{reg} {'-' if off < 0 else '+'} 0x{abs(off):x}"


def _llvm(insn: Insn, nxt: Insn | None, symbol: str | None) -> str:
    match insn.cls:
        case isa.ALU | isa.ALU64:
            return _llvm_alu(insn)
        case isa.STX | isa.ST | isa.LDX:
            return _llvm_memory(insn)
        case isa.LD:
            return _llvm_ld(insn, nxt)
        case _:
            return _llvm_jump(insn, symbol)


def _llvm_alu(insn: Insn) -> str:
    if insn.code == isa.ALU64 | isa.MOV | isa.X and insn.off == isa.OFF_ADDR_SPACE_CAST:
        to, of = (insn.imm & isa.U32) >> 16, insn.imm & 0xFFFF
        return f"r{insn.dst} = addr_space_cast(r{insn.src}, 0x{to:x}, 0x{of:x})"
    if insn.op in (isa.END, isa.NEG) or insn.code & isa.X:
        return _kernel_alu(insn)
    r = "r" if insn.cls == isa.ALU64 else "w"
    op = ALU_OPS.get(insn.op, "(null)")
    if insn.off == 1:
        op = SIGNED_OPS.get(insn.op, op)
    return f"{r}{insn.dst} {op} {_hex(insn.imm)}"


def _llvm_memory(insn: Insn) -> str:
    base = _rewritten(insn)
    if base is not None:
        return f"{PROBE_MODES[insn.mode]} {_llvm_memory(base)}"
    size = insn.code & isa.SIZE_MASK
    if insn.mode == isa.ATOMIC and insn.cls == isa.STX:
        return _llvm_atomic(insn)
    if insn.cls == isa.LDX and insn.mode in (isa.MEM, isa.MEMSX):
        kind = (TYPES if insn.mode == isa.MEM else SIGNED_TYPES)[size]
        r = "w" if insn.mode == isa.MEM and size != isa.DW else "r"
        return f"{r}{insn.dst} = *({kind} *)({_llvm_place(insn.src, insn.off)})"
    if insn.mode != isa.MEM:
        return _kernel(insn, None, None)
    value = f"{'r' if size == isa.DW else 'w'}{insn.src}" if insn.cls == isa.STX else _hex(insn.imm)
    return f"*({TYPES[size]} *)({_llvm_place(insn.dst, insn.off)}) = {value}"


def _llvm_atomic(insn: Insn) -> str:
    size = insn.code & isa.SIZE_MASK
    where = _llvm_place(insn.dst, insn.off)
    typed = f"({TYPES[size]} *)({where})"
    wide = size == isa.DW
    r, tag = ("r", "_64") if wide else ("w", "32_32")
    src = insn.src
    if insn.imm in ATOMIC_NAMES:
        return f"lock *{typed} {ALU_OPS[insn.imm]} {r}{src}"
    if insn.imm & ~isa.FETCH in ATOMIC_NAMES:
        return f"{r}{src} = atomic_fetch_{ATOMIC_NAMES[insn.imm & ~isa.FETCH]}({typed}, {r}{src})"
    if insn.imm == isa.XCHG:
        return f"{r}{src} = xchg{tag}({where}, {r}{src})"
    if insn.imm == isa.CMPXCHG:
        return f"{r}0 = cmpxchg{tag}({where}, {r}0, {r}{src})"
    if insn.imm == isa.LOAD_ACQ:
        return f"{r}{insn.dst} = load_acquire(({TYPES[size]} *)({_llvm_place(src, insn.off)}))"
    if insn.imm == isa.STORE_REL:
        return f"store_release({typed}, {r}{src})"
    return "<unknown>"


def _llvm_ld(insn: Insn, nxt: Insn | None) -> str:
    size = TYPES[insn.code & isa.SIZE_MASK]
    if insn.mode == isa.ABS:
        return f"r0 = *({size} *)skb[{_hex(insn.imm)}]"
    if insn.mode == isa.IND:
        index = f"r{insn.src}" + (f" + {_hex(insn.imm)}" if insn.imm else "")
        return f"r0 = *({size} *)skb[{index}]"
    if insn.code != isa.LD_IMM64:
        return "<unknown>"
    if insn.src:
        return f"ld_pseudo r{insn.dst}, 0x{insn.src:x}, 0x{wide_value(insn, nxt):x}"
    return f"r{insn.dst} = 0x{wide_value(insn, nxt):x} ll"


def _llvm_jump(insn: Insn, symbol: str | None) -> str:
    name = f" <{symbol}>" if symbol is not None else ""
    if insn.op == isa.CALL:
        return _llvm_call(insn, symbol)
    match insn.code:
        case isa.OP_JA:
            return f"goto {_signed(insn.off)}{name}"
        case isa.OP_GOTOL:
            return f"gotol {_signed(insn.imm)}{name}"
        case isa.OP_MAY_GOTO:
            return f"may_goto {_signed(insn.off)}{name}"
        case isa.OP_GOTOX | isa.OP_EXIT | isa.OP_TAIL_CALL:
            return _text(insn, None, symbol)
    r = "r" if insn.cls == isa.JMP else "w"
    other = f"{r}{insn.src}" if insn.code & isa.X else _hex(insn.imm)
    return f"if {r}{insn.dst} {JUMP_OPS.get(insn.op, '(null)')} {other} goto {_signed(insn.off)}{name}"


def _llvm_call(insn: Insn, symbol: str | None) -> str:
    if insn.code == isa.OP_CALLX:
        return f"callx r{insn.dst}"
    if insn.src == isa.HELPER_CALL:
        return f"call {_hex(insn.imm)}"
    return _text_call(insn, symbol)


_STYLES: dict[Style, Callable[[Insn, Insn | None, str | None], str]] = {
    "kernel": _kernel,
    "text": _text,
    "llvm": _llvm,
}
