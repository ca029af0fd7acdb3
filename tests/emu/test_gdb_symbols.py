"""The symbols, read by others: pyelftools and readelf find in them what the JIT says of its functions."""

import subprocess
from bisect import bisect_right
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from bpf.btf import Btf
from bpf.btf_types import VOID, BtfType, Kind, Member
from bpf.program import Request
from emu.gdb import cfi, elf, sweep, wire
from emu.gdb.entries import Entries
from emu.gdb.sources import Sources
from emu.gdb.symbols import Symbols
from emu.gdb.target import Target
from emu.gdb.types import BtfRef, Types
from emu.load import load_file
from emu.pipeline import Options, Pipeline
from emu.sandbox.debug import DebugMachine
from emu.sandbox.entry import assemble
from emu.sandbox.images import Function
from jit.decoder import new_decoder
from jit.profile import PRESETS

FIXTURES = Path(__file__).parents[2] / "fixtures"
NAMES = {number: name for name, number in cfi.NUMBERS.items()}
PROGRAMS = [
    ("text/reverse12.bpf", None),
    ("text/map_loop12.bpf", None),
    ("text/loop_callback.bpf", None),
    ("text/packet_xdp.bpf", None),
    ("objects/loop_callback10.bpf.o", "loop_callback"),
    ("objects/call_tree6.bpf.o", None),
    ("objects/stack_objects12.bpf.o", None),
]


@pytest.fixture(scope="module")
def machine() -> DebugMachine:
    return DebugMachine()


def _request(file: str, name: str | None) -> Request:
    return load_file(str(FIXTURES / file), wanted=name)[0].request


def _target(machine: DebugMachine, request: Request, profile: str = "7.3") -> Target:
    pipeline = Pipeline(Options(profile=PRESETS[profile]))
    case = pipeline.run(request, {}, ("verify", "jit"))
    assert case.image is not None
    return Target(machine, pipeline.sandbox(machine, 1.0, request.program, case.image, {}), "test")


def _read(target: Target, folder: Path, *, c_lines: bool = True) -> ELFFile:
    symbols = Symbols(target, folder / "out.elf", (FIXTURES / "objects",), c_lines=c_lines)
    symbols.write()
    return ELFFile(BytesIO((folder / "out.elf").read_bytes()))


def _functions(target: Target) -> list[Function]:
    return [one for one in target.engine.code.functions if one.image is not None]


@pytest.mark.parametrize(("file", "name"), PROGRAMS)
def test_frames_are_those_of_the_jit_at_every_instruction(
    machine: DebugMachine, file: str, name: str | None, tmp_path: Path
) -> None:
    target = _target(machine, _request(file, name))
    _compare_frames(target, _read(target, tmp_path))


@pytest.mark.parametrize("profile", ["7.3-nobmi2", "7.3-zen2", "7.3-stuffed", "plain"])
def test_frames_of_other_profiles(machine: DebugMachine, profile: str, tmp_path: Path) -> None:
    target = _target(machine, _request("text/reverse12.bpf", None), profile)
    _compare_frames(target, _read(target, tmp_path))


def _compare_frames(target: Target, file: ELFFile) -> None:
    entries = {
        one["initial_location"]: one for one in file.get_dwarf_info().CFI_entries() if isinstance(one, FDE)
    }
    for function in _functions(target):
        assert function.image is not None
        frame = function.image.functions[function.number].frame
        table = entries[function.addr].get_decoded().table
        starts = [row["pc"] for row in table]
        for at, *_ in new_decoder().disasm_lite(function.code, 0):
            row = table[bisect_right(starts, function.addr + at) - 1]
            want = frame.cfi(at)
            assert (NAMES[row["cfa"].reg], row["cfa"].offset) == (want.cfa.reg, want.cfa.off), hex(at)
            saved = {
                NAMES[reg]: rule.arg
                for reg, rule in row.items()
                if isinstance(reg, int) and rule.type == "OFFSET"
            }
            assert saved == want.saved, hex(at)


@pytest.mark.parametrize(
    ("file", "name", "c_lines"), [*((*one, True) for one in PROGRAMS), (*PROGRAMS[4], False)]
)
def test_each_instruction_has_its_line(
    machine: DebugMachine, file: str, name: str | None, c_lines: bool, tmp_path: Path
) -> None:
    target = _target(machine, _request(file, name))
    dwarf = _read(target, tmp_path, c_lines=c_lines).get_dwarf_info()
    unit = next(dwarf.iter_CUs())
    program: Any = dwarf.line_program_for_CU(unit)
    rows = [entry.state for entry in program.get_entries() if entry.state is not None]
    spans = [(one, other.address) for one, other in pairwise(rows) if not one.end_sequence]
    listing = (tmp_path / "out.bpf.s").read_text().splitlines()
    code = target.engine.world.program
    seen = 0
    for function in _functions(target):
        for at in range(function.addr, function.end):
            site = target.engine.code.site(at)
            if site is None or site.insn is None:
                continue
            row = next(row for row, end in spans if row.address <= at < end)
            path = program["file_entry"][row.file - 1].name.decode()
            seen += 1
            if path == "out.bpf.s":
                assert listing[row.line - 1].split(":")[0].strip() == str(site.insn)
            else:
                infos = [info for info in code.line_info if info.insn <= site.insn]
                assert infos[-1].line == row.line
                assert Path(path).name == Path(infos[-1].file).name
    assert seen


