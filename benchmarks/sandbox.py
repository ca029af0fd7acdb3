"""How fast the sandbox is: fresh programs with a 12-argument call, and new inputs for one program.

The baseline is what one writes first: a new Uc a program, stack and code mapped, a Python hook on the callee that
reads its arguments with reg_read and mem_read, and an instruction count as the limit.

    python -m benchmarks.sandbox            a table
    python -m benchmarks.sandbox --rss      memory over 100,000 fresh programs
"""

import resource
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

import unicorn

from benchmarks.rows import Row
from bpf import isa
from bpf.asm import parse
from bpf.program import Program, RunInput
from bpf.verified import Subprog, Verified
from emu.runtime.world import World
from emu.sandbox import Machine, Sandbox, addresses
from emu.sandbox.control import RETURN
from jit import compile_program
from jit.image import Image

TEXT = """
extern u64 okf_sum12(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j, u64 k, u64 l)
static int main(void *ctx):
  r6 = {seed}
  r1 = 1
  r2 = 2
  r3 = 3
  r4 = r6
  r5 = 5
  *(u64 *)(r11 - 8) = 6
  *(u64 *)(r11 - 16) = r6
  *(u64 *)(r11 - 24) = 8
  *(u64 *)(r11 - 32) = 9
  *(u64 *)(r11 - 40) = 10
  *(u64 *)(r11 - 48) = 11
  *(u64 *)(r11 - 56) = 12
  call okf_sum12
  r0 += r6
  r0 ^= 5
  r0 <<= 1
  r0 -= 3
  exit
"""
ROUNDS = 7


def image_of(seed: int) -> Image:
    program = parse(TEXT.format(seed=seed), f"bench{seed}").program
    insns = list(program.insns)
    for number, ref in enumerate(program.kfuncs):
        old = insns[ref.insn]
        insns[ref.insn] = type(old)(old.code, old.dst, old.src, old.off, number)
    sub = Subprog("main", 0, len(insns), "main", out_stack_args=isa.MAX_STACK_ARG_SLOTS)
    verified = Verified(program, tuple(insns), tuple(range(len(insns))), (sub,), kfuncs=program.kfuncs)
    return compile_program(verified)


def best(work: Callable[[], None], count: int) -> float:
    """Microseconds of processor time a piece, the best of ROUNDS."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times) / count * 1e6


class Fast:
    """The sandbox's machine alone: load, run, record, answer; no world."""

    def __init__(self, machine: Machine, codes: list[bytes]) -> None:
        self.machine = machine
        self.codes = codes

    def ask(self) -> bool:
        control = self.machine.control
        record = control.record()
        at = record.rsp - addresses.STACK
        words = struct.unpack_from("<6Q", self.machine.stack, at + 8)
        control.answer(RETURN, sum(record.args) + sum(words) & isa.U64)
        return True

    def fresh(self) -> None:
        self.machine.on_ask = self.ask
        for code in self.codes:
            self.machine.load(object(), [(addresses.IMAGE, code)])
            assert self.machine.execute(1).done

    def again(self) -> None:
        self.machine.on_ask = self.ask
        for n in range(len(self.codes)):
            assert self.machine.execute(n).done


def baseline(code: bytes, stub: int) -> int:
    """One program the obvious way."""
    uc: Any = unicorn
    x86: Any = unicorn.x86_const
    cpu = uc.Uc(uc.UC_ARCH_X86, uc.UC_MODE_64)
    cpu.ctl_set_tlb_mode(uc.UC_TLB_VIRTUAL)
    cpu.mem_map(addresses.IMAGE, 1 << 16)
    cpu.mem_map(addresses.STACK, addresses.STACK_SIZE)
    cpu.mem_map(stub & ~0xFFF, 4096)
    cpu.mem_write(addresses.IMAGE, code)
    cpu.mem_write(stub, b"\xc3")
    seen: list[int] = []

    def hook(cpu: Any, _addr: int, _size: int, _user: object) -> None:
        names = ("RDI", "RSI", "RDX", "RCX", "R8", "R9")
        seen.extend(cpu.reg_read(getattr(x86, f"UC_X86_REG_{name}")) for name in names)
        rsp = cpu.reg_read(x86.UC_X86_REG_RSP)
        seen.extend(struct.unpack("<6Q", cpu.mem_read(rsp + 8, 48)))
        cpu.reg_write(x86.UC_X86_REG_RAX, sum(seen) & isa.U64)

    cpu.hook_add(uc.UC_HOOK_CODE, hook, None, stub, stub)
    top = addresses.STACK + addresses.STACK_SIZE - 256
    cpu.mem_write(top, (addresses.IMAGE + 0xF000).to_bytes(8, "little"))
    cpu.reg_write(x86.UC_X86_REG_RSP, top)
    cpu.emu_start(addresses.IMAGE, addresses.IMAGE + 0xF000, count=100_000)
    assert len(seen) == 12
    return int(cpu.reg_read(x86.UC_X86_REG_RAX))


def rss() -> int:
    """KiB of this process that are in memory now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def _prepared() -> tuple[Machine, list[Image], list[Sandbox], list[bytes]]:
    machine = Machine()
    images = [image_of(seed) for seed in range(200)]
    worlds = World(images[0].verified.program, memory=machine.memory)
    engines = [Sandbox(machine, worlds, image) for image in images]
    codes = [engine.codes[0] for engine in engines]
    for engine in engines:
        assert engine.run(RunInput()).trap is None
    return machine, images, engines, codes


def rows() -> list[Row]:
    """The baseline, the machine alone, and the machine with a world."""
    machine, images, engines, codes = _prepared()
    fast = Fast(machine, codes)
    stub = machine.symbol("okf_sum12")

    def obvious() -> None:
        for code in codes[:40]:
            baseline(code, stub)

    def whole() -> None:
        for image in images:
            program: Program = image.verified.program
            world = World(program, memory=machine.memory)
            Sandbox(machine, world, image).run(RunInput())

    def rerun() -> None:
        for _ in range(200):
            engines[0].run(RunInput())

    measured = [
        Row("new Uc, Python hook, count", best(obvious, 40)),
        Row("machine, fresh program", best(fast.fresh, 200)),
        Row("machine, same program", best(fast.again, 200)),
        Row("world + sandbox, fresh program", best(whole, 200)),
    ]
    World(images[0].verified.program, memory=machine.memory)
    return [*measured, Row("world + sandbox, same program", best(rerun, 200))]


def main() -> None:
    if "--rss" in sys.argv:
        machine, _, _, codes = _prepared()
        report_rss(machine, codes)
        return
    measured = rows()
    print(f"{'':40} {'us':>8} {'a second':>9} {'ratio':>6}")
    for row in measured:
        ratio = measured[0].micros / row.micros
        print(f"{row.name:40} {row.micros:8.1f} {1e6 / row.micros:9.0f} {ratio:6.1f}")


def report_rss(machine: Machine, codes: list[bytes]) -> None:
    fast = Fast(machine, codes)
    print(f"{'programs':>9} {'KiB':>7}")
    for round_ in range(501):
        if round_ == 5 or round_ % 50 == 0:
            print(f"{round_ * 200:9} {rss():7}", flush=True)
        fast.fresh()


if __name__ == "__main__":
    main()
