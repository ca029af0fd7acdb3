"""Program and runs <-> one JSON object: the request that every engine and a real kernel answer alike.

Only `insns` is required; byte fields are hex. Unknown keys are ignored, so that a recording is a request.
The form is described in docs/formats.md. Knows nothing of engines and of how results look.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from bpf import codec, isa, progtypes
from bpf.btf import Btf
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.maps import MapSpec
from bpf.program import FuncInfo, KfuncRef, LineInfo, Placement, Program, Request, RunInput

Json = Mapping[str, object]
T = TypeVar("T")

U32_MAX = 0xFFFF_FFFF
MAX_RUNS = 100_000
_WORDS: dict[type, str] = {
    str: "a string",
    int: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class _Fields:
    """Typed access to the fields of one JSON object; errors name the field by its path."""

    def __init__(self, obj: Json, what: str, path: str = "") -> None:
        self.obj = obj
        self.what = what
        self.path = path

    def bad(self, key: str, why: str) -> InputError:
        return InputError(self.what, f"field {self.path}{key}", why)

    def get(self, key: str, kind: type[T], default: T) -> T:
        value = self.obj.get(key)
        if value is None:
            return default
        # bool is an int in Python, not in JSON
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.bad(key, f"must be {_WORDS[kind]}, not {_word(value)}")
        return value

    def number(self, key: str, default: int, low: int = 0, high: int = U32_MAX) -> int:
        value = self.get(key, int, default)
        if not low <= value <= high:
            raise self.bad(key, f"{value} is not in {low}..{high}")
        return value

    def blob(self, key: str) -> bytes | None:
        text = self.obj.get(key)
        if text is None:
            return None
        return self.hex(key, text)

    def hex(self, key: str, text: object) -> bytes:
        if not isinstance(text, str):
            raise self.bad(key, f"must be a string of hex digits, not {_word(text)}")
        try:
            return bytes.fromhex(text)
        except ValueError:
            why = "odd number of hex digits" if len(text) % 2 else "not hex"
            raise self.bad(key, why) from None

    def objects(self, key: str) -> list["_Fields"]:
        out = []
        for index, item in enumerate(self.get(key, list, [])):
            if not isinstance(item, dict):
                raise self.bad(f"{key}[{index}]", f"must be an object, not {_word(item)}")
            out.append(_Fields(item, self.what, f"{self.path}{key}[{index}]."))
        return out

    def address(self, key: str, value: object) -> int:
        """An address: a number, or its text in hex."""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= isa.U64:
            return value
        if isinstance(value, str):
            try:
                number = int(value, 16)
            except ValueError:
                number = -1
            if 0 <= number <= isa.U64:
                return number
        raise self.bad(key, f"must be an address (a number, or hex text), not {value!r}"[:120])


def _word(value: object) -> str:
    return "null" if value is None else _WORDS.get(type(value), "a number with a fraction")


def parse_request(obj: object, what: str = "request") -> Request:
    """The request that a decoded JSON object holds. Raises InputError that names the field."""
    if not isinstance(obj, dict):
        raise InputError(what, "", f"a request must be an object, not {_word(obj)}")
    fields = _Fields(obj, what)
    code = fields.blob("insns")
    if code is None:
        raise fields.bad("insns", "is missing")
    insns = list(codec.decode(code, f"{what}: field insns"))
    blob = fields.blob("btf")
    btf = Btf.parse(blob, f"{what}: field btf") if blob else None
    name = fields.get("name", str, "") or fields.get("prog_name", str, "") or "program"
    program = Program(
        name=name,
        insns=(),
        prog_type=_prog_type(fields),
        btf=btf,
        func_info=_func_info(fields),
        line_info=_line_info(fields, btf),
        maps=tuple(_map(entry) for entry in fields.objects("maps")),
        kfuncs=_kfuncs(fields, insns),
        license=fields.get("license", str, "GPL"),
        prog_flags=fields.number("prog_flags", 0),
        expected_attach_type=fields.number("expected_attach_type", 0),
        attach_btf_id=fields.number("attach_btf_id", 0),
        attach_to=fields.get("attach_to", str, ""),
    )
    return Request(
        program=replace(program, insns=tuple(insns)),
        runs=_runs(fields),
        run=fields.get("run", bool, True),
        log_level=fields.number("log_level", 2, 0, 7),
        place=_placement(fields),
    )


def _prog_type(fields: _Fields) -> str:
    value = fields.obj.get("prog_type")
    if value is None:
        return "sched_cls"
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= U32_MAX:
        return progtypes.NAMES[value] if value < len(progtypes.NAMES) else str(value)
    if isinstance(value, str) and value in progtypes.NUMBERS:
        return value
    raise fields.bad("prog_type", f"{value!r} is no program type"[:100])


def _records(fields: _Fields, key: str, default_size: int) -> Iterable[bytes]:
    """The records of func_info or line_info; the kernel's own limits on the record size are the verifier's."""
    data = fields.blob(key)
    if not data:
        return ()
    size = fields.number(f"{key}_rec_size", default_size, default_size, 252)
    if len(data) % size:
        raise fields.bad(key, f"{len(data)} bytes are no whole number of records of {size} bytes")
    return (data[at : at + size] for at in range(0, len(data), size))


def _func_info(fields: _Fields) -> tuple[FuncInfo, ...]:
    return tuple(FuncInfo(*struct.unpack_from("<II", record)) for record in _records(fields, "func_info", 8))


def _line_info(fields: _Fields, btf: Btf | None) -> tuple[LineInfo, ...]:
    records = tuple(_records(fields, "line_info", 16))
    if not records:
        return ()
    if btf is None:
        raise fields.bad("line_info", "needs btf, which holds its strings")
    out = []
    for record in records:
        insn, file, text, column = struct.unpack_from("<IIII", record)
        out.append(
            LineInfo(
                insn, _string(fields, btf, file), _string(fields, btf, text), column >> 10, column & 0x3FF
            )
        )
    return tuple(out)


def _string(fields: _Fields, btf: Btf, at: int) -> str:
    if not 0 <= at < len(btf.strings):
        raise fields.bad(
            "line_info", f"string offset {at} is not in the {len(btf.strings)} bytes of btf's strings"
        )
    return btf.strings[at : btf.strings.index(b"\0", at)].decode(errors="replace")


def _line_info_json(program: Program) -> dict[str, object]:
    """btf and line_info of a program; texts that btf's strings do not hold are added to them."""
    assert program.btf is not None
    strings = program.btf.strings
    places: dict[str, int] = {}
    for text in dict.fromkeys(text for line in program.line_info for text in (line.file, line.text)):
        at = strings.find(b"\0" + text.encode() + b"\0") + 1 if text else 0
        if text and not at:
            at = len(strings)
            strings += text.encode() + b"\0"
        places[text] = at
    records = b"".join(
        struct.pack("<IIII", line.insn, places[line.file], places[line.text], line.line << 10 | line.column)
        for line in program.line_info
    )
    return {"btf": replace(program.btf, strings=strings).raw().hex(), "line_info": records.hex()}


