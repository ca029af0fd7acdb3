"""One stub a callee: native code that writes down what it was called with and asks Python for the answer.

      stub k:   mov r11d, k ; jmp common                        ordinary C convention
      common:   registers -> record ; state = CALL
      ask:      nop                                              <- the only hook of a clean run: Python decides
                RETURN    poison what a callee may clobber, scramble the flags, ret with rax
                LEAVE     registers as Python says, and off to where it says: an exception's way out
                CALLBACK  sentinels in callee-saved registers, call the BPF function, record, back to ask
                QUIET     all but r9, r10, r11 as they were, result in r10

A callback runs on the same native stack without a nested emulation, however deep helpers and callbacks alternate.
"""

import struct
from typing import Final

from emu.sandbox import addresses, control
from emu.sandbox.entry import assemble, join

QUIET_SYMBOL: Final = "arch_bpf_timed_may_goto"  # argument and result in r10; all other BPF registers survive
_RETURN_THUNK = b"\xc3\xcc"
_INDIRECT = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
NATIVE: Final = {  # symbols that are code of their own and call nobody
    **dict.fromkeys(
        (
            "__x86_return_thunk",
            "its_return_thunk",
            "call_depth_return_thunk",
            "retbleed_return_thunk",
            "srso_return_thunk",
            "srso_alias_return_thunk",
        ),
        _RETURN_THUNK,
    ),
    **{
        f"{prefix}{reg}": (b"\x41" if n > 7 else b"") + bytes((0xFF, 0xE0 | n & 7, 0xCC))
        for prefix in ("__x86_indirect_thunk_", "__x86_indirect_jump_thunk_", "__x86_indirect_its_thunk_")
        for n, reg in enumerate(_INDIRECT)
    },
}

WORDS: Final = 6  # of arguments that a function may find on the stack
_SAVED = ("rbx", "rbp", "r12", "r13", "r14", "r15")
_FIELDS = {name: control.RECORD + 8 * i for i, name in enumerate(control.RECORD_REGISTERS)}
_QUIET_KEPT = ("rax", "rdi", "rsi", "rdx", "rcx", "r8")


def _store(base: str, *regs: str) -> list[str]:
    return [f"mov [{base} + {_FIELDS[reg]:#x}], {reg}" for reg in regs]


def _flags(base: str, via: str) -> list[str]:
    return ["pushfq", f"pop {via}", f"mov [{base} + {_FIELDS['flags']:#x}], {via}", "cld"]


def _poison(*regs: str) -> list[str]:
    return [f"movabs {reg}, {addresses.POISON[reg]:#x}" for reg in regs]


def _words() -> list[str]:
    """Words where a callback would look for arguments 7 to 12, which no helper passes: they are not the helper's own."""
    numbers = range(6 + WORDS, 6, -1)
    return [line for n in numbers for line in (f"movabs r11, {addresses.POISON_WORD + n:#x}", "push r11")]


_SET_FLAGS = [f"push {addresses.POISON_FLAGS:#x}", "popfq"]


def common(addr: int) -> tuple[bytes, int, int, int]:
    """The shared code, to lie at `addr`: bytes, and the addresses of `common`, of `ask` and of the quiet stub."""
    base = f"movabs rax, {addresses.CONTROL:#x}"
    record = [
        base,
        f"mov [rax + {_FIELDS['id']:#x}], r11",
        *_store("rax", "rdi", "rsi", "rdx", "rcx", "r8", "r9", "rsp", *_SAVED, "r10"),
        *_flags("rax", "r11"),
        f"mov qword ptr [rax + {control.STATE:#x}], {control.CALL}",
    ]
    first = assemble("; ".join(record), addr)
    ask = addr + len(first)
    answer = [
        "nop",
        base,
        f"mov r11, [rax + {control.ACTION:#x}]",
        f"cmp r11, {control.CALLBACK}",
        "je callback",
        f"cmp r11, {control.LEAVE}",
        "je leave",
        f"cmp r11, {control.RETURN_QUIET}",
        "je quiet",
        *_SET_FLAGS,
        *_poison("rdi", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11"),
        f"mov rax, [rax + {control.RESULT:#x}]",
        "ret",
        "quiet:",
        "mov r11, rax",
        *(f"mov {reg}, [r11 + {_FIELDS[reg]:#x}]" for reg in _QUIET_KEPT),
        f"mov r10, [r11 + {control.RESULT:#x}]",
        *_SET_FLAGS,
        *_poison("r9", "r11"),
        "ret",
        "leave:",
        f"mov r11, [rax + {control.TARGET:#x}]",
        *(
            f"mov {reg}, [rax + {control.LEFT + 8 * i:#x}]"
            for i, reg in enumerate(control.LEFT_REGISTERS)
            if reg != "rax"
        ),
        *_SET_FLAGS,
        *_poison("rcx", "r8", "r9", "r10"),
        f"mov rax, [rax + {control.LEFT + 8 * control.LEFT_REGISTERS.index('rax'):#x}]",
        "jmp r11",
        "callback:",
        *(f"push {reg}" for reg in _SAVED),
        *_words(),
        *(f"movabs {reg}, {addresses.SENTINELS[reg]:#x}" for reg in _SAVED if reg != "rbp"),
        *(f"mov {reg}, [rax + {control.ARGS + 8 * i:#x}]" for i, reg in enumerate(("rdi", "rsi", "rdx", "rcx", "r8"))),
        *_poison("r9", "r10", "r11"),
        f"call qword ptr [rax + {control.TARGET:#x}]",
        f"movabs r11, {addresses.CONTROL:#x}",
        *_store("r11", "rax", "rsp", *_SAVED),
        *_flags("r11", "rcx"),
        f"mov qword ptr [r11 + {control.STATE:#x}], {control.RETURNED}",
        f"add rsp, {8 * WORDS}",
        *(f"pop {reg}" for reg in reversed(_SAVED)),
    ]  # fmt: skip
    second = assemble(join(answer), ask)
    back = ask + len(second) + 5
    second += b"\xe9" + struct.pack("<i", ask - back)
    quiet = -(-back // 16) * 16
    pad = b"\xcc" * (quiet - back)
    entry = [
        f"movabs r11, {addresses.CONTROL:#x}",
        *_store("r11", "rax", "rdi", "rsi", "rdx", "rcx", "r8", "r9", "rsp", *_SAVED, "r10"),
        *_flags("r11", "r9"),
        f"mov qword ptr [r11 + {control.STATE:#x}], {control.QUIET_CALL}",
    ]
    third = assemble("; ".join(entry), quiet)
    third += b"\xe9" + struct.pack("<i", ask - (quiet + len(third) + 5))
    return first + second + pad + third, addr, ask, quiet


def slots(target: int) -> bytes:
    """All per-symbol stubs, STUB_SIZE bytes each, from STUBS on; they jump to `target`."""
    out = bytearray()
    for number in range(addresses.STUB_COUNT):
        at = addresses.STUBS + number * addresses.STUB_SIZE
        code = b"\x41\xbb" + struct.pack("<I", number) + b"\xe9" + struct.pack("<i", target - (at + 11))
        out += code.ljust(addresses.STUB_SIZE, b"\xcc")
    return bytes(out)
