"""Native code of one piece of a function, before its place is known."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from jit.image import Reloc

Field = tuple[int, int, str, int, str, int, int]  # of Reloc: off, size, kind, target, symbol, addend, insn


@dataclass(slots=True)
class Emitted:
    """Bytes, with relocations, exception-table entries and a poke at offsets from their start."""

    code: bytes = b""
    fields: list[Field] = field(default_factory=list)
    extable: list[tuple[int, int, str]] = field(default_factory=list)
    poke: tuple[int, int] | None = None

    def add(self, code: bytes) -> None:
        """Append `code`."""
        self.code += code

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
        """Append code that carries nothing but relocations."""
        base = len(self.code)
        self.fields += (_moved(one, base) for one in other.fields)
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
        if self.poke:
            self.poke = (self.poke[0] + by, self.poke[1] + by)


def _moved(one: Field, by: int) -> Field:
    off, size, kind, target, symbol, addend, insn = one
    return off + by, size, kind, target, symbol, addend, insn
