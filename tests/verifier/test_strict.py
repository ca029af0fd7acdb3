"""Strict mode: what it refuses beyond the kernel, and that it refuses nothing else. docs/strict.md says why."""

import gzip
import importlib
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from bpf.request import parse_request
from bpf.verified import Rejected
from emu.load import load_file
from emu.outcome import Outcome
from emu.pipeline import Pipeline
from tests.verifier.kit import FIXTURES, program
from verifier import verify

ROOT = FIXTURES.parent
STRIDE = 4  # every fourth recording: the test is to be quick
HOLES = [json.loads(line) for line in (FIXTURES / "golden" / "holes.jsonl").read_text().splitlines()]
PROGRAMS = sorted((FIXTURES / "strict").glob("*.bpf"))
PAGE = (ROOT / "docs" / "strict.md").read_text()

# Programs of holes.jsonl that are safe, and run as they were verified. The unused callback's is safe, too, but the
# kernel refuses it, and so strict mode must.
SAFE = ("(control)", "count not exhausted")
REAL_FAULTS = "the verifier of a real kernel faults here"


@dataclass(frozen=True, slots=True)
class Hole:
    record: dict[str, Any]

    @property
    def got(self) -> dict[str, Any] | None:
        got: dict[str, Any] | None = self.record["got"].get("7.3.4")
        return got if got is not None and "vm_died" not in got else None

    @property
    def safe(self) -> bool:
        """A program that the kernel accepts and that runs as it should."""
        return bool(self.got and self.got["accepted"]) and (
            any(word in self.record["name"] for word in SAFE) or "control)" in self.record["name"]
        )


def _names(record: dict[str, Any]) -> str:
    return str(record["name"])


@pytest.mark.parametrize("record", HOLES, ids=_names)
def test_kernel_mode_has_the_holes(record: dict[str, Any]) -> None:
    verdict = verify(parse_request(record["request"], "hole").program)
    got = Hole(record).got
    if got is None:
        assert isinstance(verdict, Rejected)
        assert verdict.message is not None
        assert REAL_FAULTS in verdict.message
    elif got["accepted"]:
        assert not isinstance(verdict, Rejected), verdict.message
    else:
        assert isinstance(verdict, Rejected)
        assert verdict.errno == got["errno"]
        assert verdict.message == (got.get("message") or got["log_tail"][-2])


@pytest.mark.parametrize("record", HOLES, ids=_names)
def test_strict_mode_has_none_of_them(record: dict[str, Any]) -> None:
    verdict = verify(parse_request(record["request"], "hole").program, mode="strict")
    if Hole(record).safe:
        assert not isinstance(verdict, Rejected), verdict.message
    else:
        assert isinstance(verdict, Rejected)
        assert verdict.message


def test_there_are_controls() -> None:
    assert sum(Hole(record).safe for record in HOLES) == 5


@cache
def _records() -> tuple[dict[str, Any], ...]:
    with gzip.open(FIXTURES / "golden" / "programs.jsonl.gz", "rt") as stream:
        return tuple(json.loads(line) for line in stream)


def _strict(record: dict[str, Any]) -> bool:
    return not isinstance(verify(parse_request(record, "recording").program, mode="strict"), Rejected)


def test_strict_mode_refuses_what_was_accepted_because_of_a_hole() -> None:
    noted = [one for one in _records() if "note" in one]
    assert len(noted) == 9
    assert [one["name"] for one in noted if _strict(one)] == []


def test_strict_mode_accepts_every_other_accepted_recording() -> None:
    plain = [one for one in _records() if one["expect"]["accepted"] and "note" not in one]
    assert [one["name"] for one in plain[::STRIDE] if not _strict(one)] == []


