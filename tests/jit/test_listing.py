"""The annotated listing: what it says of stack arguments, and that it keeps its width."""

from dataclasses import replace

from bpf import isa
from bpf.insn import Insn
from bpf.program import Program
from bpf.verified import Subprog, Verified
from jit import compile_program
from jit.image import Layout
from jit.listing import WIDTH, render
from tests.jit.recordings import Recording, records

_DW = isa.MEM | isa.DW


def _twelve() -> Verified:
    """A main program that passes 12 arguments, and a function that adds the first and the last."""
    args = [Insn(isa.ST | _DW, isa.REG_PARAMS, 0, -8 * (n - 5), n) for n in range(12, 5, -1)]
    args += [Insn(isa.ALU64 | isa.MOV | isa.K, n, imm=n) for n in range(1, 6)]
    insns = (
        *args,
        Insn(isa.OP_CALL, 0, isa.PSEUDO_CALL, 0, 1),
        Insn(isa.OP_EXIT),
        Insn(isa.LDX | _DW, 6, isa.REG_PARAMS, 8),
        Insn(isa.LDX | _DW, 0, isa.REG_PARAMS, 56),
        Insn(isa.ALU64 | isa.ADD | isa.X, 0, 1),
        Insn(isa.OP_EXIT),
    )
    subs = (
        Subprog("main", 0, 14, "main", 1, 0, 0, 7),
        Subprog("add12", 14, 18, "static", 12, 24, 7, 0),
    )
    return Verified(Program("twelve", insns), insns, tuple(range(18)), subs)


def test_arguments_are_named_where_they_move() -> None:
    text = render(compile_program(_twelve()))
    for line in (
        f"{'    6: *(u64 *)(r11 -8) = 6':<62} ; arg 6 of add12 -> r9",
        "; arg 7 of add12 -> [rsp+0x0]",
        "; arg 12 of add12 -> [rsp+0x28]",
        "; arg 5 of add12 -> r8",
        f"{'   12: call add12':<62} ; 12 arguments",
        "; arg 6 -> rbx from r9",
        "; arg 12 -> rax from [rbp+0x38]",
        "rbp+0x38  │ argument 12, incoming",
        "rbp-0x18  │ program stack, 24 bytes          │ r10-24 .. r10-1",
        "rbp-0x20  │ saved rbx (r6)                   │ ◄ rsp",
        "rbp-0x30  │ argument 7, outgoing             │ ◄ rsp",
        "func#1 add12 (static): ",
    ):
        assert line in text, line


def test_a_placed_listing_shows_addresses() -> None:
    text = render(compile_program(_twelve()), Layout((0xFFFFFFFFC0000000, 0xFFFFFFFFC0000100), {}))
    assert "at 0xffffffffc0000000" in text
    assert "call    add12  (0xffffffffc0000100)" in text


def test_tail_calls_and_private_stacks_have_a_picture_too() -> None:
    insns = (Insn(isa.OP_TAIL_CALL), Insn(isa.OP_EXIT))
    sub = Subprog("main", 0, 2, "main", stack_depth=8, tail_call_reachable=True)
    text = render(compile_program(Verified(Program("t", insns), insns, (0, 1), (sub,))))
    assert "rbp-0x18  │ pointer to the count             │ ◄ rsp" in text
    assert "0: tail call" in text
    private = replace(sub, tail_call_reachable=False, private_stack=True, start=1)
    text = render(compile_program(Verified(Program("t", insns), insns, (0, 1), (private,))))
    assert "rbp       │ saved rbp                        │ ◄ rbp, rsp" in text
    assert "r9          r10: program stack of 8 bytes in per-CPU memory" in text


def test_no_line_is_too_wide_and_every_instruction_is_there() -> None:
    chosen = [r for r in records("programs.jsonl.gz") if r["expect"]["accepted"]][::40]
    for record in chosen:
        recording = Recording(record)
        image = compile_program(recording.verified())
        text = render(image, recording.layout())
        lines = text.splitlines()
        assert max(map(len, lines)) <= WIDTH
        shown = {line.split(":")[0].strip() for line in lines if line[5:6] == ":"}
        assert shown == {str(slot) for slot, insn in enumerate(image.verified.insns) if insn.code}
