"""Programs to text: the way back of bpf.asm.

`parse(listing(program))` is the program again, whatever its instructions are, but for what the text has no words
for: line information (shown as comments), and BTF beyond the prototypes of its functions.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from bpf import exceptions, isa, progtypes
from bpf.btf_plain import lock_of
from bpf.btf_types import EXTERN, STATIC, Kind
from bpf.codec import encode
from bpf.decl import parse_decl
from bpf.disasm import disasm
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from bpf.lexer import Cursor
from bpf.maps import MapSpec, MapType
from bpf.operands import Statement
from bpf.program import FuncInfo, Program, RunInput
from bpf.statement import read_statement

_WORD = re.compile(r"[A-Za-z_.$][A-Za-z0-9_.$]*\Z")
_MAP_REFERENCES = (
    isa.PSEUDO_MAP_FD,
    isa.PSEUDO_MAP_VALUE,
    isa.PSEUDO_MAP_IDX,
    isa.PSEUDO_MAP_IDX_VALUE,
)


def disassemble(program: Program, runs: Iterable[RunInput] = (), trailer: str = "") -> str:
    """The `.bpf` text of `program`, with lines for `runs` and a `trailer` (the line of an expectation) behind it.

    Raises InputError where a name holds what no text can (a quotation mark, a line break).
    """
    lines = [_prog_line(program), *_map_lines(program), *_extern_lines(program)]
    lines += ["", *_Code(program).lines()]
    tail = [_run_line(run) for run in runs] + ([trailer] if trailer else [])
    return "\n".join(lines + ([""] if tail else []) + tail) + "\n"


def _quoted(text: str, what: str) -> str:
    if _WORD.match(text):
        return text
    if '"' in text or "\n" in text:
        raise InputError(what, "", f"{text!a} cannot be written as text")
    return f'"{text}"'


# ---------------------------------------------------------------- declarations


def _prog_line(program: Program) -> str:
    parts = ["prog"]
    implied = {"prog_type": "", "expected_attach_type": 0, "prog_flags": 0, "attach_to": "", "section": ""}
    found = progtypes.find(program.section) if program.section else None
    if found is not None and " " not in program.section and '"' not in program.section:
        parts.append(program.section)
        implied = {
            "prog_type": found.prog_type,
            "expected_attach_type": found.attach_type,
            "prog_flags": found.prog_flags,
            "attach_to": progtypes.target(program.section, found),
            "section": program.section,
        }
    if program.prog_type != implied["prog_type"]:
        kind = (
            program.prog_type if program.prog_type.isdigit() else _quoted(program.prog_type, "program type")
        )
        parts.append(f"type {kind}")
    if program.section != implied["section"]:
        parts.append(f"section {_quoted(program.section, 'section')}")
    parts.append(f"name {_quoted(program.name, 'name of a program')}")
    parts.append(f"license {_quoted(program.license, 'license')}")
    numbers = {
        "flags": ("prog_flags", program.prog_flags),
        "expected_attach_type": ("expected_attach_type", program.expected_attach_type),
        "attach_btf_id": ("", program.attach_btf_id),
    }
    parts += [f"{word} {value}" for word, (key, value) in numbers.items() if value != implied.get(key, 0)]
    if program.attach_to != implied["attach_to"]:
        parts.append(f"attach_to {_quoted(program.attach_to, 'attach target')}")
    catches = exceptions.name(program)
    if catches is not None:
        parts.append(f"catches {_quoted(catches, 'exception callback')}")
    return " ".join(parts)


def _map_lines(program: Program) -> Iterable[str]:
    for spec in program.maps:
        lock = lock_of(spec, program.btf)
        yield f"map {_quoted(spec.name, 'name of a map')}: {_map_body(spec, lock)}"
        if spec.inner is not None:
            yield f"    inner {_quoted(spec.inner.name, 'name of a map')}: {_map_body(spec.inner)}"
        yield from (f"    elem {key.hex()} = {value.hex()}".replace("  =", " =") for key, value in spec.elems)
        yield from (f"    progs {index} = {_quoted(name, 'name of a program')}" for index, name in spec.progs)
        yield from (f"    maps {index} = {_quoted(name, 'name of a map')}" for index, name in spec.inner_maps)


def _map_body(spec: MapSpec, lock: int | None = None) -> str:
    kind = MapType(spec.type).name.lower() if spec.type in MapType.__members__.values() else str(spec.type)
    parts = [kind, f"key {spec.key_size}", f"value {spec.value_size}", f"max {spec.max_entries}"]
    optional = {
        "flags": spec.flags,
        "extra": spec.extra,
    }
    if lock is None:
        optional |= {"btf_key": spec.btf_key, "btf_value": spec.btf_value}
    parts += [f"{word} {value}" for word, value in optional.items() if value]
    if lock is not None:  # its types are made anew from this
        parts.append(f"lock {lock}")
    return " ".join(parts + ["freeze"] * spec.freeze + ["dump"] * spec.dump)


def _extern_lines(program: Program) -> list[str]:
    """Kfuncs that the table does not know, or knows in another module."""
    lines = {}
    for ref in program.kfuncs:
        known = KFUNCS.get(ref.name)
        if known is None or known.module != ref.module:
            module = f" module {_quoted(ref.module, 'module')}" if ref.module else ' module ""'
            lines[ref.name] = f"extern {_declared(program, ref.name)}{module}"
    return list(lines.values())


def _declared(program: Program, name: str) -> str:
    """The prototype that BTF has for a kfunc of no table, where text can say it; else the name."""
    if name in KFUNCS or program.btf is None:
        return name
    try:
        tid = program.btf.find(name, Kind.FUNC)
        text = name if tid is None else str(program.btf.prototype(tid))
        parse_decl(text)
    except InputError:
        return name
    return text


def _run_line(run: RunInput) -> str:
    parts = ["input:"]
    for word, data in (("data", run.data_in), ("ctx", run.ctx_in)):
        if data is not None:
            parts.append(f"{word} {data.hex() or 'empty'}")
    plain = RunInput()
    numbers = {"repeat": "repeat", "flags": "flags", "data_out": "data_out_size", "ctx_out": "ctx_out_size"}
    for word, name in numbers.items():
        if getattr(run, name) != getattr(plain, name):
            parts.append(f"{word} {getattr(run, name)}")
    return " ".join(parts)


# ---------------------------------------------------------------- instructions


class _Code:
    """Instructions with headers of functions and labels."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.insns = program.insns
        self.headers = dict(filter(None, (_header(program, info) for info in program.func_info)))
        self.names = {start: proto for start, (proto, _) in self.headers.items()}
        self.starts = _statements(self.insns)
        self.scopes = self._scopes()
        self.labels = self._labels()
        self.kfuncs = {ref.insn: ref.name for ref in program.kfuncs}
        names = [spec.name for spec in program.maps]
        self.map_names = {
            index: name
            for index, name in enumerate(names)
            if names.index(name) == index and _WORD.match(name) is not None
        }

    def _scopes(self) -> list[int]:
        """For each slot the start of the function that holds it, -1 before the first."""
        scope, scopes = -1, []
        for index in range(len(self.insns)):
            scope = index if index in self.headers else scope
            scopes.append(scope)
        return scopes

    def _labels(self) -> dict[int, str]:
        targets = set()
        for index in self.starts:
            target = self._target(index)
            if (target is not None and self._local(index, target) and target not in self.names) or (
                target is not None and self._local(index, target) and _branches(self.insns[index])
            ):
                targets.add(target)
        return {target: f"l{number}" for number, target in enumerate(sorted(targets))}

    def _target(self, index: int) -> int | None:
        """The slot that the statement at `index` refers to."""
        insn = self.insns[index]
        if _branches(insn):
            return index + 1 + (insn.imm if insn.code == isa.OP_GOTOL else insn.off)
        if (insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL) or (
            insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_FUNC
        ):
            return index + 1 + insn.imm
        return None

    def _local(self, index: int, target: int) -> bool:
        """Whether a label at `target` can be seen from `index`."""
        return target in self.starts and self.scopes[target] == self.scopes[index]

    def symbol(self, index: int) -> str | None:
        """The name of what the statement at `index` refers to."""
        insn = self.insns[index]
        target = self._target(index)
        if target is not None:
            if not _branches(insn) and target in self.names:
                return self.names[target]
            return self.labels.get(target) if self._local(index, target) else None
        if insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_KFUNC_CALL:
            return self.kfuncs.get(index)
        if insn.code == isa.LD_IMM64 and insn.src in _MAP_REFERENCES:
            return self.map_names.get(insn.imm)
        return None

    def lines(self) -> list[str]:
        lines: list[str] = []
        notes = {info.insn: info for info in self.program.line_info}
        for index in self.starts:
            if index in self.headers:
                lines += ([""] if lines else []) + [self.headers[index][1]]
            if index in self.labels:
                lines.append(f"{self.labels[index]}:")
            if index in notes and notes[index].text:
                note = notes[index]
                lines.append(f"    ; {note.file}:{note.line}: {' '.join(note.text.split())}")
            lines += [f"    {text}" for text in self._statement(index)]
        return lines

    def _statement(self, index: int) -> Sequence[str]:
        insn = self.insns[index]
        wide = insn.code == isa.LD_IMM64
        slots = self.insns[index : index + 2] if wide else (insn,)
        text = disasm(insn, slots[-1] if len(slots) == 2 else None, style="text", symbol=self.symbol(index))
        if _reads_back(text, slots):
            return (text,)
        return [f".slot {encode((slot,)).hex()}" for slot in slots]


