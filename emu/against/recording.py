"""Recordings of real kernels: JSON with the functions of a program, their addresses, calls and pointers.

Forms: a recording of fixtures/golden (`expect.jited`), the `jited` of `bpfemu batch` and `bpfemu jit --json`, several
kernels side by side (`got`), and functions with a table of symbols by address (`calls`).
"""

from collections.abc import Mapping
from typing import Final

from bpf.errors import InputError
from emu.against.code import FUNCTION, MAP, MAP_ID, Foreign, Listing, Ref, RefKind

_POINTERS: Final[dict[str, RefKind]] = {"map": "map", "mapval": "mapval", "func": "func", "symbol": "symbol"}


def one_of(file: str, records: list[object], program: str) -> object:
    """The recording of this program. Raises InputError when there is not exactly one."""
    if len(records) == 1:
        return records[0]
    named = [one for one in records if isinstance(one, dict) and one.get("name") == program]
    if len(named) != 1:
        raise InputError(file, "", f"holds {len(records)} recordings, {len(named)} of them named {program!r}")
    return named[0]


def holder(record: Mapping[str, object]) -> Mapping[str, object]:
    """The part of a recording that has `jited`: itself, its `expect`, or the first kernel of `got` that has code."""
    expect, got = record.get("expect"), record.get("got")
    if isinstance(expect, dict) and "jited" in expect:
        return expect
    if "jited" not in record and isinstance(got, dict):
        found = (one for one in got.values() if isinstance(one, dict) and one.get("jited"))
        return next(found, record)
    jit = record.get("jit")
    return jit if "jited" not in record and isinstance(jit, dict) else record


def read(file: str, record: object) -> Listing:
    """The functions of a recording. Raises InputError."""
    if not isinstance(record, dict):
        raise InputError(file, "", "holds neither bpftool's JSON nor a recording")
    part = holder(record)
    jited = part.get("jited")
    if not isinstance(jited, list):
        raise InputError(file, "field jited", "must be a list of functions")
    functions = tuple(_function(file, f"jited[{n}]", one) for n, one in enumerate(jited))
    profile = record.get("profile")
    return Listing(
        "a recording",
        functions,
        _symbols(file, part.get("calls")),
        profile if isinstance(profile, str) else "",
    )


def _function(file: str, where: str, one: object) -> Foreign:
    if not isinstance(one, dict) or not isinstance(one.get("hex"), str):
        raise InputError(file, f"field {where}.hex", "must be the code in hex")
    try:
        code = bytes.fromhex(one["hex"])
    except ValueError:
        raise InputError(file, f"field {where}.hex", "must be the code in hex") from None
    addr = _address(file, f"field {where}.addr", one.get("addr", one.get("ksym")))
    name = one.get("name")
    calls = _calls(file, where, one.get("calls"))
    refs = [Ref(off + 1, 4, _call_kind(code, off), target) for off, target in (calls or {}).items()]
    refs += _pointers(file, where, one.get("ptrs"))
    for ref in refs:
        if not 0 <= ref.off <= len(code) - ref.size:
            raise InputError(file, f"field {where}", f"a field at offset {ref.off} of {len(code)} bytes")
    return Foreign(name if isinstance(name, str) else "", code, addr, calls, tuple(refs))


def _call_kind(code: bytes, off: int) -> RefKind:
    return "jump" if 0 <= off < len(code) and code[off] == 0xE9 else "call"


def _address(file: str, where: str, value: object) -> int | None:
    if value is None:
        return None
    try:
        addr = value if isinstance(value, int) else int(str(value), 0)
    except ValueError:
        addr = -1
    if isinstance(value, bool) or not 0 <= addr < 1 << 64:
        raise InputError(file, where, "must be an address")
    return addr


def _calls(file: str, where: str, value: object) -> dict[int, str] | None:
    if value is None:
        return None
    out = {}
    for one in value if isinstance(value, list) else [None]:
        if (
            not isinstance(one, dict)
            or not isinstance(one.get("off"), int)
            or not isinstance(one.get("target"), str)
        ):
            raise InputError(file, f"field {where}.calls", "must be objects with off and target")
        out[one["off"]] = one["target"]
    return out


def _pointers(file: str, where: str, value: object) -> list[Ref]:
    if value is None:
        return []
    out = []
    for one in value if isinstance(value, list) else [None]:
        kind = _POINTERS.get(str(one.get("kind"))) if isinstance(one, dict) else None
        if not isinstance(one, dict) or not isinstance(one.get("off"), int) or kind is None:
            raise InputError(
                file, f"field {where}.ptrs", "must be objects with off and kind map, mapval or func"
            )
        slot, add = one.get("xlated_insn"), one.get("add", 0)
        out.append(
            Ref(
                one["off"],
                4 if one.get("size", 4 if kind == "func" else 8) == 4 else 8,
                kind,
                _target(one),
                add if isinstance(add, int) else 0,
                slot if isinstance(slot, int) else None,
            )
        )
    return out


def _target(pointer: Mapping[str, object]) -> str:
    """What a pointer points to. A kernel gives maps an id each, of which the file does not say whose it is."""
    number, target, known = pointer.get("map"), pointer.get("target"), pointer.get("map_id")
    if isinstance(number, int):
        return f"{MAP}{number}"
    if isinstance(target, str) and target.startswith(FUNCTION):
        return target
    return f"{MAP_ID}{known}" if isinstance(known, int) else ""


def _symbols(file: str, value: object) -> dict[int, str]:
    """{address: [names]}: of aliases the first that is neither one of startup code nor a table."""
    if not isinstance(value, dict):
        return {}
    out: dict[int, str] = {}
    for text, names in value.items():
        addr = _address(file, "field calls", text)
        if addr is None or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(file, "field calls", "must hold lists of names by address")
        plain = [name for name in names if not name.startswith("__pi_") and not name.endswith("_array")]
        found = plain or names
        if found:
            out[addr] = found[0]
    return out
