"""The one error of this stage."""

from bpf.errors import InputError


class JitUnsupported(InputError):  # noqa: N818 - says what it is, as Rejected does
    """The kernel's JIT would refuse the program, or this one does not know an instruction in it.

    insn: index in `Verified.insns`, None where it is about a whole function.
    """

    def __init__(self, what: str, insn: int | None, why: str) -> None:
        super().__init__(what, "" if insn is None else f"insn {insn}", why)
        self.insn = insn


class CannotLower(Exception):  # noqa: N818 - never leaves this package: the compiler adds the place
    """Why an instruction cannot be lowered, raised where its index is not known."""
