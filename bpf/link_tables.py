"""What a program refers to that is neither a map of its own name nor plain global data: jump tables, variables in an arena.

Source: libbpf 1.7 create_jt_map, bpf_object__init_maps (place of an arena's variables).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from bpf import isa
from bpf.elf_file import ElfObject, Symbol
from bpf.errors import InputError
from bpf.maps import MapSpec, MapType

JUMPTABLES: Final = ".jumptables"
_ARENA_DATA: Final = ".addr_space.1"
_ENTRY: Final = 8  # bytes of an entry in the file: where the instruction is in its section
_VALUE: Final = 16  # bytes of struct bpf_insn_array_value, whose first field is orig_off
_PAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class ArenaData:
    """Variables in an arena. section: theirs; index: the arena's; base: byte of the arena where they start."""

    section: int
    index: int
    base: int

    @classmethod
    def of(cls, elf: ElfObject, maps: Sequence[MapSpec]) -> Self | None:
        """None when the object has none. Raises InputError when there is no arena for them."""
        section = elf.find(_ARENA_DATA)
        if section is None:
            return None
        arenas = [i for i, spec in enumerate(maps) if spec.type == MapType.ARENA]
        if not arenas:
            raise InputError(elf.what, f"section {_ARENA_DATA}", "there is no arena for its variables")
        size = maps[arenas[0]].max_entries * _PAGE
        used = -(-len(section.data) // _PAGE) * _PAGE
        if used > size:
            raise InputError(
                elf.what,
                f"map {maps[arenas[0]].name}",
                f"its {size} bytes cannot hold {len(section.data)} bytes of variables",
            )
        return cls(section.index, arenas[0], size - used)


class JumpTables:
    """The jump tables of one program as maps of instructions, each made when it is first named."""

    def __init__(self, elf: ElfObject, first: int) -> None:
        """first: index of the first one among the program's maps."""
        self._elf = elf
        self._first = first
        self._at: dict[int, int] = {}
        self._maps: list[MapSpec] = []

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Those that were named, in order."""
        return tuple(self._maps)

    def index(self, symbol: Symbol, start: int, base: int, where: str) -> int:
        """Index of the map of a table. start, base: where the function that names it starts in its section and in the program.

        Raises InputError for a table that is no table, or points before the function.
        """
        if symbol.value not in self._at:
            self._at[symbol.value] = self._first + len(self._maps)
            self._maps.append(self._made(symbol, base - start, where))
        return self._at[symbol.value]

    def _made(self, symbol: Symbol, moved: int, where: str) -> MapSpec:
        data = self._elf.sections[symbol.section].data[symbol.value : symbol.value + symbol.size]
        if symbol.value % _ENTRY or symbol.size % _ENTRY or len(data) != symbol.size or not data:
            raise InputError(
                self._elf.what,
                where,
                f"jump table {symbol.name!r} has {symbol.size} bytes from byte {symbol.value} on, of which {len(data)} exist",
            )
        elems = []
        for i in range(len(data) // _ENTRY):
            place = int.from_bytes(data[_ENTRY * i : _ENTRY * (i + 1)], "little")
            target = place // isa.INSN_SIZE + moved
            if not 0 <= target <= isa.U32:
                raise InputError(
                    self._elf.what, where, f"entry {i} of jump table {symbol.name!r} is no instruction"
                )
            elems.append((i.to_bytes(4, "little"), target.to_bytes(4, "little").ljust(_VALUE, b"\0")))
        return MapSpec(JUMPTABLES, MapType.INSN_ARRAY, 4, _VALUE, len(elems), elems=tuple(elems), freeze=True)
