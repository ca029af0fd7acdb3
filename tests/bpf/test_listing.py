"""Programs to text and back to the same programs."""

import gzip
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf.asm import parse
from bpf.btf_build import BtfBuilder
from bpf.codec import decode
from bpf.decl import parse_decl
from bpf.elf import load
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.listing import disassemble
from bpf.maps import MapSpec
from bpf.opcodes import FORMS, Form
from bpf.program import FuncInfo, KfuncRef, LineInfo, Program, RunInput
from bpf.request import parse_request

FIXTURES = Path(__file__).parents[2] / "fixtures"
TEXTS = sorted((FIXTURES / "text").glob("*.bpf"))


def prototypes(program: Program) -> list[tuple[int, str, int]]:
    btf = program.btf
    if btf is None:
        return []
    return [
        (info.insn, str(btf.prototype(info.type_id)), btf.linkage(info.type_id)) for info in program.func_info
    ]


def bare(program: Program) -> Program:
    """What text keeps, but for prototypes."""
    return replace(program, btf=None, func_info=(), line_info=())


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_texts(path: Path) -> None:
    made = parse(path.read_text(), path.stem)
    text = disassemble(made.program, made.runs, str(made.expect or ""))
    again = parse(text, "again")
    assert (again.program, again.runs) == (made.program, made.runs)
    assert str(again.expect) == str(made.expect)
    assert disassemble(again.program, again.runs, str(again.expect)) == text
    assert ".slot" not in text


def test_recordings() -> None:
    with gzip.open(FIXTURES / "golden/programs.jsonl.gz", "rt") as lines:
        for line in islice(lines, 7, None, 50):
            request = parse_request(json.loads(line))
            again = parse(disassemble(request.program, request.runs), "x")
            assert bare(again.program) == bare(request.program)
            assert again.runs == request.runs
            if all(proto.count(",") < 12 for _, proto, _ in prototypes(request.program)):
                assert prototypes(again.program) == prototypes(request.program)


def test_objects() -> None:
    seen = 0
    for path in sorted((FIXTURES / "objects").glob("*.bpf.o")):
        try:
            loaded = load(path)
        except InputError:  # some are there to be refused
            continue
        for program in loaded.programs:
            again = parse(disassemble(program), "x").program
            assert bare(again) == bare(program)
            assert prototypes(again) == prototypes(program)
            seen += 1
    assert seen > 25


def test_what_it_looks_like() -> None:
    made = parse((FIXTURES / "text/map_loop12.bpf").read_text(), "loop").program
    text = disassemble(replace(made, line_info=(LineInfo(0, "a.c", "  int x =  5;", 7, 2),)), [RunInput()])
    lines = text.splitlines()
    assert lines[:3] == [
        "prog tc name loop license GPL",
        "map out: array key 4 value 8 max 2 dump",
        "    elem 00000000 = 6400000000000000",
    ]
    assert lines[4:8] == [
        "int main(struct __sk_buff *ctx):",
        "    ; a.c:7: int x = 5;",
        "    *(u32 *)(r10 -4) = 0",
        "    r2 = r10",
    ]
    assert lines[-1] == "input:"
    for line in ("    r1 = map[out]", "    call mix", "    if r6 s> 0x0 goto l0", "l0:", "l1:"):
        assert line in lines
    assert "static u64 mix(u64 a, u64 b, u64 c, u64 d, u64 e, s64 f," in text


def test_what_has_no_words() -> None:
    """Malformed instructions become bytes, references to nowhere numbers."""
    insns = decode(
        bytes.fromhex("ff01020003000000")  # no opcode
        + bytes.fromhex("9500010000000000")  # exit with an offset
        + bytes.fromhex("0500640000000000")  # a jump out of the program
        + bytes.fromhex("8510000063000000")  # a call out of it
        + bytes.fromhex("1821000005000000 0000000001000000")  # a map that is not there
        + bytes.fromhex("1811000000000000")  # half an ld_imm64
    )
    text = disassemble(Program("x", insns))
    assert [line.strip() for line in text.splitlines()[2:]] == [
        ".slot ff01020003000000",
        ".slot 9500010000000000",
        "goto pc+100",
        "call pc+99",
        "r1 = map[5][0]+1",
        ".slot 1811000000000000",
    ]
    assert parse(text, "y").program.insns == insns