def _branches(insn: Insn) -> bool:
    if insn.code in (isa.OP_GOTOL, isa.OP_JA, isa.OP_MAY_GOTO):
        return True
    return insn.cls in (isa.JMP, isa.JMP32) and insn.op in _CONDITIONAL


_CONDITIONAL = frozenset(range(isa.JEQ, isa.JSGE + 1, 0x10)) | {isa.JLT, isa.JLE, isa.JSLT, isa.JSLE}


def _statements(insns: Sequence[Insn]) -> dict[int, None]:
    """Slots at which a line starts, in order."""
    starts: dict[int, None] = {}
    index = 0
    while index < len(insns):
        starts[index] = None
        index += 2 if insns[index].code == isa.LD_IMM64 and index + 1 < len(insns) else 1
    return starts


def _header(program: Program, info: FuncInfo) -> tuple[int, tuple[str, str]] | None:
    """(start, (name, line)) of a function whose prototype can be written."""
    try:
        assert program.btf is not None
        proto = program.btf.prototype(info.type_id)
        linkage = program.btf.linkage(info.type_id)
        parse_decl(str(proto))
    except InputError:
        return None
    if linkage == EXTERN or len(proto.params) > isa.MAX_FUNC_ARGS or info.insn >= len(program.insns):
        return None
    return info.insn, (proto.name, f"{'static ' if linkage == STATIC else ''}{proto}:")


def _reads_back(text: str, slots: Sequence[Insn]) -> bool:
    """Whether the assembler makes `slots` of `text`, but for what a name stands for."""
    statement = _statement(text)
    if statement is None:
        return False
    if statement.ref is None or len(statement.insns) != len(slots):
        return statement.insns == tuple(slots)
    first, made = slots[0], statement.insns[0]
    field = "off" if statement.ref.kind == "branch16" else "imm"
    kept = {field: getattr(first, field)}
    if statement.ref.kind == "call":
        kept["src"] = first.src
    return (replace(made, **kept), *statement.insns[1:]) == tuple(slots)


@lru_cache(maxsize=1 << 12)
def _statement(text: str) -> Statement | None:
    try:
        return read_statement(Cursor(text, "listing"))
    except InputError:
        return None
