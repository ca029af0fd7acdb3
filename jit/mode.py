"""What lowering an instruction depends on besides the instruction itself."""

from dataclasses import dataclass

from jit.errors import CannotLower
from jit.profile import Profile
from jit.regmap import NO_REG, PRIVATE_REGMAP, REGMAP


@dataclass(frozen=True, slots=True)
class Mode:
    """profile: the emitter's options. private_stack: r10 is r9, not rbp. arena_user: user address of the arena."""

    profile: Profile
    private_stack: bool = False
    arena_user: int | None = None

    def reg(self, number: int) -> int:
        """The x86 register of a BPF register. Raises CannotLower for r11 and above AX."""
        regs = PRIVATE_REGMAP if self.private_stack else REGMAP
        if number >= len(regs) or regs[number] == NO_REG:
            raise CannotLower(f"R{number} is invalid")
        return regs[number]
