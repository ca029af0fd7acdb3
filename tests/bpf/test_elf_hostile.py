"""Broken objects: each gives one line that says what is wrong, whatever was broken; nothing hangs or raises otherwise."""

import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import elf, elf_file
from bpf.btf import Btf
from bpf.btf_build import BtfBuilder
from bpf.btf_ext import BtfExt
from bpf.btf_types import Kind
from bpf.elf import Object
from bpf.errors import InputError
from bpf.proto import CType, FuncProto, Param
from tests.bpf.elf_kit import SHDR, container

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
GOOD = (FIXTURES / "objects/globals_maps8.bpf.o").read_bytes()
KFUNCS = (FIXTURES / "objects/kfunc_many_args.bpf.o").read_bytes()
FEATURES = (FIXTURES / "elf/loader_features.bpf.o").read_bytes()


class Patch:
    """An object to be broken: sections by name, fields by place."""

    def __init__(self, blob: bytes = GOOD) -> None:
        self.blob = bytearray(blob)
        self.sections = {s.name: s for s in elf_file.read(blob, "good").sections}
        self.symbols = {s.name: s for s in elf_file.read(blob, "good").symbols}

    def header(self, name: str) -> int:
        """Where the section's header is."""
        return int(struct.unpack_from("<Q", self.blob, 40)[0]) + 64 * self.sections[name].index

    def start(self, name: str) -> int:
        """Where the section's bytes are."""
        return int(struct.unpack_from("<Q", self.blob, self.header(name) + 24)[0])

    def put(self, at: int, form: str, *values: int) -> "Patch":
        struct.pack_into(form, self.blob, at, *values)
        return self

    def section(self, name: str, field: int, value: int) -> "Patch":
        """Changes a field of a section header: 1 type, 4 offset, 5 size, 6 link, 7 info, 9 entry size."""
        fields = list(SHDR.unpack_from(self.blob, self.header(name)))
        fields[field] = value
        return self.put(self.header(name), SHDR.format, *fields)

    def replace(self, name: str, data: bytes) -> "Patch":
        """Gives a section other bytes, at the end of the file."""
        at = len(self.blob)
        self.blob += data
        return self.section(name, 4, at).section(name, 5, len(data))

    def symbol(self, name: str, form: str, at: int, value: int) -> "Patch":
        return self.put(self.start(".symtab") + 24 * self.symbols[name].index + at, form, value)

    def shorten(self, name: str) -> "Patch":
        """Takes the first letter of a section's name away."""
        return self.section(name, 0, SHDR.unpack_from(self.blob, self.header(name))[0] + 1)

    def rename(self, old: str, new: str) -> "Patch":
        """Renames a section or symbol to a name of the same length."""
        at = self.blob.index(old.encode() + b"\0", self.start(".strtab"))
        self.blob[at : at + len(new)] = new.encode()
        return self


def thirteen() -> bytes:
    u64 = CType("int", "u64", 64)
    builder = BtfBuilder()
    builder.function(FuncProto("too_many", u64, tuple(Param(f"a{i}", u64) for i in range(13))), 0)
    return builder.build().raw()


