"""From functions of a file to an `Image` of a verified program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bpf.errors import InputError
from bpf.verified import Verified
from emu.against.code import Foreign, Line, Listing
from emu.foreign import contexts, prologue, shape
from emu.foreign.relocate import Names, Place, relocations
from emu.foreign.scan import scan
from jit import JitUnsupported, compile_program
from jit.frame import Frame
from jit.image import Image, NativeFunction, Reloc
from jit.profile import DEFAULT, PRESETS, Profile

_BASE: Final = 1 << 40  # where code lies of which nobody says where it lay
_STEP: Final = 1 << 32
_NO_FRAME: Final = Frame(0, (), {}, {}, 0, 0)
_NO_SYMBOLS: Mapping[int, str] = {}


@dataclass(frozen=True, slots=True)
class Made:
    """image: the foreign code. profile: of our JIT that makes the most of its functions alike, "" where it makes none.

    equal: functions whose bytes are ours, fields of addresses apart; alike: those with our instructions at our offsets,
    whatever their operands; mapped: native instructions whose BPF instruction is known, of `insns`.
    """

    image: Image
    profile: str
    equal: int
    alike: int
    mapped: int
    insns: int

    @property
    def placed(self) -> bool:
        """Whether the BPF instruction of every native one is known."""
        return self.alike == len(self.image.functions)


def image_of(
    verified: Verified,
    listing: Listing,
    *,
    symbols: Mapping[int, str] = _NO_SYMBOLS,
    profile: Profile | None = None,
) -> Made:
    """The image of a program made by another JIT. symbols: address -> name, from the user. profile: what our JIT is to
    emit for comparison; None tries the one that the file names, and all others. Raises InputError when it does not fit the program."""
    named = profile or PRESETS.get(listing.profile)
    tries = [named] if named is not None else [DEFAULT, *PRESETS.values()]
    best: Made | None = None
    for one in dict.fromkeys(tries):
        ours = _ours(verified, one)
        made = _made(verified, listing, ours, symbols, _name(one))
        if best is None or (made.equal, made.alike, made.mapped) > (best.equal, best.alike, best.mapped):
            best = made
        kernels = any(function.prologue for function in best.image.functions)
        if best.equal == len(verified.subprogs) or ours is None or not kernels:
            break
    assert best is not None
    return best


def _name(profile: Profile) -> str:
    return next((name for name, one in PRESETS.items() if one == profile), "")


def _ours(verified: Verified, profile: Profile) -> Image | None:
    try:
        return compile_program(verified, profile)
    except JitUnsupported:
        return None


def _made(
    verified: Verified, listing: Listing, ours: Image | None, symbols: Mapping[int, str], profile: str
) -> Made:
    name = verified.program.name
    pieces = _pieces(verified, listing.functions, ours)
    names = Names(name, verified)
    bases = [_BASE + _STEP * n if one.addr is None else one.addr for n, one in enumerate(pieces)]
    for number, one in enumerate(pieces):
        if one.addr is not None and number < len(verified.subprogs):
            names.functions[one.addr] = number
    names.add({**listing.symbols, **symbols})
    places = []
    for number, one in enumerate(pieces):
        mine = ours.functions[number] if ours is not None and len(pieces) == len(verified.subprogs) else None
        places.append(_place(verified, number, one, bases[number], mine, names))
    functions = tuple(
        _function(verified, place, relocations(place, names), pieces[place.number].lines) for place in places
    )
    equal = sum(_equal(place, function) for place, function in zip(places, functions, strict=True))
    points = [slot for function in functions for _, slot in function.points]
    insns = sum(len(place.scan.insns) for place in places)
    mapped = sum(len(p.scan.insns) for p in places if p.alike) + sum(slot >= 0 for slot in points)
    shaped = sum(place.alike for place in places)
    return Made(Image(verified, functions), profile if shaped else "", equal, shaped, mapped, insns)


def _place(
    verified: Verified, number: int, one: Foreign, base: int, ours: NativeFunction | None, names: Names
) -> Place:
    sub = verified.subprogs[number]
    code, refs = one.code, one.refs
    found = scan(code, base, _starts(base, len(code), names), {ref.off for ref in refs})
    alike = ours is not None and shape.same(ours, found.insns, len(code))
    if ours is not None and verified.converted:
        code, spans = contexts.replaced(verified, sub, ours, code, found.insns, alike=alike)
        if spans:
            refs = tuple(ref for ref in refs if not any(start <= ref.off < end for start, end in spans))
            found = scan(code, base, _starts(base, len(code), names), {ref.off for ref in refs})
            alike = shape.same(ours, found.insns, len(code))
    return Place(
        number, one.name or sub.name, code, base, one.addr is not None, found, refs, ours, alike, one.complete
    )


def _starts(base: int, size: int, names: Names) -> list[int]:
    return [addr - base for addr in names.functions if base <= addr < base + size]


def _pieces(verified: Verified, functions: Sequence[Foreign], ours: Image | None) -> list[Foreign]:
    """One piece a function of the program, in its order. Raises InputError."""
    count = len(verified.subprogs)
    if len(functions) == 1 and count > 1:
        return _cut(verified, functions[0], ours)
    wanted = [sub.name for sub in verified.subprogs]
    by_name = {one.name: one for one in functions if one.name}
    main = verified.program.name
    if by_name and (wanted[0] not in by_name) and main in by_name:
        by_name[wanted[0]] = by_name[main]
    if len(set(wanted)) == count and all(name in by_name for name in wanted):
        return [by_name[name] for name in wanted]
    if len(functions) != count:
        raise InputError(
            main, "", f"has {count} function{'s' if count > 1 else ''}, and the code has {len(functions)}"
        )
    return list(functions)


def _cut(verified: Verified, whole: Foreign, ours: Image | None) -> list[Foreign]:
    """One piece that holds all functions: cut where ours end, when it is as long, else where its own calls lead."""
    sizes = [len(function.code) for function in ours.functions] if ours is not None else []
    if sum(sizes) == len(whole.code):
        out, at = [], 0
        for size in sizes:
            out.append(Foreign("", whole.code[at : at + size]))
            at += size
        return out
    base = whole.addr if whole.addr is not None else _BASE
    reached = {
        one.off + 4 + int.from_bytes(whole.code[one.off : one.off + 4], "little", signed=True)
        for one in scan(whole.code, base, range(len(whole.code))).fields
        if one.kind == "call"
    }
    starts = sorted(at for at in reached | {0} if 0 <= at < len(whole.code))
    if len(starts) != len(verified.subprogs):
        return [whole]  # its functions, and the calls between them, are its own affair
    ends = [*starts[1:], len(whole.code)]
    return [Foreign("", whole.code[at:end], base + at) for at, end in zip(starts, ends, strict=True)]


def _equal(place: Place, function: NativeFunction) -> bool:
    """Whether the code is ours but for the addresses in it."""
    if place.ours is None or not place.alike:
        return False
    mine = [(one.off, one.kind, one.target, one.symbol, one.addend) for one in place.ours.relocs]
    theirs = [(one.off, one.kind, one.target, one.symbol, one.addend) for one in function.relocs]
    return mine == theirs and place.ours.code == function.code


def _function(
    verified: Verified, place: Place, relocs: tuple[Reloc, ...], lines: Sequence[Line]
) -> NativeFunction:
    code = bytearray(place.code)
    for reloc in relocs:
        code[reloc.off : reloc.off + reloc.size] = bytes(reloc.size)
    if place.alike and place.ours is not None:
        return replace(place.ours, code=bytes(code), relocs=relocs, name=verified.subprogs[place.number].name)
    frame = prologue.recognise(place.scan.insns)
    stack = Frame(frame.stack, frame.saved, {}, {}, frame.outgoing, 0) if frame is not None else _NO_FRAME
    sub = verified.subprogs[place.number]
    found = dict(shape.points(place.ours, sub, place.scan.insns))
    starts = {one.off + one.size: one.off for one in place.scan.insns}
    for reloc in relocs:
        if reloc.insn >= 0 and reloc.kind in ("call", "jump"):
            at = starts.get(reloc.off + reloc.size)
            if at is not None:
                found[at] = reloc.insn
    found |= shape.by_lines(verified, sub, lines)
    return NativeFunction(
        sub.name,
        bytes(code),
        frame.size if frame is not None else 0,
        (),
        relocs,
        stack,
        points=tuple(sorted(found.items())),
    )
