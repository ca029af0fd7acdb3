"""Each oracle is silent about what is right, and speaks with a stable kind about what is not."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.generated import generate
from bpf import isa
from bpf.asm import parse
from bpf.program import Request
from emu.compare import compare
from emu.fuzz.judge import Judge
from emu.fuzz.oracles import ORACLES, Exam
from emu.fuzz.oracles.limits import is_limit
from emu.mutants import find, planted
from emu.outcome import CallRecord, Outcome, Pointer, RunResult, Trap
from emu.pipeline import Options, Pipeline
from emu.removed import with_removed
from emu.soundness.inputs import random_inputs, random_maps
from jit.image import Image
from verifier.recorder import Recorder

HOLES = Path(__file__).parents[2] / "fixtures/strict"

CALLS = """
prog tc
map values: array key 4 value 8 max 1

int main(struct __sk_buff *ctx):
    r6 = *(u32 *)(r1 +8)
    r1 = map[values][0]+0
    r7 = *(u64 *)(r1 +0)
    *(u64 *)(r11 -8) = 6
    *(u64 *)(r11 -16) = r6
    r1 = 1
    r2 = 2
    r3 = 3
    r4 = 4
    r5 = 5
    call seven
    if r0 s> 9 goto l0
    r0 /= r7
    call bpf_get_prandom_u32
l0:
    exit

static long seven(long a, long b, long c, long d, long e, long f, long g):
    r0 = *(u64 *)(r11 +8)
    r1 = *(u64 *)(r11 +16)
    r0 += r1
    exit
"""


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(Options(budget=5_000))


def request_of(text: str) -> Request:
    made = parse(text, "oracle")
    return Request(made.program, made.runs, log_level=0)


@pytest.fixture(scope="module")
def exam(pipeline: Pipeline) -> Exam:
    request = request_of(CALLS)
    recorder = Recorder()
    case = pipeline.run(request, recorder=recorder)
    return Exam(request, {}, case, pipeline, thorough=True, recorder=recorder)


def found(exam: Exam, oracle: str) -> list[str]:
    return [finding.kind for finding in ORACLES[oracle](exam)]


def image_of(exam: Exam) -> Image:
    assert exam.case.image is not None
    return exam.case.image


def test_nothing_is_found_where_all_is_well(exam: Exam) -> None:
    for name in ORACLES:
        assert found(exam, name) == [], name


@pytest.mark.parametrize("mode", ["kernel", "strict"])
def test_generated_programs(mode: str) -> None:
    judge = Judge(Pipeline(Options(budget=5_000, mode=mode)))
    accepted = 0
    for number in range(40_000, 40_025):
        program = random_maps(generate(number), number)
        judged = judge.judge(Request(program, random_inputs(program, 2, number)), thorough=True)
        assert judged.findings == ()
        accepted += not judged.case.rejected
    assert accepted > 20


def test_stack_that_nobody_wrote(pipeline: Pipeline) -> None:
    """What a program reads there may differ; that it stores it elsewhere, too."""
    text = "prog tc\nint main(void *ctx):\n    r0 = *(u64 *)(r10 -8)\n    {}    exit\n"
    request = request_of(text.format(""))
    case = pipeline.run(request)
    assert case.interp is not None
    assert case.sandbox is not None
    (run,) = case.sandbox.runs
    other = replace(case.sandbox, runs=(replace(run, retval=1, r0=1),))
    apart = replace(case, sandbox=other, difference=compare(case.interp, other))
    assert found(Exam(request, {}, apart, pipeline), "engines") == []
    known = request_of(text.format("r0 = 0\n"))
    assert found(
        Exam(known, {}, replace(apart, request=known, interp=pipeline.interpret(known, {})), pipeline),
        "engines",
    ) == ["retval"]


@pytest.mark.parametrize("part", ["w1 = w0", "w0 -= 0\nr1 = r0"])
def test_a_part_of_an_address(part: str) -> None:
    """Where an engine has its stack shows in numbers of 32 bits, too; what has nothing to do with it still counts."""
    text = (
        "prog tc license GPL\nu64 main(void):\ncall f\nexit\n"
        f"static u64 f(void):\nr0 = r10\n{part}\ncall g\nexit\nstatic u64 g(u64 a):\nr0 = 0\nexit\n"
    )
    judge = Judge(Pipeline(Options(mode="strict")))
    judged = judge.judge(request_of(text))
    assert judged.case.difference is not None
    assert judged.findings == ()
    with planted(find("r1-r2-swapped")):
        plain = judge.judge(request_of(text.replace("r0 = r10\n", "r0 = 5\nr2 = 6\n")))
    assert "engines" in [one.oracle for one in plain.findings]


def test_codec_asks_of_no_text_what_it_does_not_say(pipeline: Pipeline) -> None:
    """A kernel's log shows a callx as `(8d) call bpf_unspec#0`, without its register."""
    request = request_of(
        "prog tc\nint main(void *ctx):\nif r1 == 0 goto l\nr0 = 0\nexit\nl:\ncallx r2\nexit\n"
    )
    assert Judge(pipeline, ("codec",)).judge(request, thorough=True).findings == ()


