"""The hot loop, and what stands around it: a run from its input to its result.

The loop tests the kinds of ops with if chains, in three groups with the frequent kinds first: of the shapes that
were measured, the fastest that needs no generated code. What leaves a function goes through a handler (kind CALL_OUT) and through
the list of frames; the loop itself never recurses.
"""

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

from bpf import isa
from bpf.disasm import disasm
from bpf.errors import InternalError
from bpf.isa import U64
from bpf.program import RunInput
from emu.interp.decode import decode
from emu.interp.layout import STACK_TOP, code_address
from emu.interp.ops import (
    ADD_K,
    ADD_X,
    ALU_X,
    CALL_OUT,
    JA,
    JEQ_K,
    JMP_K,
    JMP_X,
    JNE_K,
    LD64,
    LDX,
    LOAD_ARG,
    MOV_K,
    MOV_X,
    ST,
    STORE_ARG,
    STORE_ARG_K,
    STX,
)
from emu.interp.state import Frame, Machine, Stop, Unit
from emu.interp.undefined import undefined_register
from emu.outcome import RunResult, Trap
from emu.runtime.memory import GuestFault
from emu.runtime.traps import HelperTrap, RunRefused
from emu.runtime.world import World

_CHUNK = 1 << 16  # instructions between two looks at the clock


def _unit(world: World, units: dict[str, Unit], name: str) -> Unit:
    """Another program of the world, decoded when it is first needed. units: those that were."""
    unit = units.get(name)
    if unit is None:
        program = world.programs.get(name)
        if program is None:
            raise Stop("call", f"a tail call of {name}, which is not there")
        unit = units[name] = decode(program, world)
    return unit


