"""Kept findings: a text that shows what it says, and a request."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.generated import generate
from bpf import asm
from bpf.asm import Expectation
from bpf.program import KfuncRef, Request, RunInput
from bpf.request import parse_request
from emu.cli import bpfemu
from emu.fuzz.finding import Finding
from emu.fuzz.judge import Judge
from emu.fuzz.keep import Kept, expected, listing, render, request_json, unsaid
from emu.fuzz.reduce import reduce
from emu.mutants import INTERP_MUTANTS, find, planted
from emu.pipeline import Options, Pipeline


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(Pipeline(Options(budget=300_000)), ("engines",))


def kept(request: Request, finding: Finding, mutant: str = "", mode: str = "kernel") -> Kept:
    return Kept(request, {}, finding, "a cause", "calls-7-12", "calls", 7, 12, mode, mutant, 80)


SIMPLE = "prog type sched_cls\nr0 = 42\nexit\ninput: data 00*14 repeat 3\ninput: data 03*20\n"
FINDING = Finding("engines", "retval", "retval: interp 0x2a, sandbox " + "0x2b " * 40)


def request(text: str) -> Request:
    assembly = asm.parse(text, "test")
    return Request(assembly.program, assembly.runs)


def test_text(judge: Judge) -> None:
    case = judge.judge(request(SIMPLE)).case
    lines = render(kept(request(SIMPLE), FINDING), case).splitlines()
    assert lines[:2] == ["; cause: a cause", "; found: engines: retval"]
    assert lines[2].startswith("; message: retval: interp 0x2a, sandbox 0x2b 0x2b")
    assert lines[3].startswith(";     0x2b")
    assert max(map(len, lines)) <= 140
    text = "\n".join(lines)
    assert (
        "\n; case: calls-7-12 (generator calls, seed 7, number 12)\n; size: 2 instruction slots, of 80\n"
        in text
    )
    assert "\n; to see it: bpfemu run THIS-FILE\n" in text
    assert text.endswith(
        "input: data 0000000000000000000000000000 repeat 3\n"
        "input: data 0303030303030303030303030303030303030303\n"
        "expect: accepted, retval 42"
    )
    assert "fault" not in text


def test_text_is_the_whole_program() -> None:
    again = asm.parse(listing(request(SIMPLE), {}, None), "test")
    assert (again.program, again.runs) == (request(SIMPLE).program, request(SIMPLE).runs)


def test_mode_and_fault_are_said(judge: Judge) -> None:
    strict = render(kept(request(SIMPLE), FINDING, mode="strict"), None)
    assert "; to see it: bpfemu run --mode strict THIS-FILE\n" in strict
    case = judge.judge(request(SIMPLE)).case
    of_jit = render(kept(request(SIMPLE), FINDING, "argument-6-lost"), case)
    assert "; fault: argument-6-lost is planted; without it all agrees\n" in of_jit
    assert "\nexpect: accepted, retval 42\n" in of_jit


def test_what_faulty_engines_say_is_not_expected(judge: Judge) -> None:
    """With a fault in the interpreter its result is no reference."""
    case = judge.judge(request(SIMPLE)).case
    assert "expect" not in render(kept(request(SIMPLE), FINDING, INTERP_MUTANTS[0].name), case)


@pytest.mark.parametrize(
    ("text", "expectation"),
    [
        (SIMPLE, Expectation(True, retvals=(42,))),
        ("r0 = 1\nr1 = 0\nexit\n", Expectation(True, retvals=(1,))),
        ("r0 = r1\nexit\n", Expectation(True)),  # an address is another one elsewhere
        ("r0 = r9\nexit\n", Expectation(False, "EACCES", "R9 !read_ok")),
        ("prog xdp\nr0 = 2\nexit\ninput: data 00\n", Expectation(True, run_errno="EINVAL")),
        ("r0 = *(u32 *)(r1 +0)\nexit\ninput: data 00*20\ninput: data 00*30\n", Expectation(True, retvals=(20, 30))),
    ],
)  # fmt: skip
def test_expectations(text: str, expectation: Expectation, judge: Judge) -> None:
    assert expected(judge.judge(request(text)).case) == expectation


def test_request() -> None:
    made = json.loads(request_json(kept(request(SIMPLE), FINDING)))
    assert parse_request(made) == request(SIMPLE)
    arrays = request(
        "prog tc name one\nmap p: prog_array key 4 value 4 max 2\n    progs 0 = one\nr0 = 0\nexit\n"
    )
    assert "prog arrays" in json.loads(request_json(kept(arrays, FINDING)))["incomplete"]


def test_what_the_text_cannot_hold_is_said() -> None:
    plain = request("prog tc\ncall okf_sum5\nexit\n")
    assert unsaid(plain, {}, listing(plain, {}, None)) == ""
    one = request(SIMPLE)
    spec = asm.parse("map m: array key 4 value 8 max 1\nr0 = 0\nexit\n", "test").program.maps[0]
    twice = replace(
        one, program=replace(one.program, maps=(replace(spec, btf_key=1), replace(spec, name="")))
    )
    assert unsaid(twice, {}, listing(twice, {}, None)) == ""
    calls = asm.parse("int main(void):\ncall f\nexit\nstatic int f(int a):\nr0 = 0\nexit\n", "test").program
    odd = replace(one, program=replace(calls, func_info=calls.func_info[:1]))
    assert "instructions" not in unsaid(odd, {}, listing(odd, {}, None))
    assert KfuncRef(0, "okf_sum5", "oracle_kfunc") == plain.program.kfuncs[0]


def test_several_programs_are_one_text() -> None:
    text = (
        "prog tc name one\nmap p: prog_array key 4 value 4 max 2\n    progs 1 = two\n"
        "r2 = map[p]\nr3 = 1\ncall bpf_tail_call\nr0 = 1\nexit\nprog tc name two\nr0 = 7\nexit\n"
    )
    assembly = asm.parse(text, "test")
    others = {"two": assembly.programs[1]}
    made = listing(Request(assembly.program), others, Expectation(True, retvals=(7,)))
    again = asm.parse(made, "test")
    assert again.programs == assembly.programs
    assert unsaid(Request(assembly.program), others, made) == ""


def test_a_kept_file_shows_the_fault_only_where_it_is(judge: Judge, tmp_path: Path) -> None:
    """From a generated program to a file, by way of the reducer; `bpfemu run` sees what the comment says."""
    mutant = find("argument-6-lost")
    generated = Request(generate(0, 7), (RunInput(),))
    with planted(mutant):
        (found,) = judge.judge(generated).findings
        small = reduce(generated, {}, found, judge)
        case = judge.judge(small.request, small.others).case
    assert small.insns_after <= 10 < small.insns_before
    file = tmp_path / "kept.bpf"
    file.write_text(render(kept(small.request, small.finding, mutant.name), case))
    (tmp_path / "kept.json").write_text(request_json(kept(small.request, small.finding)))
    runner = CliRunner()
    for name in ("kept.bpf", "kept.json"):
        assert runner.invoke(bpfemu, ["run", str(tmp_path / name)]).exit_code == 0
        with planted(mutant):
            result = runner.invoke(bpfemu, ["run", str(tmp_path / name)])
        assert result.exit_code == 1
        assert "argument 6 of" in result.output
