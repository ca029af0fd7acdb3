"""Judges that look for something simple, so that reductions can be foretold."""

from collections.abc import Callable, Mapping

from bpf import asm
from bpf.listing import disassemble
from bpf.program import Program, Request
from bpf.verified import Rejected
from emu.fuzz.finding import Finding
from emu.fuzz.judge import Judged
from emu.fuzz.reduce import Budget, Reduced, reduce
from emu.pipeline import Case
from verifier import verify

FOUND = Finding("oracle", "kind", "it is there")

Sought = Callable[[Request, Mapping[str, Program]], bool]


class Seeking:
    """Finds a program that the verifier accepts (unless told otherwise) and that has what is sought."""

    def __init__(self, sought: Sought, *, verified: bool = True, found: Finding = FOUND) -> None:
        self.sought = sought
        self.found = found
        self.verified = verified
        self.asked = 0

    def judge(
        self, request: Request, others: Mapping[str, Program] | None = None, *, thorough: bool = False
    ) -> Judged:
        del thorough
        self.asked += 1
        found = self.sought(request, others or {})
        if found and self.verified:
            programs = [request.program, *(others or {}).values()]
            found = not any(isinstance(verify(program, log_level=0), Rejected) for program in programs)
        return Judged(Case(request), (self.found,) if found else ())


def reduced(
    text: str,
    sought: Sought,
    *,
    verified: bool = True,
    budget: Budget | None = None,
    found: Finding = FOUND,
) -> Reduced:
    """The reduction of a `.bpf` text."""
    assembly = asm.parse(text, "test")
    others = {program.name: program for program in assembly.programs[1:]}
    request = Request(assembly.program, assembly.runs)
    return reduce(request, others, found, Seeking(sought, verified=verified, found=found), budget)


def code(result: Reduced) -> list[str]:
    """The lines of the reduced main program, but for its first one."""
    text = disassemble(result.request.program, result.request.runs)
    return [line.strip() for line in text.splitlines()[1:] if line.strip()]


def has(*lines: str) -> Sought:
    """Whether all of these are among the lines of the program."""
    return lambda request, _others: (
        set(lines) <= {line.strip() for line in disassemble(request.program, request.runs).splitlines()}
    )
