"""Definitions in .maps that are wrong, and how libbpf rounds and fills in those that are right."""

import struct
from collections.abc import Callable

import pytest

from bpf import elf
from bpf.btf_build import BtfBuilder
from bpf.errors import InputError
from bpf.maps import MapSpec
from tests.bpf.elf_kit import container

Members = list[tuple[str, int]]
Definition = Callable[[BtfBuilder, int], Members]


def number(b: BtfBuilder, i32: int, value: int) -> int:
    """__uint: a pointer to an array of `value` elements."""
    return b.ptr(b.array(i32, i32, value))


def numbers(**values: int) -> Definition:
    return lambda b, i32: [(name, number(b, i32, value)) for name, value in values.items()]


def load(
    *definitions: Definition,
    linkage: int = 1,
    size: int | None = None,
    relocations: bytes = b"",
    kind: str = "struct",
) -> tuple[MapSpec, ...]:
    """Loads an object with maps m0, m1, ... and one empty program."""
    b = BtfBuilder()
    i32 = b.int_("int", 4, 1)
    rows, at = [], 0
    names, symbols = b"\0p\0", bytes(24) + struct.pack("<IBBHQQ", 1, 0x12, 0, 1, 0, 16)
    for i, definition in enumerate(definitions):
        members = definition(b, i32)
        width = 8 * len(members)
        tid = getattr(b, kind)(
            "", width, [(name, of, 64 * n if kind == "struct" else 0) for n, (name, of) in enumerate(members)]
        )
        rows.append((b.var(f"m{i}", tid, linkage), at, width if size is None else size))
        symbols += struct.pack("<IBBHQQ", len(names), 0x11, 0, 2, at, width)
        names += f"m{i}\0".encode()
        at += width
    b.datasec(".maps", 0, rows)
    code = bytes.fromhex("b7000000000000009500000000000000")
    return elf.load(
        container(
            {
                "xdp": (1, 6, code),
                ".maps": (1, 3, bytes(at)),
                ".symtab": (2, 0, symbols),
                ".strtab": (3, 0, names),
                ".BTF": (1, 0, b.build().raw()),
                **({".rel.maps": (9, 0, relocations)} if relocations else {}),
            }
        )
    ).maps


def with_types(b: BtfBuilder, i32: int) -> Members:
    return [
        ("type", number(b, i32, 1)),
        ("max_entries", number(b, i32, 4)),
        ("key", b.ptr(i32)),
        ("value", b.ptr(b.struct("v", 24))),
    ]


def with_extra(*values: int) -> Definition:
    return lambda b, i32: [
        ("type", number(b, i32, 30)),
        ("map_extra", b.enum64("", [(f"V{v}", v) for v in values])),
    ]


def values_of(kind: int, target: Callable[[BtfBuilder, int], int], count: int = 0, **more: int) -> Definition:
    def define(b: BtfBuilder, i32: int) -> Members:
        rest = [(name, number(b, i32, value)) for name, value in more.items()]
        return [("type", number(b, i32, kind)), *rest, ("values", b.array(b.ptr(target(b, i32)), i32, count))]

    return define


def inner(b: BtfBuilder, i32: int) -> int:
    return b.struct("", 16, [("type", number(b, i32, 2), 0), ("max_entries", number(b, i32, 1), 64)])


def bad_inner(b: BtfBuilder, i32: int) -> int:
    return b.struct("", 16, [("type", number(b, i32, 12), 0), ("values", b.array(b.ptr(i32), i32, 0), 64)])


def relocation(at: int, symbol: int, kind: int = 2) -> bytes:
    return struct.pack("<QII", at, kind, symbol)


@pytest.mark.parametrize(
    ("definition", "want"),
    [
        (numbers(type=2, key_size=4, value_size=7, max_entries=3), (2, 4, 7, 3, 0)),
        (numbers(type=2, map_flags=0x400), (2, 0, 0, 0, 0x400)),
        (with_types, (1, 4, 24, 4, 0)),
        (numbers(type=27, max_entries=4096), (27, 0, 0, 4096, 0)),
        (numbers(type=27, max_entries=4097), (27, 0, 0, 8192, 0)),
        (numbers(type=27, max_entries=1), (27, 0, 0, 4096, 0)),
        (numbers(type=31, max_entries=12288), (31, 0, 0, 16384, 0)),
        (numbers(type=27), (27, 0, 0, 0, 0)),
        (numbers(type=4), (4, 4, 4, 1, 0)),
        (numbers(type=3, key_size=4, value_size=4, max_entries=2, pinning=1, numa_node=3), (3, 4, 4, 2, 0)),
        (values_of(12, inner, key_size=4, max_entries=2), (12, 4, 4, 2, 0)),
    ],
)
def test_definition(definition: Definition, want: tuple[int, int, int, int, int]) -> None:
    (spec,) = load(definition)
    assert (spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags) == want


