"""The two kinds of exceptions of this project; a rejected program is neither."""


class BpfemuError(Exception):
    """Base of both kinds."""


class InputError(BpfemuError):
    """The caller's input is bad. Its text is one line that says what, where and why.

    `what` names the file, request or option; `where` the place inside it ("line 3, column 7",
    "section .BTF", "insn 12"; may be empty); `why` what is wrong there.
    """

    def __init__(self, what: str, where: str, why: str) -> None:
        self.what = what
        self.where = where
        self.why = why
        parts = [part for part in (what, where, why) if part]
        super().__init__(": ".join(" ".join(part.split()) for part in parts))


class InternalError(BpfemuError):
    """We are wrong: an invariant of this project does not hold."""
