"""Reduction of real differences: generated programs, with known faults of the JIT, the verifier and the interpreter."""

import pytest

from benchmarks.generated import generate
from bpf import isa
from bpf.program import Request
from emu.fuzz.judge import Judge
from emu.fuzz.reduce import Reduced, reduce
from emu.mutants import find, planted
from emu.pipeline import Options, Pipeline


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(Pipeline(Options(budget=300_000, insn_limit=50_000)), ("engines", "accepted", "sound"))


def shrunk(judge: Judge, number: int) -> Reduced:
    """The first complaint about generated program `number`, and what becomes of it; a fault has to be planted."""
    request = Request(generate(number, 7))
    finding = judge.judge(request).findings[0]
    return reduce(request, {}, finding, judge)


# mutant, number of the program, instructions that are left at most
PAIRS = (
    ("rbx-forgotten", 0, 3),  # two would do, but r6 has to be in use and r0 to be set
    ("argument-6-lost", 0, 5),
    ("argument-8-lost", 4, 7),  # three stores, and a function that takes them
    ("no-give-back", 4, 7),
    ("no-leave", 0, 2),
    ("stack-store-sign", 1, 10),  # endless loops on the way, which must cost no time
    ("r6-not-restored", 0, 6),  # in the interpreter
    ("arguments-stay", 0, 5),  # in the verifier: a state that it does not have is met
)


@pytest.mark.parametrize(("mutant", "number", "most"), PAIRS, ids=str)
def test_a_few_instructions_are_left(mutant: str, number: int, most: int, judge: Judge) -> None:
    with planted(find(mutant)):
        result = shrunk(judge, number)
        judged = judge.judge(result.request)
    assert result.insns_after <= most
    assert result.stopped == ""
    assert result.finding in judged.findings
    assert judge.judge(result.request).findings == ()


def test_the_same_each_time_and_again(judge: Judge) -> None:
    with planted(find("argument-8-lost")):
        first = shrunk(judge, 4)
        assert shrunk(judge, 4) == first
        again = reduce(first.request, first.others, first.finding, judge)
    assert again.request == first.request
    assert again.insns_before == again.insns_after == first.insns_after


def test_what_is_left_of_twelve_arguments(judge: Judge) -> None:
    """Seven stores, each needed."""
    with planted(find("argument-12-lost")):
        result = shrunk(judge, 4)
    stores = [insn.off for insn in result.request.program.insns if insn.dst == isa.REG_PARAMS]
    assert sorted(stores) == [-56, -48, -40, -32, -24, -16, -8]
    assert result.insns_after == 11