@pytest.mark.parametrize("mode", ["kernel", "strict"])
def test_a_lost_argument_that_nobody_looks_at(mode: str) -> None:
    """The packet load destroys argument 6, which strict mode allows where the callee does not load it."""
    text = (HOLES / "ld_abs.bpf").read_text().replace("r0 = *(u64 *)(r11 +8)", "r0 = 3")
    judged = Judge(Pipeline(Options(mode=mode))).judge(request_of(text))
    assert not judged.case.rejected
    assert judged.case.difference is not None
    assert judged.findings == ()


def test_the_address_of_a_removed_function(exam: Exam) -> None:
    """It is that of whatever comes next, and nobody calls it; all other arguments still count."""
    verified = exam.verified
    assert verified is not None
    start = verified.program.func_info[1].insn
    gone = replace(verified, origin=tuple(at for at in verified.origin if at < start))
    call = CallRecord(3, "bpf_loop", "helper", (1, 0x100, 5), (None, Pointer("func", 1, 0), None))
    other = replace(call, args=(1, 0x200, 5), shown=(None, Pointer("func", 2, 0), None))
    ours, theirs = (
        Outcome(name, (RunResult("OK", 0, 0, calls=(one,)),)) for name, one in (("a", call), ("b", other))
    )
    assert compare(ours, theirs) is not None
    assert compare(ours, with_removed(gone, ours, theirs)) is None
    assert with_removed(verified, ours, theirs) == theirs
    third = replace(other, args=(1, 0x200, 6))
    worse = replace(theirs, runs=(replace(theirs.runs[0], calls=(third,)),))
    difference = compare(ours, with_removed(gone, ours, worse))
    assert difference is not None
    assert difference.argument == 3


@pytest.mark.parametrize(
    ("kind", "why", "limit"),
    [
        ("budget", "more than 10 instructions", True),
        ("internal", "an instruction the engine cannot execute", True),
        ("call", "helper bpf_x#1 is not implemented", True),
        ("call", "r6 is 0x3, not the context", False),
        ("access", "read of 8 bytes at 0xffff88800101003a: runs 2 bytes past context", True),
        ("access", "read of 8 bytes at 0xffff88800101003a: runs 2 bytes past the value of map m", False),
        ("uninitialized", "r3 is not defined", False),
    ],
)
def test_limits(kind: str, why: str, limit: bool) -> None:
    assert is_limit(Trap(kind, 1, f"insn 1: r0 = *(u64 *)(r9 +40): {why}")) is limit


# ---- holes of the kernel are found in kernel mode, and not in strict mode


@pytest.mark.parametrize(
    ("hole", "kinds"),
    [
        ("callback", {"accepted interpreter uninitialized", "engines trap uninitialized none"}),
        ("ld_abs", {"engines argument", "engines stack argument"}),
        ("precision", {"accepted interpreter access", "sound register", "accepted sandbox access"}),
        ("unreliable", {"accepted interpreter uninitialized", "engines trap uninitialized none"}),
    ],
)
def test_holes(hole: str, kinds: set[str]) -> None:
    request = request_of((HOLES / f"{hole}.bpf").read_text())
    kernel = Judge(Pipeline(Options())).judge(request)
    names = {f"{one.oracle} {one.kind}" for one in kernel.findings}
    assert names
    assert names & kinds, names
    strict = Judge(Pipeline(Options(mode="strict"))).judge(request, thorough=True)
    assert strict.case.rejected
    assert strict.findings == ()


# ---- jit


