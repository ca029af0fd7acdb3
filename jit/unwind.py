"""Backtraces through compiled functions, with nothing but what `Frame` says: no chain of frame pointers is assumed.

What a debugger needs between a stop anywhere in native code and a list of activations. Knows no processor: registers
and memory are given.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bpf import isa
from jit.frame import Moment
from jit.image import Image, Layout

_DEEPEST: Final = 512  # more activations than a kernel stack has room for


@dataclass(frozen=True, slots=True)
class Activation:
    """A function that is under way. number: in the image. off: native offset, of the instruction that comes next or,
    further out, of the one behind the call. cfa: canonical frame address. registers: rip, rsp and the callee-saved
    ones as they are in this activation, by name. insn: slot of `Verified.insns` that is under way, None in a prologue.
    """

    number: int
    off: int
    cfa: int
    registers: Mapping[str, int]
    moment: Moment
    insn: int | None

    def address(self, from_cfa: int) -> int:
        """The address of a `Spot` of this activation."""
        return (self.cfa + from_cfa) & isa.U64


def unwind(
    image: Image,
    layout: Layout,
    registers: Mapping[str, int],
    read: Callable[[int], int],
) -> Iterator[Activation]:
    """The activations of the image's functions from where `registers` says outwards, until a caller is none of them.

    registers: at least rip, rsp and rbp; with rbx and r12 to r15 these are followed, too. read: the word at an
    address; what it raises comes through. Yields nothing when rip is outside of the image.
    """
    starts = sorted((addr, number) for number, addr in enumerate(layout.functions[: len(image.functions)]))
    now = dict(registers)
    inner = True
    for _ in range(_DEEPEST):
        # A return address may lie behind the function's last instruction: look for the call in front of it.
        found = _function_at(image, starts, now["rip"] - (not inner))
        if found is None:
            return
        addr, number = found
        off = now["rip"] - addr
        frame = image.functions[number].frame
        # inside of a call that has not returned the frame is that of the call
        moment = frame.at(off - (not inner))
        base = moment.cfi.cfa
        cfa = (now[base.reg] + (base.off or 0)) & isa.U64
        if cfa <= now["rsp"]:
            return  # no stack grows that way: the words were not those of a stack
        yield Activation(number, off, cfa, dict(now), moment, _insn(image, number, off - (not inner)))
        caller = dict(now)
        for reg, at in moment.cfi.saved.items():
            caller[reg] = read((cfa + at) & isa.U64)
        caller["rsp"] = cfa
        now, inner = caller, False


def _function_at(image: Image, starts: list[tuple[int, int]], addr: int) -> tuple[int, int] | None:
    at = bisect_right(starts, (addr, len(starts))) - 1
    if at < 0:
        return None
    start, number = starts[at]
    return (start, number) if addr < start + len(image.functions[number].code) else None


def _insn(image: Image, number: int, off: int) -> int | None:
    compiled, sub = image.functions[number], image.verified.subprogs[number]
    if off < compiled.prologue:
        return None
    at = bisect_right(compiled.offsets, off) - 1
    return sub.start + at if at < len(compiled.offsets) - 1 else None