@pytest.mark.parametrize(("file", "name"), PROGRAMS)
def test_functions_and_stubs_are_symbols_and_entries(
    machine: DebugMachine, file: str, name: str | None, tmp_path: Path
) -> None:
    target = _target(machine, _request(file, name))
    read = _read(target, tmp_path)
    table: Any = read.get_section_by_name(".symtab")
    symbols = {one.name: one for one in table.iter_symbols()}
    unit = next(read.get_dwarf_info().iter_CUs())
    told = {
        die.attributes["DW_AT_low_pc"].value: die
        for die in unit.iter_DIEs()
        if die.tag == "DW_TAG_subprogram"
    }
    for function in _functions(target):
        name = told[function.addr].attributes["DW_AT_name"].value.decode()
        assert symbols[name]["st_value"] == function.addr
        assert symbols[name]["st_size"] == len(function.code)
        assert function.name in (name, "<unknown>")
    for symbol, addr in target.engine.layout.symbols.items():
        assert symbols[symbol]["st_value"] == addr
    text: Any = read.get_section_by_name(".text")
    first = target.engine.code.functions[0]
    assert text["sh_addr"] == first.addr
    assert text.data()[: len(first.code)] == target.shown(first)


def test_arguments_of_12(machine: DebugMachine, tmp_path: Path) -> None:
    dwarf = _read(_target(machine, _request("text/reverse12.bpf", None)), tmp_path).get_dwarf_info()
    unit = next(dwarf.iter_CUs())
    function = next(
        die
        for die in unit.iter_DIEs()
        if die.tag == "DW_TAG_subprogram" and die.attributes["DW_AT_name"].value == b"reverse12"
    )
    found = []
    for die in function.iter_children():
        if die.tag == "DW_TAG_formal_parameter":
            where = die.attributes["DW_AT_location"]
            found.append((die.attributes["DW_AT_name"].value.decode(), where.form))
    assert [name for name, _ in found] == list("abcdefghijkl")
    assert [form for _, form in found] == ["DW_FORM_sec_offset"] * 6 + ["DW_FORM_exprloc"] * 6


KINDS = {
    Kind.INT: "base", Kind.FLOAT: "base", Kind.PTR: "pointer", Kind.STRUCT: "structure", Kind.UNION: "union",
    Kind.ARRAY: "array", Kind.ENUM: "enumeration", Kind.ENUM64: "enumeration", Kind.TYPEDEF: "typedef",
    Kind.CONST: "const", Kind.VOLATILE: "volatile", Kind.RESTRICT: "restrict", Kind.FUNC_PROTO: "subroutine",
}  # fmt: skip


@pytest.mark.parametrize("file", sorted((FIXTURES / "objects").glob("*.bpf.o")), ids=lambda path: path.name)
def test_types_of_btf_come_back(file: Path) -> None:
    """All types of an object, read again: kind, name, size, members with their places, what they refer to."""
    program = load_file(str(file))[0].request.program
    if program.btf is None:
        return
    wanted = [tid for tid, one in enumerate(program.btf.types) if one.kind in KINDS]
    for tid, die in zip(wanted, _types_read(program.btf, wanted), strict=True):
        if die is not None:
            _compare_type(program.btf, tid, die)


def _types_read(btf: Btf, wanted: Sequence[int]) -> list[Any]:
    """For each type id the entry that a reference to it leads to, None for void."""
    entries = Entries()
    types = Types(entries)
    entries.add(0x11, children=True)
    for tid in wanted:
        entries.add(0x34, *types.reference(BtfRef(btf, tid)))
    types.write()
    entries.end()
    info, abbrev = entries.sections()
    sections = [elf.Section(".debug_info", info), elf.Section(".debug_abbrev", abbrev)]
    unit = next(ELFFile(BytesIO(elf.write(sections, [], 0))).get_dwarf_info().iter_CUs())
    return [
        die.get_DIE_from_attribute("DW_AT_type") if "DW_AT_type" in die.attributes else None
        for die in unit.iter_DIEs()
        if die.tag == "DW_TAG_variable"
    ]


