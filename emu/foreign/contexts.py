"""Accesses of contexts: a kernel's code reads its own structures, where the UAPI structure lies here.

A kernel rewrites `skb->mark` into a load from its struct sk_buff, whose layout differs from build to build. As addresses,
such fields are put right: what stands for a converted access in their code gives way to ours, where the code around it is
alike, and no-operations fill the rest. Nothing else of their code changes.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from bpf.verified import Subprog, Verified
from emu.foreign.prologue import recognise
from emu.foreign.scan import Insn
from emu.foreign.shape import Points, points
from jit.image import NativeFunction

_NOPS: Final = (
    b"", b"\x90", b"\x66\x90", b"\x0f\x1f\x00", b"\x0f\x1f\x40\x00", b"\x0f\x1f\x44\x00\x00", b"\x66\x0f\x1f\x44\x00\x00",
    b"\x0f\x1f\x80\x00\x00\x00\x00", b"\x0f\x1f\x84\x00\x00\x00\x00\x00",
)  # fmt: skip


def replaced(
    verified: Verified, sub: Subprog, ours: NativeFunction, code: bytes, insns: Sequence[Insn], *, alike: bool
) -> tuple[bytes, list[tuple[int, int]]]:
    """The code with our context accesses in place of theirs, and where they were put. alike: it has our instructions."""
    out = bytearray(code)
    spans = []
    for slots, start, end in _places(verified, sub, ours, insns, alike=alike):
        mine = ours.code[ours.offsets[slots.start - sub.start] : ours.offsets[slots.stop - sub.start]]
        if code[start:end] == mine:
            continue
        for at, piece in _pieces(mine, start, end, _reached(insns, start, end)):
            out[at : at + len(piece)] = piece
            spans.append((at, at + len(piece)))
    return bytes(out), spans


def _reached(insns: Sequence[Insn], start: int, end: int) -> list[int]:
    """Offsets in (start, end) to which jumps from outside lead: exits of the whole function may lie there."""
    base = insns[0].base if insns else 0
    outside = [one for one in insns if one.name.startswith("j") and not start <= one.off < end]
    reached = [int(one.text, 16) - base for one in outside if one.text.startswith("0x")]
    return [at for at in reached if start < at < end]


def _pieces(mine: bytes, start: int, end: int, reached: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of what to put into [start, end); nothing where there is no room."""
    room = end - start - len(mine)
    if room < 0:
        return
    if not reached:
        yield start, mine + nops(room)
        return
    jump = 2 if room - 2 < 128 else 5
    if room >= jump and all(start + jump <= at < end - len(mine) for at in reached):
        yield start, (b"\xeb" if jump == 2 else b"\xe9") + (room - jump).to_bytes(jump - 1, "little")
        yield end - len(mine), mine


def _places(
    verified: Verified, sub: Subprog, ours: NativeFunction, insns: Sequence[Insn], *, alike: bool
) -> Iterator[tuple[range, int, int]]:
    """(slots, offset, end) of their code for accesses that a kernel converts."""
    converted = {slot for slot in range(sub.start, sub.end) if verified.origin[slot] in verified.converted}
    if alike:
        for slot in sorted(converted):
            at = slot - sub.start
            yield range(slot, slot + 1), ours.offsets[at], ours.offsets[at + 1]
        return
    frame = recognise(insns)
    if frame is None or not converted:
        return
    for slots, start, end in _gaps(points(ours, sub, insns), frame.size, sub):
        emitting = {
            slot for slot in slots if ours.offsets[slot - sub.start] < ours.offsets[slot - sub.start + 1]
        }
        # In front of the first instruction: a check whether the packet is the program's own, which it is here.
        check = not slots and slots.start == sub.start == 0
        if (emitting and emitting <= converted) or check:
            yield slots, start, end


def _gaps(found: Points, first: int, sub: Subprog) -> Iterator[tuple[range, int, int]]:
    """(slots, offset, end) of what lies between instructions whose slots are known."""
    before, start = sub.start - 1, None
    for off, slot in found:
        if slot < 0 and off >= first:
            start = off if start is None else start
        elif slot >= 0:
            if start is not None and before + 1 <= slot:
                yield range(before + 1, slot), start, off
            before, start = slot, None


def nops(size: int) -> bytes:
    """That many bytes that do nothing."""
    longest = len(_NOPS) - 1
    return _NOPS[longest] * (size // longest) + _NOPS[size % longest]
