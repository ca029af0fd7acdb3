"""The control page: how native code of ours and Python talk without a register read.

Offsets in bytes; all fields are 64-bit words unless a comment says otherwise. The page is writable by the program in
the sandbox, so what is read back is never trusted: values are compared or bounds-checked, nothing is indexed by them.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from emu.sandbox import addresses

DONE: Final = 0x00  # 1 once the entry trampoline came to its end
IN_CTX: Final = 0x08  # rdi of the main function
EXIT: Final = 0x10  # rax rbx rbp rsp r12 r13 r14 r15 flags, then selectors ds es fs gs as 16-bit words

STATE: Final = 0x80  # why Python is asked: CALL, RETURNED or QUIET_CALL
CALL: Final = 1  # a stub was called
RETURNED: Final = 2  # the callback that Python asked for has returned
QUIET_CALL: Final = 3  # a stub of the register-preserving convention was called
RECORD: Final = 0x88  # id rdi rsi rdx rcx r8 r9 rsp rbx rbp r12 r13 r14 r15 flags rax r10

ACTION: Final = 0x140  # what the stub is to do: RETURN, CALLBACK, RETURN_QUIET or LEAVE
RETURN: Final = 0
CALLBACK: Final = 1
RETURN_QUIET: Final = 2
LEAVE: Final = 3
RESULT: Final = 0x148  # rax, or r10 of a quiet return
TARGET: Final = 0x150  # function that CALLBACK calls
ARGS: Final = 0x158  # its five arguments

LEFT: Final = 0x200  # registers with which LEAVE goes to TARGET
LEFT_REGISTERS: Final = (
    "rdi", "rsi", "rdx", "rsp", "rbx", "rbp", "r12", "r13", "r14", "r15", "rax",
)  # fmt: skip

DIRECTION: Final = 1 << 10  # flags: DF, which must be clear at calls and returns
LASTING: Final = 1 << 8 | 3 << 12 | 1 << 14 | 1 << 18  # TF, IOPL, NT, AC: no function may leave these changed

_ARMED: Final = ARGS + 40  # bytes that are zero when a run begins
_NOTHING: Final = bytes(_ARMED)
_EXIT_FIELDS = struct.Struct("<9Q4H")
_RECORD_FIELDS = struct.Struct("<18Q")
_WORD = struct.Struct("<Q")
_COMMAND = struct.Struct("<QQ")
_LEFT = struct.Struct(f"<{len(LEFT_REGISTERS)}Q")
_CALLBACK = struct.Struct("<QQQ5Q")

RECORD_REGISTERS: Final = (
    "id", "rdi", "rsi", "rdx", "rcx", "r8", "r9", "rsp", "rbx", "rbp", "r12", "r13", "r14", "r15",
    "flags", "rax", "r10",
)  # fmt: skip
EXIT_REGISTERS: Final = ("rax", "rbx", "rbp", "rsp", "r12", "r13", "r14", "r15", "flags")


@dataclass(frozen=True, slots=True)
class Record:
    """What a stub saw. args: rdi rsi rdx rcx r8 r9; saved: rbx rbp r12 r13 r14 r15."""

    state: int
    id: int
    args: tuple[int, ...]
    rsp: int
    saved: tuple[int, ...]
    flags: int
    rax: int
    r10: int


@dataclass(frozen=True, slots=True)
class Exit:
    """What the entry trampoline saw after the main function returned; saved: rbx rbp r12 r13 r14 r15."""

    rax: int
    rsp: int
    saved: tuple[int, ...]
    flags: int
    selectors: tuple[int, ...]


def exit_of(raw: bytes | memoryview) -> Exit:
    """What lies at EXIT, in words."""
    rax, rbx, rbp, rsp, r12, r13, r14, r15, flags, *selectors = _EXIT_FIELDS.unpack(raw)
    return Exit(rax, rsp, (rbx, rbp, r12, r13, r14, r15), flags, tuple(selectors))


class Control:
    """The page, from the host's side."""

    def __init__(self, view: memoryview) -> None:
        self.view = view

    def arm(self, ctx: int) -> None:
        """Before a run: nothing of an earlier one is left."""
        self.view[:_ARMED] = _NOTHING
        _WORD.pack_into(self.view, IN_CTX, ctx)

    @property
    def done(self) -> bool:
        """Whether the trampoline came to its end."""
        return bool(_WORD.unpack_from(self.view, DONE)[0] == 1)

    def exit(self) -> Exit:
        """Registers at the end of the run."""
        return exit_of(self.view[EXIT : EXIT + _EXIT_FIELDS.size])

    def record(self) -> Record:
        """Registers at a stub."""
        words = _RECORD_FIELDS.unpack_from(self.view, STATE)
        return Record(words[0], words[1], words[2:8], words[8], words[9:15], words[15], words[16], words[17])

    def answer(self, action: int, value: int) -> None:
        """Let the stub return `value`."""
        _COMMAND.pack_into(self.view, ACTION, action, value)

    def call(self, target: int, args: tuple[int, ...]) -> None:
        """Let the stub call `target` with five arguments."""
        _CALLBACK.pack_into(self.view, ACTION, CALLBACK, 0, target, *args)

    def leave(self, target: int, registers: Mapping[str, int]) -> None:
        """Let the stub go to `target` for good. registers: LEFT_REGISTERS; what is missing becomes poison."""
        _COMMAND.pack_into(self.view, ACTION, LEAVE, 0)
        _WORD.pack_into(self.view, TARGET, target)
        values = (
            registers.get(reg, addresses.POISON.get(reg, addresses.SENTINELS.get(reg, 0)))
            for reg in LEFT_REGISTERS
        )
        _LEFT.pack_into(self.view, LEFT, *values)
