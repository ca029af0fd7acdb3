"""The program under control, as the session, the `monitor` commands and the symbols see it."""

from collections.abc import Iterator, Sequence

from emu.outcome import Trap, Violation
from emu.sandbox import addresses
from emu.sandbox.debug import DebugMachine
from emu.sandbox.images import Function
from emu.sandbox.machine import Stop
from emu.sandbox.sandbox import Sandbox
from jit.image import Image

ENTRY = "bpfemu_entry"  # what calls the program
_ALONE = 10.0  # seconds of a run that nobody holds any more
Field = tuple[int, bytes, bytes]  # address, bytes, and what is shown for them


class Target:
    """A sandbox on a machine that can be held. name: for people."""

    def __init__(self, machine: DebugMachine, engine: Sandbox, name: str) -> None:
        self.machine = machine
        self.engine = engine
        self.name = name
        machine.calling_back = lambda: engine.conversation.calling_back
        machine.found = lambda: len(engine.violations)
        self._fields = {one.addr: list(_calls(one, engine.code.functions)) for one in engine.code.functions}
        machine.disguise([field for fields in self._fields.values() for field in fields])

    @property
    def images(self) -> list[Image]:
        """The images that are loaded, the main one first."""
        found: dict[int, Image] = {}
        for one in self.engine.code.functions:
            if one.image is not None:
                found.setdefault(id(one.image), one.image)
        return list(found.values())

    def release(self) -> None:
        """Nobody holds the program any more: it may run on, but not for ever."""
        self.machine.unhold()
        self.engine.seconds = min(self.engine.seconds, _ALONE)
        self.machine.watchdog.seconds = self.engine.seconds

    def violations(self) -> Sequence[Violation]:
        """What checks have found in this run so far."""
        return self.engine.violations

    def trap(self, stop: Stop) -> Trap:
        """What has happened, with its message."""
        return self.engine.trap(stop)

    def shown(self, function: Function) -> bytes:
        """The code of a function as a debugger sees it, with direct calls."""
        code = bytearray(function.code)
        for at, _, shown in self._fields[function.addr]:
            code[at - function.addr : at - function.addr + len(shown)] = shown
        return bytes(code)

    def memory(self, addr: int, size: int) -> bytes:
        """What is mapped of [addr, addr + size), from its start on."""
        out = b""
        while len(out) < size and addr + len(out) < 1 << 64:
            at = addr + len(out)
            length = min(size - len(out), addresses.PAGE - at % addresses.PAGE)
            data = self.machine.read(at, length)
            if data is None:
                break
            out += data
        return out


def _calls(function: Function, everything: Sequence[Function]) -> Iterator[Field]:
    """The fields of its calls of BPF functions, which lead to gates, and are shown as they lead to the functions."""
    if function.image is None:
        return
    places = {one.number: one.addr for one in everything if one.image is function.image}
    for reloc in function.image.functions[function.number].relocs:
        if reloc.kind == "call" and not reloc.symbol:
            end = reloc.off + reloc.size
            direct = places[reloc.target] + reloc.addend - (function.addr + end)
            shown = (direct & ((1 << 8 * reloc.size) - 1)).to_bytes(reloc.size, "little")
            yield function.addr + reloc.off, function.code[reloc.off : end], shown
