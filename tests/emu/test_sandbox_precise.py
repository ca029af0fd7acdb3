"""Precise mode: silent on code that keeps the convention, never upset by code that does not; what instructions use."""

from collections.abc import Iterator

import pytest

from bpf.program import RunInput
from bpf.request import parse_request
from bpf.verified import Verified
from emu.outcome import TRAP_KINDS
from emu.pipeline import Options, Pipeline
from emu.runtime.world import World
from emu.sandbox import Machine, Sandbox, uses
from jit import compile_program
from tests.emu.hostile_corpus import Hostile, load
from tests.emu.test_sandbox_recorded import recordings
from verifier import verify

BPF = load("bpf.txt")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine(precise=True)
    yield made
    made.close()


@pytest.mark.parametrize(("family", "step"), [("F2", 40), ("F3", 40), ("F6", 60)])
def test_code_that_keeps_the_convention(family: str, step: int) -> None:
    pipeline = Pipeline(Options())
    ran = 0
    for record in recordings()[family][3::step]:
        request = parse_request(record)
        verified = verify(request.program)
        assert isinstance(verified, Verified)
        outcome = pipeline.explain(request, compile_program(verified), {})
        found = [(run.trap, run.violations) for run in outcome.runs]
        assert found == [(None, ())] * len(found), record["name"]
        ran += 1
    assert ran >= 3


@pytest.mark.parametrize("case", BPF, ids=lambda case: case.name)
def test_hostile_programs_end_in_a_result(machine: Machine, case: Hostile) -> None:
    verified = case.verified()
    world = World(verified.program, memory=machine.memory)
    result = Sandbox(machine, world, compile_program(verified), seconds=0.3).run(RunInput())
    assert result.trap is None or result.trap.kind in TRAP_KINDS
    if case.kind == "violation":
        assert result.violations


@pytest.mark.parametrize(
    ("code", "kind", "reads", "writes", "memory"),
    [
        ("4801d8", uses.OTHER, "rax rbx", "rax", False),  # add rax, rbx
        ("4531c9", uses.OTHER, "", "r9", False),  # xor r9d, r9d
        ("488b7d10", uses.OTHER, "rbp", "rdi", True),  # mov rdi, [rbp + 16]
        ("48894de8", uses.OTHER, "rbp rcx", "", True),  # mov [rbp - 24], rcx
        ("4989c2", uses.OTHER, "", "r10", False),  # mov r10, rax: saved in scratch
        ("40883a", uses.OTHER, "rdi rdx", "", True),  # mov [rdx], dil
        ("53", uses.IMPLICIT, "", "rsp", False),  # push rbx
        ("0f1f440000", uses.OTHER, "", "", False),  # nop
        ("c3", uses.RET, "rsp", "rsp", False),
        ("e900000000", uses.JUMP, "", "", False),
        ("06", uses.OTHER, "", "", False),  # no instruction
    ],
)
def test_uses(code: str, kind: str, reads: str, writes: str, memory: bool) -> None:
    use = uses.use_of(bytes.fromhex(code), 0x1000)
    assert (use.kind, use.memory) == (kind, memory)
    assert use.reads == set(reads.split())
    assert use.writes == set(writes.split())


def test_target_of_a_call() -> None:
    use = uses.use_of(bytes.fromhex("e8fbffffff"), 0xFFFF_FFFF_C000_0000)
    assert (use.kind, use.target, use.size) == (uses.CALL, 0xFFFF_FFFF_C000_0000, 5)