def test_maps_and_kfuncs_by_name_or_number() -> None:
    maps = (MapSpec("a", 2, 4, 8, 1), MapSpec("a", 2, 4, 8, 1), MapSpec("", 1, 4, 8, 1))
    insns = tuple(x for index in range(3) for x in (Insn(0x18, 1, 1, 0, index), Insn(0)))
    program = Program("x", (*insns, Insn(0x85, 0, 2), Insn(0x95)), maps=(maps[0], maps[2]))
    program = replace(program, kfuncs=(KfuncRef(6, "my_kfunc", "mod"),))
    text = disassemble(program)
    for line in ("r1 = map[a]", "r1 = map[1]", "r1 = map[2]", "call my_kfunc", "extern my_kfunc module mod"):
        assert line in text
    assert parse(text, "x").program == program


def test_functions_without_a_writable_prototype() -> None:
    builder = BtfBuilder()
    many = parse_decl("long f(" + ", ".join(f"long a{k}" for k in range(13)) + ")")
    info = (FuncInfo(0, builder.function(many)), FuncInfo(1, 0))
    text = disassemble(Program("x", (Insn(0x95), Insn(0x95)), btf=builder.build(), func_info=info))
    assert parse(text, "x").program.func_info == ()


def test_names_that_no_text_can_hold() -> None:
    with pytest.raises(InputError, match="cannot be written as text"):
        disassemble(Program('a"b', (Insn(0x95),)))


# ---------------------------------------------------------------- generated programs

LOADABLE = [form for form in FORMS if form.loadable and form.name not in ("ld_btf_id", "call_kfunc")]


@st.composite
def one(draw: st.DrawFn, form: Form) -> tuple[Insn, ...]:
    off = draw(st.sampled_from([-8, -1, 0, 1, 2, 3, 8]))
    if form.off in ("slot_in", "slot_out"):
        off = draw(st.integers(1, 7)) * (8 if form.off == "slot_in" else -8)
    if form.off == "any":
        off = 0
    imm = draw(
        st.integers(-4, 4)
        if form.imm in ("branch", "map", "helper")
        else st.integers(-(1 << 31), (1 << 31) - 1)
    )
    first, *rest = form.sample(draw(st.integers(0, 10)), draw(st.integers(0, 10)), off, imm)
    high = draw(st.integers(-(1 << 31), (1 << 31) - 1)) if form.name in ("ld_imm64", "ld_map_value") else 0
    return (first, *(replace(slot, imm=high) for slot in rest))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    parts = draw(st.lists(st.sampled_from(LOADABLE).flatmap(one), min_size=1, max_size=12))
    insns = (*tuple(insn for part in parts for insn in part), Insn(149))
    builder = BtfBuilder()
    info: tuple[FuncInfo, ...] = ()
    if draw(st.booleans()):
        starts = [0]
        for part in parts:
            starts.append(starts[-1] + len(part))
        chosen = sorted(draw(st.sets(st.sampled_from(starts), max_size=3)))
        info = tuple(
            FuncInfo(
                at, builder.function(parse_decl(f"long f{at}(u64 a, struct s *b)"), draw(st.integers(0, 1)))
            )
            for at in chosen
        )
    return Program(
        "generated",
        insns,
        btf=builder.build() if info else None,
        func_info=info,
        maps=(MapSpec("one", 2, 4, 8, 1, flags=3), MapSpec("two", 40, 4, 8, 1, extra=1 << 40)),
        prog_flags=draw(st.sampled_from([0, 8])),
    )


@settings(max_examples=60)
@given(programs())
def test_generated_programs(program: Program) -> None:
    text = disassemble(program)
    assert parse(text, "x").program == program


@settings(max_examples=60)
@given(st.binary(min_size=8, max_size=64).map(lambda data: data[: len(data) // 8 * 8]))
def test_any_bytes(data: bytes) -> None:
    program = Program("x", decode(data))
    assert parse(disassemble(program), "y").program == program
