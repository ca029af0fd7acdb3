"""What each packet of the protocol asks for, while the program stands still. One session is one run of the program.

Source: "Packets" and "General Query Packets" of appendix E of the GDB manual.
"""

from collections.abc import Callable
from typing import Final

from bpf.errors import InternalError
from emu.gdb import monitor
from emu.gdb.access import INVALID, MOST, WATCHES, Access, PacketError, number_of
from emu.gdb.protocol import PACKET_SIZE
from emu.gdb.registers import NUMBERS, description
from emu.gdb.server import Channel
from emu.gdb.target import Target
from emu.outcome import Trap
from emu.sandbox.debug import Killed, Pause, Resume

SIGINT, SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGSEGV, SIGXCPU = 2, 4, 5, 6, 8, 11, 24  # gdb's numbers
_TRAPS: Final = {
    **dict.fromkeys(("access", "stack", "write-code", "fetch"), SIGSEGV),
    "divide": SIGFPE,
    "opcode": SIGILL,
    "exception": SIGTRAP,
    "budget": SIGXCPU,
    **dict.fromkeys(("call", "helper", "internal"), SIGABRT),
}
_THREAD: Final = 1
_EXPEDITED: Final = ("rbp", "rsp", "rip")

Reply = bytes | Resume


class Session:
    """Answers a client that debugs `target`. exec_file: path of the symbols.

    detached: the client wants the program to run on without it.
    """

    def __init__(self, channel: Channel, target: Target, exec_file: str) -> None:
        self._channel = channel
        self._target = target
        self._files = {"features": description().encode(), "exec-file": exec_file.encode()}
        self._pause: Pause | None = None
        self._signal = SIGTRAP
        self._fatal = 0
        self._texts = False
        self._access = Access(target)
        self.detached = False
        self._handlers: dict[str, Callable[[str, bytes], Reply]] = {
            **self._access.handlers,
            "?": self._why, "c": self._go, "C": self._go, "s": self._go, "S": self._go, "v": self._v, "H": self._thread,
            "T": self._thread, "q": self._query, "Q": self._agree, "D": self._detach, "k": self._kill,
        }  # fmt: skip

    # ---- what the machine asks

    def stopped(self, pause: Pause) -> Resume:
        """Serve the client until it lets the program go on. Raises Killed, and Gone without a client."""
        first = self._pause is None
        self._pause = pause
        trap = self._target.trap(pause.stop) if pause.stop is not None else None
        self._signal = SIGINT if pause.kind == "interrupt" else SIGTRAP
        if trap is not None:
            self._signal = signal_of(trap)
        if not first:
            if trap is not None:
                self._say(f"bpfemu: {trap.message}\n")
            if pause.kind == "check":
                self._say(f"bpfemu: {self._target.violations()[-1].message}\n")
            self._channel.send(self._why("", b""))
        while True:
            reply = self._answer(self._channel.receive())
            if isinstance(reply, Resume):
                return reply
            self._channel.send(reply)

    def interrupts(self) -> bool:
        """Whether the client wants the program to stop."""
        return self._channel.interrupted()

    def finished(self, signal: int = 0) -> None:
        """The run is over: by itself, or by a signal, which the client is told."""
        last = f"X{signal:02x}" if signal else "W00"
        while self._pause is None:  # there was no run at all
            text = self._channel.receive()
            if text.startswith(b"?"):
                break
            known = text[:1] in (b"q", b"Q", b"H", b"v") and not text.startswith((b"vCont;", b"qRcmd"))
            reply = self._answer(text) if known else b"E01"
            self._channel.send(reply if isinstance(reply, bytes) else b"E01")
        self._channel.send(last.encode())

    def killed(self) -> None:
        """The client has ended the run with a signal that it sent along, or without one."""
        if self._fatal:
            self._channel.send(f"X{self._fatal:02x}".encode())

    def _say(self, text: str) -> None:
        """A line on gdb's own terminal; only before a reply that says why the program stands."""
        self._channel.send(b"O" + text.encode().hex().encode())

    # ---- packets

    def _answer(self, packet: bytes) -> Reply:
        """What to say to a packet; nothing that it may hold raises anything but Killed."""
        name = packet[:1].decode("latin-1")
        handler = self._handlers.get(name)
        if handler is None:
            return b""
        try:
            return handler(packet[1:].decode("latin-1"), packet)
        except PacketError as error:
            return f"E.{error}".encode() if self._texts else f"E{error.number:02x}".encode()
        except (ValueError, IndexError, KeyError, OverflowError):
            return b"E.the packet is malformed" if self._texts else f"E{INVALID:02x}".encode()

    def _why(self, _rest: str, _packet: bytes) -> bytes:
        pause = self._pause
        if pause is None:
            raise InternalError("a client asked before the program stood")
        out = f"T{self._signal:02x}thread:{_THREAD};"
        for name in _EXPEDITED:
            out += f"{NUMBERS[name]:02x}:{self._access.hex(NUMBERS[name])};"
        if pause.kind == "breakpoint":
            out += "hwbreak:;" if self._access.is_hardware(pause.addr) else "swbreak:;"
        if pause.kind == "watch":
            word = next(name for access, name in WATCHES.values() if access == pause.access)
            out += f"{word.decode()}:{pause.addr:x};"
        return out.encode()

    # ---- going on

    def _go(self, rest: str, packet: bytes) -> Resume:
        """c, s with an address to go on from, C, S with a signal in front of it."""
        signal, addr = 0, rest
        if packet[:1] in b"CS":
            digits, _, addr = rest.partition(";")
            signal = number_of(digits)
        if addr:
            self._target.machine.set_register("rip", number_of(addr))
        return self._resume(packet[:1].decode("latin-1").lower(), signal)

    def _resume(self, action: str, signal: int = 0, low: int = 0, high: int = 0) -> Resume:
        if not signal:
            return Resume(step=action != "c", low=low, high=high)
        if self._pause is not None and self._pause.stop is not None:
            return Resume(end=True)
        self._fatal = signal & 0xFF
        raise Killed

    def _v(self, rest: str, _packet: bytes) -> Reply:
        if rest == "Cont?":
            return b"vCont;c;C;s;S;t;r"
        if rest.startswith("Cont;"):
            return self._continue(rest.removeprefix("Cont;"))
        if rest.startswith("Kill"):
            self._channel.send(b"OK")
            raise Killed
        return b""

    def _continue(self, actions: str) -> Reply:
        """The first action is for the only thread: gdb puts the thread's own in front of that for all others."""
        action = actions.split(";", maxsplit=1)[0].partition(":")[0]
        name, rest = action[:1], action[1:]
        if name == "r":
            low, high = map(number_of, rest.split(","))
            return self._resume("s", 0, low, high)
        if name in ("c", "s") and not rest:
            return self._resume(name)
        if name in ("C", "S"):
            return self._resume(name.lower(), number_of(rest))
        if name == "t":
            return self._why("", b"")  # it stands already
        raise PacketError(INVALID, "no such action")

    def _detach(self, _rest: str, _packet: bytes) -> Resume:
        self._channel.send(b"OK")
        self.detached = True
        self._target.release()
        return Resume()

    def _kill(self, _rest: str, _packet: bytes) -> Reply:
        raise Killed

    # ---- threads and questions

    def _thread(self, rest: str, packet: bytes) -> bytes:
        text = rest if packet[:1] == b"T" else rest[1:]
        known = ("0", "-1", f"{_THREAD:x}")
        if text.lower() not in known:
            raise PacketError(INVALID, "there is one thread, 1")
        return b"OK"

    def _agree(self, rest: str, _packet: bytes) -> bytes:
        if rest != "StartNoAckMode":
            return b""
        self._channel.stop_acks()
        return b"OK"

    def _query(self, rest: str, _packet: bytes) -> bytes:
        name = rest.partition(":")[0].partition(",")[0]
        match name:
            case "Supported":
                self._texts = "error-message+" in rest
                return (
                    f"PacketSize={PACKET_SIZE:x};qXfer:features:read+;qXfer:exec-file:read+;swbreak+;hwbreak+;"
                    "vContSupported+;QStartNoAckMode+"
                ).encode()
            case "Xfer":
                return self._transfer(rest)
            case "Rcmd":
                return self._command(bytes.fromhex(rest.partition(",")[2]).decode("utf-8", "replace"))
            case "C":
                return f"QC{_THREAD:x}".encode()
            case "fThreadInfo":
                return f"m{_THREAD:x}".encode()
            case "sThreadInfo":
                return b"l"
            case "ThreadExtraInfo":
                return self._target.name.encode().hex().encode()
            case "Attached":
                return b"1"
            case "Symbol":
                return b"OK"
        return b""

    def _transfer(self, rest: str) -> bytes:
        _, kind, verb, annex, span = rest.split(":")
        if verb != "read" or kind not in self._files or (kind == "features" and annex != "target.xml"):
            return b"E00" if kind in self._files else b""
        data = self._files[kind]
        at, size = map(number_of, span.split(","))
        size = min(size, MOST)
        return (b"m" if at + size < len(data) else b"l") + data[at : at + size]

    def _command(self, text: str) -> bytes:
        out = monitor.command(self._target, text)
        for at in range(0, len(out), MOST // 4):
            self._say(out[at : at + MOST // 4])
        return b"OK"


def signal_of(trap: Trap) -> int:
    """The signal that stands for a trap, by gdb's number."""
    return _TRAPS[trap.kind]
