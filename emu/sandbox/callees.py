"""What lies behind a symbol that native code calls: its kind, its number of arguments, and how to ask the world."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bpf.helpers import HELPERS, VARIANTS
from bpf.kfuncs import KFUNCS, Kfunc
from bpf.proto import FuncProto
from emu.runtime.callback import HelperResult
from emu.runtime.internals import INTERNALS, helper_behind
from emu.runtime.traps import HelperTrap
from emu.runtime.world import World

MAX_ARGS = 12
_SCALARS = frozenset(("int", "bool", "enum"))
_REGISTER_ARGS = 6  # of a native call: rdi rsi rdx rcx r8 r9


# Helpers by name and by the function that the kernel calls for them, which may differ from type to type of program.
_NUMBERS = {
    symbol: helper.id
    for helper in (*VARIANTS.values(), *HELPERS.values())
    for symbol in (helper.symbol, helper.name)
    if symbol
}


@dataclass(frozen=True, slots=True)
class Callee:
    """name: as it is recorded. nargs: parameters. void: returns nothing, so that rax is rubbish afterwards.

    number: of a helper. proto: of a kfunc. scalar: numbers in, a number or nothing out, so that it has no business in the
    program's memory.
    """

    name: str
    kind: Literal["helper", "kfunc", "internal", "unknown"]
    nargs: int
    void: bool = False
    number: int = 0
    proto: FuncProto | None = None
    scalar: bool = False

    @property
    def stack_words(self) -> int:
        """How many arguments a native callee finds on the stack."""
        return max(self.nargs - _REGISTER_ARGS, 0)

    def ask(self, world: World, args: Sequence[int]) -> HelperResult:
        """The world's answer. args: 12 words. Raises HelperTrap and GuestFault."""
        match self.kind:
            case "helper":
                return world.helper(self.number, args)
            case "kfunc":
                return world.kfunc(self.name, args)
            case "internal":
                return world.internal(self.name, args)
            case "unknown":
                raise HelperTrap("call", f"{self.name} is not implemented")


def callee_of(symbol: str) -> Callee:
    """The function behind a symbol; symbols are the kernel's names. A map type's own operation is its helper."""
    row = KFUNCS.get(symbol)
    known = _known.get(symbol)
    if known is None or known[0] is not row:  # kfuncs may be added, and be replaced
        known = _known[symbol] = row, _find(symbol)
    return known[1]


_known: dict[str, tuple[Kfunc | None, Callee]] = {}


def _find(symbol: str) -> Callee:
    if symbol in INTERNALS:
        return Callee(symbol, "internal", INTERNALS[symbol][0])
    number = _NUMBERS.get(symbol) or helper_behind(symbol)
    if number is not None:
        helper = HELPERS[number]
        void = helper.ret.kind == "RET_VOID"
        scalar = (void or helper.ret.kind == "RET_INTEGER") and all(
            arg.kind == "ARG_ANYTHING" and not arg.flags for arg in helper.args
        )
        return Callee(helper.name, "helper", helper.nargs, void, number, None, scalar)
    kfunc = KFUNCS.get(symbol)
    if kfunc is not None:
        proto = kfunc.proto
        void, kinds = proto.ret.kind == "void", {param.type.kind for param in proto.params}
        scalar = kinds <= _SCALARS and (void or proto.ret.kind in _SCALARS)
        return Callee(symbol, "kfunc", min(len(proto.params), MAX_ARGS), void, 0, proto, scalar)
    return Callee(symbol, "unknown", 0)
