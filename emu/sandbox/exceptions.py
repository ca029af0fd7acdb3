"""bpf_throw: how a program is left from any depth. Knows the frame of the main program, which the compiler lays out for it.

The kernel unwinds to the main program's frame and calls the exception callback with the cookie, the lowest word that the
main program saved, and its frame pointer; the callback takes the saved registers back and returns in the main program's
place. A program without a callback of its own gets one that returns the cookie.

Source: bpf_throw (kernel/bpf/helpers.c) and emit_prologue (arch/x86/net/bpf_jit_comp.c).
"""

from dataclasses import dataclass
from typing import Final

from emu.runtime.traps import HelperTrap
from emu.sandbox import addresses
from emu.sandbox.entry import entry_rsp
from emu.sandbox.images import CodeMap, Function

THROW: Final = "bpf_throw"
_WORD: Final = 8
_ALL: Final = frozenset(("rbx", "r12", "r13", "r14", "r15"))


@dataclass(frozen=True, slots=True)
class WayOut:
    """Where to go, and with which registers; those that are missing hold nothing."""

    target: int
    registers: dict[str, int]


def way_out(main: Function, code: CodeMap, stack: memoryview, cookie: int) -> WayOut:
    """From the call of bpf_throw. Raises HelperTrap when nobody knows where the main program saved its caller's registers."""
    image = main.image
    saved = dict(image.functions[main.number].frame.saved) if image is not None else {}
    if image is None or not saved.keys() >= _ALL:
        raise HelperTrap("call", f"{THROW}: the frame of the main program is not known")
    rbp = entry_rsp() - _WORD
    for number, sub in enumerate(image.verified.subprogs):
        if sub.is_exception_cb:
            target = next(one.addr for one in code.functions if one.image is image and one.number == number)
            return WayOut(target, {"rdi": cookie, "rsi": rbp + min(saved.values()), "rdx": rbp})
    registers = {reg: _word(stack, rbp + off) for reg, off in saved.items()}
    registers |= {"rax": cookie, "rbp": _word(stack, rbp), "rsp": entry_rsp() + _WORD}
    return WayOut(_word(stack, entry_rsp()), registers)


def _word(stack: memoryview, addr: int) -> int:
    at = addr - addresses.STACK
    return int.from_bytes(stack[at : at + _WORD], "little")
