"""Does native code do, run by run, exactly what another engine says? Only the answer, and it is quick.

The other engine's results are the script (script.py): stubs answer with them, without Python on the way, and many runs
are one native call. Afterwards everything that fast mode looks at is looked at: where each call came from, its
arguments, its place among the calls, the registers at every exit, results, packet, context. What a rule says of a
return address, rsp and flags is asked of checks.py once and remembered, because programs repeat themselves.

"No" means: something is different, or a rule is broken, or this way cannot tell (a callee touches memory, the program
reads a clock, a run is cut off). Then `Sandbox.run` says what it is. So it may say no where all is well, but never yes
where `Sandbox.run` would complain.
"""

import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from bpf import isa
from bpf.program import RunInput
from emu.native import function_starts
from emu.outcome import Entry, RunResult
from emu.runtime.memory import Region
from emu.runtime.testrun_base import Finish
from emu.runtime.traps import RunRefused
from emu.runtime.world import World
from emu.sandbox import addresses, checks, control, gates, redzone, script
from emu.sandbox.callees import callee_of
from emu.sandbox.checks import Checks
from emu.sandbox.exceptions import THROW
from emu.sandbox.images import CodeMap
from emu.sandbox.machine import Machine
from emu.sandbox.script import Ran, Run

_AT_ONCE: Final = 256  # runs of one native call
_OBJECTS: Final = ("packet", "ctx", "heap")
_after: Final = attrgetter("after")
_clean_exits: set[bytes] = set()  # all but rax, of any program: they differ in arithmetic flags only
_PADDING: Final = tuple(bytes(-size % 8) for size in range(8))  # to whole words
_WORDS: Final = tuple(struct.Struct(f"<{count}Q") for count in range(15))
_TOP: Final = addresses.STACK + addresses.STACK_SIZE


@dataclass(frozen=True, slots=True)
class _Gate:
    """A call of a function of the program. start: first instruction of the function; args: how many it has; rbp: the caller's."""

    insn: int | None
    start: int
    args: int
    depth: int
    rbp: int


