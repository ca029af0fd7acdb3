"""What is wrong with a sample: a value that two observers of the same fault agree on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One oracle's complaint about one program.

    oracle: its name. kind: what is wrong, in the oracle's words, the same for every program that shows the same fault
    in the same way ("argument", "violation callee-saved", "trap access"). The reducer keeps oracle and kind.
    message: one line with all details. insn: index in `Program.insns`, where one is to blame. run: number of the run.
    """

    oracle: str
    kind: str
    message: str
    insn: int | None = None
    run: int | None = None

    def alike(self, other: "Finding") -> bool:
        """Whether both are the same complaint, perhaps about different programs."""
        return (self.oracle, self.kind) == (other.oracle, other.kind)
