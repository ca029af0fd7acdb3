"""Conditions, jumps and loops of the interpreter."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import isa
from bpf.insn import Insn
from bpf.program import RunInput
from tests.emu.interp_kit import execute, r0, trap

MIN64 = 0x8000_0000_0000_0000
ONES = 0xFFFF_FFFF_FFFF_FFFF

# (condition on r1 and r2, r1, r2, taken)
CASES = [
    ("r1 == r2", 5, 5, True),
    ("r1 == r2", 5, 1 << 32 | 5, False),
    ("w1 == w2", 5, 1 << 32 | 5, True),
    ("r1 != r2", 5, 1 << 32 | 5, True),
    ("w1 != w2", 5, 1 << 32 | 5, False),
    ("r1 > r2", ONES, 1, True),
    ("r1 s> r2", ONES, 1, False),
    ("r1 > r2", 1, 1, False),
    ("r1 >= r2", 1, 1, True),
    ("r1 < r2", 1, ONES, True),
    ("r1 s< r2", 1, ONES, False),
    ("r1 s< r2", MIN64, 0, True),
    ("r1 <= r2", 1, 1, True),
    ("r1 s<= r2", ONES, ONES, True),
    ("r1 s>= r2", MIN64, MIN64 - 1, False),
    ("r1 s>= r2", 0, ONES, True),
    # the upper halves say the opposite
    ("w1 > w2", 0x0_0000_0002, 0xF_0000_0001, True),
    ("w1 < w2", 0xF_0000_0001, 0x0_0000_0002, True),
    ("w1 >= w2", 0x1, 0xF_0000_0001, True),
    ("w1 <= w2", 0xF_0000_0001, 0x1, True),
    ("w1 s> w2", 0x1, 0xFFFF_FFFF, True),
    ("w1 s> w2", 0xFFFF_FFFF, 0x1, False),
    ("w1 s< w2", 0x8000_0000, 0x7FFF_FFFF, True),
    ("w1 s>= w2", 0x7FFF_FFFF, 0x8000_0000, True),
    ("w1 s<= w2", 0x1_8000_0000, 0x8000_0000, True),
    # immediates are extended by sign, also for unsigned comparison
    ("r1 == -1", ONES, 0, True),
    ("r1 == -1", 0xFFFF_FFFF, 0, False),
    ("w1 == -1", 0xFFFF_FFFF, 0, True),
    ("r1 != -1", 0xFFFF_FFFF, 0, True),
    ("r1 < -1", ONES - 1, 0, True),
    ("r1 > -1", ONES, 0, False),
    ("r1 >= -2", ONES, 0, True),
    ("w1 < -1", 0xF_FFFF_FFFE, 0, True),
    ("r1 s< -1", MIN64, 0, True),
    ("r1 s> -1", 0, 0, True),
    ("w1 s> -1", 0xFFFF_FFFF_0000_0000, 0, True),
    ("w1 s<= -1", 0x8000_0000, 0, True),
    ("r1 & 4", 6, 0, True),
    ("r1 & 4", 3, 0, False),
    ("r1 & -2147483648", MIN64, 0, True),
    ("w1 & -2147483648", MIN64, 0, False),
    ("r1 & r2", 1 << 32, 1 << 32, True),
    ("w1 & w2", 1 << 32, 1 << 32, False),
]


@pytest.mark.parametrize(("condition", "one", "other", "taken"), CASES)
def test_condition(condition: str, one: int, other: int, taken: bool) -> None:
    text = f"r1 = {one:#x} ll\nr2 = {other:#x} ll\nr0 = 1\nif {condition} goto out\nr0 = 0\nout:\nexit"
    assert r0(text) == taken


ORDER = {
    isa.JEQ: {0},
    isa.JNE: {-1, 1},
    isa.JGT: {1},
    isa.JGE: {0, 1},
    isa.JLT: {-1},
    isa.JLE: {-1, 0},
    isa.JSGT: {1},
    isa.JSGE: {0, 1},
    isa.JSLT: {-1},
    isa.JSLE: {-1, 0},
}
SIGNED = {isa.JSGT, isa.JSGE, isa.JSLT, isa.JSLE}
WORDS = st.one_of(
    st.sampled_from([0, 1, ONES, MIN64, MIN64 - 1, 0x7FFF_FFFF, 0x8000_0000]), st.integers(0, ONES)
)


@settings(max_examples=150)
@given(st.sampled_from(list(ORDER)), st.booleans(), WORDS, WORDS)
def test_conditions_against_byte_order(op: int, wide: bool, a: int, b: int) -> None:
    """Numbers compare as their big-endian bytes do; signed ones after their sign bit is turned over."""
    size = 8 if wide else 4
    keys = [bytearray((value & ((1 << 8 * size) - 1)).to_bytes(size, "big")) for value in (a, b)]
    if op in SIGNED:
        for key in keys:
            key[0] ^= 0x80
    order = (keys[0] > keys[1]) - (keys[0] < keys[1])
    code = (isa.JMP if wide else isa.JMP32) | op | isa.X
    program = [
        Insn(isa.LD_IMM64, 1, imm=isa.sext(a, 32)),
        Insn(0, imm=isa.sext(a >> 32, 32)),
        Insn(isa.LD_IMM64, 2, imm=isa.sext(b, 32)),
        Insn(0, imm=isa.sext(b >> 32, 32)),
        Insn(isa.ALU64 | isa.MOV, 0, imm=1),
        Insn(code, 1, 2, off=1),
        Insn(isa.ALU64 | isa.MOV, 0, imm=0),
        Insn(isa.OP_EXIT),
    ]
    assert r0(program) == (order in ORDER[op])


def test_jumps_forward_and_back() -> None:
    assert r0("goto over\nback:\nr0 = 7\nexit\nover:\ngotol back") == 7


def test_gotol_uses_the_immediate_and_goto_the_offset() -> None:
    mov, leave = Insn(isa.ALU64 | isa.MOV, 0, imm=1), Insn(isa.OP_EXIT)
    seven = Insn(isa.ALU64 | isa.MOV, 0, imm=7)
    assert r0([mov, Insn(isa.OP_GOTOL, imm=1), seven, leave]) == 1
    assert r0([mov, Insn(isa.OP_JA, off=1), seven, leave]) == 1


def test_loop_counts_every_instruction() -> None:
    result = execute("r0 = 0\nr1 = 10\nloop:\nr0 += r1\nr1 -= 1\nif r1 != 0 goto loop\nexit")
    assert (result.r0, result.insns) == (55, 2 + 3 * 10 + 1)


def test_wide_instruction_counts_once() -> None:
    assert execute("r0 = 1 ll\nexit").insns == 2


def test_endless_loop_ends_with_the_budget() -> None:
    result = execute("loop:\nr0 = 1\ngoto loop", budget=1001)
    assert result.insns == 1001
    assert result.trap is not None
    assert (result.trap.kind, result.trap.insn) == ("budget", 1)
    assert result.trap.message == "insn 1: goto pc-2: more than 1001 instructions"


def test_exit_on_the_last_instruction_of_the_budget() -> None:
    assert execute("r0 = 1\nexit", budget=2).trap is None
    assert trap("r0 = 1\nexit", budget=1).kind == "budget"


def test_repeated_runs_share_one_budget() -> None:
    assert execute("r0 = 1\nexit", RunInput(repeat=3)).insns == 6
    assert trap("r0 = 1\nexit", run=RunInput(repeat=1 << 31), budget=1000).kind == "budget"


MAY_GOTO = "r0 = 0\nloop:\nmay_goto out\nr0 += 1\ngoto loop\nout:\n"


def test_may_goto_falls_through_twice_65535_times() -> None:
    assert r0(MAY_GOTO + "exit") == 2 * 65535


def test_may_goto_counts_each_activation_anew() -> None:
    text = f"call count\nr6 = r0\ncall count\nr0 += r6\nexit\ncount:\n{MAY_GOTO}exit"
    assert r0(text) == 4 * 65535


def test_may_goto_over_nothing_counts_nothing() -> None:
    assert r0("may_goto +0\nmay_goto +1\nmay_goto +0\n" + MAY_GOTO + "exit") == 2 * 65535


def test_may_goto_shares_its_count_within_an_activation() -> None:
    again = MAY_GOTO.replace("loop", "loop2").replace("out", "out2").replace("r0 = 0\n", "r7 = r0\n")
    assert r0(MAY_GOTO + again + "r0 -= r7\nexit") == 0


@pytest.mark.parametrize(
    ("code", "insn", "message"),
    [
        ([Insn(isa.OP_JA, off=4)], 0, "insn 0: goto pc+4: a jump to instruction 5, the program has 1"),
        ([Insn(isa.OP_JA, off=-2)], 0, "insn 0: goto pc-2: a jump to instruction -1, the program has 1"),
        (
            [Insn(isa.OP_GOTOL, imm=1 << 30)],
            0,
            "insn 0: gotol pc+1073741824: a jump to instruction 1073741825, the program has 1",
        ),
        (
            [Insn(isa.ALU64 | isa.MOV, 0, imm=1)],
            0,
            "insn 0: r0 = 1: control runs past the last instruction",
        ),
    ],
)
def test_control_outside_of_the_program(code: list[Insn], insn: int, message: str) -> None:
    found = trap(code)
    assert (found.kind, found.insn, found.message) == ("fetch", insn, message)


def test_wild_branch_that_is_not_taken_does_no_harm() -> None:
    mov = Insn(isa.ALU64 | isa.MOV, 0, imm=3)
    wild = Insn(isa.JMP | isa.JEQ, 0, off=100, imm=4)
    assert r0([mov, wild, Insn(isa.OP_EXIT)]) == 3


def test_empty_program() -> None:
    assert trap([]).kind == "fetch"


def test_jump_into_a_wide_instruction() -> None:
    code = [Insn(isa.OP_JA, off=1), Insn(isa.LD_IMM64, 0), Insn(0), Insn(isa.OP_EXIT)]
    assert trap(code).message.endswith("a jump into the middle of ld_imm64")
