"""Assembly text to programs: bare instructions, and the `.bpf` format of docs/text-format.md.

One instruction is read by bpf.statement; this module gives lines their meaning: functions, labels, maps, kfuncs,
input and expectation. It does not judge programs: what the kernel would refuse can be written, too. The way back is
bpf.listing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bpf import isa, progtypes
from bpf.btf_plain import plain
from bpf.btf_types import GLOBAL, STATIC
from bpf.decl import read_decl
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from bpf.lexer import Cursor
from bpf.maps import MapSpec, MapType
from bpf.program import FuncInfo, Program, RunInput
from bpf.unit import Function, Unit, module_of, read_instruction, read_label, resolve

MAX_LINES = 4 * isa.MAX_INSNS


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a text says its program comes to; None and empty: it does not say.

    errno: of the load, when rejected. message: the explaining line of the log. run_errno: of the test run.
    retvals: one a run; the last one counts for all further runs. line: where it stands, from 1.
    """

    accepted: bool
    errno: str = ""
    message: str | None = None
    run_errno: str = ""
    retvals: tuple[int, ...] = ()
    line: int = 0

    def __str__(self) -> str:
        parts = ["accepted" if self.accepted else f"rejected {self.errno}".rstrip()]
        if self.message is not None:
            parts.append(f'"{self.message}"')
        if self.run_errno:
            parts.append(f"run {self.run_errno}")
        if self.retvals:
            parts.append("retval " + " ".join(map(str, self.retvals)))
        return "expect: " + ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Assembly:
    """A whole text. programs: at least one; the first is the one to run, others are targets of its tail calls."""

    programs: tuple[Program, ...]
    runs: tuple[RunInput, ...] = (RunInput(),)
    expect: Expectation | None = None

    @property
    def program(self) -> Program:
        """The one to run."""
        return self.programs[0]


def assemble(text: str, what: str = "assembly") -> tuple[Insn, ...]:
    """The instructions of `text`, one a line, with labels. Raises InputError with line and column.

    Names of functions are labels; names of maps and kfuncs cannot be resolved here, unless as `map[0]` or
    `okf_sum8#0`.
    """
    unit = Unit("")
    for number, line in enumerate(text.split("\n"), 1):
        cur = Cursor(line, what, number)
        if cur.peek().kind != "end" and not read_label(cur, unit):
            read_instruction(cur, unit)
    return resolve(unit, what, maps=(), bare=True)[0]


def parse(text: str, name: str) -> Assembly:
    """A `.bpf` text. name: what the program is called unless the text says so. Raises InputError."""
    parser = _Parser(name)
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise InputError(name, f"line {MAX_LINES + 1}", f"more than {MAX_LINES} lines")
    for number, line in enumerate(lines, 1):
        parser.read_line(Cursor(line, name, number))
    return parser.finish()


# ---------------------------------------------------------------- whole texts

_PROG_NUMBERS = {
    "flags": ("prog_flags", isa.U32),
    "expected_attach_type": ("expected_attach_type", isa.U32),
    "attach_btf_id": ("attach_btf_id", isa.U32),
}
_PROG_STRINGS = {
    "name": "name",
    "license": "license",
    "attach_to": "attach_to",
    "type": "prog_type",
    "section": "section",
    "catches": "catches",
}
_RUN_NUMBERS = {
    "repeat": ("repeat", isa.U32),
    "flags": ("flags", isa.U32),
    "data_out": ("data_out_size", isa.U32),
    "ctx_out": ("ctx_out_size", isa.U32),
}
_OF_MAPS = frozenset({"elem", "progs", "maps", "inner"})
_MAP_NUMBERS = {
    "key": "key_size",
    "value": "value_size",
    "max": "max_entries",
    "flags": "flags",
    "extra": "extra",
    "btf_key": "btf_key",
    "btf_value": "btf_value",
}


_LOCK_MOST = (1 << 24) - 1  # bytes; a place of a member in BTF is a number of bits


