"""Properties of compiled programs, errors, placing, frames."""

from dataclasses import replace
from itertools import repeat
from typing import Any

import pytest

from bpf import isa
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.maps import MapSpec
from bpf.program import KfuncRef, Program
from bpf.verified import Subprog, Verified
from jit import DEFAULT, JitUnsupported, Profile, blind, compile_program, place, preset
from jit.decoder import new_decoder
from jit.frame import Place
from jit.image import Image, Layout, Poke
from tests.jit.recordings import Recording, records
from tests.jit.verified import function

_DECODER = new_decoder()
EXIT = Insn(isa.OP_EXIT)
BASE = 0xFFFF_FFFF_C000_0000


def mov(dst: int, imm: int) -> Insn:
    return Insn(isa.ALU64 | isa.MOV | isa.K, dst, imm=imm)


def one(*insns: Insn, profile: Profile = DEFAULT, **options: Any) -> Any:
    """The only function of a program."""
    return compile_program(function((*insns, EXIT), **options), profile).functions[0]


def native(*insns: Insn, **options: Any) -> str:
    """Bytes of the instructions in front of the exit."""
    compiled = one(*insns, **options)
    return str(compiled.code[compiled.prologue : compiled.offsets[len(insns)]].hex())


# ---- properties of whole programs


def _images() -> list[Image]:
    chosen = [r for r in records("programs.jsonl.gz") if r["expect"]["accepted"]][::7]
    return [compile_program(Recording(record).verified()) for record in chosen]


def test_every_function_disassembles_and_jumps_land_on_instructions() -> None:
    for image in _images():
        for compiled in image.functions:
            decoded = list(_DECODER.disasm(compiled.code, 0))
            starts = {insn.address for insn in decoded}
            assert sum(insn.size for insn in decoded) == len(compiled.code)
            assert set(compiled.offsets[:-1]) <= starts | {len(compiled.code)}
            fields = {reloc.off for reloc in compiled.relocs}
            for insn in decoded:
                target = insn.op_str
                if insn.mnemonic[0] == "j" and target.startswith("0x") and insn.address + 1 not in fields:
                    assert int(target, 16) in starts


def test_offsets_cover_the_code_and_fields_lie_inside_their_instruction() -> None:
    for image in _images():
        for sub, compiled in zip(image.verified.subprogs, image.functions, strict=True):
            assert len(compiled.offsets) == sub.end - sub.start + 1
            assert list(compiled.offsets) == sorted(compiled.offsets)
            assert compiled.offsets[0] == compiled.prologue
            assert compiled.offsets[-1] == len(compiled.code)
            for reloc in compiled.relocs:
                index = reloc.insn - sub.start
                assert compiled.offsets[index] <= reloc.off
                assert reloc.off + reloc.size <= compiled.offsets[index + 1]
                assert compiled.code[reloc.off : reloc.off + reloc.size] == bytes(reloc.size)


def test_compiling_twice_gives_the_same_image() -> None:
    record = next(r for r in records("programs.jsonl.gz") if r["family"] == "F6" and r["expect"]["accepted"])
    verified = Recording(record).verified()
    assert compile_program(verified) == compile_program(verified)


# ---- stack arguments and frames


def store(number: int, src: int) -> Insn:
    return Insn(isa.STX | isa.MEM | isa.DW, isa.REG_PARAMS, src, -8 * (number - 5))


def load(dst: int, number: int) -> Insn:
    return Insn(isa.LDX | isa.MEM | isa.DW, dst, isa.REG_PARAMS, 8 * (number - 5))


def test_frame_of_a_function_with_12_arguments_that_passes_12() -> None:
    compiled = one(load(6, 7), store(6, 6), store(12, 1), in_stack_args=7, out_stack_args=7, stack_depth=13)
    frame = compiled.frame
    assert frame.stack_depth == 16
    assert frame.saved == (("rbx", -24),)
    assert frame.incoming[6] == Place("r9")
    assert [frame.incoming[n].off for n in range(7, 13)] == [16, 24, 32, 40, 48, 56]
    assert [frame.outgoing[n].off for n in range(7, 13)] == [-72, -64, -56, -48, -40, -32]
    assert frame.outgoing_size == 48
    assert frame.size == 72
    assert str(frame.outgoing[7]) == "[rbp-0x48]"