class Confirmer:
    """For one program in place; remembers what it has looked at. symbols: addresses of what it calls, by name."""

    def __init__(
        self, machine: Machine, world: World, code: CodeMap, symbols: Mapping[str, int], rules: Checks
    ) -> None:
        self._machine = machine
        self._world = world
        self._code = code
        self._rules = rules
        self._calls: dict[bytes, int | None] = {}
        self._entries: dict[bytes, _Gate | None] = {}
        self._stubs = _stubs(symbols)
        self._starts: tuple[int, ...] = ()  # of the program's functions; there is one program only
        self._fits = not (rules.extended or rules.dirty or machine.precise) and not any(
            one.image is None or redzone.accesses(one) for one in code.functions
        )

    def confirm(self, runs: Sequence[RunInput], wanted: Sequence[RunResult]) -> bool:
        """Whether each run gives what is wanted of it. The program is loaded; its world is as before its first run."""
        at = 0
        while at < len(runs) and self._fits:
            count = self._some(runs, wanted, at)
            if not count:
                return False
            at += count
        return self._fits

    def _some(self, runs: Sequence[RunInput], wanted: Sequence[RunResult], first: int) -> int:
        """Confirm some runs, from `first` on: how many, 0 when one differs."""
        world = self._world
        try:
            ctx = world.begin(runs[first])
        except RunRefused as refused:
            want = wanted[first]
            return int(want.errno == refused.errno and not want.calls and want.trap is None)
        if world.rounds != 1:
            return 0
        # A single run's objects are in place already, and stay there.
        objects = world.memory.within(_OBJECTS) if len(runs) - first > 1 else []
        asked, finishing = self._prepared(runs, wanted, first, objects)
        low = (
            _lowest(self._code) if len(asked) > 1 else script.NO_FILL
        )  # a single run's stack is filled anyway
        places = [(one.base, one.size + (-one.size & 7)) for one in objects]
        while asked and not self._machine.script.write(ctx, places, asked, low):
            del asked[len(asked) // 2 :]
        if not asked or not self._execute(low):
            return 0
        log = 0
        views = _views(objects) if len(asked) > 1 else []
        for run, ran, want, finish in zip(
            asked, self._machine.script.read(), wanted[first:], finishing, strict=False
        ):
            if not ran.whole or not self._called(ran.entries, want, log):
                return self._no()
            log = run.logged
            for view, start, end in views:  # the objects as they were right after this run
                view[:] = ran.objects[start:end]
            if not self._finished(ran, want, finish):
                return self._no()
        return len(asked)

    def _prepared(
        self, runs: Sequence[RunInput], wanted: Sequence[RunResult], first: int, objects: Sequence[Region]
    ) -> tuple[list[Run], list[Finish]]:
        """As many runs from `first` on, which has begun, as can be made in one go, and how their results are made."""
        asked: list[Run] = []
        finishing: list[Finish] = []
        finish, again = self._world.finishing, self._world.again
        pieces = [piece for one in objects for piece in (one.view, _PADDING[one.size & 7]) if piece]
        logged = 0
        for at in range(first, min(first + _AT_ONCE, len(runs))):
            want = wanted[at]
            entries = self._script(want)
            logged += len(want.entries)
            if entries is None or (asked and logged > gates.LIMIT):
                break
            if asked:
                try:
                    finish = again(runs[at])
                except RunRefused:
                    break
            if finish is None:
                break
            asked.append(Run(b"".join(pieces), entries, logged))
            finishing.append(finish)
        return asked, finishing

    def _script(self, want: RunResult) -> bytes | None:
        """The entries of the calls; None where a script cannot say what they do."""
        if want.trap is not None or want.calls_dropped or want.entries_dropped or want.violations:
            return None
        stubs, pack = self._stubs, script.ENTRY.pack
        entries = []
        for call in want.calls:
            stub = stubs.get(call.callee)
            if stub is None or len(call.args) != stub[1]:
                return None
            number, _, words, void = stub
            entries.append(pack(call.ret if void is None else void, words, number))
        entries.append(script.NO_ENTRY)
        return b"".join(entries)

    # ---- natively

    def _execute(self, low: int) -> bool:
        """All runs of the script; whether nothing came between, and no run touched the stack below `low`."""
        machine = self._machine
        broken: list[bool] = []
        machine.on_broken = lambda: broken.append(True)
        try:
            stop = machine.execute_script()
        finally:
            machine.on_broken = None
        if not stop.done or broken or machine.script.left:
            return bool(self._no())
        return low == script.NO_FILL or machine.untouched(low) or bool(self._no())

    def _no(self) -> int:
        self._machine.restore()
        return 0

    # ---- afterwards

    def _called(self, entries: bytes, want: RunResult, log: int) -> bool:
        """Whether all calls are as they should be. log: number of the run's first call in the gates' log."""
        at, known = 0, self._calls
        for number, call in enumerate(want.calls):
            entered = bisect_right(want.entries, number, key=_after) if want.entries else 0
            key = entries[at + script.WHERE : at + script.FOUND]
            insn = known[key] if key in known else self._look(key)
            if insn is None or insn != call.insn:
                return False
            args = call.args
            found = _WORDS[1 + len(args)].pack(gates.LOG_START + (log + entered) * gates.RECORD_SIZE, *args)
            if not entries.startswith(found, at + script.FOUND):
                return False
            at += script.ENTRY_SIZE
        return not want.entries or self._functions(want, log)

    def _functions(self, want: RunResult, log: int) -> bool:
        """Whether the calls of functions in the gates' log, from number `log` on, are those that are wanted."""
        raw = self._machine.gates.raw(log, log + len(want.entries))
        frames: list[int] = []
        for at, entry in enumerate(want.entries):
            record = raw[at * gates.RECORD_SIZE : (at + 1) * gates.RECORD_SIZE]
            head = record[: gates.R_ARGS]
            if head not in self._entries:
                self._entries[head] = self._look_at_gate(head)
            gate = self._entries[head]
            if (
                gate is None
                or (gate.insn, gate.start) != (entry.insn, entry.function)
                or gate.depth > len(frames)
            ):
                return False
            frames[gate.depth :] = [gate.rbp]
            if not _as_wanted(record, entry, gate.args, frames):
                return False
        return True

    def _look(self, key: bytes) -> int | None:
        """The instruction of a call, None when a rule is broken there or none is known."""
        stub, ret, rsp, _, flags = _WORDS[5].unpack(key)
        addr = addresses.STUBS + stub * addresses.STUB_SIZE
        site = self._code.call_site(ret, addr)
        found = None
        in_stack = addresses.STACK <= rsp <= _TOP - 8 and rsp % 8 == 0
        if site is not None and in_stack and not checks.at_call(rsp, flags, self._rules, site, ""):
            found = site.insn
        self._calls[key] = found
        return found

    def _look_at_gate(self, head: bytes) -> _Gate | None:
        """What the head of a gate's record says, None when a rule is broken there or it says nothing."""
        number, ret, shadow, rsp, rbp, flags = _WORDS[6].unpack(head)
        function = self._code.behind_gate(number)
        site = self._code.call_site(ret, gates.gate(number))
        if function is None or site is None or function.image is None:
            return None
        if checks.at_call(rsp, flags, self._rules, site, function.name):
            return None
        verified = function.image.verified
        sub = verified.subprogs[function.number]
        starts = self._starts = self._starts or function_starts(verified.program)
        start = starts[bisect_right(starts, verified.origin[sub.start]) - 1]
        depth = (shadow - gates.SHADOW_START) // gates.ENTRY_SIZE
        return _Gate(site.insn, start, isa.MAX_REG_ARGS + sub.in_stack_args, depth, rbp)

    def _finished(self, ran: Ran, want: RunResult, finish: Finish) -> bool:
        """Whether registers at the exit and results are as they should be."""
        if ran.exit not in _clean_exits:
            if checks.at_exit(control.exit_of(bytes(8) + ran.exit), ""):
                return False
            _clean_exits.add(ran.exit)
        return finish(ran.rax) == (want.errno, want.retval, want.data_out, want.ctx_out)


def _as_wanted(record: bytes, want: Entry, count: int, frames: Sequence[int]) -> bool:
    """Whether a function got the arguments that are wanted, as far as they are known, and gave the result.

    count: of its arguments. frames: frame pointers of all that have called and not returned, outermost first.
    """
    *words, rax, done = _WORDS[14].unpack_from(record, gates.R_ARGS)
    if done != 1 or (want.ret is not None and rax != want.ret):
        return False
    args, wanted = tuple(words[:count]), want.args[:count]
    if args == wanted:
        return True
    for one, shown, other in zip(wanted, want.shown, args, strict=False):
        if shown is not None and shown.space == "stack" and shown.base < len(frames):
            one = frames[shown.base] + shown.off
        if one is not None and one != other:
            return False
    return not checks.passed_nothing(args, isa.MAX_REG_ARGS + 1, None, "")


def _stubs(symbols: Mapping[str, int]) -> dict[str, tuple[int, int, int, int | None]]:
    """Of callees that a script can answer for: number of the stub, arguments, words on the stack, what rax holds if no result."""
    out: dict[str, tuple[int, int, int, int | None]] = {}
    names: set[str] = set()
    twice: set[str] = set()
    for symbol, addr in symbols.items():
        callee = callee_of(symbol)
        if callee.name in names:
            twice.add(callee.name)
        names.add(callee.name)
        number, rest = divmod(addr - addresses.STUBS, addresses.STUB_SIZE)
        if callee.scalar and callee.name != THROW and not rest and 0 <= number < addresses.STUB_COUNT:
            void = addresses.POISON["rax"] if callee.void else None
            out[callee.name] = (number, callee.nargs, callee.stack_words, void)
    for name in twice:
        out.pop(name, None)
    return out


def _lowest(code: CodeMap) -> int:
    """The lowest address of the stack that the program needs, with room to spare, were all functions to call each other."""
    deep = sum(
        one.image.functions[one.number].frame.size + 64 for one in code.functions if one.image is not None
    )
    return max(addresses.STACK, addresses.STACK + addresses.THREAD_SIZE - 256 - -(-deep // 8) * 8)


def _views(objects: Sequence[Region]) -> list[tuple[memoryview, int, int]]:
    """The bytes of each object, and from where to where they lie in a run's."""
    out, at = [], 0
    for one in objects:
        out.append((one.view, at, at + one.size))
        at += one.size + (-one.size & 7)
    return out