class _Parser:
    """Line by line; `prog` opens a program, `map` and `extern` before the first one belong to all."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shared = Unit(name)
        self.units: list[Unit] = []
        self.runs: list[RunInput] = []
        self.expect: Expectation | None = None
        self.in_map = False
        self.directives: dict[str, Callable[[Cursor], None]] = {
            "prog": self._prog,
            "map": self._map,
            "elem": self._elem,
            "progs": self._progs,
            "maps": self._maps,
            "inner": self._inner,
            "extern": self._extern,
        }

    def read_line(self, cur: Cursor) -> None:
        token = cur.peek()
        if token.kind == "end":
            return
        start = cur.at
        label = cur.label()
        if label in ("input", "expect"):
            (self._input if label == "input" else self._expect)(cur)
        elif label is None and token.text in self.directives:
            cur.next()
            self.in_map = self.in_map and token.text in _OF_MAPS
            self.directives[token.text](cur)
        elif _is_function(cur):
            self._function(cur)
        else:
            cur.at = start
            if not read_label(cur, self._unit()):
                read_instruction(cur, self._unit())
        cur.end()

    def _unit(self) -> Unit:
        """The program that is being written; text without `prog` is one of the default type."""
        if not self.units:
            self.units.append(Unit(self.name))
        return self.units[-1]

    def _here(self) -> Unit:
        """Where maps and kfuncs are declared."""
        return self.units[-1] if self.units else self.shared

    # ---- directives

    def _prog(self, cur: Cursor) -> None:
        if self.units and not self.units[-1].started and not self.units[-1].options:
            self.units.pop()
        unit = Unit(self.name)
        if cur.peek().text != "type":
            self._section(cur, unit)
        while cur.peek().kind != "end":
            key = cur.expect(*_PROG_STRINGS, *_PROG_NUMBERS)
            if key in _PROG_STRINGS:
                unit.options[_PROG_STRINGS[key]] = _value(cur, f"the {key}")
            else:
                option, high = _PROG_NUMBERS[key]
                unit.options[option] = cur.number(key, 0, high)
        unit.name = str(unit.options.pop("name", self.name))
        self.units.append(unit)

    def _section(self, cur: Cursor, unit: Unit) -> None:
        """A section name, with all that it implies, or the kernel's name of a program type."""
        at = cur.peek_at()
        section = _path(cur)
        found = progtypes.find(section)
        if found is not None:
            unit.options |= {
                "section": section,
                "prog_type": found.prog_type,
                "expected_attach_type": found.attach_type,
                "prog_flags": found.prog_flags,
                "attach_to": progtypes.target(section, found),
            }
        elif section in progtypes.NUMBERS:
            unit.options["prog_type"] = section
        else:
            cur.fail(f"'{section}' is neither a section nor a program type", at)

    def _map(self, cur: Cursor) -> None:
        at = cur.peek_at()
        name, made, lock = _map_spec(cur)
        unit = self._here()
        if name and any(m.name == name for m in unit.maps + self.shared.maps):
            cur.fail(f"map '{name}' is already declared", at)
        unit.maps.append(made)
        unit.locks.append(lock)
        self.in_map = True

    def _last_map(self, cur: Cursor) -> tuple[list[MapSpec], MapSpec]:
        maps = self._here().maps
        if not self.in_map or not maps:
            cur.fail("this belongs behind a line that declares a map", 0)
        return maps, maps[-1]

    def _elem(self, cur: Cursor) -> None:
        maps, spec = self._last_map(cur)
        key = cur.hex("a key") if cur.at_hex() else b""
        cur.expect("=")
        value = cur.hex("a value")
        maps[-1] = replace(spec, elems=(*spec.elems, (key, value)))

    def _progs(self, cur: Cursor) -> None:
        maps, spec = self._last_map(cur)
        index = cur.number("an index", 0, isa.U32)
        cur.expect("=")
        maps[-1] = replace(spec, progs=(*spec.progs, (index, cur.string("a name of a program"))))

    def _maps(self, cur: Cursor) -> None:
        maps, spec = self._last_map(cur)
        index = cur.number("an index", 0, isa.U32)
        cur.expect("=")
        maps[-1] = replace(spec, inner_maps=(*spec.inner_maps, (index, cur.string("a name of a map"))))

    def _inner(self, cur: Cursor) -> None:
        maps, spec = self._last_map(cur)
        maps[-1] = replace(spec, inner=_map_spec(cur)[1])

    def _extern(self, cur: Cursor) -> None:
        """`extern okf_x module m` or `extern u64 okf_x(u64 a) module m`."""
        declared = _is_function(cur, colon=False)
        proto = read_decl(cur)[1] if declared else None
        name = proto.name if proto is not None else cur.word("a name of a kfunc")
        module = module_of(name)
        if cur.accept("module"):
            module = cur.string("a name of a module")
        self._here().externs[name] = module
        if (
            proto is not None and name not in KFUNCS
        ):  # of those in the table the kernel's own prototype counts
            self._here().declared[name] = proto

    def _function(self, cur: Cursor) -> None:
        at = cur.peek_at()
        storage, proto = read_decl(cur)
        cur.expect(":")
        if len(proto.params) > isa.MAX_FUNC_ARGS:
            cur.fail(
                f"{proto.name}() has {len(proto.params)} parameters; the limit is {isa.MAX_FUNC_ARGS}", at
            )
        unit = self._unit()
        if any(f.proto.name == proto.name for f in unit.functions):
            cur.fail(f"function '{proto.name}' is already defined", at)
        linkage = STATIC if "static" in storage else GLOBAL
        unit.functions.append(Function(len(unit.insns), proto, linkage))
        unit.labels.append({})

    def _input(self, cur: Cursor) -> None:
        values: dict[str, Any] = {}
        while cur.peek().kind != "end":
            key = cur.expect("data", "ctx", *_RUN_NUMBERS)
            if key in _RUN_NUMBERS:
                name, high = _RUN_NUMBERS[key]
                values[name] = cur.number(key, 0, high)
            else:
                values[f"{key}_in"] = cur.hex(key) if cur.at_hex() else _empty(cur, key)
        self.runs.append(replace(RunInput(), **values))

    def _expect(self, cur: Cursor) -> None:
        if self.expect is not None:
            cur.fail(f"there is an expectation in line {self.expect.line} already", 0)
        accepted = cur.expect("accepted", "rejected") == "accepted"
        errno = run_errno = ""
        if not accepted and cur.peek().kind == "word":
            errno = cur.next().text
        message = None
        retvals: list[int] = []
        while cur.peek().kind != "end":
            cur.accept(",")
            if cur.peek().kind == "string":
                message = cur.string("a message")
                continue
            if cur.expect("retval", "run") == "run":
                run_errno = cur.word("an errno")
                continue
            retvals.append(cur.number("a return value", isa.S32_MIN, isa.U32) & isa.U32)
            while cur.at_number():
                retvals.append(cur.number("a return value", isa.S32_MIN, isa.U32) & isa.U32)
        self.expect = Expectation(accepted, errno, message, run_errno, tuple(retvals), cur.line)

    # ---- the end

    def finish(self) -> Assembly:
        if not self.units or not any(unit.insns for unit in self.units):
            raise InputError(self.name, "", "there is no instruction in this text")
        programs = tuple(self._program(unit) for unit in self.units)
        return Assembly(programs, tuple(self.runs) or (RunInput(),), self.expect)

    def _program(self, unit: Unit) -> Program:
        maps = (*self.shared.maps, *unit.maps)
        unit.externs = self.shared.externs | unit.externs
        insns, kfuncs = resolve(unit, self.name, maps)
        called = {ref.name for ref in kfuncs}
        types = plain(
            [(f.proto, f.linkage) for f in unit.functions],
            maps,
            (*self.shared.locks, *unit.locks),
            str(unit.options.pop("catches", "")),
            [proto for name, proto in (self.shared.declared | unit.declared).items() if name in called],
        )
        func_info = tuple(FuncInfo(f.start, tid) for f, tid in zip(unit.functions, types.ids, strict=True))
        made = Program(unit.name, insns, btf=types.btf, func_info=func_info, maps=types.maps, kfuncs=kfuncs)
        return replace(made, **unit.options)


