"""Compares an image with native code from elsewhere, function by function, up to the first byte that differs.

Fields under a relocation depend on where things lie. Where the other side says where its functions are and what its
calls reach, these fields are compared as well; everywhere else one symbol must have one address.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emu.against.code import Foreign
from jit.image import Image, NativeFunction, Reloc

_RELATIVE: Final = ("call", "jump", "rel")


@dataclass(frozen=True, slots=True)
class FunctionMatch:
    """number: of our function. theirs: its counterpart, None where there is none. at: offset of the first difference,

    None when all is equal. why: what differs there, in words. fields: relocation fields that were not compared byte by
    byte, because nobody knows the other side's addresses.
    """

    number: int
    theirs: Foreign | None
    at: int | None = None
    why: str = ""
    fields: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """functions: ours, in order. extra: code of theirs that has no counterpart."""

    functions: tuple[FunctionMatch, ...]
    extra: tuple[Foreign, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether every function has its counterpart and nothing differs."""
        return not self.extra and all(f.at is None for f in self.functions)


def compare(image: Image, foreign: Sequence[Foreign]) -> Match:
    """Ours and theirs in the same order; one piece of theirs is cut at the lengths of our functions."""
    pieces = tuple(foreign)
    if len(pieces) == 1 and len(image.functions) > 1 and pieces[0].addr is None:
        pieces = _cut(image.functions, pieces[0])
    known = _Known(pieces)
    found = []
    for number, function in enumerate(image.functions):
        theirs = pieces[number] if number < len(pieces) else None
        if theirs is None:
            found.append(FunctionMatch(number, None, 0, "the other side has no such function"))
        else:
            found.append(_compare(number, function, theirs, known))
    return Match(tuple(found), pieces[len(image.functions) :])


def _cut(functions: Sequence[NativeFunction], whole: Foreign) -> tuple[Foreign, ...]:
    """The functions of one piece of code. What is left over belongs to the last of ours."""
    out, at = [], 0
    for function in functions[:-1]:
        out.append(Foreign("", whole.code[at : at + len(function.code)]))
        at += len(function.code)
    out.append(Foreign("", whole.code[at:]))
    return tuple(piece for piece in out if piece.code)


class _Known:
    """Addresses on the other side, as far as they are known."""

    def __init__(self, pieces: Sequence[Foreign]) -> None:
        self.addresses: dict[tuple[int | None, str, int, str], int] = {}
        self.functions = [piece.addr for piece in pieces]

    def disagrees(self, number: int, reloc: Reloc, piece: Foreign) -> str:
        """What is wrong with their field at the place of our relocation; "" where nothing is."""
        end = reloc.off + reloc.size
        value = int.from_bytes(piece.code[reloc.off : end], "little", signed=True) - reloc.addend
        relative = reloc.kind in _RELATIVE
        base = self.functions[number]
        if relative:
            value += end + (base or 0)
        if wrong := self._wrong_name(reloc, piece):
            return wrong
        if reloc.kind in ("call", "jump", "func") and not reloc.symbol and (not relative or base is not None):
            target = self.functions[reloc.target] if reloc.target < len(self.functions) else None
            if target is not None and target != value:
                return f"leads to {value:#x}, where function {reloc.target} is not"
            return ""
        # without the function's own address only its own fields can be held against each other
        scope = number if relative and base is None else None
        kind = "symbol" if reloc.symbol else "function" if relative or reloc.kind == "func" else reloc.kind
        key = (scope, kind, reloc.target, reloc.symbol)
        if self.addresses.setdefault(key, value) != value:
            what = reloc.symbol or f"{kind} {reloc.target}"
            return f"does not refer to {what}, as an earlier place does"
        return ""

    @staticmethod
    def _wrong_name(reloc: Reloc, piece: Foreign) -> str:
        name = (piece.calls or {}).get(reloc.off - 1)
        ours = reloc.symbol or f"func#{reloc.target}"
        if reloc.kind not in ("call", "jump") or name is None or name == ours:
            return ""
        return f"reaches {name}, ours {ours}"


def _compare(number: int, ours: NativeFunction, theirs: Foreign, known: _Known) -> FunctionMatch:
    """The first difference of one function, in bytes or in what a field refers to."""
    fields = {reloc.off: reloc for reloc in ours.relocs}
    masked = 0
    at = 0
    end = min(len(ours.code), len(theirs.code))
    for off in sorted(fields):
        reloc = fields[off]
        found = _first(ours.code, theirs.code, at, min(off, end))
        if found is not None:
            return FunctionMatch(number, theirs, found, "other bytes", masked)
        if off + reloc.size > end:
            break
        if why := known.disagrees(number, reloc, theirs):
            return FunctionMatch(number, theirs, off, why, masked)
        masked += known.functions[number] is None
        at = off + reloc.size
    found = _first(ours.code, theirs.code, at, end)
    if found is not None:
        return FunctionMatch(number, theirs, found, "other bytes", masked)
    if len(ours.code) != len(theirs.code):
        which = "ours" if len(ours.code) < len(theirs.code) else "theirs"
        return FunctionMatch(number, theirs, end, f"{which} ends here", masked)
    return FunctionMatch(number, theirs, None, "", masked)


def _first(one: bytes, other: bytes, start: int, end: int) -> int | None:
    """The first offset in [start, end) at which two byte strings differ."""
    if one[start:end] == other[start:end]:
        return None
    return next(off for off in range(start, end) if one[off] != other[off])
