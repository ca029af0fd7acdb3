"""A program to its trace: run as `bpfemu run` does, then again in both engines with everything written down."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from bpf.errors import InputError
from bpf.program import Program, Request
from bpf.verified import Verified
from emu.compare import Difference, compare, without_inlined
from emu.interp.layout import STACK_SPACING, STACK_TOP
from emu.mutants.mutant import Mutant, planted
from emu.outcome import Outcome, RunResult, Violation
from emu.pipeline import PRECISE_SECONDS, Case, Options, Pipeline
from emu.removed import with_removed
from emu.runtime.world import World
from emu.sandbox import addresses
from emu.sandbox.sandbox import Sandbox
from emu.trace import native
from emu.trace.align import Alignment
from emu.trace.calls import calls
from emu.trace.code import Code
from emu.trace.native import NativeLog
from emu.trace.reference import ReferenceLog
from emu.trace.trace import Call, Finding, Run, Trace
from jit.image import Image
from jit.profile import PRESETS

LIMIT: Final = 20_000  # steps
_SEEN_IN_CALLS: Final = ("argument", "result", "callee", "violation")  # differences that are found apart


@dataclass(frozen=True, slots=True)
class Recording:
    """Both logs of all runs, and how those ended."""

    sandbox: Sandbox
    code: Code
    reference: ReferenceLog
    native: NativeLog
    ours: Outcome
    theirs: Outcome

    @property
    def full(self) -> bool:
        """Whether a log ended before its runs did."""
        return self.reference.full or self.native.full


def record(
    request: Request,
    others: Mapping[str, Program],
    options: Options,
    *,
    file: str = "",
    limit: int = LIMIT,
    through: bool = False,
    mutant: Mutant | None = None,
    make: Callable[[Verified], Image] | None = None,
) -> Case | Trace:
    """The trace of a program; the case where the verifier rejects it.

    limit: steps that are kept. through: do not end at the first finding. mutant: a fault to compile it with.
    make: makes the native code in place of our JIT. Raises
    InputError when an engine cannot take the program, or its request is not to be run.
    """
    pipeline = Pipeline(options)
    with planted(mutant) if mutant is not None else nullcontext():
        case = pipeline.run(request, others, make=make)
        if case.error is not None:
            raise case.error
        if case.rejected and case.image is None:
            return case
        if case.image is None or not request.run:
            raise InputError(file or request.program.name, "", "is not to be run: there is nothing to trace")
        made = _recorded(pipeline, case, limit)
    return _Assembly(case, made, options, limit, through).trace(
        file, mutant.name if mutant is not None else ""
    )


def _recorded(pipeline: Pipeline, case: Case, limit: int) -> Recording:
    request, others, image = case.request, case.others, case.image
    assert image is not None
    world = World(request.program, seed=pipeline.options.seed, programs=others)
    log = ReferenceLog(limit)
    engine = log.engine(world, pipeline.options.budget)
    runs: list[RunResult] = []
    for number, run in enumerate(request.runs):
        log.run = number
        runs.append(engine.run(run))
        if log.full:
            break
    ours = Outcome("interp", tuple(runs), world.contents(), world.dumps())
    machine = pipeline.precise_machine
    sandbox = pipeline.sandbox(machine, PRECISE_SECONDS, request.program, image, others)
    code = Code(sandbox.code)
    runs = []
    with NativeLog(sandbox, code, limit) as watch:
        for number, run in enumerate(request.runs):
            watch.begin(number)
            runs.append(sandbox.run(run))
            watch.end()
            if watch.full:
                break
    theirs = Outcome("sandbox", tuple(runs), sandbox.world.contents(), sandbox.world.dumps())
    ours = without_inlined(ours, image.verified.inlined)
    return Recording(sandbox, code, log, watch, ours, with_removed(image.verified, ours, theirs))


class _Assembly:
    """From a recording to a trace."""

    def __init__(self, case: Case, made: Recording, options: Options, limit: int, through: bool) -> None:
        self.case = case
        self.made = made
        self.options = options
        self.limit = limit
        self.through = through
        self.moments: Sequence[native.Moment] = made.native.moments
        trapped = frozenset(n for n, run in enumerate(made.ours.runs) if run.trap is not None)
        self.aligned = Alignment(
            made.reference.moments, self.moments, made.code, cut=made.full, trapped=trapped
        )

    def trace(self, file: str, mutant: str) -> Trace:
        """All of it, cut behind the first finding unless everything is wanted."""
        case, made, aligned = self.case, self.made, self.aligned
        found = sorted(self._findings(), key=lambda one: (one.seen, one.step, one.kind == "value"))
        differs = case.difference is not None or any(one.kind != "value" for one in found)
        stop = found[0] if found and differs else None
        steps, cut = aligned.steps, self._cut(bool(found))
        if stop is not None and not self.through and stop.seen + 1 < len(steps):
            steps = steps[: stop.seen + 1]
            cut = "the trace ends at the first difference"
        last = len(steps) - 1
        trapped = any(run.trap is not None for run in (case.interp.runs if case.interp is not None else ()))
        return Trace(
            name=case.request.program.name,
            file=file,
            profile=self._profile(),
            mutant=mutant,
            verdict="differs" if differs else "both trap" if trapped else "agrees",
            difference=case.difference.message if case.difference is not None else "",
            programs=made.code.programs,
            functions=made.code.functions,
            activations=tuple(made.native.activations),
            shapes=tuple(made.native.shapes),
            steps=tuple(steps),
            calls=tuple(call for call in self.calls if call.step <= last),
            after=next((call for call in self.calls if call.step > last and call.differs), None),
            findings=tuple(one for one in found if one.seen <= last),
            runs=tuple(run for run in self._runs() if run.first <= max(last, 0)),
            stop=None if stop is None else stop.step,
            cut=cut,
            names=self._names(),
            stacks=(STACK_TOP, STACK_SPACING),
        )

    # ---- findings

    def _findings(self) -> Iterator[Finding]:
        self.calls = tuple(self._calls())
        yield from self.aligned.findings
        for run, result in enumerate(self.made.theirs.runs):
            yield from self._violations(run, result.violations)
        yield from self._call_findings()
        if not self.made.full:
            found = compare(self.made.ours, self.made.theirs, self.case.request.program.maps)
            if found is not None and found.kind not in _SEEN_IN_CALLS:
                yield self._ending(found)

    def _calls(self) -> Iterator[Call]:
        made = self.made
        for run, (mine, other) in enumerate(zip(made.ours.runs, made.theirs.runs, strict=False)):
            events = [event for event in made.native.events if event.run == run]
            yield from calls(run, mine, other, events, self.aligned.where, made.code)

    def _violations(self, run: int, violations: Sequence[Violation]) -> Iterator[Finding]:
        """Each at the instruction that it names, the latest time that this was reached before it was noticed."""
        where = self.aligned.where
        moments = [(n, one) for n, one in enumerate(self.moments[: len(where)]) if one.run == run]
        if not moments:
            return
        counts = [one.noticed for _, one in moments]
        for number, one in enumerate(violations):
            at = min(bisect_right(counts, number), len(moments) - 1)
            named = (n for n in range(at, -1, -1) if moments[n][1].addr == one.native)
            step = where[moments[next(named, at)][0]]
            yield Finding(step, where[moments[at][0]], one.check, one.message, one.insn, one.native)

    def _call_findings(self) -> Iterator[Finding]:
        for call in self.calls:
            if not call.differs:
                continue
            insn, at = call.insn, call.step
            where = "" if insn is None else f"insn {insn}: "
            native_addr = self.aligned.steps[at].addr
            parted = [arg for arg in call.args if arg.differs]
            for arg in parted:
                text = f"{where}argument {arg.number} of {call.callee}: interpreter {arg.shown[0]}, sandbox {arg.shown[1]}"
                yield Finding(at, at, "argument", text, insn, native_addr, arg.number)
            if None not in call.results and call.results[0] != call.results[1]:
                text = f"{where}result of {call.callee}: interpreter {call.shown[0]}, sandbox {call.shown[1]}"
                yield Finding(at, self._return(at), "result", text, insn, native_addr)

    def _return(self, call: int) -> int:
        """The step at which a call has returned."""
        steps = self.aligned.steps
        depth = None
        for number in range(call, len(steps)):
            frames = steps[number].frames
            if depth is None:
                depth = self._depth(call)
            elif (frames is not None and len(frames) <= depth) or number == len(steps) - 1:
                return number
        return call

    def _depth(self, step: int) -> int:
        for one in reversed(self.aligned.steps[: step + 1]):
            if one.frames is not None:
                return len(one.frames)
        return 0

    def _ending(self, found: Difference) -> Finding:
        """A difference of whole runs, at the last step of the run that it belongs to."""
        run = len(self.aligned.runs) - 1 if found.run is None else found.run
        early = found.kind == "trap" and found.native is None  # the reference stopped, native code went on
        steps = [
            n for n, one in enumerate(self.aligned.steps) if one.run == run and (one.begins or not early)
        ]
        last = steps[-1] if steps else max(len(self.aligned.steps) - 1, 0)
        return Finding(last, last, found.kind, found.message, found.insn, found.native)

    # ---- the rest

    def _cut(self, found: bool) -> str:
        if not self.made.full:
            return ""
        text = f"only the first {self.limit} instructions of each engine were recorded"
        if self.case.difference is not None and not found:
            text += f"; behind them: {self.case.difference.message}"
        return text

    def _runs(self) -> Iterator[Run]:
        firsts = self.aligned.runs
        for number, (mine, other) in enumerate(
            zip(self._ends("interp"), self._ends("sandbox"), strict=False)
        ):
            if number < len(firsts):
                yield Run(firsts[number], (mine, other))

    def _ends(self, engine: str) -> list[str]:
        """How all runs ended when nobody watched."""
        outcome = self.case.interp if engine == "interp" else self.case.sandbox
        return [] if outcome is None else [_end(run) for run in outcome.runs]

    def _profile(self) -> str:
        return next((name for name, one in PRESETS.items() if one == self.options.profile), "")

    def _names(self) -> dict[int, str]:
        """What numbers are that occur as values."""
        sandbox = self.made.sandbox
        program = sandbox.world.program
        names = {addresses.POISON_WORD + number: f"poison, argument {number}" for number in range(7, 13)}
        names |= {value: f"poison, {reg}" for reg, value in addresses.POISON.items()}
        names |= {value: f"caller's {reg}" for reg, value in addresses.SENTINELS.items()}
        names[int.from_bytes(bytes((addresses.STACK_FILL,)) * 8, "little")] = "never written"
        names |= {sandbox.world.map_pointer(n): f"map {spec.name}" for n, spec in enumerate(program.maps)}
        names |= {one.addr: one.name for one in self.made.code.functions}
        return names


def _end(run: RunResult) -> str:
    if run.errno != "OK":
        return f"refused: {run.errno}"
    if run.trap is not None:
        return f"trap {run.trap.kind}: {run.trap.message}"
    return f"r0 = {run.r0:#x}, retval {run.retval}"
