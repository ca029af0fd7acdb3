"""Every program of fixtures/objects: linked as a real kernel got it, with its maps, functions and prototypes."""

import json
from pathlib import Path
from typing import Any

import pytest

from bpf import elf, isa
from bpf.btf import Btf
from bpf.elf import Object
from bpf.maps import MapType
from bpf.program import Program

OBJECTS = Path(__file__).resolve().parents[2] / "fixtures/objects"
ENTRIES: list[dict[str, Any]] = json.loads((OBJECTS / "expect.json").read_text())
LOADED: dict[str, Object] = {}


def load(name: str) -> Object:
    if name not in LOADED:
        LOADED[name] = elf.load(OBJECTS / name)
    return LOADED[name]


def starts(program: Program) -> list[int]:
    """First instructions of the functions, found in the code alone."""
    found = {0}
    for at, insn in enumerate(program.insns):
        if (insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL) or (
            insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_FUNC
        ):
            found.add(at + insn.imm + 1)
    return sorted(found)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e['object']}:{e['prog']}")
def test_program(entry: dict[str, Any]) -> None:
    program = load(entry["object"]).program(entry["prog"])
    expect = entry["expect"]
    assert program.section == entry["section"]
    assert program.license == "GPL"
    begins = starts(program)
    if program.btf:
        assert [f.insn for f in program.func_info] == begins
        assert program.line_info[0].insn == 0
    if expect["accepted"]:
        assert len(begins) == expect["functions"]
        assert [*begins, len(program.insns)][1] == expect["insns_after_link"]
    for name, contents in expect.get("maps_after", {}).items():
        spec = next(m for m in program.maps if m.name == name)
        assert MapType(spec.type).name.lower() == contents["type"]
        assert (spec.key_size, spec.value_size, spec.max_entries) == (
            contents["key_size"],
            contents["value_size"],
            contents["max_entries"],
        )
        if name == ".rodata":
            assert [[k.hex(), v.hex()] for k, v in spec.elems] == contents["elems"]
            assert spec.freeze


@pytest.mark.parametrize("name", ["slots_complete", "order_correct"])
def test_programs_without_branches_are_as_long_as_the_verifier_walked(name: str) -> None:
    entry = next(e for e in ENTRIES if e["prog"] == name)
    assert len(load(entry["object"]).program(name).insns) == entry["expect"]["verified_insns"]


def test_every_function_ends_in_an_exit_or_a_jump() -> None:
    for entry in ENTRIES:
        program = load(entry["object"]).program(entry["prog"])
        for end in [*starts(program)[1:], len(program.insns)]:
            assert program.insns[end - 1].code in (isa.OP_EXIT, isa.OP_JA)


def test_prototypes_of_linked_functions() -> None:
    program = load("fixed_matrix12.bpf.o").program("matrix_fixed")
    assert program.btf
    shown = [str(program.btf.prototype(f.type_id)) for f in program.func_info]
    assert shown == [
        "int matrix_fixed(struct geometry *g)",
        "s32 mat_vec_component(s32 m00, s32 m01, s32 m02, s32 m10, s32 m11, s32 m12, s32 m20, s32 m21, s32 m22, s32 x, s32 y, s32 z)",
        "s64 determinant(s64 a, s64 b, s64 c, s64 d, s64 e, s64 f, s64 g, s64 h, s64 i)",
    ]


def test_line_info_has_the_source() -> None:
    program = load("call_tree6.bpf.o").program("call_tree")
    source = (OBJECTS / "call_tree6.bpf.c").read_text().split("\n")
    for line in program.line_info:
        assert line.file == "./call_tree6.bpf.c"
        assert line.text.strip() == source[line.line - 1].strip()
    assert {line.insn for line in program.line_info} >= {f.insn for f in program.func_info}


def test_kfunc_calls() -> None:
    program = load("kfunc_many_args.bpf.o").program("kf_memory")
    assert [k.name for k in program.kfuncs] == ["okf_mem", "okf_mem", "okf_mem_split"]
    for kfunc in program.kfuncs:
        insn = program.insns[kfunc.insn]
        assert (insn.code, insn.src, insn.imm, insn.off) == (isa.OP_CALL, isa.PSEUDO_KFUNC_CALL, 0, 0)


def test_object_without_btf() -> None:
    obj = load("rej_no_btf.bpf.o")
    program = obj.program("call_without_btf")
    assert (obj.btf, obj.raw_btf, program.btf, program.func_info, program.line_info) == (
        None,
        None,
        None,
        (),
        (),
    )
    assert len(starts(program)) == 2


def test_references_to_data() -> None:
    program = load("globals_maps8.bpf.o").program("transfer")
    used = {(program.maps[i.imm].name, i.src) for i in program.insns if i.code == isa.LD_IMM64 and i.src}
    assert used == {("accounts", 1), ("totals", 1), (".data", 2), (".rodata", 2), (".bss", 2)}
    for at, insn in enumerate(program.insns):
        if insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_MAP_VALUE:
            assert 0 <= program.insns[at + 1].imm < program.maps[insn.imm].value_size


def test_raw_btf_is_the_sections_own() -> None:
    obj = load("globals_maps8.bpf.o")
    assert obj.raw_btf
    assert obj.btf
    assert Btf.parse(obj.raw_btf.raw()) == obj.raw_btf
    assert obj.btf.raw() != obj.raw_btf.raw()