@pytest.mark.parametrize("out", range(2, 8))
@pytest.mark.parametrize("depth", [0, 1, 8, 120, 128, 512])
def test_the_first_memory_argument_is_at_rsp(out: int, depth: int) -> None:
    compiled = one(mov(6, 1), mov(9, 1), out_stack_args=out, stack_depth=depth)
    assert compiled.frame.outgoing[7].off == -compiled.frame.size


def test_argument_6_only_needs_no_memory() -> None:
    compiled = one(store(6, 2), out_stack_args=1)
    assert compiled.frame.outgoing == {6: Place("r9")}
    assert compiled.frame.outgoing_size == 0


# ---- what the recordings have not


ARENA = 0x7F00_0000_0000


@pytest.mark.parametrize(
    ("insn", "want"),
    [
        (Insn(isa.LDX | 0xA0 | isa.B, 1, 2, 4), "420fb67c2604"),
        (Insn(isa.LDX | 0xA0 | isa.DW, 6, 7, 300), "4b8b9c252c010000"),
        (Insn(isa.LDX | 0xC0 | isa.W, 1, 2, 0), "4a637c2600"),
        (Insn(isa.STX | 0xA0 | isa.H, 1, 5, -2), "6646894427fe"),
        (Insn(isa.ST | 0xA0 | isa.W, 1, 0, 0, -1), "42c7442700ffffffff"),
        (Insn(isa.STX | 0xE0 | isa.DW, 1, 2, 8, isa.ADD), "f04a01742708"),
        (Insn(isa.STX | 0xE0 | isa.W, 1, 2, 8, isa.XCHG), "4287742708"),
    ],
)
def test_arena_accesses(insn: Insn, want: str) -> None:
    compiled = one(insn, arena_user=ARENA)
    at, length, clears = compiled.extable[0]
    assert compiled.code[at : at + length].hex() == want
    assert at == compiled.prologue
    assert clears == (
        {1: "rdi", 6: "rbx"}[insn.dst] if insn.cls == isa.LDX else "rsi" if insn.imm == isa.XCHG else ""
    )


@pytest.mark.parametrize(
    ("operation", "clears"),
    [
        (isa.ADD, ""),
        (isa.ADD | isa.FETCH, "rdx"),
        (isa.XCHG, "rdx"),
        (isa.CMPXCHG, "rax"),
        (isa.LOAD_ACQ, "rcx"),
        (isa.STORE_REL, ""),
    ],
)
def test_what_a_fault_in_the_arena_clears(operation: int, clears: str) -> None:
    compiled = one(Insn(isa.STX | 0xE0 | isa.DW, 4, 3, 8, operation), arena_user=ARENA)
    assert compiled.extable[0][2] == clears


def test_filters_of_classic_bpf() -> None:
    """No place for a tail-call count, and for users no branch history behind it."""
    plain, trusted = one(), one(classic=True)
    assert trusted.code.hex() == plain.code.hex().replace("0f1f00", "", 1)
    profile = replace(DEFAULT, bhb_loop=True, bhb_fence=True)
    assert one(classic=True, profile=profile).code == trusted.code
    user = one(classic=True, classic_user=True, profile=profile)
    assert user.code[user.prologue :].hex() == "5051e8000000005958f3480f1ef8c9c3cc"
    assert [reloc.symbol for reloc in user.relocs] == ["clear_bhb_loop"]
    fence = one(classic=True, classic_user=True, profile=replace(DEFAULT, bhb_fence=True))
    assert fence.code[fence.prologue :].hex() == "f3480f1ef8c9c3cc"


def test_jumps_that_blinding_makes_too_long() -> None:
    """Blinding may push a jump out of its 16 bits; the kernel refuses such a program, too."""
    far = 11_000
    insns = (Insn(isa.JMP | isa.JEQ, 1, off=far), *(mov(2, 7) for _ in range(far)), EXIT)
    verified = function(insns)
    assert compile_program(verified).functions[0].code
    with pytest.raises(
        JitUnsupported, match="insn 0: jump does not reach its target once constants are blinded"
    ):
        blind(verified, repeat(3), Layout((), {}))
    with pytest.raises(InputError, match="insn 2: no random number left"):
        blind(verified, iter([1, 2]), Layout((), {}))


