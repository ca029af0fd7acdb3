"""A JIT small enough to read in one sitting, to show how any JIT is tested. It knows nothing of bpfemu but the form of a job.

Every BPF register lives in memory; rax, rcx and rdx do the work. The frame is nobody's but its own:

    rbp + 16 + 8*k   argument 7 + k, put there by the caller
    rbp -  8*(n+1)   BPF register n, 0..12
    rbp - 112        argument 6, as it came in r9
    rbp - 120        argument 6 of the next call
    rbp - 128        r10 points here; the program's stack lies below
    rsp +  8*k       argument 7 + k of the next call

As a command it reads a job a line and writes an answer a line: `python examples/tinyjit.py`.
"""

import json
import sys
from typing import Any

RAX, RCX, RDX = 0, 1, 2
ARG6_IN, ARG6_OUT, STACK_TOP = 112, 120, 128
ENTRY = ("48 89 bd", "48 89 b5", "48 89 95", "48 89 8d", "4c 89 85")  # mov [rbp+disp32], rdi rsi rdx rcx r8
CALLS = ("48 8b bd", "48 8b b5", "48 8b 95", "48 8b 8d", "4c 8b 85")  # the way back

ALU = {0x00: "01 c8", 0x10: "29 c8", 0x20: "0f af c1", 0x40: "09 c8", 0x50: "21 c8", 0xA0: "31 c8"}
SHIFTS = {0x60: "d3 e0", 0x70: "d3 e8", 0xC0: "d3 f8"}
SWAPS = {16: "66 c1 c8 08 0f b7 c0", 32: "0f c8", 64: "48 0f c8"}
CUTS = {16: "0f b7 c0", 32: "89 c0", 64: ""}
LOADS = {0x79: "48 8b 81", 0x61: "8b 81", 0x69: "0f b7 81", 0x71: "0f b6 81",
         0x81: "48 63 81", 0x89: "48 0f bf 81", 0x91: "48 0f be 81"}  # fmt: skip
STORES = {0x18: "48 89 81", 0x00: "89 81", 0x08: "66 89 81", 0x10: "88 81"}
JUMPS = {0x10: 0x84, 0x20: 0x87, 0x30: 0x83, 0x40: 0x85, 0x50: 0x85, 0x60: 0x8F,
         0x70: 0x8D, 0xA0: 0x82, 0xB0: 0x86, 0xC0: 0x8C, 0xD0: 0x8E}  # fmt: skip
ATOMICS = {0x00: "01 81", 0x40: "09 81", 0x50: "21 81", 0xA0: "31 81"}
FETCHES = {0x41: "0b", 0x51: "23", 0xA1: "33"}  # the operation with a register on the left


class Unsupported(Exception):
    """The program needs something that this JIT does not have."""


