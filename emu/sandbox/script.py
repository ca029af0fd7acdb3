"""Runs whose answers are known beforehand: stubs that answer by themselves, and a native loop over inputs.

When another engine has run the same program on the same input, it has seen every call and its result. Native code
then needs no Python on the way: a stub writes what it was called with into the next *entry* of the script, and returns
the result that stands there. Whoever wrote the script compares the entries afterwards.

      stub k:   -> scripted:  no entry left, or one of another stub? -> common, which asks Python
                              else: registers, argument words -> entry; poison, as after any call; result -> rax
      begin:    objects of the next record to their places, stack filled, on to the trampoline
      finished: objects, registers at the exit and cells -> record; the next record, or the end of the run

      SCRIPT + 0x0000  cells: next entry, runs left, record of this run, where the stack is filled, how many words
             + 0x1000  entries, 192 bytes a call, and an empty one behind those of each run; then records, one a run:
                       first entry, rdi, number of objects; address and words of each; their bytes; what came out

All of it is the program's to overwrite: what is read back is only compared, nothing is indexed by it.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from emu.sandbox import addresses, control, gates
from emu.sandbox.entry import assemble, entry_rsp, join

_NEXT, _LEFT, _RECORD, _LOW, _FILL = range(0, 40, 8)
assert addresses.SCRIPT_LEFT == addresses.SCRIPT + _LEFT
_CELLS = struct.Struct("<5Q")
_OFF = bytes(16)
_ENTRIES: Final = 0x1000

ENTRY_SIZE: Final = 192
_E_RESULT, _E_WORDS, _E_STUB, _E_RET, _E_RSP, _E_RBP, _E_FLAGS, _E_LOG, _E_ARGS = range(0, 72, 8)
ENTRY: Final = struct.Struct(
    "<3Q168x"
)  # what a call begins with: result, argument words on the stack, number of the stub
NO_ENTRY: Final = ENTRY.pack(0, 0, addresses.STUB_COUNT)  # behind a run's last call: the number of no stub
_REGISTERS: Final = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_WORDS: Final = 6
WHERE: Final = _E_STUB  # of an entry: number of the stub, return address, rsp, rbp, flags
FOUND: Final = _E_LOG  # of an entry: how far the gates' log had come, then 12 argument words

_HEAD = struct.Struct("<3Q")
_WORD = struct.Struct("<Q")
_OBJECT = struct.Struct("<2Q")
NO_FILL: Final = entry_rsp() + 8  # `low` of runs whose stack needs no fill
EXIT_SIZE: Final = 8 * 10  # as control.EXIT
_EXIT = struct.Struct(f"<Q{EXIT_SIZE - 8}s")
_OUT = struct.Struct("<5Q")
OUT_SIZE: Final = EXIT_SIZE + _OUT.size
_NOTHING_YET: Final = bytes(OUT_SIZE)


@dataclass(slots=True, eq=False)
class Run:
    """objects: the bytes of all that differs from run to run, whole words each, one behind the other.

    entries: an ENTRY for each call that is expected, and NO_ENTRY. logged: calls in the gates' log after it, with those of earlier runs.
    """

    objects: bytes
    entries: bytes
    logged: int


class Ran(NamedTuple):
    """What came of a run. entries: of its calls, one behind the other; objects: their bytes afterwards, as in `Run`.

    rax: at the exit. exit: what lies behind it at control.EXIT. whole: whether it used all entries, the log has the calls that it should, and all have returned.
    """

    entries: bytes
    objects: bytes
    rax: int
    exit: bytes
    whole: bool


class Script:
    """The script's pages, from the host's side."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self._runs: Sequence[Run] = ()
        self._first = self._end = _ENTRIES  # of the records
        self._head = self._size = 0  # bytes of a record in front of the objects' own, and of these
        self.off()

    def off(self) -> None:
        """Before a run without a script: stubs ask Python."""
        self.view[:16] = _OFF

    def write(self, ctx: int, objects: Sequence[tuple[int, int]], runs: Sequence[Run], low: int) -> bool:
        """Make these the next runs; False when they do not fit.

        ctx: rdi. objects: (address, bytes) of each object. low: from where on the stack is filled before each run.
        """
        head = b"".join([_OBJECT.pack(addr, size >> 3) for addr, size in objects])
        head = _HEAD.pack(0, ctx, len(objects))[_WORD.size :] + head
        at = _ENTRIES
        first = at + sum([len(run.entries) for run in runs])
        self._head = _WORD.size + len(head)
        self._size = sum([size for _, size in objects])
        end = first + len(runs) * (self._head + self._size + OUT_SIZE)
        if end > len(self.view):
            return False
        pieces = [run.entries for run in runs]
        for run in runs:
            pieces += (_WORD.pack(addresses.SCRIPT + at), head, run.objects, _NOTHING_YET)
            at += len(run.entries)
        self.view[_ENTRIES:end] = b"".join(pieces)
        self._runs, self._first, self._end = runs, first, end
        _CELLS.pack_into(self.view, 0, 0, len(runs), addresses.SCRIPT + first, low, (NO_FILL - low) >> 3)
        return True

    @property
    def left(self) -> int:
        """Runs that have not come to their end."""
        return int.from_bytes(self.view[_LEFT : _LEFT + 8], "little")

    def read(self) -> Iterator[Ran]:
        """What came of each run that `write` was given; of those that did not come to their end, rubbish."""
        raw = bytes(self.view[: self._end])
        at, body = _ENTRIES, self._first + self._head
        for run in self._runs:
            last, out = at + len(run.entries) - ENTRY_SIZE, body + self._size
            log = gates.LOG_START + run.logged * gates.RECORD_SIZE
            cells = _OUT.pack(addresses.SCRIPT + last, gates.SHADOW_START, log, gates.LOG_END, 0)
            rax, exit_ = _EXIT.unpack_from(raw, out)
            whole = raw.startswith(cells, out + EXIT_SIZE)
            yield Ran(raw[at:last], raw[body:out], rax, exit_, whole)
            at = last + ENTRY_SIZE
            body = out + OUT_SIZE + self._head


