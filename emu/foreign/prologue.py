"""Recognises the frame of the kernel's JIT in code from elsewhere, by its first instructions.

      [endbr64] nop [xor eax, eax | nop]  push rbp  mov rbp, rsp  [endbr64] [sub rsp, stack]
      [count of tail calls]  push ...  [sub rsp, outgoing area]

An exception callback begins with `mov rsp, rsi`, `mov rbp, rdx`, pops and `mov rsp, rbp` in place of the first two.
What begins otherwise has a frame of its own kind: of that, only what the convention says is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emu.foreign.scan import Insn

_SAVED: Final = frozenset(("rbx", "r12", "r13", "r14", "r15"))
_FIRST: Final = frozenset(("endbr64", "nop", "xor"))
_COUNT: Final = ("cmp", "ja", "push", "mov", "jmp", "push", "push")  # of the main program
_WIDE: Final = 7  # bytes of the sub that makes the program stack; the outgoing area has a shorter one
_LONGEST: Final = 40  # instructions looked at


@dataclass(frozen=True, slots=True)
class Prologue:
    """size: bytes in front of the first BPF instruction. stack: bytes of program stack. saved: (register, distance from

    rbp) in push order. outgoing: bytes of the area for arguments.
    """

    size: int
    stack: int
    saved: tuple[tuple[str, int], ...]
    outgoing: int = 0


def recognise(insns: Sequence[Insn]) -> Prologue | None:
    """The prologue of a function, None where it is none of the kernel's."""
    at = 0
    while at < len(insns) and insns[at].name in _FIRST:
        at += 1
    if not any(one.name == "nop" for one in insns[:at]):  # where a trampoline can be attached
        return None
    entry = _entry([(one.name, one.text) for one in insns[at : at + _LONGEST]])
    if not entry:
        return None
    at += entry
    if insns[at : at + 1] and insns[at].name == "endbr64":
        at += 1
    stack = _subtracted(insns[at : at + 1]) if insns[at : at + 1] and insns[at].size == _WIDE else 0
    at += bool(stack)
    low = -stack
    if tuple(one.name for one in insns[at : at + 7]) == _COUNT and insns[at].text.startswith("rax"):
        at, low = at + 7, low - 16
    elif [(one.name, one.text) for one in insns[at : at + 2]] == [("push", "rax")] * 2:
        at, low = at + 2, low - 16
    saved = []
    while at < min(len(insns), _LONGEST) and insns[at].name == "push" and insns[at].text in _SAVED:
        low -= 8
        saved.append((insns[at].text, low))
        at += 1
    outgoing = _subtracted(insns[at : at + 1])
    at += bool(outgoing)
    return Prologue(insns[at].off if at < len(insns) else 0, stack, tuple(saved), outgoing)


def _entry(words: Sequence[tuple[str, str]]) -> int:
    """Instructions until rbp is the function's own, 0 where they are others. An exception callback takes a frame over."""
    if tuple(words[:2]) == (("push", "rbp"), ("mov", "rbp, rsp")):
        return 2
    if tuple(words[:2]) != (("mov", "rsp, rsi"), ("mov", "rbp, rdx")):
        return 0
    pops = 2
    while pops < len(words) and words[pops][0] == "pop":
        pops += 1
    return pops + 1 if words[pops : pops + 1] == [("mov", "rsp, rbp")] else 0


def _subtracted(insns: Sequence[Insn]) -> int:
    """What an instruction takes from rsp, 0 where it takes nothing."""
    if not insns or insns[0].name != "sub" or not insns[0].text.startswith("rsp, "):
        return 0
    try:
        return int(insns[0].text.removeprefix("rsp, "), 0)
    except ValueError:
        return 0
