"""Runs of accepted programs stay inside the verifier's states; an unsound verifier is found out."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import verifier.alu
import verifier.branches
import verifier.prune
from benchmarks.generated import generate
from bpf import asm, elf
from bpf.errors import InputError
from bpf.program import Program, RunInput
from bpf.request import parse_request
from emu.replay.entry import read_entry
from emu.soundness import Checked, check
from emu.soundness.inputs import random_inputs, random_maps
from verifier import refine, verify
from verifier.env import F_TEST_STATE_FREQ, Env
from verifier.num import Num, const
from verifier.recorder import Recorder
from verifier.regs import const_reg

FIXTURES = Path(__file__).parents[2] / "fixtures"
OBJECTS = FIXTURES / "objects"
EVERY = 8
# Accepted by the kernel, too, though a callee reads an argument that nobody passed (docs/fidelity.md).
UNPASSED = (
    "f4-unreliable-twice:first-only",
    "f4-unreliable-twice:second-partial",
    "f4-callback-params-slots-justified:8",
)


def accepted(at: int) -> Iterator[dict[str, Any]]:
    with gzip.open(FIXTURES / "golden" / "programs.jsonl.gz", "rt") as file:
        records = (json.loads(line) for line in file)
        for number, record in enumerate(r for r in records if r["expect"].get("accepted")):
            if number % EVERY == at:
                yield record


def found(program: Program, runs: tuple[RunInput, ...], more: int = 2) -> Checked:
    return check(program, [*runs, *random_inputs(program, more, 1, runs)], budget=5_000)


def test_recordings_stay_inside() -> None:
    count: Counter[str] = Counter()
    for record in accepted(3):
        request = parse_request(record, record["name"])
        done = found(request.program, request.runs if request.run else ())
        if record["name"] in UNPASSED:
            assert done.breach is not None
            assert "was not passed" in done.breach.abstract
            continue
        assert done.breach is None, str(done.breach)
        count[done.why or "inside"] += 1
    assert count["inside"] > 0.9 * count.total(), count


def test_objects_stay_inside() -> None:
    steps = 0
    for number, entry in enumerate(json.loads((OBJECTS / "expect.json").read_text())):
        one = read_entry(entry, f"entry {number}")
        if not one.expect.get("accepted"):
            continue
        try:
            loaded = elf.load((OBJECTS / one.name).read_bytes(), one.name)
        except InputError:
            continue
        programs = {program.name: program for program in loaded.programs}
        if one.prog in programs:
            program = programs[one.prog]
            done = check(program, one.inputs(program), programs=programs, budget=5_000)
            assert done.breach is None, str(done.breach)
            steps += done.steps
    assert steps > 1_000


# 6734: a checkpoint at an OR whose number is split in two
@pytest.mark.parametrize("number", [*range(40), 6734])
def test_generated_programs_stay_inside(number: int) -> None:
    program = generate(number)
    done = check(random_maps(program, number), random_inputs(program, 2, number), budget=5_000)
    assert done.breach is None, str(done.breach)
    assert done.steps


def test_a_hole_of_the_kernel_is_found_and_strict_mode_has_none() -> None:
    """Precision is not followed through stack arguments (C.9): a path is taken for covered that goes elsewhere."""
    program = generate(14676)
    maps, inputs = random_maps(program, 14676), random_inputs(program, 1, 14676)
    kernels = check(maps, inputs, budget=5_000, seed=14676)
    assert kernels.breach is not None
    assert kernels.breach.where == "pc"
    strictly = check(maps, inputs, budget=5_000, seed=14676, mode="strict")
    assert (strictly.breach, strictly.runs) == (None, 1)


def text(body: str) -> Program:
    return asm.parse(
        "prog tc\nmap m: array key 4 value 64 max 1\nint main(void *ctx):\n" + body, "test"
    ).program


LOAD = "r1 = map[m][0]+0\nr2 = *(u8 *)(r1 +0)\n"


def test_an_unsound_addition_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_maps(text(LOAD + "r2 += 3\nr0 = 0\nexit\n"), 7)
    assert found(program, ()).breach is None

    def addition(*_: Any, **__: Any) -> Num:
        return const(3)

    monkeypatch.setattr(verifier.alu, "alu", addition)
    breach = found(program, ()).breach
    assert breach is not None
    assert (breach.insn, breach.where) == (4, "r2")


def test_a_lost_side_of_a_branch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    body = LOAD + "r0 = 0\nif r2 > 5 goto out\nr0 = 1\nout:\nexit\n"
    program = random_maps(text(body), 7)
    assert found(program, ()).breach is None
    known = refine.decide

    def never(*args: Any, **kwargs: Any) -> Any:
        return (0, *known(*args, **kwargs)[1:])

    monkeypatch.setattr(verifier.branches, "decide", never)
    breach = found(program, (), more=8).breach
    assert breach is not None
    assert breach.insn in (5, 6)


def test_pruning_that_compares_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        LOAD + "r3 = 0\nif r2 > 5 goto far\nr3 = 8\nfar:\nr4 = r3\nr4 += r1\nr0 = *(u8 *)(r4 +0)\n"
        "*(u64 *)(r10 -8) = r3\nr0 = r3\nexit\n"
    )
    program = text(body)
    program = replace(program, prog_flags=program.prog_flags | F_TEST_STATE_FREQ)

    def breaches() -> int:
        done = (check(random_maps(program, seed), [RunInput(bytes(64))]) for seed in range(12))
        return sum(one.breach is not None for one in done)

    assert not breaches()
    monkeypatch.setattr(verifier.prune, "states_equal", lambda *_: True)
    assert breaches()


def test_stack_arguments_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    body = LOAD + (
        "*(u64 *)(r11 -8) = r2\nr1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5\ncall f\nexit\n"
        "static u64 f(u64 a, u64 b, u64 c, u64 d, u64 e, u64 g):\nr0 = *(u64 *)(r11 +8)\nexit\n"
    )
    program = random_maps(text(body), 7)
    assert found(program, ()).breach is None
    before = Recorder.visit

    def narrowed(self: Recorder, env: Env, insn: int) -> None:
        before(self, env, insn)
        for frame in env.cur_state.frames:
            frame.stack_args[:] = [const_reg(1000) for _ in frame.stack_args]

    monkeypatch.setattr(Recorder, "visit", narrowed)
    breach = found(program, ()).breach
    assert breach is not None
    assert breach.where == "r11-8 (stored)"


def test_too_long_a_verification_is_not_checked() -> None:
    done = check(text("r0 = 0\nexit\n"), (), limit=1)
    assert done.why == "more than 1 visited instructions"


def test_rejected_is_not_checked() -> None:
    assert check(text("exit\n"), ()).why.startswith("rejected")


def test_a_recorder_keeps_every_visit() -> None:
    recorder = Recorder()
    verdict = verify(text(LOAD + "r0 = 0\nif r2 > 5 goto out\nr0 = 1\nout:\nexit\n"), recorder=recorder)
    assert recorder.visits == getattr(verdict, "verified_insns", recorder.visits)
    assert [visit.insn for visit in recorder.roots[0].followers] == [2]
