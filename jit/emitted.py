"""Native code of one piece of a function, before its place is known."""

from dataclasses import dataclass, field

from jit.image import Reloc


@dataclass(slots=True)
class Emitted:
    """Bytes, with relocations, exception-table entries and pokes at offsets from their start."""

    code: bytes = b""
    relocs: list[Reloc] = field(default_factory=list)
    extable: list[tuple[int, int, str]] = field(default_factory=list)
    poke: tuple[int, int] | None = None

    def add(self, code: bytes) -> None:
        """Append `code`."""
        self.code += code

    def add_field(self, code: bytes, size: int, reloc: Reloc) -> None:
        """Append `code`, whose last `size` bytes are the relocation's field; its `off` is filled in."""
        self.code += code
        self.relocs.append(
            Reloc(
                len(self.code) - size, size, reloc.kind, reloc.target, reloc.symbol, reloc.addend, reloc.insn
            )
        )
