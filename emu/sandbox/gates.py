"""Gates: native code in front of every BPF function, so that calls between BPF functions are checked without a hook.

      call f   ->   gate k:  mov r11d, k ; jmp enter      the image's rel32 of a call of function k leads here
                    enter:   caller's registers, rsp, return address -> shadow stack; arguments -> log
                             own return address in place of the caller's, then on to f
      ret of f ->   leave:   compare with the shadow stack; if anything differs: nop with a hook, Python says what
                             argument words, caller-saved registers and flags become poison; back to the caller

A call keeps its place: the stack has the same words at the same addresses, only the return address is another. So no
byte of the image changes but the targets of its calls, which are filled in anyway when an image is placed.

      GATES + 0x00000  cells: shadow pointer, log pointer, end of log, records that did not fit, scratch, DF at the last return
            + 0x01000  table: address of function k, words of its arguments on the stack, words of its program stack
            + 0x05000  shadow stack, 128 bytes an activation, more than the native stack has room for
            + 0x30000  log, 192 bytes a call

All of it is the program's to overwrite: what is read back is compared or bounds-checked.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emu.sandbox import addresses
from emu.sandbox.entry import assemble, join

_SHADOW_CELL: Final = 0x00
_LOG_CELL: Final = 0x08
_END_CELL: Final = 0x10
_LOST_CELL: Final = 0x18
_RAX_CELL: Final = 0x20
_RCX_CELL: Final = 0x28
_FLAGS_CELL: Final = 0x30
_RDI_CELL: Final = 0x38
_TABLE: Final = 0x1000
_SHADOW: Final = 0x5000
_LOG: Final = 0x3_0000

SHADOW_POINTER: Final = addresses.GATES + _SHADOW_CELL
SHADOW_START: Final = addresses.GATES + _SHADOW
LOG_POINTER: Final = addresses.GATES + _LOG_CELL
LOG_START: Final = addresses.GATES + _LOG

ENTRY_SIZE: Final = 128
_E_RET, _E_RSP, _E_RBX, _E_RBP, _E_R12, _E_R13, _E_R14, _E_R15, _E_GATE, _E_RECORD = range(0, 80, 8)
_E_SAVED: Final = {"rbx": _E_RBX, "rbp": _E_RBP, "r12": _E_R12, "r13": _E_R13, "r14": _E_R14, "r15": _E_R15}

RECORD_SIZE: Final = 192
LIMIT: Final = (addresses.GATES_SIZE - _LOG) // RECORD_SIZE - 1  # the last one is for all that do not fit
LOG_END: Final = LOG_START + LIMIT * RECORD_SIZE
_R_GATE, _R_RET, _R_SHADOW, _R_RSP, _R_RBP, _R_FLAGS, R_ARGS = range(0, 56, 8)
_R_WORDS: Final = R_ARGS + 48
_R_RAX: Final = _R_WORDS + 48
_R_DONE: Final = _R_RAX + 8
_STACK_WORDS: Final = 6

_CELLS = struct.Struct("<4Q")
_FUNCTION = struct.Struct("<Q2I")
_SHADOW_ENTRY = struct.Struct("<10Q")
_RECORD = struct.Struct("<20Q")
_DF: Final = 1 << 10
_FILL: Final = int.from_bytes(bytes((addresses.STACK_FILL,)) * 8, "little")
_FILLED_AT_ONCE: Final = (
    4  # words; up to three more than asked for, which lie in the words that the function pushes
)
_CLOBBERED: Final = ("rdi", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11")


@dataclass(frozen=True, slots=True)
class Shadow:
    """What a gate remembers of an activation. saved: rbx rbp r12 r13 r14 r15; rsp: where the return address is."""

    ret: int
    rsp: int
    saved: tuple[int, ...]
    gate: int


@dataclass(frozen=True, slots=True)
class Logged:
    """A call of a BPF function. args: rdi rsi rdx rcx r8 r9; words: the six above the return address.

    depth: activations behind gates around it. rsp: where the return address is; rbp: the caller's. rax: None when the
    call did not return.
    """

    gate: int
    ret: int
    depth: int
    rsp: int
    rbp: int
    flags: int
    args: tuple[int, ...]
    words: tuple[int, ...]
    rax: int | None


class Gates:
    """The gate pages, from the host's side."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.arm()

    def arm(self) -> None:
        """Before a run: nothing of an earlier one is left."""
        _CELLS.pack_into(self.view, 0, SHADOW_START, LOG_START, LOG_END, 0)

    def set_functions(self, functions: Sequence[tuple[int, int, int]]) -> None:
        """Say where gates lead: (address, words of arguments on the stack, words of program stack) of each function."""
        at = _TABLE
        for function in functions:
            _FUNCTION.pack_into(self.view, at, *function)
            at += _FUNCTION.size

    @property
    def lost(self) -> int:
        """Calls that found no room in the log."""
        return int.from_bytes(self.view[_LOST_CELL : _LOST_CELL + 8], "little")

    @property
    def flags(self) -> int:
        """The direction flag as the activation that was left last had it, in its bit of the flags."""
        return int.from_bytes(self.view[_FLAGS_CELL : _FLAGS_CELL + 8], "little") & _DF

    @property
    def depth(self) -> int:
        """Activations behind gates now."""
        top = int.from_bytes(self.view[:8], "little") - addresses.GATES - _SHADOW
        return top // ENTRY_SIZE if 0 <= top <= _LOG - _SHADOW and top % ENTRY_SIZE == 0 else 0

    def shadow(self, depth: int) -> Shadow:
        """The activation with `depth` others around it; the one that has just been left is at `self.depth`."""
        words = _SHADOW_ENTRY.unpack_from(self.view, _SHADOW + depth * ENTRY_SIZE)
        return Shadow(words[0], words[1], words[2:8], words[8])

    def unwind(self, rsp: int) -> None:
        """Forget the activations below `rsp`: a debugger has left them without a return."""
        depth = self.depth
        while depth and self.shadow(depth - 1).rsp < rsp:
            depth -= 1
        top = addresses.GATES + _SHADOW + depth * ENTRY_SIZE
        self.view[_SHADOW_CELL : _SHADOW_CELL + 8] = top.to_bytes(8, "little")

    def entries(self, most: int) -> list[int]:
        """Where the return addresses of the activations behind gates lie, outermost first; at most so many."""
        at = range(_SHADOW + _E_RSP, _SHADOW + _E_RSP + min(self.depth, most) * ENTRY_SIZE, ENTRY_SIZE)
        return [int.from_bytes(self.view[one : one + 8], "little") for one in at]

    def numbers(self, most: int) -> list[int]:
        """The gates of the activations behind gates, outermost first; at most so many."""
        at = range(_SHADOW + _E_GATE, _SHADOW + _E_GATE + min(self.depth, most) * ENTRY_SIZE, ENTRY_SIZE)
        return [int.from_bytes(self.view[one : one + 8], "little") for one in at]

    @property
    def count(self) -> int:
        """Calls in the log."""
        used = int.from_bytes(self.view[_LOG_CELL : _LOG_CELL + 8], "little") - addresses.GATES - _LOG
        number, rest = divmod(used, RECORD_SIZE)
        return number if not rest and 0 <= number <= LIMIT else 0

    def raw(self, first: int, end: int) -> bytes:
        """Records first to end - 1 of the log as they are."""
        return bytes(self.view[_LOG + first * RECORD_SIZE : _LOG + end * RECORD_SIZE])

    def records(self) -> list[Logged]:
        """The log."""
        out = []
        for number in range(self.count):
            words = _RECORD.unpack_from(self.view, _LOG + number * RECORD_SIZE)
            depth = (words[2] - addresses.GATES - _SHADOW) // ENTRY_SIZE
            rax = words[18] if words[19] == 1 else None
            _, ret, _, rsp, rbp, flags = words[:6]
            out.append(Logged(words[0], ret, depth, rsp, rbp, flags, words[6:12], words[12:18], rax))
        return out


