"""Native code of one piece of a function, before its place is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from jit.image import Reloc

Field = tuple[int, int, str, int, str, int, int]  # of Reloc: off, size, kind, target, symbol, addend, insn
Move = tuple[
    int, int, str
]  # offset behind an instruction, bytes by which it took rsp down, register pushed for a while


class Pushing(bytes):
    """Code of one BPF instruction that pushes registers and pops them again. moves: of rsp, as in `Emitted`."""

    moves: tuple[Move, ...] = ()


def pushing(around: Sequence[tuple[str, bytes, bytes]], inside: bytes) -> Pushing:
    """`inside` between the pushes and pops of `around`: (name, push, pop) of each register."""
    code, moves = b"", []
    for name, push, _ in around:
        code += push
        moves.append((len(code), 8, name))
    code += inside
    for name, _, pop in reversed(around):
        code += pop
        moves.append((len(code), -8, name))
    made = Pushing(code)
    made.moves = tuple(moves)
    return made


@dataclass(slots=True)
class Emitted:
    """Bytes, with relocations, exception-table entries and a poke at offsets from their start.

    moves: every instruction that moves rsp, for the frame (jit.frame): whoever adds one says so with `down`.
    """

    code: bytes = b""
    fields: list[Field] = field(default_factory=list)
    extable: list[tuple[int, int, str]] = field(default_factory=list)
    poke: tuple[int, int] | None = None
    moves: list[Move] = field(default_factory=list)

    def add(self, code: bytes, down: int = 0, reg: str = "") -> None:
        """Append `code`. down: bytes by which its last instruction takes rsp down; reg: pushed or popped for a while."""
        self.code += code
        if down:
            self.moves.append((len(self.code), down, reg))

    def add_field(
        self,
        code: bytes,
        size: int,
        kind: str,
        target: int = -1,
        symbol: str = "",
        addend: int = 0,
        insn: int = -1,
    ) -> None:
        """Append `code`, whose last `size` bytes are the field of a relocation (the rest as in `Reloc`)."""
        self.code += code
        self.fields.append((len(self.code) - size, size, kind, target, symbol, addend, insn))

    def append(self, other: "Emitted") -> None:
        """Append code that carries nothing but relocations and moves of rsp."""
        base = len(self.code)
        self.fields += (_moved(one, base) for one in other.fields)
        self.moves += ((at + base, down, reg) for at, down, reg in other.moves)
        self.code += other.code

    def relocs(self, base: int) -> Iterator[Reloc]:
        """The relocations when the code starts at `base` of its function."""
        for off, size, kind, target, symbol, addend, insn in self.fields:
            yield Reloc(off + base, size, kind, target, symbol, addend, insn)

    def prefix(self, code: bytes) -> None:
        """Put `code` in front."""
        by = len(code)
        self.code = code + self.code
        self.fields = [_moved(one, by) for one in self.fields]
        self.extable = [(at + by, length, clears) for at, length, clears in self.extable]
        self.moves = [(at + by, down, reg) for at, down, reg in self.moves]
        if self.poke:
            self.poke = (self.poke[0] + by, self.poke[1] + by)


def _moved(one: Field, by: int) -> Field:
    off, size, kind, target, symbol, addend, insn = one
    return off + by, size, kind, target, symbol, addend, insn
