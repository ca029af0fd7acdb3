"""Native code from elsewhere as a value: functions, and what a file says of the addresses in them. Reads nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

RefKind = Literal["call", "jump", "map", "mapval", "func", "symbol", "rel"]
FUNCTION: Final = "func#"  # and a number: a function of the program
MAP: Final = "map#"  # and a number: a map of the program
MAP_ID: Final = "map id "  # and the number under which a kernel knew it
_NO_SYMBOLS: Mapping[int, str] = {}


@dataclass(frozen=True, slots=True)
class Ref:
    """A field of a function that holds an address, as far as the file says so.

    off, size: of the field. kind: as of `jit.image.Reloc`. name: of what it refers to: a symbol, "func#N", "map#N", "map id N", or
    "" where nobody says. addend: what is added to that. slot: index in the rewritten program of the instruction that
    it belongs to, None where nobody says.
    """

    off: int
    size: int
    kind: RefKind
    name: str = ""
    addend: int = 0
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A source line that starts at a native offset. number: 0 where only the text is known."""

    off: int
    text: str
    file: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Foreign:
    """One function from elsewhere; `name` and `addr` are "" and None where the file does not say.

    calls: offset of a call or jump opcode -> the symbol or "func#N" that it reaches. refs: all fields that the file
    names, calls among them. lines: source lines, in the order of the code. complete: `refs` are all that there are.
    """

    name: str
    code: bytes
    addr: int | None = None
    calls: Mapping[int, str] | None = None
    refs: tuple[Ref, ...] = ()
    lines: tuple[Line, ...] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """What a file holds. kind: in words. symbols: names by address. profile: of the JIT that made it, "" if unknown."""

    kind: str
    functions: tuple[Foreign, ...]
    symbols: Mapping[int, str] = field(default_factory=lambda: _NO_SYMBOLS)
    profile: str = ""
