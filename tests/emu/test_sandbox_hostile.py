"""Nothing a program does may end the process, go unnoticed, or disturb the next program."""

from collections.abc import Iterator

import pytest

from bpf.asm import parse
from bpf.program import Program, RunInput
from emu.outcome import TRAP_KINDS, RunResult
from emu.runtime.world import World
from emu.sandbox import Machine, Sandbox, addresses
from jit import compile_program
from tests.emu.hostile_corpus import Hostile, load, unverified

NATIVE = load("native.txt")
BPF = load("bpf.txt")

_GOOD = parse(
    """
static int main(void *ctx):
  r6 = 1
  r7 = 2
  r1 = 1
  r2 = 2
  r3 = 3
  r4 = 4
  r5 = 5
  *(u64 *)(r11 - 8) = 6
  *(u64 *)(r11 - 16) = 7
  call f
  r0 += r6
  r0 += r7
  exit
static long f(long a, long b, long c, long d, long e, long g, long h):
  r6 = *(u64 *)(r11 + 8)
  r7 = *(u64 *)(r11 + 16)
  r0 = r6
  r0 *= r7
  r0 += r1
  exit
""",
    "good",
).program
_GOOD_IMAGE = compile_program(unverified(_GOOD))
_EMPTY = parse("r0 = 0\nexit", "hostile").program


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine()
    # Tables are read at the first call: not on the time of a program.
    world = World(_EMPTY)
    world.kfunc("okf_sum5", (0,) * 12)
    world.helper(5, ())
    yield made
    made.close()


def good_still_runs(machine: Machine) -> None:
    result = Sandbox(machine, World(_GOOD, memory=machine.memory), _GOOD_IMAGE).run(RunInput())
    assert (result.trap, result.violations, result.r0) == (None, (), 46)


def check(case: Hostile, result: RunResult) -> None:
    got = (
        ("trap", result.trap.kind)
        if result.trap
        else ("violation", result.violations[0].check)
        if result.violations
        else ("result", f"{result.r0:#x}")
    )
    assert got == (case.kind, case.want), result.trap or result.violations
    if result.trap:
        assert result.trap.kind in TRAP_KINDS
        assert "\n" not in result.trap.message
        assert result.trap.native is not None or result.trap.kind == "call"
        if case.insn is not None:
            assert result.trap.insn == case.insn, result.trap.message
            assert result.trap.message.startswith(f"insn {case.insn}: ")


@pytest.mark.parametrize("case", NATIVE, ids=lambda case: case.name)
def test_native(machine: Machine, case: Hostile) -> None:
    world = World(_EMPTY, memory=machine.memory)
    code = case.native(machine)
    engine = Sandbox.of_bytes(machine, world, [("main", addresses.IMAGE, code)], seconds=case.seconds)
    check(case, engine.run(RunInput()))
    good_still_runs(machine)


@pytest.mark.parametrize("case", BPF, ids=lambda case: case.name)
def test_bpf(machine: Machine, case: Hostile) -> None:
    verified = case.verified()
    world = World(verified.program, memory=machine.memory)
    check(case, Sandbox(machine, world, compile_program(verified), seconds=case.seconds).run(RunInput()))
    good_still_runs(machine)


def test_corpus_is_large_and_each_name_is_its_own() -> None:
    for cases, least in ((NATIVE, 150), (BPF, 30)):
        names = [case.name for case in cases]
        assert len(set(names)) == len(names) >= least


def test_hostile_program_run_again_ends_the_same_way(machine: Machine) -> None:
    for name in ("hlt", "recursion", "ret-8", "null-gs", "fills-the-control-page", "forges-a-record"):
        case = next(one for one in NATIVE if one.name == name)
        world = World(_EMPTY, memory=machine.memory)
        engine = Sandbox.of_bytes(
            machine, world, [("main", addresses.IMAGE, case.native(machine))], seconds=case.seconds
        )
        results = [engine.run(RunInput()) for _ in range(3)]
        assert results[0] == results[1] == results[2]


def test_wild_writes_beside_all_objects_are_gone_for_the_next_program(machine: Machine) -> None:
    base = machine.memory.arenas["maps"].base
    empty = Program("w", _EMPTY.insns)
    code = b"\x48\xb8" + (base + 0x300008).to_bytes(8, "little") + b"\x48\x89\x00\x31\xc0\xc3"
    world = World(empty, memory=machine.memory)
    engine = Sandbox.of_bytes(machine, world, [("main", addresses.IMAGE, code)])
    assert engine.run(RunInput()).trap is None
    arena = machine.memory.arenas["maps"]
    assert bytes(arena.view[0x300008:0x300010]) == (base + 0x300008).to_bytes(8, "little")
    World(empty, memory=machine.memory)
    assert not any(arena.view[0x300000:0x301000])
