"""`bpfemu fuzz`: options, exit statuses, and every form of the summary."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.emu.conftest import Command
from tests.fuzz.conftest import SEED
from tests.fuzz.markup import Page

FOUND = ("--generator", "tiny", "--oracle", "engines", "--mutant", "argument-12-lost", "--cases", "8")
HERE = ("--jobs", "0", "--no-coverage", "--seed", str(SEED))


@pytest.fixture
def fuzz(bpfemu: Command, tiny: str) -> Command:
    return lambda *args: bpfemu("fuzz", "--kfuncs", tiny, *HERE, *args)


class TestStatus:
    def test_nothing_found(self, fuzz: Command) -> None:
        ran = fuzz("--generator", "tiny", "--oracle", "engines", "--cases", "8")
        assert ran.status == 0
        assert ran.out.splitlines()[-1].startswith("8 cases in ")
        assert ran.out.splitlines()[-1].endswith("nothing found")

    def test_found_and_shown_whole_where_nothing_is_kept(self, fuzz: Command) -> None:
        ran = fuzz(*FOUND)
        assert ran.status == 1
        assert "1. engines: stack argument at call" in ran.out
        assert "; message: insn" in ran.out
        assert ran.err == ""

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (("--generator", "nobody"), "--generator: 'nobody': there is none; there are: calls, "),
            (("--jit", "true", "--oracle", "sound"), "--oracle: 'sound': there is none; there are: engines"),
            (
                ("--jit", "true", "--mutant", "rbx-forgotten"),
                "--mutant: rbx-forgotten: is a fault of our own",
            ),
            (("--jit", " "), "' ': names no program"),
            (("--oracle", "nobody"), "--oracle: 'nobody': there is none; there are: engines, "),
            (("--mutant", "nobody"), "--mutant: 'nobody': is no mutant"),
            (("--cases", "-1"), "-1 is not in the range x>=0"),
            (("--seconds", "x"), "'x' is not a valid float"),
            (("--mode", "lax"), "'lax' is not one of 'strict', 'kernel'"),
            (("--jobs", "5000"), "5000 is not in the range"),
            (("--kfuncs", "/nowhere.py"), "/nowhere.py: No such file or directory"),
            (("--html", "/proc/nowhere/out.html"), "/proc/nowhere/out.html: there is no such folder"),
            (("--cluster", "nowhere"), "--cluster: nowhere"),
            (("--cluster", "tcp://127.0.0.1:1"), "--cluster: tcp://127.0.0.1:1"),
        ],
    )
    def test_bad_arguments(
        self, fuzz: Command, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], said: str
    ) -> None:
        monkeypatch.setattr("emu.fuzz.executors.cluster.CONNECT", 0.1)
        ran = fuzz("--cases", "1", *args)
        assert ran.status == 2
        assert said in ran.err
        assert ran.err.count("\n") == 1

    def test_without_dask(self, fuzz: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "distributed", None)
        ran = fuzz("--cases", "1", "--cluster", "local")
        assert (ran.status, ran.err.count("\n")) == (2, 1)
        assert "needs Dask: install bpfemu with the extra `cluster`" in ran.err

    def test_no_time_at_all(self, fuzz: Command) -> None:
        ran = fuzz("--generator", "tiny", "--seconds", "0")
        assert ran.status == 0
        assert "0 cases in 0 s, nothing found" in ran.out


def test_a_jit_that_fails_is_a_finding(fuzz: Command, tmp_path: Path) -> None:
    ran = fuzz("--generator", "tiny", "--cases", "3", "--jit", "true", "--out", str(tmp_path))
    assert ran.status == 1
    assert "1. jit: failed" in ran.out
    (kept,) = (tmp_path / "findings").glob("*.bpf")
    assert "; to see it: bpfemu run --mode strict --jit true THIS-FILE" in kept.read_text(encoding="utf-8")


class TestDescribe:
    def test_text(self, fuzz: Command) -> None:
        ran = fuzz("--describe", "--generator", "isa", "--cases", "3")
        assert ran.status == 0
        assert ran.out.splitlines()[0].split()[:3] == ["generator", "cases", "accepted"]

    def test_json(self, fuzz: Command) -> None:
        ran = fuzz("--describe", "--generator", "isa", "--cases", "3", "--json")
        (one,) = json.loads(ran.out)["generators"]
        assert (one["generator"], one["cases"]) == ("isa", 3)


class TestFolder:
    def test_the_same_command_goes_on(self, fuzz: Command, tmp_path: Path) -> None:
        where = ("--out", str(tmp_path / "out"))
        first = fuzz(*FOUND, *where)
        lines = (tmp_path / "out" / "log.jsonl").read_bytes()
        assert fuzz(*FOUND, *where).status == first.status == 1
        assert (tmp_path / "out" / "log.jsonl").read_bytes() == lines
        more = fuzz(*FOUND, *where, "--cases", "12", "--json")
        assert json.loads(more.out)["cases"] == 12

    def test_another_question_is_refused(self, fuzz: Command, tmp_path: Path) -> None:
        where = ("--generator", "tiny", "--cases", "2", "--out", str(tmp_path))
        assert fuzz(*where).status == 0
        ran = fuzz(*where, "--mode", "kernel")
        assert (ran.status, ran.err) == (
            2,
            f"bpfemu: error: {tmp_path}: holds another campaign: mode strict not kernel\n",
        )

    def test_what_is_kept_can_be_run(self, fuzz: Command, bpfemu: Command, tmp_path: Path, tiny: str) -> None:
        fuzz(*FOUND, "--out", str(tmp_path))
        (kept,) = (tmp_path / "findings").glob("*.bpf")
        ran = bpfemu("run", "--kfuncs", tiny, str(kept))
        assert "agrees" in ran.out  # without the fault
        assert ran.status == 0


class TestForms:
    def test_json(self, fuzz: Command, tmp_path: Path) -> None:
        ran = fuzz(*FOUND, "--json", "--out", str(tmp_path / "out"))
        summary = json.loads(ran.out)
        assert {"seed", "mode", "cases", "accepted", "seconds", "findings", "coverage"} <= set(summary)
        assert (summary["seed"], summary["mode"], summary["cases"]) == (SEED, "strict", 8)
        (found,) = summary["findings"]
        assert set(found) >= {"kind", "cause", "file", "seed", "insns", "message"}
        assert Path(found["file"]).read_text(encoding="utf-8").startswith("; cause: engines: stack argument")
        assert found["insns"] < found["insns_before"]
        assert (found["generator"], found["number"], found["seen"]) == ("tiny", 1, 1)
        assert summary["coverage"]["forms"]["reached"] > 5
        assert summary["generators"]["tiny"]["cases"] == 8

    def test_junit(self, fuzz: Command, tmp_path: Path) -> None:
        out = tmp_path / "out.xml"
        assert fuzz(*FOUND, "--junit", str(out)).status == 1
        suite = ET.parse(out).getroot()[0]
        assert suite.attrib.items() >= {"tests": "1", "failures": "1"}.items()
        failure = suite.find("testcase/failure")
        assert failure is not None
        assert "argument 12 of" in (failure.text or "")
        assert fuzz(*FOUND[:4], "--cases", "4", "--junit", str(out)).status == 0
        assert ET.parse(out).getroot()[0].attrib.items() >= {"tests": "1", "failures": "0"}.items()

    def test_page(self, fuzz: Command, tmp_path: Path) -> None:
        out = tmp_path / "out.html"
        assert fuzz(*FOUND, "--html", str(out)).status == 1
        parsed = Page(out.read_text(encoding="utf-8"))
        assert parsed.open == []
        assert {"svg", "table", "pre", "style"} <= parsed.seen
        assert not {"script", "link", "img", "iframe"} & parsed.seen
        assert "argument 12 of" in parsed.text
        assert "engines: stack argument at call" in parsed.text
