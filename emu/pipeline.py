"""One program through all stages: verify, compile, run in both engines, compare.

This is the flow of the architecture and nothing else: each stage is called once, each value is kept in the `Case`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter

from bpf.errors import InputError
from bpf.program import Program, Request
from bpf.verified import Rejected, Verified
from emu.arena import in_arena
from emu.compare import Difference, compare, without_inlined
from emu.interp import Interpreter
from emu.outcome import Outcome
from emu.removed import with_removed
from emu.runtime.memory import Memory
from emu.runtime.world import World
from emu.sandbox import Checks, Machine, Sandbox
from jit import compile_program
from jit.image import Image
from jit.profile import DEFAULT, Profile
from verifier import assume, verify
from verifier.recorder import Recorder

ENGINES = ("verify", "jit", "interp", "sandbox")
PRECISE_SECONDS = (
    60.0  # a run in precise mode, which watches 1.5 million instructions at most, and is short behind them
)


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: seed of the runtime's deterministic values; budget in BPF instructions a run; seconds of native
    time a run; unverified: run what the verifier rejects, too; rules: what the sandbox demands of native code; explain:
    look at a difference once more, in precise mode; insn_limit: of the verifier, visited instructions; quick: where native
    code does what the interpreter says, take its records for the sandbox's (`Sandbox.confirm`), for many programs."""

    seed: int = 0
    budget: int = 4_000_000
    seconds: float = 2.0
    unverified: bool = False
    profile: Profile = DEFAULT
    mode: str = "kernel"
    rules: Checks = field(default_factory=Checks)
    explain: bool = True
    insn_limit: int = 1_000_000
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """What became of one program; a field is None where its stage was not reached or not asked for.

    precise: the sandbox's outcome in precise mode, which is only run where there is a difference to explain.
    """

    request: Request
    verdict: Verified | Rejected | None = None
    image: Image | None = None
    interp: Outcome | None = None
    sandbox: Outcome | None = None
    difference: Difference | None = None
    precise: Outcome | None = None
    error: InputError | None = None
    seconds: float = 0.0
    others: Mapping[str, Program] = field(default_factory=dict)

    @property
    def rejected(self) -> bool:
        """Whether the verifier refused the program."""
        return isinstance(self.verdict, Rejected)


