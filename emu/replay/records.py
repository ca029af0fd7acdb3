"""Replays one recording: a request whose `expect` holds what a real kernel answered."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bpf import codec, isa
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.request import parse_request
from bpf.verified import Verified
from emu.answer import case_json
from emu.outcome import Outcome
from emu.pipeline import Case, Options, Pipeline
from emu.replay.check import Check, Replayed, engine_check, equal, merge, not_comparable, verdict_checks
from jit import place
from jit.image import Image, Layout

_HASHES = (MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH)


def replay_record(pipeline: Pipeline, record: object, what: str, engines: tuple[str, ...]) -> Replayed:
    """The checks of one recording. A request that cannot be read is "not comparable"; so is every field in `nondet`."""
    if not isinstance(record, dict) or not isinstance(record.get("expect"), dict):
        raise InputError(what, "field expect", "is missing: this is a request, not a recording")
    name, group = str(record.get("name", what)), str(record.get("family", "all"))
    expect: dict[str, object] = record["expect"]
    try:
        request = parse_request(record, what)
    except InputError as error:
        return Replayed(name, group, (Check("verdict", "not comparable", str(error)),), None, {"name": name})
    # a program that the kernel refused has no result to compare with: only our verdict is asked for
    options = pipeline.options
    pipeline.options = _on_cpu(options, _text(record.get("cpu")))
    try:
        case = pipeline.run(request, engines=engines if expect.get("accepted") else ("verify",))
    finally:
        pipeline.options = options
    checks = verdict_checks(
        case, bool(expect.get("accepted")), str(expect.get("errno", "OK")), _text(expect.get("message"))
    )
    if expect.get("accepted") and not case.rejected:
        checks += _accepted_checks(case, expect, engines, what)
    checks = masked(checks, expect)
    return Replayed(name, group, tuple(checks), case, case_json(case) | {"name": name, "family": group})


def masked(checks: Sequence[Check], expect: Mapping[str, object]) -> list[Check]:
    """The checks, where those that differ in what a kernel does not reproduce are "not comparable"."""
    names = {"jited": "bytes", "map_dumps": "maps"}
    fields = {names.get(str(name), str(name)) for name in _list(expect.get("nondet"))}
    if fields & {"retval", "maps", "data_out"}:
        fields.add("engines")  # the result depends on addresses or on old bytes of the stack
    return [
        Check(check.field, "not comparable", "not reproducible on the kernel")
        if check.field in fields and check.state == "differ"
        else check
        for check in checks
    ]


def outcome_checks(outcomes: Sequence[Outcome], case: Case, expect: Mapping[str, object]) -> list[Check]:
    """Results of outcomes against the recorded ones, where there are any."""
    checks = []
    if expect.get("run_errno") is not None:
        for field in ("retval", "maps", "data_out", "ctx_out"):
            merged = merge(field, [c for o in outcomes for c in _outcome_checks(field, o, case, expect)])
            if merged is not None:
                checks.append(merged)
    return checks


def _on_cpu(options: Options, cpu: str | None) -> Options:
    """The options for a recording made on this processor (QEMU's -cpu): without BMI2 the kernel emits other shifts."""
    if cpu is None or "bmi2=off" not in cpu.split(","):
        return options
    return replace(options, profile=replace(options.profile, bmi2=False))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _accepted_checks(
    case: Case, expect: Mapping[str, object], engines: tuple[str, ...], what: str
) -> list[Check]:
    checks = []
    if "jit" in engines and "jited" in expect:
        jited = [item for item in _list(expect["jited"]) if isinstance(item, dict)]
        try:
            check = _bytes_check(case, jited)
        except (KeyError, TypeError, ValueError):
            raise InputError(
                what, "field expect.jited", "must be functions with addr and hex, calls and ptrs with numbers"
            ) from None
        if check.state == "differ" and _is_converted(case, expect):
            check = Check(
                "bytes", "not comparable", "context accesses are those of a kernel's own structures"
            )
        checks.append(check)
    outcomes = [outcome for outcome in (case.interp, case.sandbox) if outcome is not None]
    checks += outcome_checks(outcomes, case, expect)
    if expect.get("run_errno") is not None:
        missing = {"interp", "sandbox"} & set(engines) - {outcome.engine for outcome in outcomes}
        if missing and case.error is not None:
            checks.append(Check("retval", "not comparable", f"{'/'.join(sorted(missing))}: {case.error}"))
    found = engine_check(case)
    return [*checks, found] if found is not None else checks


def _outcome_checks(field: str, outcome: Outcome, case: Case, expect: Mapping[str, object]) -> list[Check]:
    """The checks of one field of one engine: the last run counts, as in the recording."""
    theirs = expect.get({"maps": "map_dumps"}.get(field, field))
    if theirs is None and field != "retval":
        return []
    why = not_comparable(outcome)
    if why:
        return [Check(field, "not comparable", why)]
    run = outcome.runs[-1]
    if run.trap is not None:
        return [Check(field, "differ", f"{outcome.engine} trap {run.trap.kind}: {run.trap.message}")]
    if field == "retval":
        errno = equal(field, run.errno, expect.get("run_errno"))
        return [
            _named(outcome, check)
            for check in (errno, equal(field, run.retval, theirs))
            if check.state != "agree"
        ] or [errno]
    if field == "maps":
        specs = [spec for spec in case.request.program.maps if spec.dump]
        return [_named(outcome, equal(field, _in_order(outcome.dumps, specs), _in_order(theirs, specs)))]
    data = run.data_out if field == "data_out" else run.ctx_out
    return [_named(outcome, equal(field, (data or b"").hex(), theirs))]


def _in_order(dumps: object, specs: Sequence[MapSpec]) -> object:
    """Dumps of maps with the elements of hash tables sorted: their order in a kernel is random."""
    if not isinstance(dumps, (list, tuple)) or len(dumps) != len(specs):
        return dumps
    out = []
    for dump, spec in zip(map(str, dumps), specs, strict=True):
        size = 2 * (spec.key_size + spec.value_size)
        elems = [dump[at : at + size] for at in range(0, len(dump), size)] if size else [dump]
        out.append("".join(sorted(elems) if spec.type in _HASHES else elems))
    return out


def _named(outcome: Outcome, check: Check) -> Check:
    return Check(check.field, check.state, f"{outcome.engine}: {check.why}") if check.why else check


def _is_converted(case: Case, expect: Mapping[str, object]) -> bool:
    """Whether the kernel compiled another program because it turns accesses of contexts into accesses of its structures."""
    verdict, xlated = case.verdict, expect.get("xlated")
    if not isinstance(verdict, Verified) or not verdict.converted or not isinstance(xlated, str):
        return False
    return _without_targets(verdict.insns) != _without_targets(codec.decode(bytes.fromhex(xlated)))


def _without_targets(insns: Sequence[Insn]) -> list[Insn]:
    out, second = [], False
    for insn in insns:
        if second or insn.code in (isa.OP_CALL, isa.OP_TAIL_CALL):
            insn = Insn(isa.OP_CALL)
        second = insn.code == isa.LD_IMM64 and insn.src != 0
        out.append(replace(insn, imm=0) if second else insn)
    return out


def _bytes_check(case: Case, jited: list[dict[str, object]]) -> Check:
    """Our bytes placed at the recorded addresses, nothing masked, against the recorded ones."""
    if case.image is None:
        return Check("bytes", "not comparable", str(case.error or "no image"))
    if len(jited) != len(case.image.functions):
        return Check("bytes", "differ", f"{len(case.image.functions)} functions, kernel {len(jited)}")
    try:
        codes = place(case.image, recorded_layout(case.image, jited))
    except InputError as error:
        return Check("bytes", "differ", str(error))
    for number, (code, function) in enumerate(zip(codes, jited, strict=True)):
        theirs = bytes.fromhex(str(function["hex"]))
        if code != theirs:
            at = next(
                (i for i, pair in enumerate(zip(code, theirs, strict=False)) if pair[0] != pair[1]),
                min(len(code), len(theirs)),
            )
            return Check(
                "bytes", "differ",
                f"func#{number} byte {at:#x}: ours {code[at : at + 8].hex()}, kernel {theirs[at : at + 8].hex()}"
                f" (length {len(code)}, kernel {len(theirs)})",
            )  # fmt: skip
    return Check("bytes", "agree")


def recorded_layout(image: Image, jited: list[dict[str, object]]) -> Layout:
    """The addresses of a recording: what stands where the image has a relocation.

    Raises InputError when the image refers to something the recording has no address for.
    """
    symbols: dict[str, int] = {}
    count = len(image.verified.program.maps)
    places = {"map": [0] * count, "mapval": [0] * count}  # the object and its value lie apart
    for function, recorded in zip(image.functions, jited, strict=True):
        calls = [item for item in _list(recorded.get("calls")) if isinstance(item, dict)]
        ptrs = [item for item in _list(recorded.get("ptrs")) if isinstance(item, dict)]
        addresses = {call["off"]: call for call in calls}
        values = {ptr["off"]: ptr for ptr in ptrs}
        for reloc in function.relocs:
            call, ptr = addresses.get(reloc.off - 1), values.get(reloc.off)
            if reloc.kind == "symbol":
                # a variable of the kernel: nothing but the code itself says where it lay
                field = bytes.fromhex(str(recorded["hex"]))[reloc.off : reloc.off + reloc.size]
                found = int.from_bytes(field, "little", signed=True) - reloc.addend
                symbols[reloc.symbol] = found & isa.U64
            elif reloc.symbol and call is not None:
                symbols[reloc.symbol] = int(str(call["addr"]), 16) - reloc.addend
            elif reloc.kind in places and ptr is not None:
                add = ptr.get("add", 0)
                places[reloc.kind][reloc.target] = int(str(ptr["value"]), 16) - (
                    add if isinstance(add, int) else 0
                )
        for reloc in function.relocs:
            if reloc.symbol and reloc.symbol not in symbols:
                raise InputError(
                    image.verified.program.name, "", f"the recording has no call of {reloc.symbol}"
                )
    entries = tuple(int(str(f["addr"]), 16) for f in jited)
    return Layout(entries, symbols, tuple(places["map"]), tuple(places["mapval"]))
