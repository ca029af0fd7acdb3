"""The native engine: a compiled program, a world and a machine, run after run.

Sets everything up once; a run is then one native call. Knows all of the sandbox's parts and nothing of their insides.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from time import monotonic

from bpf import isa
from bpf.errors import InputError
from bpf.maps import MapType
from bpf.program import RunInput
from emu.outcome import RunResult, Trap, Violation
from emu.runtime.helpers.time_and_ids import CURRENT_TASK
from emu.runtime.traps import RunRefused
from emu.runtime.world import World
from emu.sandbox import addresses, checks, images, traps
from emu.sandbox.callees import Callee, callee_of
from emu.sandbox.calls import Conversation
from emu.sandbox.checks import Checks
from emu.sandbox.confirm import Confirmer
from emu.sandbox.images import CodeMap, Function
from emu.sandbox.machine import Machine, Stop
from jit.image import Image, Layout
from jit.profile import DEFAULT, Profile

_USUAL = Checks()
_NO_IMAGES: Mapping[str, Image] = {}
_OTHER_FRAME = (isa.MAX_STACK + 128) // 8  # words: a program's stack, and what may be saved above it
_PROG_STRUCT = 256  # bytes of a struct bpf_prog that native code may look at: only bpf_func is filled in


class Sandbox:
    """Runs one image. The world's memory must be the machine's; several sandboxes may take turns on one machine.

    programs: images of the programs that prog arrays hold, by name. seconds: wall clock of one run. layout, codes: where
    and what the main image became. Raises InputError when the image cannot be placed.
    """

    def __init__(
        self,
        machine: Machine,
        world: World,
        image: Image,
        *,
        seconds: float = 2.0,
        rules: Checks | None = None,
        programs: Mapping[str, Image] = _NO_IMAGES,
        profile: Profile = DEFAULT,
    ) -> None:
        count = len(image.verified.program.maps)
        found = images.load(
            machine,
            [(world.program.name, image), *programs.items()],
            tuple([world.map_pointer(i) for i in range(count)]),
            tuple([_values(world, (image, *programs.values()), i) for i in range(count)]),
            profile.tail_call_offset,
        )
        self.layout: Layout = found.layout
        self.codes: tuple[bytes, ...] = found.codes
        chunks = [(one.addr, one.code) for one in found.functions]
        self._entries: dict[str, int] = {}
        if programs:
            self._entries, blob = _prog_structs(found, profile)
            chunks.append((min(self._entries.values()), blob))
        self._profile = profile
        self._setup(machine, world, found.functions, chunks, seconds, rules)

    @classmethod
    def of_bytes(
        cls,
        machine: Machine,
        world: World,
        functions: Sequence[tuple[str, int, bytes]],
        *,
        seconds: float = 2.0,
        rules: Checks | None = None,
    ) -> "Sandbox":
        """Foreign native code: (name, address, bytes), the main function at IMAGE.

        Calls of helpers and kfuncs in it go to `machine.symbol(name)`. Raises InputError when code lies outside of the image area.
        """
        self = cls.__new__(cls)
        self.layout = Layout(tuple(addr for _, addr, _ in functions), {})
        self.codes = tuple(code for _, _, code in functions)
        end = addresses.IMAGE + addresses.IMAGE_SIZE
        for name, addr, code in functions:
            if addr < addresses.IMAGE or addr + len(code) > end:
                raise InputError(name, f"{addr:#x}", "lies outside of the image area")
        self._entries = {}
        self._profile = DEFAULT
        placed = tuple(Function(addr, code, name) for name, addr, code in functions)
        self._setup(machine, world, placed, [(addr, code) for _, addr, code in functions], seconds, rules)
        return self

    def _setup(
        self,
        machine: Machine,
        world: World,
        functions: tuple[Function, ...],
        chunks: list[tuple[int, bytes]],
        seconds: float,
        rules: Checks | None,
    ) -> None:
        self.machine = machine
        self.world = world
        self.seconds = seconds
        self.code = CodeMap(functions)
        self._main = functions[0]
        self._reads_clock = "jiffies" in self.layout.symbols
        self._chunks = chunks
        self._fixups = {
            function.addr + off: (length, register)
            for function in functions
            if function.image is not None and (table := function.image.functions[function.number].extable)
            for off, length, register in table
        }
        addresses_of = {insn: addr for addr, insn in self.code.targets.items()}
        world.place_code(lambda insn: addresses_of.get(insn, 0))
        self._gated = [(one.addr, *_stack_words(one)) for one in self.code.gated]
        self._rules = rules or _USUAL
        self._confirmer: Confirmer | None = None

    @cached_property
    def conversation(self) -> Conversation:
        """The calls of the run that is under way."""
        return Conversation(self.machine, self.world, self.code, _Callees(self.machine), self._rules)

    def confirm(self, runs: Sequence[RunInput], wanted: Sequence[RunResult]) -> bool:
        """Whether `run` would give what is wanted of each, and no violation: much faster than to run and to compare.

        wanted: of another engine, without the calls that native code does not make. The world is as before its first run; what it
        holds afterwards is to be compared, too. False where this way cannot tell: then make world and sandbox anew, and run.
        """
        if self._entries or self._reads_clock:
            return False
        machine = self.machine
        machine.load(self, self._chunks, self._fixups, self._gated)
        machine.set_variable("current_task", CURRENT_TASK)
        machine.watchdog.seconds = self.seconds
        if self._confirmer is None:
            self._confirmer = Confirmer(machine, self.world, self.code, self.layout.symbols, self._rules)
        return self._confirmer.confirm(runs, wanted)

    @property
    def violations(self) -> Sequence[Violation]:
        """What was found so far in the run that is under way, or in the last one."""
        return self.conversation.violations

    def run(self, run: RunInput) -> RunResult:
        """One BPF_PROG_TEST_RUN. Whatever the program does ends in a result, if need be one with a trap."""
        try:
            ctx = self.world.begin(run)
        except RunRefused as refused:
            return RunResult(refused.errno, 0, 0)
        calls = self.conversation
        calls.begin()
        self._fill_prog_arrays()
        self.machine.set_variable("current_task", CURRENT_TASK)
        for low, top in self.code.private.values():
            self.machine.fill_variable(low, top)
            self.machine.lend_variable(low, top)
        trap = None
        r0 = 0
        rounds = max(1, self.world.rounds)
        deadline = monotonic() + self.seconds - self.machine.idle
        for done_before in range(rounds):
            if done_before and monotonic() - self.machine.idle > deadline:  # the watchdog sees one round only
                trap = Trap(
                    "budget", None, f"the run took more than {self.seconds} s, in {done_before} rounds"
                )
                break
            r0, trap = self._once(ctx)
            if trap is not None:
                break
        records, violations = calls.records(), tuple(calls.violations)
        entries, entries_dropped = calls.entered(), calls.entries.dropped
        if trap is not None:
            return RunResult(
                "OK",
                0,
                0,
                calls=records,
                trap=trap,
                violations=violations,
                calls_dropped=calls.dropped,
                entries=entries,
                entries_dropped=entries_dropped,
            )
        done = self.world.finish(r0)
        return RunResult(
            done.errno,
            done.retval,
            r0,
            done.data_out,
            done.ctx_out,
            records,
            None,
            violations,
            calls_dropped=calls.dropped,
            entries=entries,
            entries_dropped=entries_dropped,
        )

    def _once(self, ctx: int) -> tuple[int, Trap | None]:
        machine, calls = self.machine, self.conversation
        machine.load(self, self._chunks, self._fixups, self._gated)
        self._set_clock()
        machine.on_ask = self._ask if self._reads_clock else calls.ask
        machine.on_broken = calls.broken
        calls.watch()
        machine.watchdog.seconds = self.seconds
        try:
            stop = machine.execute(ctx)
        finally:
            machine.on_ask = machine.on_broken = machine.on_step = machine.on_stack = None
            calls.close()
            calls.collect()
        if stop.done:
            found = machine.control.exit()
            broken = checks.at_exit(found, self._main.name)
            if broken:
                calls.violations += calls.located(broken)
                machine.restore()
            return found.rax, None
        return 0, self.trap(stop)

    def trap(self, stop: Stop) -> Trap:
        """Why the run that is under way stopped."""
        machine, calls = self.machine, self.conversation
        ended = calls.ended
        if stop.asked and ended is not None:
            native = ended.site.function.addr + ended.site.off if ended.site else None
            return traps.describe(ended.kind, ended.why, native, ended.site, machine)
        return traps.trap_of(
            stop, machine, self.code, self.seconds, calls.latest.site if calls.latest else None
        )

    def _set_clock(self) -> None:
        """jiffies is a variable that native code may read by itself; the clock moves when helpers ask for it."""
        if self._reads_clock:
            self.machine.set_variable("jiffies", self.world.env.jiffies())

    def _ask(self) -> bool:
        goes_on = self.conversation.ask()
        self._set_clock()
        return goes_on

    def _fill_prog_arrays(self) -> None:
        """Pointers to programs, where native tail calls look for them."""
        if not self._entries:
            return
        memory, offset = self.world.memory, self._profile.ptrs_off
        for index, spec in enumerate(self.world.program.maps):
            if spec.type != MapType.PROG_ARRAY:
                continue
            addr = self.world.map_pointer(index)
            arena = next(a for a in memory.arenas.values() if a.base <= addr < a.base + a.size)
            for at, _ in spec.progs:
                name = self.world.tail_target(addr, at)
                pointer = self._entries.get(name, 0) if name else 0
                low = addr - arena.base + offset + 8 * at
                arena.view[low : low + 8] = pointer.to_bytes(8, "little")


class _Callees(dict[int, Callee]):
    """Stub address -> callee, found at its first call."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def get(self, addr: int, default: Callee | None = None) -> Callee | None:  # type: ignore[override]
        found = super().get(addr)
        if found is None:
            name = self._machine.symbol_at(addr)
            if name is None:
                return default
            found = self[addr] = callee_of(name)
        return found


