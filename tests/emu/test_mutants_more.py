"""Faults of verifier and interpreter: each place is there and changes, and all is as before afterwards; a hunt finds some."""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from click.testing import CliRunner

from bpf.asm import parse
from bpf.errors import InputError, InternalError
from bpf.program import Request
from emu.commands.mutants import mutants as command
from emu.fuzz.judge import Judge
from emu.interp import alu
from emu.mutants import ALL, INTERP_MUTANTS, MUTANTS, VERIFIER_MUTANTS, Mutant, find, planted
from emu.mutants.mutant import _owner, replace_at
from emu.mutants.shares import Order, hunt
from emu.pipeline import Options, Pipeline
from verifier import arith, refine, tnum
from verifier.num import Num, sync

PROGRAMS = Path(__file__).parents[2] / "fixtures/mutants"


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(Pipeline(Options(mode="strict", budget=20_000, explain=False, insn_limit=20_000)))


def test_catalogues() -> None:
    names = [mutant.name for mutant in ALL]
    assert len(set(names)) == len(names)
    assert (len(MUTANTS) >= 63, len(VERIFIER_MUTANTS) >= 25, len(INTERP_MUTANTS) >= 15) == (True, True, True)
    layers = {
        mutant.layer: {place.partition(":")[0].rpartition(".")[0] for place in mutant.where} for mutant in ALL
    }
    assert set(layers) == {"jit", "verifier", "interp"}
    for mutant in VERIFIER_MUTANTS:
        assert mutant.layer == "verifier"
        assert all(place.startswith("verifier.") for place in mutant.where)
    for mutant in INTERP_MUTANTS:
        assert mutant.layer == "interp"
        assert all(place.startswith("emu.interp.") for place in mutant.where)


def standing(place: str) -> Any:
    """What stands at a place: a row, a constant, or the code of a function."""
    path, _, key = place.partition("[")
    owner, name = _owner(path)
    thing = vars(owner)[name]
    if key:
        return thing[ast.literal_eval(key.rstrip("]"))]
    function = thing.fget if isinstance(thing, property) else getattr(thing, "__wrapped__", thing)
    return function.__code__ if isinstance(function, FunctionType) else thing


@pytest.mark.parametrize("mutant", ALL, ids=[mutant.name for mutant in ALL])
def test_each_place_changes_and_comes_back(mutant: Mutant) -> None:
    before = [standing(place) for place in mutant.where]
    with planted(mutant):
        for place, right in zip(mutant.where, before, strict=True):
            assert standing(place) is not right, place
    assert [standing(place) for place in mutant.where] == before


# ---- planting


def test_a_function_is_replaced_for_whoever_holds_it() -> None:
    held: list[Callable[..., Any]] = [refine._unsigned_order, arith._RULES[arith.BPF_ADD, False]]
    back = [
        replace_at("verifier.refine:_unsigned_order", lambda _right: lambda *_args, **_more: "order"),
        replace_at("verifier.arith:add64", lambda right: lambda dst, src: ("sum", right(dst, src))),
    ]
    assert held[0](False, None, None, strict=1) == "order"
    assert refine._REFINE[refine.BPF_JLT](False, None, None) == "order"  # type: ignore[comparison-overlap,arg-type]
    one = Num(1, 0, 1, 0, 1, 0)
    marked: Any = held[1](one, one)
    assert (marked[0], marked[1].value) == ("sum", 2)
    for undo in back:
        undo()
    assert arith.add64(one, one).value == 2


def test_what_was_remembered_is_forgotten() -> None:
    """Numbers that were worked out with the fault are not used without it, and the other way round."""
    parts = (0, tnum.U_MAX, 5, 1 << 33, 0, tnum.HALF_MAX)
    right = sync(*parts)
    with planted(find("half-of-any-range")):
        wrong = sync(*parts)
        assert wrong != right
    assert sync(*parts) == right


