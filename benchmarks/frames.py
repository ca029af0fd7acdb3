"""Frames of random programs, as compiled and as run: `python -m benchmarks.frames FIRST COUNT`.

Of each accepted program: its code disassembles completely, every branch lands on an instruction, and a run shows rsp,
return address, saved registers and every access of the stack where the frame says they are.
"""

import sys
from collections import Counter
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from benchmarks.generated import generate
from bpf.program import RunInput
from bpf.verified import Rejected, Verified
from emu.runtime.world import World
from emu.sandbox import Machine, Sandbox
from emu.sandbox.framewatch import FrameWatch
from emu.soundness.inputs import random_maps
from jit import PRESETS, Profile, compile_program
from jit.decoder import new_decoder
from jit.image import NativeFunction
from verifier import verify

_DECODER = new_decoder()
_PROFILES: Final = ("7.3", "7.3-nobmi2", "plain")
_SLOTS: Final = 7
_REPORT: Final = 500


@dataclass(frozen=True, slots=True)
class Checked:
    """What was compared of one program, and every difference. accepted: by the verifier; else nothing was compared."""

    accepted: bool
    differences: tuple[str, ...] = ()
    branches: int = 0
    instructions: int = 0
    accesses: int = 0
    arguments: int = 0
    activations: int = 0


def check(number: int, machine: Machine) -> Checked:
    """Generated program `number`, in one of three profiles."""
    program = generate(number, _SLOTS)
    verdict = verify(program, log_level=0)
    if isinstance(verdict, Rejected):
        return Checked(False)
    return watch(verdict, machine, PRESETS[_PROFILES[number % len(_PROFILES)]], number)


def watch(verified: Verified, machine: Machine, profile: Profile, seed: int) -> Checked:
    """Compile, decode and run a verified program once, with random values in its maps."""
    image = compile_program(verified, profile)
    differences: list[str] = []
    branches = 0
    for compiled in image.functions:
        found, count = decoded(compiled)
        differences += found
        branches += count
    world = World(random_maps(verified.program, seed), memory=machine.memory, seed=seed)
    sandbox = Sandbox(machine, world, image, profile=profile, seconds=20.0)
    with FrameWatch(sandbox) as found_in_run:
        result = sandbox.run(RunInput())
    if result.trap is not None:
        differences.append(f"trap: {result.trap.message}")
    differences += (violation.message for violation in result.violations)
    return Checked(
        True,
        (*differences, *found_in_run.differences),
        branches,
        found_in_run.instructions,
        found_in_run.accesses,
        found_in_run.arguments,
        found_in_run.activations,
    )


def decoded(compiled: NativeFunction) -> tuple[list[str], int]:
    """What a disassembler finds wrong with a function, and its number of branches."""
    code = compiled.code
    insns = list(_DECODER.disasm_lite(code, 0))
    starts = {at for at, _, _, _ in insns}
    fields = {reloc.off for reloc in compiled.relocs}
    differences = []
    if sum(size for _, size, _, _ in insns) != len(code):
        differences.append(f"{compiled.name}: does not disassemble to its end")
    branches = 0
    for at, _, name, operands in insns:
        if name[0] == "j" and at + 1 not in fields and operands[0] in "0123456789":
            branches += 1
            if int(operands, 0) not in starts:
                differences.append(f"{compiled.name}+{at:#x}: {name} {operands} leads between instructions")
    return differences, branches


def main(first: int, count: int) -> int:
    """Checks the programs `first` .. until `count` were accepted, and says how it went; 1 if anything differs."""
    totals: Counter[str] = Counter()
    machine = Machine()
    started = perf_counter()
    number = first
    while totals["accepted"] < count:
        done = check(number, machine)
        number += 1
        totals["accepted" if done.accepted else "rejected"] += 1
        totals["differing"] += bool(done.differences)
        for name in ("branches", "instructions", "accesses", "arguments", "activations"):
            totals[name] += getattr(done, name)
        for difference in done.differences:
            print(f"program {number - 1}: {difference}")
        if done.accepted and totals["accepted"] % _REPORT == 0:
            print(f"{perf_counter() - started:.0f} s: {dict(totals)}", flush=True)
    machine.close()
    print(f"{perf_counter() - started:.0f} s: {dict(totals)}")
    return int(bool(totals["differing"]))


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:3])))
