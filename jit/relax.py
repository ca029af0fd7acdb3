"""Sizes of jumps, found as the kernel finds them: pass after pass until the length stands still.

A pass emits the whole function. A forward jump measures with the addresses of the pass before, a backward jump with
those of this pass for its target but of the pass before for its own end; the first pass takes 64 bytes an instruction.
Two programs that differ in nothing but the number of passes would get different bytes otherwise, so this is repeated
exactly, though only for the jumps: everything between them has a fixed size.

From pass 15 on (and in the extra pass of programs with several functions) a jump that could be shorter than in the
pass before is filled up with nops. Source: bpf_int_jit_compile and do_jit, section D.9 of the convention.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jit.jumps import Jump
from jit.x64.encoder import form

MAX_PASSES: Final = 20
PADDING_PASSES: Final = 15
SHORT_MIN: Final = -128
SHORT_MAX: Final = 123  # 127 less what a jump may still grow: with 127 some programs never settle
_FIRST_SIZE: Final = 64  # bytes that an instruction is taken to have before the first pass
_SELF: Final = -2

_NOPS: Final = {0: b"", 2: form("nop 2")(), 3: form("nop 3")(), 4: form("nop 4")(), 5: form("nop 5")()}


class Unsettled(Exception):  # noqa: N818 - never leaves this package
    """The jumps found no sizes; the kernel would run the program uncompiled or refuse it."""


@dataclass(slots=True)
class Site:
    """A jump in its function.

    index: of its instruction (0 = first). end: bytes before the end of the instruction, without jump opcodes of any
    jump. jumps: how many jumps stand before it, itself excluded. target: index of the instruction jumped to;
    target_end: bytes before it, again without jumps; target_jumps: jumps before it.
    """

    jump: Jump
    index: int
    end: int
    target: int
    target_end: int
    target_jumps: int


class Relaxation:
    """Runs the passes over the jumps of one function."""

    def __init__(self, sites: Sequence[Site], fixed: int) -> None:
        """fixed: bytes of everything but jump opcodes."""
        self._sites = sites
        self._fixed = fixed
        # total[k]: bytes of the first k jumps with their padding, in the pass that ended last
        self._total: list[int] | None = None
        self.offsets: list[
            int
        ] = []  # displacement of each jump in the last pass, None-like 0 when it vanished
        self.nops: list[int] = []
        self.sizes: list[int] = []

    def run(self, *, several: bool) -> int:
        """All passes; `several`: the program has more functions, so one more with padding. Returns their number."""
        length = -1
        for done in range(MAX_PASSES):
            now = self._pass(padding=done >= PADDING_PASSES)
            if now == length:
                break
            length = now
        else:
            raise Unsettled(f"jumps did not converge in {MAX_PASSES} passes")
        passes = done + 2
        self._image_pass(padding=done + 1 >= PADDING_PASSES)
        if several:
            self._image_pass(padding=True)
        return passes

    def _image_pass(self, *, padding: bool) -> None:
        """A pass that writes code: no address may move any more."""
        before = self._total
        self._pass(padding=padding)
        if self._total != before:
            raise Unsettled("jumps changed in the last pass")

    def _pass(self, *, padding: bool) -> int:
        """One pass over all jumps; returns the length of the function."""
        before = self._total
        total = [0]
        self.offsets, self.nops, self.sizes = [], [], []
        for number, site in enumerate(self._sites):
            jump = site.jump
            own_end = _FIRST_SIZE * (site.index + 2) if before is None else site.end + before[number + 1]
            if site.target_jumps <= number:  # backward: this pass has been there already
                target = site.target_end + total[site.target_jumps]
            elif before is None:
                target = _FIRST_SIZE * (site.target + 1)
            else:
                target = site.target_end + before[site.target_jumps]
            offset = _SELF if jump.self_loop else target - own_end
            if offset == 0 and jump.vanishes:
                size = 0
            elif SHORT_MIN <= offset <= SHORT_MAX:
                size = 2
            else:
                size = jump.near_size
            nops = 0
            if padding and size <= 2 and before is not None:
                nops = self._padding(own_end - site.end - total[number], size, jump)
            self.offsets.append(offset)
            self.sizes.append(size)
            self.nops.append(nops)
            total.append(total[number] + size + nops)
        self._total = total
        return self._fixed + total[-1]

    @staticmethod
    def _padding(room: int, size: int, jump: Jump) -> int:
        """Nops before a jump of `size` bytes that had `room` bytes in the pass before."""
        nops = room - size
        allowed = (0, 2, 5) if size == 0 else (0, jump.near_size - 2)
        if nops not in allowed:
            raise Unsettled(f"unexpected jump padding: {nops} bytes")
        return nops

    def code(self, number: int) -> bytes:
        """The bytes of jump `number` without its comparison, after run()."""
        jump = self._sites[number].jump
        size = self.sizes[number]
        padding = _NOPS[self.nops[number]]
        if size == 0:
            return padding
        return padding + (jump.short if size == 2 else jump.near)(self.offsets[number])
