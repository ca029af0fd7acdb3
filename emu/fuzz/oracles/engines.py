"""The interpreter and the sandbox agree: result, maps, packet, every argument of every call; and no convention is broken."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.fuzz.finding import Finding

if TYPE_CHECKING:
    from emu.fuzz.oracles import Exam


def judge(exam: "Exam") -> Iterator[Finding]:
    """The first point at which both part."""
    found = exam.case.difference
    if found is not None:
        kind = found.kind if found.check in ("", found.kind) else f"{found.kind} {found.check}"
        yield Finding("engines", kind, found.message, found.insn, found.run)
