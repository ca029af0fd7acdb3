"""One 8-byte instruction slot.

      63            32 31       16 15  12 11   8 7          0
     +----------------+-----------+------+------+------------+
     |   imm (s32)    | off (s16) | src  | dst  |    code    |
     +----------------+-----------+------+------+------------+

An ld_imm64 takes two slots; the second has code 0 and the upper half in `imm`, so that an
index into a tuple of `Insn` is always the kernel's instruction index.
"""

from dataclasses import dataclass

from bpf import isa


@dataclass(frozen=True, slots=True)
class Insn:
    """code: 0..255; dst, src: 0..15; off: signed 16 bits; imm: signed 32 bits."""

    code: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0

    @property
    def cls(self) -> int:
        """Instruction class, `isa.LD` .. `isa.ALU64`."""
        return self.code & isa.CLASS_MASK

    @property
    def op(self) -> int:
        """Operation of an ALU or jump instruction, `isa.ADD` .. or `isa.JA` .. ."""
        return self.code & isa.OP_MASK

    @property
    def mode(self) -> int:
        """Mode of a memory instruction, `isa.MEM` .. ."""
        return self.code & isa.MODE_MASK

    @property
    def size(self) -> int:
        """Width of a memory access in bytes: 1, 2, 4 or 8."""
        return isa.SIZE_BYTES[self.code & isa.SIZE_MASK]

    @property
    def is_call(self) -> bool:
        """A call of any kind: helper, BPF function or kfunc."""
        return self.code == isa.OP_CALL
