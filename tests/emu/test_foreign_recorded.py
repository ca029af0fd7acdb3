"""Images of a real 7.3.4 kernel run in the sandbox, with gates, poisoned stubs and precise mode, against the interpreter."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bpf.request import parse_request
from bpf.verified import Verified
from emu.against import recording
from emu.compare import compare, without_inlined
from emu.foreign import image_of
from emu.pipeline import Options, Pipeline
from emu.replay.images import replay_image
from emu.sandbox import stubs
from emu.sandbox.callees import callee_of
from jit.image import Image
from tests.emu.conftest import Command
from verifier import verify

FIXTURES = Path(__file__).parents[2] / "fixtures"
STEP = {"F1": 23, "F2": 4, "F3": 4, "F4": 11, "F5": 13, "F6": 5}  # `bpfemu replay --images` runs all
LEAST = {"F1": 13, "F2": 95, "F3": 35, "F4": 14, "F5": 30, "F6": 70}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(Options(seconds=5.0))


@cache
def golden() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {family: [] for family in STEP}
    with gzip.open(FIXTURES / "golden" / "programs.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            family = line[line.index('"family": "') + 11 :][:2]
            if number % STEP[family] == 0:
                found[family].append(json.loads(line))
    return found


@pytest.mark.parametrize("family", STEP)
def test_the_kernels_own_images(pipeline: Pipeline, family: str) -> None:
    """No violation, the interpreter's results, and the kernel's. Context accesses are put right, so F4 and F5 run, too."""
    ran = 0
    for record in golden()[family]:
        replayed = replay_image(pipeline, record, record["name"])
        states = {check.field: (check.state, check.why) for check in replayed.checks}
        if states["image"][0] == "agree":
            ran += 1
            known = record["name"].startswith("f4-unreliable-twice")  # hole 1
            assert replayed.differs == known, (record["name"], states)
    assert ran >= LEAST[family]


def test_images_without_ours_to_compare_with(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the recording says of calls and pointers is enough: programs that our JIT cannot compile run, too."""
    monkeypatch.setattr("emu.foreign.make._ours", lambda *_: None)
    for record in golden()["F3"][:12] + golden()["F6"][:6]:
        replayed = replay_image(pipeline, record, record["name"])
        assert [check.state for check in replayed.checks] == ["agree"] * len(replayed.checks), record["name"]


# ---- holes


def holes() -> Iterator[tuple[str, dict[str, Any]]]:
    for line in (FIXTURES / "golden" / "holes.jsonl").read_text().splitlines():
        record = json.loads(line)
        if (record["got"].get("7.3.4") or {}).get("jited"):
            yield record["name"], record


ARGUMENT_LOST = {
    "unreliable callee, second caller frame never stored a slot (callee does not read)",
    "may_goto loop between r11 store and call",
    "may_goto loop, arg 7 instead (control)",  # right by luck: nobody reads argument 6
    "may_goto loop between store and call, branch proven dead is taken",
    "LD_ABS between r11 store and call",
    "LD_ABS u32 beyond the linear fast path between store and call",
    "LD_IND between r11 store and call",
    "LD_ABS, arg 7 (control)",  # as above
    "LD_ABS in the non-linear part of an skb (ctx_in.data_end = 20) between r11 store and call",
    "LD_ABS in the non-linear part, arg 7 (control)",  # as above
    "LD_ABS with SKF_LL_OFF (negative offset) between r11 store and call",
}
SEEN_INSIDE = {  # name -> what precise mode says
    "unreliable callee, second frame allocated 1 slot, callee reads slot 7 (out of the array)": "uninitialised",
    "bpf_loop called as a real helper (flags not a known constant, 0 at run time), 1 round, callback reads arg 6": "clobbered-register",
    "bpf_loop called as a real helper, 1 round, callback reads arg 7": "incoming-read",
    "bpf_loop as a real helper: callback result of arg 6 used as a branch proven one way": "clobbered-register",
    "LD_ABS in the callee before the r11 load": "clobbered-register",
    "LD_ABS in the non-linear part, in the callee before the r11 load": "clobbered-register",
    "may_goto loop in the callee before the r11 load": "clobbered-register",
}
# Nothing is wrong with the native code of these: the kernel inlined the loop and its callback keeps r9; an index that
# is not checked is no matter of calls; controls.
KEEP_THE_CONVENTION = {
    "bpf_loop callback (inlined by the verifier) with 6 params, 1 iteration",
    "may_goto loop of 3 rounds (count not exhausted, control)",
    "precision: index via stack arg, TEST_STATE_FREQ",
    "precision: index via stack arg, no flag, padded",
    "precision: kfunc mem size via stack arg, TEST_STATE_FREQ",
    "same, the unused subprog is not the last one (control)",
}


