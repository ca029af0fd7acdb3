"""`Sandbox.confirm` says yes where `run` finds nothing, and never where it finds something.

All faults of the JIT, and expectations that were changed, are its adversaries.
"""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bpf.asm import parse
from bpf.errors import InputError
from bpf.program import Program, RunInput
from bpf.verified import Verified
from emu.compare import compare, without_inlined
from emu.interp import Interpreter
from emu.mutants.campaign import Campaign, Subject
from emu.mutants.catalogue import MUTANTS
from emu.mutants.mutant import Mutant, planted
from emu.outcome import Outcome, RunResult
from emu.runtime.world import World
from emu.sandbox import Checks, Machine, Sandbox
from jit import compile_program
from jit.image import Image
from verifier import verify

CALLS = """
prog tc
map sums: array key 4 value 16 max 1
extern u64 okf_sum12(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j, u64 k, u64 l)
int main(void *ctx):
    r6 = *(u32 *)(r1 +76)
    r7 = *(u32 *)(r1 +80)
    r9 = r6
    r9 += 16
    r0 = 0
    if r9 > r7 goto out
    r8 = *(u64 *)(r6 +0)
    r9 = *(u64 *)(r6 +8)
    *(u64 *)(r6 +8) = r8
    r1 = map[sums][0]+8
    lock *(u64 *)(r1 +0) += r8
    r1 = r8
    r2 = r9
    r3 = 3
    r4 = 4
    r5 = 5
    *(u64 *)(r11 -8) = r9
    call add
    r1 = r0
    r2 = r9
    r3 = 3
    r4 = r8
    r5 = 5
    *(u64 *)(r11 -8) = 6
    *(u64 *)(r11 -16) = r9
    *(u64 *)(r11 -24) = 8
    *(u64 *)(r11 -32) = 9
    *(u64 *)(r11 -40) = 10
    *(u64 *)(r11 -48) = 11
    *(u64 *)(r11 -56) = r8
    call okf_sum12
    out:
    exit
static u64 add(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f):
    r0 = r1
    r0 += r2
    r1 = *(u64 *)(r11 +8)
    r0 ^= r1
    exit
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


class Both:
    """A program, ready for both engines, and what the interpreter says of some runs."""

    def __init__(self, machine: Machine, text: str, runs: list[RunInput]) -> None:
        self.machine = machine
        self.runs = runs
        self.program: Program = parse(text, "test").program
        verdict = verify(self.program, log_level=0)
        assert isinstance(verdict, Verified), verdict.message
        self.image: Image = compile_program(verdict)
        world = World(self.program)
        engine = Interpreter(world)
        outcome = Outcome("interp", tuple(engine.run(run) for run in runs), world.contents())
        self.outcome = without_inlined(outcome, verdict.inlined)

    def confirmed(self, wanted: tuple[RunResult, ...] | None = None, rules: Checks | None = None) -> bool:
        world = World(self.program, memory=self.machine.memory)
        sandbox = Sandbox(self.machine, world, self.image, rules=rules)
        wanted = self.outcome.runs if wanted is None else wanted
        return sandbox.confirm(self.runs, wanted) and world.contents() == self.outcome.maps


def inputs(count: int) -> list[RunInput]:
    rng = random.Random(5)
    return [RunInput(data_in=rng.randbytes(14 + rng.randrange(5) * (n % 7 == 0))) for n in range(count)]


@pytest.fixture(scope="module")
def calls(machine: Machine) -> Both:
    return Both(machine, CALLS, [RunInput(data_in=random.Random(n).randbytes(40)) for n in range(300)])


def test_many_runs_of_one_program(calls: Both) -> None:
    assert calls.confirmed()
    assert calls.confirmed()
    assert all(run.trap is None and len(run.calls) == len(run.entries) == 1 for run in calls.outcome.runs)


@pytest.mark.parametrize("at", [0, 1, 255, 256, 299])
def test_a_changed_expectation_of_any_run_is_not_confirmed(calls: Both, at: int) -> None:
    def changed(run: RunResult) -> Iterator[RunResult]:
        (call,), (entry,) = run.calls, run.entries
        yield replace(run, retval=run.retval ^ 1)
        yield replace(run, errno="ENOSPC")
        assert run.data_out is not None
        yield replace(run, data_out=run.data_out[:-1] + bytes((run.data_out[-1] ^ 1,)))
        for number in (0, 5, 11):
            args = list(call.args)
            args[number] ^= 1 << 63
            yield replace(run, calls=(replace(call, args=tuple(args)),))
        yield replace(run, calls=(replace(call, insn=0),))
        yield replace(run, calls=(replace(call, callee="okf_sum11"),))
        yield replace(run, calls=(call, call))
        yield replace(run, calls=())
        yield replace(run, calls=(replace(call, ret=call.ret ^ 1),))
        yield replace(run, entries=(replace(entry, args=(*entry.args[:5], 1)),))
        yield replace(run, entries=(replace(entry, after=1),))
        yield replace(run, entries=(replace(entry, ret=1),))
        yield replace(run, entries=(replace(entry, function=0),))
        yield replace(run, entries=())

    right = calls.outcome.runs
    for wrong in changed(right[at]):
        assert not calls.confirmed((*right[:at], wrong, *right[at + 1 :])), wrong
    assert calls.confirmed()


def test_runs_of_many_lengths_and_refused_ones(machine: Machine) -> None:
    runs = [RunInput(data_in=bytes((n,)) * (14 + n % 5)) for n in range(40)]
    runs += [RunInput(data_in=b"short"), RunInput(), RunInput(ctx_in=bytes(192)), RunInput(data_in=bytes(64))]
    both = Both(machine, CALLS, runs)
    assert {run.errno for run in both.outcome.runs} == {"OK", "EINVAL"}
    assert both.confirmed()


def test_what_this_way_cannot_tell_is_not_confirmed(machine: Machine, calls: Both) -> None:
    assert not calls.confirmed(rules=Checks(extended=frozenset({"*"})))
    assert not calls.confirmed(rules=Checks(dirty=frozenset({"*"})))
    memory = Both(
        machine,
        "prog tc\nint main(void *ctx):\n    r1 = r10\n    r1 += -16\n    r2 = 16\n    call bpf_get_current_comm\n    r0 = 0\n    exit\n",
        [RunInput()],
    )
    assert not memory.confirmed()
    trap = replace(calls.outcome.runs[0], calls_dropped=1)
    assert not calls.confirmed((trap, *calls.outcome.runs[1:]))
    again = Both(machine, "prog tc\nint main(void *ctx):\n    r0 = 0\n    exit\n", [RunInput(repeat=3)])
    assert not again.confirmed()


def test_helpers_without_memory_are_answered(machine: Machine) -> None:
    text = "prog tc\nint main(void *ctx):\n    call bpf_get_prandom_u32\n    r6 = r0\n    call bpf_ktime_get_ns\n    r0 ^= r6\n    exit\n"
    assert Both(machine, text, inputs(20)).confirmed()


def _agrees(campaign: Campaign, subject: Subject, image: Image) -> bool:
    machine = campaign.pipeline.machine
    world = World(subject.request.program, memory=machine.memory)
    sandbox = Sandbox(machine, world, image, seconds=1.0)
    return (
        sandbox.confirm(subject.request.runs, subject.expected.runs)
        and world.contents() == subject.expected.maps
    )


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return Campaign()


def test_programs_of_the_mutants_are_confirmed(campaign: Campaign) -> None:
    for subject in campaign.subjects:
        image = compile_program(subject.verified)
        throws = any(ref.name == "bpf_throw" for ref in subject.request.program.kfuncs)
        assert _agrees(campaign, subject, image) != throws, subject.request.program.name


@pytest.mark.parametrize(
    "mutant", [one for one in MUTANTS if one.layer == "jit"], ids=lambda mutant: str(mutant.name)
)
def test_no_fault_of_the_jit_is_confirmed(campaign: Campaign, mutant: Mutant) -> None:
    with planted(mutant):
        for subject in campaign.subjects:
            try:
                image = compile_program(subject.verified)
                confirmed = _agrees(campaign, subject, image)
            except InputError:
                continue
            if confirmed:
                outcome = campaign.pipeline.execute(subject.request, image, {})
                assert compare(subject.expected, outcome, subject.request.program.maps) is None
