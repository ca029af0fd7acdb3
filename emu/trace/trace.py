"""What a trace is: the steps of both engines as values, each step as what it changed. Knows no engine and no output.

    Trace ── programs    BPF instructions and source lines        ── activations  functions that were under way, and where
          ── functions   native instructions                      ── shapes       who owns what in a frame
          ── steps       one native instruction each              ── calls, findings, runs

A step shows the state *before* its instruction. All that it holds is the difference to the step before; `walk` adds them up.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

REGISTERS: Final = (
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
KINDS: Final = ("caller", "link", "stack", "count", "saved", "temporary", "outgoing", "kernel")


@dataclass(frozen=True, slots=True)
class Source:
    """A line of source, from the object's line information."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Insn:
    """A BPF instruction of a program as it was loaded. source: index in `Program.sources`, None where there is none."""

    number: int
    text: str
    source: int | None


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was reached. starts: first instruction and name of each function, ascending."""

    name: str
    insns: tuple[Insn, ...]
    sources: tuple[Source, ...]
    starts: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Native:
    """A native instruction. off: in its function; code: its bytes; insn: BPF instruction that it belongs to, if any."""

    off: int
    code: bytes
    text: str
    insn: int | None


@dataclass(frozen=True, slots=True)
class Function:
    """A native function. program: index in `Trace.programs`, -1 for code without a program; number: in its program.

    start: its first instruction there. params: as in C. registers: BPF register 0 to 10 -> native register.
    """

    program: int
    number: int
    name: str
    addr: int
    start: int
    prologue: int
    params: tuple[str, ...]
    registers: tuple[str, ...]
    natives: tuple[Native, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Words of a frame that belong to somebody. off: distance of the lowest byte from the CFA; size: bytes.

    kind: one of KINDS. what: the owner. note: more of it, "" if there is none.
    """

    off: int
    size: int
    kind: str
    what: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Activation:
    """A function that is under way. cfa: rsp before the call that entered it. insn: BPF instruction of the call.

    frame: how many functions of the program are around it. by: what called it, when that was no function of the program.
    """

    function: int
    cfa: int
    frame: int
    insn: int | None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One native instruction about to be executed, or a BPF instruction that became none.

    run: its number. function: index in `Trace.functions`, -1 outside of all; addr: of the native instruction, None where
    there is none. insn: the BPF instruction it belongs to; begins: whether that one begins here, and both engines stand
    at the same place. regs, words: native registers and stack words that changed. frames: (activation, shape) from
    outermost to innermost, None for as before. bpf: registers and arguments of the reference interpreter that changed,
    by name (r0, in7, out8), None for undefined. slots: words of its stacks that changed, by (frame, offset from r10).
    marks: names of what parts here: as in `bpf`, or `fp0-16`.
    """

    run: int
    function: int
    addr: int | None
    insn: int | None
    begins: bool
    regs: Mapping[str, int]
    words: Mapping[int, int]
    frames: tuple[tuple[int, int], ...] | None = None
    bpf: Mapping[str, int | None] = field(default_factory=dict)
    slots: Mapping[tuple[int, int], int] = field(default_factory=dict)
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call, seen from both ends and in both engines.

    put: where BPF code puts it; put_native: where the native caller has it; found: where the native callee looks.
    reference, sandbox: values, None for undefined or not there; shown: the two as text. differs: they are not the same.
    """

    number: int
    param: str
    put: str
    put_native: str
    found: str
    reference: int | None
    sandbox: int | None
    shown: tuple[str, str]
    differs: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a kfunc, a helper or a function of the program, or a helper's call back ("callback").

    step: the call instruction; for a callback the first instruction of the callee. results: of both engines, None where it
    did not return or returned nothing that is defined.
    """

    step: int
    run: int
    insn: int | None
    callee: str
    kind: str
    args: tuple[Argument, ...]
    results: tuple[int | None, int | None]
    shown: tuple[str, str]
    differs: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    step: where to look; seen: the step by which it was noticed, not before `step`. kind: "value", "flow", or the kind of a
    `Difference`, or the name of a check. text: a line. argument: its number, at a call.
    """

    step: int
    seen: int
    kind: str
    text: str
    insn: int | None = None
    native: int | None = None
    argument: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One test run. first: its first step. ends: how it ended in the reference interpreter and in the sandbox."""

    first: int
    ends: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace; see the module's picture.

    verdict: "agrees", "differs" or "both trap", of all runs in full. difference: in a line, "" if there is none. stop:
    step of the first finding by which a run differs, None where nothing is wrong. cut: why steps are missing at the end,
    "" when none are. after: the first call behind the end that takes or returns other values, where the end is a cut. names: what some numbers mean. stacks: frame pointer of the reference interpreter's frame 0, and
    the distance to that of the next frame.
    """

    name: str
    file: str
    profile: str
    mutant: str
    verdict: str
    difference: str
    programs: tuple[Program, ...]
    functions: tuple[Function, ...]
    activations: tuple[Activation, ...]
    shapes: tuple[tuple[Row, ...], ...]
    steps: tuple[Step, ...]
    calls: tuple[Call, ...]
    after: Call | None
    findings: tuple[Finding, ...]
    runs: tuple[Run, ...]
    stop: int | None
    cut: str
    names: Mapping[int, str]
    stacks: tuple[int, int]


@dataclass(slots=True)
class State:
    """All that is known at a step, added up. The fields are those of `Step`."""

    regs: dict[str, int] = field(default_factory=dict)
    words: dict[int, int] = field(default_factory=dict)
    frames: tuple[tuple[int, int], ...] = ()
    bpf: dict[str, int | None] = field(default_factory=dict)
    slots: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, step: Step) -> None:
        """Go on to the next step."""
        self.regs.update(step.regs)
        self.words.update(step.words)
        if step.frames is not None:
            self.frames = step.frames
        self.bpf.update(step.bpf)
        self.slots.update(step.slots)


def walk(trace: Trace) -> Iterator[tuple[int, Step, State]]:
    """Each step with its number and its state; the state is the same object each time."""
    state = State()
    for number, step in enumerate(trace.steps):
        state.add(step)
        yield number, step, state
