"""What generators make: `bpfemu fuzz --describe`. Counts over a number of cases, without running any.

`look_at` takes one program apart; `describe` counts over the cases of each generator and asks the verifier about each.
Knows neither campaigns nor oracles.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from bpf import isa
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from bpf.opcodes import FORMS, form_of
from bpf.program import Program
from bpf.verified import Rejected
from emu.fuzz.generators import Corpus, make
from verifier import verify

INSN_LIMIT = 50_000  # visited instructions of one verification
_NUMBER = re.compile(r"0x[0-9a-f]+|-?\d+")
_POSSIBLE = tuple(dict.fromkeys(form.name for form in FORMS if form.loadable))
_FIELDS = ("read", "update", "base")


@dataclass(slots=True)
class Counts:
    """Of one generator. All counters count programs but where it is said: calls, functions, instructions.

    sizes: instructions of each program. functions: by number of parameters, the main function apart. kfuncs: calls, by
    number of arguments. callees: calls of helpers and kfuncs by name. depths: longest chain of calls. forms: instructions.
    reads, writes: instructions, by register. saved: functions, by which of r6 to r9 they name. stacks: functions, by bytes
    of stack. reasons: refused, by message without its numbers; examples: a case of each.
    """

    generator: str
    cases: int = 0
    accepted: int = 0
    sizes: list[int] = field(default_factory=list)
    runs: Counter[int] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    functions: Counter[int] = field(default_factory=Counter)
    kfuncs: Counter[int] = field(default_factory=Counter)
    callees: Counter[str] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    reads: Counter[int] = field(default_factory=Counter)
    writes: Counter[int] = field(default_factory=Counter)
    saved: Counter[str] = field(default_factory=Counter)
    stacks: Counter[int] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def never(self) -> tuple[str, ...]:
        """Forms that a program may hold and that no program here does."""
        return tuple(name for name in _POSSIBLE if not self.forms[name])

    def as_json(self) -> dict[str, object]:
        """The same in plain types; counters in order of their keys."""
        sizes = sorted(self.sizes) or [0]
        by_number = {
            "runs": self.runs,
            "functions": self.functions,
            "kfuncs": self.kfuncs,
            "depths": self.depths,
            "reads": self.reads,
            "writes": self.writes,
            "stacks": self.stacks,
        }
        by_name = {
            "types": self.types,
            "callees": self.callees,
            "forms": self.forms,
            "saved": self.saved,
            "tags": self.tags,
        }
        reasons = [
            {"message": text, "cases": count, "example": self.examples[text]}
            for text, count in sorted(self.reasons.items(), key=lambda one: (-one[1], one[0]))
        ]
        return {
            "generator": self.generator,
            "cases": self.cases,
            "accepted": self.accepted,
            "insns": {"least": sizes[0], "median": median(sizes), "mean": sum(sizes) / len(sizes), "most": sizes[-1]},
            **{name: {str(key): some[key] for key in sorted(some)} for name, some in by_number.items()},
            **{name: dict(sorted(some.items())) for name, some in by_name.items()},
            "never": list(self.never),
            "reasons": reasons,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Description:
    """What each generator made. mode: of the verifier that was asked."""

    seed: int
    mode: str
    counts: tuple[Counts, ...]

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {"seed": self.seed, "mode": self.mode, "generators": [one.as_json() for one in self.counts]}


def describe(
    generators: Sequence[str],
    seed: int,
    cases: int,
    mode: str = "kernel",
    corpus: Corpus | None = None,
    shown: Callable[[Sequence[int], str], Iterable[int]] = lambda numbers, _doing: numbers,
) -> Description:
    """Counts over cases 0 to `cases` - 1 of each generator. Raises InputError when there is no such generator.

    shown: what goes through the numbers, for a bar of progress.
    """
    return Description(
        seed, mode, tuple(_counts(name, seed, cases, mode, corpus, shown) for name in generators)
    )


def _counts(
    generator: str,
    seed: int,
    cases: int,
    mode: str,
    corpus: Corpus | None,
    shown: Callable[[Sequence[int], str], Iterable[int]],
) -> Counts:
    counts = Counts(generator)
    for number in shown(range(cases), generator):
        sample = make(generator, seed, number, corpus)
        program = sample.request.program
        counts.cases += 1
        counts.runs[len(sample.request.runs)] += 1
        counts.tags.update(sample.tags)
        look_at(program, counts)
        verdict = verify(program, log_level=0, mode=mode, insn_limit=INSN_LIMIT)
        if isinstance(verdict, Rejected):
            reason = _NUMBER.sub("N", verdict.message or verdict.errno)
            counts.reasons[reason] += 1
            counts.examples.setdefault(reason, sample.name)
        else:
            counts.accepted += 1
    return counts


# ---------------------------------------------------------------- one program


def look_at(program: Program, counts: Counts) -> None:
    """Adds what one program is made of."""
    counts.sizes.append(len(program.insns))
    counts.types[program.prog_type] += 1
    _prototypes(program, counts)
    starts = [0, *(info.insn for info in program.func_info if info.insn), len(program.insns)]
    for first, end in pairwise(starts):
        named, deepest = _instructions(program, first, end, counts)
        counts.saved[" ".join(f"r{reg}" for reg in (6, 7, 8, 9) if named >> reg & 1) or "none"] += 1
        counts.stacks[deepest] += 1
    counts.depths[_call_depth(program, starts)] += 1


def _prototypes(program: Program, counts: Counts) -> None:
    for info in program.func_info[1:]:
        assert program.btf is not None
        counts.functions[len(program.btf.types[program.btf.types[info.type_id].type].params)] += 1
    for ref in program.kfuncs:
        counts.callees[ref.name] += 1
        if ref.name in KFUNCS:
            counts.kfuncs[len(KFUNCS[ref.name].proto.params)] += 1


def _instructions(program: Program, first: int, end: int, counts: Counts) -> tuple[int, int]:
    """Forms and registers of a function. Returns a mask of the registers that it names, and its bytes of stack."""
    named = deepest = 0
    wide = False
    for at in range(first, end):
        insn = program.insns[at]
        if wide:
            wide = False
            continue
        wide = insn.code == isa.LD_IMM64
        form = form_of(insn)
        named |= 1 << insn.dst | 1 << insn.src
        if form is None:
            counts.forms["none"] += 1
            continue
        counts.forms[form.name] += 1
        for kind, reg in ((form.dst, insn.dst), (form.src, insn.src)):
            if kind in _FIELDS:
                counts.reads[reg] += 1
            if kind in ("write", "update"):
                counts.writes[reg] += 1
            if kind == "base" and reg == isa.FP:
                deepest = max(deepest, -insn.off)
        if form.name == "add64_imm" and at > first and program.insns[at - 1] == _frame_pointer(insn.dst):
            deepest = max(deepest, -insn.imm)
        if form.name == "call_helper":
            counts.callees[f"helper {insn.imm}"] += 1
    return named, deepest


def _frame_pointer(reg: int) -> Insn:
    return Insn(isa.ALU64 | isa.MOV | isa.X, reg, isa.FP)


def _call_depth(program: Program, starts: Sequence[int]) -> int:
    """Frames of the longest chain of calls; a function that comes back to itself counts once."""
    edges: dict[int, set[int]] = {}
    for first, end in pairwise(starts):
        for at in range(first, end):
            insn = program.insns[at]
            calls = (isa.OP_CALL, isa.PSEUDO_CALL), (isa.LD_IMM64, isa.PSEUDO_FUNC)
            if (insn.code, insn.src) in calls:
                edges.setdefault(first, set()).add(at + 1 + insn.imm)

    def frames(function: int, above: tuple[int, ...]) -> int:
        callees = sorted(edges.get(function, set()))
        return 1 + max((frames(one, (*above, function)) for one in callees if one not in above), default=0)

    return frames(0, ())
