"""bpf_throw: how a program is left from any depth.

The kernel unwinds to the main program's frame and calls the exception callback with the cookie, the address of what the
main program saved (its rsp, above the outgoing area whose size the JIT told), and its frame pointer; the callback takes the saved
registers back and returns in the main program's place. A program without a callback of its own gets one that returns the cookie.

Source: bpf_throw (kernel/bpf/helpers.c) and emit_prologue (arch/x86/net/bpf_jit_comp.c).
"""

from dataclasses import dataclass
from typing import Final

from emu.runtime.traps import HelperTrap
from emu.sandbox import addresses
from emu.sandbox.entry import entry_rsp
from emu.sandbox.images import CodeMap, usual

THROW: Final = "bpf_throw"
_WORD: Final = 8
_TAKEN_BACK: Final = ("r15", "r14", "r13", "rbx", "r12")  # from the lowest word upwards


@dataclass(frozen=True, slots=True)
class WayOut:
    """Where to go, and with which registers; those that are missing hold nothing."""

    target: int
    registers: dict[str, int]


def way_out(code: CodeMap, stack: memoryview, cookie: int, rsp: int) -> WayOut:
    """From the call of bpf_throw. rsp: of the main program while it waits for what it called.

    Raises HelperTrap when the main program is not made for exceptions, or has a frame that is none of the kernel's kind.
    """
    main, image = code.main, code.main.image
    boundary = image is not None and image.verified.subprogs[main.number].is_exception_boundary
    if image is None or not boundary or not usual(main):
        raise HelperTrap("call", f"{THROW}: nobody knows what the main program saved where")
    rbp = entry_rsp() - _WORD
    saved = rsp + image.functions[main.number].frame.outgoing_size
    for number, sub in enumerate(image.verified.subprogs):
        if sub.is_exception_cb:
            target = next(one.addr for one in code.functions if one.image is image and one.number == number)
            return WayOut(target, {"rdi": cookie, "rsi": saved, "rdx": rbp})
    registers = {reg: _word(stack, saved + _WORD * place) for place, reg in enumerate(_TAKEN_BACK)}
    registers |= {"rax": cookie, "rbp": _word(stack, rbp), "rsp": entry_rsp() + _WORD}
    return WayOut(_word(stack, entry_rsp()), registers)


def _word(stack: memoryview, addr: int) -> int:
    """A word of the native stack, 0 outside of it."""
    at = addr - addresses.STACK
    return int.from_bytes(stack[at : at + _WORD], "little") if 0 <= at <= len(stack) - _WORD else 0