def _map(entry: _Fields) -> MapSpec:
    pairs = []
    for index, pair in enumerate(entry.get("elems", list, [])):
        if not isinstance(pair, list) or len(pair) != 2:
            raise entry.bad(f"elems[{index}]", "must be a pair [key, value]")
        pairs.append((entry.hex(f"elems[{index}][0]", pair[0]), entry.hex(f"elems[{index}][1]", pair[1])))
    if entry.obj.get("type") is None:
        raise entry.bad("type", "is missing")
    return MapSpec(
        name=entry.get("name", str, ""),
        type=entry.number("type", 0),
        key_size=entry.number("key_size", 4),
        value_size=entry.number("value_size", 8),
        max_entries=entry.number("max_entries", 1),
        flags=entry.number("flags", 0),
        elems=tuple(pairs),
        freeze=entry.get("freeze", bool, False),
        dump=entry.get("dump", bool, False),
        btf_key=entry.number("btf_key", 0),
        btf_value=entry.number("btf_value", 0),
        extra=entry.number("map_extra", 0, 0, isa.U64),
    )


def _kfuncs(fields: _Fields, insns: list[Insn]) -> tuple[KfuncRef, ...]:
    """The kfunc calls; each named instruction becomes a kfunc call whatever its src_reg was."""
    refs = []
    for entry in fields.objects("kfuncs"):
        at = entry.number("insn", -1, -1)
        name = entry.get("name", str, "")
        if not name:
            raise entry.bad("name", "is missing")
        if not 0 <= at < len(insns) or insns[at].code != isa.OP_CALL:
            raise entry.bad("insn", f"instruction {at} is no call")
        insns[at] = Insn(isa.OP_CALL, 0, isa.PSEUDO_KFUNC_CALL, 0, -1)
        refs.append(KfuncRef(at, name, entry.get("module", str, "")))
    return tuple(sorted(refs, key=lambda ref: ref.insn))