class Pipeline:
    """Runs cases one after the other; the sandbox's machine is made once, when it is first needed."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._machine: Machine | None = None
        self._slow: Machine | None = None
        self.memory = Memory()  # of the interpreter's worlds, one after the other

    @property
    def machine(self) -> Machine:
        """The reusable native machine."""
        if self._machine is None:
            self._machine = Machine()
        return self._machine

    @property
    def precise_machine(self) -> Machine:
        """The machine that looks at every instruction, made when it is first needed."""
        if self._slow is None:
            self._slow = Machine(precise=True)
        return self._slow

    def close(self) -> None:
        """End the watchdogs of the machines; nothing can run afterwards."""
        for machine in (self._machine, self._slow):
            if machine is not None:
                machine.close()

    def run(
        self,
        request: Request,
        others: Mapping[str, Program] | None = None,
        engines: tuple[str, ...] = ENGINES,
        recorder: Recorder | None = None,
        make: Callable[[Verified], Image] | None = None,
    ) -> Case:
        """The case of one request. others: programs of the same object that tail calls may reach, by name.
        recorder: keeps the states of the verification, whose log level then is as `verify` says. make: makes the image in
        place of our JIT; what it makes is always run in precise mode, too. It may raise InputError.

        A stage that cannot take the program (a map type without behaviour, an instruction without lowering) leaves
        its field None and says why in `Case.error`; the other stages still run.
        """
        if "sandbox" in engines:
            _ = self.machine  # made once: no program's time should count it
        started = perf_counter()
        case = Case(request, others=others or {})
        verdict = verify(
            request.program,
            log_level=request.log_level,
            mode=self.options.mode,
            recorder=recorder,
            insn_limit=self.options.insn_limit,
        )
        case = replace(case, verdict=verdict)
        for engine in ENGINES[1:]:
            if engine in engines or (engine == "jit" and "sandbox" in engines):
                try:
                    case = self._stage(engine, case, make)
                except InputError as error:
                    case = replace(case, error=case.error or error)
        if case.interp is not None and case.sandbox is not None:
            image = case.image
            assert image is not None
            if (case.difference is not None and self.options.explain) or make is not None:
                case = replace(case, precise=self.explain(request, image, case.others))
            if case.difference is None and case.precise is not None:
                case = replace(case, difference=self._difference(case, image, case.precise))
        return replace(case, seconds=perf_counter() - started)

    def _confirmed(self, case: Case) -> Outcome | None:
        """The sandbox's outcome, where a quick look shows that it is the interpreter's; None where that cannot be said."""
        if case.interp is None or case.image is None:
            return None
        request = case.request
        wanted = without_inlined(case.interp, case.image.verified.inlined).runs
        engine = self.sandbox(self.machine, self.options.seconds, request.program, case.image, case.others)
        if not engine.confirm(request.runs, wanted) or engine.world.contents() != case.interp.maps:
            return None
        extra: dict[str, object] = {"layout": engine.layout, "codes": engine.codes}
        runs = tuple(replace(run, insns=None) for run in wanted)
        return Outcome("sandbox", runs, case.interp.maps, engine.world.dumps(), extra)

    def _stage(self, engine: str, case: Case, make: Callable[[Verified], Image] | None) -> Case:
        verified = self._verified(case)
        if verified is None:
            return case
        if engine == "jit":
            image = make(verified) if make else compile_program(verified, self.options.profile)
            return replace(case, image=image)
        if not case.request.run:
            return case
        if engine == "interp":
            return replace(case, interp=self.interpret(case.request, case.others))
        if case.image is None:
            return case
        if self.options.quick and make is None and (found := self._confirmed(case)) is not None:
            return replace(case, sandbox=found)  # it has been compared
        native = self.execute(case.request, case.image, case.others)
        return replace(case, sandbox=native, difference=self._difference(case, case.image, native))

    def _difference(self, case: Case, image: Image, native: Outcome) -> Difference | None:
        """Where native code first does something else than the interpreter, which has run before it."""
        if case.interp is None:
            return None
        expected = without_inlined(case.interp, image.verified.inlined)
        actual = with_removed(image.verified, expected, native)
        return compare(expected, actual, case.request.program.maps)

    def _verified(self, case: Case) -> Verified | None:
        if isinstance(case.verdict, Verified):
            return case.verdict
        return assume(case.request.program) if self.options.unverified else None

    def interpret(self, request: Request, others: Mapping[str, Program]) -> Outcome:
        """All runs of a request in the reference interpreter, on the same maps."""
        world = World(request.program, memory=self.memory, seed=self.options.seed, programs=others)
        engine = Interpreter(world, budget=self.options.budget, in_arena=in_arena(request.program))
        runs = tuple(engine.run(run) for run in request.runs)
        return Outcome("interp", runs, world.contents(), world.dumps())

    def explain(self, request: Request, image: Image, others: Mapping[str, Program]) -> Outcome:
        """As `execute`, in precise mode: slow, and its violations say where."""
        return self._native(self.precise_machine, PRECISE_SECONDS, request, image, others)

    def execute(self, request: Request, image: Image, others: Mapping[str, Program]) -> Outcome:
        """All runs of a request as native code, on the same maps."""
        return self._native(self.machine, self.options.seconds, request, image, others)

    def _native(
        self, machine: Machine, seconds: float, request: Request, image: Image, others: Mapping[str, Program]
    ) -> Outcome:
        engine = self.sandbox(machine, seconds, request.program, image, others)
        runs = tuple(engine.run(run) for run in request.runs)
        extra: dict[str, object] = {"layout": engine.layout, "codes": engine.codes}
        world = engine.world
        placed = all(function.offsets for function in image.functions)
        gated = len(image.functions) == len(image.verified.subprogs)
        return Outcome(
            "sandbox", runs, world.contents(), world.dumps(), extra, placed, gated, engine.code.usual
        )

    def sandbox(
        self, machine: Machine, seconds: float, program: Program, image: Image, others: Mapping[str, Program]
    ) -> Sandbox:
        """A sandbox with a world of its own, ready for the first run. Raises InputError as `run` notes it."""
        return Sandbox(
            machine,
            World(program, memory=machine.memory, seed=self.options.seed, programs=others),
            image,
            seconds=seconds,
            programs=self._tail_images(program, others),
            profile=self.options.profile,
            rules=self.options.rules,
        )

    def _tail_images(self, program: Program, others: Mapping[str, Program]) -> dict[str, Image]:
        """Images of the programs that prog arrays hold. Raises InputError when one is missing or rejected."""
        names = {name for spec in program.maps for _, name in spec.progs} - {program.name}
        images = {}
        for name in sorted(names):
            if name not in others:
                raise InputError(program.name, f"program {name}", "is in a prog array, but not in this file")
            verdict = verify(others[name], mode=self.options.mode)
            if isinstance(verdict, Rejected):
                raise InputError(
                    program.name, f"program {name}", f"is in a prog array, but is rejected: {verdict.message}"
                )
            images[name] = compile_program(verdict, self.options.profile)
        return images
