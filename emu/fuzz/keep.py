"""A finding as it is kept: a `.bpf` text that says what is wrong, and its request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bpf.listing import disassemble
from bpf.program import Program, Request
from bpf.request import to_request
from emu.fuzz.finding import Finding
from emu.pipeline import Case


@dataclass(frozen=True, slots=True)
class Kept:
    """All that a kept file says. before: length of the generated program, in slots."""

    request: Request
    others: Mapping[str, Program]
    finding: Finding
    cause: str
    sample: str
    generator: str
    seed: int
    number: int
    mode: str
    mutant: str
    before: int


def render(kept: Kept, case: Case | None) -> str:
    """The `.bpf` text. case: what the engines said of the program, None where they cannot be asked."""
    lines = [
        f"; {kept.cause}",
        f"; {kept.finding.oracle}: {kept.finding.kind}: {kept.finding.message}",
        f"; case {kept.sample}: generator {kept.generator}, seed {kept.seed}, number {kept.number}, mode {kept.mode}",
        f"; reduced from {kept.before} instructions",
    ]
    if kept.mutant:
        lines.append(f"; with the planted fault {kept.mutant}")
    accepted = case is not None and case.verdict is not None and not case.rejected
    text = disassemble(kept.request.program, kept.request.runs, "expect: accepted" if accepted else "")
    return "\n".join(lines) + "\n" + text


def request_json(kept: Kept) -> str:
    """The request, as `bpfemu batch` takes it."""
    return json.dumps(to_request(kept.request)) + "\n"
