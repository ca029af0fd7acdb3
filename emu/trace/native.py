"""The sandbox's side: registers, stack words and frames before each native instruction, on a machine of precise mode.

Knows nothing of the reference interpreter.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from emu.sandbox import addresses
from emu.sandbox.callees import Callee
from emu.sandbox.hooked import Hooked
from emu.sandbox.sandbox import Sandbox
from emu.trace.code import Code
from emu.trace.owners import Owners, Shape
from emu.trace.trace import REGISTERS, Activation, Row

_SIZE: Final = addresses.STACK_SIZE
_CHUNK: Final = 256
_WORD: Final = struct.Struct("<Q")
_RSP: Final = REGISTERS.index("rsp")
_RIP_TEXT: Final = range(addresses.GATE_CODE, addresses.GATE_SLOTS)
_PRIVATE: Final = "r9"  # where r10 is, when the program stack is not on the native stack


@dataclass(frozen=True, slots=True)
class Moment:
    """Before one native instruction. begins: BPF instruction whose code begins here, None where none does.

    regs: in the order of REGISTERS. words: what changed on the stack. frames: (activation, shape), outermost first; fps: what
    r10 is in each. noticed: violations found so far in this run.
    """

    run: int
    function: int
    addr: int
    begins: int | None
    regs: tuple[int, ...]
    words: dict[int, int]
    frames: tuple[tuple[int, int], ...]
    fps: tuple[int, ...]
    noticed: int


@dataclass(frozen=True, slots=True)
class Event:
    """A call, in the order in which they are made. moment: of the call; for a callback the callee's first.

    callee: what stands behind a stub; function: number of the called function of the program, -1 for none.
    """

    run: int
    moment: int
    callee: Callee | None = None
    function: int = -1
    back: bool = False


@dataclass(slots=True, eq=False)
class _Active:
    """A function that is under way. call: its latest call; callee: what that calls, when it is no function of the program."""

    number: int
    function: int
    cfa: int
    owners: Owners
    fp: int
    depth: int = 8
    shape: int = -1
    group: int | None = None
    stale: bool = True
    call: int = 0
    callee: Callee | None = None


@dataclass(slots=True)
class _Before:
    """The instruction before: its activation, mnemonic and operands."""

    active: _Active
    off: int
    name: str
    operands: str


@dataclass(slots=True, eq=False)
class NativeLog(Hooked):
    """`with NativeLog(sandbox, code, limit) as log: sandbox.run(...)`. full: whether it ended the run at its limit."""

    sandbox: Sandbox
    code: Code
    limit: int
    moments: list[Moment] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    activations: list[Activation] = field(default_factory=list)
    shapes: dict[tuple[Row, ...], int] = field(default_factory=dict)
    full: bool = False
    run: int = 0
    _active: list[_Active] = field(default_factory=list)
    _before: _Before | None = None
    _made: tuple[int, int] = (0, 0)
    _lost: int = 0
    _stack: bytes = bytes((addresses.STACK_FILL,)) * _SIZE
    _returns: dict[int, int] = field(default_factory=dict)
    _writes: list[tuple[int, int]] = field(default_factory=list)
    _handles: list[int] = field(default_factory=list)

    def begin(self, run: int) -> None:
        """The next run starts."""
        self.run = run
        self._active.clear()
        self._before = None
        self._made = (0, 0)

    def end(self) -> None:
        """The run is over: a call that ended it is noted, too."""
        self._count()

    # ---- hooks

    def _access(self, write: bool, addr: int, size: int) -> None:
        if write:
            self._writes.append((addr, size))

    def _step(self, addr: int) -> None:
        cpu = self.sandbox.machine.cpu
        if len(self.moments) >= self.limit:
            self.full = True
            cpu.stop()
            return
        regs = tuple(cpu.read(name) for name in REGISTERS)
        function = self.code.at(addr)
        begins = None
        if function >= 0:
            begins = self._inside(function, addr - self.code.places[function].placed.addr, regs)
        else:
            self._before = None
        words = self._changed()
        self._writes.clear()
        frames = tuple((one.number, self._shape(one)) for one in self._active)
        self.moments.append(
            Moment(
                self.run, function, addr, begins, regs, words, frames,
                tuple(one.fp for one in self._active), len(self.sandbox.violations),
            )
        )  # fmt: skip

    def _inside(self, function: int, off: int, regs: tuple[int, ...]) -> int | None:
        """An instruction of a known function; the BPF instruction whose code begins with it."""
        place, rsp = self.code.places[function], regs[_RSP]
        self._arrive(function, off, rsp)
        if not self._active:
            self._before = None
            return None
        top = self._active[-1]
        self._move(top, function, off, rsp)
        group = place.group(off)
        begins = None
        before = self._before
        left = before is not None and before.active is top and place.leaves(before.off)
        if group is not None and (group == off or group != top.group) and not left:
            begins = place.begins[group]  # also by a jump that passes what the verifier put in front
            if self._private(function):
                top.fp = regs[REGISTERS.index(_PRIVATE)]
        top.group = group
        name, operands, _ = place.kinds.get(off, ("", "", 1))
        self._before = _Before(top, off, name, operands)
        if name == "call":
            top.call = off
        return begins

    # ---- calls

    def _count(self) -> bool:
        """Take note of calls that were made since the instruction before; whether a function of the program was entered."""
        conversation, gates = self.sandbox.conversation, self.sandbox.machine.gates
        stubs = len(conversation.rows) + conversation.dropped
        self._lost = conversation.entries.dropped + gates.lost
        entered = conversation.entries.count + gates.count + self._lost
        made = self._made
        self._made = (stubs, entered)
        if stubs > made[0] and conversation.latest is not None:
            callee = conversation.latest.callee
            self.events += [Event(self.run, len(self.moments) - 1, callee)] * (stubs - made[0])
            if self._active:
                self._active[-1].callee = callee
        return entered > made[1]

    # ---- activations

    def _arrive(self, function: int, off: int, rsp: int) -> None:
        """Whether another function is under way now than at the instruction before."""
        before, active, gates = self._before, self._active, self.sandbox.machine.gates
        came = before.name if before is not None else ""
        if self._count() or (off == 0 and came in ("", "ret") and not gates.depth):
            if before is not None and active:
                active[-1].call = before.off
            del active[gates.depth :]
            self._enter(function, rsp)
        elif came in ("call", "ret", "jmp") and len(active) > gates.depth + (came == "jmp"):
            del active[gates.depth + 1 :]
            if active:
                active[-1].owners.tags.clear()
                active[-1].stale, active[-1].callee = True, None
        if active and active[-1].function != function:
            self._replace(function, rsp)

    def _enter(self, function: int, rsp: int) -> None:
        """A call of a function of the program, by another one or by a helper."""
        insn, by, owners, here = None, "", Owners(self._known(function)), len(self.moments)
        if self._active:
            caller = self._active[-1]
            insn = self._insn(caller.function, caller.call)
            if caller.callee is not None:
                by = owners.by = caller.callee.name
                owners.kernel = caller.cfa - caller.depth - (rsp + 8)
            back = caller.callee is not None
            if not self._lost:  # of others there is no record
                self.events.append(Event(self.run, here - (not back), caller.callee, function, back))
        self._active.append(self._new(function, rsp + 8, owners, insn, by, rsp - 8))
        if len(self._active) > 1:
            gates = self.sandbox.machine.gates
            self._returns[rsp] = gates.shadow(gates.depth - 1).ret

    def _new(self, function: int, cfa: int, owners: Owners, insn: int | None, by: str, fp: int) -> _Active:
        self.activations.append(Activation(function, cfa, len(self._active), insn, by))
        return _Active(len(self.activations) - 1, function, cfa, owners, fp)

    def _replace(self, function: int, rsp: int) -> None:
        """A tail call: another function goes on in the frame of this one."""
        old = self._active.pop()
        owners = Owners(self._known(function), dict(old.owners.pushed), {}, None, 0, old.owners.by)
        owners.shrinks(old.cfa - rsp)
        insn = self._insn(old.function, self._before.off) if self._before is not None else None
        new = self._new(function, old.cfa, owners, insn, "tail call", old.fp)
        new.depth = old.cfa - rsp
        self._active.append(new)

    def _insn(self, function: int, off: int) -> int | None:
        """The BPF instruction that a native one belongs to."""
        place = self.code.places[function]
        group = place.group(off)
        return None if group is None else place.begins[group]

    def _known(self, function: int) -> Shape:
        placed = self.code.places[function].placed
        if placed.image is None or self.code.places[function].foreign:
            return Shape(placed.name, 0, 0, None, (), False)
        sub = placed.image.verified.subprogs[placed.number]
        return Shape(
            placed.name,
            0 if sub.private_stack else -(-sub.stack_depth // 8) * 8,
            max(sub.in_stack_args - 1, 0),
            max(sub.out_stack_args - 1, 0),
            self.code.functions[function].params,
            sub.tail_call_reachable,
        )

    def _private(self, function: int) -> bool:
        placed = self.code.places[function].placed
        return placed.image is not None and placed.image.verified.subprogs[placed.number].private_stack

    # ---- the stack

    def _move(self, top: _Active, function: int, off: int, rsp: int) -> None:
        """What the instruction before did to rsp, and which argument it stored."""
        depth, before, place = top.cfa - rsp, self._before, self.code.places[function]
        if before is not None and before.active is top:
            early = place.native is None or place.foreign or before.off < place.native.prologue
            if before.name == "push" and depth == top.depth + 8:
                top.owners.pushes(depth, before.operands, prologue=early)
            stored = place.stores.get(before.off)
            for addr, size in self._writes:
                if stored is not None and size == 8 and addr < top.cfa - 8:
                    top.owners.tags[addr - top.cfa] = stored
                    top.stale = True
        if depth != top.depth:
            if depth < top.depth:
                top.owners.shrinks(depth)
            top.depth, top.stale = depth, True
        if top.owners.body is None and place.native is not None and off >= place.native.prologue:
            top.owners.body, top.stale = depth, True

    def _shape(self, one: _Active) -> int:
        """The number of an activation's rows."""
        if one.stale:
            one.shape = self.shapes.setdefault(one.owners.rows(one.depth), len(self.shapes))
            one.stale = False
        return one.shape

    def _changed(self) -> dict[int, int]:
        """The words of the stack that are not what they were before the last instruction."""
        now, before = bytes(self.sandbox.machine.stack), self._stack
        if now == before:
            return {}
        self._stack = now
        found = {}
        for low in range(0, _SIZE, _CHUNK):
            if now[low : low + _CHUNK] == before[low : low + _CHUNK]:
                continue
            for at in range(low, low + _CHUNK, 8):
                if now[at : at + 8] != before[at : at + 8]:
                    (value,) = _WORD.unpack_from(now, at)
                    addr = addresses.STACK + at
                    # A gate has put its own address there; what the program's code would have is known.
                    found[addr] = self._returns.get(addr, value) if value in _RIP_TEXT else value
        return found


def on_stack(addr: int) -> bool:
    """Whether an address is on the native stack, or is its end."""
    return addresses.STACK <= addr <= addresses.STACK + _SIZE
