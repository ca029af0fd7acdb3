"""A mutant: a known fault of the JIT as data, and how it is planted.

The JIT knows nothing of mutants. Planting one replaces a frame rule, a table row or a lowering function by another that
is made of the first, and takes it back afterwards. Knows the names of places in jit/, not what they do.
"""

import importlib
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from bpf.errors import InternalError
from jit.lower import lowering

Fault = Callable[[Any], Any]  # what stands at a place -> what shall stand there


@dataclass(frozen=True, slots=True)
class Mutant:
    """name: of the fault. kind: the class of bugs it stands for. what: what goes wrong, a line. check: meant to kill it.

    where: places, each "module:attribute" or "module:Class.attribute", a row of a table with "[key]" behind. fault:
    makes the wrong one of the right one, at each place.
    """

    name: str
    kind: str
    what: str
    check: str
    where: tuple[str, ...]
    fault: Fault


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """While it lasts, programs are compiled with this fault. Raises InternalError when a place does not exist."""
    with ExitStack() as stack:
        lowering.cache_clear()
        stack.callback(lowering.cache_clear)
        for place in mutant.where:
            stack.callback(replace_at(place, mutant.fault))
        yield


def replace_at(place: str, fault: Fault) -> Callable[[], None]:
    """Put a faulty thing in its place; returns what puts the right one back."""
    module, _, path = place.partition(":")
    path, _, key = path.partition("[")
    *outer, name = path.split(".")
    try:
        owner = importlib.import_module(module)
        for step in outer:
            owner = getattr(owner, step)
        right = getattr(owner, name)
        if key:
            return _replace_row(right, int(key.rstrip("]"), 0), fault)
    except (ImportError, AttributeError, KeyError) as error:
        raise InternalError(f"mutant: there is no {place}: {error}") from error
    wrong = fault(right)
    rows = [(table, key) for table in _tables(owner) for key, value in table.items() if value is right]

    def put(thing: Any) -> None:
        setattr(owner, name, thing)
        for table, row in rows:
            table[row] = thing

    put(wrong)
    return lambda: put(right)


def _tables(owner: Any) -> list[dict[Any, Any]]:
    """Tables of a class, in which its own functions may stand, too."""
    return (
        [value for value in vars(owner).values() if isinstance(value, dict)]
        if isinstance(owner, type)
        else []
    )


def _replace_row(table: MutableMapping[int, Any], key: int, fault: Fault) -> Callable[[], None]:
    right = table[key]
    table[key] = fault(right)

    def back() -> None:
        table[key] = right

    return back