def _stack_words(function: Function) -> tuple[int, int]:
    """How many arguments of a BPF function lie on the stack, those behind the sixth, and how many words of it are its own.

    The gate fills these as a fresh stack is, so that nobody reads what an earlier call left. Where they are is known of
    frames of the kernel's kind; of others what lies below the return address is filled, however they divide it.
    """
    assert function.image is not None
    sub, native = function.image.verified.subprogs[function.number], function.image.functions[function.number]
    depth = 0 if sub.private_stack else -(-max(sub.stack_depth, native.frame.stack_depth) // 8)
    return max(sub.in_stack_args - 1, 0), depth if native.offsets or native.prologue else _OTHER_FRAME


def _values(world: World, loaded: Sequence[Image], index: int) -> int:
    """Address of a map's values, 0 where nothing in the images asks for it."""
    relocs = (r for image in loaded for function in image.functions for r in function.relocs)
    if any(r.kind == "mapval" and r.target == index for r in relocs):
        return world.map_value(index, 0)
    return 0


def _prog_structs(found: images.Loaded, profile: Profile) -> tuple[dict[str, int], bytes]:
    """A struct bpf_prog for every image that a prog array may hold: addresses by name, and their bytes."""
    base = -(-max(one.end for one in found.functions) // _PROG_STRUCT) * _PROG_STRUCT + _PROG_STRUCT
    structs: dict[str, int] = {}
    blob = bytearray()
    for name, entry in found.entries.items():
        structs[name] = base + len(blob)
        one = bytearray(_PROG_STRUCT)
        one[profile.bpf_func_off : profile.bpf_func_off + 8] = entry.to_bytes(8, "little")
        blob += one
    return structs, bytes(blob)
