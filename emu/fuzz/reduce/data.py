"""Passes over all that is no code: inputs, maps and their contents, other programs, the program's own attributes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from bpf import isa
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.program import RunInput
from emu.fuzz.reduce.draft import Draft, Item
from emu.fuzz.reduce.flow import zero
from emu.fuzz.reduce.search import Search
from emu.fuzz.reduce.state import MAIN, State

T = TypeVar("T")

_SLOTS = (MapType.PROG_ARRAY,)


def inputs(search: Search) -> None:
    """Fewer runs, each with less input."""
    _fewer(
        lambda: search.state.request.runs,
        lambda runs: bool(runs) and search.attempt(_with_runs(search.state, runs)),
    )
    index = len(search.state.request.runs) - 1
    while index >= 0:
        runs = search.state.request.runs
        simpler = (
            _with_runs(search.state, (*runs[:index], run, *runs[index + 1 :]))
            for run in _simpler_run(runs[index])
        )
        if not any(search.attempt(state) for state in simpler):
            index -= 1


def _with_runs(state: State, runs: tuple[RunInput, ...]) -> State:
    return replace(state, request=replace(state.request, runs=runs))


def _simpler_run(run: RunInput) -> Iterator[RunInput]:
    if run != RunInput():
        yield RunInput()
        yield replace(run, repeat=0, flags=0, data_out_size=None, ctx_out_size=None)
    for data in _simpler_bytes(run.data_in):
        yield replace(run, data_in=data)
    for data in _simpler_bytes(run.ctx_in):
        yield replace(run, ctx_in=data)


def _simpler_bytes(data: bytes | None) -> Iterator[bytes | None]:
    """None, fewer, zeroed by halves down to single bytes."""
    if data is None:
        return
    yield None
    size = len(data)
    yield from (data[: size // 2], data[:14], data[:-1]) if size else ()
    chunk = size
    while chunk:
        for at in range(0, size, chunk):
            if any(data[at : at + chunk]):
                yield data[:at] + bytes(len(data[at : at + chunk])) + data[at + chunk :]
        chunk = chunk // 2 if size <= 64 or chunk > size // 8 else 0


def _fewer(now: Callable[[], tuple[T, ...]], attempt: Callable[[tuple[T, ...]], bool]) -> None:
    """Delta debugging of a list: chunks go, halves first, from the end to the beginning."""
    size = len(now())
    while size:
        end = len(now())
        while end > 0:
            first = max(end - size, 0)
            attempt(now()[:first] + now()[end:])
            end = min(first, len(now()))
        size //= 2


# ---------------------------------------------------------------- maps


def maps(search: Search, name: str) -> None:
    """Maps that nothing refers to go; what is left is smaller."""
    draft = search.draft(name)
    number = len(draft.program.maps) - 1 if draft is not None else -1
    while draft is not None and number >= 0:
        if number < len(draft.program.maps):
            search.attempt_draft(name, _without_map(draft, number))
            _simplify_map(search, name, number)
        number -= 1
        draft = search.draft(name)


def _without_map(draft: Draft, number: int) -> Draft:
    """Without a map; an instruction that loads its address loads 0."""
    items = []
    for item in draft.items:
        index = item.map_index
        if index == number:
            item = replace(zero(item.insn.dst), key=item.key)
        elif index is not None and index > number:
            item = replace(item, insn=replace(item.insn, imm=index - 1))
        items.append(item)
    kept = draft.program.maps[:number] + draft.program.maps[number + 1 :]
    return replace(draft.with_items(items), program=replace(draft.program, maps=kept))


def _simplify_map(search: Search, name: str, number: int) -> None:
    def spec() -> MapSpec | None:
        draft = search.draft(name)
        found = draft.program.maps if draft is not None else ()
        return found[number] if number < len(found) else None

    def attempt(made: MapSpec) -> bool:
        draft = search.draft(name)
        assert draft is not None
        changed = (*draft.program.maps[:number], made, *draft.program.maps[number + 1 :])
        return search.attempt_draft(name, replace(draft, program=replace(draft.program, maps=changed)))

    if spec() is not None:
        _fewer(lambda: _field(spec(), "elems"), lambda elems: _put(spec(), attempt, elems=elems))
        _fewer(lambda: _field(spec(), "progs"), lambda progs: _put(spec(), attempt, progs=progs))
    found = spec()
    while found is not None and any(attempt(made) for made in _smaller_maps(found)):
        found = spec()


def _field(spec: MapSpec | None, name: str) -> tuple[object, ...]:
    found: tuple[object, ...] = getattr(spec, name) if spec is not None else ()
    return found


def _put(spec: MapSpec | None, attempt: Callable[[MapSpec], bool], **fields: object) -> bool:
    return spec is not None and attempt(replace(spec, **fields))  # type: ignore[arg-type] # by field name


def _smaller_maps(spec: MapSpec) -> Iterator[MapSpec]:
    yield replace(spec, flags=0, extra=0, freeze=False, dump=False, btf_key=0, btf_value=0)
    yield replace(spec, dump=False)
    for entries in (1, spec.max_entries // 2):
        if 0 < entries < spec.max_entries:
            yield replace(spec, max_entries=entries)
    for size in (1, 4, 8, spec.value_size // 16 * 8):
        if 0 < size < spec.value_size:
            elems = tuple((key, value[:size]) for key, value in spec.elems)
            yield replace(spec, value_size=size, elems=elems)
    for size in (1, 4, 8):
        if size < spec.key_size:
            yield replace(spec, key_size=size)
    for index, (key, value) in enumerate(spec.elems):
        if any(value):
            elems = (*spec.elems[:index], (key, bytes(len(value))), *spec.elems[index + 1 :])
            yield replace(spec, elems=elems)


# ---------------------------------------------------------------- other programs, attributes


def others(search: Search) -> None:
    """Other programs go, or become `r0 = 0; exit`."""
    for name in sorted(set(search.state.drafts) - {MAIN}, reverse=True):
        state = search.state
        rest = {key: draft for key, draft in state.drafts.items() if key != name}
        arrays = tuple(
            replace(spec, progs=tuple(pair for pair in spec.progs if pair[1] != name))
            for spec in state.main.program.maps
        )
        without = replace(state, drafts=rest)
        if search.attempt(without) or search.attempt(without.with_program(maps=arrays)):
            continue
        draft = state.drafts[name]
        search.attempt_draft(name, draft.without(0, draft.count, _nothing(draft)))


def _nothing(draft: Draft) -> tuple[Item, ...]:
    return (zero(0), Item(0, Insn(isa.OP_EXIT)))[-draft.count :]


def attributes(search: Search) -> None:
    """The most ordinary type of program, without flags; without source lines."""
    plain = {"section": "", "prog_flags": 0, "expected_attach_type": 0, "attach_btf_id": 0, "attach_to": ""}
    tries: list[dict[str, object]] = [{"prog_type": "sched_cls", "license": "GPL", **plain}, plain]
    tries += [{key: value} for key, value in (*plain.items(), ("license", "GPL"))]
    for fields in tries:
        search.attempt(search.state.with_program(**fields))
    for name, draft in search.state.drafts.items():
        if draft.lines:
            search.attempt_draft(name, replace(draft, lines=()))
