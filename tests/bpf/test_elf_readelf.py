"""Sections, symbols and relocations as binutils' readelf sees them: recorded for two objects, live for all where installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bpf import elf_file
from bpf.elf_file import ElfObject

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
PATHS = sorted([*FIXTURES.glob("objects/*.o"), *FIXTURES.glob("elf/*.o")])
RECORDED = sorted((FIXTURES / "elf").glob("*.readelf.txt"))

SECTION = re.compile(
    r"\s*\[ *(\d+)\] (\S*) +(\S+) +[0-9a-f]{16} [0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+) +[A-Zxlo]* +(\d+) +(\d+) +\d+$"
)
SYMBOL = re.compile(r" *(\d+): ([0-9a-f]{16}) +(\w+) (\w+) +(\w+) +(\w+) +(\w+)(?: (\S*))?$")
RELOCATION = re.compile(r"([0-9a-f]{16})  ([0-9a-f]{8})([0-9a-f]{8}) ")
TABLE = re.compile(r"Relocation section '(\S+)'")

TYPES = {"NULL": 0, "PROGBITS": 1, "SYMTAB": 2, "STRTAB": 3, "NOBITS": 8, "REL": 9}
BINDS = {"LOCAL": 0, "GLOBAL": 1, "WEAK": 2}
KINDS = {"NOTYPE": 0, "OBJECT": 1, "FUNC": 2, "SECTION": 3, "FILE": 4}
PLACES = {"UND": 0, "ABS": 0xFFF1}

Facts = tuple[list[tuple[object, ...]], list[tuple[object, ...]], list[tuple[object, ...]]]


def theirs(text: str) -> Facts:
    """What a run of `readelf -W -S -s -r` says: sections, symbols, relocations."""
    sections: list[tuple[object, ...]] = []
    symbols: list[tuple[object, ...]] = []
    relocations: list[tuple[object, ...]] = []
    table = ""
    for line in text.splitlines():
        if m := SECTION.match(line):
            kind = TYPES.get(m[3])
            sections.append((int(m[1]), m[2], kind, int(m[4], 16), int(m[5], 16), int(m[6]), int(m[7])))
        elif m := SYMBOL.match(line):
            place = PLACES[m[7]] if m[7] in PLACES else int(m[7])
            size = int(m[3], 0)
            symbols.append(
                (
                    int(m[1]),
                    int(m[2], 16),
                    size,
                    KINDS[m[4]],
                    BINDS[m[5]],
                    m[6] in ("HIDDEN", "INTERNAL"),
                    place,
                    m[8] or "",
                )
            )
        elif m := TABLE.match(line):
            table = m[1].removeprefix(".rel")
        elif m := RELOCATION.match(line):
            relocations.append((table, int(m[1], 16), int(m[3], 16), int(m[2], 16)))
    return sections, symbols, sorted(relocations, key=repr)


def ours(elf: ElfObject) -> Facts:
    sections: list[tuple[object, ...]] = [
        (
            s.index,
            s.name,
            s.type if s.type in TYPES.values() else None,
            len(s.data),
            s.entsize,
            s.link,
            s.info,
        )
        for s in elf.sections
        if s.index
    ]
    symbols: list[tuple[object, ...]] = [
        (s.index, s.value, s.size, s.type, s.bind, s.hidden, s.section, s.name) for s in elf.symbols
    ]
    relocations: list[tuple[object, ...]] = [
        (elf.sections[i].name, r.offset, r.type, r.symbol) for i, rs in elf.relocations.items() for r in rs
    ]
    return sections, symbols, sorted(relocations, key=repr)


def compare(text: str, elf: ElfObject) -> None:
    sections, symbols, relocations = theirs(text)
    assert sections
    assert symbols
    mine = ours(elf)
    assert mine[0] == [s for s in sections if s[0]]
    assert mine[1] == symbols
    assert mine[2] == relocations


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda p: p.name)
def test_as_recorded(recorded: Path) -> None:
    (path,) = [p for p in PATHS if p.name == recorded.name.replace(".readelf.txt", ".bpf.o")]
    compare(recorded.read_text(), elf_file.read(path.read_bytes(), path.name))


def test_live() -> None:
    """Every object; without readelf, that every relocation and symbol has a place in its section."""
    readelf = shutil.which("readelf")
    for path in PATHS:
        elf = elf_file.read(path.read_bytes(), path.name)
        for symbol in elf.symbols:
            assert symbol.section >= len(elf.sections) or symbol.value + symbol.size <= max(
                len(elf.sections[symbol.section].data), 0
            )
        if readelf:
            answer = subprocess.run(
                [readelf, "-W", "-S", "-s", "-r", str(path)], capture_output=True, text=True, check=True
            )
            compare(answer.stdout, elf)
