"""The conversation with stubs: records of calls, answers of the world, callbacks on the way.

A helper that calls back is a generator; it waits here, on a list, while native code runs its callback, which may call
helpers itself. What stubs recorded is the program's to forge: everything is looked up or bounds-checked.
"""

import struct
from collections.abc import Generator
from dataclasses import dataclass, replace

from bpf import isa
from emu.outcome import CallRecord, Entry, Violation
from emu.runtime.callback import Callback
from emu.runtime.memory import GuestFault
from emu.runtime.traps import HelperTrap
from emu.runtime.world import World
from emu.sandbox import addresses, checks, control, exceptions, frames, redzone, stubs
from emu.sandbox.callees import MAX_ARGS, Callee
from emu.sandbox.checks import Checks
from emu.sandbox.control import Record
from emu.sandbox.entries import Entries
from emu.sandbox.entry import entry_rsp
from emu.sandbox.images import CodeMap, Site
from emu.sandbox.machine import Machine
from emu.sandbox.precise import Watch

LIMIT = 100_000  # records of one run; later calls are only counted
_WORD = struct.Struct("<Q")


@dataclass(slots=True, eq=False)
class Row:
    """A call. frames: frame pointers, innermost first; owned: gates of their functions, where that matters; rsp: at the
    stub; entered: calls of BPF functions before it."""

    site: Site | None
    callee: Callee
    args: tuple[int, ...]
    frames: tuple[int, ...]
    rsp: int
    entered: int
    ret: int = 0
    owned: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class Waiting:
    """A helper between two callbacks. saved: the caller's callee-saved registers; target: function called back."""

    run: Generator[Callback, int, int]
    row: Row
    record: Record
    target: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a conversation ended the run."""

    kind: str
    why: str
    site: Site | None


def _red_zone(code: CodeMap) -> list[Violation]:
    """What a look at the code of our own programs shows; precise mode sees it happen."""
    return [
        checks.violation("below-rsp", code.site(one.addr + off), one.name, 0, 0, f"access below rsp ({text})")
        for one in code.gated
        for off, text in redzone.accesses(one)
    ]


class Conversation:
    """All calls of one run after the other."""

    def __init__(
        self, machine: Machine, world: World, code: CodeMap, callees: dict[int, Callee], rules: Checks
    ) -> None:
        self.machine = machine
        self.world = world
        self.code = code
        self.callees = callees  # by stub address
        self.rules = rules
        self.entries = Entries(code, rules)
        self._watch: Watch | None = None
        self._static = [] if machine.precise or rules.red_zone else _red_zone(code)
        self.begin()

    def begin(self) -> None:
        """Forget the run before."""
        self.rows: list[Row] = []
        self.entries.begin()
        self.latest: Row | None = None
        self.dropped = 0
        self.violations: list[Violation] = list(self._static)
        self.ended: Ended | None = None
        self._waiting: list[Waiting] = []

    def close(self) -> None:
        """The run is over; helpers that still wait are told so."""
        while self._waiting:
            self._waiting.pop().run.close()

    def collect(self) -> None:
        """A round is over: take the calls of BPF functions from the log."""
        watched = self._watch is not None and not self._watch.exhausted
        self._violate(self.entries.collect(self.machine.gates, watched=watched))

    def _entered(self) -> int:
        return self.entries.count + self.machine.gates.count

    # ---- the stubs' questions

    def ask(self) -> bool:
        """Answer the stub that asks; False ends the run, `ended` says why."""
        record = self.machine.control.record()
        if record.state == control.RETURNED:
            return self._returned(record)
        addr = addresses.STUBS + record.id * addresses.STUB_SIZE
        if record.state == control.QUIET_CALL:
            addr = self.machine.quiet
        callee = self.callees.get(addr)
        if callee is None or not addresses.STACK <= record.rsp <= frames.TOP - 8 or record.rsp % 8:
            return self._end("call", "a stub was entered by something that is no call of it", self._last())
        return self._called(record, callee, addr)

    def _called(self, record: Record, callee: Callee, addr: int) -> bool:
        stack = self.machine.stack
        at = record.rsp - addresses.STACK
        (ret,) = _WORD.unpack_from(stack, at)
        site = self.code.call_site(ret, addr)
        if site is None and not self.code.is_sibling_call(ret):
            site = self.code.site(ret - 1)
            self._violate([checks.return_address(site, callee.name, ret)])
        self._violate(checks.at_call(record.rsp, record.flags, self.rules, site, callee.name))
        words = callee.stack_words
        if at + 8 + 8 * words > len(stack):
            return self._end("stack", f"arguments of {callee.name} lie outside of the native stack", site)
        args = record.args
        if words:
            args += struct.unpack_from(f"<{words}Q", stack, at + 8)
            poison = (addresses.POISON_WORD + 7 + i for i in range(words))
            row = self._row(site, callee, record, args[: callee.nargs])
            done = self._ask_world(row, callee, record, args)
            struct.pack_into(f"<{words}Q", stack, at + 8, *poison)
            return done
        if record.state == control.QUIET_CALL:
            args = ((record.saved[1] + record.r10) & isa.U64,)
        row = self._row(site, callee, record, args[: callee.nargs])
        return self._ask_world(row, callee, record, args)

    def _row(self, site: Site | None, callee: Callee, record: Record, args: tuple[int, ...]) -> Row:
        row = self.latest = Row(
            site,
            callee,
            args,
            frames.behind_gates(self.machine.gates),
            record.rsp,
            self._entered(),
        )
        if self.code.private:
            row.owned = frames.owners(self.machine.gates)
        if callee.kind != "internal":
            if self._watch is None:  # precise mode has said so, and where it matters
                self._violate(checks.passed_nothing(args, 1, site, callee.name))
            if callee.proto is not None:
                self._violate(checks.narrow_arguments(args, callee.proto, self.rules, site, callee.name))
            if len(self.rows) >= LIMIT:
                self.dropped += 1
            elif callee.kind != "unknown":  # nobody knows the arguments of such a one
                self.rows.append(row)
        return row

    def _ask_world(self, row: Row, callee: Callee, record: Record, args: tuple[int, ...]) -> bool:
        if callee.name == exceptions.THROW:
            return self._throw(row)
        try:
            result = callee.ask(self.world, args + (0,) * (MAX_ARGS - len(args)))
        except GuestFault as fault:
            return self._end("helper", f"{callee.name}: {fault}", row.site)
        except HelperTrap as trap:
            return self._end(trap.kind, trap.why, row.site)
        if isinstance(result, int):
            return self._answer(row, record, result)
        self._waiting.append(Waiting(result, row, record))
        return self._resume(None)

    def _answer(self, row: Row, record: Record, result: int) -> bool:
        result &= isa.U64
        row.ret = 0 if row.callee.void else result
        if row.callee.proto is not None:
            result = checks.dirtied(result, row.callee.proto, self.rules, row.callee.name)
        quiet = record.state == control.QUIET_CALL
        value = addresses.POISON["rax"] if row.callee.void else result
        self.machine.control.answer(control.RETURN_QUIET if quiet else control.RETURN, value)
        return True

    def _throw(self, row: Row) -> bool:
        """bpf_throw: all activations are left, and the exception callback goes on in the frame of the main program."""
        try:
            gates = self.machine.gates
            rsp = (gates.shadow(0).rsp if gates.depth else row.rsp) + 8  # behind the return address
            way = exceptions.way_out(self.code, self.machine.stack, row.args[0], rsp)
        except HelperTrap as trap:
            return self._end(trap.kind, trap.why, row.site)
        self.close()
        gates.unwind(entry_rsp())
        if self._watch is not None:
            self._watch.thrown()
        registers = {"rsp": row.rsp, **way.registers}
        self.machine.control.leave(way.target, registers)
        return True

    # ---- callbacks

    def _returned(self, record: Record) -> bool:
        if not self._waiting:
            return self._end("call", "a callback returned that nobody called", self._last())
        waiting = self._waiting[-1]
        function = self.code.function_at(waiting.target)
        name = function.name if function else ""
        site = self.code.site(waiting.target)
        rsp = waiting.record.rsp - 8 * (len(checks.SAVED_REGISTERS) + stubs.WORDS)
        expected = tuple(
            waiting.record.saved[1] if reg == "rbp" else addresses.SENTINELS[reg]
            for reg in checks.SAVED_REGISTERS
        )
        broken = checks.saved_registers(record.saved, expected, site, name)
        broken += checks.flags(record.flags, site, name)
        misplaced = checks.stack_pointer(record.rsp, rsp, site, name)
        if self.code.gate(waiting.target) == waiting.target:  # else its gate has said so
            self._violate(broken + misplaced)
        if misplaced:
            return self._end(
                "stack", "the callback returned with another stack pointer than it was given", site
            )
        return self._resume(record.rax)

    def _resume(self, value: int | None) -> bool:
        waiting = self._waiting[-1]
        site = waiting.row.site
        try:
            request = next(waiting.run) if value is None else waiting.run.send(value)
        except StopIteration as end:
            self._waiting.pop()
            return self._answer(waiting.row, waiting.record, end.value)
        except GuestFault as fault:
            return self._end("helper", f"{waiting.row.callee.name}: {fault}", site)
        except HelperTrap as trap:
            return self._end(trap.kind, trap.why, site)
        if request.func not in self.code.numbers:
            return self._end("call", f"the callback at {request.func:#x} is no function of the program", site)
        waiting.target = request.func
        args = tuple(word & isa.U64 for word in request.args[:5])
        self.entries.called_back(self.machine.gates.count, site)
        self.machine.control.call(self.code.gate(request.func), args + (0,) * (5 - len(args)))
        return True

    @property
    def calling_back(self) -> list[int]:
        """Addresses of the stubs whose helpers wait for a callback, outermost first."""
        return [addresses.STUBS + one.record.id * addresses.STUB_SIZE for one in self._waiting]

    # ---- the gates' complaint

    def broken(self) -> None:
        """A BPF function has returned, and something is not as its caller left it."""
        gates, cpu = self.machine.gates, self.machine.cpu
        shadow = gates.shadow(gates.depth)
        function = self.code.behind_gate(shadow.gate)
        name = function.name if function else ""
        site = self.code.site(shadow.ret - 1) or (self.code.site(function.addr) if function else None)
        saved = tuple(cpu.read(reg) for reg in checks.SAVED_REGISTERS)
        found = checks.saved_registers(saved, shadow.saved, site, name)
        found = self.located(found)
        found += checks.stack_pointer(cpu.read("rsp") - 8, shadow.rsp, site, name)
        found += checks.flags(gates.flags, site, name)
        self._violate(found)

    def located(self, found: list[Violation]) -> list[Violation]:
        """In precise mode, where what was found in a register came from; else as it is."""
        return found if self._watch is None else [self._located(one) for one in found]

    def _located(self, found: Violation) -> Violation:
        """In precise mode a lost register's violation is at the instruction that wrote it last."""
        assert self._watch is not None
        writer = self._watch.writer(found.message.rpartition("callee-saved ")[2].partition(" ")[0])
        if writer is None:
            return found
        message = f"{writer.text()}: writes what it does not give back; seen at {found.message}"
        return replace(
            found,
            insn=writer.insn,
            native=writer.function.addr + writer.off,
            func=writer.function.name,
            message=message,
        )

    # ---- precise mode

    def watch(self) -> None:
        """Before a round: on a machine of precise mode follow every instruction."""
        if not self.machine.precise or not self.code.gated:
            return
        if self._watch is None:
            self._watch = Watch(self.machine, self.code, self.callees.get, self._violate, self.rules.red_zone)
        self._watch.begin()
        self.machine.on_step, self.machine.on_stack = self._watch.step, self._watch.access

    # ---- bookkeeping

    def _last(self) -> Site | None:
        """Of the latest call: the nearest thing that is known where the program lost its way in our code."""
        return self.latest.site if self.latest else None

    def _end(self, kind: str, why: str, site: Site | None) -> bool:
        self.ended = Ended(kind, why, site)
        return False

    def _violate(self, found: list[Violation]) -> None:
        if found and len(self.violations) < checks.MAX_VIOLATIONS:
            self.violations += found

    def records(self) -> tuple[CallRecord, ...]:
        """All calls as they leave the engine."""
        return tuple(
            CallRecord(
                row.site.insn if row.site else None,
                row.callee.name,
                "kfunc" if row.callee.kind == "kfunc" else "helper",
                row.args,
                tuple(frames.pointer(arg, row.frames, row.rsp, self.code, row.owned) for arg in row.args),
                row.ret,
                max(len(row.frames) - 1, 0),
                len(row.args),
            )
            for row in self.rows
        )

    def entered(self) -> tuple[Entry, ...]:
        """All calls of BPF functions as they leave the engine."""
        return self.entries.records([row.entered for row in self.rows])
