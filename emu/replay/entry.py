"""Reads one entry of a list of objects: whatever is wrong with it is an InputError. Knows no engine."""

from collections.abc import Mapping
from dataclasses import dataclass

from bpf.errors import InputError
from bpf.program import Program, RunInput

Elements = tuple[tuple[bytes, bytes], ...]

# program types whose test run allows no `repeat`
_ONCE = ("syscall", "raw_tracepoint")


@dataclass(frozen=True, slots=True)
class Entry:
    """One program of an object. runs: as recorded; initial_maps: keys and values by the name of the map."""

    what: str
    name: str
    prog: str
    expect: Mapping[str, object]
    runs: tuple[Mapping[str, object], ...]
    initial_maps: Mapping[str, Elements]

    def inputs(self, program: Program) -> tuple[RunInput, ...]:
        """The test runs. Raises InputError."""
        return tuple(
            RunInput(
                data_in=self._bytes(run, "data_in"),
                ctx_in=self._bytes(run, "ctx_in"),
                repeat=0 if program.prog_type in _ONCE else 1,
            )
            for run in self.runs
        )

    def _bytes(self, run: Mapping[str, object], field: str) -> bytes | None:
        return None if run.get(field) is None else _hex(run[field], self.what, field)


def read_entry(entry: object, what: str) -> Entry:
    """Raises InputError, with `what` in front of what is wrong."""
    if not isinstance(entry, dict) or not isinstance(entry.get("expect"), dict):
        raise InputError(what, "", "an entry needs object, prog and expect")
    name, prog, runs = entry.get("object"), entry.get("prog"), entry.get("runs") or []
    if not isinstance(name, str) or not isinstance(prog, str):
        raise InputError(what, "", "object and prog must be names")
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise InputError(what, "field runs", "must be a list of objects")
    return Entry(what, name, prog, entry["expect"], tuple(runs), _maps(entry.get("initial_maps") or {}, what))


def _maps(value: object, what: str) -> dict[str, Elements]:
    where = "initial_maps"
    if not isinstance(value, dict):
        raise InputError(what, f"field {where}", "must be an object")
    out: dict[str, Elements] = {}
    for name, pairs in value.items():
        if not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
            raise InputError(what, f"field {where}.{name}", "must be a list of [key, value]")
        out[name] = tuple((_hex(key, what, where), _hex(element, what, where)) for key, element in pairs)
    return out


def _hex(value: object, what: str, where: str) -> bytes:
    try:
        return bytes.fromhex(value)  # type: ignore[arg-type]  # whatever it is: TypeError is caught
    except (TypeError, ValueError):
        raise InputError(what, f"field {where}", "must be a string of hex digits") from None
