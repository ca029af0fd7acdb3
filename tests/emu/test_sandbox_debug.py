"""A machine that a debugger holds: what is looked at is not changed by looking."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bpf.program import Request, RunInput
from emu.load import load_file
from emu.outcome import RunResult
from emu.pipeline import Options, Pipeline
from emu.sandbox import Sandbox, addresses
from emu.sandbox.debug import Debugger, DebugMachine, Killed, Pause, Resume
from tests.emu.gdb_kit import CALLBACK, request_of

TEXTS = Path(__file__).parents[2] / "fixtures" / "text"
PROGRAMS = [
    *(
        load_file(str(TEXTS / name))[0].request
        for name in ("reverse12.bpf", "map_loop12.bpf", "loop_callback.bpf", "packet_xdp.bpf", "sum6.bpf")
    ),
    request_of(CALLBACK),
]


class _Script:
    """Does what it is told at each stop, and counts."""

    def __init__(
        self, does: Callable[[Pause], Resume], interrupts: Callable[[], bool] = lambda: False
    ) -> None:
        self.pauses: list[Pause] = []
        self._does = does
        self.interrupts = interrupts

    def stopped(self, pause: Pause) -> Resume:
        self.pauses.append(pause)
        return self._does(pause)


@pytest.fixture(scope="module")
def machine() -> DebugMachine:
    return DebugMachine()


def _engine(machine: DebugMachine, request: Request) -> tuple[Sandbox, tuple[RunResult, ...]]:
    """The sandbox, and what a machine of precise mode makes of the program."""
    pipeline = Pipeline(Options())
    case = pipeline.run(request, {}, ("verify", "jit"))
    assert case.image is not None
    engine = pipeline.sandbox(machine, 30.0, request.program, case.image, {})
    machine.calling_back = lambda: engine.conversation.calling_back
    return engine, pipeline.explain(request, case.image, {}).runs


def _held(
    machine: DebugMachine, engine: Sandbox, debugger: Debugger, request: Request
) -> tuple[RunResult, ...]:
    machine.debugger = debugger
    try:
        return tuple(engine.run(run) for run in request.runs)
    finally:
        machine.unhold()


@pytest.mark.parametrize("request_", PROGRAMS, ids=lambda one: one.program.name)
def test_steps_change_nothing(machine: DebugMachine, request_: Request) -> None:
    engine, expected = _engine(machine, request_)
    script = _Script(lambda _: Resume(step=True))
    assert _held(machine, engine, script, request_) == expected
    assert len(script.pauses) > 10
    engine, expected = _engine(machine, request_)
    assert tuple(engine.run(run) for run in request_.runs) == expected  # nobody holds it


def test_stops_are_in_the_program_or_at_a_stub_and_the_stack_shows_callers(machine: DebugMachine) -> None:
    request = request_of(CALLBACK)
    engine, _ = _engine(machine, request)
    stops: set[int] = set()

    def look(_pause: Pause) -> Resume:
        stops.add(machine.pc)
        assert machine.read(machine.pc, 1) is not None
        return Resume(step=True)

    _held(machine, engine, _Script(look), request)
    outside = {pc for pc in stops if engine.code.function_at(pc) is None}
    stub = machine.symbol("bpf_for_each_array_elem")
    assert outside == {stub, stub + 12, machine.returned}


def test_all_that_is_read_can_be_written_back(machine: DebugMachine) -> None:
    request = request_of(CALLBACK)
    engine, expected = _engine(machine, request)

    def rewrite(_pause: Pause) -> Resume:
        for base, size in ((addresses.STACK, addresses.STACK_SIZE), (addresses.IMAGE, addresses.PAGE)):
            data = machine.read(base, size)
            assert data is not None
            assert machine.write(base, data)
        for name in ("rip", "rsp", "rax", "eflags", "r15"):
            machine.set_register(name, machine.register(name))
        return Resume(step=True)

    assert _held(machine, engine, _Script(rewrite), request) == expected


def test_interrupts_come_at_instructions_of_the_program(
    machine: DebugMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emu.sandbox.debug._POLL", 3)
    request = request_of(CALLBACK)
    engine, expected = _engine(machine, request)
    stops: list[int] = []

    def look(_pause: Pause) -> Resume:
        stops.append(machine.pc)
        return Resume()

    script = _Script(look, lambda: True)
    assert _held(machine, engine, script, request) == expected
    assert {pause.kind for pause in script.pauses[1:]} == {"interrupt"}
    assert len(stops) > 10
    stub = machine.symbol("bpf_for_each_array_elem")
    assert {pc for pc in stops if engine.code.function_at(pc) is None} <= {stub, stub + 12, machine.returned}


def test_a_killed_run_leaves_a_machine_that_works(machine: DebugMachine) -> None:
    request = PROGRAMS[0]
    engine, expected = _engine(machine, request)

    def kill(_pause: Pause) -> Resume:
        raise Killed

    with pytest.raises(Killed):
        _held(machine, engine, _Script(kill), request)
    engine, expected = _engine(machine, request)
    assert _held(machine, engine, _Script(lambda _: Resume()), request) == expected


def test_time_at_a_stop_does_not_count(machine: DebugMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of a repeated run share their seconds; an hour at the first stop is none of them."""
    request = PROGRAMS[0]
    request = replace(request, runs=(RunInput(repeat=3),))
    engine, expected = _engine(machine, request)
    clock = [0.0]
    for module in ("emu.sandbox.sandbox", "emu.sandbox.debug"):
        monkeypatch.setattr(f"{module}.monotonic", lambda: clock[0])

    def wait(_pause: Pause) -> Resume:
        clock[0] += 3600.0
        return Resume()

    assert _held(machine, engine, _Script(wait), request) == expected