def code() -> tuple[bytes, int, int]:
    """What all gates share, to lie at GATE_CODE, then the gates; and the addresses of `leave` and of the hook's nop."""
    enter = _enter(addresses.GATE_CODE)
    leave_at = addresses.GATE_CODE + len(enter)
    leave, nop = _leave(leave_at)
    enter = _enter(addresses.GATE_CODE, leave_at)
    shared = (enter + leave).ljust(addresses.GATE_SLOTS - addresses.GATE_CODE, b"\xcc")
    out = bytearray(shared)
    for number in range(addresses.GATE_COUNT):
        at = gate(number)
        slot = b"\x41\xbb" + struct.pack("<I", number)
        slot += b"\xe9" + struct.pack("<i", addresses.GATE_CODE - (at + 11))
        out += slot.ljust(addresses.STUB_SIZE, b"\xcc")
    return bytes(out), leave_at, nop


def gate(number: int) -> int:
    """The address of a gate."""
    return addresses.GATE_SLOTS + number * addresses.STUB_SIZE


def number_of(addr: int) -> int | None:
    """The number of the gate at `addr`, None when there is none."""
    number, rest = divmod(addr - addresses.GATE_SLOTS, addresses.STUB_SIZE)
    return number if not rest and 0 <= number < addresses.GATE_COUNT else None