def code(common: int) -> bytes:
    """All code of scripts, to lie at FINISHED. common: where stubs go that ask Python."""
    finished = assemble(join(_finished()), addresses.FINISHED)
    begin = assemble(join(_begin()), addresses.BEGIN)
    stub = assemble(join(_stub(common)), addresses.SCRIPTED)
    out = finished.ljust(addresses.BEGIN - addresses.FINISHED, b"\xcc") + begin
    return out.ljust(addresses.SCRIPTED - addresses.FINISHED, b"\xcc") + stub


def _stub(common: int) -> list[str]:
    """r11: number of the stub. rax: the cells, r10: the entry; both belong to nobody at a call."""
    words = []
    for i in range(_WORDS):
        words += [f"mov r11, [rsp + {8 + 8 * i:#x}]", f"mov [r10 + {_E_ARGS + 48 + 8 * i:#x}], r11"]
    return [
        f"movabs rax, {addresses.SCRIPT:#x}",
        f"mov r10, [rax + {_NEXT:#x}]",
        "test r10, r10",
        f"je {common:#x}",
        f"cmp r11, [r10 + {_E_STUB:#x}]",
        f"jne {common:#x}",
        *(f"mov [r10 + {_E_ARGS + 8 * i:#x}], {reg}" for i, reg in enumerate(_REGISTERS)),
        *words,
        "mov r11, [rsp]",
        f"mov [r10 + {_E_RET:#x}], r11",
        f"mov [r10 + {_E_RSP:#x}], rsp",
        f"mov [r10 + {_E_RBP:#x}], rbp",
        "pushfq",
        "pop r11",
        f"and r11, {control.DIRECTION | control.LASTING:#x}",
        f"mov [r10 + {_E_FLAGS:#x}], r11",
        "cld",
        f"movabs r11, {gates.LOG_POINTER:#x}",
        "mov r11, [r11]",
        f"mov [r10 + {_E_LOG:#x}], r11",
        f"add qword ptr [rax + {_NEXT:#x}], {ENTRY_SIZE}",
        f"mov rcx, [r10 + {_E_WORDS:#x}]",
        f"movabs rdx, {addresses.POISON_WORD + 7:#x}",
        "lea rsi, [rsp + 8]",
        "again:",
        "dec rcx",
        "js over",
        "mov [rsi], rdx",
        "add rsi, 8",
        "inc rdx",
        "jmp again",
        "over:",
        "mov eax, 0xd77f",  # the flags of POISON_FLAGS; popfq would cost more than all the rest
        "inc al",
        "sahf",
        f"mov rax, [r10 + {_E_RESULT:#x}]",
        *(f"movabs {reg}, {addresses.POISON[reg]:#x}" for reg in (*_REGISTERS, "r10", "r11")),
        "ret",
    ]