CASES: list[tuple[str, Callable[[], bytes | Patch], str]] = [
    ("empty", lambda: b"", "object: not an ELF file"),
    ("text", lambda: b"r0 = 0\nexit\n", "object: not an ELF file"),
    ("magic only", lambda: b"\x7fELF", "ELF header: truncated: 4 of 64 bytes"),
    ("half a header", lambda: GOOD[:40], "ELF header: truncated: 40 of 64 bytes"),
    (
        "x86-64",
        lambda: Patch().put(18, "<H", 62),
        "ELF header: made for another machine (EM_X86_64), expected EM_BPF",
    ),
    ("unknown machine", lambda: Patch().put(18, "<H", 60000), "made for another machine (60000)"),
    ("32 bits", lambda: Patch().put(4, "<B", 1), "a 32-bit ELF file"),
    ("class", lambda: Patch().put(4, "<B", 7), "unknown ELF class 7"),
    ("big-endian BPF", lambda: Patch().put(5, "<B", 2).put(18, ">H", 247), "a big-endian BPF object"),
    (
        "big-endian other",
        lambda: Patch().put(5, "<B", 2).put(18, ">H", 22),
        "a big-endian ELF file for another machine",
    ),
    ("byte order", lambda: Patch().put(5, "<B", 9), "unknown byte order 9"),
    ("executable", lambda: Patch().put(16, "<H", 2), "file type ET_EXEC, expected ET_REL"),
    ("no sections", lambda: Patch().put(60, "<H", 0), "no section headers"),
    ("section header size", lambda: Patch().put(58, "<H", 40), "section headers of 40 bytes"),
    ("section headers cut", lambda: GOOD[:-100], "section headers: truncated: "),
    ("section headers far away", lambda: Patch().put(40, "<Q", 1 << 63), "section headers: truncated: "),
    ("names nowhere", lambda: Patch().put(62, "<H", 200), "section names are in section 200"),
    ("section past the end", lambda: Patch().section(".text", 5, 1 << 40), "(.text): truncated: bytes "),
    ("section name", lambda: Patch().section(".text", 0, 1 << 30), "its name at byte 1073741824"),
    (
        "giant bss",
        lambda: Patch().section(".bss", 5, 1 << 50),
        "(.bss): 1125899906842624 bytes of zeros are more than",
    ),
    ("no symbols", lambda: Patch().section(".symtab", 1, 1), "no symbol table"),
    ("symbol size", lambda: Patch().section(".symtab", 9, 16), "section .symtab: "),
    (
        "symbol names nowhere",
        lambda: Patch().section(".symtab", 6, 77),
        "section .symtab: section 77 holds no symbol names",
    ),
    (
        "symbol name",
        lambda: Patch().symbol("transfer", "<I", 0, 1 << 20),
        "its name at byte 1048576 is not within",
    ),
    (
        "symbol section",
        lambda: Patch().symbol("transfer", "<H", 6, 222),
        "(transfer): it lies in section 222",
    ),
    (
        "function past the end",
        lambda: Patch().symbol("transfer", "<Q", 16, 1 << 20),
        "function transfer: bytes 0..1048576 reach past the end",
    ),
    (
        "half an instruction",
        lambda: Patch().symbol("transfer", "<Q", 16, 12),
        "function transfer: its 12 bytes at byte 0 are no whole",
    ),
    (
        "ragged code",
        lambda: Patch().section("syscall", 5, 1284),
        "section syscall: byte 1280: 4 bytes left over",
    ),
    (
        "unknown relocation",
        lambda: Patch().put(Patch().start(".relsyscall") + 8, "<I", 99),
        "section .relsyscall, relocation 0: unknown relocation type 99",
    ),
    (
        "relocation's symbol",
        lambda: Patch().put(Patch().start(".relsyscall") + 12, "<I", 9999),
        "symbol 9999 does not exist, there are",
    ),
    (
        "relocation past the end",
        lambda: Patch().put(Patch().start(".relsyscall"), "<Q", 1 << 32),
        "offset 4294967296 is past the end",
    ),
    ("relocation between", lambda: Patch().put(Patch().start(".relsyscall"), "<Q", 4), "does not fit opcode"),
    ("relocation of nothing", lambda: Patch().section(".relsyscall", 7, 88), "it relocates section 88"),
    ("relocation size", lambda: Patch().section(".relsyscall", 9, 24), "section .relsyscall: "),
    ("relocations with addends", lambda: Patch().section(".relsyscall", 1, 4), "relocations with addends"),
    (
        "undefined map",
        lambda: Patch().symbol("accounts", "<H", 6, 0),
        "no symbol for its variable 'accounts'",
    ),
    ("map without BTF", lambda: Patch().section(".BTF", 0, 0), "section .maps: no BTF describes the maps"),
    ("legacy maps", lambda: Patch().shorten(".maps"), "legacy map definitions are not supported"),
    (
        "truncated BTF",
        lambda: Patch().section(".BTF", 5, 20),
        "object: section .BTF: header: truncated: 20 of 24 bytes",
    ),
    ("cut BTF", lambda: Patch().section(".BTF", 5, 100), "section .BTF: header: the types (offset 0, "),
    ("truncated BTF.ext", lambda: Patch().section(".BTF.ext", 5, 20), "section .BTF.ext: header: truncated"),
    ("cut BTF.ext", lambda: Patch().section(".BTF.ext", 5, 60), "section .BTF.ext: func_info: bytes "),
    (
        "13 arguments",
        lambda: Patch().replace(".BTF", thirteen()),
        "section .BTF: type 3: function too_many has 13 arguments, at most 12 are possible",
    ),
    (
        "unknown section",
        lambda: Patch().rename("syscall", "sYscall"),
        "section sYscall: no program type has such a section",
    ),
    (
        "undefined function",
        lambda: Patch(KFUNCS).rename("okf_sum6", "okf_sum!"),
        "no BTF says that the kernel provides it",
    ),
]


@pytest.mark.parametrize(
    ("make", "want"), [(make, want) for _, make, want in CASES], ids=[name for name, _, _ in CASES]
)
def test_broken(make: Callable[[], bytes | Patch], want: str) -> None:
    made = make()
    with pytest.raises(InputError) as caught:
        elf.load(bytes(made.blob) if isinstance(made, Patch) else made)
    text = str(caught.value)
    assert want in text
    assert text.startswith("object: ")
    assert "\n" not in text


def with_dangling_prototype(name: str) -> bytes:
    """An object whose first function has a random prototype, as clang 23 -gline-tables-only writes it."""
    blob = (FIXTURES / f"objects/{name}.bpf.o").read_bytes()
    btf = elf.load(blob).raw_btf
    assert btf is not None
    types = list(btf.types)
    tid = next(tid for tid, t in enumerate(types) if t.kind is Kind.FUNC)
    types[tid] = replace(types[tid], type=594328208)
    return bytes(Patch(blob).replace(".BTF", replace(btf, types=tuple(types)).raw()).blob)


