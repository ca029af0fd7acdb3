"""Loads a BPF object file: what libbpf 1.7 would hand to the kernel, one `Program` for each of its programs.

Reads no bytes itself: elf_file, btf and btf_ext do; elf_maps makes the maps, btf_fixup the BTF, elf_code and link the programs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from bpf import btf_check, btf_fixup, elf_file, elf_maps, isa, progtypes
from bpf.btf import EXTERN, GLOBAL, Btf, Kind
from bpf.btf_ext import BtfExt, CoreRecord, FuncRecord, LineRecord
from bpf.btf_wire import DanglingError
from bpf.elf_code import Function, functions_of
from bpf.elf_file import WEAK, ElfObject
from bpf.errors import InputError
from bpf.link import Extern, Linked, Linker, UnsupportedError
from bpf.maps import MapSpec
from bpf.program import FuncInfo, LineInfo, Program

_MAX_FILE = 1 << 27
_MAX_LICENSE = 63
_CALLBACK_TAG = "exception_callback:"

R = TypeVar("R", FuncRecord, LineRecord, CoreRecord)


@dataclass(frozen=True, slots=True)
class Object:
    """A loaded object. programs: in order of section and place.

    maps: all of the object's, as every program has them. btf: fixed up, as the kernel gets it; None when the object
    has none or the kernel would refuse it, and then btf_refused says why. raw_btf, btf_ext: as in the file.
    unsupported: (name, one line why) of programs that need something which is not done here.
    """

    name: str
    programs: tuple[Program, ...]
    maps: tuple[MapSpec, ...] = ()
    license: str = ""
    btf: Btf | None = None
    raw_btf: Btf | None = None
    btf_ext: BtfExt | None = None
    btf_refused: str = ""
    unsupported: tuple[tuple[str, str], ...] = field(default=())

    def program(self, name: str) -> Program:
        """The program of this name. Raises InputError when the object has none."""
        for program in self.programs:
            if program.name == name:
                return program
        for refused, why in self.unsupported:
            if refused == name:
                raise InputError(self.name, f"program {name}", why.removeprefix(f"{self.name}: "))
        raise InputError(
            self.name, "", f"no program {name!r}; it has {', '.join(p.name for p in self.programs)}"
        )


def load(
    source: Path | str | bytes, name: str = "", *, trust_layout: bool = False, keep_btf: bool = False
) -> Object:
    """Loads an object from a path or from its bytes; `name` names it in errors (default: the path).

    trust_layout: take CO-RE relocations as done, for objects compiled against the very kernel that is modelled.
    keep_btf: give programs their BTF even where the kernel would refuse it, for a caller that replaces it.
    Raises InputError, one line, for everything that libbpf would refuse and for what it could but we can't do.
    """
    what = name or ("object" if isinstance(source, bytes) else str(source))
    elf = elf_file.read(_bytes(source, what), what)
    if elf.find("maps") is not None:
        raise InputError(
            what,
            "section maps",
            "legacy map definitions are not supported; define maps with BTF in section .maps",
        )
    raw_btf, dangling = _btf(elf, what)
    ext_section = elf.find(".BTF.ext") if raw_btf else None
    ext = BtfExt.parse(ext_section.data, f"{what}: section .BTF.ext") if ext_section else None
    if raw_btf:
        _check_functions(raw_btf)
    btf = btf_fixup.fix(raw_btf, elf) if raw_btf else None
    maps = elf_maps.collect(elf, btf)
    refused = btf_check.refusal(btf) if btf else dangling
    # libbpf goes on without BTF that the kernel does not take.
    kernel_btf = None if refused and not keep_btf else btf
    specs = tuple(m.spec if kernel_btf else _without_btf(m.spec) for m in maps)
    cores = _by_section(elf, raw_btf, ext.cores) if ext and raw_btf else {}
    functions = functions_of(
        elf, {index: sorted(records, key=lambda r: r.offset) for index, records in cores.items()}
    )
    linker = Linker(
        elf,
        functions,
        _externs(elf, raw_btf),
        {
            (m.section, m.offset): i
            for i, m in enumerate(maps)
            if elf.sections[m.section].name == elf_maps.MAPS
        },
        {m.section: i for i, m in enumerate(maps) if elf.sections[m.section].name != elf_maps.MAPS},
        specs,
        trust_layout=trust_layout,
    )
    made = _Programs(elf, functions, linker, specs, _license(elf), kernel_btf, ext)
    programs, unsupported = made.all()
    return Object(what, programs, specs, made.license, kernel_btf, raw_btf, ext, refused or "", unsupported)


def _bytes(source: Path | str | bytes, what: str) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        path = Path(source)
        if path.stat().st_size > _MAX_FILE:
            raise InputError(what, "", f"larger than {_MAX_FILE} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InputError(what, "", error.strerror or "cannot be read") from error
    except ValueError as error:
        raise InputError(what, "", f"no file name ({error})") from error


def _btf(elf: ElfObject, what: str) -> tuple[Btf | None, str]:
    """(the object's BTF, "") or (None, why it is dropped). Raises InputError.

    clang 23 -gline-tables-only writes functions whose prototype is a random type id. libbpf goes on without such BTF
    unless it needs it, for maps or externs.
    """
    section = elf.find(".BTF")
    if section is None:
        return None, ""
    try:
        return Btf.parse(section.data, f"{what}: section .BTF"), ""
    except DanglingError as error:
        if elf.find(elf_maps.MAPS) is not None:
            raise
        return None, f"{error.where}: {error.why}"


def _license(elf: ElfObject) -> str:
    """Text of section license; "" when there is none, as the kernel sees it then."""
    section = elf.find("license")
    return section.data[:_MAX_LICENSE].split(b"\0")[0].decode("utf-8", "backslashreplace") if section else ""


def _without_btf(spec: MapSpec) -> MapSpec:
    return replace(spec, btf_key=0, btf_value=0)


def _check_functions(btf: Btf) -> None:
    for tid, t in enumerate(btf.types):
        if t.kind is Kind.FUNC and t.linkage != EXTERN:
            count = len(btf.types[t.type].params)
            if count > isa.MAX_FUNC_ARGS:
                raise InputError(
                    btf.what,
                    f"type {tid}",
                    f"function {t.name} has {count} arguments, at most {isa.MAX_FUNC_ARGS} are possible",
                )


def _by_section(
    elf: ElfObject, btf: Btf, parts: Sequence[tuple[int, tuple[R, ...]]]
) -> dict[int, tuple[R, ...]]:
    """Records of a part of .BTF.ext by section index; of a section that comes twice, libbpf takes the first."""
    names = {s.name: s.index for s in reversed(elf.sections)}
    out: dict[int, tuple[R, ...]] = {}
    for name_off, records in parts:
        name = _string(btf, name_off)
        if name in names:
            out.setdefault(names[name], records)
    return out


def _string(btf: Btf, offset: int) -> str:
    end = btf.strings.find(b"\0", offset)
    if offset >= len(btf.strings) or end < 0:
        raise InputError(
            btf.what.replace(".BTF", ".BTF.ext"),
            "",
            f"string offset {offset} is past the end of the {len(btf.strings)} bytes of strings",
        )
    return btf.strings[offset:end].decode("utf-8", "backslashreplace")


def _externs(elf: ElfObject, btf: Btf | None) -> dict[str, Extern]:
    """Externs by name, with what BTF says of them; those that BTF does not know are left out (an error only where they are used)."""
    if btf is None:
        return {}
    sections = {v.type: t.name for t in btf.types if t.kind is Kind.DATASEC for v in t.vars}
    found: list[tuple[str, str, bool]] = []
    for symbol in elf.symbols:
        if not symbol.is_extern or not symbol.name:
            continue
        function = btf.find(symbol.name, Kind.FUNC)
        tid = function if function is not None else btf.find(symbol.name, Kind.VAR)
        if tid is None or btf.types[tid].linkage != EXTERN or tid not in sections:
            continue
        if sections[tid] == ".kconfig":
            kind = "kconfig"
        elif function is not None:
            kind = "kfunc"
        else:
            kind = "variable" if btf.resolve(btf.types[tid].type) else "address"
        found.append((symbol.name, kind, symbol.bind == WEAK))
    # libbpf sorts them: those of .kconfig first, then by name
    found.sort(key=lambda e: (e[1] != "kconfig", e[0]))
    return {name: Extern(name, kind, weak, index) for index, (name, kind, weak) in enumerate(found)}


class _Programs:
    """Makes the `Program`s of an object."""

    def __init__(
        self,
        elf: ElfObject,
        functions: tuple[Function, ...],
        linker: Linker,
        maps: tuple[MapSpec, ...],
        license_: str,
        btf: Btf | None,
        ext: BtfExt | None,
    ) -> None:
        self._elf = elf
        self._functions = functions
        self._linker = linker
        self._maps = maps
        self.license = license_
        self._btf = btf
        self._funcs = _by_section(elf, btf, ext.funcs) if btf and ext else {}
        self._lines = _by_section(elf, btf, ext.lines) if btf and ext else {}
        self._texts: dict[int, str] = {}
        self._callbacks = self._find_callbacks()

    def all(self) -> tuple[tuple[Program, ...], tuple[tuple[str, str], ...]]:
        """(programs, (name, why) of those that are not supported). Raises InputError when there is none at all."""
        programs: list[Program] = []
        unsupported: list[tuple[str, str]] = []
        used: set[tuple[int, int]] = set()
        stray: list[Function] = []
        first: UnsupportedError | None = None
        for function in self._functions:
            section = self._elf.sections[function.section].name
            if section == ".text" or not function.exported:
                continue
            definition = progtypes.find(section)
            if definition is None:
                stray.append(function)
                continue
            try:
                if definition.prog_type == "struct_ops":
                    raise UnsupportedError(
                        self._elf.what, f"program {function.name}", "struct_ops programs are not supported"
                    )
                linked = self._linker.link(function, self._callbacks.get(function.name, ()))
            except UnsupportedError as error:
                first = first or error
                unsupported.append((function.name, str(error)))
                continue
            used.update((f.section, f.start) for f, _ in linked.functions)
            programs.append(self._program(function, section, definition, linked))
        for function in stray:
            if (function.section, function.start) not in used:
                name = self._elf.sections[function.section].name
                raise InputError(
                    self._elf.what,
                    f"section {name}",
                    f"no program type has such a section, and no program calls function {function.name}",
                )
        if not programs:
            raise first or InputError(self._elf.what, "", "no program in it")
        return tuple(programs), tuple(unsupported)

    def _program(self, main: Function, section: str, definition: progtypes.SecDef, linked: Linked) -> Program:
        return Program(
            main.name,
            linked.insns,
            prog_type=definition.prog_type,
            btf=self._btf,
            func_info=self._func_info(linked),
            line_info=self._line_info(linked),
            maps=self._maps + linked.tables,
            kfuncs=linked.kfuncs,
            license=self.license,
            prog_flags=definition.prog_flags,
            expected_attach_type=definition.attach_type,
            attach_to=progtypes.target(section.removeprefix("?"), definition),
            section=section,
        )

    def _func_info(self, linked: Linked) -> tuple[FuncInfo, ...]:
        return tuple(FuncInfo(at, r.type_id) for at, r in self._moved(linked, self._funcs, "function"))

    def _line_info(self, linked: Linked) -> tuple[LineInfo, ...]:
        return tuple(
            LineInfo(at, self._text(r.file_off), self._text(r.text_off), r.line_col >> 10, r.line_col & 0x3FF)
            for at, r in self._moved(linked, self._lines, "line")
        )

    def _moved(self, linked: Linked, records: Mapping[int, tuple[R, ...]], kind: str) -> list[tuple[int, R]]:
        """Records of all functions of a program with their instruction index in it; none when the main function has none."""
        out: list[tuple[int, R]] = []
        for number, (function, base) in enumerate(linked.functions):
            first, last = (
                function.start * isa.INSN_SIZE,
                (function.start + len(function.insns)) * isa.INSN_SIZE,
            )
            found = [
                (r.offset // isa.INSN_SIZE - function.start + base, r)
                for r in records.get(function.section, ())
                if first <= r.offset < last
            ]
            if not found and number == 0:
                return []
            if not found:
                raise InputError(
                    self._elf.what,
                    f"function {function.name}",
                    f"section .BTF.ext has no {kind} info for it, but for the program that calls it",
                )
            out += found
        return out

    def _text(self, offset: int) -> str:
        if offset not in self._texts:
            assert self._btf is not None
            self._texts[offset] = _string(self._btf, offset)
        return self._texts[offset]

    def _find_callbacks(self) -> dict[str, tuple[Function, ...]]:
        """Functions named by exception_callback tags, which nothing calls, by name of the program."""
        out: dict[str, tuple[Function, ...]] = {}
        for t in self._btf.types if self._btf else ():
            if t.kind is not Kind.DECL_TAG or t.component != -1 or not t.name.startswith(_CALLBACK_TAG):
                continue
            assert self._btf is not None
            owner, wanted = self._btf.types[t.type], t.name.removeprefix(_CALLBACK_TAG)
            if owner.kind is not Kind.FUNC or owner.linkage != GLOBAL:
                raise InputError(
                    self._elf.what, f"function {owner.name}", f"tag {t.name!r} belongs to a main program"
                )
            found = [
                f
                for f in self._functions
                if f.name == wanted and self._elf.sections[f.section].name == ".text"
            ]
            if len(found) != 1 or not found[0].exported or found[0].hidden:
                raise InputError(
                    self._elf.what,
                    f"program {owner.name}",
                    f"exception callback {wanted!r} is no global function of section .text",
                )
            # Two tags: the verifier refuses the program, so there is nothing to append.
            out[owner.name] = () if owner.name in out else (found[0],)
        return out
