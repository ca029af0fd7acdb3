"""The assembler of the bpf_conformance suite, as far as exported tests need it: `-- asm` and `-- raw` must say the same."""

import re

from bpf import isa
from bpf.codec import encode
from bpf.insn import Insn

ALU = ("add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "neg", "mod", "xor", "mov", "arsh")
JUMPS = {"jeq": 1, "jgt": 2, "jge": 3, "jset": 4, "jne": 5, "jsgt": 6, "jsge": 7, "jlt": 10, "jle": 11, "jslt": 12, "jsle": 13}  # fmt: skip
SIZES = {"b": isa.B, "h": isa.H, "w": isa.W, "dw": isa.DW}
ATOMICS = {"add": 0, "or": 0x40, "and": 0x50, "xor": 0xA0, "xchg": 0xE1, "cmpxchg": 0xF1}


def reg(text: str) -> int:
    assert text.startswith("%r")
    return int(text[2:])


def place(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"\[%r(\d+)([+-]\d+)\]", text)
    assert match
    return int(match[1]), int(match[2])


def operand(text: str) -> tuple[int, int, int]:
    """(bit of the opcode, source register, immediate)."""
    return (isa.X, reg(text), 0) if text.startswith("%") else (0, 0, int(text))


def one(words: list[str], distance: int) -> list[Insn]:
    name, *rest = words
    base, narrow = name.removesuffix("32"), name.endswith("32")
    if name == "exit":
        return [Insn(isa.OP_EXIT)]
    if name == "lddw":
        wide = int(rest[1], 0)
        return [Insn(isa.LD_IMM64, reg(rest[0]), imm=isa.sext(wide, 32)), Insn(0, imm=isa.sext(wide >> 32, 32))]  # fmt: skip
    if name == "ja":
        return [Insn(isa.OP_JA, off=distance)]
    if name == "call":
        return [Insn(isa.OP_CALL, src=1, imm=distance)]
    if name == "lock":
        fetch = 1 if rest[0] == "fetch" else 0
        op, where, value = rest[fetch:]
        size = isa.W if op.endswith("32") else isa.DW
        dst, off = place(where)
        imm = ATOMICS[op.removesuffix("32")] | fetch
        return [Insn(isa.STX | isa.ATOMIC | size, dst, reg(value), off, imm)]
    swap = re.fullmatch(r"(be|le|swap)(16|32|64)", name)
    if swap:
        code = {"be": isa.ALU | isa.END | isa.X, "le": isa.ALU | isa.END, "swap": isa.ALU64 | isa.END}
        return [Insn(code[swap[1]], reg(rest[0]), imm=int(swap[2]))]
    if base in ALU:
        cls = isa.ALU if narrow else isa.ALU64
        bit, src, imm = operand(rest[1]) if len(rest) > 1 else (0, 0, 0)
        return [Insn(cls | ALU.index(base) << 4 | bit, reg(rest[0]), src, 0, imm)]
    if base in JUMPS:
        bit, src, imm = operand(rest[1])
        return [Insn((isa.JMP32 if narrow else isa.JMP) | JUMPS[base] << 4 | bit, reg(rest[0]), src, distance, imm)]  # fmt: skip
    if name.startswith("ldx"):
        src, off = place(rest[1])
        return [Insn(isa.LDX | isa.MEM | SIZES[name[3:]], reg(rest[0]), src, off)]
    if name.startswith("stx"):
        dst, off = place(rest[0])
        return [Insn(isa.STX | isa.MEM | SIZES[name[3:]], dst, reg(rest[1]), off)]
    dst, off = place(rest[0])
    return [Insn(isa.ST | isa.MEM | SIZES[name[2:]], dst, 0, off, int(rest[1]))]


def assembled(text: str) -> bytes:
    """What the section `-- asm` says, in bytes."""
    lines = text.split("-- asm\n")[1].split("-- raw\n", maxsplit=1)[0].splitlines()
    labels, at = {}, 0
    for line in lines:
        if line.endswith(":"):
            labels[line[:-1]] = at
        else:
            at += 2 if line.startswith("lddw") else 1
    insns: list[Insn] = []
    for line in lines:
        if not line.endswith(":"):
            words = line.replace(",", "").split()
            insns += one(words, labels.get(words[-1], 0) - len(insns) - 1)
    return encode(insns)


def raw(text: str) -> bytes:
    """What the section `-- raw` says, in bytes."""
    words = text.split("-- raw\n")[1].split("-- result\n", maxsplit=1)[0].split()
    return b"".join(int(word, 16).to_bytes(8, "little") for word in words)