def test_rows_by_any_key() -> None:
    right = arith._RULES[arith.BPF_ADD, False]
    undo = replace_at(f"verifier.arith:_RULES[({arith.BPF_ADD}, False)]", lambda _right: "wrong")
    assert arith._RULES[arith.BPF_ADD, False] == "wrong"  # type: ignore[comparison-overlap]
    undo()
    assert arith._RULES[arith.BPF_ADD, False] is right


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("verifier.nowhere:x", "there is no verifier.nowhere:x"),
        ("verifier.tnum:nothing", "there is no verifier.tnum:nothing"),
        ("emu.interp.alu:ALU64[1]", "there is no"),
        ("builtins:len", "is compiled and cannot be replaced"),
    ],
)
def test_places_that_cannot_be_replaced(place: str, why: str) -> None:
    with pytest.raises(InternalError, match=why):
        replace_at(place, lambda right: right)
    assert alu.ALU64


def test_find() -> None:
    assert find("no-leave").layer == "jit"
    with pytest.raises(InputError, match="is no mutant"):
        find("nothing")


# ---- hunting

# Faults that nearly every program with calls shows.
SOME = ("no-leave", "incoming-next-slot", "slots-shifted", "r1-r2-swapped")
CALLS = ("calls",)


def test_a_hunt() -> None:
    done = hunt(Order(SOME, 50, 1, CALLS, candidates=50))
    assert done.baseline == ()
    assert [one.name for one in done.hunted] == list(SOME)
    oracles = {one.name: one.found.finding.oracle for one in done.hunted if one.found is not None}
    assert oracles == {name: "sound" if find(name).layer == "verifier" else "engines" for name in SOME}
    assert 1 <= done.median <= 25
    lengths = []
    for one in done.hunted:
        assert one.found is not None
        assert one.found.number == one.cases
        small = one.found.reduced
        assert small is not None
        lengths.append((len(small.program.insns), len(one.found.sample.request.program.insns)))
    assert all(after <= before for after, before in lengths)
    assert any(2 * after < before for after, before in lengths)


def test_one_process_or_two_find_the_same() -> None:
    order = Order(SOME[2:], 25, 1, CALLS, candidates=0)
    one, two = hunt(order), hunt(order, jobs=2)
    assert [(h.name, h.cases, h.found) for h in one.hunted] == [
        (h.name, h.cases, h.found) for h in two.hunted
    ]


def test_command() -> None:
    ran = CliRunner().invoke(
        command,
        [
            *("--campaign", "--name", "r1-r2-swapped", "--generator", "calls"),
            *("--cases", "25", "--tries", "40", "--json"),
        ],
    )
    assert ran.exit_code == 0, ran.output
    answer = json.loads(ran.output)
    assert (answer["baseline_violations"], answer["median_cases"]) == (0, answer["mutants"][0]["cases"])
    (row,) = answer["mutants"]
    assert (row["layer"], row["killed"], row["by"].split()[0]) == ("interp", True, "engines")
    assert row["reduced"]["name"] == row["program"]
    assert "fault: r1-r2-swapped is planted" in row["text"]


def test_what_lives() -> None:
    """One case is too few for this one."""
    ran = CliRunner().invoke(command, ["--campaign", "--name", "sdiv-overflow", "--cases", "1"])
    assert ran.exit_code == 1
    assert "sdiv-overflow lives: MIN s/ -1 is MAX" in ran.output


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--name", "div-unpatched"], "need --campaign"),
        (["--layer", "verifier"], "need --campaign"),
        (["--campaign", "--generator", "none"], "there is none; there are: calls"),
        (["--name", "none"], "is no mutant"),
    ],
)
def test_bad_arguments(args: list[str], why: str) -> None:
    ran = CliRunner().invoke(command, args)
    assert isinstance(ran.exception, InputError)
    assert why in str(ran.exception)


def test_list() -> None:
    ran = CliRunner().invoke(command, ["--list", "--layer", "interp"])
    assert ran.exit_code == 0
    assert "r6-not-restored" in ran.output
    assert "no-leave" not in ran.output


# ---- programs that each show one fault, which generated programs rarely meet


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.bpf")), ids=lambda path: path.stem)
def test_a_program_for_a_fault(path: Path, judge: Judge) -> None:
    made = parse(path.read_text(), path.stem)
    request = Request(made.program, made.runs, log_level=0)
    assert judge.judge(request).findings == ()
    with planted(find(path.stem)):
        assert judge.judge(request).findings != ()
    assert judge.judge(request).findings == ()
