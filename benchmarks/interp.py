"""How many BPF instructions a second the reference interpreter executes. Run as `python -m benchmarks.interp`."""

from time import process_time

from bpf.asm import assemble
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


def main() -> None:
    for name, text in LOOPS.items():
        print(f"interpreter, {name}: {rate(text):.2f} M insn/s")


if __name__ == "__main__":
    main()