def _begin() -> list[str]:
    """The next run: no register holds anything."""
    return [
        f"movabs r11, {addresses.SCRIPT:#x}",
        f"movabs r10, {addresses.CONTROL:#x}",
        f"mov rsi, [r11 + {_RECORD:#x}]",
        "mov rax, [rsi]",
        f"mov [r11 + {_NEXT:#x}], rax",
        "mov rax, [rsi + 8]",
        f"mov [r10 + {control.IN_CTX:#x}], rax",
        f"mov qword ptr [r10 + {control.DONE:#x}], 0",
        *_objects("rsi"),
        "copy:",
        "dec rbx",
        "js copied",
        "mov rdi, [r8]",
        "mov rcx, [r8 + 8]",
        "add r8, 16",
        "rep movsq",
        "jmp copy",
        "copied:",
        f"mov rdi, [r11 + {_LOW:#x}]",
        f"mov rcx, [r11 + {_FILL:#x}]",
        f"movabs rax, {int.from_bytes(bytes((addresses.STACK_FILL,)) * 8, 'little'):#x}",
        "rep stosq",
        f"movabs r10, {gates.SHADOW_POINTER:#x}",
        f"movabs rax, {gates.SHADOW_START:#x}",
        "mov [r10], rax",
        f"jmp {addresses.TEXT:#x}",
    ]


def _finished() -> list[str]:
    """The trampoline has come to its end, and more than an ordinary run was asked for."""
    return [
        f"movabs r11, {addresses.SCRIPT:#x}",
        f"mov rdi, [r11 + {_RECORD:#x}]",
        *_objects("rdi"),
        "keep:",
        "dec rbx",
        "js kept",
        "mov rsi, [r8]",
        "mov rcx, [r8 + 8]",
        "add r8, 16",
        "rep movsq",
        "jmp keep",
        "kept:",
        f"movabs rsi, {addresses.CONTROL + control.EXIT:#x}",
        f"mov ecx, {EXIT_SIZE // 8}",
        "rep movsq",
        f"mov rax, [r11 + {_NEXT:#x}]",
        "stosq",
        f"movabs rsi, {addresses.GATES:#x}",
        "mov ecx, 4",
        "rep movsq",
        f"mov [r11 + {_RECORD:#x}], rdi",
        f"dec qword ptr [r11 + {_LEFT:#x}]",
        f"jne {addresses.BEGIN:#x}",
        f"jmp {addresses.END:#x}",
    ]


def _objects(record: str) -> list[str]:
    """rbx: how many objects the record has, r8: their places; `record` goes on to their bytes."""
    return [
        f"mov rbx, [{record} + 16]",
        f"lea r8, [{record} + {_HEAD.size}]",
        "mov rcx, rbx",
        "shl rcx, 4",
        f"lea {record}, [r8 + rcx]",
    ]
