"""One reusable processor: its memory, the native code of ours in it, and how to run something.

Knows addresses and bytes. What the bytes mean, and what a stub's question is about, is the caller's business.
"""

import mmap
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from bpf.errors import InternalError
from emu.runtime import maps_arena
from emu.runtime.memory import Region
from emu.sandbox import addresses, entry, forbidden, gates, native, script, stubs
from emu.sandbox.control import Control
from emu.sandbox.gates import Gates
from emu.sandbox.interrupt import Interruptible
from emu.sandbox.native import Processor
from emu.sandbox.objects import NativeMemory
from emu.sandbox.script import Script
from emu.sandbox.watchdog import Watchdog

_FAULTS = (*native.READ_ERRORS, *native.WRITE_ERRORS)
_WIDEST = 8  # bytes of an access that may fault
_NO_FIXUPS: Mapping[int, tuple[int, str]] = {}
_FLUSH_EVERY = 1000  # loads; forgetting single blocks leaks some 0.7 KB each time


@dataclass(frozen=True, slots=True)
class Stop:
    """Why the processor stopped. done: the entry trampoline came to its end, and nothing else is set.

    error: Unicorn's number; interrupt: number of an exception; forbidden: name of an instruction that was caught;
    addr, size: of a bad access; timeout: stopped by the watchdog; asked: stopped by the caller's `on_ask`.
    """

    done: bool
    rip: int = 0
    rsp: int = 0
    rbp: int = 0
    error: int = 0
    interrupt: int | None = None
    forbidden: str = ""
    addr: int | None = None
    size: int = 0
    timeout: bool = False
    asked: bool = False


