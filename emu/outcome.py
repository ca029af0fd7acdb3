"""What a run came to, whatever engine made it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trap:
    """Why a run ended before its exit.

    kind: one of TRAP_KINDS. insn: index in `Program.insns`, None where it is unknown (wild native code).
    message: `insn 12: r1 = *(u64 *)(r2 +8): reason`. native: absolute address of the native instruction,
    asm: its text (sandbox only).
    """

    kind: str
    insn: int | None
    message: str
    native: int | None = None
    asm: str = ""


TRAP_KINDS = (
    "access",  # outside every object the program was given, or of the wrong kind
    "uninitialized",  # read of an undefined stack argument or register
    "budget",  # more instructions or time than allowed
    "fetch",  # native: a jump to where no code is
    "write-code",  # native: a write to code or other read-only memory
    "divide",  # native: #DE
    "opcode",  # native: #UD or an instruction that no kernel code may execute
    "exception",  # native: another processor exception
    "stack",  # a frame or the native stack overflowed
    "call",  # unknown function, wrong arguments to a helper or kfunc
    "helper",  # a helper or kfunc met memory it may not touch
    "internal",  # an instruction the engine cannot execute
)


ABOVE = 15  # bytes above a frame pointer that are told from there: return address and what is saved, no engine's stack


CODE = 0xFFFF_FFFF_D000_0000  # where engines without native code pretend that instructions lie, 8 bytes each
CODE_SIZE = 8 << 20  # of the longest program


@dataclass(frozen=True, slots=True)
class Pointer:
    """An address that differs from engine to engine by nature, in terms that do not.

    space: "stack" (base: number of the frame, 0 = main program; off: distance to its frame pointer; beyond -512..ABOVE it has left its frame)
    "func" (base: number of the function, off 0) or "code" (base: an instruction that a jump table names, off 0).
    """

    space: str
    base: int
    off: int

    def __str__(self) -> str:
        names = {"func": f"func#{self.base}", "code": f"insn#{self.base}"}
        return names.get(self.space) or f"fp{self.base}{self.off:+d}"


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call of a helper or kfunc as the callee found it.

    insn: index in `Program.insns`. kind: "helper" or "kfunc". args: 64-bit values, as passed (dirty upper bits of
    narrow arguments included); shown: for each argument its `Pointer`, None for a plain value.
    ret: r0 afterwards, 0 for void. frame: depth of the calling function, 0 = main program.
    """

    insn: int | None
    callee: str
    kind: str
    args: tuple[int, ...]
    shown: tuple[Pointer | None, ...] = ()
    ret: int = 0
    frame: int = 0
    nargs: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A call of a function of the program, by the program or by a helper that calls back, as the callee found it.

    insn: of the call, index in `Program.insns`; function: index of its first instruction; name: "" where the engine does
    not know it. args: r1 to r5, then the stack arguments; None for what the engine knows to be undefined; shown: for each
    its `Pointer`, None for a plain value. after: calls of helpers and kfuncs made before. frame: depth of the caller.
    ret: r0 afterwards, None where it is undefined or the function did not return.
    """

    insn: int | None
    function: int
    name: str
    args: tuple[int | None, ...]
    shown: tuple[Pointer | None, ...]
    after: int
    frame: int = 0
    ret: int | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken calling convention, seen by a check of the sandbox.

    check: its name ("callee-saved", "rsp", "return-address", "direction-flag", ...). insn: index in
    `Program.insns`; func: name of the function; native: absolute address; expected, found: 64-bit values.
    """

    check: str
    insn: int | None
    func: str
    native: int | None
    expected: int
    found: int
    message: str


@dataclass(frozen=True, slots=True)
class RunResult:
    """One test run. r0: all 64 bits; retval: what the kernel reports, u32. errno: "OK" or that of the run command.

    insns: BPF instructions executed, None where the engine does not count them. calls_dropped: calls that were
    made but are not in `calls`, because an engine keeps only so many. entries: calls of functions of the program itself.
    """

    errno: str
    retval: int
    r0: int
    data_out: bytes | None = None
    ctx_out: bytes | None = None
    calls: tuple[CallRecord, ...] = ()
    trap: Trap | None = None
    violations: tuple[Violation, ...] = ()
    insns: int | None = None
    calls_dropped: int = 0
    entries: tuple[Entry, ...] = ()
    entries_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """All runs of a program on one engine. maps: per map of the program its (key, value) pairs after the last run.

    Arrays list every element in order; hashes list elements sorted by key bytes; maps without readable
    elements (ring buffers) have none. dumps: the maps declared with `dump` in the form of recordings. placed: whether the
    engine knows the instruction of every call and trap; where it does not, an `insn` that is None says nothing. gated:
    whether it sees calls of the program's own functions; where it does not, `entries` are none. framed: whether it knows
    where in its frame the stack of a function is; where it does not, the offset of a pointer to a stack says nothing.
    """

    engine: str
    runs: tuple[RunResult, ...]
    maps: tuple[tuple[tuple[bytes, bytes], ...], ...] = ()
    dumps: tuple[str, ...] = ()
    extra: dict[str, object] = field(default_factory=dict)
    placed: bool = True
    gated: bool = True
    framed: bool = True
