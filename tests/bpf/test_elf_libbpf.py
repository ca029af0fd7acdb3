"""The loader against libbpf itself: instructions, maps and BTF of every object, recorded and, where installed, live."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from bpf import elf, progtypes
from bpf.codec import encode
from tests.bpf import libbpf_kit

RECORDED: dict[str, Any] = json.loads(libbpf_kit.RECORDED.read_text())["objects"]
PATHS = {p.name: p for p in [*libbpf_kit.OBJECTS, *libbpf_kit.FEATURES]}


def ours(path: Path) -> dict[str, Any]:
    obj = elf.load(path)
    programs = {
        p.name: {
            "type": progtypes.NUMBERS[p.prog_type],
            "attach": p.expected_attach_type,
            "insns": encode(p.insns).hex(),
        }
        for p in obj.programs
    }
    maps = [
        [
            m.name,
            int(m.type),
            m.key_size,
            m.value_size,
            0 if m.type == libbpf_kit.PERF_EVENT_ARRAY else m.max_entries,
            m.flags,
            m.btf_key,
            m.btf_value,
        ]
        for m in obj.maps
    ]
    return {
        "programs": programs,
        "maps": maps,
        "btf": hashlib.sha256(obj.btf.raw() if obj.btf else b"").hexdigest(),
    }


def compare(theirs: dict[str, Any], mine: dict[str, Any]) -> None:
    for name, program in theirs["programs"].items():
        assert libbpf_kit.words(mine["programs"][name]["insns"]) == libbpf_kit.words(program["insns"]), name
        assert mine["programs"][name] == program, name
    assert mine["maps"] == theirs["maps"]
    assert mine["btf"] == theirs["btf"]


@pytest.mark.parametrize("name", [n for n in RECORDED if not n.startswith("rej_naked")])
def test_as_recorded(name: str) -> None:
    compare(RECORDED[name], ours(PATHS[name]))


def test_refused_btf_changes_nothing_else() -> None:
    """libbpf keeps the BTF in its hands, but the kernel takes the program without it; here it is dropped at once."""
    name = "rej_naked_btf.bpf.o"
    mine = ours(PATHS[name])
    assert mine["programs"] == RECORDED[name]["programs"]
    assert elf.load(PATHS[name]).btf_refused == "type 4 (FUNC second_of_two): Invalid arg#1"


def test_recording_is_what_this_machines_libbpf_says() -> None:
    """Every object of fixtures/objects is recorded; where libbpf is installed, its answers are the recorded ones."""
    library = libbpf_kit.find()
    for path in libbpf_kit.OBJECTS:
        assert RECORDED[path.name]["programs"]
        if library:
            assert libbpf_kit.ask(library, path) == RECORDED[path.name], path.name
