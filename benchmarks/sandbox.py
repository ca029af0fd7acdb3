"""How fast the sandbox is: fresh programs with a 12-argument call, new inputs for one program, long loops.

Each is measured without any check and with all checks of fast mode. The baseline of fresh programs is what one writes
first: a new Uc a program, stack and code mapped, a Python hook on every instruction that reads the callee's arguments with
reg_read and mem_read, and an instruction count as the limit.

    python -m benchmarks.sandbox            tables
    python -m benchmarks.sandbox --rss      memory over 100,000 fresh programs
"""

import random
import resource
import struct
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import Any

import unicorn

from benchmarks.rows import Row
from bpf import isa
from bpf.asm import parse
from bpf.insn import Insn
from bpf.program import Program, RunInput
from bpf.verified import Subprog, Verified
from emu.interp import Interpreter
from emu.outcome import RunResult
from emu.runtime.world import World
from emu.sandbox import Machine, Sandbox, addresses
from jit import compile_program, place
from jit.decoder import new_decoder
from jit.image import Image, Layout

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
LOOPS = 300_000
LOOP = f"""
  r1 = {LOOPS}
  r0 = 0
loop:
  *(u64 *)(r10 - 8) = r0
  r0 = *(u64 *)(r10 - 8)
  r0 += 7
  r0 ^= r1
  r1 -= 1
  if r1 != 0 goto loop
  exit
"""
ROUNDS = 7
FRESH = 200
INPUTS = 1000
RUN = RunInput()


def image_of(seed: int) -> Image:
    """The program with another constant."""
    program = parse(TEXT.format(seed=seed), f"bench{seed}").program
    insns = list(program.insns)
    for number, ref in enumerate(program.kfuncs):
        old = insns[ref.insn]
        insns[ref.insn] = type(old)(old.code, old.dst, old.src, old.off, number)
    return image_from(program, insns=tuple(insns), out=isa.MAX_STACK_ARG_SLOTS)


def image_from(
    program: Program, stack: int = 0, insns: tuple[Insn, ...] | None = None, out: int = 0
) -> Image:
    """A program of one function, compiled without the verifier."""
    insns = insns or program.insns
    sub = Subprog("main", 0, len(insns), "main", stack_depth=stack, out_stack_args=out)
    verified = Verified(program, insns, tuple(range(len(insns))), (sub,), kfuncs=program.kfuncs)
    return compile_program(verified)


def best(work: Callable[[], None], count: int) -> float:
    """Microseconds of processor time a piece, the best of ROUNDS."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times) / count * 1e6


class Bare:
    """The same programs without any check: a world, the code in place, the same way in and out, a callee that only returns.

    What is left out: the script or the question at each call, poison, a fresh stack, what stands in the code,
    and all comparing.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.callee = {"okf_sum12": machine.symbol("__x86_return_thunk")}
        self.extent = 0

    def place(self, image: Image) -> bytes:
        return place(image, Layout((addresses.IMAGE,), self.callee))[0]

    def load(self, code: bytes) -> None:
        machine, extent = self.machine, max(len(code), self.extent)
        machine.loaded = None
        machine.image[: len(code)] = code
        machine.cpu.forget(addresses.IMAGE, addresses.IMAGE + extent)
        self.extent = len(code)

    def run(self, world: World, run: RunInput) -> int:
        machine = self.machine
        machine.control.arm(world.begin(run))
        machine.cpu.start(addresses.TEXT, addresses.END)
        return world.finish(machine.control.exit().rax).retval

    def fresh(self, image: Image) -> int:
        world = World(image.verified.program, memory=self.machine.memory)
        self.load(self.place(image))
        return self.run(world, RUN)


def baseline(code: bytes, stub: int) -> int:
    """One program the obvious way: a new Uc, a Python hook on every instruction, an instruction count."""
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

    def hook(cpu: Any, addr: int, _size: int, _user: object) -> None:
        if addr != stub:
            return
        names = ("RDI", "RSI", "RDX", "RCX", "R8", "R9")
        seen.extend(cpu.reg_read(getattr(x86, f"UC_X86_REG_{name}")) for name in names)
        rsp = cpu.reg_read(x86.UC_X86_REG_RSP)
        seen.extend(struct.unpack("<6Q", cpu.mem_read(rsp + 8, 48)))
        cpu.reg_write(x86.UC_X86_REG_RAX, sum(seen) & isa.U64)

    cpu.hook_add(uc.UC_HOOK_CODE, hook)
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


