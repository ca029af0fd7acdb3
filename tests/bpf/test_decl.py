"""C declarations to prototypes and back."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf.btf_build import BtfBuilder
from bpf.decl import parse_decl, parse_type
from bpf.errors import InputError
from bpf.kfuncs import KFUNCS
from bpf.proto import CType, FuncProto, Param

U64 = CType("int", "u64", 64)


def test_a_whole_declaration() -> None:
    proto = parse_decl(
        "extern u64 okf_ptr(u64 a, struct okf_pair *f, const void *p, bool x, enum e k) __ksym;"
    )
    pair, const_void = CType("struct", "struct okf_pair"), CType("void", "void", const=True)
    assert proto == FuncProto(
        "okf_ptr",
        U64,
        (
            Param("a", U64),
            Param("f", CType("ptr", bits=64, to=pair)),
            Param("p", CType("ptr", bits=64, to=const_void)),
            Param("x", CType("bool", "bool", 8)),
            Param("k", CType("enum", "enum e", 32)),
        ),
    )
    assert str(proto) == "u64 okf_ptr(u64 a, struct okf_pair *f, const void *p, bool x, enum e k)"


@pytest.mark.parametrize(
    ("text", "name", "bits", "signed"),
    [
        ("int", "int", 32, True),
        ("unsigned", "unsigned int", 32, False),
        ("long unsigned int", "unsigned long", 64, False),
        ("long", "long", 64, True),
        ("unsigned long long", "unsigned long long", 64, False),
        ("short int", "short", 16, True),
        ("unsigned short", "unsigned short", 16, False),
        ("char", "char", 8, True),
        ("signed char", "signed char", 8, True),
        ("unsigned char", "unsigned char", 8, False),
        ("unsigned __int128", "unsigned __int128", 128, False),
        ("__u32", "__u32", 32, False),
        ("s8", "s8", 8, True),
        ("size_t", "size_t", 64, False),
        ("__be16", "__be16", 16, False),
        ("uint8_t", "uint8_t", 8, False),
    ],
)
def test_integers(text: str, name: str, bits: int, signed: bool) -> None:
    assert parse_type(text) == CType("int", name, bits, signed)


def test_pointers_and_qualifiers() -> None:
    assert str(parse_type("const struct x **")) == "const struct x **"
    assert parse_type("void *const").const
    assert parse_decl("void f(u8 buf[16], some_t *p)").params[0].type == parse_type("u8 *")
    assert parse_decl("int f(void)").params == parse_decl("int f()").params == ()
    assert len(parse_decl("int printk(const char *fmt, ...)").params) == 1
    assert parse_decl("long f(int, long)").params[0].name == ""


def test_kfuncs_of_the_table() -> None:
    for kfunc in KFUNCS.values():
        proto = parse_decl(kfunc.text)
        assert proto == kfunc.proto
        assert parse_decl(str(proto)) == proto


@pytest.mark.parametrize(
    ("text", "column", "why"),
    [
        ("u46 f(int a)", 1, "unknown type 'u46'"),
        ("int f(int a, void b)", 14, "a parameter cannot be void"),
        ("int f(int a", 12, "expected ',' or ')', not the end of the line"),
        ("long long long f()", 1, "'long long long' is no type of C"),
        ("unsigned signed f()", 1, "'unsigned signed' is no type of C"),
        ("int f(u64 a,)", 13, "expected a type, not ')'"),
        ("int (f)(void)", 5, "expected a name of a function, not '('"),
        ("int f(struct *p)", 14, "expected a name of a struct, not '*'"),
        ("int f(int a) x", 14, "unexpected 'x' behind a complete line"),
        ("void " + "*" * 17 + "f()", 6, "more than 16 pointers to pointers"),
        ("int f(" + ", ".join(["int a"] * 65) + ")", 455, "more than 64 parameters"),
    ],
)
def test_errors(text: str, column: int, why: str) -> None:
    with pytest.raises(InputError) as error:
        parse_decl(text, "x")
    assert str(error.value) == f"x: line 1, column {column}: {why}"


VALUES = st.sampled_from(
    [*map(parse_type, ("int", "u8", "s16", "unsigned long", "bool", "const struct a", "enum b", "union c"))]
)
POINTEES = VALUES | st.just(CType("void", "void"))
TYPES = VALUES | st.recursive(
    POINTEES, lambda to: to.map(lambda t: CType("ptr", bits=64, to=t)), max_leaves=3
).filter(lambda t: t.kind != "void")
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True).filter(
    lambda n: (
        n not in ("int", "const", "long", "char", "short", "signed", "void", "static", "global", "inline")
    )
)
PROTOS = st.builds(FuncProto, NAMES, TYPES, st.lists(st.builds(Param, NAMES, TYPES), max_size=12).map(tuple))


@settings(max_examples=60)
@given(PROTOS)
def test_round_trip(proto: FuncProto) -> None:
    assert parse_decl(str(proto)) == proto


@settings(max_examples=60)
@given(PROTOS)
def test_round_trip_through_btf(proto: FuncProto) -> None:
    builder = BtfBuilder()
    tid = builder.function(proto)
    assert str(builder.build().prototype(tid)) == str(proto)


@settings(max_examples=60)
@given(st.text(alphabet="intuv64 fo(),*[]struc_x;.\t0", max_size=40))
def test_only_input_errors(text: str) -> None:
    with suppress(InputError):
        assert str(parse_decl(text))
