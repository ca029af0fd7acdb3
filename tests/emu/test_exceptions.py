"""bpf_throw in both engines, stack that nobody wrote, and what a stub leaves: results must be the same, whoever runs."""

from pathlib import Path

import pytest

from bpf.exceptions import callback
from bpf.request import parse_request
from emu.load import load_file
from emu.pipeline import Case, Pipeline
from tests.emu.test_foreign_recorded import rarer

PROGRAMS = Path(__file__).parents[2] / "emu" / "mutants" / "programs"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline()


def run(pipeline: Pipeline, tmp_path: Path, text: str) -> Case:
    file = tmp_path / "p.bpf"
    file.write_text(f"prog tc\n\n{text}")
    return pipeline.run(load_file(str(file))[0].request)


def r0(case: Case) -> int:
    assert case.difference is None, case.difference.message
    assert case.interp is not None
    assert case.interp.runs[0].trap is None
    assert case.sandbox is not None
    assert case.sandbox.runs[0].r0 == case.interp.runs[0].r0
    return case.interp.runs[0].r0


def test_a_cookie_is_the_result(pipeline: Pipeline, tmp_path: Path) -> None:
    text = "long main(struct __sk_buff *ctx):\n    r1 = 42\n    call bpf_throw\n    r0 = 1\n    exit\n"
    assert r0(run(pipeline, tmp_path, text)) == 42
    case = pipeline.run(load_file(str(PROGRAMS / "throw.bpf"))[0].request)
    assert r0(case) == 13
    assert case.sandbox is not None
    assert [entry.ret for entry in case.sandbox.runs[0].entries] == [
        None,
        None,
    ]  # both were left without a return


def test_a_thrown_run_leaves_nothing_behind(pipeline: Pipeline) -> None:
    request = load_file(str(PROGRAMS / "throw.bpf"))[0].request
    for _ in range(3):
        assert r0(pipeline.run(request)) == 13
        assert pipeline.machine.gates.depth == 0


def test_precise_mode_follows_an_exception(pipeline: Pipeline) -> None:
    request = load_file(str(PROGRAMS / "throw.bpf"))[0].request
    case = pipeline.run(request)
    assert case.image is not None
    outcome = pipeline.explain(request, case.image, {})
    assert outcome.runs[0].violations == ()
    assert outcome.runs[0].r0 == 13


def test_a_callback_of_the_programs_own(pipeline: Pipeline) -> None:
    """Programs that a real kernel compiled: their callbacks are found by declaration tags, and give the result."""
    found = 0
    for record in rarer():
        if record["name"].startswith("throw-args") and "blinded" not in record:
            request = parse_request({"name": record["name"], **record["request"]})
            start = callback(request.program)
            assert start is not None
            assert 0 < start < len(request.program.insns)
            assert r0(pipeline.run(request)) != 0
            found += 1
    assert found >= 3


def test_old_stack_is_fresh_in_both_engines(pipeline: Pipeline, tmp_path: Path) -> None:
    """A function reads what an earlier call wrote at the same place; a kernel lets privileged programs do so."""
    text = (
        "int main(struct __sk_buff *skb):\n    call f\n    call g\n    exit\n\n"
        "static long f(void):\n    *(u64 *)(r10 - 8) = 7\n    *(u64 *)(r10 - 200) = 8\n    r0 = 0\n    exit\n\n"
        "static long g(void):\n    r0 = *(u64 *)(r10 - {})\n    exit\n"
    )
    for off in (8, 200):
        assert r0(run(pipeline, tmp_path, text.format(off))) == 0xA5A5_A5A5_A5A5_A5A5


def test_what_a_caller_wrote_stays(pipeline: Pipeline, tmp_path: Path) -> None:
    """Filling a callee's stack touches neither its caller's nor its arguments."""
    text = (
        "int main(struct __sk_buff *skb):\n    *(u64 *)(r10 - 8) = 5\n    r1 = r10\n    r1 += -8\n    r2 = 2\n    r3 = 3\n"
        "    r4 = 4\n    r5 = 5\n    *(u64 *)(r11 - 8) = 6\n    *(u64 *)(r11 - 16) = 7\n    call f\n"
        "    r1 = *(u64 *)(r10 - 8)\n    r0 += r1\n    exit\n\n"
        "static long f(long *a, long b, long c, long d, long e, long f, long g):\n    r0 = *(u64 *)(r11 + 16)\n"
        "    *(u64 *)(r10 - 512) = 1\n    r2 = *(u64 *)(r1 + 0)\n    r0 += r2\n    exit\n"
    )
    case = run(pipeline, tmp_path, text.replace("r10 - 512", "r10 - 496"))
    assert r0(case) == 7 + 5 + 5


def test_pointers_into_stacks_in_per_cpu_memory(pipeline: Pipeline, tmp_path: Path) -> None:
    """Private stacks: a pointer is a frame and an offset in both engines, and what nobody wrote is the same."""
    file = tmp_path / "p.bpf"
    file.write_text(
        "prog raw_tracepoint\n\nint main(u64 *ctx):\n    *(u64 *)(r10 - 200) = 5\n    r1 = r10\n    r1 += -200\n    call f\n    exit\n\n"
        "static long f(u64 *p):\n    *(u64 *)(r10 - 128) = 7\n    r2 = r10\n    r2 += -128\n    r1 = *(u64 *)(r1 + 0)\n    call g\n    exit\n\n"
        "static long g(long a, u64 *q):\n    *(u64 *)(r10 - 104) = 1\n    r3 = *(u64 *)(r10 - 96)\n    r0 = *(u64 *)(r2 + 0)\n    r0 += r1\n    r0 ^= r3\n    exit\n"
    )
    case = pipeline.run(load_file(str(file))[0].request)
    assert r0(case) == (7 + 5) ^ 0xA5A5_A5A5_A5A5_A5A5
    assert case.image is not None
    assert all(sub.private_stack for sub in case.image.verified.subprogs)
    assert case.sandbox is not None
    assert [str(entry.shown[entry.frame]) for entry in case.sandbox.runs[0].entries] == ["fp0-200", "fp1-128"]


def test_pointers_just_above_a_frame(pipeline: Pipeline, tmp_path: Path) -> None:
    """A program may compute them and pass them on; they belong to the frame below."""
    text = (
        "int main(struct __sk_buff *skb):\n    r1 = r10\n    r1 += 1\n    call f\n    exit\n\n"
        "static long f(long a):\n    r2 = r10\n    r2 += 8\n    call g\n    exit\n\n"
        "static long g(long x, long a):\n    r0 = 0\n    exit\n"
    )
    case = run(pipeline, tmp_path, text)
    assert r0(case) == 0
    assert case.sandbox is not None
    assert [str(entry.shown[number]) for number, entry in enumerate(case.sandbox.runs[0].entries)] == [
        "fp0+1",
        "fp1+8",
    ]
