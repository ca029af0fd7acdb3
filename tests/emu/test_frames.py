"""Frames against execution: random programs, each kind of function, and faults that must be seen."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from benchmarks import frames
from bpf import asm, isa
from bpf.insn import Insn
from bpf.program import Program, RunInput
from bpf.verified import Subprog, Verified
from emu.runtime.world import World
from emu.sandbox import Machine, Sandbox
from emu.sandbox.framewatch import FrameWatch
from jit import PRESETS, compile_program
from jit.frame import Frame, Place
from jit.image import Image
from verifier import assume


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


def test_random_programs(machine: Machine) -> None:
    """More of them: `python -m benchmarks.frames 0 5000`."""
    found = [frames.check(number, machine) for number in range(20_000, 20_100)]
    assert [one.differences for one in found if one.differences] == []
    accepted = [one for one in found if one.accepted]
    assert len(accepted) > 90
    assert sum(one.arguments for one in accepted) > 500
    assert sum(one.activations for one in accepted) > 200
    assert sum(one.branches for one in accepted) > 300


def _program(text: str) -> Program:
    return asm.parse(text, "test").program


TWELVE = """
prog syscall
int main(void *ctx):
    *(u64 *)(r11 -56) = 12
    *(u64 *)(r11 -48) = 11
    *(u64 *)(r11 -40) = 10
    *(u64 *)(r11 -32) = 9
    *(u64 *)(r11 -24) = 8
    *(u64 *)(r11 -16) = 7
    *(u64 *)(r11 -8) = 6
    r1 = 1
    r2 = 2
    r3 = 3
    r4 = 4
    r5 = 5
    call add12
    r0 = 0
    exit
static u64 add12(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j, u64 k, u64 l):
    r6 = *(u64 *)(r11 +8)
    r7 = *(u64 *)(r11 +16)
    r8 = *(u64 *)(r11 +56)
    *(u64 *)(r10 -8) = r6
    r8 /= r7
    r0 = *(u64 *)(r10 -8)
    r0 += r8
    exit
"""


def _watch(machine: Machine, image: Image) -> FrameWatch:
    world = World(image.verified.program, memory=machine.memory)
    sandbox = Sandbox(machine, world, image, seconds=20.0)
    with FrameWatch(sandbox) as watch:
        result = sandbox.run(RunInput())
    assert result.trap is None
    return watch


def _twelve() -> Image:
    return compile_program(assume(_program(TWELVE)))


def test_every_argument_in_memory_is_seen_where_the_frame_has_it(machine: Machine) -> None:
    watch = _watch(machine, _twelve())
    assert watch.differences == []
    assert watch.arguments == 6 + 2
    assert watch.activations == 2


def _changed(image: Image, number: int, change: Callable[[Frame], Frame]) -> Image:
    functions = list(image.functions)
    functions[number] = replace(functions[number], frame=change(functions[number].frame))
    return replace(image, functions=tuple(functions))


FAULTS: dict[str, tuple[int, Callable[[Frame], Frame], str]] = {
    "argument 7 one word too high": (
        0,
        lambda frame: replace(frame, outgoing=frame.outgoing | {7: Place("rbp", -40)}),
        "did not write its argument",
    ),
    "incoming argument 12 one word too low": (
        1,
        lambda frame: replace(frame, incoming=frame.incoming | {12: Place("rbp", 48)}),
        "did not read its argument",
    ),
    "rbx and r13 swapped": (
        1,
        lambda frame: replace(frame, saved=tuple((reg, -40 - at) for reg, at in frame.saved[:2])),
        "is not saved at",
    ),
    "a push that is not told": (
        1,
        lambda frame: replace(frame, moves=frame.moves[:2] + frame.moves[3:]),
        "below the CFA, the frame says",
    ),
    "rbp too early": (1, lambda frame: replace(frame, rbp_from=0), "the CFA is [rbp+0x10]"),
    "no program stack": (1, lambda frame: replace(frame, stack_depth=0), "writes 8 bytes at CFA-0x18"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_frame_that_is_wrong_is_seen(machine: Machine, fault: str) -> None:
    number, change, says = FAULTS[fault]
    watch = _watch(machine, _changed(_twelve(), number, change))
    assert any(says in difference for difference in watch.differences), watch.differences


def test_code_that_breaks_the_frame_is_seen(machine: Machine) -> None:
    """The saved rbx is overwritten by code that the frame knows nothing of."""
    image = _twelve()
    first = image.functions[1]
    code = first.code.replace(bytes.fromhex("48895df8"), bytes.fromhex("48895df0"))  # [rbp-8] -> [rbp-0x10]
    assert code != first.code
    watch = _watch(machine, replace(image, functions=(image.functions[0], replace(first, code=code))))
    assert any("writes 8 bytes at CFA-0x20" in difference for difference in watch.differences)


def test_tail_calls_counts_and_pushes_inside_of_instructions(machine: Machine) -> None:
    """A function that is reachable by tail calls, with divisions and shifts that push, in the profile without BMI2."""
    mov = isa.ALU64 | isa.MOV | isa.K
    insns = (
        Insn(mov, 6, imm=100),
        Insn(mov, 3, imm=3),
        Insn(isa.OP_CALL, 0, isa.PSEUDO_CALL, 0, 3),
        Insn(isa.ALU64 | isa.DIV | isa.X, 6, 3),
        Insn(mov, 0, imm=0),
        Insn(isa.OP_EXIT),
        Insn(mov, 7, imm=1),
        Insn(mov, 3, imm=3),
        Insn(isa.ALU64 | isa.LSH | isa.X, 7, 3),
        Insn(isa.ALU64 | isa.MOD | isa.X, 7, 3),
        Insn(mov, 0, imm=0),
        Insn(isa.OP_EXIT),
    )
    subs = (
        Subprog("main", 0, 6, "main", 1, 8, tail_call_reachable=True),
        Subprog("f", 6, 12, "static", 0, 16, tail_call_reachable=True),
    )
    verified = Verified(Program("t", insns, "syscall"), insns, tuple(range(12)), subs)
    watch = _watch(machine, compile_program(verified, PRESETS["7.3-nobmi2"]))
    # r3 is lost in the call: the division afterwards is by what the sandbox leaves there, which is not 0
    assert watch.differences == []
    assert watch.activations == 2
