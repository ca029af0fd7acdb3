"""A fault planted in native code is found, and told: which argument, where it was put, where it lives, by what."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emu import pipeline
from emu.compare import compare
from emu.explain import explain
from emu.load import load_file
from emu.pipeline import Case, Pipeline
from jit import compile_program
from jit.image import Image

FIXTURES = Path(__file__).parents[2] / "fixtures"
TEXT = str(FIXTURES / "text" / "reverse12.bpf")


def run_with(
    monkeypatch: pytest.MonkeyPatch, number: int, old: str, new: str, file: str = TEXT, prog: int = 0
) -> Case:
    """The case of a program whose function `number` has one native instruction replaced by another of its length."""
    before, after = bytes.fromhex(old), bytes.fromhex(new)
    assert len(before) == len(after)

    def broken(*arguments: object) -> Image:
        image: Image = compile_program(*arguments)  # type: ignore[arg-type]
        functions = list(image.functions)
        assert functions[number].code.count(before) == 1
        functions[number] = replace(functions[number], code=functions[number].code.replace(before, after))
        return replace(image, functions=tuple(functions))

    monkeypatch.setattr(pipeline, "compile_program", broken)
    item = load_file(file)[prog]
    return Pipeline().run(item.request, item.others)


# mov [rbp-0x60], rbx is argument 7 of the kfunc's call: its slot at -0x58 is argument 8's
OFF_BY_8 = ("48895da0", "48895da8")


def test_an_argument_in_the_wrong_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    case = run_with(monkeypatch, 1, *OFF_BY_8)
    found = case.difference
    assert found is not None
    assert (found.kind, found.argument, found.insn, found.callee) == ("argument", 7, 35, "okf_sum12")
    lines = explain(found, case.request.program, case.image, case.sandbox)
    assert lines[0].startswith("insn 35: argument 7 of okf_sum12: interp 0x6, sandbox 0x")
    assert lines[1] == "at insn 35: call okf_sum12"
    assert "<reverse12> call 0x" in lines[2]
    assert lines[3] == "argument 7 (u64 g): put in r11-16, found by the callee in [rsp+0x8]"
    assert lines[4] == "put by insn 28: *(u64 *)(r11 -16) = r6"
    assert lines[5].endswith("<reverse12> mov qword ptr [rbp - 0x58], rbx")


Fault = tuple[int, str, str, Callable[[Case], bool]]
FAULTS: dict[str, Fault] = {
    # mov r9, r13 becomes mov r8, r13
    "argument 6 in the wrong register": (1, "4d89e9", "4d89e8", lambda c: c.difference is not None and c.difference.argument in (5, 6)),
    # pop r13 becomes pop r12
    "callee-saved register lost": (1, "415d", "415c", lambda c: bool(c.sandbox and c.sandbox.runs[0].violations)),
    # add rsp, 0x30 becomes add rsp, 0x28
    "stack pointer off by 8": (1, "4883c430", "4883c428", lambda c: c.difference is not None),
    # mov r13, [rbp+0x10] becomes [rbp+0x18]
    "argument 7 read one word too high": (1, "4c8b6d10", "4c8b6d18", lambda c: c.difference is not None and c.difference.argument == 6),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    number, old, new, found = FAULTS[name]
    case = run_with(monkeypatch, number, old, new)
    assert case.difference is not None
    assert found(case), case.difference
    lines = explain(case.difference, case.request.program, case.image, case.sandbox)
    assert all(lines)


def test_source_lines_are_shown_where_the_object_has_them() -> None:
    file = str(FIXTURES / "objects" / "kfunc_many_args.bpf.o")
    item = next(i for i in load_file(file) if i.request.program.name == "kf_memory")
    case = Pipeline().run(item.request, item.others)
    assert case.interp is not None
    assert case.sandbox is not None
    call = case.sandbox.runs[0].calls[0]
    wrong = replace(call, args=(call.args[0] ^ 1, *call.args[1:]))
    run = replace(case.sandbox.runs[0], calls=(wrong, *case.sandbox.runs[0].calls[1:]))
    broken = replace(case.sandbox, runs=(run,))
    found = compare(case.interp, broken)
    assert found is not None
    lines = explain(found, case.request.program, case.image, broken)
    assert any(line.startswith("  source ") and "kfunc_many_args.bpf.c:" in line for line in lines), lines
