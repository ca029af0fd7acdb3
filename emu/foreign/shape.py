"""Which native instruction of foreign code belongs to which BPF instruction: by comparison with our own code.

Our own image of the same program knows the slot of every native instruction. Where the other code has the same
instructions at the same offsets, it is taken over whole; else what is equal in both, in order, says as much as it can.
"""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from bpf.program import LineInfo
from bpf.verified import Subprog, Verified
from emu.against.code import Line
from emu.foreign.scan import Insn, scan
from jit.image import NativeFunction

_LIMIT: Final = 3000  # instructions of a function; comparing takes the square of their number
_LEAST: Final = 0.5  # of the instructions must be alike, or it is another kind of code
_NUMBER: Final = re.compile(r"0x[0-9a-f]{5,}")

Points = tuple[tuple[int, int], ...]  # (offset of a native instruction, its slot, -1 where that is unknown)


def same(ours: NativeFunction, insns: Sequence[Insn], size: int) -> bool:
    """Whether the other function has our instructions at our offsets; their operands may differ."""
    if len(ours.code) != size:
        return False
    mine = scan(ours.code, 0).insns
    return [(one.off, one.name) for one in mine] == [(one.off, one.name) for one in insns]


def points(ours: NativeFunction | None, sub: Subprog, insns: Sequence[Insn]) -> Points:
    """For each native instruction its slot in `Verified.insns`, as far as comparing with our function shows it."""
    slots = dict.fromkeys((one.off for one in insns), -1)
    if ours is not None and len(insns) <= _LIMIT:
        mine = scan(ours.code, 0).insns
        known = _slots(ours, sub)
        matcher = SequenceMatcher(None, _tokens(mine, ours), _tokens(insns, None), autojunk=False)
        if matcher.ratio() >= _LEAST:
            for at, there, count in matcher.get_matching_blocks():
                for step in range(count):
                    slots[insns[there + step].off] = known.get(mine[at + step].off, -1)
    return tuple(sorted(slots.items()))


def _slots(ours: NativeFunction, sub: Subprog) -> dict[int, int]:
    """Slot by native offset of our function; nothing in the prologue."""
    out = {}
    slot = 0
    for one in scan(ours.code, 0).insns:
        while slot + 1 < len(ours.offsets) - 1 and ours.offsets[slot + 1] <= one.off:
            slot += 1
        if one.off >= ours.prologue and ours.offsets:
            out[one.off] = sub.start + slot
    return out


def _tokens(insns: Sequence[Insn], ours: NativeFunction | None) -> list[str]:
    """Instructions as words to compare: without addresses, and without distances of jumps."""
    fields = {reloc.off for reloc in ours.relocs} if ours else set()
    out = []
    for one in insns:
        text = "" if one.name.startswith(("j", "call")) else one.text
        if any(one.off < off < one.off + one.size for off in fields) or (
            _NUMBER.search(text) and one.name in ("movabs", "mov")
        ):
            text = text.partition(",")[0]
        out.append(f"{one.name} {text}")
    return out


def by_lines(verified: Verified, sub: Subprog, lines: Sequence[Line]) -> dict[int, int]:
    """Slot by native offset, from source lines: each begins with the first native instruction of a BPF instruction.

    Both lists are in the order of the code, and theirs may lack some: a line is the next of ours with its text.
    """
    infos = {one.insn: one for one in verified.program.line_info}
    ours = [
        (slot, infos[origin])
        for slot, origin in enumerate(verified.origin[sub.start : sub.end], sub.start)
        if origin in infos and (slot == sub.start or verified.origin[slot - 1] != origin)
    ]
    out = {}
    at = 0
    for line in lines:
        match = next((n for n in range(at, len(ours)) if _is(line, ours[n][1])), None)
        if match is not None:
            out[line.off] = ours[match][0]
            at = match + 1
    return out


def _is(line: Line, info: LineInfo) -> bool:
    return line.text.strip() == info.text.strip() and line.number in (0, info.line)