def test_btf_types_are_kept_where_the_kernel_takes_them() -> None:
    (spec,) = load(with_types)
    assert spec.btf_key
    assert spec.btf_value


def test_extra() -> None:
    (spec,) = load(with_extra(5))
    assert spec.extra == 5


@pytest.mark.parametrize(
    ("definition", "want"),
    [
        (numbers(max_entries=1), "map m0: its definition has no type"),
        (numbers(type=1, colour=3), "map m0: unknown member 'colour' in its definition"),
        (lambda _, i32: [("type", i32)], "map m0: member type is INT, expected a pointer"),
        (lambda b, i32: [("type", b.ptr(i32))], "map m0: member type points to INT, expected an array"),
        (
            lambda b, i32: [*with_types(b, i32), ("key_size", number(b, i32, 8))],
            "map m0: key_size 8 conflicts with the 4 bytes of its type",
        ),
        (
            lambda b, i32: [("value_size", number(b, i32, 8)), *with_types(b, i32)],
            "map m0: the 24 bytes of type value conflict with value_size 8",
        ),
        (lambda b, i32: [*with_types(b, i32), ("key", i32)], "map m0: member key is INT, expected a pointer"),
        (with_extra(1, 2), "map m0: member map_extra is an enum of 2 values, expected 1"),
        (values_of(12, inner, 3), "map m0: values is not an array of no size"),
        (
            lambda b, i32: [("type", number(b, i32, 12)), ("values", b.array(i32, i32, 0))],
            "map m0: values holds INT, expected pointers",
        ),
        (values_of(1, inner), "map m0: values of a map of type 1 cannot point to STRUCT"),
        (values_of(3, inner), "map m0: values of a map of type 3 cannot point to STRUCT"),
        (
            values_of(12, inner, value_size=8),
            "map m0: value_size 8 conflicts with values, which have 4 bytes",
        ),
        (values_of(12, bad_inner), "map m0.inner: an inner map cannot have values"),
        (
            lambda b, i32: [*values_of(12, inner)(b, i32), ("max_entries", number(b, i32, 1))],
            "map m0: member values is not the last one",
        ),
        (numbers(type=26), "map m0: maps of type struct_ops are not supported"),
    ],
)
def test_bad_definition(definition: Definition, want: str) -> None:
    with pytest.raises(InputError) as caught:
        load(definition)
    assert str(caught.value) == f"object: {want}"


def test_bad_variables() -> None:
    with pytest.raises(
        InputError, match="map m0: a map must be a global, not hidden and not static variable"
    ):
        load(numbers(type=1), linkage=0)
    with pytest.raises(InputError, match=r"map m0: bytes 0\.\.99 are past the end of section \.maps"):
        load(numbers(type=1), size=99)
    with pytest.raises(InputError, match="map m0: its struct has 8 bytes, its variable 4"):
        load(numbers(type=1), size=4)
    with pytest.raises(InputError, match="map m0: its type is UNION, expected a struct"):
        load(numbers(type=1), kind="union")


# symbols: 1 is the program, 2 and 3 are the maps
PROGRAMS = values_of(3, lambda b, _: b.proto(0, []), key_size=4, max_entries=2)
MAPS = values_of(12, inner, key_size=4, max_entries=2)


def test_values() -> None:
    jumps, _ = load(PROGRAMS, numbers(type=1), relocations=b"")
    assert jumps.progs == ()


@pytest.mark.parametrize(
    ("relocations", "want"),
    [
        (relocation(0, 2), "section .rel.maps, relocation 0: byte -24 of the values of map m0 is no element"),
        (relocation(24, 2), "section .rel.maps, relocation 0: 'm0' in map m0 is no program"),
        (relocation(40, 1), "section .rel.maps, relocation 0: byte 40 belongs to no map with values"),
    ],
)
def test_bad_values(relocations: bytes, want: str) -> None:
    with pytest.raises(InputError) as caught:
        load(PROGRAMS, numbers(type=1, max_entries=2), relocations=relocations)
    assert str(caught.value) == f"object: {want}"


def test_values_of_maps() -> None:
    with pytest.raises(InputError, match="'p' in map m0 is no map"):
        load(MAPS, numbers(type=2), relocations=relocation(24, 1))
    outer, _ = load(MAPS, numbers(type=2), relocations=relocation(24, 3))
    assert outer.inner_maps == ((0, "m1"),)
    jumps, _ = load(PROGRAMS, numbers(type=2), relocations=relocation(24, 1))
    assert jumps.progs == ((0, "p"),)
