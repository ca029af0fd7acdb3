"""Programs that break what they can, under a debugger that looks at everything all the time."""

from collections.abc import Callable

import pytest

from bpf.program import Program, RunInput
from emu.gdb import monitor, stack
from emu.gdb.target import Target
from emu.outcome import RunResult
from emu.runtime.world import World
from emu.sandbox import Sandbox, addresses
from emu.sandbox.debug import DebugMachine, Pause, Resume
from jit import compile_program
from tests.emu.hostile_corpus import Hostile
from tests.emu.test_sandbox_hostile import BPF, NATIVE, good_still_runs

EMPTY = Program("main", (), "sched_cls")
STEPS = 60  # then it runs
EVERY = 15  # stops between looks at everything
COMMANDS = ("bpf", "args", "frame all", "checks", "help")


class _Curious:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._stops = 0

    def stopped(self, pause: Pause) -> Resume:
        self._stops += 1
        if self._stops % EVERY == 1 or pause.kind == "trap":
            self._look()
        if pause.stop is not None:
            assert self._target.trap(pause.stop).message
            return Resume(end=True)
        return Resume(step=self._stops < STEPS)

    def _look(self) -> None:
        for text in COMMANDS:
            assert monitor.command(self._target, text)
        assert len(list(stack.levels(self._target))) < 1000
        for name in ("rip", "rsp", "rbp"):
            self._target.memory(self._target.machine.register(name), 64)

    def interrupts(self) -> bool:
        return False


@pytest.fixture(scope="module")
def machine() -> DebugMachine:
    return DebugMachine()


def _end(result: RunResult) -> tuple[object, ...]:
    checks = [one.check for one in result.violations]
    return ("trap", result.trap.kind) if result.trap else ("result", result.r0, *checks)


def _look_at(machine: DebugMachine, made: Callable[[], Sandbox], name: str) -> None:
    alone = made().run(RunInput())
    engine = made()
    machine.debugger = _Curious(Target(machine, engine, name))
    try:
        held = engine.run(RunInput())
    finally:
        machine.unhold()
    assert _end(held) == _end(alone), (held.trap, held.violations)
    good_still_runs(machine)


@pytest.mark.parametrize("case", NATIVE, ids=lambda case: case.name)
def test_native(machine: DebugMachine, case: Hostile) -> None:
    functions = [("main", addresses.IMAGE, case.native(machine))]

    def made() -> Sandbox:
        world = World(EMPTY, memory=machine.memory)
        return Sandbox.of_bytes(machine, world, functions, seconds=case.seconds)

    _look_at(machine, made, case.name)


@pytest.mark.parametrize("case", BPF, ids=lambda case: case.name)
def test_bpf(machine: DebugMachine, case: Hostile) -> None:
    verified = case.verified()
    image = compile_program(verified)

    def made() -> Sandbox:
        return Sandbox(machine, World(verified.program, memory=machine.memory), image, seconds=case.seconds)

    _look_at(machine, made, case.name)
