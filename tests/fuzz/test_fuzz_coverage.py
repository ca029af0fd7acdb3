"""What is counted as reached: instruction forms, and branches of our own code."""

import pytest

from bpf.asm import parse
from bpf.opcodes import FORMS
from bpf.program import Program, Request
from emu.fuzz.coverage import ALL_FORMS, Branches, forms_of, reach, traced
from emu.fuzz.judge import Judge
from emu.fuzz.tally import Arc
from emu.pipeline import Options, Pipeline


def test_each_form_is_counted_as_itself() -> None:
    for form in FORMS:
        if form.loadable:
            off = -8 if form.off == "slot_out" else 8
            assert forms_of(Program("one", form.sample(off=off))) == {form.name}
    assert len(set(ALL_FORMS)) == len(ALL_FORMS)


def test_the_second_half_of_a_wide_instruction_is_none() -> None:
    made = parse("prog tc\nint main(void *ctx):\n  r1 = 0x123456789 ll\n  r0 = 0\n  exit\n", "test").program
    assert forms_of(made) == {"ld_imm64", "mov64_imm", "exit"}


def test_branches_are_recorded_for_few_cases() -> None:
    chosen = [turn for turn in range(10_000) if traced(turn)]
    assert chosen[:4] == [0, 16, 128, 511]
    assert len(chosen) == 22


TEXT = "prog tc\nint main(void *ctx):\n  r0 = 1\n  if r0 == 0 goto +1\n  r0 s/= 3\n  exit\n"


@pytest.fixture(scope="module")
def arcs() -> dict[str, set[Arc]]:
    branches = Branches.measured()
    assert branches is not None
    made: dict[str, set[Arc]] = {}
    judge = Judge(Pipeline(Options(mode="strict")), ("engines",))
    with branches.recorded(made):
        judge.judge(Request(parse(TEXT, "test").program))
    return made


class TestBranches:
    def test_all_engines_are_seen_and_nothing_else(self, arcs: dict[str, set[Arc]]) -> None:
        rooms = {file.rpartition("/")[0] for file in arcs}
        assert {"verifier", "jit", "emu/interp"} <= rooms
        assert all(room.startswith(("verifier", "jit", "emu/interp")) for room in rooms)

    def test_shares(self, arcs: dict[str, set[Arc]]) -> None:
        """Of what ran, and of all that there is, files in which nothing ran included."""
        some = {file: taken for file, taken in arcs.items() if file.startswith(("jit/", "emu/interp/"))}
        verifier, *others = reach(some)
        assert (verifier.package, verifier.lines, verifier.branches) == ("verifier", 0, 0)
        assert (verifier.all_lines, verifier.all_branches) > (5000, 2000)
        assert [one.package for one in others] == ["jit", "emu.interp"]
        for one in others:
            assert 0 < one.branches < one.all_branches
            assert 0 < one.lines < one.all_lines

    def test_without_the_recorder(self, arcs: dict[str, set[Arc]], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("emu.fuzz.coverage.available", lambda: False)
        assert Branches.measured() is None
        assert reach(arcs) == ()
        assert reach({}) == ()
