"""BTF as bpftool reads it: recorded for some objects, and live for all where bpftool is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bpf import elf_file
from bpf.btf import Btf, BtfType, Kind

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
PATHS = {
    p.name.split(".bpf")[0] + p.name.split(".bpf")[1]: p
    for p in [*FIXTURES.glob("objects/*.o"), *FIXTURES.glob("elf/*.o")]
}
RECORDED = sorted((FIXTURES / "btf").glob("*.txt"))

LINKAGE = ("static", "global", "extern")
ENCODING = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}
MODIFIERS = (Kind.PTR, Kind.TYPEDEF, Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG)


def quoted(name: str) -> str:
    return f"'{name or '(anon)'}'"


def fields(t: BtfType) -> str:  # noqa: C901 - one case a kind
    """What bpftool writes behind a type's name."""
    if t.kind in MODIFIERS:
        return f"type_id={t.type}"
    match t.kind:
        case Kind.INT:
            return (
                f"size={t.size} bits_offset={t.bit_offset} nr_bits={t.bits} encoding={ENCODING[t.encoding]}"
            )
        case Kind.ARRAY:
            return f"type_id={t.type} index_type_id={t.index_type} nr_elems={t.count}"
        case Kind.STRUCT | Kind.UNION:
            return f"size={t.size} vlen={len(t.members)}"
        case Kind.ENUM | Kind.ENUM64:
            return f"encoding={'SIGNED' if t.kind_flag else 'UNSIGNED'} size={t.size} vlen={len(t.values)}"
        case Kind.FWD:
            return f"fwd_kind={'union' if t.kind_flag else 'struct'}"
        case Kind.FUNC:
            return f"type_id={t.type} linkage={LINKAGE[t.linkage]}"
        case Kind.FUNC_PROTO:
            return f"ret_type_id={t.type} vlen={len(t.params)}"
        case Kind.VAR:
            return f"type_id={t.type}, linkage={LINKAGE[t.linkage]}"
        case Kind.DATASEC:
            return f"size={t.size} vlen={len(t.vars)}"
        case Kind.FLOAT:
            return f"size={t.size}"
        case Kind.DECL_TAG:
            return f"type_id={t.type} component_idx={t.component}"
    raise AssertionError(t.kind)


def dump(btf: Btf) -> list[str]:
    """The lines of `bpftool btf dump file FILE format raw`."""
    lines = []
    for tid, t in enumerate(btf.types[1:], 1):
        lines.append(f"[{tid}] {t.kind.name} {quoted(t.name)} {fields(t)}")
        widths = [f" bitfield_size={m.bits}" if m.bits else "" for m in t.members]
        lines += [
            f"\t{quoted(m.name)} type_id={m.type} bits_offset={m.offset}{w}"
            for m, w in zip(t.members, widths, strict=True)
        ]
        suffix = "" if t.kind is Kind.ENUM else "LL" if t.kind_flag else "ULL"
        lines += [f"\t{quoted(v.name)} val={v.value}{suffix}" for v in t.values]
        lines += [f"\t{quoted(p.name)} type_id={p.type}" for p in t.params]
        for v in t.vars:
            target = btf.types[v.type]
            lines.append(
                f"\ttype_id={v.type} offset={v.offset} size={v.size} ({target.kind.name} {quoted(target.name)})"
            )
    return lines


def ours(path: Path) -> list[str] | None:
    section = elf_file.read(path.read_bytes(), path.name).find(".BTF")
    return dump(Btf.parse(section.data)) if section else None


def lines_of(text: str) -> list[str]:
    """Without what only some versions write."""
    return [re.sub(r" kind_flag=\d", "", line) for line in text.splitlines()]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda p: p.stem)
def test_as_recorded(recorded: Path) -> None:
    (path,) = [p for p in PATHS.values() if p.name == f"{recorded.stem}.bpf.o"]
    assert ours(path) == lines_of(recorded.read_text())


def test_recordings_have_every_kind() -> None:
    text = "\n".join(p.read_text() for p in RECORDED)
    assert all(f"] {kind.name} " in text for kind in Kind if kind is not Kind.VOID)


def test_live() -> None:
    """Every object's BTF; without bpftool, that the writer gives back what was read."""
    bpftool = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin:/sbin")
    for path in PATHS.values():
        mine = ours(path)
        if mine is None:
            assert path.name == "rej_no_btf.bpf.o"
            continue
        if bpftool:
            answer = subprocess.run(
                [bpftool, "btf", "dump", "file", str(path), "format", "raw"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert mine == lines_of(answer.stdout), path.name
        section = elf_file.read(path.read_bytes(), path.name).find(".BTF")
        assert section
        assert Btf.parse(section.data).raw() == section.data
