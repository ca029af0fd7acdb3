"""Replays a list of objects (expect.json): every program of every object, all its runs on the same maps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bpf import elf
from bpf.errors import InputError
from bpf.maps import MapSpec, MapType
from bpf.program import Program, Request
from bpf.verified import Rejected
from emu.load import read_bytes
from emu.outcome import Outcome, RunResult
from emu.pipeline import Pipeline
from emu.replay.check import Check, Replayed, engine_check, equal, merge, not_comparable, verdict_checks
from emu.replay.entry import Elements, read_entry

ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.PROG_ARRAY)
TYPE_NAMES = {
    MapType.ARRAY: "array",
    MapType.HASH: "hash",
    MapType.PERCPU_ARRAY: "percpu_array",
    MapType.LRU_HASH: "lru_hash",
}


@dataclass(slots=True)
class ObjectFolder:
    """The objects beside a list, each read once; an error stands for one that cannot be loaded."""

    folder: Path
    _objects: dict[str, elf.Object | InputError]

    @classmethod
    def beside(cls, file: str) -> "ObjectFolder":
        """The folder of a list."""
        return cls(Path(file).parent, {})

    def object(self, name: str) -> elf.Object | InputError:
        """An object, or why it cannot be loaded. Raises InputError when the file cannot be read."""
        if name not in self._objects:
            path = str(self.folder / name)
            data = read_bytes(path)
            try:
                self._objects[name] = elf.load(data, path)
            except InputError as error:
                self._objects[name] = error
        return self._objects[name]


def replay_object(
    pipeline: Pipeline, folder: ObjectFolder, entry: object, what: str, engines: tuple[str, ...]
) -> Replayed:
    """The checks of one entry of a list. A program that the loader does not take is "not comparable".

    Raises InputError when the entry or its object cannot be read.
    """
    read = read_entry(entry, what)
    name, prog, expect, runs = read.name, read.prog, read.expect, read.runs
    loaded = folder.object(name)
    left_out = loaded if isinstance(loaded, InputError) else dict(loaded.unsupported).get(prog)
    if isinstance(loaded, InputError) or left_out is not None:
        check = Check("verdict", "not comparable", str(left_out))
        return Replayed(f"{name}: {prog}", name, (check,), None, {"object": name, "prog": prog})
    programs = {program.name: program for program in loaded.programs}
    if prog not in programs:
        raise InputError(what, name, f"has no program {prog!r}")
    program = _with_maps(programs[prog], read.initial_maps, what)
    case = pipeline.run(Request(program, read.inputs(program)), programs, engines)
    checks = verdict_checks(
        case, bool(expect.get("accepted")), str(expect.get("errno") or "OK"), _optional(expect.get("message"))
    )
    outcomes = [outcome for outcome in (case.interp, case.sandbox) if outcome is not None]
    if expect.get("accepted") and not case.rejected:
        checks += _outcome_checks(program, outcomes, runs, expect)
        found = engine_check(case)
        if found is not None:
            checks.append(found)
        if case.error is not None:
            checks.append(Check("retval", "not comparable", str(case.error)))
    verdict = case.verdict
    json: dict[str, object] = {
        "object": name,
        "prog": prog,
        "accepted": not case.rejected,
        "errno": verdict.errno if isinstance(verdict, Rejected) else "OK",
        "message": verdict.message if isinstance(verdict, Rejected) else None,
    }
    json |= {outcome.engine: _outcome_json(outcome, program) for outcome in outcomes}
    return Replayed(f"{name}: {prog}", name, tuple(checks), case, json)


def _optional(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _with_maps(program: Program, initial: Mapping[str, Elements], what: str) -> Program:
    names = {spec.name for spec in program.maps}
    for name in initial:
        if name not in names:
            raise InputError(what, "initial_maps", f"the object has no map {name!r}")

    def filled(spec: MapSpec) -> MapSpec:
        return replace(spec, elems=spec.elems + initial.get(spec.name, ()))

    return replace(program, maps=tuple(filled(spec) for spec in program.maps))


def _outcome_checks(
    program: Program,
    outcomes: list[Outcome],
    runs: Sequence[Mapping[str, object]],
    expect: Mapping[str, object],
) -> list[Check]:
    checks: list[Check] = []
    for field in ("retval", "data_out", "ctx_out"):
        found = [
            check
            for outcome in outcomes
            for number, (run, wanted) in enumerate(zip(outcome.runs, runs, strict=False))
            for check in _run_checks(field, outcome, number, run, wanted)
        ]
        check = merge(field, found)
        if check is not None:
            checks.append(check)
    after = expect.get("maps_after")
    if isinstance(after, dict):
        found = [
            equal("maps", maps_after(outcome, program).get(name), theirs, f"{outcome.engine}: map {name}")
            for outcome in outcomes
            for name, theirs in after.items()
        ]
        check = merge("maps", found)
        if check is not None:
            checks.append(check)
    return checks


def _run_checks(
    field: str, outcome: Outcome, number: int, run: RunResult, wanted: Mapping[str, object]
) -> Iterator[Check]:
    where = f"{outcome.engine} run {number + 1}: "
    theirs = wanted.get(field)
    if theirs is None:
        return
    why = not_comparable(outcome)
    if why:
        yield Check(field, "not comparable", why)
    elif run.trap is not None:
        yield Check(field, "differ", f"{where}trap {run.trap.kind}: {run.trap.message}")
    elif field == "retval":
        yield equal(field, run.errno, wanted.get("errno", "OK"), f"{where}{run.errno}")
        yield equal(field, run.retval, theirs, f"{where}retval {run.retval}, kernel {theirs}")
    else:
        ours = (run.data_out if field == "data_out" else run.ctx_out) or b""
        text = wanted.get("data_in") if theirs == "same as data_in" else theirs
        yield equal(field, ours.hex(), text, f"{where}{ours.hex()[:40]}, kernel {str(text)[:40]}")


def maps_after(outcome: Outcome, program: Program) -> dict[str, object]:
    """Maps by name in the form of an object list: all-zero elements of arrays with several elements are left out."""
    out: dict[str, object] = {}
    for spec, elems in zip(program.maps, outcome.maps, strict=True):
        sparse = spec.type in ARRAYS and spec.max_entries > 1
        out[spec.name] = {
            "type": TYPE_NAMES.get(MapType(spec.type), MapType(spec.type).name.lower()),
            "key_size": spec.key_size,
            "value_size": spec.value_size,
            "max_entries": spec.max_entries,
            "elems": [[key.hex(), value.hex()] for key, value in elems if not sparse or any(value)],
        }
    return out


def _outcome_json(outcome: Outcome, program: Program) -> dict[str, object]:
    def run_json(run: RunResult) -> dict[str, object]:
        out: dict[str, object] = {"errno": run.errno, "retval": run.retval}
        if run.data_out is not None:
            out["data_out"] = run.data_out.hex()
        if run.ctx_out is not None:
            out["ctx_out"] = run.ctx_out.hex()
        if run.trap is not None:
            out["trap"] = {"kind": run.trap.kind, "insn": run.trap.insn, "message": run.trap.message}
        if run.violations:
            out["violations"] = [violation.message for violation in run.violations]
        return out

    return {"runs": [run_json(run) for run in outcome.runs], "maps_after": maps_after(outcome, program)}
