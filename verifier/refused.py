"""How a pass of the verifier says no. Stays inside this package: callers of `verify` get a `Rejected` value."""


class Refused(Exception):  # noqa: N818 # not an error: the answer of a pass
    """A pass refuses the program.

    errno: "EINVAL". messages: the explaining lines as the kernel writes them, without line ends; none where it
    refuses before there is a log. insn: index in the program, or None.
    """

    def __init__(self, errno: str, *messages: str, insn: int | None = None) -> None:
        self.errno = errno
        self.messages = messages
        self.insn = insn
        super().__init__(errno, *messages)
