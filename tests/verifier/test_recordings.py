"""Every program that a real 7.3.4 kernel judged, judged by us."""

import json
from collections import Counter
from collections.abc import Sequence

from bpf import codec, elf, isa
from bpf.insn import Insn
from bpf.verified import Rejected, Verified
from tests.verifier.kit import FIXTURES, recordings
from verifier import verify

SAME_REWRITING = {"F1": 276, "F2": 382, "F3": 150, "F4": 116, "F5": 171, "F6": 194}


def test_verdicts_are_the_kernels() -> None:
    wrong = [
        (one.name, one.expect["errno"], one.expect.get("message"), one.verdict)
        for one in recordings()
        if isinstance(one.verdict, Verified) != one.expect["accepted"]
    ]
    assert wrong == []


def test_a_refusal_has_the_kernels_errno_and_message() -> None:
    wrong = [
        (one.name, one.expect["errno"], one.expect["message"], one.verdict.errno, one.verdict.message)
        for one in recordings()
        if isinstance(one.verdict, Rejected)
        and (one.verdict.errno, one.verdict.message) != (one.expect["errno"], one.expect["message"])
    ]
    assert wrong == []


def test_counters_are_the_kernels() -> None:
    wrong = []
    for one in recordings():
        want = one.expect.get("stats")
        if want is None:
            continue
        have = {key: one.verdict.stats.get(key) for key in want}
        if (have, one.verdict.verified_insns) != (want, one.expect["verified_insns"]):
            wrong.append((one.name, have, want, one.verdict.verified_insns, one.expect["verified_insns"]))
    assert wrong == []


def test_counts_of_functions_are_the_kernels() -> None:
    for one in recordings():
        if isinstance(one.verdict, Verified) and one.expect["accepted"]:
            want = [(sub["insns_self"], sub["insns_total"], sub["stack"]) for sub in one.expect["subprogs"]]
            have = [(sub.insns_self, sub.insns_total, sub.stack_depth) for sub in one.verdict.subprogs]
            assert have == want, one.name


def test_all_lines_of_a_refusal_are_the_kernels() -> None:
    several = [
        one
        for one in recordings()
        if isinstance(one.verdict, Rejected) and not one.expect["accepted"] and one.expect.get("messages")
    ]
    assert len(several) >= 8
    for one in several:
        assert isinstance(one.verdict, Rejected)
        assert list(one.verdict.messages) == one.expect["messages"], one.name


def test_the_log_ends_as_the_kernels_where_it_has_one() -> None:
    for one in recordings():
        if (
            isinstance(one.verdict, Rejected)
            and one.name != "f5-ld_imm64-last"
            and one.name != "f5-ld_imm64-only"
        ):
            has_end = "processed " in one.verdict.log
            assert has_end == (one.expect.get("stats") is not None), one.name


def test_functions_are_the_kernels() -> None:
    for one in recordings():
        if isinstance(one.verdict, Verified) and one.expect["accepted"]:
            want = [(sub["name"], sub["kind"]) for sub in one.expect["subprogs"]]
            have = [(sub.name, sub.kind) for sub in one.verdict.subprogs]
            assert have == want, one.name


def comparable(insns: Sequence[Insn], *, kernels: bool) -> list[object]:
    """Instructions without what differs by place: call targets, map addresses, numbers of functions."""
    out: list[object] = []
    skip = False
    for at, (insn, nxt) in enumerate(zip(insns, (*insns[1:], Insn(0)), strict=True)):
        if skip:
            skip = False
        elif insn.code == isa.OP_TAIL_CALL or (insn.is_call and insn.src != isa.PSEUDO_CALL):
            out.append("call")
        elif insn.is_call:
            out.append(("call", at + 1 + (insn.off if kernels else insn.imm)))
        elif insn.code == isa.LD_IMM64 and insn.src in (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_VALUE):
            out.append(("map", insn.dst, insn.src, nxt.imm if insn.src == isa.PSEUDO_MAP_VALUE else 0))
            skip = True
        elif insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_FUNC:
            out.append(("function", insn.dst, at + 1 + insn.imm))
            skip = True
        else:
            out.append(insn)
    return out


def test_rewriting_is_the_kernels() -> None:
    """Where neither dead code, context accesses nor inlining are involved, which need the main pass."""
    same: Counter[str] = Counter()
    for one in recordings():
        if one.expect["accepted"] and isinstance(one.verdict, Verified):
            theirs = codec.decode(bytes.fromhex(one.expect["xlated"]))
            equal = comparable(theirs, kernels=True) == comparable(one.verdict.insns, kernels=False)
            same[one.record["family"]] += equal
    assert all(same[family] >= floor for family, floor in SAME_REWRITING.items()), same


def test_every_new_slot_knows_where_it_comes_from() -> None:
    for one in recordings():
        if isinstance(one.verdict, Verified):
            verdict = one.verdict
            assert len(verdict.origin) == len(verdict.insns)
            assert list(verdict.origin) == sorted(verdict.origin), one.name
            assert [sub.end for sub in verdict.subprogs[:-1]] == [sub.start for sub in verdict.subprogs[1:]]
            assert verdict.subprogs[-1].end == len(verdict.insns)
            for at, insn in enumerate(verdict.insns):
                if insn.is_call and insn.src == isa.PSEUDO_CALL:
                    assert at + 1 + insn.imm in {sub.start for sub in verdict.subprogs}, one.name


def test_objects() -> None:
    entries = json.loads((FIXTURES / "objects" / "expect.json").read_text())
    programs = {
        entry["object"]: {p.name: p for p in elf.load(FIXTURES / "objects" / entry["object"]).programs}
        for entry in entries
    }
    for entry in entries:
        verdict = verify(programs[entry["object"]][entry["prog"]])
        expect = entry["expect"]
        if expect["accepted"]:
            assert isinstance(verdict, Verified), (entry["object"], entry["prog"], verdict.message)
        else:
            assert isinstance(verdict, Rejected), (entry["object"], entry["prog"])
            assert (verdict.errno, verdict.message) == (expect["errno"], expect["message"]), entry["prog"]
    assert len(entries) == 59
