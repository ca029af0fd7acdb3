"""Every planted fault is killed by the check that is meant to, in both modes, and taken back afterwards."""

import json

import pytest
from click.testing import CliRunner

from bpf.errors import InternalError
from emu.commands.mutants import mutants as command
from emu.mutants import MUTANTS, Campaign, Mutant
from emu.mutants.mutant import planted
from jit import compile_program


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return Campaign()


def test_catalogue() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)) >= 40
    assert {mutant.kind for mutant in MUTANTS} == {
        "frame",
        "argument",
        "register",
        "return",
        "call",
        "encoding",
    }


def test_nothing_is_found_without_a_fault(campaign: Campaign) -> None:
    assert campaign.baseline() == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_killed_as_meant(campaign: Campaign, mutant: Mutant) -> None:
    result = campaign.run(mutant)
    assert result.killed
    assert result.seen
    assert (result.by, result.as_meant) == (mutant.check, True), result


def test_a_fault_is_taken_back(campaign: Campaign) -> None:
    verified = campaign.subjects[0].verified
    right = compile_program(verified)
    for mutant in MUTANTS:
        with planted(mutant):
            compile_program(verified)
        assert compile_program(verified) == right, mutant.name


def test_a_place_that_does_not_exist() -> None:
    mutant = Mutant("none", "frame", "", "rsp", ("jit.layout:Plan.nowhere",), lambda right: right)
    with pytest.raises(InternalError, match=r"there is no jit\.layout:Plan\.nowhere"), planted(mutant):
        pass


def test_command() -> None:
    ran = CliRunner().invoke(command, ["--name", "no-leave", "--name", "argument-8-lost", "--json"])
    assert ran.exit_code == 0
    answer = json.loads(ran.output)
    assert answer["baseline_violations"] == 0
    first, second = answer["mutants"]
    assert (first["name"], first["killed"], first["by"], first["insn"]) == ("no-leave", True, "rsp", 38)
    assert (second["by"], second["fast"], second["program"]) == ("uninitialised", "argument", "arithmetic")
    assert second["reduced"]["name"] == "arithmetic"


def test_command_prints_a_table() -> None:
    ran = CliRunner().invoke(command, ["--name", "rbx-forgotten"])
    assert ran.exit_code == 0
    assert "1 mutants on 11 programs: 1 killed, 1 by the check that is meant to" in ran.output
    assert "callee-saved rbx" in ran.output
    assert "argument 7" not in CliRunner().invoke(command, ["--list", "--name", "rbx-forgotten"]).output
