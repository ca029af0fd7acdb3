"""Sizes of jumps at the limits of the short form, and jumps that never settle."""

import pytest

from bpf import isa
from bpf.insn import Insn
from jit import JitUnsupported, compile_program
from jit.jumps import LATER_EXIT
from jit.relax import PADDING_PASSES, Relaxation, Site, Unsettled
from tests.jit.verified import function

EXIT = Insn(isa.OP_EXIT)
FIVE = Insn(isa.ALU64 | isa.MOV | isa.K, 2, imm=7)  # 5 bytes
ONE_MORE = Insn(isa.ALU64 | isa.ADD | isa.K, 2, imm=7)  # 4 bytes


def _jump_bytes(fill: list[Insn], code: int = isa.OP_JA) -> str:
    insns = (Insn(code, 1 if code != isa.OP_JA else 0, 0, len(fill)), *fill, EXIT)
    compiled = compile_program(function(insns)).functions[0]
    return compiled.code[compiled.prologue : compiled.offsets[1]].hex()


@pytest.mark.parametrize(
    ("fives", "fours", "want"),
    [
        (1, 0, "eb05"),
        (23, 2, "eb7b"),
        (24, 1, "e97c000000"),
        (0, 31, "e97c000000"),
        (25, 0, "e97d000000"),
        (51, 0, "e9ff000000"),
    ],
)
def test_forward_limit_is_123(fives: int, fours: int, want: str) -> None:
    assert _jump_bytes([FIVE] * fives + [ONE_MORE] * fours) == want


def test_conditional_forms() -> None:
    code = isa.JMP | isa.JEQ | isa.K
    assert _jump_bytes([FIVE], code) == "4885ff7405"
    assert _jump_bytes([FIVE] * 30, code) == "4885ff0f8496000000"


@pytest.mark.parametrize(("count", "want"), [(24, "eb86"), (25, "e97effffff")])
def test_backward_limit_is_128_from_the_end_of_the_long_form(count: int, want: str) -> None:
    """With 25, -127 would do, but the pass before saw -130 from behind a long jump, and stays with it."""
    insns = (*[FIVE] * count, Insn(isa.OP_JA, off=-count - 1), EXIT)
    compiled = compile_program(function(insns)).functions[0]
    assert compiled.code[compiled.offsets[count] : compiled.offsets[count + 1]].hex() == want


def test_a_jump_to_the_next_instruction_vanishes_and_to_itself_stays() -> None:
    assert _jump_bytes([]) == ""
    insns = (Insn(isa.OP_JA, off=-1), Insn(isa.OP_GOTOL, imm=-1), EXIT)
    compiled = compile_program(function(insns)).functions[0]
    assert compiled.code[compiled.prologue : compiled.offsets[2]].hex() == "ebfeebfe"


def test_later_exits_jump_to_the_first() -> None:
    compiled = compile_program(function((Insn(isa.JMP | isa.JEQ | isa.K, 1, 0, 1), EXIT, EXIT))).functions[0]
    assert compiled.code[compiled.offsets[2] :].hex() == "ebfb"


def _chain(links: int) -> tuple[Insn, ...]:
    """Each jump spans the next one and is short only when that is: a pass a link."""
    insns: list[Insn] = []
    at = []
    for _ in range(links):
        at.append(len(insns))
        insns += [FIVE] * 13
    insns.append(EXIT)
    for number, index in enumerate(at):
        last = number + 1 == len(at)
        target = index + 3 if last else at[number + 1] + 1 + 11
        insns[index] = Insn(isa.JMP | isa.JEQ | isa.K, 6, 0, target - index - 1, number + 1)
    return tuple(insns)


@pytest.mark.parametrize(("links", "padded"), [(4, False), (10, False), (17, True), (30, True)])
def test_chains_settle_a_link_a_pass_until_padding_stops_them(links: int, padded: bool) -> None:
    compiled = compile_program(function(_chain(links))).functions[0]
    assert compiled.passes <= PADDING_PASSES + 4
    assert (compiled.passes > PADDING_PASSES) == padded
    assert ("0f1f4000" in compiled.code.hex()) == padded


def test_jumps_that_never_settle_are_an_error_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jit.relax.MAX_PASSES", 5)
    with pytest.raises(JitUnsupported, match="did not converge in 5 passes"):
        compile_program(function(_chain(10)))


def test_padding_of_an_impossible_size_is_refused() -> None:
    relaxation = Relaxation([Site(LATER_EXIT, 0, 0, 0, 0, 0)], 0)
    relaxation._total = [0, 3]
    with pytest.raises(Unsettled, match="padding: 1 bytes"):
        relaxation._pass(padding=True)