def _compare_type(btf: Btf, tid: int, die: Any) -> None:
    kind, values = btf.type(tid), {name: one.value for name, one in die.attributes.items()}
    assert die.tag.removesuffix("_type") == f"DW_TAG_{KINDS[kind.kind]}"
    assert values.get("DW_AT_name", b"").decode() == kind.name
    if kind.kind in (Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64):
        assert values["DW_AT_byte_size"] == kind.size
    members = [one for one in die.iter_children() if one.tag == "DW_TAG_member"]
    assert len(members) == len(kind.members)
    for member, found in zip(kind.members, members, strict=True):
        place = {name: one.value for name, one in found.attributes.items()}
        assert place.get("DW_AT_name", b"").decode() == member.name
        at = place["DW_AT_data_bit_offset"] if member.bits else 8 * place["DW_AT_data_member_location"]
        assert (at, place.get("DW_AT_bit_size", 0)) == (member.offset, member.bits)
    counts = [
        one.attributes["DW_AT_count"].value
        for one in die.iter_children()
        if one.tag == "DW_TAG_subrange_type"
    ]
    assert counts == ([kind.count] if kind.kind is Kind.ARRAY else [])
    told = [
        (one.attributes["DW_AT_name"].value.decode(), one.attributes["DW_AT_const_value"].value)
        for one in die.iter_children()
        if one.tag == "DW_TAG_enumerator"
    ]
    assert told == [(one.name, one.value) for one in kind.values]


def test_bit_fields_and_anonymous_members() -> None:
    """What compilers make of `struct { u32 a:3, b:5; union { long c; char d; }; }`, by hand."""
    kinds = (
        VOID,
        BtfType(Kind.INT, name="unsigned int", size=4, bits=32),
        BtfType(Kind.INT, name="char", size=1, bits=8, encoding=1),
        BtfType(Kind.UNION, size=4, members=(Member(0, 1, 0, name="c"), Member(0, 2, 0, name="d"))),
        BtfType(
            Kind.STRUCT, name="s", size=8, kind_flag=True,
            members=(Member(0, 1, 0, 3, "a"), Member(0, 1, 3, 5, "b"), Member(0, 3, 32)),
        ),
    )  # fmt: skip
    btf = Btf(kinds)
    (die,) = _types_read(btf, [4])
    _compare_type(btf, 4, die)


def test_types_that_lead_nowhere_are_void() -> None:
    circle = Btf((VOID, BtfType(Kind.TYPEDEF, name="a", type=2), BtfType(Kind.CONST, type=1)))
    types = Types(Entries())
    assert types.reference(BtfRef(circle, 1)) == types.reference(BtfRef(circle, 9)) == []


def test_readelf_finds_nothing_to_complain_about(
    machine: DebugMachine, outside: Callable[[str], str], tmp_path: Path
) -> None:
    _read(_target(machine, _request("objects/loop_callback10.bpf.o", "loop_callback")), tmp_path)
    for what in (["-aW"], ["--debug-dump=info,abbrev,decodedline,frames,loc,Ranges"]):
        ran = subprocess.run(
            [outside("readelf"), *what, tmp_path / "out.elf"], capture_output=True, text=True, check=True, timeout=60
        )  # fmt: skip
        assert ran.stderr == ""
        assert "arning" not in ran.stdout


def test_functions_without_names_have_names_that_can_be_typed(machine: DebugMachine, tmp_path: Path) -> None:
    request = load_file(str(FIXTURES / "objects-more" / "no_btf6.nog.bpf.o"), wanted="five")[0].request
    target = _target(machine, request)
    table: Any = _read(target, tmp_path).get_section_by_name(".symtab")
    names = [one.name for one in table.iter_symbols() if one["st_shndx"] == 1]
    starts = [
        site.insn for one in _functions(target) if (site := target.engine.code.site(one.end - 1)) is not None
    ]
    assert len(names) == len(starts) > 1
    assert names[0] == "five"
    assert all(name.startswith("five_") for name in names[1:])
    assert "five:\n" in (tmp_path / "out.bpf.s").read_text()


def test_the_same_program_gives_the_same_symbols(machine: DebugMachine, tmp_path: Path) -> None:
    target = _target(machine, _request("text/reverse12.bpf", None))
    one, other = (Symbols(target, tmp_path / "out.elf", ()).image() for _ in range(2))
    assert one == other


