"""A program in the making: its type, maps, functions and what was spent so far. Chooses nothing."""

from dataclasses import dataclass, field

from bpf.maps import MapSpec
from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.prototypes import Signature

VALUE_SIZE = 64


@dataclass(slots=True)
class Plan:
    """What the functions of one program share.

    flags: of the program.     values: index in `maps` of the array that everything may read and write, of elements of `VALUE_SIZE` bytes; table: of a
    hash map with the same values, or None; arena: of an arena, or None. forks: branches on unknown numbers that may still be made, which keeps the
    number of paths small. passed: constants that went into a function's stack arguments, by its name and theirs. endless: loops that may_goto alone ends that may still be made: they take long. shows: kfuncs
    that tell what another one was passed may be called, since no pointer is among that. locked: index in `maps` of an array whose values hold a lock. throwing: so many functions, from the main one on, may throw
    exceptions: no helper calls them, and nothing that takes exceptions. addresses: of stack words may be
    taken; not where the stack is a private one, whose addresses mean nothing to another engine.
    """

    draw: Draw
    prog_type: str
    maps: tuple[MapSpec, ...] = ()
    values: int = 0
    table: int | None = None
    progs: int | None = None
    arena: int | None = None
    functions: tuple[Signature, ...] = ()
    forks: int = 8
    endless: int = 0
    may_gotos: int = 2
    packet_loads: bool = False
    shows: bool = False
    locked: int | None = None
    throwing: int = 0
    addresses: bool = True
    passed: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    flags: int = 0
    tags: set[str] = field(default_factory=set)
