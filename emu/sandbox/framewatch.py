"""Watches a run and compares it with what the frames of its functions say: rsp, saved registers, every stack access.

Hooks every instruction of the image and every access of the native stack, so a run takes some fifty times as long. For
checks of the JIT, not for production.
"""

import struct
from dataclasses import dataclass, field
from typing import Any, Final

from emu.sandbox import addresses
from emu.sandbox.hooked import Hooked
from emu.sandbox.images import Function
from emu.sandbox.sandbox import Sandbox
from jit.argflow import ArgumentFlow, Incoming, Outgoing
from jit.decoder import new_decoder
from jit.frame import RETURN_ADDRESS, Frame, Moment

_DECODER = new_decoder()
_SAVED: Final = ("rbx", "rbp", "r12", "r13", "r14", "r15")
_WORD: Final = struct.Struct("<Q")
_TOP: Final = addresses.STACK + addresses.STACK_SIZE
_MOST: Final = 20  # differences told
_LEAVES: Final = {"call": 1, "ret": 1, "jmp": 0}  # accesses of its own; what follows is code of somebody else


@dataclass(slots=True)
class Activation:
    """A function that is under way. cfa: its canonical frame address. back: its return address.

    callers: callee-saved registers as it found them.
    """

    code: "_Code"
    cfa: int
    back: int
    callers: dict[str, int]


@dataclass(slots=True)
class _Instruction:
    """name: mnemonic. moment: the frame before it. words: offsets from the CFA of arguments that it reads or writes."""

    name: str
    moment: Moment
    reads: int | None = None
    writes: int | None = None


@dataclass(slots=True)
class _Code:
    """A native function and what is known of its instructions, by offset."""

    function: Function
    frame: Frame
    body_depth: int
    insns: dict[int, _Instruction] = field(default_factory=dict)


