"""C types and function prototypes, as far as a calling convention needs them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CType:
    """A C type. kind: "void", "int", "bool", "ptr", "struct", "union", "enum" or "float".

    name: "u64", "struct okf_pair" without qualifiers, "" for pointers. bits: width of the value itself (a
    pointer has 64). signed: of integers and enums. to: what a pointer points to. const: const-qualified.
    """

    kind: Literal["void", "int", "bool", "ptr", "struct", "union", "enum", "float"]
    name: str = ""
    bits: int = 0
    signed: bool = False
    to: "CType | None" = None
    const: bool = False

    def __str__(self) -> str:
        prefix = "const " if self.const and self.kind != "ptr" else ""
        if self.kind == "ptr":
            assert self.to is not None
            return f"{self.to}*" if self.to.kind == "ptr" else f"{self.to} *"
        return prefix + (self.name or self.kind)

    def extend(self, value: int) -> int:
        """`value` as C reads a parameter of this type: its low bits, extended by sign or zero to 64 bits, unsigned.

        A bool is the low byte. Types of 64 bits and more are returned as they are.
        """
        bits = 8 if self.kind == "bool" else self.bits
        if self.kind not in ("int", "bool", "enum") or bits >= 64:
            return value
        value &= (1 << bits) - 1
        if self.signed and value >> (bits - 1):
            value |= ((1 << 64) - 1) ^ ((1 << bits) - 1)
        return value


@dataclass(frozen=True, slots=True)
class Param:
    """A named parameter; argument k is in r1..r5 for k <= 5, else in *(u64 *)(r11 - 8 * (k - 5))."""

    name: str
    type: CType


@dataclass(frozen=True, slots=True)
class FuncProto:
    """A function with 0 to 12 parameters."""

    name: str
    ret: CType
    params: tuple[Param, ...]

    def __str__(self) -> str:
        params = ", ".join(
            f"{p.type}{p.name}" if p.type.kind == "ptr" else f"{p.type} {p.name}" for p in self.params
        )
        gap = "" if self.ret.kind == "ptr" else " "
        return f"{self.ret}{gap}{self.name}({params or 'void'})"