def test_cast_to_a_user_address() -> None:
    cast = Insn(isa.ALU64 | isa.MOV | isa.X, 1, 2, isa.OFF_ADDR_SPACE_CAST, 1 << 16)
    assert native(cast, arena_user=ARENA) == "89f748c1e7204881cf007f000048c1c7204d31db85ff490f44fb"
    in_rax = Insn(cast.code, 0, 0, 1, 1 << 16)
    assert native(in_rax, arena_user=ARENA).startswith("48c1e020480d007f0000")


def test_arena_arguments_of_a_kfunc() -> None:
    insns = (Insn(isa.OP_CALL, 0, isa.PSEUDO_KFUNC_CALL), EXIT)
    verified = function(insns, arena_user=ARENA)
    verified = replace(verified, kfuncs=(KfuncRef(0, "k"),), arena_args={0: ((1, False), (5, True))})
    compiled = compile_program(verified).functions[0]
    code = compiled.code[compiled.prologue : compiled.offsets[1]].hex()
    assert code == "89ff4c01e7" + "4589c04585c074034d01e0" + "e800000000"
    with pytest.raises(JitUnsupported, match="arena argument"):
        compile_program(replace(verified, arena_args={0: ((6, False),)}))


def test_barrier_and_private_stack() -> None:
    assert native(Insn(isa.OP_NOSPEC)) == "0faee8"
    compiled = one(Insn(isa.STX | isa.MEM | isa.DW, 10, 1, -8), private_stack=True, stack_depth=8)
    assert compiled.frame.stack_depth == 0
    assert [reloc.symbol for reloc in compiled.relocs] == ["priv_stack:f:0", "this_cpu_off"]


def test_direct_tail_calls_tell_where_they_are_patched() -> None:
    compiled = one(Insn(isa.OP_TAIL_CALL, imm=3), tail_call_reachable=True, has_tail_call=True, stack_depth=8)
    (poke,) = compiled.pokes
    assert poke == Poke(0, 3, compiled.prologue + 13, compiled.offsets[1] - 5)
    assert compiled.code[poke.bypass] == 0xE9
    assert compiled.code[poke.target : poke.target + 5].hex() == "0f1f440000"


# ---- errors


def _call(src: int, imm: int) -> Insn:
    return Insn(isa.OP_CALL, 0, src, 0, imm)


@pytest.mark.parametrize(
    ("insn", "why"),
    [
        (Insn(0xFF), "unknown opcode ff"),
        (Insn(0), "unknown opcode 00"),
        (Insn(isa.ALU64 | isa.MOV | isa.K, 11), "R11 is invalid"),
        (Insn(isa.ALU64 | isa.ADD | isa.X, 1, 13), "R13 is invalid"),
        (Insn(isa.LDX | isa.MEM | isa.DW, 1, 11, -8), "R11 is invalid"),
        (Insn(isa.STX | isa.MEM | isa.DW, 11, 1, -12), "R11 is invalid"),
        (Insn(isa.STX | isa.MEM | isa.DW, 11, 12, -16), "the function has 0"),
        (Insn(isa.STX | isa.ATOMIC | isa.B, 1, 2, 0, isa.ADD), "1- and 2-byte RMW"),
        (Insn(isa.STX | isa.ATOMIC | isa.DW, 1, 2, 0, 0x77), "unknown atomic operation 0x77"),
        (Insn(isa.ALU | isa.END | isa.TO_BE, 1, imm=24), "byte swap of 24 bits"),
        (Insn(isa.ALU64 | isa.MOV | isa.X, 1, 2, 24), "mov with offset 24"),
        (Insn(isa.ALU64 | isa.MOV | isa.X, 1, 2, 1, 1 << 16), "without an arena"),
        (Insn(isa.OP_JA, off=5), "jump to insn 6 outside of its function"),
        (Insn(isa.OP_JA, off=-2), "jump to insn -1 outside"),
        (Insn(isa.LD_IMM64, 1), "ld_imm64 without its second slot"),
        (_call(isa.PSEUDO_CALL, 0), "no function starts at insn 1"),
        (_call(isa.PSEUDO_KFUNC_CALL, 0), "kfunc 0 does not exist"),
        (_call(isa.HELPER_CALL, 99999), "unknown helper 99999"),
        (_call(5, 1), "call of kind 5"),
        (Insn(isa.OP_TAIL_CALL), "not marked"),
    ],
)
def test_what_the_emitter_refuses(insn: Insn, why: str) -> None:
    with pytest.raises(JitUnsupported, match=why) as caught:
        one(insn)
    assert caught.value.insn == 0
    assert str(caught.value).startswith("t: insn 0: ")


