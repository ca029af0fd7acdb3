"""Where everything of a function's native frame lives: the picture that debugging needs.

      rbp + 16 + 8*(k-7)   incoming argument k, k = 7..12
      rbp + 8              return address
      rbp                  saved rbp
      rbp - depth          program stack (r10 = rbp), round_up(stack depth, 8) bytes
                           saved registers, one word each, in push order
      rsp + 8*(k-7)        outgoing argument k, k = 7..12
      r9                   argument 6, incoming until it is overwritten, then outgoing

Source: section D.3 of the convention, arch/x86/net/bpf_jit_comp.c.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A register, or a word of memory at a register plus an offset in bytes."""

    reg: str
    off: int | None = None

    def __str__(self) -> str:
        if self.off is None:
            return self.reg
        return f"[{self.reg}{'-' if self.off < 0 else '+'}{abs(self.off):#x}]"


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame of one native function in its body, between prologue and epilogue.

    stack_depth: program stack in bytes, rounded up to 8. saved: (register, rbp offset) in push order.
    incoming, outgoing: argument number (6..12) -> place; outgoing memory places are rbp-based.
    outgoing_size: bytes of the outgoing area. size: bytes from rbp down to rsp.
    """

    stack_depth: int
    saved: tuple[tuple[str, int], ...]
    incoming: dict[int, Place]
    outgoing: dict[int, Place]
    outgoing_size: int
    size: int