def image(record: dict[str, Any]) -> Image:
    verified = verify(parse_request(record["request"]).program)
    assert isinstance(verified, Verified)
    return image_of(verified, recording.read("x", record)).image


@pytest.mark.parametrize(("name", "record"), list(holes()), ids=[name for name, _ in holes()])
def test_holes_of_the_kernel_are_seen(pipeline: Pipeline, name: str, record: dict[str, Any]) -> None:
    """Programs that the kernel accepts and whose native code breaks the convention, even where a real machine is lucky."""
    request, made = parse_request(record["request"]), image(record)
    fast = pipeline.execute(request, made, {})
    found = {violation.check for run in fast.runs for violation in run.violations}
    if name in KEEP_THE_CONVENTION:
        assert not found
        assert fast.runs[-1].retval == record["got"]["7.3.4"]["retval"]
        return
    expected = without_inlined(pipeline.interpret(request, {}), made.verified.inlined)
    assert compare(expected, fast, request.program.maps) is not None
    if name in ARGUMENT_LOST:
        assert found == {"stale-argument"}
        return
    precise = pipeline.explain(request, made, {})
    located = [violation for run in precise.runs for violation in run.violations]
    assert {violation.check for violation in located} == {SEEN_INSIDE[name]}
    assert all(violation.insn is not None for violation in located)


def test_replay_of_images_as_a_table(bpfemu: Command, tmp_path: Path) -> None:
    lines = [
        line for line in (FIXTURES / "golden" / "holes.jsonl").read_text().splitlines() if "LD_ABS" in line
    ]
    file = tmp_path / "holes.jsonl"
    file.write_text("\n".join(lines))
    result = bpfemu("replay", file, "--images", "--show", "2")
    assert result.status == 1
    assert "argument 6 of s: interp 0x3c, sandbox 0xdead0bad00000909" in result.out
    answer = json.loads(bpfemu("replay", file, "--images", "--json").out)
    assert answer["summary"]["4"]["programs"] == len(lines)
    assert all(one["checks"]["image"]["state"] == "agree" for one in answer["programs"])


# ---- rarer code


@cache
def rarer() -> list[dict[str, Any]]:
    with gzip.open(FIXTURES / "jit" / "recorded.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_every_function_that_images_call_is_there() -> None:
    """A stub with its semantics, or code of its own; aliases apart, which are names of the same place."""
    names = {min(found, key=len) for record in rarer() for found in record["calls"].values()}
    jited = [
        one for family in golden().values() for record in family for one in record["expect"].get("jited", ())
    ]
    names |= {
        call["target"] for one in jited for call in one["calls"] if not call["target"].startswith("func#")
    }
    known = {name for name in names if name in stubs.NATIVE or callee_of(name).kind != "unknown"}
    tables = {"__x86_indirect_thunk_array", "__x86_indirect_jump_thunk_array"}
    assert names - known <= tables
    assert len(known) > 30
    assert {callee_of(f"bpf_skb_load_helper_{bits}").nargs for bits in (8, 16, 32)} == {4}


def test_rarer_images(pipeline: Pipeline) -> None:
    """Exceptions with and without a callback, tail calls, may_goto, packet loads, blinded numbers, all mitigations."""
    records = rarer()
    chosen = [one for one in records if not one["name"].startswith(("arena", "gotox", "priv", "maygoto"))][
        ::5
    ]
    states: Counter[tuple[str, str]] = Counter()
    kinds: Counter[str] = Counter()
    for record in chosen:
        replayed = replay_image(pipeline, record, record["name"])
        states.update((check.field, check.state) for check in replayed.checks)
        if not any(check.state == "not comparable" for check in replayed.checks):
            kinds[record["name"].split("-")[0]] += 1
        assert not replayed.differs, (record["name"], record["profile"], replayed.checks)
    assert states["engines", "agree"] >= 40
    assert kinds["throw"] >= 10
    assert kinds["tail"] >= 5
    assert kinds["ldabs"] >= 1


def test_images_with_jump_tables_and_arenas(pipeline: Pipeline) -> None:
    """A kernel's own code through jump tables that are filled with places in it, and on an arena without pages."""
    agreed: Counter[str] = Counter()
    shown = [one for one in rarer() if one["name"].startswith(("arena", "gotox")) and "blinded" not in one]
    for record in shown[::8]:
        replayed = replay_image(pipeline, record, record["name"])
        assert not replayed.differs, (record["name"], record["profile"], replayed.checks)
        agreed[record["name"].split("-")[0]] += all(check.state == "agree" for check in replayed.checks)
    assert agreed["gotox"] >= 5
    assert agreed["arena"] >= 5


def test_records_without_code_are_not_comparable(pipeline: Pipeline) -> None:
    record = next(one for one in golden()["F5"] if not one["expect"]["accepted"])
    replayed = replay_image(pipeline, record, "x")
    assert [(check.field, check.state) for check in replayed.checks] == [("image", "not comparable")]
