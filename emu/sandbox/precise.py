"""Precise mode: every native instruction of the image is looked at, and every access to the native stack.

Slow (some 10 us an instruction), and meant to say where a convention breaks that fast mode found broken. What it
knows of a frame it derives from the verified program and from what is pushed, never from the JIT's own `Frame`: a JIT
that is wrong about its frame must not be believed. Code of another JIT may have other frames: activation.py.

      entry + 8 + 8*i   argument 7+i of this function         read by the load of that argument only
      entry             return address                        nobody's
      entry - 8         saved rbp                             nobody's
                        program stack                         free for this function and for those it calls
                        count of tail calls, saved registers  nobody's but of what pushed them
      rsp + 8*i         argument 7+i of the next call         written by the store of that argument only
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from bpf import isa
from bpf.insn import Insn
from emu.outcome import Violation
from emu.sandbox import addresses, checks, gates, uses
from emu.sandbox.activation import Activation, activation
from emu.sandbox.callees import Callee
from emu.sandbox.entry import entry_rsp
from emu.sandbox.images import CodeMap, Site
from emu.sandbox.machine import Machine
from emu.sandbox.uses import Use

STEPS: Final = 1_500_000  # native instructions of one run, twice the rounds of may_goto; it goes on unwatched behind them
REST: Final = 2.0  # seconds that it then still has
_CLOBBERED: Final = frozenset(("rdi", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11"))
_ARGUMENTS: Final = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_FIVE: Final = frozenset(_ARGUMENTS[:5])


def _in_image(addr: int) -> bool:
    return addresses.IMAGE <= addr < addresses.IMAGE + addresses.IMAGE_SIZE


class Watch:
    """Follows one run. report: takes what is found. red_zone: bytes below rsp that are a function's own."""

    def __init__(
        self,
        machine: Machine,
        code: CodeMap,
        callees: Callable[[int], Callee | None],
        report: Callable[[list[Violation]], None],
        red_zone: int = 0,
    ) -> None:
        self._machine = machine
        self._code = code
        self._callees = callees
        self._report = report
        self._red_zone = red_zone
        self._starts = {one.addr: one for one in code.gated}
        self._uses: dict[int, Use] = {}
        self._seen: set[tuple[str, int, int]] = set()
        self.begin()

    def begin(self) -> None:
        """A round starts."""
        self.frames: list[Activation] = []
        self._began = monotonic()
        self._written = bytearray(addresses.STACK_SIZE)
        self._dead: set[str] = set()
        self._left = True
        self._pc = self._rsp = self._steps = 0
        self._use = uses.NOTHING
        self._quiet = self._void = False
        self._target: int | None = None
        self._exception = False

    def thrown(self) -> None:
        """An exception has been thrown: the next function that is entered is its callback, in the main program's frame."""
        del self.frames[1:]
        self._exception = True

    # ---- instructions

    def step(self, pc: int) -> None:
        """An instruction of the image is about to run."""
        self._steps += 1
        if self._steps > STEPS:
            self._machine.on_step = self._machine.on_stack = None
            self._machine.watchdog.seconds = monotonic() - self._began + REST
            return
        use = self._uses.get(pc)
        if use is None:
            at = pc - addresses.IMAGE
            use = self._uses[pc] = uses.use_of(bytes(self._machine.image[at : at + 16]), pc)
        if self._left:
            self._arrive(pc)
        elif (
            self.frames
            and self._use.kind == uses.JUMP
            and self._code.function_at(pc) is not self.frames[-1].function
        ):
            self._dead = set()  # a tail call
            self._replace(pc)
        self._pc, self._use = pc, use
        if not self.frames:
            return
        if use.memory or use.kind in (uses.CALL, uses.RET):
            self._rsp = self._machine.cpu.read("rsp")
            self.frames[-1].shrinks(self._rsp)
        if use.kind == uses.RET:
            self._return()
        self._registers(use)
        self._left = use.kind in (uses.CALL, uses.RET)
        if use.kind == uses.JUMP and use.target is not None and not _in_image(use.target):
            self._jump(use.target)
        if use.kind == uses.CALL:
            self._target = self._machine.cpu.read(use.through) if use.through else use.target
            if self._target is not None:
                self._call(self._target)

    def _registers(self, use: Use) -> None:
        """Registers that hold nothing may be saved and set, not used."""
        pc = self._pc
        dead = use.reads & self._dead if use.kind != uses.CALL or use.through else None
        if dead and use.copied and not self.frames[-1].exact:
            self._dead |= use.writes  # another JIT may save what holds nothing, too
        elif dead:
            for reg in sorted(dead):
                self._violate(
                    "clobbered-register",
                    None,
                    self._machine.cpu.read(reg),
                    f"{reg} holds nothing any more, and is used; found",
                    (pc, reg),
                )
        if not dead or not use.copied or self.frames[-1].exact:
            self._dead -= use.writes
        for reg in use.writes & checks.PRESERVED:
            if use.kind != uses.IMPLICIT:
                self.frames[-1].writers[reg] = pc

    def _arrive(self, pc: int) -> None:
        """Control comes from elsewhere: a function is entered, or a call has returned."""
        depth = self._machine.gates.depth
        if self._inside(pc):
            return
        function = self._starts.get(pc)
        if function is not None:
            del self.frames[depth:]
            entry = self._machine.gates.shadow(depth - 1).rsp if depth else entry_rsp()
            self.frames.append(activation(function, entry))
            self._written[: max(entry - addresses.STACK, 0)] = bytes(max(entry - addresses.STACK, 0))
            self._entered(self.frames[-1], main=not depth)
            return
        del self.frames[depth + 1 :]
        self._dead = {"r9", "r11"} if self._quiet else set(_CLOBBERED)
        if self._void and self._use.kind == uses.CALL:  # a return of a BPF function comes from its ret
            self._dead.add("rax")

    def _inside(self, pc: int) -> bool:
        """Whether a call, or the return of one, stays in the same function, past all gates: the function's own affair."""
        if not self.frames or not self._pc:
            return False
        act = self.frames[-1]
        if self._use.kind == uses.CALL and self._target == pc:
            act.locals.append(self._pc + self._use.size)
            return True
        if self._use.kind == uses.RET and act.locals and act.locals[-1] == pc:
            act.locals.pop()
            return True
        return False

    def _entered(self, act: Activation, *, main: bool) -> None:
        """Which registers hold nothing at the entry of a function."""
        if main:
            given = {"rdi", "rsi", "rdx"} if self._exception else {"rdi"}
            self._dead = {"rax", *_CLOBBERED} - given
            self._exception = False
            return
        # What the caller never set is nothing for the callee either; a stub sets all five.
        called = (
            self._target if self._use.kind in (uses.CALL, uses.JUMP) else None
        )  # else a helper calls back once more
        gated = called is not None and gates.number_of(called) is not None
        unset = self._dead & _FIVE if gated else set()
        act.uncalled = not gated
        self._dead = {"r10", "r11"} | unset
        self._dead |= set() if act.sub.tail_call_reachable else {"rax"}
        self._dead |= set() if act.sub.in_stack_args and gated else {"r9"}

    def _replace(self, pc: int) -> None:
        function = self._code.function_at(pc)
        if function is not None and function.image is not None:
            self.frames[-1] = activation(function, self.frames[-1].entry)

    def _jump(self, target: int) -> None:
        """A jump to a stub or a gate in place of a call and a return: its return address is this function's own."""
        if self._callees(target) is None and gates.number_of(target) is None:
            return  # a thunk
        act, self._rsp = self.frames[-1], self._machine.cpu.read("rsp")
        self._left, self._target = True, target
        if self._rsp != act.entry:
            self._violate(
                "rsp", act.entry, self._rsp, f"rsp where {act.function.name} jumps away", (self._pc, 0)
            )
        self._call(target, 8)

    def _call(self, target: int, pushed: int = 0) -> None:
        """What the callee will take from registers and stack must be there. pushed: bytes that a call pushes, if it has."""
        self._quiet, self._void = target == self._machine.quiet, False
        name, registers, words = self._wanted(target)
        act, rsp = self.frames[-1], self._rsp + pushed
        for number in registers:
            reg = _ARGUMENTS[number]
            if reg in self._dead:
                check = "stale-argument" if number == 5 else "clobbered-register"
                self._violate(
                    check,
                    None,
                    self._machine.cpu.read(reg),
                    f"argument {number + 1} of {name}, {reg}, was not set; found",
                    (self._pc, reg),
                )
        if words and act.usual and rsp + 8 * words > act.low:
            what = f"{name} takes {words} words from the stack, the outgoing area ends"
            self._violate("outgoing-area", rsp + 8 * words, act.low, what, (self._pc, 0))
        at = rsp - addresses.STACK
        for number in range(words):
            word = self._machine.stack_word(at + 8 * number)
            value = int.from_bytes(word, "little")
            what = f"argument {number + 7} of {name} was not stored"
            if value - addresses.POISON_WORD in range(7, 13):
                self._violate(
                    "stale-argument", None, value, f"{what} since the last call; found", (self._pc, number)
                )
            elif not all(self._written[at + 8 * number : at + 8 * number + 8]):
                self._violate("uninitialised", None, value, f"{what}; found", (self._pc, number))

    def _return(self) -> None:
        """The word that `ret` takes must be the return address, where it was at the entry."""
        act, rsp = self.frames[-1], self._rsp
        if rsp != act.entry and not act.locals:
            self._violate("rsp", act.entry, rsp, f"rsp at the return of {act.function.name}", (self._pc, 0))

    def _wanted(self, target: int) -> tuple[str, range, int]:
        """Name of a callee, which argument registers must be set, and how many words it takes from the stack.

        A BPF function may have more parameters than it reads: of its first five registers those count that it uses.
        """
        number = gates.number_of(target)
        function = self._code.behind_gate(number) if number is not None else None
        if function is not None and function.image is not None:
            sub = function.image.verified.subprogs[function.number]
            return function.name, range(5, 6 if sub.in_stack_args else 5), max(sub.in_stack_args - 1, 0)
        callee = self._callees(target)
        self._void = callee is not None and callee.void
        if callee is None or callee.kind == "internal":
            return "it", range(0), 0
        return callee.name, range(min(callee.nargs, 6)), callee.stack_words

    # ---- memory

    def access(self, write: bool, addr: int, size: int) -> None:
        """The instruction at hand reads or writes the native stack."""
        use = self._use
        if not self.frames or use.kind in (uses.CALL, uses.RET, uses.JUMP):
            return
        act, at = self.frames[-1], addr - addresses.STACK
        if use.kind == uses.IMPLICIT:
            if not write:
                act.takes_back(addr)
            else:
                act.saves(addr, use.pushed)
                self._written[max(at, 0) : at + size] = b"\1" * size
                if self._in_prologue(act):
                    act.low = min(act.low, addr)
            return
        if self._rsp - self._red_zone <= addr < self._rsp:
            pass
        elif addr < self._rsp:
            what = f"{'write' if write else 'read'} of {size} bytes below rsp"
            self._violate("below-rsp", self._rsp, addr, what, (self._pc, addr))
        elif write:
            self._write(act, addr, size)
        else:
            self._read(act, addr, size)
        if write:
            self._written[max(at, 0) : at + size] = b"\1" * size

    def _in_prologue(self, act: Activation) -> bool:
        assert act.function.image is not None
        prologue = act.function.image.functions[act.function.number].prologue
        return self._pc - act.function.addr < prologue

    def _write(self, act: Activation, addr: int, size: int) -> None:
        slot = self._slot(isa.is_stack_arg_store, isa.store_slot, store=True)
        if slot is not None and act.usual:
            want = self._rsp + 8 * (slot - 1)
            if addr != want or not slot:
                self._violate(
                    "outgoing-slot",
                    want,
                    addr,
                    f"argument {slot + 6} is stored in the wrong place",
                    (self._pc, addr),
                )
            elif addr + 8 > act.low:
                what = f"argument {slot + 6} is stored over {self._owner(addr)}"
                self._violate("outgoing-area", act.low - 8, addr, what, (self._pc, addr))
            return
        if self._free(act, addr, size):
            if size == 8:
                act.saves(addr, self._use.copied)
            return
        what = f"write of {size} bytes to {self._owner(addr)}"
        self._violate("frame-write", act.stack_low, addr, what, (self._pc, addr))

    def _read(self, act: Activation, addr: int, size: int) -> None:
        slot = self._slot(isa.is_stack_arg_load, isa.load_slot, store=False)
        if slot is not None and act.usual:
            want = act.entry + 8 * slot
            if slot > act.incoming_words:
                what = f"argument {slot + 6} is read from {self._owner(addr)}, and was not passed; found"
                word = self._machine.stack_word(addr - addresses.STACK)
                self._violate("incoming-read", None, int.from_bytes(word, "little"), what, (self._pc, addr))
            elif not slot or addr != want:
                what = f"argument {slot + 6} is read from {self._owner(addr)}"
                self._violate("incoming-read", want, addr, what, (self._pc, addr))
            return
        if self._free(act, addr, size) or (not act.usual and addr in act.own):
            act.takes_back(addr)
            return
        what = f"read of {size} bytes from {self._owner(addr)}"
        self._violate("frame-read", act.stack_low, addr, what, (self._pc, addr))

    def _free(self, act: Activation, addr: int, size: int) -> bool:
        """Whether [addr, addr + size) is memory of this function or of one that called it."""
        end = addr + size
        if any(one.owns(addr, end) or one.counts(addr) for one in self.frames):
            return True
        # Where nobody knows which BPF instruction it is, it may be one that moves an argument.
        unknown = not act.exact and (not act.usual or self._insn() is None)
        return unknown and act.has(addr, end)

    def _slot(
        self, shape: Callable[[int, int, int], bool], slot: Callable[[int], int], *, store: bool
    ) -> int | None:
        """The stack-argument slot that the BPF instruction at hand moves, None when it moves none."""
        insn = self._insn()
        if insn is None or not shape(insn.code, insn.dst if store else insn.src, insn.off):
            return None
        return slot(insn.off)

    def _insn(self) -> Insn | None:
        site = self._code.site(self._pc)
        if site is None or site.insn is None or site.program is None:
            return None
        return site.program.insns[site.insn]

    def _owner(self, addr: int) -> str:
        """In words, what the word at `addr` is."""
        for act in reversed(self.frames):
            owner = act.owner(addr)
            if owner:
                return owner
        return "the frames of the kernel"

    # ---- results

    @property
    def exhausted(self) -> bool:
        """Whether the run went on unwatched."""
        return self._steps > STEPS

    def writer(self, reg: str) -> Site | None:
        """What wrote a callee-saved register last in the function that has just returned."""
        found = [act.writers[reg] for act in self.frames[-1:] if reg in act.writers]
        return self._code.site(found[0]) if found else None

    def _violate(
        self, check: str, expected: int | None, found: int, what: str, key: tuple[int, object]
    ) -> None:
        once = (check, key[0], hash(key[1]))
        if once in self._seen:
            return
        self._seen.add(once)
        site = self._code.site(self._pc)
        name = self.frames[-1].function.name
        self._report([checks.violation(check, site, name, expected, found, what)])
