"""Selftest objects: what their tags expect, how texts are matched, and what the command makes of it."""

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bpf.errors import InputError
from emu.pipeline import Pipeline
from emu.selftest.messages import Message, unmet
from emu.selftest.runner import Result, run_object
from tests.emu.conftest import Command

OBJECT = Path(__file__).parents[2] / "fixtures" / "selftest" / "expectations.bpf.o"

# Of each program of the fixture: state, and what its reason says.
EXPECTED = {
    "returns": ("pass", ""),
    "returns_something_else": ("fail", "interp returned 42, expected 41"),
    "returns_the_lowest": ("pass", ""),
    "returns_no_number": ("unsupported", "'6 * 7' is no number"),
    "is_expected_to_load": ("pass", ""),
    "reads_nothing": ("pass", ""),
    "messages_the_other_way": ("fail", "no message '0: (bf) r0 = r2' after the one before it"),
    "message_over_two_lines": ("fail", "no message '{{r0 = r2.*read_ok}}'"),
    "message_that_must_not_be": ("fail", "message 'r0 = r2', which must not be there"),
    "message_that_is_none": ("unsupported", "a bad regular expression"),
    "is_accepted": ("fail", "expected to be rejected, accepted"),
    "is_rejected": ("fail", "expected to load, rejected with EACCES: R0 !read_ok"),
    "success_has_no_log": ("fail", "no message 'processed'"),
    "for_others": ("skipped", "asks only unprivileged users"),
    "helps": ("skipped", "auxiliary"),
    "elsewhere": ("skipped", "for ARM64 only"),
    "interpreted": ("skipped", "for kernels without a JIT only"),
    "speaks": ("unsupported", "not judged: the program's error stream"),
    "is_strict": ("pass", ""),
    "rewritten_otherwise": ("fail", "rewritten program: no message '1: goto pc+0'"),
    "rewritten": ("pass", ""),
    "native": ("pass", ""),
    "native_otherwise": ("fail", "native code: message '\\t{{(retq|jmp)}}' is not in the line after"),
    "named": ("pass", ""),
    "named_elsewhere": ("unsupported", "missing.bpf.o: no such file"),
}


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    return {item.program: item for item in run_object(Pipeline(), str(OBJECT))}


def test_every_kind_of_expectation(results: dict[str, Result]) -> None:
    assert list(results) == list(EXPECTED)
    wrong = {
        name: (item.state, item.why)
        for name, item in results.items()
        if item.state != EXPECTED[name][0] or EXPECTED[name][1] not in item.why or "\n" in item.why
    }
    assert wrong == {}


def test_unprivileged_expectations_are_counted(results: dict[str, Result]) -> None:
    assert [name for name, item in results.items() if item.unprivileged] == ["reads_nothing", "for_others"]


def test_run_picks_by_name_and_description() -> None:
    assert [item.program for item in run_object(Pipeline(), str(OBJECT), "a result")] == ["returns"]
    assert [item.program for item in run_object(Pipeline(), str(OBJECT), "rewritten")] == [
        "rewritten_otherwise",
        "rewritten",
    ]


LOG = "one\ntwo 12\nthree [x]\nfour\n"


@pytest.mark.parametrize(
    ("messages", "want"),
    [
        ([Message("one"), Message("four")], ""),
        ([Message("four"), Message("one")], "no message 'one' after the one before it"),
        ([Message("one"), Message("two {{[0-9]+$}}")], ""),
        ([Message("one"), Message("two", adjoining=True), Message("three", adjoining=True)], ""),
        ([Message("one"), Message("three", adjoining=True)], "message 'three' is not in the line after the one before it"),
        ([Message("three [x]")], ""),
        ([Message("th{{r}}ee [x]")], ""),
        ([Message("{{one.*two}}")], "no message '{{one.*two}}'"),
        ([Message("{{e[^z]t}}")], "no message '{{e[^z]t}}'"),
        ([Message("{{[[:alpha:]]+ [[:digit:]]+}}")], ""),
        ([Message("{{[]x]+}}")], ""),
        ([Message("one"), Message("four", wanted=False), Message("three")], ""),
        ([Message("one"), Message("two", wanted=False), Message("four")], "message 'two', which must not be there"),
        ([Message("four"), Message("one", wanted=False)], ""),
        ([Message("absent", wanted=False)], ""),
        ([Message("four", wanted=False)], "message 'four', which must not be there"),
    ],
)  # fmt: skip
def test_texts_in_order(messages: list[Message], want: str) -> None:
    assert unmet(LOG, messages) == want


@pytest.mark.parametrize("text", ["{{(}}", "{{[}}", "{{a"])
def test_bad_expressions(text: str) -> None:
    with pytest.raises(InputError) as error:
        unmet(LOG, [Message(text)])
    assert "\n" not in str(error.value)


def test_the_command(bpfemu: Command, tmp_path: Path) -> None:
    xml = tmp_path / "out.xml"
    ran = bpfemu("selftest", OBJECT, "--json", "--junit", xml)
    assert ran.status == 1
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert {row["program"]: row["state"] for row in rows} == {k: v[0] for k, v in EXPECTED.items()}
    states = Counter(state for state, _ in EXPECTED.values())
    suite = ET.fromstring(xml.read_bytes()).find("testsuite")
    assert suite is not None
    assert suite.attrib == {
        "name": str(OBJECT),
        "tests": str(len(EXPECTED)),
        "failures": str(states["fail"]),
        "errors": "0",
        "skipped": str(states["unsupported"] + states["skipped"]),
    }
    assert len(suite.findall("testcase/failure")) == states["fail"]


def test_the_table(bpfemu: Command) -> None:
    ran = bpfemu("selftest", OBJECT, "--run", "returns", "-v")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["object", "pass", "fail", "unsupported", "skipped", "unprivileged"]
    assert lines[1].split() == ["expectations.bpf.o", "2", "1", "1"]
    assert lines[2].split() == ["all", "2", "1", "1"]
    assert lines[3].startswith("fail: expectations.bpf.o: returns_something_else: interp returned 42")
    assert lines[4].startswith("unsupported: expectations.bpf.o: returns_no_number: ")


def test_statuses(bpfemu: Command, tmp_path: Path) -> None:
    assert bpfemu("selftest", OBJECT, "--run", "rewritten").status == 1
    assert bpfemu("selftest", OBJECT, "--run", "a result").status == 0
    missing = bpfemu("selftest", tmp_path / "missing.o")
    assert (missing.status, len(missing.err.splitlines())) == (2, 1)
    nothing = bpfemu("selftest", OBJECT, "--run", "no such program")
    assert (nothing.status, len(nothing.err.splitlines())) == (2, 1)


def test_an_object_that_is_none(bpfemu: Command, tmp_path: Path) -> None:
    file = tmp_path / "broken.o"
    file.write_bytes(b"\x7fELF")
    ran = bpfemu("selftest", file)
    assert "Traceback" not in ran.out + ran.err
    assert ran.out.splitlines()[1].split() == ["broken.o", "1"]
    assert (ran.status, len(ran.err.splitlines())) == (2, 1)
