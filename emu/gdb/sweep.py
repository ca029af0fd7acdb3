"""Frames of code that somebody else made: found by following pushes, pops and changes of rsp along all ways through it.

What our own JIT emits needs no such thing: `jit.frame` is told. Where a way cannot be followed (rsp from somewhere else) the
instructions behind it keep what was known before.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from emu.gdb.cfi import Row
from jit.decoder import new_decoder
from jit.frame import RETURN_ADDRESS, WORD

_KEPT: Final = frozenset(("rbx", "rbp", "r12", "r13", "r14", "r15"))
_MOST: Final = 100_000  # instructions
_RSP_BY: Final = re.compile(r"rsp, (?:0x)?([0-9a-f]+)\Z")
_FROM_RBP: Final = re.compile(r"rsp, \[rbp - (?:0x)?([0-9a-f]+)\]\Z")


@dataclass(frozen=True, slots=True)
class _State:
    """Before an instruction. depth: CFA - rsp. rbp: CFA - rbp, None while that is not the function's own.

    saved: callee-saved registers and their offsets from the CFA.
    """

    depth: int = WORD
    rbp: int | None = None
    saved: tuple[tuple[str, int], ...] = ()

    def row(self, off: int) -> Row:
        """As an unwinder wants it."""
        base, add = ("rsp", self.depth) if self.rbp is None else ("rbp", self.rbp)
        return Row(off, base, add, {"rip": RETURN_ADDRESS, **dict(self.saved)})


def rows_of(code: bytes) -> list[Row]:
    """The rows of a function, ascending."""
    insns = {at: (size, name, text) for at, size, name, text in new_decoder().disasm_lite(code, 0)}
    states: dict[int, _State] = {}
    work = [(0, _State())]
    while work and len(states) < _MOST:
        at, state = work.pop()
        if at in states or at not in insns:
            continue
        states[at] = state
        size, name, text = insns[at]
        after = _after(state, name, text)
        if after is None:
            continue
        if name.startswith("j") and text.startswith("0x"):
            work.append((int(text, 16), after))
        if name not in ("ret", "jmp", "ud2", "int3"):
            work.append((at + size, after))
    rows: list[Row] = []
    for at in sorted(states):
        row = states[at].row(at)
        if not rows or (row.reg, row.add, row.saved) != (rows[-1].reg, rows[-1].add, rows[-1].saved):
            rows.append(row)
    return rows


def _after(state: _State, name: str, text: str) -> _State | None:
    """The state behind an instruction, None where it is not known any more."""
    by = _RSP_BY.match(text)
    if name == "push":
        depth = state.depth + WORD
        new = text in _KEPT and text not in dict(state.saved)
        return replace(state, depth=depth, saved=(*state.saved, (text, -depth)) if new else state.saved)
    if name == "pop":
        back = (text, -state.depth)
        gone = replace(
            state, saved=tuple(one for one in state.saved if one != back), depth=state.depth - WORD
        )
        return replace(gone, rbp=None) if text == "rbp" else gone
    if name in ("sub", "add") and by is not None:
        return replace(state, depth=state.depth + int(by[1], 16) * (1 if name == "sub" else -1))
    if (name, text) == ("mov", "rbp, rsp"):
        return replace(state, rbp=state.depth)
    return _elsewhere(state, name, text)


def _elsewhere(state: _State, name: str, text: str) -> _State | None:
    """What takes rsp from rbp, and what does nothing to either."""
    if name == "leave" and state.rbp is not None:
        saved = tuple(one for one in state.saved if one[0] != "rbp")
        return replace(state, depth=state.rbp - WORD, rbp=None, saved=saved)
    below = _FROM_RBP.match(text)
    if state.rbp is not None and (name, text) == ("mov", "rsp, rbp"):
        return replace(state, depth=state.rbp)
    if state.rbp is not None and name == "lea" and below is not None:
        return replace(state, depth=state.rbp + int(below[1], 16))
    if name == "leave" or (text.startswith("rsp, ") and name not in ("cmp", "test")):
        return state if state.rbp is not None else None
    return state
