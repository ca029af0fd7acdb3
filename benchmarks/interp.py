"""How many BPF instructions a second the reference interpreter executes. Run as `python -m benchmarks.interp`.

The baseline is what one writes first: a loop that fetches an instruction, looks at its opcode in a chain of
comparisons, and keeps registers in a list; it knows no more than the arithmetic loop needs, and checks nothing.
"""

from collections.abc import Sequence
from time import process_time

from benchmarks.rows import Row
from bpf import isa
from bpf.asm import assemble
from bpf.insn import Insn
from bpf.program import Program, RunInput
from emu.interp import Interpreter
from emu.runtime.world import World

ROUNDS = 100_000
LOOPS = {
    "arithmetic": f"""
        r1 = {ROUNDS}
        r0 = 0
        r2 = 3
        loop:
        r0 += r2
        r0 ^= 85
        r2 += 7
        r3 = r2
        r3 >>= 3
        r0 |= r3
        r1 -= 1
        if r1 != 0 goto loop
        exit""",
    "own stack": f"""
        r1 = {ROUNDS}
        r0 = 0
        loop:
        *(u64 *)(r10 -8) = r0
        r0 = *(u64 *)(r10 -8)
        r0 += 1
        r1 -= 1
        if r1 != 0 goto loop
        exit""",
    "packet": f"""
        r2 = *(u32 *)(r1 +76)
        r1 = {ROUNDS}
        loop:
        r0 = *(u8 *)(r2 +3)
        *(u8 *)(r2 +4) = r0
        r1 -= 1
        if r1 != 0 goto loop
        exit""",
    "calls with 7 arguments": f"""
        r6 = {ROUNDS // 10}
        loop:
        r1 = 1
        r2 = 2
        r3 = 3
        r4 = 4
        r5 = 5
        *(u64 *)(r11 -8) = 6
        *(u64 *)(r11 -16) = 7
        call f
        r6 -= 1
        if r6 != 0 goto loop
        exit
        f:
        r0 = *(u64 *)(r11 +8)
        r1 = *(u64 *)(r11 +16)
        r0 += r1
        exit""",
}


def rate(text: str, repeat: int = 7) -> float:
    """Million instructions a second of processor time, the best of `repeat` runs."""
    interp = Interpreter(World(Program("loop", assemble(text))))
    best = 0.0
    for _ in range(repeat):
        start = process_time()
        result = interp.run(RunInput())
        assert result.insns is not None
        best = max(best, result.insns / (process_time() - start) / 1e6)
    return best


def baseline(repeat: int = 7) -> float:
    """Million instructions a second of the obvious loop, on the arithmetic program."""
    program = assemble(LOOPS["arithmetic"])
    best = 0.0
    for _ in range(repeat):
        start = process_time()
        executed = obvious(program)
        best = max(best, executed / (process_time() - start) / 1e6)
    return best


def obvious(program: Sequence[Insn]) -> int:
    """Runs a program of moves, arithmetic and one jump; returns how many instructions it executed."""
    regs = [0] * 11
    at = executed = 0
    while True:
        insn = program[at]
        executed += 1
        at += 1
        kind, op = insn.code & 0x07, insn.code & 0xF0
        value = regs[insn.src] if insn.code & 0x08 else insn.imm
        if kind in (isa.ALU, isa.ALU64):
            mask = isa.U64 if kind == isa.ALU64 else isa.U32
            old = regs[insn.dst]
            if op == 0x00:
                regs[insn.dst] = old + value & mask
            elif op == 0x10:
                regs[insn.dst] = old - value & mask
            elif op == 0x40:
                regs[insn.dst] = (old | value) & mask
            elif op == 0x70:
                regs[insn.dst] = (old & mask) >> (value & 63)
            elif op == 0xA0:
                regs[insn.dst] = (old ^ value) & mask
            elif op == 0xB0:
                regs[insn.dst] = value & mask
            else:
                raise ValueError(insn)
        elif insn.code == isa.OP_EXIT:
            return executed
        elif op == 0x50:  # jne
            at += insn.off if regs[insn.dst] != value else 0
        else:
            raise ValueError(insn)


def rows() -> list[Row]:
    """The baseline, then each loop."""
    return [
        Row("obvious loop (arithmetic)", 1 / baseline()),
        *(Row(name, 1 / rate(text)) for name, text in LOOPS.items()),
    ]


def main() -> None:
    for row in rows():
        print(f"{row.name:28} {1 / row.micros:.2f} M insn/s")


if __name__ == "__main__":
    main()
