"""Rewriting: division sequences give BPF's results, jumps keep their targets, may_goto and packet loads take the kernel's form."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import codec, isa
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.program import Program
from bpf.verified import Rejected, Verified
from jit import compile_program
from tests.verifier.kit import accepted, program, rejected
from verifier import assume, verify
from verifier.divmod import patch_division
from verifier.fixups import TIMED_MAY_GOTO

EDGES = (
    0,
    1,
    2,
    7,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    isa.U64 - 1,
    isa.U64,
)


def signed(value: int, bits: int) -> int:
    return isa.sext(value, bits)


def divide(op: int, bits: int, is_signed: bool, a: int, b: int) -> int:
    """RFC 9669, section 4.1: the result of a division or remainder, 32 bits zero-extended."""
    mask = (1 << bits) - 1
    a, b = a & mask, b & mask
    if b == 0:
        return 0 if op == isa.DIV else a
    if is_signed:
        x, y = signed(a, bits), signed(b, bits)
        quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        return (quotient if op == isa.DIV else x - quotient * y) & mask
    return (a // b if op == isa.DIV else a % b) & mask


def execute(insns: tuple[Insn, ...], registers: dict[int, int]) -> None:
    """Runs a patch; the division itself must be one that an x86 processor can do."""
    at = 0
    while at < len(insns):
        insn = insns[at]
        bits = 64 if insn.cls in (isa.ALU64, isa.JMP) else 32
        mask = (1 << bits) - 1
        b = registers[insn.src] if insn.code & isa.X else insn.imm & isa.U64
        a, b = registers.get(insn.dst, 0) & mask, b & mask
        at += 1
        if insn.cls in (isa.JMP, isa.JMP32):
            taken = {isa.JA: True, isa.JEQ: a == b, isa.JNE: a != b, isa.JGT: a > b}[insn.op]
            at += insn.off * taken
            continue
        if insn.op in (isa.DIV, isa.MOD):
            assert b != 0
            assert not (insn.off == 1 and b == mask and a == 1 << (bits - 1))
            registers[insn.dst] = divide(insn.op, bits, insn.off == 1, a, b)
            continue
        results = {isa.MOV: b, isa.ADD: a + b, isa.NEG: -a, isa.XOR: a ^ b}
        registers[insn.dst] = results[insn.op] & mask


@pytest.mark.parametrize("op", [isa.DIV, isa.MOD])
@pytest.mark.parametrize("cls", [isa.ALU, isa.ALU64])
@pytest.mark.parametrize("off", [0, 1])
def test_divisions_by_a_register_never_fault(op: int, cls: int, off: int) -> None:
    patch = patch_division(Insn(cls | op | isa.X, 3, 4, off))
    assert patch is not None
    for a, b in product(EDGES, EDGES):
        registers = {3: a, 4: b}
        execute(patch, registers)
        bits = 64 if cls == isa.ALU64 else 32
        assert registers[3] == divide(op, bits, off == 1, a, b), (hex(a), hex(b))
        assert registers[4] == b


@pytest.mark.parametrize("cls", [isa.ALU, isa.ALU64])
def test_a_register_divided_by_itself(cls: int) -> None:
    for op, off, a in product((isa.DIV, isa.MOD), (0, 1), EDGES):
        patch = patch_division(Insn(cls | op | isa.X, 3, 3, off))
        assert patch is not None
        registers = {3: a}
        execute(patch, registers)
        assert registers[3] == divide(op, 64 if cls == isa.ALU64 else 32, off == 1, a, a), hex(a)


def test_division_by_a_constant_changes_only_for_minus_one() -> None:
    assert patch_division(Insn(isa.ALU64 | isa.DIV, 3, imm=-1)) is None
    assert patch_division(Insn(isa.ALU64 | isa.DIV, 3, off=1, imm=-2)) is None
    assert patch_division(Insn(isa.ALU64 | isa.DIV, 3, off=1, imm=-1)) == (Insn(isa.ALU64 | isa.NEG, 3),)
    assert patch_division(Insn(isa.ALU | isa.MOD, 3, off=1, imm=-1)) == (Insn(isa.ALU | isa.MOV, 3),)
    assert patch_division(Insn(isa.ALU64 | isa.ADD | isa.X, 3, 4)) is None


def follow(insns: tuple[Insn, ...], at: int) -> int:
    insn = insns[at]
    return at + 1 + (insn.imm if insn.code in (isa.OP_GOTOL, isa.OP_CALL) else insn.off)


@given(st.lists(st.sampled_from(["div", "mov", "skip", "far"]), min_size=1, max_size=12))
def test_jumps_go_to_the_start_of_what_their_target_became(kinds: list[str]) -> None:
    text = "r0 = 9\n"
    for number, kind in enumerate(kinds):
        text += f"l{number}:\n"
        text += {"div": "r0 s%= r0\n", "mov": "r0 += 1\n"}.get(kind, f"if r0 > 1 goto l{len(kinds) - 1}\n")
    text += "if r0 == 7 goto l0\nexit\n"
    verdict = assume(program(text))
    old = verdict.program.insns
    for at, insn in enumerate(verdict.insns):
        source = verdict.origin[at]
        if (
            insn.code == old[source].code
            and insn.code in (isa.JMP | isa.JGT, isa.JMP | isa.JEQ)
            and insn.dst == 0
        ):
            target = follow(old, source)
            assert follow(verdict.insns, at) == verdict.origin.index(target)


def test_nops_go_away() -> None:
    verdict = accepted("if r1 == 0 goto done\ngoto +0\nmay_goto +0\ndone:\nr0 = 0\nexit")
    assert codec.encode(verdict.insns).hex() == "1501000000000000" + "b700000000000000" + "9500000000000000"
    assert verdict.origin == (0, 3, 4)


@pytest.mark.parametrize(
    ("distances", "left"),
    [
        ("m1 m0", 0),
        ("m2 m1 m0", 0),
        ("m2 m0 m0", 0),
        ("m2 g0 m0", 0),
        ("m3 m1 g0 m0", 0),
        ("m1 g0", 1),
        ("m2 m0 g0", 1),
    ],
)
def test_what_jumps_over_removed_instructions_goes_away(distances: str, left: int) -> None:
    names = {"m": "may_goto", "g": "goto"}
    body = "\n".join(f"{names[one[0]]} +{one[1:]}" for one in distances.split())
    verdict = accepted(f"r0 = 0\n{body}\nexit")
    assert list(verdict.symbols.values()) == [TIMED_MAY_GOTO] * left
    assert left or len(verdict.insns) == 2


@pytest.mark.parametrize(
    "insn",
    [
        Insn(isa.OP_CALL, imm=9999),
        Insn(isa.OP_CALL, 0, isa.PSEUDO_KFUNC_CALL),
        Insn(isa.ST | isa.MEM | isa.DW, isa.REG_PARAMS, 0, -8, 1),
        Insn(isa.STX | isa.MEM | isa.DW, isa.REG_PARAMS, 1, -64),
        Insn(isa.ALU64 | isa.MOV | isa.X, 0, 1, isa.OFF_ADDR_SPACE_CAST, 1 << 16),
    ],
    ids=["helper", "kfunc", "slot", "slot-8", "cast"],
)
def test_what_only_dead_code_can_hold_goes_away(insn: Insn) -> None:
    skip = Insn(isa.JMP | isa.JEQ, 0, off=1)
    verdict = verify(Program("dead", (Insn(isa.ALU64 | isa.MOV, 0), skip, insn, Insn(isa.OP_EXIT))))
    assert not isinstance(verdict, Rejected), verdict.message
    assert verdict.insns == (Insn(isa.ALU64 | isa.MOV, 0), Insn(isa.OP_EXIT))
    assert compile_program(verdict).functions[0].code


def test_maps_by_index_are_maps() -> None:
    maps = (MapSpec("m", MapType.ARRAY, 4, 16, 1),) * 2
    by_index = (
        *(Insn(isa.LD_IMM64, 1, isa.PSEUDO_MAP_IDX, 0, 1), Insn(0)),
        *(Insn(isa.LD_IMM64, 2, isa.PSEUDO_MAP_IDX_VALUE, 0, 1), Insn(0, imm=8)),
        *(Insn(isa.ALU64 | isa.MOV, 0), Insn(isa.OP_EXIT)),
    )
    verdict = verify(Program("index", by_index, maps=maps))
    assert not isinstance(verdict, Rejected), verdict.message
    assert [(i.src, i.imm) for i in verdict.insns if i.code == isa.LD_IMM64] == [
        (isa.PSEUDO_MAP_FD, 1),
        (isa.PSEUDO_MAP_VALUE, 1),
    ]


def test_may_goto_counts_in_the_stack_and_calls_for_more() -> None:
    verdict = accepted("back:\nmay_goto done\ngoto back\ndone:\nr0 = 0\nexit")
    assert [i.imm for i in verdict.insns[:2]] == [0xFFFF, 0]
    assert [i.off for i in verdict.insns[:2]] == [-16, -8]
    assert verdict.symbols == {7: TIMED_MAY_GOTO}
    # The jump back goes behind the initialisation, to the start of the expanded instruction.
    assert (verdict.insns[9].code, follow(verdict.insns, 9)) == (isa.OP_JA, 2)
    assert (verdict.insns[3].code, follow(verdict.insns, 3)) == (isa.JMP | isa.JEQ, 10)
    assert verdict.origin == (0, 0, *[0] * 7, 1, 2, 3)


def test_calls_go_to_the_initialisation_of_a_looping_function() -> None:
    text = "call s\nexit\nstatic long s(void):\nback:\nmay_goto done\ngoto back\ndone:\nr0 = 0\nexit\n"
    verdict = accepted(text)
    assert follow(verdict.insns, 0) == verdict.subprogs[1].start == 2
    assert verdict.insns[2].code == isa.ST | isa.MEM | isa.DW


def test_packet_loads_become_calls() -> None:
    verdict = accepted("r6 = r1\nr2 = 3\nr0 = *(u16 *)skb[r2 + 4]\nexit")
    assert list(verdict.symbols.values()) == ["bpf_skb_load_helper_16_no_cache"]
    assert [i.code for i in verdict.insns[2:]] == [0xBF, 0x07, 0xBF, 0x85, 0x75, 0xAC, 0x95, 0x95]


def test_kfunc_calls_become_indices() -> None:
    text = (
        "prog tc\nint main(void *ctx):\n"
        + "r1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5\ncall okf_sum5\n" * 2
        + "exit\n"
    )
    verdict = accepted(text)
    calls = [i for i in verdict.insns if i.is_call]
    assert [i.imm for i in calls] == [0, 1]
    assert [ref.name for ref in verdict.kfuncs] == ["okf_sum5", "okf_sum5"]


def test_tail_calls_and_casts() -> None:
    text = (
        "map jumps: prog_array key 4 value 4 max 4\nprog tc\nint main(void *ctx):\nr6 = r1\nr2 = map[jumps]\n{}"
        "call bpf_tail_call\nr1 = r6\nr2 = map[jumps]\nr3 = 2\ncall bpf_tail_call\nr0 = 0\nexit\n"
    )
    verdict = accepted(text.format("r3 = 3\n"))
    assert [insn.imm for insn in verdict.insns if insn.code == isa.OP_TAIL_CALL] == [1, 2]
    assert verdict.pokes == ((0, 3), (0, 2))
    for index in (
        "r3 = *(u32 *)(r1 +0)\n",
        "r3 = 4\n",
        "r3 = 1\nr4 = *(u32 *)(r1 +0)\nif r4 == 0 goto +1\nr3 = 3\n",
    ):
        verdict = accepted(text.format(index))
        assert [insn.imm for insn in verdict.insns if insn.code == isa.OP_TAIL_CALL] == [0, 1], index
        assert verdict.pokes == ((0, 2),)
    assert verdict.subprogs[0].tail_call_reachable
    to_kernel = Insn(isa.ALU64 | isa.MOV | isa.X, 0, 1, isa.OFF_ADDR_SPACE_CAST, 1)
    cast = assume(Program("cast", (to_kernel, Insn(isa.OP_EXIT))))
    assert cast.insns[0] == Insn(isa.ALU | isa.MOV | isa.X, 0, 1)


def test_a_jump_that_no_longer_reaches_is_refused() -> None:
    verdict = rejected("r0 = *(u32 *)(r1 +0)\nif r0 == 7 goto done\n" + "r0 s/= r0\n" * 5000 + "done:\nexit")
    assert (verdict.errno, verdict.message) == ("ENOMEM", "insn 1 cannot be patched due to 16-bit range")


def test_compare_exchange_of_32_bits_clears_the_upper_half() -> None:
    verdict = accepted(
        "r0 = 0\n*(u32 *)(r10 - 4) = 1\nr0 = 2\nr3 = 1\nw0 = cmpxchg32_32(r10 - 4, w0, w3)\nexit"
    )
    assert verdict.insns[5] == Insn(isa.ALU | isa.MOV | isa.X, 0, 0, 0, 1)


def test_the_address_of_a_per_cpu_value_becomes_this_cpus() -> None:
    insns = (
        Insn(isa.LD_IMM64, 7, isa.PSEUDO_MAP_VALUE),
        Insn(0),
        Insn(isa.ALU64 | isa.MOV, 0),
        Insn(isa.OP_EXIT),
    )
    verdict = verify(Program("test", insns, maps=(MapSpec("m", MapType.PERCPU_ARRAY, 4, 8, 1),)))
    assert isinstance(verdict, Verified)
    assert verdict.insns == (
        *insns[:2],
        Insn(isa.ALU64 | isa.MOV | isa.X, 7, 7, isa.OFF_PERCPU),
        *insns[2:],
    )
    assert verdict.origin == (0, 1, 1, 2, 3)
