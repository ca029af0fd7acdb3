"""Who owns the words of a frame, in precise mode. What is known of a frame depends on who compiled the function:

- ours, or code with our instructions: program stack from the verified program, the rest from what is pushed;
- a frame like the kernel's in other code: the same, with the program stack as large as the prologue makes it;
- any other frame: all of it is the function's own, but for the return address and for registers of its caller, from when
  it saves them until it takes them back.

Knows no machine; precise.py tells it what happens.
"""

from dataclasses import dataclass, field
from typing import Final

from bpf.verified import Subprog
from emu.sandbox.checks import PRESERVED
from emu.sandbox.images import Function

_TAIL_COUNT: Final = 16  # bytes


@dataclass(slots=True, eq=False)
class Activation:
    """A BPF function that runs. entry: where its return address is; low: lowest address that its prologue filled.

    stack_low: lowest address of its program stack. exact: each native instruction has its BPF instruction. usual: the
    frame is one of the kernel's kind. own: of another kind of frame, (word -> register of the caller that is saved there).
    locals: return addresses of calls inside of the function.
    """

    function: Function
    sub: Subprog
    entry: int
    low: int
    stack_low: int
    exact: bool
    usual: bool
    writers: dict[str, int] = field(default_factory=dict)  # callee-saved register -> what wrote it last
    own: dict[int, str] = field(default_factory=dict)
    locals: list[int] = field(default_factory=list)
    floor: int = 0  # rsp at its latest call: where its frame ends while it waits
    uncalled: bool = False  # a helper called it back: only five arguments were passed

    @property
    def rbp(self) -> int:
        """Its frame pointer, in a frame of the kernel's kind."""
        return self.entry - 8

    @property
    def incoming_words(self) -> int:
        """Arguments of its on the stack."""
        return 0 if self.uncalled else max(self.sub.in_stack_args - 1, 0)

    def owns(self, addr: int, end: int) -> bool:
        """Whether [addr, end) is its program stack, or may be in a frame of another kind."""
        if self.usual:
            return self.stack_low <= addr and end <= self.rbp
        inside = self.floor <= addr and end <= self.entry
        return inside and not any(addr < word + 8 and word < end for word in self.own)

    def has(self, addr: int, end: int) -> bool:
        """Whether [addr, end) is, beside that, in its outgoing area or one of its own arguments."""
        incoming = self.entry + 8 <= addr and end <= self.entry + 8 + 8 * self.incoming_words
        return incoming or (self.usual and self.floor <= addr and end <= self.low)

    def counts(self, addr: int) -> bool:
        """Whether the word at `addr` is of its tail-call count."""
        return self.sub.tail_call_reachable and self.stack_low - _TAIL_COUNT - 8 <= addr < self.stack_low

    def saves(self, addr: int, reg: str) -> None:
        """`reg` is written to the stack: saved there if it still is the caller's. Only frames of another kind need this."""
        if self.usual:
            return
        if reg in PRESERVED | {"rbp"} and reg not in self.writers and reg not in self.own.values():
            self.own[addr] = reg
        else:
            self.own.pop(addr, None)

    def takes_back(self, addr: int) -> None:
        """What was saved at `addr` is read."""
        self.own.pop(addr, None)

    def shrinks(self, rsp: int) -> None:
        """rsp moved: what lies below is nobody's any more."""
        self.floor = rsp
        for word in [word for word in self.own if word < rsp]:
            del self.own[word]

    def owner(self, addr: int) -> str:
        """In words, what the word at `addr` is; "" where it is not of this frame."""
        name = self.function.name
        if self.entry + 8 <= addr < self.entry + 8 + 8 * self.incoming_words:
            return f"argument {7 + (addr - self.entry - 8) // 8} of {name}"
        if addr >= self.entry + 8:
            return ""
        if addr >= self.entry:
            return f"the return address of {name}"
        if not self.usual:
            word = next((word for word in self.own if word <= addr < word + 8), None)
            return f"the frame of {name}" if word is None else f"{self.own[word]} that {name} saved"
        if addr >= self.rbp:
            return f"the frame pointer that {name} saved"
        if addr >= self.stack_low:
            return f"the stack of {name}"
        return f"what {name} pushed" if addr >= self.low else f"the outgoing area of {name}"


def activation(function: Function, entry: int) -> Activation:
    """The activation of a function whose return address is at `entry`."""
    image = function.image
    assert image is not None
    sub, native = image.verified.subprogs[function.number], image.functions[function.number]
    exact = bool(native.offsets)
    depth = 0 if sub.private_stack else -(-sub.stack_depth // 8) * 8
    if not exact:
        depth = max(depth, native.frame.stack_depth)
    low = entry - 8 - depth
    return Activation(function, sub, entry, low, low, exact, exact or native.prologue > 0, floor=low)