class Emitter:
    """The code of one program, all functions one after the other."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.base = int(job["base"], 16)
        raw = bytes.fromhex(job["xlated"])
        self.insns = [raw[i : i + 8] for i in range(0, len(raw), 8)]
        self.functions = job["functions"]
        self.calls = {call["insn"]: call for call in job["calls"]}
        self.code = bytearray()
        self.starts: dict[int, int] = {}  # instruction -> offset of its code
        self.entries: dict[int, int] = {}  # first instruction of a function -> offset of its prologue
        self.holes: list[
            tuple[int, int, bool]
        ] = []  # offset of a rel32, instruction, whether a function is meant
        self.pointers: list[tuple[int, int]] = []  # offset of an imm64, instruction of the function

    def put(self, text: str, *numbers: int, size: int = 4) -> None:
        self.code += bytes.fromhex(text)
        for number in numbers:
            self.code += (number % (1 << 8 * size)).to_bytes(size, "little")

    def load(self, native: int, reg: int) -> None:
        self.put(f"48 8b {0x85 | native << 3:02x}", -8 * (reg + 1))

    def store(self, reg: int) -> None:
        self.put("48 89 85", -8 * (reg + 1))

    def run(self) -> dict[str, Any]:
        for function in self.functions:
            self.function(function)
        for at, insn, entry in self.holes:
            target = (self.entries if entry else self.starts)[insn]
            self.code[at : at + 4] = (target - at - 4).to_bytes(4, "little", signed=True)
        for at, insn in self.pointers:
            self.code[at : at + 8] = (self.base + self.entries[insn]).to_bytes(8, "little")
        starts = [self.entries[function["start"]] for function in self.functions]
        offsets = [self.starts.get(slot) for slot in range(len(self.insns))]
        return {"code": self.code.hex(), "functions": starts, "offsets": offsets}

    def function(self, function: dict[str, Any]) -> None:
        self.entries[function["start"]] = len(self.code)
        frame = STACK_TOP + function["stack"] + 8 * max(function["out_stack_args"] - 1, 0)
        self.put("55 48 89 e5 48 81 ec", -(-frame // 16) * 16)
        for number in range(min(function["nargs"], 5)):
            self.put(ENTRY[number], -8 * (number + 2))
        if function["nargs"] > 5:
            self.put("4c 89 8d", -ARG6_IN)
        self.put("48 8d 85", -STACK_TOP)
        self.store(10)
        at = function["start"]
        while at < function["end"]:
            self.starts[at] = len(self.code)
            at += self.insn(at)

    def insn(self, at: int) -> int:
        """The code of one instruction; how many slots it takes."""
        word = self.insns[at]
        code, dst, src = word[0], word[1] & 15, word[1] >> 4
        off, imm = (
            int.from_bytes(word[2:4], "little", signed=True),
            int.from_bytes(word[4:], "little", signed=True),
        )
        kind = code & 7
        if code == 0x18:
            return self.wide(at, dst, src, imm)
        if kind in (4, 7):
            self.alu(code, dst, src, off, imm)
        elif kind in (5, 6):
            self.jump(at, code, dst, src, off, imm)
        elif code & 0xE0 == 0xC0 and kind == 3:
            self.atomic(code, dst, src, off, imm)
        else:
            self.memory(code, dst, src, off, imm)
        return 1

    def wide(self, at: int, dst: int, src: int, imm: int) -> int:
        value = imm % (1 << 32) | int.from_bytes(self.insns[at + 1][4:], "little") << 32
        if src == 4:
            self.pointers.append((len(self.code) + 2, at + 1 + imm))
        self.put("48 b8", value, size=8)
        self.store(dst)
        return 2

    def operand(self, code: int, src: int, imm: int) -> None:
        """The right side, in rcx."""
        if code & 8:
            self.load(RCX, src)
        else:
            self.put("48 c7 c1", imm)

    def alu(self, code: int, dst: int, src: int, off: int, imm: int) -> None:
        op, wide = code & 0xF0, "48" if code & 7 == 7 else ""
        if op == 0xD0:
            self.load(RAX, dst)
            self.put((SWAPS if wide or code & 8 else CUTS)[imm])
            return self.store(dst)
        if off and op not in (0x30, 0x90) and off not in (8, 16, 32):
            raise Unsupported(f"mov with offset {off}")
        self.operand(code, src, imm)
        if op == 0xB0:
            self.put({0: wide + "89 c8", 8: wide + "0f be c1", 16: wide + "0f bf c1", 32: "48 63 c1"}[off])
            return self.store(dst)
        self.load(RAX, dst)
        if op in (0x30, 0x90):
            extend, divide = ((wide + "99"), "f9") if off else ("31 d2", "f1")
            self.put(f"{extend} {wide} f7 {divide}")
            if op == 0x90:
                self.put(wide + "89 d0")
        elif op == 0x80:
            self.put(wide + "f7 d8")
        else:
            self.put(wide + (ALU.get(op) or SHIFTS[op]))
        if not wide:
            self.put("89 c0")
        return self.store(dst)

    def memory(self, code: int, dst: int, src: int, off: int, imm: int) -> None:
        kind = code & 7
        if kind == 1 and code in LOADS:
            if src == 11:
                self.put("48 8b 85", -ARG6_IN if off == 8 else off)
            else:
                self.load(RCX, src)
                self.put(LOADS[code], off)
            self.store(dst)
        elif kind in (2, 3) and code & 0xE0 == 0x60:
            if kind == 3:
                self.load(RAX, src)
            else:
                self.put("48 c7 c0", imm)
            if dst == 11 and off == -8:
                self.put("48 89 85", -ARG6_OUT)
            elif dst == 11:
                self.put("48 89 84 24", -off - 16)
            else:
                self.load(RCX, dst)
                self.put(STORES[code & 0x18], off)
        else:
            raise Unsupported(f"opcode {code:#04x}")

    def atomic(self, code: int, dst: int, src: int, off: int, imm: int) -> None:
        wide = "48" if code & 0x18 == 0x18 else ""
        if imm == 0x100:
            self.memory(0x61 | code & 0x18, dst, src, off, 0)
        elif imm == 0x110:
            self.memory(0x63 | code & 0x18, dst, src, off, 0)
        elif imm in FETCHES:
            self.load(RCX, dst)
            self.put(wide + "8b 81", off)
            again = len(self.code)
            self.put(f"{wide} 89 c2 {wide} {FETCHES[imm]} 95", -8 * (src + 1))
            self.put(f"f0 {wide} 0f b1 91", off)
            self.put("75", again - len(self.code) - 2, size=1)
            self.result(wide, src)
        elif imm == 0xF1:
            self.load(RCX, dst)
            self.load(RAX, 0)
            self.load(RDX, src)
            self.put(f"f0 {wide} 0f b1 91", off)
            self.result(wide, 0)
        else:
            self.load(RCX, dst)
            self.load(RAX, src)
            self.put(
                {0x01: f"f0 {wide} 0f c1 81", 0xE1: f"{wide} 87 81"}.get(imm) or f"f0 {wide} {ATOMICS[imm]}",
                off,
            )
            if imm & 1:
                self.result(wide, src)

    def result(self, wide: str, reg: int) -> None:
        if not wide:
            self.put("89 c0")
        self.store(reg)

    def jump(self, at: int, code: int, dst: int, src: int, off: int, imm: int) -> None:
        op = code & 0xF0
        if code == 0x85:
            return self.call(at, src, imm)
        if code == 0x95:
            self.load(RAX, 0)
            return self.put("c9 c3")
        if code in (0x05, 0x06):
            self.put("e9")
            return self.hole(at + 1 + (off if code == 0x05 else imm))
        if op not in JUMPS:
            raise Unsupported(f"opcode {code:#04x}")
        self.operand(code, src, imm)
        self.load(RAX, dst)
        self.put(("48" if code & 7 == 5 else "") + ("85 c8" if op == 0x40 else "39 c8"))
        self.put(f"0f {JUMPS[op]:02x}")
        return self.hole(at + 1 + off)

    def hole(self, insn: int, *, entry: bool = False) -> None:
        self.holes.append((len(self.code), insn, entry))
        self.put("", 0)

    def call(self, at: int, src: int, imm: int) -> None:
        callee = self.calls.get(at)
        if src == 1:
            callee = next(one for one in self.functions if one["start"] == at + 1 + imm)
        if callee is None:
            raise Unsupported(f"call of {imm}")
        if callee["name"] == "arch_bpf_timed_may_goto":  # takes and gives BPF register 12 in r10
            self.put("4c 8b 55 98 48 b8", int(callee["addr"], 16), size=8)
            return self.put("ff d0 4c 89 55 98")
        for number in range(min(callee["nargs"], 5)):
            self.put(CALLS[number], -8 * (number + 2))
        if callee["nargs"] > 5:
            self.put("4c 8b 8d", -ARG6_OUT)
        if src == 1:
            self.put("e8")
            self.hole(at + 1 + imm, entry=True)
        else:
            self.put("48 b8", int(callee["addr"], 16), size=8)
            self.put("ff d0")
        return self.store(0)


def compile_job(job: dict[str, Any]) -> dict[str, Any]:
    """The answer to a job: code and where each function begins in it, or why not."""
    try:
        return Emitter(job).run()
    except Unsupported as why:
        return {"unsupported": str(why)}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(compile_job(json.loads(line))), flush=True)
