"""A finding as it is kept: a `.bpf` text that says what is wrong and shows it, and its request.

The text is a function of what was found alone: no time, no host, no number of workers is in it. Knows no folder (store does).
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

from bpf.asm import Expectation, parse
from bpf.errors import InputError
from bpf.listing import disassemble
from bpf.program import Program, Request
from bpf.request import to_request
from bpf.verified import Rejected
from emu.fuzz.finding import Finding
from emu.mutants import find
from emu.outcome import Outcome
from emu.pipeline import Case

WIDTH = 140  # columns of a comment
ADDRESSES, NEGATIVES = (
    0xFFFF_8000_0000_0000,
    0xFFFF_FFFF_8000_0000,
)  # r0 from here to there is taken for an address


@dataclass(frozen=True, slots=True)
class Kept:
    """All that a kept file says. before: length of the generated program, in slots. jit: command of a JIT that is not ours."""

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
    jit: str = ""


def render(kept: Kept, case: Case | None) -> str:
    """The `.bpf` text. case: what the engines said of the program, None where they cannot be asked.

    Raises InputError where a name holds what no text can.
    """
    expectation = expected(case) if case is not None and _trusted(kept.mutant) else None
    text = listing(kept.request, kept.others, expectation)
    missing = unsaid(kept.request, kept.others, text)
    head = [line for what, said in _said(kept, missing) for line in _comment(what, said)]
    return "\n".join([*head, text])


def _trusted(mutant: str) -> bool:
    """Whether verifier and interpreter are as they should be: what they say then holds without the fault, too."""
    return not mutant or all(place.startswith("jit.") for place in find(mutant).where)


def _said(kept: Kept, missing: str) -> Iterator[tuple[str, str]]:
    """What the comment says, line by line."""
    size = len(kept.request.program.insns)
    option = "" if kept.mode == "kernel" else f" --mode {kept.mode}"
    option += f" --jit {shlex.quote(kept.jit)}" if kept.jit else ""
    yield "cause", kept.cause
    yield "found", f"{kept.finding.oracle}: {kept.finding.kind}"
    yield "message", kept.finding.message
    yield "case", f"{kept.sample} (generator {kept.generator}, seed {kept.seed}, number {kept.number})"
    yield "size", f"{size} instruction slots, of {kept.before}"
    yield "made by", f"bpfemu {_version()}, mode {kept.mode}"
    if kept.jit:
        yield "JIT", kept.jit
    if kept.mutant:
        yield "fault", f"{kept.mutant} is planted; without it all agrees"
    yield "to see it", f"bpfemu run{option} THIS-FILE" + (", with the fault planted" if kept.mutant else "")
    if missing:
        yield "not whole", f"{missing}; the .json file beside it has all"


def _comment(what: str, said: str) -> Iterator[str]:
    """One line of comment; a long one goes on in the next."""
    words = said.split()
    line = f"; {what}:"
    for word in words:
        if len(line) + len(word) >= WIDTH:
            yield line
            line = ";    "
        line += f" {word}"
    yield line


def _version() -> str:
    try:
        return version("bpfemu")
    except PackageNotFoundError:
        return "(not installed)"


def listing(request: Request, others: Mapping[str, Program], expectation: Expectation | None) -> str:
    """The text of all programs, with the inputs and an expectation. Raises InputError as `disassemble`."""
    rest = [replace(program, name=name) for name, program in others.items() if name != request.program.name]
    *first, last = [request.program, *rest]
    trailer = "" if expectation is None else str(expectation)
    return "\n".join([*map(disassemble, first), disassemble(last, request.runs, trailer)])


def unsaid(request: Request, others: Mapping[str, Program], text: str) -> str:
    """What of a program its text does not hold, "" when it holds all but source lines."""
    made = {program.name: program for program in parse(text, "text").programs}
    wanted = {**others, request.program.name: request.program}
    for name, program in wanted.items():
        back = made[name]
        if (back.insns, back.maps) != (program.insns, program.maps):
            return "it has instructions or maps that no text holds"
        if _prototypes(back) != _prototypes(program):
            return "its BTF has more than prototypes"
    return ""


def _prototypes(program: Program) -> list[str]:
    if program.btf is None:
        return []
    try:
        return [str(program.btf.prototype(info.type_id)) for info in program.func_info]
    except InputError:
        return ["?"]


def expected(case: Case) -> Expectation | None:
    """What the reference says of a program: the verifier's verdict, and the interpreter's results up to the first that is none."""
    verdict = case.verdict
    if verdict is None:
        return None
    if isinstance(verdict, Rejected):
        message = verdict.message
        return Expectation(False, verdict.errno, None if message is None or '"' in message else message)
    return _results(case.interp)


def _results(outcome: Outcome | None) -> Expectation:
    plain = Expectation(True)
    if outcome is None or not outcome.runs or any(run.trap is not None for run in outcome.runs):
        return plain
    errnos = {run.errno for run in outcome.runs}
    if errnos != {"OK"}:
        return replace(plain, run_errno=errnos.pop()) if len(errnos) == 1 else plain
    if any(ADDRESSES <= run.r0 < NEGATIVES for run in outcome.runs):
        return plain  # which is another one in every kernel
    retvals = tuple(run.retval for run in outcome.runs)
    return replace(plain, retvals=retvals[:1] if len(set(retvals)) == 1 else retvals)


def request_json(kept: Kept) -> str:
    """The request, as `bpfemu batch` and a real kernel take it; `incomplete` says what it cannot hold."""
    return json.dumps(request_object(kept.request), indent=1) + "\n"


def request_object(request: Request) -> dict[str, object]:
    """The request as JSON. Programs in prog arrays and maps in maps are not in that form: `incomplete` says so."""
    made = to_request(request)
    if any(spec.progs for spec in request.program.maps):
        made["incomplete"] = "programs of prog arrays are in the text only"
    elif any(spec.inner is not None or spec.inner_maps for spec in request.program.maps):
        made["incomplete"] = "maps of maps are in the text only"
    return made
