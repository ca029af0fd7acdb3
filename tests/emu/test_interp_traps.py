"""What a bad program comes to: a trap that names the instruction, never an exception of Python's."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import isa
from bpf.errors import InternalError
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.opcodes import FORMS, Form
from bpf.program import Program, RunInput
from emu.interp import Interpreter
from emu.outcome import TRAP_KINDS
from tests.emu.interp_kit import Scripted, execute, program, r0, trap

EXIT = Insn(isa.OP_EXIT)
CALLS = ("call_helper", "call_subprog", "call_kfunc", "callx", "exit")


def reading(field: str) -> list[Form]:
    return [
        form
        for form in FORMS
        if form.loadable and getattr(form, field) in ("read", "update", "base") and form.name not in CALLS
    ]


@pytest.mark.parametrize("form", reading("dst"), ids=lambda form: form.name)
def test_undefined_destination_register(form: Form) -> None:
    """r3 is the destination and holds nothing; r1, the source, is the context."""
    code = [
        Insn(isa.ALU64 | isa.MOV, 0, imm=0),
        *form.sample(dst=3, src=1, off=-8 if form.off == "slot_out" else 1),
    ]
    found = trap([*code, EXIT])
    assert (found.kind, found.insn) == ("uninitialized", 1)
    assert found.message.endswith(": r3 is not defined")


@pytest.mark.parametrize("form", reading("src"), ids=lambda form: form.name)
def test_undefined_source_register(form: Form) -> None:
    """r3 is the source and holds nothing; r6 and the destination, where it is read, hold the context."""
    zero, ctx = Insn(isa.ALU64 | isa.MOV, 0, imm=0), Insn(isa.ALU64 | isa.MOV | isa.X, 6, 1)
    insn = form.sample(dst=1, src=3, off=-8 if form.off == "slot_out" else 0)[0]
    found = trap([zero, ctx, insn, EXIT])
    assert (found.kind, found.insn) == ("uninitialized", 2)
    assert found.message.endswith(": r3 is not defined")


@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize("op", [isa.DIV, isa.MOD])
@pytest.mark.parametrize("cls", [isa.ALU, isa.ALU64])
@pytest.mark.parametrize("off", [0, 1])
def test_undefined_operand_of_a_division(zero: int, op: int, cls: int, off: int) -> None:
    """Also where the other operand alone decides the result."""
    set_zero = Insn(isa.ALU64 | isa.MOV, 2, imm=0)
    dst, src = (3, 2) if zero else (2, 3)
    assert trap([set_zero, Insn(cls | op | isa.X, dst, src, off), EXIT]).message.endswith("r3 is not defined")


def test_undefined_at_entry() -> None:
    for register in (0, 2, 3, 4, 5, 6, 7, 8, 9):
        assert trap(f"r1 = r{register}\nr0 = 0\nexit").message.endswith(f"r{register} is not defined")
    assert trap("exit").message == "insn 0: exit: r0 is not defined"
    assert r0("r0 = r1\nr0 = r10\nr0 = 0\nexit") == 0


def test_compare_exchange_reads_r0() -> None:
    text = "*(u64 *)(r10 -8) = 1\nr1 = 1\nr0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r1)\nexit"
    assert trap(text).message.endswith("r0 is not defined")


BAD: list[tuple[Insn, str, str]] = [
    (Insn(0xFF), "opcode", "no instruction has this opcode with these fields"),
    (Insn(0x00), "opcode", "no instruction has this opcode with these fields"),
    (Insn(0x8D, 1), "opcode", "no program may contain this instruction"),
    (Insn(0xB7, 0, 1), "opcode", "no instruction has this opcode with these fields"),
    (Insn(0xB7, 10, imm=1), "opcode", "frame pointer is read only"),
    (Insn(0x79, 10, 10, -8), "opcode", "frame pointer is read only"),
    (Insn(0xDB, 1, 10, 0, 1), "opcode", "frame pointer is read only"),
    (Insn(0x18, 10), "opcode", "frame pointer is read only"),
    (Insn(0xB7, 11, imm=1), "opcode", "no instruction has this opcode with these fields"),
    (Insn(0xBF, 0, 12), "opcode", "R12 is invalid"),
    (Insn(0xBF, 15, 1), "opcode", "no instruction has this opcode with these fields"),
    (Insn(0x7B, 11, 1, -4), "opcode", "no instruction has this opcode with these fields"),
    (Insn(0x79, 0, 11, -8), "opcode", "no instruction has this opcode with these fields"),
    (Insn(0xF5), "opcode", "no program may contain this instruction"),
    (Insn(0xBF, 0, 1, -1), "opcode", "no program may contain this instruction"),
    (Insn(0x18, 0, 1, imm=3), "opcode", "map 3: the program has 0 maps"),
    (Insn(0x18, 0, 2, imm=-1), "opcode", "map -1: the program has 0 maps"),
    (Insn(0x18, 0, 3), "opcode", "btf_id 0: is no variable of the kernel that is known here"),
    (Insn(0x18, 0, 4, imm=77), "call", "no function at instruction 78, the program has 3"),
    (Insn(0x18, 0, 7), "opcode", "no instruction has this opcode with these fields"),
    (Insn(0x85, 0, 1, imm=-9), "call", "no function at instruction -8, the program has 3"),
    (Insn(0x85, 0, 3), "opcode", "no instruction has this opcode with these fields"),
    (Insn(0x0D, 1), "fetch", "r1 is 0xffff888001010000, no entry of a jump table"),
]


@pytest.mark.parametrize(("insn", "kind", "why"), BAD)
def test_bad_instruction(insn: Insn, kind: str, why: str) -> None:
    found = trap([insn, Insn(0) if insn.code == 0x18 else EXIT, EXIT])
    assert (found.kind, found.insn) == (kind, 0)
    assert found.message.endswith(f": {why}")


def test_bad_instruction_that_is_not_reached_does_no_harm() -> None:
    assert r0([Insn(isa.ALU64 | isa.MOV, 0, imm=2), EXIT, Insn(0xFF)]) == 2


def test_second_half_of_a_wide_instruction() -> None:
    assert trap([Insn(isa.LD_IMM64, 0)]).message.endswith("the second half of ld_imm64 is missing")
    broken = trap([Insn(isa.LD_IMM64, 0), EXIT])
    assert (broken.kind, broken.insn) == ("opcode", 0)


def test_nospec_does_nothing() -> None:
    assert r0([Insn(isa.ALU64 | isa.MOV, 0, imm=2), Insn(isa.OP_NOSPEC), EXIT]) == 2


def test_map_without_values() -> None:
    spec = MapSpec("table", MapType.HASH, 4, 8, 4)
    code = (Insn(isa.LD_IMM64, 1, isa.PSEUDO_MAP_VALUE), Insn(0), Insn(isa.ALU64 | isa.MOV, 0), EXIT)
    assert trap(Program("t", code, maps=(spec,))).kind == "opcode"


def test_run_that_the_kernel_refuses() -> None:
    result = execute("r0 = 1\nexit", RunInput(data_in=b"short"))
    assert (result.errno, result.trap, result.insns) == ("EINVAL", None, None)


def test_a_run_after_a_trap_starts_clean() -> None:
    interp = Interpreter(Scripted(program("call f\nexit\nf:\nr0 = *(u64 *)(r10 +0)\nexit")))
    first, second = interp.run(RunInput()), interp.run(RunInput())
    assert first.trap is not None
    assert first.trap == second.trap


def test_a_fault_of_ours_is_not_the_programs() -> None:
    def broken() -> int:
        missing: Any = None
        return int(missing + 1)

    with pytest.raises(InternalError, match="insn 0"):
        execute("call bpf_ktime_get_ns\nexit", helpers={5: broken})


def test_seconds_run_out() -> None:
    endless = Scripted(program("r0 = 0\nloop:\ngoto loop"))
    result = Interpreter(endless, budget=1 << 40, seconds=0.05).run(RunInput())
    assert result.trap is not None
    assert (result.trap.kind, result.trap.insn) == ("budget", 1)
    assert "more than 0.05 s" in result.trap.message


# ---------------------------------------------------------------- programs out of nothing

ANY = st.builds(
    Insn,
    st.integers(0, 255),
    st.integers(0, 15),
    st.integers(0, 15),
    st.integers(-40, 40),
    st.integers(-40, 40),
)
LIKELY = st.builds(
    lambda form, dst, src, off, imm: form.sample(dst, src, off, imm)[0],
    st.sampled_from([form for form in FORMS if form.loadable]),
    st.integers(0, 11),
    st.integers(0, 11),
    st.one_of(st.integers(-5, 5), st.sampled_from([-64, -56, -16, -8, 8, 16])),
    st.one_of(st.integers(-5, 5), st.integers(-(1 << 31), (1 << 31) - 1)),
)


@settings(max_examples=200)
@given(st.lists(st.one_of(ANY, LIKELY, LIKELY), max_size=25))
def test_any_instructions_end_in_a_result(insns: list[Insn]) -> None:
    """r0 to r9 are set first, so that the programs get further than their first instruction."""
    start = [Insn(isa.ALU64 | isa.MOV, n, imm=n) for n in (0, 2, 3, 4, 5, 7, 8, 9)]
    ctx = Insn(isa.ALU64 | isa.MOV | isa.X, 6, 1)
    result = execute([*start, ctx, *insns, EXIT], budget=2000)
    if result.trap is not None:
        assert result.trap.kind in TRAP_KINDS
        assert result.trap.insn is None or 0 <= result.trap.insn < len(insns) + len(start) + 2
    assert 0 <= result.r0 < 1 << 64
