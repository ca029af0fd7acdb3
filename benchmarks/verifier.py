"""How many instructions a second the verifier visits, and in how much memory. Run as `python -m benchmarks.verifier`.

The baseline is what one writes first: unsigned bounds only, every state a copy, no pruning, no precision, no log. It takes
the straight-line program only, and would never end with the others' branches.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from time import process_time

from benchmarks.rows import Row
from bpf import isa
from bpf.asm import parse
from bpf.program import Program
from verifier import verify

HEADER = "prog tc\nint main(void *ctx):\n"
STRAIGHT = 4_000
BRANCHY = 655
LOOP = 10_000


def straight_line() -> Program:
    """4,000 instructions, each visited once: arithmetic of both widths, and the stack."""
    body = [
        "r6 += 7",
        "r7 ^= r6",
        "w8 = w7",
        "r8 &= 1023",
        "r8 <<= 3",
        "*(u64 *)(r10 -16) = r7",
        "r9 = r8",
        "r9 += r6",
        "r2 = *(u64 *)(r10 -16)",
        "r7 += r2",
    ]
    start = [f"r{reg} = *(u32 *)(r1 +{8 * (reg - 6)})" for reg in range(6, 10)]
    lines = start + body * ((STRAIGHT - len(start) - 2) // len(body))
    lines += ["r6 += 1"] * (STRAIGHT - len(lines) - 2) + ["r0 = 0", "exit"]
    return _program(lines)


def branchy() -> Program:
    """A loop with four joins a round, whose second ways are pruned; 100,000 visited instructions."""
    lines = ["r9 = r1", "r8 = 0", "*(u64 *)(r10 -8) = r8", "round:", "r6 = *(u32 *)(r9 +0)"]
    for step in range(4):
        lines += [
            f"if r6 > {1000 * (step + 1)} goto other{step}",
            f"r7 = {step}",
            "*(u64 *)(r10 -16) = r7",
            "r7 += r6",
            f"goto join{step}",
            f"other{step}:",
            "r7 = r6",
            "r7 &= 255",
            "*(u64 *)(r10 -16) = r7",
            f"join{step}:",
            "r2 = *(u64 *)(r10 -16)",
            "r7 += r2",
            "r6 >>= 1",
        ]
    lines += ["r8 = *(u64 *)(r10 -8)", "r8 += 1", "*(u64 *)(r10 -8) = r8"]
    lines += [f"if r8 < {BRANCHY} goto round", "r0 = 0", "exit"]
    return _program(lines)


def bounded_loop() -> Program:
    """A counter that goes from 0 to 10,000 and a sum beside it."""
    text = ["r0 = 0", "r1 = 0", "round:", "r0 += r1", "r2 = r0", "r2 &= 255", "r1 += 1"]
    return _program([*text, f"if r1 != {LOOP} goto round", "exit"])


def _program(lines: list[str]) -> Program:
    text = "\n".join(line if line.endswith(":") else f"    {line}" for line in lines)
    return parse(f"{HEADER}{text}\n", "benchmark").program


PROGRAMS: dict[str, Callable[[], Program]] = {
    "straight line, 4,000 instructions": straight_line,
    "branches and pruning, 100,000 visited": branchy,
    "bounded loop, 10,000 rounds": bounded_loop,
}


# ---- baseline

Bounds = tuple[int, int]
_TOP: Bounds = (0, isa.U64)


def _sum(a: Bounds, b: Bounds) -> Bounds:
    low, high = a[0] + b[0], a[1] + b[1]
    return (low, high) if high <= isa.U64 else _TOP


def _first_try(program: Program) -> int:
    """Instructions visited of a program without jumps."""
    regs: dict[int, Bounds] = dict.fromkeys(range(11), _TOP)
    stack: dict[int, Bounds] = {}
    states = []
    for insn in program.insns:
        states.append((dict(regs), dict(stack)))
        cls, op = insn.cls, insn.op
        if cls == isa.LDX:
            known = stack.get(insn.off, _TOP) if insn.src == isa.FP else _TOP
            top = (1 << 8 * insn.size) - 1
            regs[insn.dst] = known if known[1] <= top else (0, top)
        elif cls == isa.STX:
            stack[insn.off] = regs[insn.src]
        elif cls in (isa.ALU, isa.ALU64):
            imm = insn.imm & isa.U64
            value = regs[insn.src] if insn.code & isa.X else (imm, imm)
            if op == isa.MOV:
                regs[insn.dst] = value
            elif op == isa.ADD:
                regs[insn.dst] = _sum(regs[insn.dst], value)
            elif op == isa.AND:
                regs[insn.dst] = (0, min(regs[insn.dst][1], value[1]))
            else:
                regs[insn.dst] = _TOP
            if cls == isa.ALU and regs[insn.dst][1] > isa.U32:
                regs[insn.dst] = (0, isa.U32)
        elif op == isa.EXIT:
            break
    return len(states)


# ---- measuring


def _time(judge: Callable[[], int], seconds: float = 0.5) -> float:
    """Microseconds of processor time for one visited instruction."""
    visited, start = judge(), process_time()
    visited = 0
    while process_time() - start < seconds:
        visited += judge()
    return (process_time() - start) * 1e6 / visited


def _visited(program: Program) -> int:
    return verify(program, log_level=0).verified_insns


def rows() -> list[Row]:
    made = [Row("bounds and copies, straight line", _time(partial(_first_try, straight_line())))]
    for name, build in PROGRAMS.items():
        made.append(Row(name, _time(partial(_visited, build())), peak_mib=_peak_mib(name)))
    return made


def _peak_mib(name: str) -> float:
    """Peak resident memory of a process of its own that verifies one program."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.verifier", name], capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


def _print_peak(name: str) -> None:
    import resource  # noqa: PLC0415 # not on every system, and needed in the child process only

    _visited(PROGRAMS[name]())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _print_peak(sys.argv[1])
    else:
        for row in rows():
            memory = f"{row.peak_mib:8.0f} MiB" if row.peak_mib else ""
            print(f"{row.name:40} {1e6 / row.micros:12,.0f}/s {memory}")