def _is_function(cur: Cursor, *, colon: bool = True) -> bool:
    """Whether the line reads as a declaration: it has a `(` behind two words, and ends in `):`."""
    text = cur.text[cur.at :].strip()
    if colon:
        if not text.endswith(":"):
            return False
        text = text[:-1].rstrip()
    head, paren, _ = text.partition("(")
    return paren == "(" and text.rpartition(")")[1] == ")" and len(head.replace("*", " ").split()) >= 2


def _value(cur: Cursor, wanted: str) -> str:
    """A word, a number (a program type may be one) or a quoted string."""
    return cur.next().text if cur.peek().kind == "number" else cur.string(wanted)


def _empty(cur: Cursor, wanted: str) -> bytes:
    if not cur.accept("empty"):
        cur.fail(f"expected {wanted} as hex digits, or 'empty'")
    return b""


def _path(cur: Cursor) -> str:
    """A section name runs to the next blank."""
    at = cur.peek_at()
    words = cur.text[at:].split(maxsplit=1)
    if not words:
        cur.fail("expected a section or a program type")
    cur.at = at + len(words[0])
    return words[0].strip('"')


def _map_type(cur: Cursor) -> int:
    if cur.at_number():
        return cur.number("a map type", 0, isa.U32)
    at = cur.peek_at()
    name = cur.word("a map type")
    if name.upper() not in MapType.__members__:
        cur.fail(f"unknown map type '{name}'", at)
    return MapType[name.upper()].value


def _map_spec(cur: Cursor) -> tuple[str, MapSpec, int | None]:
    """`name: type key N value N max N ...`; the name may be "". Also the byte of its values at which a lock lies."""
    name = cur.string("a name of a map")
    cur.expect(":")
    numbers: dict[str, int] = {"key_size": 0, "value_size": 0, "max_entries": 0}
    marks: dict[str, bool] = {}
    kind = _map_type(cur)
    lock = None
    while cur.peek().kind != "end":
        key = cur.expect(*_MAP_NUMBERS, "lock", "dump", "freeze")
        if key == "lock":
            lock = cur.number(key, 0, _LOCK_MOST)
        elif key in _MAP_NUMBERS:
            numbers[_MAP_NUMBERS[key]] = cur.number(key, 0, isa.U64 if key == "extra" else isa.U32)
        else:
            marks[key] = True
    spec = MapSpec(name, kind, numbers.pop("key_size"), numbers.pop("value_size"), numbers.pop("max_entries"))
    spec = replace(
        spec,
        flags=numbers.get("flags", 0),
        extra=numbers.get("extra", 0),
        freeze=marks.get("freeze", False),
        dump=marks.get("dump", False),
        btf_key=numbers.get("btf_key", 0),
        btf_value=numbers.get("btf_value", 0),
    )
    return name, spec, lock