@dataclass(slots=True)
class FrameWatch(Hooked):
    """`with FrameWatch(sandbox) as watch: sandbox.run(...)`, then `watch.differences`, one line each.

    instructions, accesses, arguments, activations: how much was compared. Functions without an image are not watched.
    """

    sandbox: Sandbox
    differences: list[str] = field(default_factory=list)
    instructions: int = 0
    accesses: int = 0
    arguments: int = 0
    activations: int = 0
    _codes: dict[int, _Code | None] = field(default_factory=dict)
    _active: list[Activation] = field(default_factory=list)
    _now: _Instruction | None = None
    _where: str = ""
    _rsp: int = 0
    _left: int = 0
    _wanted: set[tuple[int, bool]] = field(default_factory=set)
    _handles: list[int] = field(default_factory=list)

    # ---- what is known of the code

    def _code(self, addr: int) -> _Code | None:
        function = self.sandbox.code.function_at(addr)
        if function is None or function.image is None:
            return None
        if function.addr not in self._codes:
            self._codes[function.addr] = _known(function)
        return self._codes[function.addr]

    # ---- each instruction

    def _step(self, addr: int) -> None:
        self._finish()
        cpu = self.sandbox.machine.cpu
        self._rsp = rsp = cpu.read("rsp")
        code = self._code(addr)
        self._now = None
        if code is None:
            return
        off = addr - code.function.addr
        insn = code.insns.get(off)
        self._where = f"{code.function.name}+{off:#x}"
        if insn is None:
            self._differ("no instruction starts here")
            return
        self._enter(code, off, rsp, cpu)
        if not self._active:
            return
        top = self._active[-1]
        self._now, self._left = insn, _LEAVES.get(insn.name, -1)
        self._wanted = {
            (top.cfa + at, writes)
            for at, writes in ((insn.reads, False), (insn.writes, True))
            if at is not None
        }
        self.instructions += 1
        self._compare(top, insn.moment, rsp, cpu)

    def _enter(self, code: _Code, off: int, rsp: int, cpu: Any) -> None:
        """Find the activation that this instruction belongs to."""
        active = self._active
        while active and active[-1].cfa <= rsp:
            active.pop()
        if off == 0:
            callers = {reg: cpu.read(reg) for reg in _SAVED}
            active.append(Activation(code, rsp + 8, self._word(rsp), callers))
            self.activations += 1
        elif not active:
            self._differ("a function was entered behind its first instruction")
        elif active[-1].code is not code:
            takes_over = code.frame.rbp_from == off
            if not takes_over:
                self._differ(f"{active[-1].code.function.name} was left for the middle of another function")
            active[-1].code = code
        takeover = code.frame.takeover
        if takeover is not None and off == takeover.start and active:
            self._take_over(code, rsp + code.frame.depth(off))

    def _take_over(self, code: _Code, cfa: int) -> None:
        """An exception callback goes on in the frame of the main program."""
        while len(self._active) > 1 and self._active[-1].cfa != cfa:
            self._active.pop()
        if self._active[-1].cfa != cfa:
            self._differ("the exception callback took a frame that is none")
        self._active[-1].code = code

    def _compare(self, top: Activation, moment: Moment, rsp: int, cpu: Any) -> None:
        cfa = moment.cfi.cfa
        base = rsp if cfa.reg == "rsp" else cpu.read(cfa.reg)
        if base + (cfa.off or 0) != top.cfa:
            self._differ(f"the CFA is {cfa}, which is {base + (cfa.off or 0):#x}, not {top.cfa:#x}")
        if rsp != top.cfa - moment.depth:
            self._differ(f"rsp is {top.cfa - rsp} bytes below the CFA, the frame says {moment.depth}")
        if self._word(top.cfa + RETURN_ADDRESS) != top.back:
            self._differ("the return address is not where it was")
        for reg, at in moment.cfi.saved.items():
            if reg != "rip" and self._word(top.cfa + at) != top.callers[reg]:
                self._differ(f"{reg} is not saved at CFA{at}")
        if moment.depth != top.code.body_depth:  # on the way in or out
            for reg in _SAVED:
                if reg not in moment.cfi.saved and cpu.read(reg) != top.callers[reg]:
                    self._differ(f"{reg} is not the caller's, and the frame says it is")

    # ---- each access

    def _access(self, write: bool, addr: int, size: int) -> None:
        now = self._now
        if now is None or self._left == 0:
            return
        self._left -= 1
        self.accesses += 1
        if (addr, write) in self._wanted and size == 8:
            self._wanted.discard((addr, write))
            self.arguments += 1
            return
        if not self._allowed(addr, size, now, writes=write):
            verb = "writes" if write else "reads"
            self._differ(f"{now.name} {verb} {size} bytes at CFA{addr - self._active[-1].cfa:+#x}")

    def _allowed(self, addr: int, size: int, now: _Instruction, *, writes: bool) -> bool:
        if now.name in ("push", "call"):
            return writes and addr == self._rsp - 8
        if now.name in ("pop", "leave", "ret"):
            return not writes and addr == (self._active[-1].cfa - 16 if now.name == "leave" else self._rsp)
        return any(_in_program(one, addr, size) for one in self._active)

    def _finish(self) -> None:
        """The accesses that the instruction before should have made."""
        for addr, writes in self._wanted:
            if self._now is not None and self._active:
                verb = "write" if writes else "read"
                self._differ(f"did not {verb} its argument at CFA{addr - self._active[-1].cfa:+#x}")
        self._wanted.clear()

    def _word(self, addr: int) -> int:
        at = addr - addresses.STACK
        if not 0 <= at <= addresses.STACK_SIZE - 8:
            return -1
        (word,) = _WORD.unpack_from(self.sandbox.machine.stack, at)
        return int(word)

    def _differ(self, what: str) -> None:
        if len(self.differences) < _MOST:
            self.differences.append(f"{self._where}: {what}")


def _in_program(one: Activation, addr: int, size: int) -> bool:
    """Whether an access lies in the program stack of an activation, or in the words of its tail-call count."""
    low = one.cfa - 16 - one.code.frame.stack_depth - one.code.frame.counts
    return low <= addr and addr + size <= one.cfa - 16


def _known(function: Function) -> _Code:
    image = function.image
    assert image is not None
    compiled = image.functions[function.number]
    frame = compiled.frame
    code = _Code(function, frame, frame.depth(frame.body))
    for at, _, name, _ in _DECODER.disasm_lite(function.code, 0):
        code.insns[at] = _Instruction(name, frame.at(at))
    flow = ArgumentFlow(image.verified, function.number)
    sub = image.verified.subprogs[function.number]
    for slot in range(sub.start, sub.end):
        at = compiled.offsets[slot - sub.start]
        for move in flow.moves(slot):
            if move.argument > 6 and at in code.insns:
                _expect(code.insns[at], move)
    return code


def _expect(insn: _Instruction, move: Incoming | Outgoing) -> None:
    if isinstance(move, Incoming):
        insn.reads = insn.moment.incoming[move.argument].cfa
    else:
        insn.writes = insn.moment.outgoing[move.argument].cfa