class Machine:
    """A processor at user privilege with everything mapped. One a process is enough; not for two threads.

    seconds: wall clock after which a run is stopped. `on_ask` is called when a stub wants an answer; it reads
    `control.record()`, writes an answer, and returns True to go on or False to stop the run. `on_broken` is called when a
    BPF function returned to its gate and something is not as it was. precise: `on_step` is called before each instruction
    of the image, `on_stack` at each access to the native stack: slow.
    """

    def __init__(self, seconds: float = 2.0, *, precise: bool = False) -> None:
        self.cpu = Processor()
        self._stack_host = mmap.mmap(-1, addresses.STACK_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._text_host = mmap.mmap(-1, addresses.TEXT_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._image_host = mmap.mmap(-1, addresses.IMAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._data_host = mmap.mmap(-1, addresses.DATA_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._control_host = mmap.mmap(
            -1, addresses.CONTROL_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )
        self._gates_host = mmap.mmap(-1, addresses.GATES_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._script_host = mmap.mmap(-1, addresses.SCRIPT_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.stack = memoryview(self._stack_host)
        self.image = memoryview(self._image_host)
        self.memory = NativeMemory(self.stack, self.cpu)
        self.control = Control(memoryview(self._control_host))
        self.gates = Gates(memoryview(self._gates_host))
        self.script = Script(memoryview(self._script_host))
        self.on_ask: Callable[[], bool] | None = None
        self.on_broken: Callable[[], None] | None = None
        self.on_step: Callable[[int], None] | None = None
        self.on_stack: Callable[[bool, int, int], None] | None = None
        self.precise = precise
        self.hooked = False  # somebody has hooks on every instruction for a while
        self.idle = 0.0  # seconds in which somebody held the machine still
        self.loaded: object = None
        self._loads = 0
        self._extent = 0
        self._vectors: bool | None = None
        self._traps: list[int] = []
        self._fixups: Mapping[int, tuple[int, str]] = {}
        self._slots: dict[str, int] = {}
        self._data: dict[str, int] = {}
        self._names: list[str] = []
        self._fill = bytes((addresses.STACK_FILL,)) * addresses.STACK_SIZE
        self._map()
        self._prepare()
        self.watchdog = Watchdog(self.cpu.stop, seconds)
        self._interruptible = Interruptible(self.cpu.stop)
        self._begin_run()

    # ---- setting up

    def _map(self) -> None:
        rw, rx = native.READ | native.WRITE, native.READ | native.EXEC
        maps = [(a.base, a.host, a.size, rw) for a in self.memory.arenas.values()]
        maps += [
            (addresses.IMAGE, self._image_host, addresses.IMAGE_SIZE, rx),
            (addresses.TEXT, self._text_host, addresses.TEXT_SIZE, rx),
            (addresses.DATA, self._data_host, addresses.DATA_SIZE, rw),
            (addresses.STACK, self._stack_host, addresses.STACK_SIZE, rw),
            (addresses.GATES, self._gates_host, addresses.GATES_SIZE, rw),
            (addresses.SCRIPT, self._script_host, addresses.SCRIPT_SIZE, rw),
            (addresses.CONTROL, self._control_host, addresses.CONTROL_SIZE, rw),
        ]
        # Largest first: the other order can make stores 25 to 1000 times as slow.
        for base, host, size, perms in sorted(maps, key=lambda item: -item[2]):
            self.cpu.map(base, host, size, perms)
        self.cpu.remember_pages()

    def _prepare(self) -> None:
        text = memoryview(self._text_host)
        entry.drop_privileges(self.cpu, text, self.control.view)
        code = entry.trampoline()
        text[: len(code)] = code
        text[addresses.END - addresses.TEXT] = 0x90
        shared, common, self.ask, self.quiet = stubs.common(addresses.TEXT + -(-len(code) // 64) * 64)
        at = common - addresses.TEXT
        if common + len(shared) > addresses.NATIVES:
            raise InternalError("the shared stub code is too long")
        text[at : at + len(shared)] = shared
        slots = stubs.slots(addresses.SCRIPTED)
        text[addresses.STUBS - addresses.TEXT :][: len(slots)] = slots
        scripts = script.code(common)
        text[addresses.FINISHED - addresses.TEXT :][: len(scripts)] = scripts
        self._natives: dict[str, int] = {}
        at = addresses.NATIVES - addresses.TEXT
        for name, body in stubs.NATIVE.items():
            text[at : at + len(body)] = body
            self._natives[name] = addresses.TEXT + at
            at += 16
        shared, _, broken = gates.code()
        at = addresses.GATE_CODE - addresses.TEXT
        text[at : at + len(shared)] = shared
        self.image[:] = b"\xcc" * len(self.image)
        cpu = self.cpu
        cpu.on_code(self.ask, self.ask, cpu.code_hook(self._on_ask))
        cpu.on_code(broken, broken, cpu.code_hook(self._on_broken))
        self._suspect = cpu.code_hook(self._on_suspect)
        if self.precise:
            cpu.on_code(
                addresses.IMAGE, addresses.IMAGE + addresses.IMAGE_SIZE - 1, cpu.code_hook(self._on_step)
            )
            cpu.on_access(addresses.STACK, addresses.STACK + addresses.STACK_SIZE - 1, self._on_stack)
        cpu.on_write(maps_arena.BASE, maps_arena.END - 1, self._on_arena_write)
        cpu.on_interrupt(self._on_interrupt)
        cpu.on_bad_access(self._on_bad_access)
        for name in ("syscall", "sysenter", "cpuid", "in", "out"):
            cpu.on_instruction(name, lambda name=name: self._on_forbidden(name))  # type: ignore[misc]
        entry.allow_vectors(cpu, False)
        self._vectors = False
        self._clean = cpu.save()

    # ---- symbols

    def symbol(self, name: str) -> int:
        """The address of a function outside the image; the same for all programs of this machine."""
        if name in self._natives:
            return self._natives[name]
        if name == stubs.QUIET_SYMBOL:
            return self.quiet
        slot = self._slots.get(name)
        if slot is None:
            slot = len(self._names)
            if slot >= addresses.STUB_COUNT:
                raise InternalError("more symbols than stubs")
            self._slots[name] = slot
            self._names.append(name)
        return addresses.STUBS + slot * addresses.STUB_SIZE

    def symbol_at(self, addr: int) -> str | None:
        """The name of the function whose stub is at `addr`, None when there is none."""
        if addr == self.quiet:
            return stubs.QUIET_SYMBOL
        number, rest = divmod(addr - addresses.STUBS, addresses.STUB_SIZE)
        return self._names[number] if rest == 0 and 0 <= number < len(self._names) else None

    def data_symbol(self, name: str) -> int:
        """The address of a variable of the kernel: DATA_STEP zeroed bytes, the same for all programs."""
        addr = self._data.get(name)
        if addr is None:
            if len(self._data) >= addresses.DATA_SIZE // addresses.DATA_STEP:
                raise InternalError("more variables than room for them")
            addr = self._data[name] = addresses.DATA + len(self._data) * addresses.DATA_STEP
        return addr

    def set_variable(self, name: str, value: int) -> None:
        """Give a variable of the kernel that some program refers to a 64-bit value; others are ignored."""
        addr = self._data.get(name)
        if addr is not None:
            at = addr - addresses.DATA
            self._data_host[at : at + 8] = value.to_bytes(8, "little")

    def fill_variable(self, low: int, high: int) -> None:
        """Make [low, high) of the kernel's variables what a fresh stack is filled with."""
        size = high - low
        if addresses.DATA <= low <= high <= addresses.DATA + addresses.DATA_SIZE:
            self._data_host[low - addresses.DATA : high - addresses.DATA] = self._fill[:size]

    def lend_variable(self, low: int, high: int) -> None:
        """Let helpers reach [low, high) of the kernel's variables until the memory is reset: it is a program's stack."""
        if low < high and self.memory.region_at(low) is None and self.memory.region_at(high - 1) is None:
            view = memoryview(self._data_host)[low - addresses.DATA : high - addresses.DATA]
            self.memory.add(Region(low, high - low, "stack", "a private stack", view))

    def stack_word(self, at: int) -> bytes:
        """The eight bytes at offset `at` of the native stack."""
        return bytes(self.stack[at : at + 8])

    # ---- code

    def load(
        self,
        owner: object,
        chunks: Sequence[tuple[int, bytes]],
        fixups: Mapping[int, tuple[int, str]] = _NO_FIXUPS,
        functions: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        """Replace the image by `chunks` of (address, bytes); the main function lies at IMAGE.

        owner: whoever loads; nothing is done when it was the last one to. fixups: address of a fault-tolerant access ->
        its length and the register that becomes 0, "" for none. functions: where gates lead, as in `Gates.set_functions`. Raises InternalError when a chunk lies outside.
        """
        if self.loaded is owner:
            return
        base = addresses.IMAGE
        extent = max([addr + len(code) for addr, code in chunks], default=base) - base
        if min([addr for addr, _ in chunks], default=base) < base or extent > addresses.IMAGE_SIZE:
            raise InternalError("code outside of the image area")
        self.loaded = None
        image = self.image
        image[: self._extent] = b"\xcc" * self._extent
        for addr, code in chunks:
            image[addr - base : addr - base + len(code)] = code
        for handle in self._traps:
            self.cpu.unhook(handle)
        spans, vectors = forbidden.scan(chunks)
        if vectors != self._vectors:
            entry.allow_vectors(self.cpu, vectors)
            self._vectors = vectors
            self._clean = self.cpu.save()
        self._traps = [self.cpu.on_code(first, last, self._suspect) for first, last in spans]
        self._loads += 1
        if self._loads % _FLUSH_EVERY == 0:
            self.cpu.flush()
        else:
            self.cpu.forget(base, base + max(extent, self._extent, 1))
        self._extent = extent
        self._fixups = fixups
        self.gates.set_functions(functions)
        self.loaded = owner

    def execute(self, ctx: int) -> Stop:
        """Call the function at IMAGE with `ctx` in rdi. Never raises for what the program does."""
        self.control.arm(ctx)
        self.script.off()
        return self._run(addresses.TEXT)

    def execute_script(self) -> Stop:
        """The runs that are written in `script`, one after the other. The whole is one run for the watchdog."""
        self.control.arm(0)
        return self._run(addresses.BEGIN)

    def _run(self, begin: int) -> Stop:
        self._begin_run()
        self.gates.arm()
        self.stack[:] = self._fill
        self.watchdog.begin()
        try:
            error = self._go(begin)
        except KeyboardInterrupt:
            self.cpu.failure = None
            self.restore()
            raise
        finally:
            timeout = self.watchdog.end()
        failure, self.cpu.failure = self.cpu.failure, None
        if failure is not None:
            self.restore()
            raise failure
        if self._is_clean(error, timeout):
            return _DONE
        return self._stopped(error, timeout)

    def untouched(self, low: int) -> bool:
        """Whether the native stack below `low`, and above the main function's return address, is as before the run."""
        at, top = low - addresses.STACK, entry.entry_rsp() + 8 - addresses.STACK
        stack = bytes(self.stack)  # views are compared item by item
        return stack[:at] == self._fill[:at] and stack[top:] == self._fill[top:]

    def _go(self, begin: int) -> int:
        """Run from `begin` until the run ends; returns an error number."""
        with self._interruptible if self.precise or self.hooked else _UNGUARDED:
            error = self.cpu.start(begin, addresses.END)
            while error in _FAULTS and self._bad is not None and self._fixup():
                error = self.cpu.start(self.cpu.read("rip"), addresses.END)
        return error

    def _is_clean(self, error: int, timeout: bool) -> bool:
        if error != native.OK or timeout or not self.control.done:
            return False
        return not (self._caught or self._number is not None or self._asked)

    def _begin_run(self) -> None:
        self._bad: tuple[int, int] | None = None
        self._reaching: tuple[int, list[tuple[int, bytes]]] | None = None
        self._number: int | None = None
        self._caught = ""
        self._where = 0
        self._asked = False

    def _stopped(self, error: int, timeout: bool) -> Stop:
        stop = self._seen(error, timeout)
        self.restore()
        return stop

    def _seen(self, error: int, timeout: bool) -> Stop:
        """Why and where the processor stands still."""
        cpu = self.cpu
        addr, size = self._bad if error != native.OK and self._bad else (None, 0)
        caught = self._caught
        return Stop(
            done=False,
            rip=self._where if caught else cpu.read("rip"),
            rsp=cpu.read("rsp"),
            rbp=cpu.read("rbp"),
            error=error,
            interrupt=self._number,
            forbidden=caught,
            addr=addr,
            size=size,
            timeout=timeout,
            asked=self._asked,
        )

    def close(self) -> None:
        """Let the watchdog's thread end; nothing can run afterwards."""
        self.watchdog.close()

    def restore(self) -> None:
        """After anything but a clean end: registers as they were, hostile bytes gone from the control page."""
        self.cpu.restore(self._clean)
        self.control.view[:] = bytes(len(self.control.view))

    # ---- hooks

    def _on_ask(self, _addr: int) -> None:
        if self.on_ask is None or not self.on_ask():
            self._asked = True
            self.cpu.stop()

    def _on_broken(self, _addr: int) -> None:
        if self.on_broken is not None:
            self.on_broken()

    def _on_step(self, addr: int) -> None:
        if self.on_step is not None:
            self.on_step(addr)

    def _on_stack(self, write: bool, addr: int, size: int) -> None:
        if self.on_stack is not None:
            self.on_stack(write, addr, size)

    def _on_interrupt(self, number: int) -> None:
        self._number = number
        self.cpu.stop()

    def _on_bad_access(self, addr: int, size: int) -> None:
        self._bad = (addr, size)

    def _on_arena_write(self, addr: int, size: int) -> None:
        """A write that reaches into the next page, which may not exist: the processor does not undo what it wrote by then."""
        here = addresses.PAGE - addr % addresses.PAGE
        if size > here:
            pieces = ((addr, here), (addr + here, size - here))
            found = [(at, self.cpu.read_memory(at, length)) for at, length in pieces]
            self._reaching = addr, [(at, old) for at, old in found if old is not None]

    def _on_forbidden(self, name: str) -> None:
        if not self._caught:
            self._caught = name
            self._where = self.cpu.read("rip")
        self.cpu.stop()

    def _on_suspect(self, addr: int) -> None:
        at = addr - addresses.IMAGE
        name = forbidden.name_of(bytes(self.image[at : at + 16]), addr)
        if name and not self._caught:
            self._caught = name
            self._where = addr
            self.cpu.stop()

    # ---- fault-tolerant loads and stores

    def _fixup(self) -> bool:
        """An access that may fault (PROBE_MEM): the register that it loads becomes 0 and the next instruction follows."""
        found = self._fixups.get(self.cpu.read("rip"))
        if found is None:
            return False
        length, register = found
        if register:
            self.cpu.write(register, 0)
        if self._reaching is not None and self._bad is not None:
            first, before = self._reaching
            for addr, old in before if 0 <= self._bad[0] - first < _WIDEST else ():
                self.cpu.write_memory(addr, old)
            self._reaching = None
        self.cpu.write("rip", self.cpu.read("rip") + length)
        self._bad = None
        return True


_DONE = Stop(done=True)
_UNGUARDED = (
    nullcontext()
)  # setting a handler costs as much as a run; without hooks Python hardly ever runs in between
