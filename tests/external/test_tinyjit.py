"""The example JIT is right, each of its broken copies is found and shown small, and what it does not take is no failure."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu.external.cases import OPTIONS, Bench, JitDiffersError
from emu.external.judge import JitJudge
from emu.external.pipeline import JitFailedError, JitPipeline, NotTakenError
from emu.fuzz.generators import make
from emu.load import load_file
from tests.external.broken import FAULTS, jit

ROOT = Path(__file__).parents[2]
TEXTS = sorted([*(ROOT / "fixtures/text").glob("*.bpf"), *(ROOT / "emu/mutants/programs").glob("*.bpf")])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(str(tmp_path_factory.mktemp("kept")))
    yield made
    made.close()


@pytest.mark.parametrize("file", TEXTS, ids=lambda path: path.stem)
def test_texts(file: Path) -> None:
    pipeline = JitPipeline(jit(), "tinyjit", OPTIONS)
    for item in load_file(str(file)):
        case = pipeline.run(item.request, item.others)
        assert case.difference is None
        assert case.error is None or isinstance(case.error, NotTakenError)
    pipeline.close()


def test_generated_programs_agree() -> None:
    judge = JitJudge(JitPipeline(jit(), "tinyjit", OPTIONS))
    taken = 0
    for number in range(30):
        sample = make(("calls", "isa")[number % 2], 5, number)
        judged = judge.judge(sample.request, sample.others)
        assert not judged.findings
        taken += judged.case.sandbox is not None
    assert taken >= 20
    judge.pipeline.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_shown_small(bench: Bench, fault: str) -> None:
    broken = jit(fault)
    for number in range(120):
        case = bench.case(("calls", "isa")[number % 2], 3, number)
        try:
            case.check(broken)
        except pytest.skip.Exception:
            continue
        except JitDiffersError as error:
            text = str(error)
            assert "--bpfemu-first" in text
            sizes = re.search(r"the program, (\d+) instruction slots of (\d+):", text)
            assert sizes is not None
            assert int(sizes[1]) <= min(int(sizes[2]), 20)
            return
    pytest.fail(f"{fault}: not found in 120 programs")


def test_a_jit_that_raises_is_at_fault() -> None:
    def careless(job: dict[str, object]) -> object:
        raise KeyError(job["name"])

    judge = JitJudge(JitPipeline(careless, "careless", OPTIONS))
    sample = make("calls", 0, 0)
    judged = judge.judge(sample.request, sample.others)
    assert isinstance(judged.case.error, JitFailedError)
    assert judged.findings[0].oracle == "jit"
    assert "careless: calls-0-0: raises KeyError" in judged.findings[0].message
    judge.pipeline.close()


def test_the_reference_that_one_function_calls_inside_is_nobodys_business() -> None:
    """A JIT that does not say where its functions begin is run without gates at them, and agrees all the same."""

    def silent(job: dict[str, object]) -> object:
        found = jit()(job)
        assert isinstance(found, dict)
        return {"code": found["code"]} if "code" in found else found

    judge = JitJudge(JitPipeline(silent, "silent", OPTIONS))
    for number in range(8):
        sample = make("calls", 2, number)
        assert not judge.judge(sample.request, sample.others).findings
    judge.pipeline.close()