class Interpreter:
    """Runs the program of a world, instruction by instruction, as it was given: before any rewriting.

    budget: instructions of one run (all its repetitions). seconds: None, or how long a run may take; it is looked
    at every 65536 instructions. fill: the byte that stacks are filled with when a function is entered. top: frame pointer of
    the main program; a number that depends on it is part of an address. observer: called before each instruction with the frames, outermost first, whose `pc` are then up to date; slow. in_arena: instructions that
    go through an arena (`Verified.in_arena`).
    """

    def __init__(
        self,
        world: World,
        *,
        budget: int = 4_000_000,
        seconds: float | None = None,
        fill: int = 0xA5,
        top: int = STACK_TOP,
        observer: Callable[[Sequence[Frame]], None] | None = None,
        in_arena: frozenset[int] = frozenset(),
    ) -> None:
        self.world = world
        self.budget = budget
        self.seconds = seconds
        self._observer = observer
        self._machine = Machine(world, partial(_unit, world, {}), fill, top)
        world.place_code(code_address)
        self._main = decode(world.program, world, in_arena)
        self._executed = 0
        self._deadline = 0.0

    def run(self, run: RunInput) -> RunResult:
        """One BPF_PROG_TEST_RUN. Whatever the program does ends in a result, if need be one with a trap.

        A run that the kernel would refuse has its errno and nothing else. At most records.LIMIT calls are kept;
        `calls_dropped` counts those behind.
        """
        machine = self._machine
        try:
            ctx = self.world.begin(run)
        except RunRefused as refused:
            return RunResult(refused.errno, 0, 0)
        machine.recorder.begin()
        self._executed = 0
        self._deadline = 0.0 if self.seconds is None else monotonic() + self.seconds
        trap = None
        try:
            for _ in range(max(1, self.world.rounds)):
                trap = self._execute(machine.begin(self._main, ctx))
                if trap is not None:
                    break
        finally:
            machine.unwind()
        calls = machine.recorder.records()
        dropped = machine.recorder.dropped
        entries, entries_dropped = machine.recorder.entered(), machine.recorder.entries_dropped
        if trap is not None:
            return RunResult(
                "OK",
                0,
                0,
                calls=calls,
                trap=trap,
                insns=self._executed,
                calls_dropped=dropped,
                entries=entries,
                entries_dropped=entries_dropped,
            )
        done = self.world.finish(machine.result)
        return RunResult(
            done.errno,
            done.retval,
            machine.result,
            done.data_out,
            done.ctx_out,
            calls,
            insns=self._executed,
            calls_dropped=dropped,
            entries=entries,
            entries_dropped=entries_dropped,
        )

    def _execute(self, frame: Frame) -> Trap | None:
        """From `frame` to the end of the main program, or to a trap."""
        while self._executed < self.budget:
            if self._deadline and monotonic() > self._deadline:
                return self._trap(frame, "budget", f"the run took more than {self.seconds} s")
            count = min(_CHUNK, self.budget - self._executed)
            if self._observer is not None:
                self._observer(self._machine.frames)
                count = 1
            try:
                following = self._steps(frame, count)
            except Stop as stop:
                return self._trap(None, stop.kind, stop.why, stop.insn)
            except GuestFault as fault:
                return self._trap(None, "access", str(fault))
            except HelperTrap as refusal:
                return self._trap(None, refusal.kind, refusal.why)
            except TypeError as error:
                return self._undefined(error)
            if following is None:
                return None
            frame = following
        return self._trap(frame, "budget", f"more than {self.budget} instructions")

    def _undefined(self, error: TypeError) -> Trap:
        """Arithmetic met None. Raises InternalError when that was not an undefined register's."""
        frame = self._machine.frames[-1]
        register = undefined_register(frame.unit.program.insns[frame.pc - 1], frame.regs)
        if register is None:
            raise InternalError(f"insn {frame.pc - 1}: {error}") from error
        return self._trap(None, "uninitialized", f"r{register} is not defined")

    def _trap(self, frame: Frame | None, kind: str, why: str, insn: int | None = None) -> Trap:
        """A trap at `insn`, at the instruction that `frame` would execute next, or at the one just executed."""
        if frame is None:
            frame = self._machine.frames[-1]
            at = frame.pc - 1 if insn is None else insn
        else:
            at = frame.pc
        program = frame.unit.program
        insns = program.insns
        if not 0 <= at < len(insns):
            return Trap(kind, None, why)
        kfunc = next((ref.name for ref in program.kfuncs if ref.insn == at), None)
        nxt = insns[at + 1] if at + 1 < len(insns) else None
        text = disasm(insns[at], nxt) if kfunc is None else f"call {kfunc}"
        return Trap(kind, at, f"insn {at}: {text}: {why}")

    def _steps(self, frame: Frame, count: int) -> Frame | None:  # noqa: C901 - one dispatch, and a hot one: a call for each op would halve its speed
        """Up to `count` instructions. The frame to go on with, None when the main program is over.

        Raises Stop, GuestFault, HelperTrap, or TypeError for an undefined register; then the innermost frame's pc
        is behind the instruction at fault.
        """
        machine = self._machine
        find = machine.memory.find
        code, regs, pc = frame.unit.code, frame.regs, frame.pc
        low, stack = frame.low, frame.region.view
        done = 0
        kind = JA
        try:
            for done in range(1, count + 1):  # noqa: B007 - counted up to the exception, if there is one
                kind, a, b, c, e = code[pc]
                pc += 1
                if kind < ALU_X:
                    if kind == ADD_K:
                        regs[a] = (regs[a] + c) & U64
                    elif kind == MOV_X:
                        value = regs[b]
                        if value is None:
                            raise TypeError
                        regs[a] = value
                    elif kind == LDX:
                        last, unpack, size = e
                        off = regs[b] + c - low
                        if 0 <= off <= last:
                            (regs[a],) = unpack(stack, off)
                        else:
                            addr = (off + low) & U64
                            region = find(addr, size, "read")
                            (regs[a],) = unpack(region.view, addr - region.base)
                    elif kind == STX:
                        last, pack, size, mask = e
                        off = regs[a] + c - low
                        value = regs[b] & mask
                        if 0 <= off <= last:
                            pack(stack, off, value)
                        else:
                            addr = (off + low) & U64
                            region = find(addr, size, "write")
                            pack(region.view, addr - region.base, value)
                    elif kind == JNE_K:
                        value = regs[a]
                        if value != c:
                            if value is None:
                                raise TypeError
                            pc = e
                    elif kind == JEQ_K:
                        value = regs[a]
                        if value == c:
                            pc = e
                        elif value is None:
                            raise TypeError
                    else:  # ALU_K
                        regs[a] = e(regs[a], c)
                elif kind < LD64:
                    if kind == ALU_X:
                        regs[a] = e(regs[a], regs[b])
                    elif kind == ADD_X:
                        regs[a] = (regs[a] + regs[b]) & U64
                    elif kind == MOV_K:
                        regs[a] = c
                    elif kind == JMP_K:
                        if b(regs[a], c):
                            pc = e
                    elif kind == JMP_X:
                        if c(regs[a], regs[b]):
                            pc = e
                    else:  # JA
                        pc = e
                else:
                    if kind == LD64:
                        regs[a] = c
                        pc += 1
                    elif kind == CALL_OUT:
                        frame.pc = pc
                        following = a(machine, frame, code[pc - 1])
                        if following is None:
                            return None
                        frame = following
                        code, regs, pc = frame.unit.code, frame.regs, frame.pc
                        low, stack = frame.low, frame.region.view
                    elif kind == ST:
                        last, pack, size, value = e
                        off = regs[a] + c - low
                        if 0 <= off <= last:
                            pack(stack, off, value)
                        else:
                            addr = (off + low) & U64
                            region = find(addr, size, "write")
                            pack(region.view, addr - region.base, value)
                    elif kind == LOAD_ARG:
                        value = frame.incoming[b] if b < isa.MAX_STACK_ARG_SLOTS else None
                        if value is None:
                            raise Stop("uninitialized", f"stack argument {b + 6} was not passed")
                        regs[a] = value
                    elif kind == STORE_ARG:
                        value = regs[b]
                        if value is None:
                            raise TypeError
                        frame.out[a] = value
                    elif kind == STORE_ARG_K:
                        frame.out[a] = c
                    else:  # LDSX
                        last, unpack, size = e
                        off = regs[b] + c - low
                        if 0 <= off <= last:
                            regs[a] = unpack(stack, off)[0] & U64
                        else:
                            addr = (off + low) & U64
                            region = find(addr, size, "read")
                            regs[a] = unpack(region.view, addr - region.base)[0] & U64
        finally:
            self._executed += done
            if kind != CALL_OUT:
                frame.pc = pc
        frame.pc = pc
        return frame
