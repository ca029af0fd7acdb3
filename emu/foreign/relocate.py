"""What every address in foreign code means: from fields of a function to relocations.

Asked in this order: what the file says of the field; what lies at the address (functions, symbols that the user or the
file names, addresses that an earlier field explained); our own code of the same function, whose calls and pointers come
in the same order. What is left has no meaning: calls become calls of an unknown function, numbers stay numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bpf import isa
from bpf.errors import InputError
from bpf.verified import Verified
from emu.against.bpftool import KSYM
from emu.against.code import FUNCTION, MAP, MAP_ID, Ref
from emu.foreign.scan import Field, Scan
from jit.image import NativeFunction, Reloc

_CODE: Final = ("call", "jump")
_NEAR: Final = 64  # a call that misses its target misses it by little
_KERNEL: Final = (
    0xFFFF_8000_0000_0000  # the upper half: what is no constant of the program is an address there
)
VALUES: Final = "values:"  # in front of the name of a map: the address of its values
Meaning = tuple[str, int, str, int]  # as of a Reloc: kind, target, symbol, addend


@dataclass(slots=True)
class Place:
    """A foreign function on its way. number: of the function in the program; base: where it lay, or seems to have.

    known: whether it really lay there. ours: our own code of that function; alike: it has the same instructions.
    """

    number: int
    name: str
    code: bytes
    base: int
    known: bool
    scan: Scan
    refs: tuple[Ref, ...]
    ours: NativeFunction | None
    alike: bool
    complete: bool = False


@dataclass(slots=True)
class Names:
    """What addresses mean. code: symbols; values: of maps. user: whether somebody named addresses at all."""

    program: str
    verified: Verified
    functions: dict[int, int] = field(default_factory=dict)  # address -> number
    symbols: dict[int, str] = field(default_factory=dict)
    maps: dict[int, int] = field(default_factory=dict)  # address of a struct bpf_map -> number
    values: dict[int, int] = field(default_factory=dict)  # address of its values -> number
    ids: dict[int, int] = field(default_factory=dict)  # a kernel's id of a map -> number
    local: dict[tuple[int, int], str] = field(
        default_factory=dict
    )  # (function, address) where its base is not known
    homes: dict[str, int] = field(default_factory=dict)  # symbol -> the address it was found at

    def add(self, symbols: Mapping[int, str]) -> None:
        """Names that the file or the user gives: functions and maps of the program, or anything of the kernel."""
        functions = {sub.name: number for number, sub in enumerate(self.verified.subprogs)}
        maps = {spec.name: number for number, spec in enumerate(self.verified.program.maps) if spec.name}
        for addr, name in symbols.items():
            if name.removeprefix(VALUES) in maps and name.startswith(VALUES):
                self.values[addr] = maps[name.removeprefix(VALUES)]
            elif name in maps:
                self.maps[addr] = maps[name]
            elif (plain := KSYM.sub("", name)) in functions:
                self.functions.setdefault(addr, functions[plain])
            else:
                self.symbols[addr] = name
                self.homes.setdefault(name, addr)

    # ---- a name of a file

    def named(self, ref: Ref, place: Place) -> Meaning | None:
        """The meaning of what the file says of a field, None when it does not say it."""
        name = ref.name
        if name.startswith(FUNCTION):
            text = name.removeprefix(FUNCTION)
            if not text.isdecimal() or int(text) >= len(self.verified.subprogs):
                raise InputError(
                    self.program, place.name, f"refers to {name}, and the program has no such function"
                )
            return (ref.kind if ref.kind in _CODE else "func", int(text), "", ref.addend)
        if ref.kind in ("map", "mapval"):
            found = self._map(ref, place)
            return None if found is None else (ref.kind, found, "", ref.addend)
        if not name:
            return None
        for number, sub in enumerate(self.verified.subprogs):
            if sub.name == name:
                return (ref.kind if ref.kind in _CODE else "func", number, "", ref.addend)
        for number, spec in enumerate(self.verified.program.maps):
            if spec.name and spec.name == name:
                return ("map", number, "", ref.addend)
            if spec.name and name == f"{VALUES}{spec.name}":
                return ("mapval", number, "", ref.addend)
        return (ref.kind, -1, name, ref.addend)

    def _map(self, ref: Ref, place: Place) -> int | None:
        insns = self.verified.insns
        if ref.name.startswith(MAP_ID):
            known = int(ref.name.removeprefix(MAP_ID))
            if known not in self.ids:
                slot = ref.slot
                by_slot = slot is not None and slot < len(insns) and insns[slot].code == isa.LD_IMM64
                same = place.ours is not None and any(
                    reloc.off == ref.off and reloc.kind == ref.kind for reloc in place.ours.relocs
                )
                if same and place.ours is not None:
                    self.ids[known] = next(r.target for r in place.ours.relocs if r.off == ref.off)
                elif by_slot and slot is not None and insns[slot].src:
                    self.ids[known] = insns[slot].imm
            return self.ids.get(known)
        number = ref.name.removeprefix(MAP)
        if not ref.name:
            return None
        if not number.isdecimal() or int(number) >= len(self.verified.program.maps):
            raise InputError(
                self.program, place.name, f"refers to map {number}, and the program has no such map"
            )
        return int(number)

    # ---- what lies at an address

    def at(self, place: Place, value: int, kind: str) -> Meaning | None:
        """What an address means, as far as somebody has said so."""
        name = self.symbols.get(value) if place.known or kind in ("imm", "abs") else None
        name = name or self.local.get((place.number, value))
        if value in self.functions and (place.known or kind in ("imm", "abs") or self._inside(place, value)):
            return (kind if kind in _CODE else "func", self.functions[value], "", 0)
        if name is not None:
            return ({"imm": "symbol", "abs": "symbol"}.get(kind, kind), -1, name, 0)
        if kind in ("imm", "abs"):
            if value in self.maps:
                return ("map", self.maps[value], "", 0)
            return self._value(value)
        return None

    def _inside(self, place: Place, value: int) -> bool:
        return place.base <= value < place.base + len(place.code)

    def _value(self, value: int) -> Meaning | None:
        """A pointer into the values of a map whose start is known."""
        for start, number in self.values.items():
            spec = self.verified.program.maps[number]
            if start <= value < start + max(spec.value_size * max(spec.max_entries, 1), 1):
                return ("mapval", number, "", value - start)
        return None

    def home(self, reloc: Reloc) -> int | None:
        """Where the function or symbol of a relocation lay, as far as that is known."""
        if reloc.symbol:
            return self.homes.get(reloc.symbol)
        return next((addr for addr, number in self.functions.items() if number == reloc.target), None)

    def learn(self, place: Place, value: int, meaning: Meaning) -> None:
        """An address has been explained."""
        kind, target, symbol, addend = meaning
        value = (value - addend) & isa.U64
        if symbol:
            if place.known or kind == "symbol":
                self.symbols.setdefault(value, symbol)
                self.homes.setdefault(symbol, value)
            else:
                self.local.setdefault((place.number, value), symbol)
        elif kind == "map":
            self.maps.setdefault(value, target)
        elif kind == "mapval":
            self.values.setdefault(value, target)
        elif kind in (*_CODE, "func") and place.known:
            self.functions.setdefault(value, target)


def relocations(place: Place, names: Names) -> tuple[Reloc, ...]:
    """The relocations of a function. Raises InputError for a pointer or a call of which nobody knows what it means."""
    refs = {ref.off: ref for ref in place.refs}
    fields = {one.off: one for one in place.scan.fields}
    for off in sorted(set(fields) | set(refs)):
        ref = refs.get(off)
        one = fields.get(off)
        if ref is not None and one is not None and (meaning := names.named(ref, place)) is not None:
            names.learn(place, one.value, meaning)
    order = _in_order(place, refs, names)
    out = []
    for off in sorted(set(fields) | set(refs)):
        one = fields.get(off) or Field(off, refs[off].size, refs[off].kind, 0, insn=off)
        meaning = _meaning(place, one, refs.get(off), order, names)
        if meaning is not None:
            kind, target, symbol, addend = meaning
            if kind in ("symbol", "func") and one.kind in (*_CODE, "rel"):
                kind = one.kind if symbol else "call"
            slot = order[off].insn if off in order else -1
            out.append(Reloc(off, one.size, kind, target, symbol, addend, slot))
    return tuple(out)


def _in_order(place: Place, refs: Mapping[int, Ref], names: Names) -> dict[int, Reloc]:
    """Our relocations by the offset of the field of theirs that stands for them."""
    ours = place.ours
    if ours is None:
        return {}
    if place.alike:
        return {reloc.off: reloc for reloc in ours.relocs}
    out: dict[int, Reloc] = {}
    calls = [one for one in place.scan.fields if one.kind in _CODE or one.called]
    wanted = [reloc for reloc in ours.relocs if reloc.kind in _CODE]
    plain = [reloc for reloc in wanted if reloc.insn >= 0 and reloc.kind == "call" and not _is_thunk(reloc)]
    for expected in (wanted, plain):
        if len(calls) == len(expected) and _fit(place, calls, expected, refs, names):
            out |= {one.off: reloc for one, reloc in zip(calls, expected, strict=True)}
            break
    constants = _constants(names.verified)
    pointers = [
        one
        for one in place.scan.fields
        if one.kind == "imm" and not one.called and one.off not in refs and one.value not in constants
        and names.at(place, one.value, "imm") is None
    ]  # fmt: skip
    maps = [reloc for reloc in ours.relocs if reloc.kind in ("map", "mapval")]
    if len(pointers) == len(maps):
        out |= {one.off: reloc for one, reloc in zip(pointers, maps, strict=True)}
    return out


def _is_thunk(reloc: Reloc) -> bool:
    return reloc.symbol.startswith(("__x86_", "clear_bhb")) or reloc.symbol.endswith("_thunk")


def _fit(
    place: Place, calls: Sequence[Field], expected: Sequence[Reloc], refs: Mapping[int, Ref], names: Names
) -> bool:
    """Whether one address is one function throughout, and what is named is what is expected there."""
    seen: dict[int, tuple[int, str]] = {}
    for one, reloc in zip(calls, expected, strict=True):
        wanted = (reloc.target, reloc.symbol)
        if seen.setdefault(one.value, wanted) != wanted:
            return False
        ref = refs.get(one.off)
        known = names.named(ref, place) if ref is not None else names.at(place, one.value, one.kind)
        if known is not None and not known[2] and known[1] != reloc.target:
            return False
    return True


def _constants(verified: Verified) -> frozenset[int]:
    """All numbers that the program itself loads or compares with: they are no addresses."""
    out = set()
    for slot, insn in enumerate(verified.insns):
        out.add(insn.imm & isa.U64)
        if insn.code == isa.LD_IMM64 and insn.src == 0 and slot + 1 < len(verified.insns):
            out.add(insn.imm & isa.U32 | (verified.insns[slot + 1].imm & isa.U32) << 32)
    return frozenset(out)


def _meaning(
    place: Place, one: Field, ref: Ref | None, order: Mapping[int, Reloc], names: Names
) -> Meaning | None:
    if ref is not None and (found := names.named(ref, place)) is not None:
        return found
    if one.kind == "abs" and one.off not in order and names.at(place, one.value, "abs") is None:
        return _absolute(place, one, names)
    ours = order.get(one.off)
    known = names.at(
        place,
        (one.value - (ours.addend if ours is not None and ours.kind == "symbol" else 0)) & isa.U64,
        one.kind,
    )
    if known is not None:
        same = ours is not None and bool(known[2]) and known[2] == ours.symbol
        return (ours.kind, -1, ours.symbol, ours.addend) if same and ours is not None else known
    if ours is not None:
        return _as_ours(place, one, ours, names)
    if one.kind in _CODE or one.called:
        missed = _missed(place, one, names)
        if missed is None:
            raise InputError(
                names.program,
                f"{place.name}+{one.insn:#x}",
                f"calls {_text(place, one)}, and nothing says what that is; name it with --symbols",
            )
        return missed
    if one.kind == "imm":
        return _pointer(place, one, names)
    if place.complete:
        return None
    raise InputError(
        names.program,
        f"{place.name}+{one.insn:#x}",
        f"refers to {one.value:#x}, and nothing says what lies there",
    )


def _text(place: Place, one: Field) -> str:
    """An address; where nobody knows where the function lay, as seen from its start."""
    if place.known or one.kind == "imm":
        return f"{one.value:#x}"
    return f"{one.value - place.base:+#x} from its start"


def _as_ours(place: Place, one: Field, ours: Reloc, names: Names) -> Meaning:
    meaning = (ours.kind, ours.target, ours.symbol, ours.addend)
    if one.kind == "imm" and ours.kind in _CODE:
        meaning = ("symbol" if ours.symbol else "func", ours.target, ours.symbol, ours.addend)
    elsewhere = names.home(ours) if place.known else None
    if elsewhere is not None and ours.kind in _CODE:
        # what is meant lies elsewhere: the distance is wrong, and stays so
        return _missed(place, one, names) or (one.kind, -1, f"the function at {one.value:#x}", 0)
    names.learn(place, one.value, meaning)
    return meaning


def _missed(place: Place, one: Field, names: Names) -> Meaning | None:
    """A call to a place near something that is known: it misses its target."""
    if not place.known:
        return None
    for addr, number in names.functions.items():
        if abs(one.value - addr) <= _NEAR:
            return (one.kind, number, "", one.value - addr)
    for addr, symbol in names.symbols.items():
        if abs(one.value - addr) <= _NEAR:
            return (one.kind, -1, symbol, one.value - addr)
    return None


def _pointer(place: Place, one: Field, names: Names) -> Meaning | None:
    """A 64-bit number that nobody explained: one of the program's own, or an address."""
    maps = bool(names.verified.program.maps)
    if not maps or place.complete or one.value < _KERNEL or one.value in _constants(names.verified):
        return None
    if one.value >= isa.U64 - isa.U32:  # a small negative number
        return None
    raise InputError(
        names.program,
        f"{place.name}+{one.insn:#x}",
        f"holds {one.value:#x}, and nothing says which map that is; name it with --symbols",
    )


def _absolute(place: Place, one: Field, names: Names) -> Meaning | None:
    """Four bytes that nobody named: the address of a function of the program, or a number."""
    number = names.functions.get(one.value)
    if number is not None and place.known and one.value >= 1 << 31:
        return ("func", number, "", 0)
    return None