def _enter(at: int, leave: int = 0) -> bytes:
    """rax: the shadow entry, rcx: the record; r10 and r11 belong to nobody at a call."""
    stores = [f"mov [rax + {off:#x}], {reg}" for reg, off in _E_SAVED.items()]
    args = [f"mov [rcx + {R_ARGS + 8 * i:#x}], {reg}" for i, reg in enumerate(("rdi", "rsi", "rdx"))]
    args += [f"mov [rcx + {R_ARGS + 8 * i:#x}], {reg}" for i, reg in ((4, "r8"), (5, "r9"))]
    words = []
    for i in range(_STACK_WORDS):
        words += [f"mov r11, [rsp + {8 + 8 * i:#x}]", f"mov [rcx + {_R_WORDS + 8 * i:#x}], r11"]
    lines = [
        f"movabs r10, {addresses.GATES:#x}",
        f"mov [r10 + {_RAX_CELL:#x}], rax",
        f"mov [r10 + {_RCX_CELL:#x}], rcx",
        f"mov rax, [r10 + {_SHADOW_CELL:#x}]",
        *stores,
        f"mov [rax + {_E_RSP:#x}], rsp",
        f"mov [rax + {_E_GATE:#x}], r11",
        f"add qword ptr [r10 + {_SHADOW_CELL:#x}], {ENTRY_SIZE}",
        f"mov rcx, [r10 + {_LOG_CELL:#x}]",
        f"cmp rcx, [r10 + {_END_CELL:#x}]",
        "jae full",
        f"add qword ptr [r10 + {_LOG_CELL:#x}], {RECORD_SIZE}",
        "jmp note",
        "full:",
        f"inc qword ptr [r10 + {_LOST_CELL:#x}]",
        "note:",
        f"mov [rax + {_E_RECORD:#x}], rcx",
        f"mov [rcx + {_R_GATE:#x}], r11",
        f"mov [rcx + {_R_SHADOW:#x}], rax",
        "pushfq",
        "pop r11",
        f"mov [rcx + {_R_FLAGS:#x}], r11",
        f"mov qword ptr [rcx + {_R_DONE:#x}], 0",
        "mov r11, [rsp]",
        f"mov [rax + {_E_RET:#x}], r11",
        f"mov [rcx + {_R_RET:#x}], r11",
        f"mov [rcx + {_R_RSP:#x}], rsp",
        f"mov [rcx + {_R_RBP:#x}], rbp",
        *args,
        f"mov r11, [r10 + {_RCX_CELL:#x}]",
        f"mov [rcx + {R_ARGS + 24:#x}], r11",
        *words,
        f"movabs r11, {leave or at:#x}",
        "mov [rsp], r11",
        f"mov r11, [rax + {_E_GATE:#x}]",
        "shl r11, 4",
        "add r11, r10",
        f"mov ecx, [r11 + {_TABLE + 12:#x}]",
        "test ecx, ecx",
        "je filled",
        f"mov [r10 + {_RDI_CELL:#x}], rdi",
        "lea rdi, [rsp - 8]",
        f"movabs rax, {_FILL:#x}",
        "fill:",
        *(f"mov [rdi - {8 * (i + 1)}], rax" for i in range(_FILLED_AT_ONCE)),
        f"sub rdi, {8 * _FILLED_AT_ONCE}",
        f"sub ecx, {_FILLED_AT_ONCE}",
        "ja fill",
        f"mov rdi, [r10 + {_RDI_CELL:#x}]",
        "filled:",
        f"mov rcx, [r10 + {_RCX_CELL:#x}]",
        f"mov rax, [r10 + {_RAX_CELL:#x}]",
        f"push qword ptr [r11 + {_TABLE:#x}]",
        *(f"movabs {reg}, {addresses.POISON[reg]:#x}" for reg in ("r10", "r11")),
        "ret",
    ]
    return assemble(join(lines), at)


