"""A program and its inputs to what was found: a `Breach`, or none. Entry point of the package."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpf.disasm import disasm
from bpf.errors import InputError
from bpf.program import Program, RunInput
from bpf.verified import Rejected, Verified
from emu.interp import Interpreter
from emu.outcome import Trap
from emu.runtime.memory import Memory
from emu.runtime.world import World
from emu.soundness.follow import Follower, Left
from verifier import verify
from verifier.recorder import LIMIT, Recorder

# Traps that say that the program did what the verifier should have kept it from. Others are limits of the runtime.
_FAULTS = ("access", "uninitialized", "stack", "opcode")
_NONE: Mapping[str, Program] = {}


@dataclass(frozen=True, slots=True)
class Breach:
    """A run left the abstract state, or faulted. run: number of the input. where: register, slot, "pc" or "fault".

    value: the concrete word (None: undefined, or none). abstract: what the verifier knew, or the fault's message.
    """

    program: str
    run: int
    insn: int | None
    where: str
    value: int | None
    abstract: str
    text: str = ""

    def __str__(self) -> str:
        place = f"{self.program}, run {self.run + 1}, insn {self.insn} {self.text}"
        if self.where in ("pc", "fault"):
            return f"{place}: {self.abstract}"
        value = "undefined" if self.value is None else f"{self.value:#x}"
        return f"{place}: {self.where} is {value}, not {self.abstract}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a program. runs: that were carried out. steps: states compared. why: why nothing was checked."""

    breach: Breach | None = None
    runs: int = 0
    steps: int = 0
    why: str = ""


def check(
    program: Program,
    inputs: Sequence[RunInput],
    *,
    programs: Mapping[str, Program] = _NONE,
    budget: int = 100_000,
    limit: int = LIMIT,
    seed: int = 0,
    mode: str = "kernel",
) -> Checked:
    """Runs an accepted program on the inputs, in turn and on the same maps, beside the verifier's states.

    budget: instructions of one run. limit: visits of the verifier that are kept at most; a program that needs more is
    not checked, and neither is one that is rejected or that the interpreter cannot take. mode: of the verifier; a breach
    in "kernel" mode that "strict" mode does not have is a hole of the kernel's own rules.
    """
    recorder = Recorder(limit)
    verdict = verify(program, log_level=0, mode=mode, recorder=recorder)
    if isinstance(verdict, Rejected):
        return Checked(why=f"rejected: {verdict.message}")
    return check_recorded(verdict, recorder, inputs, programs=programs, budget=budget, seed=seed)


def check_recorded(
    verified: Verified,
    recorder: Recorder,
    inputs: Sequence[RunInput],
    *,
    programs: Mapping[str, Program] = _NONE,
    budget: int = 100_000,
    seed: int = 0,
    memory: Memory | None = None,
) -> Checked:
    """As `check`, of a program whose verification was recorded. memory: used if given, as that of `World`."""
    if recorder.full:
        return Checked(why=f"more than {recorder.limit} visited instructions")
    try:
        world = World(verified.program, memory=memory, programs=programs, seed=seed)
        return _run(verified, recorder, inputs, world, budget)
    except InputError as error:
        return Checked(why=str(error))


def _run(
    verified: Verified, recorder: Recorder, inputs: Sequence[RunInput], world: World, budget: int
) -> Checked:
    program, follower = verified.program, Follower(recorder, world)
    engine = Interpreter(world, budget=budget, observer=follower, in_arena=verified.in_arena)
    runs = 0
    for number, run in enumerate(inputs):
        try:
            result = engine.run(run)
        except Left as left:
            out = left.outside
            breach = Breach(
                program.name, number, left.insn, out.where, out.value, out.abstract, _text(program, left.insn)
            )
            return Checked(breach, runs + 1, follower.steps)
        finally:
            follower.finished()
        runs += result.insns is not None and result.insns > 0
        if result.trap is not None and result.trap.kind in _FAULTS:
            return Checked(_fault(program, number, result.trap), runs, follower.steps)
    return Checked(None, runs, follower.steps, "" if runs else "no run was possible")


def _fault(program: Program, number: int, trap: Trap) -> Breach:
    return Breach(program.name, number, trap.insn, "fault", None, f"{trap.kind}: {trap.message}")


def _text(program: Program, at: int) -> str:
    insns = program.insns
    return disasm(insns[at], insns[at + 1] if at + 1 < len(insns) else None)
