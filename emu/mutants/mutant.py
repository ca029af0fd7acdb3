"""A mutant: a known fault of the JIT, the verifier or the interpreter as data, and how it is planted.

No engine knows of mutants. Planting one replaces a rule, a table row or a function by another that is made of the first,
and takes it back afterwards. Knows the names of places in the engines, not what they do.
"""

import ast
import importlib
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final

from bpf.errors import InternalError

Fault = Callable[[Any], Any]  # what stands at a place -> what shall stand there

# What engines remember of instructions and numbers that they have met, right or wrong.
_REMEMBERED: Final = (
    "jit.lower:lowering",
    "emu.interp.ops:plain",
    "emu.interp.ops:conditional",
    "verifier.arith:_results",
    "verifier.num:_synced",
    "verifier.refine:_decisions",
    "verifier.compare:_numbers",
    "verifier.resolve:_sound",
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """name: of the fault. kind: the class of bugs it stands for. what: what goes wrong, a line.

    check: what is meant to kill it: of a JIT's fault a check of the sandbox, of others an oracle of the campaign. where:
    places, each "module:attribute" or "module:Class.attribute", a row of a table with "[key]" behind. fault: makes the
    wrong one of the right one, at each place. layer: "jit", "verifier" or "interp".
    """

    name: str
    kind: str
    what: str
    check: str
    where: tuple[str, ...]
    fault: Fault
    layer: str = "jit"


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """While it lasts, the engines have this fault. Raises InternalError when a place does not exist."""
    with ExitStack() as stack:
        stack.callback(forget)
        for place in mutant.where:
            stack.callback(replace_at(place, mutant.fault))
        forget()
        yield


def forget() -> None:
    """Everything that engines remember from one program to the next."""
    for place in _REMEMBERED:
        owner, name = _owner(place)
        known = getattr(owner, name)
        if isinstance(known, dict):
            known.clear()
        else:
            known.cache_clear()


def replace_at(place: str, fault: Fault) -> Callable[[], None]:
    """Put a faulty thing in its place; returns what puts the right one back.

    A function is replaced for everybody who holds it, by whatever name and in whatever table; a constant only under the
    name that is given, a row only in its table.
    """
    path, _, key = place.partition("[")
    try:
        owner, name = _owner(path)
        right = getattr(owner, name) if not isinstance(owner, type) else vars(owner)[name]
        if key:
            return _replace_row(right, ast.literal_eval(key.rstrip("]")), fault)
    except (ImportError, AttributeError, KeyError) as error:
        raise InternalError(f"mutant: there is no {place}: {error}") from error
    function = right.fget if isinstance(right, property) else getattr(right, "__wrapped__", right)
    if isinstance(function, FunctionType):
        return _replace_code(function, fault)
    if callable(right):
        raise InternalError(f"mutant: {place} is compiled and cannot be replaced; `make plain` undoes that")
    setattr(owner, name, fault(right))
    return lambda: setattr(owner, name, right)


def _owner(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    *outer, name = path.split(".")
    owner = importlib.import_module(module)
    for step in outer:
        owner = getattr(owner, step)
    return owner, name


def _replace_code(right: FunctionType, fault: Fault) -> Callable[[], None]:
    """Lets the function itself run the wrong one; what the fault gets is a copy of the right one."""
    copy = FunctionType(right.__code__, right.__globals__, right.__name__, right.__defaults__)
    copy.__kwdefaults__ = right.__kwdefaults__
    wrong = fault(copy)
    if not callable(wrong):
        raise InternalError(f"mutant: {right.__qualname__} is a function, {wrong!r} is none")
    code, name = right.__code__, f"__planted_{right.__qualname__}"
    right.__globals__[name] = wrong
    names = tuple(name if one == "_wrong" else one for one in _stand_in.__code__.co_names)
    right.__code__ = _stand_in.__code__.replace(co_names=names)

    def back() -> None:
        right.__code__ = code
        del right.__globals__[name]

    return back


def _wrong(*args: Any, **more: Any) -> Any:
    """Stands for the faulty function in the code below."""
    raise InternalError(f"mutant: nothing is planted: {args}, {more}")


def _stand_in(*args: Any, **more: Any) -> Any:
    """Its code becomes that of a function that is replaced."""
    return _wrong(*args, **more)


def _replace_row(table: MutableMapping[Any, Any], key: Any, fault: Fault) -> Callable[[], None]:
    right = table[key]
    table[key] = fault(right)

    def back() -> None:
        table[key] = right

    return back
