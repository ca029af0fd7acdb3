"""A program as C in the manner of the kernel's BPF selftests: naked functions of inline assembly, annotated for test_loader.

    NAME.c        the program, with what is expected of it; becomes NAME.bpf.o
    btf__NAME.c   where functions have parameters: their names, which clang leaves out of naked functions' BTF

Knows what test_loader gives a program (64 zero bytes, flags), and what C can say of maps.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Final

from bpf import exceptions, isa, progtypes
from bpf.asm import Expectation
from bpf.btf_plain import lock_of
from bpf.errors import InputError
from bpf.kfuncs import KFUNCS
from bpf.maps import MapSpec, MapType
from bpf.program import Program, Request, RunInput
from bpf.proto import CType, FuncProto
from emu.fuzz.export_asm import Names, body
from emu.fuzz.export_c import c_string, declared, struct_lines
from emu.fuzz.finding import Finding
from emu.fuzz.reduce.draft import Draft

FLAGS: Final = {
    1 << 0: "BPF_F_STRICT_ALIGNMENT",
    1 << 1: "BPF_F_ANY_ALIGNMENT",
    1 << 2: "BPF_F_TEST_RND_HI32",
    1 << 3: "BPF_F_TEST_STATE_FREQ",
    1 << 7: "BPF_F_TEST_REG_INVARIANTS",
}
WIDTH: Final = 100
DATA: Final = (None, bytes(64))  # what a packet program finds in test_loader's run
MMAPABLE: Final = 1 << 10
_LOCK_SIZE: Final = 4
_RESERVED: Final = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "main",
        "bool",
        "true",
        "false",
    ]
)


def files(
    request: Request,
    others: Mapping[str, Program],
    finding: Finding | None,
    expectation: Expectation | None,
    stem: str,
) -> dict[str, str]:
    """One or two C files. Raises InputError that says what C, libbpf or test_loader have no way to say."""
    unit = _Unit(request, others, stem)
    made = {f"{stem}.c": unit.source(finding, expectation)}
    if unit.prototypes:
        made[f"btf__{stem}.c"] = unit.names_source()
    return made


class _Unit:
    """One source file in the making."""

    def __init__(self, request: Request, others: Mapping[str, Program], stem: str) -> None:
        self.request = request
        self.stem = stem
        self.programs = {request.program.name: request.program, **others}
        self.taken: set[str] = set(KFUNCS)
        self.titles = {
            name: self._name(stem if name == request.program.name else name) for name in self.programs
        }
        self.maps: dict[str, tuple[MapSpec, str]] = {}
        self.data: set[str] = set()  # maps that are global variables
        self.places: dict[tuple[str, int], str] = {}
        self.locks: dict[str, int] = {}  # of these, the byte of the values at which a lock lies
        self.prototypes: list[FuncProto] = []
        self.kfuncs: dict[str, FuncProto] = {}

    def bad(self, why: str) -> InputError:
        return InputError(self.request.program.name, "", f"is no selftest: {why}")

    def _name(self, wanted: str) -> str:
        """A C identifier that nothing else has."""
        plain = re.sub(r"\W", "_", wanted, flags=re.ASCII) or "f"
        if plain[0].isdigit() or plain in _RESERVED or re.fullmatch(r"[rw]\d+", plain):
            plain = f"f_{plain}"
        name, number = plain, 2
        while name in self.taken:
            name, number = f"{plain}_{number}", number + 1
        self.taken.add(name)
        return name

    # ---- the whole

    def source(self, finding: Finding | None, expectation: Expectation | None) -> str:
        """NAME.c."""
        functions: list[str] = []
        for name, program in reversed(self.programs.items()):
            main = name == self.request.program.name
            tags, notes = self._tags(expectation) if main else (["__auxiliary"], [])
            functions += self._program(program, self.titles[name], tags, notes)
        head = ["// SPDX-License-Identifier: GPL-2.0", *_comment(finding)]
        head += ["#include <vmlinux.h>", "#include <bpf/bpf_helpers.h>", '#include "bpf_misc.h"', ""]
        parts = [*head, *self._kfunc_lines(), *self._map_lines(), *functions]
        parts.append(f'char _license[] SEC("license") = "{c_string(self.request.program.license)}";')
        return "\n".join(parts) + "\n"

    def names_source(self) -> str:
        """btf__NAME.c."""
        parts = ["// SPDX-License-Identifier: GPL-2.0", f"/* Names of the parameters in {self.stem}.c. */"]
        parts += ["#include <vmlinux.h>", "#include <bpf/bpf_helpers.h>", ""]
        parts += struct_lines(self.prototypes)
        for proto in self.prototypes:
            result = "" if proto.ret.kind == "void" else "\treturn 0;\n"
            parts.append(f"{declared(proto)}\n{{\n{result}}}\n")
        return "\n".join(parts)

    # ---- what is expected

    def _tags(self, expectation: Expectation | None) -> tuple[list[str], list[str]]:
        """(annotations, comments) of the program that is run."""
        program = self.request.program
        flags = program.prog_flags & ~_section(program, self.bad)[1]
        unknown = flags & ~sum(FLAGS)
        if unknown:
            raise self.bad(f"there is no annotation for the flags {unknown:#x}")
        tags = [f"__flag({name})" for bit, name in FLAGS.items() if flags & bit]
        if expectation is None:
            return tags, []
        if not expectation.accepted:
            message = f' __msg("{c_string(expectation.message)}")' if expectation.message else ""
            return [f"__failure{message}", *tags], []
        note = self._odd_run()
        if not expectation.retvals or note:
            return ["__success", *tags], [note] if note and expectation.retvals else []
        return [f"__success __retval({isa.sext(expectation.retvals[0], 32)})", *tags], []

    def _odd_run(self) -> str:
        """Why test_loader does not run the program as it was run here, "" when it does."""
        run = self.request.runs[0] if self.request.runs else RunInput()
        if run.data_in not in DATA or any(run.ctx_in or b"") or run.repeat > 1 or run.flags:
            return "not run: test_loader cannot give it its input"
        if any(
            any(value) for spec in self.request.program.maps for _, value in spec.elems if not _is_data(spec)
        ):
            return "not run: test_loader cannot fill its maps"
        return ""

    # ---- code

    def _program(self, program: Program, title: str, tags: list[str], notes: list[str]) -> Iterator[str]:
        draft = Draft.of(program)
        bounds = draft.bounds()
        if draft.functions and len(draft.functions) != len(bounds):
            raise self.bad("its BTF names other functions than it has")
        titles = {0: title}
        protos: dict[int, FuncProto | None] = {}
        for first, _ in bounds[1:]:
            function = draft.function_at(first)
            wanted = function.proto.name if function is not None else ""
            titles[first] = self._name(wanted or f"f{first}")
            protos[first] = None
            if function is not None and function.proto.params:
                protos[first] = FuncProto(titles[first], function.proto.ret, function.proto.params)
        self._use_maps(program, draft)
        for item in draft.items:
            if item.calls_function and item.target is not None and draft.find(item.target) == 0:
                raise self.bad("its main program is called as a function")
            if item.kfunc is not None:
                self._use_kfunc(item.kfunc[0])
        names = Names(titles, self._map_titles(program), self._places(program))
        for first, end in bounds[1:]:
            function = draft.function_at(first)
            static = function is None or not function.linkage
            proto = protos[first] or FuncProto(titles[first], CType("int", "u64", 64), ())
            if proto.params:
                self.prototypes.append(proto)
            yield f"__noinline __used __naked\n{'static ' if static else ''}{declared(proto)}"
            yield from _function(draft, first, end, names)
        if any(proto for proto in protos.values()):
            tags = [*tags, f'__btf_func_path("btf__{self.stem}.bpf.o")']
        section = _section(program, self.bad)[0]
        yield from (f"/* {note} */" for note in notes)
        yield f'SEC("{c_string(section)}")'
        yield from tags
        caught = exceptions.callback(program)
        if caught is not None:
            taker = titles[next(first for first, _ in bounds if draft.items[first].key == caught)]
            yield f'__attribute__((btf_decl_tag("{exceptions.TAG}{taker}")))'
        yield f"__naked void {title}(void)"
        yield from _function(draft, *bounds[0], names)

    def _use_kfunc(self, name: str) -> None:
        if name not in KFUNCS:
            raise self.bad(f"nothing is known of the kfunc {name}")
        self.kfuncs[name] = KFUNCS[name].proto

    def _kfunc_lines(self) -> Iterator[str]:
        """Declarations, and the function without which clang writes no BTF of what only assembly calls."""
        if not self.kfuncs:
            return
        yield from struct_lines(self.kfuncs.values())
        yield from (f"extern {declared(proto)} __ksym;" for proto in self.kfuncs.values())
        calls = [f"\t{name}({', '.join('0' for _ in proto.params)});" for name, proto in self.kfuncs.items()]
        yield "\n".join(["", "void __kfunc_btf_root(void)", "{", *calls, "}", ""])

    # ---- maps

    def _use_maps(self, program: Program, draft: Draft) -> None:
        """Give every map that is referred to a name; programs of a file share those of equal name."""
        for item in draft.items:
            number = item.map_index
            if number is None:
                continue
            if number >= len(program.maps):
                raise self.bad(f"it refers to map {number} of {len(program.maps)}")
            spec = program.maps[number]
            key = _key(program, number)
            if key not in self.maps:
                lock = lock_of(spec, program.btf)
                why = _unsayable(spec, {i.insn.src for i in draft.items if i.map_index == number})
                if lock is not None:
                    self.locks[key] = lock
                if why:
                    raise self.bad(why)
                self.maps[key] = (spec, self._name(spec.name.strip(".").replace(".", "_") or f"map{number}"))
            if item.insn.src == isa.PSEUDO_MAP_VALUE:
                self.data.add(key)
                if item.high and (key, item.high) not in self.places:
                    self.places[key, item.high] = self._name(f"{self.maps[key][1]}_{item.high}")

    def _map_titles(self, program: Program) -> dict[int, str]:
        found = {number: _key(program, number) for number in range(len(program.maps))}
        return {number: self.maps[key][1] for number, key in found.items() if key in self.maps}

    def _places(self, program: Program) -> dict[tuple[int, int], str]:
        made = {}
        for number in range(len(program.maps)):
            for (key, off), name in self.places.items():
                if key == _key(program, number):
                    made[number, off] = name
        return made

    def _map_lines(self) -> Iterator[str]:
        for key, (spec, title) in self.maps.items():
            places = {off: name for (owner, off), name in self.places.items() if owner == key}
            if key in self.data:
                yield from _data_lines(spec, title, places, self.locks.get(key))
            else:
                yield from self._declaration(spec, title)
            yield ""

    def _declaration(self, spec: MapSpec, title: str) -> Iterator[str]:
        missing = [name for _, name in spec.progs if name not in self.titles]
        if missing:
            raise self.bad(f"program {missing[0]} is in a prog array, but not in this file")
        yield from dict.fromkeys(f"void {self.titles[name]}(void);" for _, name in spec.progs)
        yield "struct {"
        yield f"\t__uint(type, BPF_MAP_TYPE_{MapType(spec.type).name});"
        yield f"\t__uint(max_entries, {spec.max_entries});"
        if spec.flags:
            yield f"\t__uint(map_flags, {spec.flags:#x});"
        if spec.extra:
            yield f"\t__ulong(map_extra, {spec.extra:#x});"
        if spec.key_size:
            yield f"\t__uint(key_size, {spec.key_size});"
        if not spec.progs:
            if spec.value_size:
                yield f"\t__uint(value_size, {spec.value_size});"
            yield f'}} {title} SEC(".maps");'
            return
        yield "\t__array(values, void (void));"
        yield f'}} {title} SEC(".maps") = {{'
        rows = [f"[{index}] = (void *)&{self.titles[name]}" for index, name in spec.progs]
        yield f"\t.values = {{ {', '.join(rows)} }},"
        yield "};"


def _key(program: Program, number: int) -> str:
    spec = program.maps[number]
    return spec.name or f"{program.name} {number}"


def _is_data(spec: MapSpec) -> bool:
    return spec.type == MapType.ARRAY and spec.max_entries == 1 and spec.key_size == 4


def _unsayable(spec: MapSpec, sources: set[int]) -> str:
    """Why C cannot declare the map as it is referred to, "" when it can."""
    if spec.type not in MapType.__members__.values():
        return f"there is no map type {spec.type}"
    if spec.inner is not None or spec.inner_maps:
        return "it has a map of maps"
    if spec.freeze:
        return "it has a frozen map"
    if isa.PSEUDO_MAP_VALUE not in sources:
        return "it has a map with BTF" if spec.btf_key or spec.btf_value else ""
    if isa.PSEUDO_MAP_FD in sources:
        return "it uses a map both as such and by the address of its values"
    if not _is_data(spec) or spec.flags & ~MMAPABLE:
        return "it takes the address of a value that is no global variable"
    return ""


def _data_lines(
    spec: MapSpec, title: str, places: Mapping[int, str], lock: int | None = None
) -> Iterator[str]:
    """The values of an array as a global variable, and a symbol for each byte that assembly refers to.

    lock: the byte at which a lock lies; it and what is around it are variables that follow each other.
    """
    data = next((value for key, value in reversed(spec.elems) if not any(key)), b"")
    data = data.ljust(spec.value_size, b"\0")
    section = f'SEC(".data.{title}") __attribute__((aligned({8 if lock is None else 4})))'
    parts = [(title, 0, spec.value_size)]
    if lock is not None:
        parts = [(title, 0, lock), (f"{title}_behind", lock + _LOCK_SIZE, spec.value_size)]
    for number, (name, first, end) in enumerate(parts):
        if number == 1:
            yield f"struct bpf_spin_lock {title if not lock else f'{title}_lock'} {section};"
        some = data[first:end]
        filled = f" = {{ {', '.join(map(str, some))} }}" if any(some) else ""
        if some:
            yield f"char {name}[{end - first}] {section}{filled};"
    for off, name in sorted(places.items()):
        yield f'asm (".globl {name}; .type {name}, @object; .set {name}, {title} + {off};");'


# ---------------------------------------------------------------- C


def _function(draft: Draft, first: int, end: int, names: Names) -> Iterator[str]:
    """The body of a naked function, braces included."""
    names.used.clear()
    lines = list(body(draft, first, end, names))
    handed = [f"__imm({name})" if how == "imm" else f"__imm_addr({name})" for name, how in names.used.items()]
    yield "{"
    yield "\tasm volatile ("
    yield from (f'{"" if _is_label(line) else chr(9)}\t"{c_string(line)}"' for line in lines)
    yield f"\t:: {', '.join(handed)}" if handed else "\t::"
    yield "\t: __clobber_all);"
    yield "}\n"


def _is_label(line: str) -> bool:
    return line.endswith(":")


def _section(program: Program, bad: Callable[[str], InputError]) -> tuple[str, int]:
    """(section, flags that it implies) of a program."""
    if program.section and progtypes.find(program.section):
        found = progtypes.find(program.section)
        assert found is not None
        return program.section, found.prog_flags
    wanted = (program.prog_type, program.expected_attach_type)
    for one in progtypes.SECTIONS:
        plain = (
            not one.flags & progtypes.SecFlag.ATTACH_BTF
            and program.prog_flags & one.prog_flags == one.prog_flags
        )
        if (one.prog_type, one.attach_type) == wanted and plain:
            return one.name.rstrip("+"), one.prog_flags
    # test_loader loads an xdp program without its attach type as well as with it
    for one in progtypes.SECTIONS:
        if one.name == program.prog_type and not program.expected_attach_type:
            return one.name, one.prog_flags
    raise bad(f"no section makes a program of type {program.prog_type}")


def _comment(finding: Finding | None) -> Sequence[str]:
    if finding is None:
        return ()
    text = f"{finding.oracle}: {finding.kind}: {finding.message}".replace("*/", "* /")
    return ("/*", *(f" * {line}" for line in wrap(text, WIDTH - 3)), " */")
