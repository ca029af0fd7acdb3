"""The value every reader makes (ELF, text, JSON) and every stage takes."""

from dataclasses import dataclass, field

from bpf.btf import Btf
from bpf.insn import Insn
from bpf.maps import MapSpec


@dataclass(frozen=True, slots=True)
class FuncInfo:
    """A function starts at `insn` and has the FUNC type `type_id` (struct bpf_func_info)."""

    insn: int
    type_id: int


@dataclass(frozen=True, slots=True)
class LineInfo:
    """Source of the instructions from `insn` on (struct bpf_line_info, names resolved)."""

    insn: int
    file: str
    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class KfuncRef:
    """The call at `insn` is to kfunc `name` of `module` ("" = the kernel itself)."""

    insn: int
    name: str
    module: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """A program as it is given to the kernel's load command; nothing is rewritten yet.

    insns: one entry an 8-byte slot, so an index is the kernel's instruction index.
      A call of a BPF function (src 1) holds the distance in imm; a kfunc call (src 2) is named by
      `kfuncs`; an ld_imm64 with src 1 or 2 holds an index into `maps` in imm.
    prog_type: the kernel's short name ("sched_cls", "xdp", "syscall", ...) or the number as text.
    btf: None when the program has none. func_info: in order of `insn`; its first entry is the main program.
    section: ELF section or "". raw: func_info and line_info records as they came, for the loader's checks.
    """

    name: str
    insns: tuple[Insn, ...]
    prog_type: str = "sched_cls"
    btf: Btf | None = None
    func_info: tuple[FuncInfo, ...] = ()
    line_info: tuple[LineInfo, ...] = ()
    maps: tuple[MapSpec, ...] = ()
    kfuncs: tuple[KfuncRef, ...] = ()
    license: str = "GPL"
    prog_flags: int = 0
    expected_attach_type: int = 0
    attach_btf_id: int = 0
    attach_to: str = ""
    section: str = ""


@dataclass(frozen=True, slots=True)
class RunInput:
    """What BPF_PROG_TEST_RUN is given. data_in None: the default of the program type (64 zero bytes for packets).

    repeat 0 means that none was asked for: the kernel then runs once (and a syscall program allows nothing else).
    """

    data_in: bytes | None = None
    ctx_in: bytes | None = None
    repeat: int = 0
    flags: int = 0
    data_out_size: int | None = None
    ctx_out_size: int | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an image is to lie (optional request key `place`): absolute addresses."""

    functions: tuple[int, ...] = ()
    symbols: dict[str, int] = field(default_factory=dict)
    maps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A program, its runs, and how to answer: the JSON request of docs/formats.md as a value."""

    program: Program
    runs: tuple[RunInput, ...] = (RunInput(),)
    run: bool = True
    log_level: int = 2
    place: Placement | None = None
