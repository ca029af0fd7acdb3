"""What a campaign asks of its workers, and what they answer: values that cross from process to process.

Knows neither how a task is done (worker) nor who does it (executors).
"""

from dataclasses import dataclass, field

from emu.fuzz.finding import Finding
from emu.fuzz.tally import Tally

CHUNK = 32  # numbers a task: long enough that handing it over costs nothing, short enough to stop soon


@dataclass(frozen=True, slots=True)
class Config:
    """What decides, together with a number, what a case is and what is said about it.

    generators, oracles: names. mutant: of the fault that is planted, "" for none. modules: files with more kfuncs or
    generators, corpus: folder of programs, read by every worker; digest: of the corpus. coverage: record branches.
    jit: command of a JIT that is tested in the place of ours, "" for ours.
    export: forms in which findings are written as well. build: digest of bpfemu's sources.
    """

    seed: int
    mode: str
    generators: tuple[str, ...]
    oracles: tuple[str, ...]
    mutant: str = ""
    modules: tuple[str, ...] = ()
    corpus: str = ""
    digest: str = ""
    jit: str = ""
    coverage: bool = True
    export: tuple[str, ...] = ()
    build: str = ""

    def generator(self, number: int) -> str:
        """Who makes case `number`: the generators take turns."""
        return self.generators[number % len(self.generators)]

    def turn(self, number: int) -> int:
        """The how manieth case of its generator this is, from 0."""
        return number // len(self.generators)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Make and judge the cases start .. stop - 1."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Shrink:
    """Make case `number` again, and find the smallest program with the same complaint. plain: leave it as it is."""

    number: int
    finding: Finding
    group: str
    plain: bool = False


Task = Chunk | Shrink


@dataclass(frozen=True, slots=True)
class Found:
    """A complaint about a case as it was generated. group: cause as far as it can be told now (cause.coarse)."""

    number: int
    finding: Finding
    group: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of a chunk. found: in order of numbers."""

    task: Chunk
    tally: Tally
    found: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A finding as it is kept. finding: of the program as it is now; name: of its files; text, request: their contents.

    before, insns: length of the program in 8-byte slots as generated, and now. steps: programs tried. exports: more
    files, (ending, text); remarks: why one is missing.
    """

    task: Shrink
    finding: Finding
    cause: str
    name: str
    generator: str
    before: int
    insns: int
    text: str
    request: str
    steps: int = 0
    reduced: bool = True
    exports: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Died:
    """The task killed its worker, and another one that tried it again. why: for the terminal, never for a file."""

    task: Task
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker cannot do the task, through a fault of ours or of its surroundings. input_error: the caller's fault."""

    task: Task
    why: str
    input_error: bool = False


Answer = Counted | Shrunk | Died | Failed
