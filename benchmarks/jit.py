"""How fast the JIT compiles: BPF instructions a second of processor time, in one process.

    python -m benchmarks.jit [--seconds S] [--listing N]

cold: nothing remembered, each round as in a new process; warm: as in a campaign, after the instructions have been met.
The programs are the recordings of fixtures/golden. For comparison keystone assembles the listing of N instructions of
the same code (capstone's text), which is what an emitter through an assembler would pay.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import keystone
import keystone.keystone

from benchmarks.rows import Row
from bpf.verified import Verified
from jit import compile_program, place
from jit.decoder import new_decoder
from jit.image import Layout
from jit.lower import lowering
from jit.x64.encoder import forget
from tests.jit.recordings import Recording, records


def _programs() -> list[tuple[Verified, Layout]]:
    out = []
    for record in records("programs.jsonl.gz"):
        if record["expect"]["accepted"]:
            recording = Recording(record)
            out.append((recording.verified(), recording.layout()))
    return out


def _rate(name: str, run: Callable[[], int], seconds: float) -> Row:
    """Runs until the time is over: the time of one instruction."""
    done = 0
    start = time.process_time()
    while (elapsed := time.process_time() - start) < seconds:
        done += run()
    return Row(name, elapsed / done * 1e6)


def _keystone(programs: Sequence[tuple[Verified, Layout]], count: int, seconds: float) -> Row:
    decoder = new_decoder()
    assembler: Any = keystone.keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64)  # type: ignore[no-untyped-call]  # no types
    texts = []
    bpf = 0
    for verified, layout in programs:
        image = compile_program(verified)
        bpf += len(verified.insns)
        for function, base, code in zip(
            image.functions, layout.functions, place(image, layout), strict=False
        ):
            decoded = decoder.disasm(code[function.prologue :], base + function.prologue)
            texts += [(f"{insn.mnemonic} {insn.op_str}", insn.address) for insn in decoded]
        if bpf >= count:
            break

    def run() -> int:
        for text, address in texts:
            assembler.asm(text, address)
        return bpf

    return _rate("keystone, the same listing", run, seconds)


def rows(seconds: float = 2.0, listing: int = 3000, *, say: bool = False) -> list[Row]:
    """The assembler, then the compiler cold, warm and with its code placed."""
    programs = _programs()
    total = sum(len(verified.insns) for verified, _ in programs)
    if say:
        print(f"{len(programs):,} programs, {total:,} instructions")

    def warm() -> int:
        for verified, _ in programs:
            compile_program(verified)
        return total

    def cold() -> int:
        lowering.cache_clear()
        forget()
        return warm()

    def placed() -> int:
        for verified, layout in programs:
            place(compile_program(verified), layout)
        return total

    return [
        _keystone(programs, listing, seconds),
        _rate("cold", cold, seconds),
        _rate("warm", warm, seconds),
        _rate("warm, placed", placed, seconds),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each measurement (3)")
    parser.add_argument(
        "--listing", type=int, default=3000, help="BPF instructions that keystone gets (3000)"
    )
    options = parser.parse_args()
    slow, *fast = rows(options.seconds, options.listing, say=True)
    print(f"{slow.name:<28}{1e6 / slow.micros:>12,.0f} insns/s")
    for row in fast:
        ratio = slow.micros / row.micros
        print(f"{row.name:<28}{1e6 / row.micros:>12,.0f} insns/s   {ratio:,.0f} times as fast")


if __name__ == "__main__":
    main()