class Subjects:
    """FRESH programs that differ in a constant, what the interpreter says of them, and of INPUTS inputs of the first."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.images = [image_of(seed) for seed in range(FRESH)]
        self.wanted = [self.interpret(image, [RUN]) for image in self.images]
        rng = random.Random(1)
        self.inputs = [RunInput(data_in=rng.randbytes(64)) for _ in range(INPUTS)]
        self.results = self.interpret(self.images[0], self.inputs)

    @staticmethod
    def interpret(image: Image, runs: Sequence[RunInput]) -> tuple[RunResult, ...]:
        engine = Interpreter(World(image.verified.program))
        return tuple(engine.run(run) for run in runs)

    def sandbox(self, image: Image) -> Sandbox:
        return Sandbox(self.machine, World(image.verified.program, memory=self.machine.memory), image)

    def confirm_all(self) -> None:
        """World, sandbox and run of each program, all checks of fast mode, compared with what the interpreter says."""
        for image, wanted in zip(self.images, self.wanted, strict=True):
            assert self.sandbox(image).confirm((RUN,), wanted)


def rows() -> list[Row]:
    """Fresh programs: the obvious way, without checks, with all of them."""
    subjects = Subjects()
    machine, images = subjects.machine, subjects.images
    bare = Bare(machine)
    stub = machine.symbol("okf_sum12")
    codes = [subjects.sandbox(image).codes[0] for image in images[:40]]

    def obvious() -> None:
        for code in codes:
            baseline(code, stub)

    def unchecked() -> None:
        for image in images:
            bare.fresh(image)

    def recorded() -> None:
        for image in images:
            subjects.sandbox(image).run(RUN)

    return [
        Row("new Uc, Python hook on every instruction", best(obvious, len(codes))),
        Row("fresh program, no checks", best(unchecked, FRESH)),
        Row("fresh program, all checks", best(subjects.confirm_all, FRESH)),
        Row("fresh program, all checks, everything recorded", best(recorded, FRESH)),
    ]


def input_rows() -> list[Row]:
    """New inputs for one program: without checks, with all of them."""
    subjects = Subjects()
    image = subjects.images[0]
    bare = Bare(subjects.machine)
    world = World(image.verified.program, memory=subjects.machine.memory)

    def unchecked() -> None:
        bare.load(bare.place(image))
        for run in subjects.inputs:
            bare.run(world, run)

    def confirmed() -> None:
        assert subjects.sandbox(image).confirm(subjects.inputs, subjects.results)

    def recorded() -> None:
        engine = subjects.sandbox(image)
        for run in subjects.inputs:
            engine.run(run)

    return [
        Row("one by one, no checks", best(unchecked, INPUTS)),
        Row("all checks", best(confirmed, INPUTS)),
        Row("all checks, everything recorded", best(recorded, INPUTS)),
    ]


def loop_rows() -> list[Row]:
    """One native instruction of a long loop over registers and stack: without checks, with all of them."""
    machine = Machine()
    image = image_from(parse(LOOP, "loop").program, 8)
    native = image.functions[0]
    body = native.code[native.offsets[2] : native.offsets[8]]
    executed = LOOPS * len(list(new_decoder().disasm_lite(body, 0)))
    bare = Bare(machine)
    code = bare.place(image)
    world = World(image.verified.program, memory=machine.memory)
    engine = Sandbox(machine, world, image)

    def unchecked() -> None:
        bare.load(code)
        bare.run(world, RUN)

    def checked() -> None:
        assert engine.run(RUN).trap is None

    return [Row("no checks", best(unchecked, executed)), Row("all checks", best(checked, executed))]


def _work(seconds: float) -> float:
    """Fresh programs a second of wall clock, all checks, that this process does."""
    subjects = Subjects()
    done, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        subjects.confirm_all()
        done += FRESH
    return done / (time.monotonic() - start)


def process_rows(seconds: float = 3.0) -> list[Row]:
    """Wall clock of a fresh program with all checks, in one process and in two at once."""
    made = []
    for count in (1, 2):
        with get_context("spawn").Pool(count) as pool:
            made.append(
                Row(f"{count} process{'es' * (count > 1)}", 1e6 / sum(pool.map(_work, [seconds] * count)))
            )
    return made


def report_rss() -> None:
    subjects = Subjects()
    print(f"{'programs':>9} {'KiB':>7}")
    for round_ in range(100_000 // FRESH + 1):
        if round_ * FRESH == 1000 or round_ % (20_000 // FRESH) == 0:
            print(f"{round_ * FRESH:9} {rss():7}", flush=True)
        subjects.confirm_all()


GROUPS = {
    "sandbox, one fresh program with a 12-argument call": rows,
    "sandbox, one new input for a program with a 12-argument call": input_rows,
    "sandbox, one native instruction of a long loop": loop_rows,
    "sandbox, one fresh program in all checks, wall clock": process_rows,
}


def main() -> None:
    if "--rss" in sys.argv:
        report_rss()
        return
    for title, measure in GROUPS.items():
        measured = measure()
        print(f"{title:60} {'us':>9} {'a second':>12} {'ratio':>6}")
        for row in measured:
            print(
                f"  {row.name:58} {row.micros:9.3f} {1e6 / row.micros:12,.0f} {measured[0].micros / row.micros:6.1f}"
            )


if __name__ == "__main__":
    main()
