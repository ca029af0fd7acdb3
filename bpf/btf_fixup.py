"""What a loader changes in an object's BTF before the kernel sees it.

The compiler knows neither sizes of data sections nor offsets of variables, and describes kernel functions as
"extern", which the kernel refuses. The types' ids stay the same.

Source: libbpf 1.7 bpf_object__collect_externs, btf_fixup_datasec, bpf_object__sanitize_and_load_btf.
"""

from dataclasses import replace

from bpf.btf import EXTERN, GLOBAL, STATIC, Btf, BtfType, Kind, SecVar
from bpf.elf_file import FUNC, LOCAL, OBJECT, ElfObject, Section, Symbol
from bpf.errors import InputError

_KSYMS = ".ksyms"
_KCONFIG = ".kconfig"
_DUMMY = "dummy_ksym"
# their variables have no place in the file
_EXTERN_SECTIONS = (_KSYMS, _KCONFIG)


def fix(btf: Btf, elf: ElfObject) -> Btf:
    """The BTF that libbpf would load. Raises InputError where it gives up: a DATASEC without a section, a variable without symbol."""
    btf = _fix_kconfig(_fix_ksyms(btf))
    types = list(btf.types)
    hidden = {
        s.name
        for s in elf.symbols
        if s.type == FUNC and s.hidden and s.bind != LOCAL and _is_text(elf, s.section)
    }
    variables = {(s.section, s.name): s for s in elf.symbols if s.type == OBJECT}
    sections = {s.name: s for s in reversed(elf.sections)}
    for tid, t in enumerate(btf.types):
        if t.kind is Kind.DATASEC and t.name not in _EXTERN_SECTIONS:
            _fix_datasec(elf.what, sections.get(t.name), variables, types, tid)
        elif t.kind is Kind.FUNC and t.linkage == GLOBAL and t.name in hidden:
            # Lets the verifier check the function with what its callers know.
            types[tid] = replace(t, linkage=STATIC)
            hidden.discard(t.name)
    return replace(btf, types=tuple(types))


def _is_text(elf: ElfObject, section: int) -> bool:
    """Whether a section holds subprograms only."""
    return section < len(elf.sections) and elf.sections[section].name == ".text"


def _fix_datasec(
    what: str, section: Section | None, symbols: dict[tuple[int, str], Symbol], types: list[BtfType], tid: int
) -> None:
    t = types[tid]
    where = f"section {t.name}"
    if section is None or not section.data:
        raise InputError(what, where, "BTF describes its variables, but it is missing or empty")
    entries = []
    for v in t.vars:
        var = types[v.type]
        if var.kind is not Kind.VAR:
            raise InputError(what, where, f"BTF type {v.type} in it is {var.kind.name}, expected a variable")
        if var.linkage in (STATIC, EXTERN):
            entries.append(v)
            continue
        symbol = symbols.get((section.index, var.name))
        if symbol is None:
            raise InputError(what, where, f"no symbol for its variable {var.name!r}")
        # A linker has filled in the sizes already; a compiler leaves 0.
        entries.append(v if t.size else replace(v, offset=symbol.value))
        if symbol.hidden:
            types[v.type] = replace(var, linkage=STATIC)
    size = t.size or len(section.data)
    types[tid] = replace(t, size=size, vars=tuple(sorted(entries, key=lambda v: v.offset)))


def _fix_ksyms(btf: Btf) -> Btf:
    """Makes the externs of .ksyms look like variables and functions that are there."""
    tid = btf.find(_KSYMS, Kind.DATASEC)
    if tid is None:
        return btf
    types, strings = list(btf.types), btf.strings
    integer = next((i for i, t in enumerate(types) if t.kind is Kind.INT and t.bits == 32), 0)
    dummy = len(types)
    dummy_name = len(strings)
    entries = []
    for number, v in enumerate(types[tid].vars):
        t = types[v.type]
        target = v.type
        if t.kind is Kind.FUNC:
            target = dummy
            types[v.type] = replace(t, linkage=GLOBAL)
            proto = types[t.type]
            named = tuple(
                p if p.name_off or not p.type else replace(p, name_off=dummy_name, name=_DUMMY)
                for p in proto.params
            )
            types[t.type] = replace(proto, params=named)
        else:
            types[v.type] = replace(t, linkage=GLOBAL, type=integer)
        entries.append(SecVar(target, 4 * number, 4))
    if any(v.type == dummy for v in entries):
        strings += _DUMMY.encode() + b"\0"
        types.append(BtfType(Kind.VAR, dummy_name, _DUMMY, type=integer, linkage=GLOBAL))
    types[tid] = replace(types[tid], vars=tuple(entries), size=4 * len(entries))
    return replace(btf, types=tuple(types), strings=strings)


def _fix_kconfig(btf: Btf) -> Btf:
    """Gives the externs of .kconfig the places that libbpf gives them: by alignment, then size, then name."""
    tid = btf.find(_KCONFIG, Kind.DATASEC)
    if tid is None:
        return btf
    types = list(btf.types)
    known = [v for v in types[tid].vars if types[v.type].kind is Kind.VAR]
    places = {v.type: (btf.size_of(v.type), _alignment(btf, v.type)) for v in known}
    at = 0
    entries = []
    for v in sorted(known, key=lambda v: (-places[v.type][1], places[v.type][0], types[v.type].name)):
        size, alignment = places[v.type]
        at = -(-at // alignment) * alignment
        types[v.type] = replace(types[v.type], linkage=GLOBAL)
        entries.append(SecVar(v.type, at, v.size))
        at += size
    types[tid] = replace(types[tid], vars=tuple(entries), size=at)
    return replace(btf, types=tuple(types))


def _alignment(btf: Btf, tid: int) -> int:
    """Of a number, an enum or an array of them: all that .kconfig can hold."""
    t = btf.types[btf.resolve(btf.types[tid].type)]
    for _ in range(len(btf.types)):
        if t.kind is not Kind.ARRAY:
            break
        t = btf.types[btf.resolve(t.type)]
    return t.size if t.size in (1, 2, 4, 8) else 8