def test_strict_mode_accepts_nothing_that_the_kernel_refuses() -> None:
    refused = [one for one in _records() if not one["expect"]["accepted"]]
    assert [one["name"] for one in refused[::STRIDE] if _strict(one)] == []


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.stem)
def test_the_page_shows_what_becomes_of_each_program(file: Any) -> None:
    item = next(iter(load_file(str(file), print, None)))
    case = Pipeline().run(item.request)
    assert not case.rejected
    verdict = verify(item.request.program, mode="strict")
    assert isinstance(verdict, Rejected)
    assert case.interp is not None
    assert case.sandbox is not None
    row = (
        f"| [{file.stem}](../fixtures/strict/{file.name}) | `{verdict.errno}: {verdict.message}` "
        f"| {_end(case.interp)} | {_end(case.sandbox)} |"
    )
    assert row in PAGE, row
    assert f"```bpf\n{file.read_text()}```" in PAGE


def _end(outcome: Outcome) -> str:
    run = outcome.runs[0]
    if run.trap is None:
        return f"r0 = {run.retval:#x}"
    return f"trap: {run.trap.message.split(': ')[-1].split(' (')[0]}"


def test_other_slots_outlive_a_hidden_call() -> None:
    """Arguments 7 to 12 lie in memory, which nobody else writes."""
    text = """prog tc
int main(struct __sk_buff *ctx):
    r6 = r1
    *(u64 *)(r11 -16) = 70
    *(u64 *)(r11 -8) = 60
    r0 = *(u8 *)skb[0]
    {again}
    r1 = 1
    r2 = 2
    r3 = 3
    r4 = 4
    r5 = 5
    call seven
    exit
static long seven(long a, long b, long c, long d, long e, long f, long g):
    r0 = *(u64 *)(r11 {slot})
    exit
"""
    store = "*(u64 *)(r11 -8) = 60"
    for again, slot, accepted in (("", "+16", True), ("", "+8", False), (store, "+8", True)):
        verdict = verify(program(text.format(again=again, slot=slot)), mode="strict")
        assert isinstance(verdict, Rejected) is not accepted, (again, slot)


def test_a_kfunc_reads_all_its_arguments() -> None:
    text = """prog tc
int main(struct __sk_buff *ctx):
    r6 = r1
    *(u64 *)(r11 -8) = 60
    r0 = *(u8 *)skb[0]
    r1 = 1
    r2 = 2
    r3 = 3
    r4 = 4
    r5 = 5
    call okf_sum6
    exit
"""
    verdict = verify(program(text), mode="strict")
    assert isinstance(verdict, Rejected)
    message = "callee expects 6 args, stack arg1 is clobbered by may_goto or LD_ABS/LD_IND"
    assert (verdict.errno, verdict.message) == ("EFAULT", message)
    assert not isinstance(verify(program(text)), Rejected)


def test_the_kernels_way_is_gone_only_where_it_may_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """prog tc
int main(struct __sk_buff *ctx):
    {first}
    r0 = 0
    *(u64 *)(r11 -8) = 60
    r1 = 1
    r2 = 2
    r3 = 3
    r4 = 4
    r5 = 5
    call okf_sum6
    exit
"""
    module = importlib.import_module("verifier.verify")
    right, modes = module._judge, []

    def judge(ask: Any) -> Any:
        modes.append(ask.mode)
        return right(ask)

    monkeypatch.setattr(module, "_judge", judge)
    for first, wanted in (("r6 = r1", ["strict"]), ("may_goto pc+0", ["strict", "kernel"])):
        modes.clear()
        assert not isinstance(verify(program(text.format(first=first)), mode="strict"), Rejected)
        assert modes == wanted, first


def test_stack_arguments_in_the_log() -> None:
    text = """prog tc
int main(struct __sk_buff *ctx):
    *(u64 *)(r11 -16) = r10
    *(u64 *)(r11 -8) = 6
    r1 = 1
    r2 = 2
    r3 = 3
    r4 = 4
    r5 = 5
    call seven
    exit
static long seven(long a, long b, long c, long d, long e, long f, long g):
    r0 = 0
    exit
"""
    shown = verify(program(text), log_level=2, show_stack_args=True).log
    assert "; stack args: *(R11-8)=6 *(R11-16)=fp0\n" in shown
    plain = [line for line in shown.splitlines(keepends=True) if not line.startswith("; stack args:")]
    assert "".join(plain) == verify(program(text), log_level=2).log