def test_a_map_that_does_not_exist_and_a_jump_into_an_ld_imm64() -> None:
    with pytest.raises(JitUnsupported, match="map 2 does not exist"):
        one(Insn(isa.LD_IMM64, 1, isa.PSEUDO_MAP_FD, 0, 2), Insn(0))
    with pytest.raises(JitUnsupported, match="insn 0: jump into the middle"):
        one(Insn(isa.OP_JA, off=1), Insn(isa.LD_IMM64, 1), Insn(0))


@pytest.mark.parametrize("options", [{"out_stack_args": 8}, {"in_stack_args": -1}, {"stack_depth": -1}])
def test_impossible_functions(options: dict[str, Any]) -> None:
    with pytest.raises(JitUnsupported):
        one(mov(0, 0), **options)


def test_stack_arguments_exclude_a_private_stack() -> None:
    with pytest.raises(JitUnsupported, match="r9 cannot be both"):
        one(mov(0, 0), out_stack_args=1, private_stack=True)


def test_unknown_preset() -> None:
    with pytest.raises(InputError, match=r"known are 7\.3"):
        preset("6.6")
    assert preset("7.3") is DEFAULT


# ---- placing


def _two() -> Image:
    insns = (
        Insn(isa.LD_IMM64, 1, isa.PSEUDO_MAP_VALUE, 0, 0),
        Insn(0, imm=16),
        _call(isa.PSEUDO_KFUNC_CALL, 0),
        Insn(isa.LD_IMM64, 2, isa.PSEUDO_FUNC, 0, 3),
        Insn(0),
        _call(isa.PSEUDO_CALL, 1),
        EXIT,
        EXIT,
    )
    program = Program("two", insns, maps=(MapSpec("m", 2, 4, 64, 1),))
    subs = (Subprog("main", 0, 7, "main"), Subprog("f", 7, 8, "static"))
    verified = Verified(program, insns, tuple(range(8)), subs, (KfuncRef(2, "okf_sum6"),))
    return compile_program(verified)


def test_place_fills_every_field() -> None:
    image = _two()
    layout = Layout((BASE, BASE + 0x1000), {"okf_sum6": BASE - 0x5000}, values=(0xFFFF_8880_0000_0100,))
    code = place(image, layout)[0]
    fields = {reloc.kind + reloc.symbol: reloc for reloc in image.functions[0].relocs}

    def value(name: str) -> int:
        reloc = fields[name]
        return int.from_bytes(code[reloc.off : reloc.off + reloc.size], "little", signed=True)

    assert value("mapval") & isa.U64 == 0xFFFF_8880_0000_0110
    assert value("callokf_sum6") + BASE + fields["callokf_sum6"].off + 4 == BASE - 0x5000
    assert value("call") + BASE + fields["call"].off + 4 == BASE + 0x1000
    assert value("func") & isa.U64 == BASE + 0x1000


@pytest.mark.parametrize(
    ("layout", "why"),
    [
        (Layout((BASE,), {}), "1 addresses for 2 functions"),
        (Layout((BASE, BASE), {"okf_sum6": BASE}), "no address for values of map 0"),
        (Layout((BASE, BASE), {}, values=(1,)), "no address for okf_sum6"),
        (
            Layout((BASE, BASE), {"okf_sum6": 0x1000_0000_0000}, values=(1,)),
            "okf_sum6 at 0x100000000000 is out of reach",
        ),
        (
            Layout((0x7000_0000_0000, 0x7000_0000_1000), {"okf_sum6": 0x7000_0000_0000}, values=(1,)),
            "does not fit 32 bits",
        ),
    ],
)
def test_place_says_what_is_wrong(layout: Layout, why: str) -> None:
    with pytest.raises(InputError, match=why):
        place(_two(), layout)
