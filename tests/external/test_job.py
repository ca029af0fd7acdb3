"""What a JIT under test is asked, and that an answer that makes no sense is refused with one line."""

import pytest

from bpf import codec, isa
from bpf.asm import parse
from bpf.errors import InputError
from bpf.verified import Verified
from emu.external.job import Place, answer, callees, job, names
from verifier import verify

TEXT = """
map values: array key 4 value 16 max 1

int main(struct __sk_buff *ctx):
    r6 = r1
    r1 = map[values][0]+8
    r7 = *(u64 *)(r1 +0)
    *(u32 *)(r10 -4) = 0
    r2 = r10
    r2 += -4
    r1 = map[values]
    call bpf_map_lookup_elem
    r1 = 1
    r2 = 2
    r3 = 3
    r4 = 4
    r5 = 5
    *(u64 *)(r11 -8) = 6
    *(u64 *)(r11 -16) = 7
    call seven
    exit

static u64 seven(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g):
    r0 = *(u64 *)(r11 +16)
    call bpf_ktime_get_ns
    exit
"""


def verified() -> Verified:
    verdict = verify(parse(TEXT, "job").program)
    assert isinstance(verdict, Verified)
    return verdict


def asked(base: int = 0x1000) -> dict[str, object]:
    found = verified()
    symbols = {name: 0xFFFF_FFFF_8100_0000 + 16 * at for at, name in enumerate(names(found))}
    return job(found, Place(base, symbols, (0xFFFF_8880_0000_1000,), (0xFFFF_8880_0000_2000,)))


def test_pointers_of_maps_are_filled_in() -> None:
    insns = codec.decode(bytes.fromhex(str(asked()["xlated"])))
    wide = [
        (insn.imm & isa.U32) | (insns[at + 1].imm & isa.U32) << 32
        for at, insn in enumerate(insns)
        if insn.code == isa.LD_IMM64
    ]
    assert wide[0] == 0xFFFF_8880_0000_2008
    assert not any(insn.src for insn in insns if insn.code == isa.LD_IMM64)


def test_functions_say_what_they_take_and_pass() -> None:
    functions = asked()["functions"]
    assert isinstance(functions, list)
    main, seven = functions
    assert (main["nargs"], main["out_stack_args"]) == (1, 2)
    assert (seven["nargs"], seven["out_stack_args"], seven["stack"]) == (7, 0, 0)
    assert main["end"] == seven["start"]


def test_every_call_of_the_kernel_has_name_and_address() -> None:
    calls = asked()["calls"]
    assert isinstance(calls, list)
    assert {call["insn"] for call in calls} == set(callees(verified()))
    assert all(call["addr"].startswith("0xffffffff81") and call["nargs"] >= 0 for call in calls)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([], "is no JSON object"),
        ({}, "must be the native code in hex"),
        ({"code": "9"}, "must be the native code in hex"),
        ({"code": ""}, "0 bytes"),
        ({"code": "c3", "functions": [0]}, ""),
        ({"code": "c3", "functions": [0, 1]}, "must be different offsets"),
        ({"code": "c3c3", "functions": [0, 0]}, "must be different offsets"),
        ({"code": "c3c3", "functions": [0, True]}, "must be different offsets"),
        ({"code": "c3c3c3", "functions": [0, 1, 2]}, "must be a list of 2 offsets"),
        ({"code": "c3", "functions": "0"}, "must be a list of 2 offsets"),
        ({"code": "c3", "offsets": [0]}, "must be a list of 3 offsets"),
        ({"code": "c3", "offsets": [0, None, 2]}, "must be offsets inside of the code"),
        ({"code": "c3", "offsets": [0, None, 1]}, ""),
    ],
)
def test_answers(said: object, why: str) -> None:
    if not why:
        assert answer(said, "mine", 2, 3).code == b"\xc3"
        return
    with pytest.raises(InputError, match=why) as caught:
        answer(said, "mine", 2, 3)
    assert "\n" not in str(caught.value)


def test_a_jit_may_say_that_it_does_not_take_a_program() -> None:
    assert answer({"unsupported": "tail calls"}, "mine", 1, 1).unsupported == "tail calls"
    assert answer({"unsupported": ""}, "mine", 1, 1).unsupported
