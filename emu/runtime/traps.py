"""How a run ends otherwise than by its exit instruction, as the runtime tells its engine.

Knows nothing of instructions: the engine adds where it happened.
"""


class HelperTrap(Exception):  # noqa: N818 - what a guest did, no error of ours
    """A helper, kfunc or internal function cannot do what it was asked. Engines turn it into a Trap.

    kind: one of emu.outcome.TRAP_KINDS ("call" for an unknown function or bad arguments, "helper" for memory
    that the function may not touch). why: one line.
    """

    def __init__(self, kind: str, why: str) -> None:
        self.kind = kind
        self.why = why
        super().__init__(f"{kind}: {why}")


class RunRefused(Exception):  # noqa: N818 - an answer of the kernel
    """BPF_PROG_TEST_RUN would refuse this run; `errno` is the name of its error ("EINVAL", "ENOTSUPP")."""

    def __init__(self, errno: str, why: str = "") -> None:
        self.errno = errno
        self.why = why
        super().__init__(f"{errno}: {why}" if why else errno)
