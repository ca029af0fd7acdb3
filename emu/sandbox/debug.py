"""A machine that a debugger holds: it stops before instructions and lets the debugger look and change.

The debugger sees the program as if the sandbox had no code in it. Calls of BPF functions go through gates, which it never
stops in, and whose return addresses it never sees: the word on the stack reads as the address in the caller that
the gate will go back to. A stub stops it at its first instruction and is over with the next step. A callback's caller
is the stub of the helper that calls it back: `stub + CALLING`, an address at which nothing lies and which stands for
the shared code behind the call. Breakpoints are numbers that addresses are compared with; no byte is written for one.

Knows no packets and nothing of gdb.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal, Protocol

from bpf.errors import InternalError
from emu.sandbox import addresses, gates, native
from emu.sandbox.machine import Machine, Stop
from jit.decoder import new_decoder

CALLING: Final = (
    12  # offset in a stub that stands for "its callback is under way"; behind the stub's two instructions
)
STUBS_END: Final = addresses.STUBS + addresses.STUB_COUNT * addresses.STUB_SIZE
_POLL: Final = 512  # instructions between looks for an interrupt
_STUCK: Final = (
    100_000  # instructions of the sandbox's own code in a row: something has found an endless loop in it
)
_IMAGE_END: Final = addresses.IMAGE + addresses.IMAGE_SIZE
_TEXT_END: Final = addresses.TEXT + addresses.TEXT_SIZE
_WIDEST: Final = 64  # bytes of one access

Access = Literal["write", "read", "access"]


@dataclass(frozen=True, slots=True)
class Pause:
    """Why the program stands still, before the instruction at `DebugMachine.pc`.

    kind: "step", "breakpoint", "watch" (addr: the word that was touched; access: what was watched for), "interrupt",
    "check" (a check has found something), "timeout", or "trap" (stop: what the processor says).
    """

    kind: Literal["step", "breakpoint", "watch", "interrupt", "check", "timeout", "trap"]
    addr: int = 0
    access: Access = "write"
    stop: Stop | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """How to go on. step: stop before the next instruction, or the first that lies outside of [low, high).

    end: after a trap, let the run end with it.
    """

    step: bool = False
    low: int = 0
    high: int = 0
    end: bool = False


class Debugger(Protocol):
    """What holds the machine. Both may raise `Killed`."""

    def stopped(self, pause: Pause) -> Resume:
        """The program stands still; returns when it is to go on."""

    def interrupts(self) -> bool:
        """Whether the program should stop now. Called often while it runs."""


class Killed(Exception):  # noqa: N818 - nothing is wrong: it was asked for
    """The run was ended from outside; it has no result."""


@dataclass(frozen=True, slots=True)
class _Watched:
    addr: int
    size: int
    access: Access


class DebugMachine(Machine):
    """As a machine of precise mode, which it is when nobody holds it.

    debugger: who holds it. calling_back: addresses of the stubs whose helpers wait for a callback, outermost first. found:
    how many violations checks have found so far; stop_at_checks: whether one more of them stops.
    """

    def __init__(self) -> None:
        super().__init__(precise=True)
        self.debugger: Debugger | None = None
        self.calling_back: Callable[[], Sequence[int]] = tuple
        self.found: Callable[[], int] = int
        self.stop_at_checks = False
        self.breakpoints: set[int] = set()
        self.returned = self._behind_call(addresses.TEXT)
        self._behind_callback = self._behind_call(self.ask)
        self._leave = gates.code()[1]
        self._watches: dict[_Watched, int] = {}
        self._contents: dict[_Watched, bytes | None] = {}
        self._fields: list[tuple[int, bytes, bytes]] = []
        self._runs = self._cancelled = False
        self._begin_hold()
        self.cpu.on_code(addresses.TEXT, _TEXT_END - 1, self.cpu.code_hook(self._on_text))

    def _behind_call(self, addr: int) -> int:
        """The address behind the first call from `addr` on."""
        code = self.cpu.read_memory(addr, 1024) or b""
        for at, size, name, _ in new_decoder().disasm_lite(code, addr):
            if name == "call":
                return int(at + size)
        raise InternalError("code of the sandbox has lost its call")

    # ---- a run

    def execute(self, ctx: int) -> Stop:
        """As `Machine.execute`; a debugger gets the run before its first instruction. Raises `Killed`."""
        self._begin_hold()
        try:
            return super().execute(ctx)
        except Killed:
            self.restore()
            raise

    def _begin_hold(self) -> None:
        self._how = Resume(step=True)
        self._fresh = False
        self._pause: Pause | None = None
        self._wanted: Pause | None = None
        self._inside = self._away = False
        self._ticks = _POLL
        self._own = 0
        self._moved = False
        self._told = 0

    def cancel(self) -> None:
        """End what runs with KeyboardInterrupt: what a handler of SIGINT should call, for an exception may be lost in C.

        What stands gets the exception at once.
        """
        if not self._runs:
            raise KeyboardInterrupt
        self._cancelled = True

    def _go(self, begin: int) -> int:
        while True:
            self._runs = True
            try:
                error = super()._go(begin)
            finally:
                self._runs = False
            if self.debugger is None or self.cpu.failure is not None:
                return error
            pause = self._reason(error)
            if pause is None:
                return error
            self._told = self.found()
            began = monotonic()
            self._how = self.debugger.stopped(pause)
            self.idle += monotonic() - began
            if pause.stop is not None and (self._how.end or pause.stop.asked):
                return error
            self.watchdog.begin()
            self._begin_run()
            self._resume()
            begin = self.cpu.read("rip")

    def _reason(self, error: int) -> Pause | None:
        """Why the processor has stopped, None when the run is over."""
        if self.watchdog.end():
            return Pause("timeout", stop=self._seen(error, timeout=True))
        pause, self._pause = self._pause, None
        if error in native.FETCH_ERRORS and self.cpu.read("rip") in self.breakpoints:
            return Pause(
                "breakpoint", self.cpu.read("rip")
            )  # where gdb lets a function return that it calls itself
        if pause is not None or self._is_clean(error, timeout=False):
            return pause
        return Pause("trap", stop=self._seen(error, timeout=False))

    def _resume(self) -> None:
        self._fresh, self._own = True, 0
        if self._moved:
            self._moved = False
            self.gates.unwind(self.cpu.read("rsp"))
        self._look()

    # ---- each instruction

    def _on_step(self, addr: int) -> None:
        self._inside = True
        if self._cancelled:
            raise KeyboardInterrupt
        if self.debugger is not None and self._stops(addr):
            self.cpu.stop()
            return
        super()._on_step(addr)

    def _on_text(self, addr: int) -> None:
        self._inside = False
        self._away = True
        if self._cancelled:
            raise KeyboardInterrupt
        if self.debugger is None:
            return
        if self._visible(addr):
            stops = self._stops(addr)
        else:
            stops = self._polled() and self._own > _STUCK
            self._own += 1
            if stops:
                self._pause = Pause("interrupt")
        if stops:
            self.cpu.stop()

    def _visible(self, addr: int) -> bool:
        """Whether the debugger may stand at an address in the sandbox's own code."""
        if addr in self.breakpoints or addr in (self.returned, self._behind_callback, self.quiet):
            return True
        if addresses.NATIVES <= addr < addresses.END:
            return True
        return addresses.STUBS <= addr < STUBS_END and not addr % addresses.STUB_SIZE

    def _stops(self, addr: int) -> bool:
        if self._fresh:
            self._fresh = False
            return False
        if self._away and self._watches:
            self._away = False
            self._compare()
        self._polled()
        if self.stop_at_checks and self._wanted is None and self.found() > self._told:
            self._wanted = Pause("check")
        self._own = 0
        shown = self._shown(addr)
        if self._wanted is not None:
            self._pause, self._wanted = self._wanted, None
        elif shown in self.breakpoints:
            self._pause = Pause("breakpoint", shown)
        elif self._how.step and not self._how.low <= shown < self._how.high:
            self._pause = Pause("step")
        return self._pause is not None

    def _polled(self) -> bool:
        """Whether an interrupt waits; it is looked for now and then."""
        self._ticks -= 1
        if self._ticks <= 0:
            self._ticks = _POLL
            assert self.debugger is not None
            if self.debugger.interrupts():
                self._wanted = Pause("interrupt")
        return self._wanted is not None

    # ---- watching memory

    def watch(self, addr: int, size: int, access: Access) -> None:
        """Stop behind each instruction that touches [addr, addr + size)."""
        one = _Watched(addr, size, access)
        if one in self._watches:
            return

        def touched(write: bool, at: int, length: int) -> None:
            hit = at < addr + size and addr < at + length
            if hit and (access == "access" or write == (access == "write")):
                self._touch(one)

        first = max(addr - _WIDEST, 0)
        self._watches[one] = self.cpu.on_access(first, addr + size - 1, touched)
        self.cpu.flush()
        self._look()

    def unwatch(self, addr: int, size: int, access: Access) -> None:
        """Take that back."""
        handle = self._watches.pop(_Watched(addr, size, access), None)
        if handle is not None:
            self.cpu.unhook(handle)
            self.cpu.flush()

    def unhold(self) -> None:
        """No breakpoint and no watched memory is left, and nobody holds the machine."""
        self.debugger = None
        self.breakpoints.clear()
        for one in list(self._watches):
            self.unwatch(one.addr, one.size, one.access)

    def _touch(self, one: _Watched) -> None:
        if self.debugger is not None and self._inside:
            self._wanted = self._wanted or Pause("watch", one.addr, one.access)
            self._contents[one] = None

    def _look(self) -> None:
        self._contents = {one: self.read(one.addr, one.size) for one in self._watches}

    def _compare(self) -> None:
        """A callee was away from the program: what it wrote shows in what is different."""
        for one, before in self._contents.items():
            if before is not None and one.access != "read" and self.read(one.addr, one.size) != before:
                self._wanted = self._wanted or Pause("watch", one.addr, one.access)

    # ---- what the debugger sees and changes

    @property
    def checks_on(self) -> bool:
        """Whether precise mode follows the run."""
        return self.on_step is not None

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        return self._shown(self.cpu.read("rip"))

    def _shown(self, addr: int) -> int:
        if addr != self._behind_callback:
            return addr
        stubs = self.calling_back()
        return stubs[-1] + CALLING if stubs else addr

    def register(self, name: str) -> int:
        """The value of a register."""
        return self.pc if name == "rip" else self.cpu.read(name)

    def set_register(self, name: str, value: int) -> None:
        """Give a register a value. A changed rip or rsp ends precise mode's checks: they follow calls and returns."""
        if value == self.register(name):
            return
        self.cpu.write(name, value)
        if name in ("rip", "rsp"):
            self._moved = True
            self.on_step = self.on_stack = None

    def disguise(self, fields: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Show bytes of the code other than they are: (address, as they are, as they are shown) of each field."""
        self._fields = sorted(fields)

    def read(self, addr: int, size: int) -> bytes | None:
        """Memory as it would be without gates; None where not all of it is mapped."""
        data = self.cpu.read_memory(addr, size)
        if data is None:
            return None
        out = bytearray(data)
        for at, real, shown in self._disguises(addr, size):
            low, high = max(addr, at), min(addr + size, at + len(real))
            if out[low - addr : high - addr] == real[low - at : high - at]:
                out[low - addr : high - addr] = shown[low - at : high - at]
        return bytes(out)

    def write(self, addr: int, data: bytes) -> bool:
        """Write memory, code as well; False where not all of it is mapped. What is shown otherwise stays if it is written so."""
        out = bytearray(data)
        for at, real, shown in self._disguises(addr, len(data)):
            low, high = max(addr, at), min(addr + len(data), at + len(real))
            if out[low - addr : high - addr] == shown[low - at : high - at]:
                out[low - addr : high - addr] = real[low - at : high - at]
        if not self.cpu.write_memory(addr, bytes(out)):
            return False
        if addr < _IMAGE_END and addr + len(data) > addresses.TEXT:
            self.cpu.flush()
        return True

    def _disguises(self, addr: int, size: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Address, real and shown bytes of all fields in [addr, addr + size)."""
        for field in self._fields[bisect_left(self._fields, (addr - 8,)) :]:
            if field[0] >= addr + size:
                break
            if field[0] + len(field[1]) > addr:
                yield field
        if addr + size > addresses.STACK and addr < addresses.STACK + addresses.STACK_SIZE:
            real = self._leave.to_bytes(8, "little")
            for at, back in self._return_words():
                if at < addr + size and addr < at + 8 and self.cpu.read_memory(at, 8) == real:
                    yield at, real, back.to_bytes(8, "little")

    def _return_words(self) -> Iterator[tuple[int, int]]:
        """Where gates have put return addresses of their own, and what stands for them."""
        stubs = iter(self.calling_back())
        for depth in range(self.gates.depth):
            shadow = self.gates.shadow(depth)
            back = shadow.ret
            if back == self._behind_callback:
                back = next(stubs, back - CALLING) + CALLING
            yield shadow.rsp, back