def _leave(at: int) -> tuple[bytes, int]:
    """r11: the shadow entry, r10: the gate pages, rax: the result; all other caller-saved registers are free."""
    compares = []
    for reg, off in _E_SAVED.items():
        compares += [f"mov rsi, [r11 + {off:#x}]", f"xor rsi, {reg}", "or rdx, rsi"]
    head = [
        f"movabs r10, {addresses.GATES:#x}",
        f"mov r11, [r10 + {_SHADOW_CELL:#x}]",
        f"sub r11, {ENTRY_SIZE}",
        f"mov [r10 + {_SHADOW_CELL:#x}], r11",
        f"mov rdi, [r11 + {_E_RECORD:#x}]",
        f"mov [rdi + {_R_RAX:#x}], rax",
        f"mov qword ptr [rdi + {_R_DONE:#x}], 1",
        "pushfq",
        "pop rdx",
        f"and edx, {_DF:#x}",
        f"mov [r10 + {_FLAGS_CELL:#x}], rdx",
        "cld",
        "lea rsi, [rsp - 8]",
        f"xor rsi, [r11 + {_E_RSP:#x}]",
        "or rdx, rsi",
        *compares,
        "test rdx, rdx",
    ]
    first = assemble(join(head), at)
    nop = at + len(first) + 2
    middle = b"\x74\x01\x90"  # je over the nop, by hand: its address must be known
    tail = [
        f"mov rcx, [r11 + {_E_GATE:#x}]",
        "shl rcx, 4",
        "add rcx, r10",
        f"mov ecx, [rcx + {_TABLE + 8:#x}]",
        f"movabs rdx, {addresses.POISON_WORD + 7:#x}",
        "mov rsi, rsp",
        "again:",
        "dec ecx",
        "js over",
        "mov [rsi], rdx",
        "add rsi, 8",
        "inc rdx",
        "jmp again",
        "over:",
        "test rsp, rsp",  # flags that no function left: popfq, as in stubs, would cost more than all the rest
        "stc",
        f"push qword ptr [r11 + {_E_RET:#x}]",
        *(f"movabs {reg}, {addresses.POISON[reg]:#x}" for reg in _CLOBBERED),
        "ret",
    ]
    return first + middle + assemble(join(tail), nop + 1), nop
