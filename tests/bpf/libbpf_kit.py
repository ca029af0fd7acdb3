"""Asks libbpf itself how it links an object: it is made to write a loader program, which needs no kernel.

`python -m tests.bpf.libbpf_kit [LIBRARY]` records its answers in fixtures/elf/libbpf.json.
"""

import ctypes
import ctypes.util
import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = sorted((ROOT / "fixtures/objects").glob("*.o"))
FEATURES = sorted((ROOT / "fixtures/elf").glob("*.o"))
RECORDED = ROOT / "fixtures/elf/libbpf.json"

PERF_EVENT_ARRAY = 4

_POINTER = ctypes.c_void_p
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "libbpf_version_string": (ctypes.c_char_p, []),
    "libbpf_set_print": (_POINTER, [_POINTER]),
    "bpf_object__open_file": (_POINTER, [ctypes.c_char_p, _POINTER]),
    "bpf_object__gen_loader": (ctypes.c_int, [_POINTER, _POINTER]),
    "bpf_object__load": (ctypes.c_int, [_POINTER]),
    "bpf_object__close": (None, [_POINTER]),
    "bpf_object__btf": (_POINTER, [_POINTER]),
    "btf__raw_data": (_POINTER, [_POINTER, _POINTER]),
    "bpf_object__next_program": (_POINTER, [_POINTER, _POINTER]),
    "bpf_program__name": (ctypes.c_char_p, [_POINTER]),
    "bpf_program__insns": (_POINTER, [_POINTER]),
    "bpf_program__insn_cnt": (ctypes.c_size_t, [_POINTER]),
    "bpf_program__type": (ctypes.c_int, [_POINTER]),
    "bpf_program__expected_attach_type": (ctypes.c_int, [_POINTER]),
    "bpf_object__next_map": (_POINTER, [_POINTER, _POINTER]),
    "bpf_map__name": (ctypes.c_char_p, [_POINTER]),
    "bpf_map__type": (ctypes.c_int, [_POINTER]),
    "bpf_map__key_size": (ctypes.c_uint32, [_POINTER]),
    "bpf_map__value_size": (ctypes.c_uint32, [_POINTER]),
    "bpf_map__max_entries": (ctypes.c_uint32, [_POINTER]),
    "bpf_map__map_flags": (ctypes.c_uint32, [_POINTER]),
    "bpf_map__btf_key_type_id": (ctypes.c_uint32, [_POINTER]),
    "bpf_map__btf_value_type_id": (ctypes.c_uint32, [_POINTER]),
}


class _LoaderOptions(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data", _POINTER),
        ("insns", _POINTER),
        ("data_sz", ctypes.c_uint32),
        ("insns_sz", ctypes.c_uint32),
    )


def find(name: str | None = None) -> ctypes.CDLL | None:
    """The library, when this machine has one."""
    name = name or ctypes.util.find_library("bpf")
    if name is None:
        return None
    library = ctypes.CDLL(name)
    for function, (result, arguments) in _FUNCTIONS.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    library.libbpf_set_print(None)
    return library


def _insns(code: bytes) -> str:
    """Hex of the instructions, as bpf.elf writes them: map references with indices, kernel functions without a number."""
    out = bytearray(code)
    for at in range(0, len(code), 8):
        opcode, registers = code[at], code[at + 1]
        source = {5: 1, 6: 2}.get(registers >> 4)
        if opcode == 0x18 and source:
            out[at + 1] = registers & 15 | source << 4
        if opcode == 0x85 and registers >> 4 == 2:
            out[at + 2 : at + 8] = bytes(6)
    return out.hex()


def ask(library: ctypes.CDLL, path: Path) -> dict[str, Any]:
    """{"programs": {name: {type, attach, insns}}, "maps": [[name, type, key, value, entries, flags, btf key, btf value]], "btf": SHA-256}."""
    obj = library.bpf_object__open_file(str(path).encode(), None)
    assert obj, f"libbpf does not open {path.name}"
    options = _LoaderOptions(sz=ctypes.sizeof(_LoaderOptions))
    assert library.bpf_object__gen_loader(obj, ctypes.byref(options)) == 0
    library.bpf_object__load(obj)
    programs: dict[str, Any] = {}
    at = None
    while at := library.bpf_object__next_program(obj, at):
        code = ctypes.string_at(library.bpf_program__insns(at), 8 * library.bpf_program__insn_cnt(at))
        programs[library.bpf_program__name(at).decode()] = {
            "type": library.bpf_program__type(at),
            "attach": library.bpf_program__expected_attach_type(at),
            "insns": _insns(code),
        }
    maps = []
    at = None
    while at := library.bpf_object__next_map(obj, at):
        numbers = [
            getattr(library, f"bpf_map__{field}")(at)
            for field in (
                "type",
                "key_size",
                "value_size",
                "max_entries",
                "map_flags",
                "btf_key_type_id",
                "btf_value_type_id",
            )
        ]
        if numbers[0] == PERF_EVENT_ARRAY:
            numbers[3] = 0  # one entry a CPU, counted when the map is created
        name = library.bpf_map__name(at).decode()
        # it puts the object's name in front of its own maps' names
        maps.append([name[name.index(".") :] if "." in name else name, *numbers])
    size = ctypes.c_uint32()
    btf = library.bpf_object__btf(obj)
    raw = ctypes.string_at(library.btf__raw_data(btf, ctypes.byref(size)), size.value) if btf else b""
    library.bpf_object__close(obj)
    return {"programs": programs, "maps": maps, "btf": hashlib.sha256(raw).hexdigest()}


def words(code: str) -> list[tuple[Any, ...]]:
    """Hex of instructions as fields, for readable differences."""
    return list(struct.iter_unpack("<BBhi", bytes.fromhex(code)))


if __name__ == "__main__":
    found = find(sys.argv[1] if len(sys.argv) > 1 else None)
    assert found
    # other_sections holds what libbpf does not link, unsupported what needs a kernel's answers
    paths = [
        *OBJECTS,
        *(p for p in FEATURES if p.name.split(".")[0] not in ("other_sections", "unsupported")),
    ]
    answers = {p.name: ask(found, p) for p in paths}
    # a loader program leaves it to the kernel whether a weak function is there
    del answers["loader_features.bpf.o"]["programs"]["use_kfuncs"]
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(answer)}" for name, answer in answers.items())
    version = found.libbpf_version_string().decode()
    RECORDED.write_text(f'{{"version": {json.dumps(version)}, "objects": {{\n{lines}\n}}}}\n')