def test_dangling_btf_is_dropped_where_it_is_not_needed() -> None:
    loaded = elf.load(with_dangling_prototype("sched_slice8"))
    assert loaded.btf is None
    assert "FUNC refers to type id 594328208" in loaded.btf_refused
    assert loaded.program("sched_slice").func_info == ()
    with pytest.raises(InputError, match="FUNC refers to type id 594328208"):
        elf.load(with_dangling_prototype("globals_maps8"))  # its maps are defined by BTF


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.o: No such file or directory"):
        elf.load(tmp_path / "no.o")
    with pytest.raises(InputError, match="Is a directory"):
        elf.load(tmp_path)
    with pytest.raises(InputError, match="no file name"):
        elf.load("a\0b")


def attempt(blob: bytes) -> Object | str:
    """What comes of a broken object: an `Object`, or the one line of an InputError. Anything else escapes."""
    began = time.process_time()
    try:
        found: Object | str = elf.load(blob)
    except InputError as error:
        found = str(error)
        assert "\n" not in found
    assert time.process_time() - began < 5
    return found


SOURCES = (GOOD, KFUNCS, FEATURES)


@settings(max_examples=60)
@given(st.sampled_from(SOURCES), st.floats(0, 1))
def test_any_truncation_is_an_error(blob: bytes, part: float) -> None:
    """The section headers are at the end of the file."""
    assert isinstance(attempt(blob[: int((len(blob) - 1) * part)]), str)


@settings(max_examples=120)
@given(
    st.sampled_from(SOURCES),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_any_bytes_changed(blob: bytes, changes: list[tuple[int, int]]) -> None:
    broken = bytearray(blob)
    for at, value in changes:
        broken[at % len(broken)] = value
    attempt(bytes(broken))


@settings(max_examples=100)
@given(
    st.sampled_from([".BTF", ".BTF.ext", ".symtab", ".relsyscall", ".strtab", "syscall"]),
    st.integers(0, 1 << 12),
    st.sampled_from([0, 1, 0x7F, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 0x0F000000, 0x04000001]),
)
def test_words_changed_in_a_section(name: str, at: int, value: int) -> None:
    patch = Patch()
    size = len(patch.sections[name].data)
    attempt(bytes(patch.put(patch.start(name) + at * 4 % (size - 3), "<I", value).blob))


@settings(max_examples=100)
@given(st.integers(0, 30), st.integers(0, 9), st.integers(0, (1 << 32) - 1))
def test_section_headers_changed(index: int, field: int, value: int) -> None:
    patch = Patch(FEATURES)
    name = list(patch.sections)[index % len(patch.sections)]
    attempt(bytes(patch.section(name, field, value).blob))


def test_deep_chain_of_calls_is_no_recursion() -> None:
    """Ten thousand functions, each calling the next."""
    count = 10_000
    call = bytes.fromhex("8510000000000000")
    code = b"".join(call + bytes.fromhex("9500000000000000") for _ in range(count))
    # each call goes to the function behind it (imm 1); the last one calls itself
    code = b"".join(
        code[at : at + 4] + struct.pack("<i", 1) + code[at + 8 : at + 16] for at in range(0, len(code), 16)
    )
    code = code[:-12] + struct.pack("<i", -1) + code[-8:]
    symbols = bytes(24) + b"".join(
        struct.pack("<IBBHQQ", 1, 0x12 if i == 0 else 0x02, 0, 1, 16 * i, 16) for i in range(count)
    )
    obj = elf.load(container({"xdp": (1, 6, code), ".symtab": (2, 0, symbols), ".strtab": (3, 0, b"\0f\0")}))
    (program,) = obj.programs
    assert len(program.insns) == 2 * count


def test_many_programs_do_not_multiply_the_code() -> None:
    """A thousand programs that all call the same big function are refused before they fill the memory."""
    big = bytes.fromhex("b700000000000000") * 20_000 + bytes.fromhex("9500000000000000")
    mains = b"".join(
        bytes.fromhex("85100000") + struct.pack("<i", -2 * i - 1 - 20_001) + bytes.fromhex("9500000000000000")
        for i in range(1000)
    )
    rows = [(0x02, 0, len(big))] + [(0x12, len(big) + 16 * i, 16) for i in range(1000)]
    symbols = bytes(24) + b"".join(
        struct.pack("<IBBHQQ", 1, info, 0, 1, value, size) for info, value, size in rows
    )
    found = attempt(
        container({"xdp": (1, 6, big + mains), ".symtab": (2, 0, symbols), ".strtab": (3, 0, b"\0f\0")})
    )
    assert isinstance(found, str)
    assert "all programs together have more than" in found


@pytest.mark.parametrize("parse", [Btf.parse, BtfExt.parse])
@settings(max_examples=100)
@given(data=st.data())
def test_any_btf_bytes(parse: Callable[[bytes], object], data: st.DataObject) -> None:
    good = Patch().sections[".BTF" if parse == Btf.parse else ".BTF.ext"].data
    broken = bytearray(good[: data.draw(st.integers(0, len(good)))])
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), max_size=4)):
        if broken:
            broken[at % len(broken)] = value
    with suppress(InputError):
        parse(bytes(broken))