def _runs(fields: _Fields) -> tuple[RunInput, ...]:
    """`runs` is a count (the same input again and again) or a list of inputs, each as in the request itself."""
    value = fields.obj.get("runs", 1)
    first = _run(fields, RunInput())
    if isinstance(value, list):
        return tuple(_run(entry, first) for entry in fields.objects("runs"))
    return (first,) * fields.number("runs", 1, 0, MAX_RUNS)


def _run(fields: _Fields, base: RunInput) -> RunInput:
    data_in, ctx_in = fields.blob("data_in"), fields.blob("ctx_in")
    sizes = [fields.number(key, -1, -1) for key in ("data_out_size", "ctx_out_size")]
    return RunInput(
        data_in=base.data_in if data_in is None else data_in,
        ctx_in=base.ctx_in if ctx_in is None else ctx_in,
        repeat=fields.number("repeat", base.repeat),
        flags=fields.number("run_flags", base.flags),
        data_out_size=base.data_out_size if sizes[0] < 0 else sizes[0],
        ctx_out_size=base.ctx_out_size if sizes[1] < 0 else sizes[1],
    )


def _placement(fields: _Fields) -> Placement | None:
    value = fields.obj.get("place")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise fields.bad("place", f"must be an object, not {_word(value)}")
    place = _Fields(value, fields.what, "place.")
    symbols = place.get("symbols", dict, {})
    return Placement(
        functions=tuple(place.address("functions", a) for a in place.get("functions", list, [])),
        symbols={str(name): place.address(f"symbols.{name}", a) for name, a in symbols.items()},
        maps=tuple(place.address("maps", a) for a in place.get("maps", list, [])),
    )


def to_request(request: Request) -> dict[str, object]:
    """The JSON object of a request; `parse_request` of it gives an equal value."""
    program = request.program
    out: dict[str, object] = {"name": program.name, "insns": codec.encode(program.insns).hex()}
    out["prog_type"] = program.prog_type if program.prog_type in progtypes.NUMBERS else int(program.prog_type)
    if program.btf is not None:
        out["btf"] = program.btf.raw().hex()
    if program.btf is not None and program.line_info:
        out |= _line_info_json(program)
    if program.func_info:
        out["func_info"] = b"".join(struct.pack("<II", f.insn, f.type_id) for f in program.func_info).hex()
    if program.maps:
        out["maps"] = [_map_json(spec) for spec in program.maps]
    if program.kfuncs:
        out["kfuncs"] = [
            {"insn": ref.insn, "name": ref.name, **({"module": ref.module} if ref.module else {})}
            for ref in program.kfuncs
        ]
    for key, value, default in (
        ("license", program.license, "GPL"),
        ("prog_flags", program.prog_flags, 0),
        ("expected_attach_type", program.expected_attach_type, 0),
        ("attach_btf_id", program.attach_btf_id, 0),
        ("attach_to", program.attach_to, ""),
        ("run", request.run, True),
        ("log_level", request.log_level, 2),
    ):
        if value != default:
            out[key] = value
    if request.runs and len(set(request.runs)) == 1:
        out |= _run_json(request.runs[0])
        if len(request.runs) > 1:
            out["runs"] = len(request.runs)
    else:
        out["runs"] = [_run_json(run) for run in request.runs]
    if request.place is not None:
        out["place"] = {
            "functions": [hex(a) for a in request.place.functions],
            "symbols": {name: hex(a) for name, a in request.place.symbols.items()},
            "maps": [hex(a) for a in request.place.maps],
        }
    return out


def _map_json(spec: MapSpec) -> dict[str, object]:
    out: dict[str, object] = {
        "type": int(spec.type),
        "key_size": spec.key_size,
        "value_size": spec.value_size,
        "max_entries": spec.max_entries,
    }
    for key, value in (
        ("name", spec.name),
        ("flags", spec.flags),
        ("freeze", spec.freeze),
        ("dump", spec.dump),
        ("map_extra", spec.extra),
    ):
        if value:
            out[key] = value
    if spec.elems:
        out["elems"] = [[key.hex(), value.hex()] for key, value in spec.elems]
    if spec.btf_key or spec.btf_value:
        out |= {"btf_key": spec.btf_key, "btf_value": spec.btf_value}
    return out


def _run_json(run: RunInput) -> dict[str, object]:
    out: dict[str, object] = {}
    if run.data_in is not None:
        out["data_in"] = run.data_in.hex()
    if run.ctx_in is not None:
        out["ctx_in"] = run.ctx_in.hex()
    for key, value, default in (
        ("repeat", run.repeat, 0),
        ("run_flags", run.flags, 0),
        ("data_out_size", run.data_out_size, None),
        ("ctx_out_size", run.ctx_out_size, None),
    ):
        if value != default:
            out[key] = value
    return out
