"""Frames, at every native instruction, against code that was decoded and followed independently."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bpf import isa
from bpf.codec import decode
from bpf.insn import Insn
from bpf.program import Program
from bpf.verified import Subprog, Verified
from jit import PRESETS, Profile, compile_program
from jit.frame import Frame, Moment, Place
from jit.image import NativeFunction
from tests.jit import test_rare
from tests.jit.recordings import Recording, records
from tests.jit.tracker import DECODER, State, track
from tests.jit.verified import from_options, function

EXIT = Insn(isa.OP_EXIT)


def check(compiled: NativeFunction, boundary: int = 0) -> int:
    """Every reachable instruction of a function; returns how many there are."""
    states = track(compiled.code, {reloc.off for reloc in compiled.relocs}, boundary)
    for off, state in states.items():
        _compare(compiled.frame, compiled.frame.at(off), state)
    return len(states)


def _compare(frame: Frame, moment: Moment, state: State) -> None:
    where = hex(moment.off)
    assert moment.depth == state.depth == frame.depth(moment.off), where
    assert moment.cfi == frame.cfi(moment.off)
    saved = {reg: spot.cfa for reg, spot in moment.saved.items()}
    assert {"rip": -8} | saved == moment.cfi.saved, where
    assert saved == dict(state.saved), where
    if moment.cfi.cfa.reg == "rbp":
        assert state.rbp == 16, where
        assert moment.cfi.cfa.off == 16, where
    else:
        assert moment.cfi.cfa == Place("rsp", state.depth), where
    latest_first = state.pushed[::-1]
    known = len(moment.temporaries)
    assert tuple(moment.temporaries) == latest_first[:known], where
    assert [spot.rsp for spot in moment.temporaries.values()] == [8 * k for k in range(known)], where
    assert set(latest_first[known:]) <= {"rax"}, f"{where}: on the stack, and the frame does not say so"
    for spot in _spots(moment):
        assert spot.rsp == spot.cfa + state.depth, where
        assert spot.rsp >= 0, where
        assert spot.rbp == (None if moment.cfi.cfa.reg == "rsp" else spot.cfa + 16), where


def _spots(moment: Moment) -> Iterator[Any]:
    yield moment.return_address
    yield from (spot for spot in (moment.stack, moment.counts) if spot is not None)
    for group in (moment.saved, moment.incoming, moment.outgoing, moment.temporaries):
        yield from group.values()


def test_frames_of_recorded_programs() -> None:
    count = 0
    for record in [r for r in records("programs.jsonl.gz") if r["expect"]["accepted"]][::45]:
        image = compile_program(Recording(record).verified())
        count += sum(check(compiled) for compiled in image.functions)
    assert count > 3_000


def test_frames_of_rare_code() -> None:
    short = [r for r in test_rare.RECORDS if len(r["xlated"]) < 16 * 300]
    assert len(short) > 10
    for number, record in enumerate(short):
        profile = list(PRESETS.values())[number % len(PRESETS)]
        for compiled in compile_program(test_rare._verified(record), profile).functions:
            check(compiled)


def test_frames_of_the_emitters_vectors() -> None:
    """Instructions that push: divisions and shifts by every pair of registers; and functions of every kind."""
    pushing = [
        r for r in records("x86/instructions.jsonl.gz") if r["name"].startswith(("div64", "smod32", "lsh32"))
    ]
    assert len(pushing) > 500
    for record in pushing[::5]:
        verified, profile = from_options((*decode(bytes.fromhex(record["insns"])), EXIT), record["options"])
        check(compile_program(verified, profile).functions[0])
    kinds = set()
    rare = {"excb", "exb", "priv", "tcr", "arena"}
    functions = list(records("x86/functions.jsonl.gz"))
    for record in functions[::15] + [r for r in functions if rare & r["options"].keys()]:
        options = record["options"]
        insns = decode(bytes.fromhex(record["insns"]))
        if any(insn.is_call and insn.src == isa.PSEUDO_CALL for insn in insns):
            continue
        verified, profile = from_options(insns, options)
        if options.get("excb"):
            sub = verified.subprogs[0]
            boundary = 16 + -(-sub.stack_depth // 8) * 8 + 40
            check(compile_program(verified, profile).functions[0], boundary)
        else:
            check(compile_program(verified, profile).functions[0])
        kinds |= options.keys()
    assert kinds >= {"tcr", "excb", "exb", "priv", "ibt", "out", "depth", "sub"}


# ---- the frame said in words


def _mov(dst: int) -> Insn:
    return Insn(isa.ALU64 | isa.MOV | isa.K, dst, imm=1)


def _store(number: int) -> Insn:
    return Insn(isa.ST | isa.MEM | isa.DW, isa.REG_PARAMS, 0, -8 * (number - 5), number)


def _one(*insns: Insn, profile: Profile = PRESETS["plain"], **options: Any) -> NativeFunction:
    return compile_program(function((*insns, EXIT), **options), profile).functions[0]


def _instructions(compiled: NativeFunction) -> dict[str, Moment]:
    """`push rbp` -> the moment before it; of the same text the last."""
    return {
        f"{insn.mnemonic} {insn.op_str}".strip(): compiled.frame.at(insn.address)
        for insn in DECODER.disasm(compiled.code, 0)
    }


def test_a_function_with_12_arguments_from_its_first_to_its_last_instruction() -> None:
    compiled = _one(
        _mov(6), _mov(9), _store(12), in_stack_args=7, out_stack_args=7, stack_depth=13, kind="static"
    )
    at = _instructions(compiled)
    first = at["push rbp"]
    assert (first.depth, first.cfi.cfa, first.saved) == (8, Place("rsp", 8), {})
    assert [first.incoming[n].rsp for n in range(7, 13)] == [8, 16, 24, 32, 40, 48]
    assert first.return_address.rsp == 0
    assert first.return_address.rbp is None
    assert first.outgoing == {}
    second = at["mov rbp, rsp"]
    assert (second.cfi.cfa, second.saved["rbp"].rsp) == (Place("rsp", 16), 0)
    assert second.pointer is None
    third = at["sub rsp, 0x10"]
    assert (third.cfi.cfa, third.stack, third.pointer) == (Place("rbp", 16), None, Place("rbp"))
    assert at["push rbx"].stack is not None
    assert at["push rbx"].stack.rbp == -16
    assert list(at["push r15"].saved) == ["rbp", "rbx"]
    assert at["sub rsp, 0x30"].outgoing == {}
    body = compiled.frame.at(compiled.prologue)
    assert {n: spot.rsp for n, spot in body.outgoing.items()} == {n: 8 * (n - 7) for n in range(7, 13)}
    assert [body.incoming[n].rbp for n in (7, 12)] == [16, 56]
    assert body.saved["rbx"].rbp == -24
    assert body.saved["r15"].rsp == 48
    assert (body.return_address.cfa, body.return_address.rsp) == (-8, body.depth - 8)
    assert at["add rsp, 0x30"].outgoing.keys() == body.outgoing.keys()
    assert at["pop r15"].outgoing == {}
    assert list(at["pop rbx"].saved) == ["rbp", "rbx"]
    assert list(at["leave"].saved) == ["rbp"]
    assert (at["ret"].depth, at["ret"].saved, at["ret"].cfi.cfa) == (8, {}, Place("rsp", 8))


def test_code_behind_an_epilogue_is_body_again() -> None:
    compiled = _one(
        Insn(isa.JMP | isa.JEQ | isa.K, 1, off=1), EXIT, _mov(6), _store(7), out_stack_args=2, stack_depth=8
    )
    after = compiled.frame.at(compiled.offsets[2])
    assert after.depth == compiled.frame.at(compiled.prologue).depth
    assert after.outgoing.keys() == {7}


def test_a_private_stack_is_elsewhere_and_its_pointer_is_saved_around_calls() -> None:
    call = Insn(isa.OP_CALL, 0, isa.HELPER_CALL, 0, 5)
    compiled = _one(_mov(6), call, private_stack=True, stack_depth=24)
    frame, at = compiled.frame, _instructions(compiled)
    assert frame.private_depth == 24
    assert frame.at(compiled.prologue).stack is None
    assert at["push rbx"].pointer is None
    assert frame.at(compiled.prologue).pointer == Place("r9")
    pop = at["pop r9"]
    assert pop.pointer == Place("rsp", 0)
    assert pop.temporaries["r9"].rsp == 0
    assert frame.at(compiled.offsets[2]).pointer == Place("r9")


def test_tail_call_counts_have_two_words_and_are_gone_at_the_jump() -> None:
    compiled = _one(_mov(6), Insn(isa.OP_TAIL_CALL), tail_call_reachable=True, stack_depth=8)
    body = compiled.frame.at(compiled.prologue)
    assert body.counts is not None
    assert body.counts.rbp == -24
    jump = _instructions(compiled)["jmp rcx"]
    assert (jump.counts, jump.stack, jump.depth) == (None, None, 16)
    assert jump.cfi.saved == {"rip": -8, "rbp": -16}


def test_an_exception_callback_takes_the_frame_of_the_main_program() -> None:
    insns = (_mov(6), EXIT, _mov(8), EXIT)
    main = Subprog("main", 0, 2, "main", 1, 24, is_exception_boundary=True)
    callback = Subprog("caught", 2, 4, "global", 1, 0, is_exception_cb=True)
    verified = Verified(Program("t", insns), insns, (0, 1, 2, 3), (main, callback))
    first, second = compile_program(verified, PRESETS["plain"]).functions
    check(first)
    check(second, first.frame.at(first.prologue).depth)
    at = _instructions(second)
    assert at["mov rsp, rsi"].cfi.cfa == Place("rsp", 8)
    taken = at["mov rbp, rdx"]
    assert taken.cfi == first.frame.cfi(first.prologue).__class__(
        Place("rsp", 80), first.frame.cfi(first.prologue).saved
    )
    assert taken.pointer is None
    assert {reg: spot.rsp for reg, spot in at["pop r13"].saved.items()} == {
        "rbp": 48, "r12": 16, "rbx": 8, "r13": 0,
    }  # fmt: skip
    assert list(at["push r14"].saved) == ["rbp"]


@pytest.mark.parametrize("options", [{}, {"arena_user": 0}, {"is_exception_boundary": True}])
@pytest.mark.parametrize("profile", sorted(PRESETS))
def test_every_kind_in_every_profile(profile: str, options: dict[str, Any]) -> None:
    for extra in ({}, {"tail_call_reachable": True}, {"private_stack": True}, {"out_stack_args": 7}):
        for kind in ("main", "static"):
            compiled = _one(
                _mov(7), _mov(8), profile=PRESETS[profile], kind=kind, stack_depth=40, **options, **extra
            )
            assert check(compiled) > 5


def test_changes_are_all_there_is() -> None:
    frame = _one(_mov(6), _store(8), out_stack_args=3, stack_depth=8).frame
    edges = list(frame.changes())
    for low, high in zip(edges, [*edges[1:], edges[-1] + 4], strict=True):
        for off in range(low, high):
            assert replace(frame.at(off), off=low) == frame.at(low)