def test_a_section_without_content_and_local_symbols_first() -> None:
    sections = [
        elf.Section(".a", b"\x90", flags=elf.ALLOC | elf.EXEC, addr=0x1000),
        elf.Section(".b", b"", elf.NOBITS, elf.ALLOC | elf.WRITE, 0x2000, 64),
    ]
    symbols = [elf.Symbol("g", 0x1000, 1, section=".a"), elf.Symbol("f", kind=elf.FILE, local=True)]
    read = ELFFile(BytesIO(elf.write(sections, symbols, 0x1000)))
    table: Any = read.get_section_by_name(".symtab")
    assert [one.name for one in table.iter_symbols()] == ["", "f", "g"]
    assert table["sh_info"] == 2
    empty: Any = read.get_section_by_name(".b")
    assert empty["sh_size"] == 64
    assert [one["p_vaddr"] for one in read.iter_segments()] == [0x1000]


@given(st.integers(0, 1 << 70))
def test_unsigned_numbers_come_back(value: int) -> None:
    data, got = wire.uleb(value), 0
    for at, byte in enumerate(data):
        got |= (byte & 0x7F) << 7 * at
    assert got == value
    assert [byte >> 7 for byte in data] == [1] * (len(data) - 1) + [0]


@given(st.integers(-1 << 70, 1 << 70))
def test_signed_numbers_come_back(value: int) -> None:
    data, got = wire.sleb(value), 0
    for at, byte in enumerate(data):
        got |= (byte & 0x7F) << 7 * at
    assert got - (data[-1] >> 6 << 7 * len(data)) == value


@pytest.mark.parametrize(("file", "name"), [*PROGRAMS[:3], *PROGRAMS[4:]])
def test_frames_that_are_found_by_following_the_code_are_those_that_the_jit_tells(
    machine: DebugMachine, file: str, name: str | None
) -> None:
    """At every instruction that can be reached; there the JIT knows, and the sweep has to find out."""
    for function in _functions(_target(machine, _request(file, name))):
        assert function.image is not None
        frame = function.image.functions[function.number].frame
        rows = sweep.rows_of(function.code)
        starts = [row.off for row in rows]
        before = ""
        for at, _, mnemonic, _ in new_decoder().disasm_lite(function.code, 0):
            if mnemonic != "int3" and before != "ret":
                row, want = rows[bisect_right(starts, at) - 1], frame.cfi(at)
                assert (row.reg, row.add) == (want.cfa.reg, want.cfa.off), f"{function.name}+{at:#x}"
                assert row.saved == want.saved, f"{function.name}+{at:#x}"
            before = mnemonic


def test_frames_without_a_frame_pointer() -> None:
    text = "push r12; push rbx; sub rsp, 24; test edi, edi; je out; add rsp, 24; pop rbx; pop r12; ret; "
    text += "out: xor eax, eax; lea rsp, [rsp + 24]; nop"
    rows = sweep.rows_of(assemble(text, 0))
    assert [(row.off, row.reg, row.add, sorted(row.saved)) for row in rows] == [
        (0, "rsp", 8, ["rip"]),
        (2, "rsp", 16, ["r12", "rip"]),
        (3, "rsp", 24, ["r12", "rbx", "rip"]),
        (7, "rsp", 48, ["r12", "rbx", "rip"]),
        (15, "rsp", 24, ["r12", "rbx", "rip"]),
        (16, "rsp", 16, ["r12", "rip"]),
        (18, "rsp", 8, ["rip"]),
        (19, "rsp", 48, ["r12", "rbx", "rip"]),
    ]


def test_a_frame_that_is_left_in_other_ways() -> None:
    text = "push rbp; mov rbp, rsp; push rbx; sub rsp, 16; and rsp, -16; lea rsp, [rbp - 8]; pop rbx; mov rsp, rbp; pop rbp; ret"
    rows = sweep.rows_of(assemble(text, 0))
    assert [(row.reg, row.add) for row in rows] == [
        ("rsp", 8), ("rsp", 16), ("rbp", 16), ("rbp", 16), ("rbp", 16), ("rsp", 8),
    ]  # fmt: skip
    assert [sorted(row.saved) for row in rows][-1] == ["rip"]


def test_bytes_that_are_no_code_have_a_frame_too() -> None:
    assert [row.off for row in sweep.rows_of(b"\xff\xff\xff")] == []
    assert [row.off for row in sweep.rows_of(b"\xeb\xfe")] == [0]


def test_names_of_sources_lead_nowhere_else(tmp_path: Path) -> None:
    request = _request("objects/loop_callback10.bpf.o", "loop_callback")
    infos = tuple(
        type(one)(one.insn, f"/../../{'../' * 9}etc/\0passwd{one.insn % 2}", one.text, one.line, one.column)
        for one in request.program.line_info
    )
    program = type(request.program)(request.program.name, request.program.insns, line_info=infos)
    sources = Sources([program], {}, "list", (tmp_path,))
    assert sources.line(0, 0).file == "list.sources/etc/passwd0"
    (tmp_path / "out").mkdir()
    sources.write(tmp_path / "out")
    found = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(map(str, found)) == ["out/list.bpf.s", "out/list.sources/etc/passwd0"]
