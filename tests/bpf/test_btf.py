"""BTF: reading, writing, looking things up, building, and what is malformed."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import btf_wire, elf_file
from bpf.btf import EXTERN, GLOBAL, INT_BOOL, INT_SIGNED, STATIC, Btf, Kind
from bpf.btf_build import BtfBuilder
from bpf.btf_check import refusal
from bpf.btf_ext import BtfExt
from bpf.errors import InputError
from bpf.proto import CType, FuncProto, Param

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
PATHS = sorted([*FIXTURES.glob("objects/*.o"), *FIXTURES.glob("elf/*.o")])

U64 = CType("int", "u64", 64)
U32 = CType("int", "u32", 32)
S16 = CType("int", "s16", 16, signed=True)
VOID = CType("void", "void")
PAIR = CType("struct", "struct pair", 128)


def section(name: str, of: str = "elf/btf_kinds.bpf.o") -> bytes:
    found = elf_file.read((FIXTURES / of).read_bytes(), of).find(name)
    assert found
    return found.data


KINDS = Btf.parse(section(".BTF"))


def named(name: str, kind: Kind) -> int:
    tid = KINDS.find(name, kind)
    assert tid
    return tid


# ---- reading and writing


@pytest.mark.parametrize("path", [p for p in PATHS if p.name != "rej_no_btf.bpf.o"], ids=lambda p: p.name)
@pytest.mark.parametrize(("name", "kind"), [(".BTF", Btf), (".BTF.ext", BtfExt)])
def test_compilers_bytes_come_back(path: Path, name: str, kind: type[Btf] | type[BtfExt]) -> None:
    found = elf_file.read(path.read_bytes(), path.name).find(name)
    assert found
    assert kind.parse(found.data).raw() == found.data


def test_big_vlen_and_layout_section() -> None:
    """Linux 7.3 has 24 bits for vlen, and a section that says how long the records of each kind are."""
    builder = BtfBuilder()
    u32 = builder.int_("u32", 4)
    builder.struct("wide", 4, [(f"m{i}", u32, 0) for i in range(70_000)])
    blob = builder.build().raw()
    assert len(Btf.parse(blob).types[2].members) == 70_000
    small = BtfBuilder()
    small.int_("u32", 4)
    types, strings = small.build().raw()[24:40], small.build().strings
    layout = bytes(range(80))
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 32, 0, 16, 96, len(strings)) + struct.pack("<II", 16, 80)
    with_layout = head + types + layout + strings
    assert Btf.parse(with_layout).layout == layout
    assert Btf.parse(with_layout).raw() == with_layout


@st.composite
def graphs(draw: st.DrawFn) -> Btf:  # noqa: C901 - one case a kind
    """Any types with any references among them: no sense is asked for, only form."""
    builder = BtfBuilder()
    count = draw(st.integers(1, 12))
    ids = st.integers(0, count)
    name = st.one_of(st.just(""), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6))
    u32, flag = st.integers(0, (1 << 32) - 1), st.booleans()
    s32 = st.integers(-(1 << 31), (1 << 31) - 1)
    for _ in range(count):
        match draw(st.sampled_from([k for k in Kind if k is not Kind.VOID])):
            case Kind.INT:
                builder.int_(
                    draw(name),
                    draw(u32),
                    draw(st.integers(0, 15)),
                    bits=draw(st.integers(0, 255)),
                    bit_offset=draw(st.integers(0, 255)),
                )
            case Kind.PTR:
                builder.ptr(draw(ids))
            case Kind.ARRAY:
                builder.array(draw(ids), draw(ids), draw(u32))
            case Kind.STRUCT:
                builder.struct(
                    draw(name),
                    draw(u32),
                    draw(
                        st.lists(
                            st.tuples(name, ids, st.integers(0, 0xFFFFFF), st.integers(0, 255)), max_size=3
                        )
                    ),
                )
            case Kind.UNION:
                builder.union(draw(name), draw(u32), draw(st.lists(st.tuples(name, ids, u32), max_size=3)))
            case Kind.ENUM:
                builder.enum(
                    draw(name), draw(st.lists(st.tuples(name, s32), max_size=3)), size=draw(u32), signed=True
                )
            case Kind.ENUM64:
                values = st.integers(0, (1 << 64) - 1)
                builder.enum64(
                    draw(name), draw(st.lists(st.tuples(name, values), max_size=3)), size=draw(u32)
                )
            case Kind.FWD:
                builder.fwd(draw(name), union=draw(flag))
            case Kind.TYPEDEF:
                builder.typedef(draw(name), draw(ids))
            case Kind.VOLATILE:
                builder.volatile(draw(ids))
            case Kind.CONST:
                builder.const(draw(ids))
            case Kind.RESTRICT:
                builder.restrict(draw(ids))
            case Kind.FUNC:
                builder.func(draw(name), draw(ids), draw(st.integers(0, 0xFFFFFF)))
            case Kind.FUNC_PROTO:
                builder.proto(draw(ids), draw(st.lists(st.tuples(name, ids), max_size=14)))
            case Kind.VAR:
                builder.var(draw(name), draw(ids), draw(u32))
            case Kind.DATASEC:
                builder.datasec(draw(name), draw(u32), draw(st.lists(st.tuples(ids, u32, u32), max_size=3)))
            case Kind.FLOAT:
                builder.float_(draw(name), draw(u32))
            case Kind.DECL_TAG:
                builder.decl_tag(draw(name), draw(ids), draw(s32))
            case Kind.TYPE_TAG:
                builder.type_tag(draw(name), draw(ids))
    return builder.build()


@settings(max_examples=150)
@given(graphs())
def test_any_graph_round_trips(btf: Btf) -> None:
    assert Btf.parse(btf.raw()) == btf
    assert Btf.parse(btf.raw()).raw() == btf.raw()


@settings(max_examples=150)
@given(graphs())
def test_questions_about_any_graph_end(btf: Btf) -> None:
    """Circles included: an answer or an InputError."""
    assert refusal(btf) is None or "type" in str(refusal(btf))
    for tid in range(len(btf.types)):
        for ask in (btf.resolve, btf.size_of, btf.ctype, btf.prototype, btf.linkage, btf.decl_tags):
            try:
                ask(tid)
            except InputError as error:
                assert str(error).startswith("BTF: type ")  # noqa: PT017 - either outcome will do, but the line must be ours


# ---- questions


@pytest.mark.parametrize(
    ("member", "want"),
    [
        ("o", CType("union", "union overlay", 64)),
        ("opaque", CType("ptr", "", 64, to=CType("struct", "struct declared_only"))),
        ("s", CType("enum", "enum signs", 32, signed=True)),
        ("w", CType("enum", "enum wide", 64)),
        ("d", CType("float", "double", 64)),
        ("flag", CType("bool", "_Bool", 8)),
        ("letter", CType("int", "char", 8, signed=True)),
        ("both", CType("ptr", "", 64, to=CType("int", "u32", 32, const=True))),
        ("alone", CType("ptr", "", 64, to=CType("int", "char", 8, signed=True))),
        ("marked", CType("ptr", "", 64, to=CType("int", "int", 32, signed=True))),
    ],
)
def test_ctype(member: str, want: CType) -> None:
    (tid,) = (m.type for m in KINDS.types[named("many", Kind.STRUCT)].members if m.name == member)
    assert KINDS.ctype(tid) == want


def test_prototype_and_linkage() -> None:
    tid = named("kinds", Kind.FUNC)
    assert str(KINDS.prototype(tid)) == "int kinds(void *ctx)"
    assert KINDS.linkage(tid) == GLOBAL
    callback = next(t for t in KINDS.types if t.kind is Kind.FUNC_PROTO and len(t.params) == 3)
    assert [str(p.type) for p in KINDS.prototype(KINDS.types.index(callback)).params] == [
        "struct many *",
        "u32",
    ]
    assert KINDS.linkage(named("hits", Kind.VAR)) == STATIC


def test_decl_tags() -> None:
    assert KINDS.decl_tags(named("kinds", Kind.FUNC)) == [("parameter tag", 0), ("function tag", -1)]
    assert KINDS.decl_tags(named("many", Kind.STRUCT)) == [("struct tag", -1), ("member tag", 14)]
    assert KINDS.decl_tags(1) == []


def test_find_and_sizes() -> None:
    assert KINDS.find("many", Kind.UNION) is None
    assert KINDS.find("", Kind.PTR) is None
    assert KINDS.size_of(named("many_t", Kind.TYPEDEF)) == 96
    assert KINDS.size_of(named("global_many", Kind.VAR)) == 96
    assert KINDS.resolve(named("many_t", Kind.TYPEDEF)) == named("many", Kind.STRUCT)
    assert KINDS.size_of(0) == 0


def builder_with(*steps: tuple[str, tuple[object, ...]]) -> Btf:
    builder = BtfBuilder()
    for method, args in steps:
        getattr(builder, method)(*args)
    return builder.build()


@pytest.mark.parametrize(
    ("btf", "ask", "want"),
    [
        (
            builder_with(("typedef", ("a", 2)), ("const", (1,))),
            "resolve",
            "BTF: type 1: its typedefs and qualifiers go round in a circle",
        ),
        (builder_with(("ptr", (1,))), "ctype", "BTF: type 1: pointer to pointer more than 32 deep"),
        (builder_with(("array", (1, 1, 2))), "size_of", "BTF: type 1: its size needs more than 32 steps"),
        (builder_with(("func", ("f", 1, 0))), "prototype", "BTF: type 1: FUNC is no function"),
        (builder_with(("int_", ("i", 4))), "linkage", "BTF: type 1: INT has no linkage"),
        (builder_with(("fwd", ("f",))), "size_of", "BTF: type 1: FWD has no size"),
        (builder_with(("datasec", ("f", 4, []))), "ctype", "BTF: type 1: DATASEC is no type of a value"),
    ],
)
def test_no_answer(btf: Btf, ask: str, want: str) -> None:
    with pytest.raises(InputError) as caught:
        getattr(btf, ask)(1)
    assert str(caught.value) == want
    with pytest.raises(InputError, match="no such type id, there are "):
        btf.type(99)


# ---- what is malformed

GOOD = builder_with(("int_", ("u32", 4)), ("ptr", (1,)), ("struct", ("s", 4, [("m", 1, 0)]))).raw()


def changed(at: int, form: str, *values: int) -> bytes:
    blob = bytearray(GOOD)
    struct.pack_into(form, blob, at, *values)
    return bytes(blob)


@pytest.mark.parametrize(
    ("blob", "want"),
    [
        (b"", "BTF: header: truncated: 0 of 24 bytes"),
        (GOOD[:23], "BTF: header: truncated: 23 of 24 bytes"),
        (changed(0, "<H", 0x1234), "BTF: header: bad magic 0x1234, expected 0xeb9f"),
        (changed(0, ">H", 0xEB9F), "BTF: header: big-endian BTF is not supported"),
        (changed(2, "<B", 2), "BTF: header: unsupported version 2"),
        (changed(4, "<I", 16), "BTF: header: header length 16 is not within 24.."),
        (changed(4, "<I", 4096), "BTF: header: header length 4096 is not within 24.."),
        (changed(12, "<I", 5000), "BTF: header: the types (offset 0, 5000 bytes) reach past the end of the"),
        (
            changed(20, "<I", 5000),
            "BTF: header: the strings (offset 52, 5000 bytes) reach past the end of the",
        ),
        (changed(16, "<I", 48), "BTF: header: types (0, 52 bytes) and strings (48, "),
        (GOOD[:-1] + b"x", "BTF: strings: the section must begin and end with a zero byte"),
        (
            changed(24, "<I", 999),
            "BTF: type 1 at byte 0: string offset 999 is past the end of the 9 bytes of strings",
        ),
        (changed(28, "<I", 20 << 24), "BTF: type 1 at byte 0: unknown kind 20"),
        (changed(28, "<I", 0), "BTF: type 1 at byte 0: unknown kind 0"),
        (changed(28, "<I", 1 << 24 | 1), "BTF: type 1 at byte 0: INT with vlen 1"),
        (changed(36, "<I", 1 << 12), "BTF: type 1 at byte 0: unknown bits in INT data 0x00001000"),
        (changed(48, "<I", 77), "BTF: type 2: PTR refers to type id 77, of 4"),
        (
            changed(56, "<I", 4 << 24 | 9),
            "BTF: type 3 at byte 28: STRUCT of 120 bytes (vlen 9) reaches past the end of the types, 24 bytes are left",
        ),
        (changed(68, "<I", 50), "BTF: type 3: STRUCT refers to type id 50, of 4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_malformed(blob: bytes, want: str) -> None:
    with pytest.raises(InputError) as caught:
        Btf.parse(blob)
    assert str(caught.value).startswith(want)
    assert "\n" not in str(caught.value)


def test_shared_strings_do_not_fill_the_memory() -> None:
    """A hundred thousand names, each a tail of the same long string."""
    strings = b"\0" + b"x" * 2_000_000 + b"\0"
    types = b"".join(struct.pack("<III", 1 + at, Kind.FLOAT << 24, 4) for at in range(100_000))
    head = btf_wire.HEADER.pack(0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    with pytest.raises(InputError, match="the names are longer than 67108864 bytes altogether"):
        Btf.parse(head + types + strings)


# ---- building


def test_builder_shares_strings_and_types() -> None:
    builder = BtfBuilder()
    assert builder.ctype(U64) == builder.ctype(CType("int", "u64", 64))
    assert builder.string("u64") == builder.string("u64")
    assert builder.build().strings.count(b"u64\0") == 1


@pytest.mark.parametrize("linkage", [STATIC, GLOBAL, EXTERN])
def test_functions_come_back(linkage: int) -> None:
    pointer = CType("ptr", "", 64, to=PAIR)
    proto = FuncProto(
        "many",
        S16,
        (
            Param("a", U64),
            Param("b", U32),
            Param("c", CType("bool", "bool", 8)),
            Param("d", CType("enum", "enum e", 32, signed=True)),
            Param("e", CType("ptr", "", 64, to=VOID)),
            Param("f", pointer),
            Param("g", CType("ptr", "", 64, to=pointer)),
            Param("h", CType("ptr", "", 64, to=CType("int", "char", 8, signed=True, const=True))),
            Param("i", PAIR),
            Param("j", CType("union", "union u", 64)),
            Param("k", CType("float", "double", 64)),
            Param("l", CType("struct", "pair_t", 128)),
        ),
    )
    builder = BtfBuilder()
    tid = builder.function(proto, linkage)
    btf = Btf.parse(builder.build().raw())
    assert btf.prototype(tid) == proto
    assert btf.linkage(tid) == linkage
    assert (refusal(btf) is None) == (linkage != EXTERN)


def test_int_encodings() -> None:
    builder = BtfBuilder()
    tids = [builder.ctype(CType("bool", "bool", 8)), builder.ctype(S16), builder.ctype(U64)]
    assert [builder.build().types[t].encoding for t in tids] == [INT_BOOL, INT_SIGNED, 0]


# ---- what the kernel refuses

U32_STEP = ("int_", ("u32", 4))


@pytest.mark.parametrize(
    ("steps", "want"),
    [
        ([], "No type found"),
        ([U32_STEP], None),
        ([("int_", ("u32", 4, 3))], "type 1 (INT u32): Unsupported encoding"),
        ([U32_STEP, ("proto", (1, [("", 1)]))], None),
        ([U32_STEP, ("proto", (1, [("", 1)])), ("func", ("f", 2, GLOBAL))], "type 3 (FUNC f): Invalid arg#1"),
        (
            [U32_STEP, ("proto", (1, [("a", 1), ("", 1)])), ("func", ("f", 2, STATIC))],
            "type 3 (FUNC f): Invalid arg#2",
        ),
        ([U32_STEP, ("proto", (1, [("a", 0), ("b", 1)]))], "type 2 (FUNC_PROTO): Invalid arg#1"),
        ([U32_STEP, ("proto", (1, [("a", 1), ("", 0)]))], None),
        ([U32_STEP, ("proto", (1, [("no-name", 1)]))], "type 2 (FUNC_PROTO): Invalid arg#1"),
        ([U32_STEP, ("proto", (2, []))], "type 2 (FUNC_PROTO): Invalid return type"),
        ([U32_STEP, ("proto", (0, [])), ("func", ("f", 2, EXTERN))], "type 3 (FUNC f): Invalid func linkage"),
        ([U32_STEP, ("func", ("f", 1, GLOBAL))], "type 2 (FUNC f): Invalid type_id"),
        ([U32_STEP, ("proto", (0, [])), ("func", ("", 2, GLOBAL))], "type 3 (FUNC): Invalid name"),
        ([U32_STEP, ("typedef", ("a b", 1))], "type 2 (TYPEDEF a b): Invalid name"),
        (
            [U32_STEP, ("struct", ("s", 4, [("m", 1, 8)]))],
            "type 2 (STRUCT s): Member exceeds struct_size ('m')",
        ),
        ([U32_STEP, ("struct", ("s", 4, [("m", 1, 8, 24)]))], None),
        (
            [U32_STEP, ("ptr", (1,)), ("struct", ("s", 16, [("m", 2, 4)]))],
            "type 3 (STRUCT s): Member is not byte aligned ('m')",
        ),
        ([("struct", ("s", 8, [("m", 1, 0)]))], "type 1 (STRUCT s): Loop detected"),
        (
            [("struct", ("s", 8, [("m", 2, 0)])), ("array", (3, 4, 1)), ("typedef", ("t", 1)), U32_STEP],
            "type 1 (STRUCT s): Loop detected",
        ),
        ([("struct", ("s", 8, [("m", 2, 0)])), ("ptr", (1,))], None),
        (
            [U32_STEP, ("struct", ("s", 4, [("m", 1, 40)]))],
            "type 2 (STRUCT s): Member bits_offset of 'm' exceeds its struct size",
        ),
        (
            [U32_STEP, ("struct", ("s", 8, [("m", 1, 32), ("n", 1, 0)]))],
            "type 2 (STRUCT s): Invalid member bits_offset of 'n'",
        ),
        (
            [U32_STEP, ("union", ("s", 8, [("m", 1, 32)]))],
            "type 2 (UNION s): Invalid member bits_offset of 'm'",
        ),
        ([U32_STEP, ("struct", ("s", 8, [("m", 0, 0)]))], "type 2 (STRUCT s): Invalid type_id of member 'm'"),
        ([("enum", ("e", [("A", 1)]))], None),
        ([("enum", ("e", [("", 1)]))], "type 1 (ENUM e): Invalid name of value 1"),
        ([U32_STEP, ("var", ("v", 1, EXTERN))], "type 2 (VAR v): Linkage not supported"),
        (
            [U32_STEP, ("var", ("v", 1)), ("datasec", (".bss", 0, [(2, 0, 4)]))],
            "type 3 (DATASEC .bss): size == 0",
        ),
        ([U32_STEP, ("var", ("v", 1)), ("datasec", (".bss", 4, [(2, 0, 4)]))], None),
        (
            [U32_STEP, ("var", ("v", 1)), ("datasec", (".bss", 4, [(2, 2, 4)]))],
            "type 3 (DATASEC .bss): Invalid offset+size",
        ),
        ([U32_STEP, ("datasec", (".bss", 4, [(1, 0, 4)]))], "type 2 (DATASEC .bss): Not a VAR kind member"),
        ([U32_STEP, ("decl_tag", ("t", 1))], "type 2 (DECL_TAG t): Invalid type_id"),
        (
            [U32_STEP, ("struct", ("s", 4, [("m", 1, 0)])), ("decl_tag", ("t", 2, 1))],
            "type 3 (DECL_TAG t): Invalid component_idx",
        ),
        ([("const", (2,)), ("volatile", (1,))], "type 1 (CONST): Loop detected"),
        ([U32_STEP, ("array", (0, 1, 3))], "type 2 (ARRAY): Invalid elem"),
        ([("float_", ("f", 3))], "type 1 (FLOAT f): Invalid type_size"),
        ([("fwd", ("",))], "type 1 (FWD): Invalid name"),
    ],
)
def test_refusal(steps: list[tuple[str, tuple[object, ...]]], want: str | None) -> None:
    assert refusal(builder_with(*steps)) == want


# ---- .BTF.ext

EXT = section(".BTF.ext", "objects/call_tree6.bpf.o")


@pytest.mark.parametrize(
    ("blob", "want"),
    [
        (EXT[:10], "BTF.ext: header: truncated: 10 of 24 bytes"),
        (b"xx" + EXT[2:], "BTF.ext: header: bad magic 0x7878"),
        (EXT[:2] + b"\x07" + EXT[3:], "BTF.ext: header: unsupported version 7"),
        (EXT[:4] + b"\xff\xff\0\0" + EXT[8:], "BTF.ext: header: header length 65535 is not within"),
        (EXT[:-4], "BTF.ext: line_info: bytes "),
        (EXT + b"more", "BTF.ext: header: the parts fill "),
        (
            EXT[:32] + b"\x06\0\0\0" + EXT[36:],
            "BTF.ext: func_info: record size 6 is less than 8 or no multiple of 4",
        ),
        (
            EXT[:40] + b"\xff\xff\xff\xff" + EXT[44:],
            "BTF.ext: func_info: 4294967295 records of 8 bytes at byte 12",
        ),
        (EXT[:40] + bytes(4) + EXT[44:], "BTF.ext: func_info: 0 records of 8 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_malformed_ext(blob: bytes, want: str) -> None:
    with pytest.raises(InputError) as caught:
        BtfExt.parse(blob)
    assert str(caught.value).startswith(want)


def test_ext_has_core_relocations() -> None:
    ext = BtfExt.parse(section(".BTF.ext", "elf/unsupported.bpf.o"))
    kinds = [r.kind for _, records in ext.cores for r in records]
    assert kinds == [0, 6]
    assert [len(records) for _, records in ext.funcs] == [6]