def changed(exam: Exam, image: Image) -> Exam:
    return replace(exam, case=replace(exam.case, image=image))


def test_jit_other_bytes(exam: Exam) -> None:
    image = image_of(exam)
    main = image.functions[0]
    other = replace(main, code=main.code[:-1] + b"\x90")
    assert "compiled otherwise" in found(
        changed(exam, replace(image, functions=(other, *image.functions[1:]))), "jit"
    )


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("relocated call", {"target": 0}),
        ("relocated mapval", {"addend": 8}),
        ("relocated mapval", {"kind": "map"}),
    ],
)
def test_jit_wrong_relocation(exam: Exam, kind: str, change: dict[str, object]) -> None:
    image = image_of(exam)
    main = image.functions[0]
    wanted = kind.split()[1]
    at = next(i for i, reloc in enumerate(main.relocs) if reloc.kind == wanted and not reloc.symbol)
    relocs = list(main.relocs)
    relocs[at] = replace(relocs[at], **change)  # type: ignore[arg-type]  # fields of the table above
    other = replace(image, functions=(replace(main, relocs=tuple(relocs)), *image.functions[1:]))
    kinds = found(changed(exam, other), "jit")
    assert any(one.startswith("relocated") for one in kinds), kinds


def test_jit_lost_relocation(exam: Exam) -> None:
    image = image_of(exam)
    main = image.functions[0]
    other = replace(image, functions=(replace(main, relocs=main.relocs[1:]), *image.functions[1:]))
    assert "relocation" in found(changed(exam, other), "jit")


def test_jit_wrong_jump(exam: Exam) -> None:
    image = image_of(exam)
    verified, main = image.verified, image.functions[0]
    slot = next(at for at, insn in enumerate(verified.insns) if insn.op == isa.JSGT and insn.cls == isa.JMP)
    behind = main.offsets[slot + 1]
    starts = sorted(set(main.offsets))
    step = next(after - before for before, after in pairwise(starts) if before > behind)
    code = bytearray(main.code)
    code[behind - 1] = (code[behind - 1] - step) & 0xFF
    other = replace(image, functions=(replace(main, code=bytes(code)), *image.functions[1:]))
    assert "jump" in found(changed(exam, other), "jit")


def test_jit_field_that_is_not_empty(exam: Exam) -> None:
    image = image_of(exam)
    main = image.functions[0]
    code = bytearray(main.code)
    code[main.relocs[0].off] = 1
    other = replace(image, functions=(replace(main, code=bytes(code)), *image.functions[1:]))
    assert "field" in found(changed(exam, other), "jit")


# ---- sound, accepted, strict


def test_sound(exam: Exam) -> None:
    """A recorder of another verification: the states of one more argument known."""
    text = CALLS.replace("*(u64 *)(r11 -8) = 6", "*(u64 *)(r11 -8) = 5")
    recorder = Recorder()
    exam.pipeline.run(request_of(text), engines=("verify",), recorder=recorder)
    assert found(replace(exam, recorder=recorder), "sound") == ["stack argument"]
    assert found(replace(exam, recorder=None), "sound") == []


def test_accepted(pipeline: Pipeline) -> None:
    text = "prog tc\nint main(void *ctx):\n    r0 = *(u64 *)(r10 -600)\n    exit\n"
    lenient = Pipeline(replace(pipeline.options, unverified=True))
    case = lenient.run(request_of(text))
    image = case.image
    assert image is not None
    exam = Exam(case.request, {}, replace(case, verdict=image.verified), lenient)
    assert found(exam, "accepted")[0] == "interpreter access"


def test_strict(exam: Exam) -> None:
    verdict = exam.verified
    assert verdict is not None
    other = replace(verdict, insns=(*verdict.insns[:-1], replace(verdict.insns[-1], off=1)))
    wrong = replace(exam, case=replace(exam.case, verdict=other))
    assert found(wrong, "strict") == ["rewritten"]
    assert found(replace(wrong, thorough=False), "strict") == []


def test_crash(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stage raises is a finding, an input error is passed on."""

    def broken(_request: Request, _others: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(pipeline, "interpret", broken)
    judged = Judge(pipeline).judge(request_of(CALLS))
    assert [one.oracle for one in judged.findings] == ["crash"]
    assert judged.findings[0].kind == "ZeroDivisionError in fuzz/test_oracles.py:broken"
    assert judged.case.verdict is None
