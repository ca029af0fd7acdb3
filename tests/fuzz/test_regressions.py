"""Every file of fixtures/regressions does what it says; every planted fault in it shows itself again."""

import re
from pathlib import Path

import pytest

from bpf.asm import Assembly, parse
from bpf.program import Request
from emu.commands.run import unexpected
from emu.fuzz.judge import Judge
from emu.load import load_file
from emu.mutants import find, planted
from emu.pipeline import Options, Pipeline

FILES = sorted((Path(__file__).parents[2] / "fixtures" / "regressions").glob("*.bpf"))
COMMENT = re.compile(r"; ([\w ]+): (.*)")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(Pipeline(Options(budget=300_000)))


def comment(file: Path) -> dict[str, str]:
    lines = file.read_text().splitlines()
    return {match[1]: match[2] for line in lines if (match := COMMENT.match(line)) is not None}


def assembled(file: Path) -> Assembly:
    return parse(file.read_text(), str(file))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_as_expected(file: Path, judge: Judge) -> None:
    (item,) = load_file(str(file))
    mode = "strict" if "--mode strict" in comment(file)["to see it"] else "kernel"
    judge.pipeline.options = Options(budget=300_000, mode=mode)
    judged = judge.judge(item.request, item.others, thorough=True)
    assert judged.findings == ()
    assert unexpected(item, judged.case) == []


@pytest.mark.parametrize(
    "file", [file for file in FILES if "fault" in comment(file)], ids=lambda file: file.stem
)
def test_planted_faults_show_again(file: Path, judge: Judge) -> None:
    said = comment(file)
    mutant = find(said["fault"].split()[0])
    program = assembled(file)
    with planted(mutant):
        judged = judge.judge(
            Request(program.program, program.runs), {one.name: one for one in program.programs[1:]}
        )
    assert said["found"] in [f"{one.oracle}: {one.kind}" for one in judged.findings]


def test_there_are_some() -> None:
    assert len(FILES) >= 10
