"""What each packet of the protocol asks for, while the program stands still. One session is one run of the program.

Source: "Packets" and "General Query Packets" of appendix E of the GDB manual.
"""

from collections.abc import Callable
from typing import Final

from bpf.errors import InternalError
from emu.gdb import monitor
from emu.gdb.protocol import PACKET_SIZE
from emu.gdb.registers import NUMBERS, REGISTERS, description
from emu.gdb.server import Channel
from emu.gdb.target import Target
from emu.outcome import Trap
from emu.sandbox.debug import Access, Killed, Pause, Resume

SIGINT, SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGSEGV, SIGXCPU = 2, 4, 5, 6, 8, 11, 24  # gdb's numbers
_TRAPS: Final = {
    **dict.fromkeys(("access", "stack", "write-code", "fetch"), SIGSEGV),
    "divide": SIGFPE,
    "opcode": SIGILL,
    "exception": SIGTRAP,
    "budget": SIGXCPU,
    **dict.fromkeys(("call", "helper", "internal"), SIGABRT),
}
_WATCHES: Final[dict[str, tuple[Access, bytes]]] = {
    "2": ("write", b"watch"),
    "3": ("read", b"rwatch"),
    "4": ("access", b"awatch"),
}
_THREAD: Final = 1
_EXPEDITED: Final = ("rbp", "rsp", "rip")
_MOST: Final = PACKET_SIZE // 2  # bytes of memory in one packet, as hex
_WORD: Final = 1 << 64
_FAULT: Final = 14  # EFAULT
_INVALID: Final = 22  # EINVAL

Reply = bytes | Resume


class _BadError(Exception):
    """A packet that cannot be answered. number: of the error; why: for people."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


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
        self._breakpoints: set[tuple[str, int]] = set()
        self.detached = False
        self._handlers: dict[str, Callable[[str, bytes], Reply]] = {
            "?": self._why, "g": self._get_all, "G": self._set_all, "p": self._get, "P": self._set,
            "m": self._read, "M": self._write_hex, "X": self._write_binary, "Z": self._insert, "z": self._remove,
            "c": self._go, "C": self._go, "s": self._go, "S": self._go, "v": self._v, "H": self._thread,
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
        except _BadError as error:
            return f"E.{error}".encode() if self._texts else f"E{error.number:02x}".encode()
        except (ValueError, IndexError, KeyError, OverflowError):
            return b"E.the packet is malformed" if self._texts else f"E{_INVALID:02x}".encode()

    def _why(self, _rest: str, _packet: bytes) -> bytes:
        pause = self._pause
        if pause is None:
            raise InternalError("a client asked before the program stood")
        out = f"T{self._signal:02x}thread:{_THREAD};"
        for name in _EXPEDITED:
            out += f"{NUMBERS[name]:02x}:{self._hex(NUMBERS[name])};"
        if pause.kind == "breakpoint":
            out += "hwbreak:;" if ("1", pause.addr) in self._breakpoints else "swbreak:;"
        if pause.kind == "watch":
            word = next(name for access, name in _WATCHES.values() if access == pause.access)
            out += f"{word.decode()}:{pause.addr:x};"
        return out.encode()

    # ---- registers

    def _hex(self, number: int) -> str:
        register = REGISTERS[number]
        if not register.machine:
            return "x" * 2 * register.size
        value = self._target.machine.register(register.machine)
        return (value & ((1 << 8 * register.size) - 1)).to_bytes(register.size, "little").hex()

    def _set_hex(self, number: int, text: str) -> None:
        register = REGISTERS[number]
        if len(text) != 2 * register.size:
            raise _BadError(_INVALID, f"{register.name} has {register.size} bytes")
        if not register.machine or "x" in text:
            return
        value = int.from_bytes(bytes.fromhex(text), "little")
        if register.machine != "rip" and register.size == 4 and register.machine != "eflags":
            if value != self._target.machine.register(register.machine):
                raise _BadError(_INVALID, f"{register.name} cannot be changed at user privilege")
            return
        self._target.machine.set_register(register.machine, value)

    def _get_all(self, _rest: str, _packet: bytes) -> bytes:
        return "".join(map(self._hex, range(len(REGISTERS)))).encode()

    def _set_all(self, rest: str, _packet: bytes) -> bytes:
        at = 0
        if len(rest) != sum(2 * register.size for register in REGISTERS):
            raise _BadError(_INVALID, "not all registers are there")
        for number, register in enumerate(REGISTERS):
            self._set_hex(number, rest[at : at + 2 * register.size])
            at += 2 * register.size
        return b"OK"

    def _get(self, rest: str, _packet: bytes) -> bytes:
        return self._hex(_number(rest)).encode()

    def _set(self, rest: str, _packet: bytes) -> bytes:
        number, _, value = rest.partition("=")
        self._set_hex(_number(number), value)
        return b"OK"

    # ---- memory

    def _read(self, rest: str, _packet: bytes) -> bytes:
        addr, size = map(_number, rest.split(","))
        data = self._target.memory(addr, min(size, _MOST))
        if not data and size:
            raise _BadError(_FAULT, f"nothing is mapped at {addr:#x}")
        return data.hex().encode()

    def _write_hex(self, rest: str, _packet: bytes) -> bytes:
        head, _, digits = rest.partition(":")
        return self._write(head, bytes.fromhex(digits))

    def _write_binary(self, rest: str, packet: bytes) -> bytes:
        head = rest.partition(":")[0]
        return self._write(head, packet[len(head) + 2 :])

    def _write(self, head: str, data: bytes) -> bytes:
        addr, size = map(_number, head.split(","))
        if size != len(data):
            raise _BadError(_INVALID, f"{size} bytes are announced, {len(data)} came")
        if data and (addr + size > _WORD or not self._target.machine.write(addr, data)):
            raise _BadError(_FAULT, f"nothing is mapped at {addr:#x}")
        return b"OK"

    # ---- breakpoints

    def _insert(self, rest: str, _packet: bytes) -> bytes:
        kind, addr, size = _breakpoint(rest)
        if kind in ("0", "1"):
            self._breakpoints.add((kind, addr))
            self._target.machine.breakpoints.add(addr)
            return b"OK"
        if kind not in _WATCHES:
            return b""
        self._target.machine.watch(addr, size, _WATCHES[kind][0])
        return b"OK"

    def _remove(self, rest: str, _packet: bytes) -> bytes:
        kind, addr, size = _breakpoint(rest)
        if kind in ("0", "1"):
            self._breakpoints.discard((kind, addr))
            self._target.machine.breakpoints = {addr for _, addr in self._breakpoints}
            return b"OK"
        if kind not in _WATCHES:
            return b""
        self._target.machine.unwatch(addr, size, _WATCHES[kind][0])
        return b"OK"

    # ---- going on

    def _go(self, rest: str, packet: bytes) -> Resume:
        """c, s with an address to go on from, C, S with a signal in front of it."""
        signal, addr = "", rest
        if packet[:1] in b"CS":
            signal, _, addr = rest.partition(";")
        if addr:
            self._target.machine.set_register("rip", _number(addr))
        return self._resume(packet[:1].decode("latin-1").lower(), signal)

    def _resume(self, action: str, signal: str = "", low: int = 0, high: int = 0) -> Resume:
        number = _number(signal) if signal else 0
        if not number:
            return Resume(step=action != "c", low=low, high=high)
        if self._pause is not None and self._pause.stop is not None:
            return Resume(end=True)
        self._fatal = number
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
            low, high = map(_number, rest.split(","))
            return self._resume("s", "", low, high)
        if name in ("c", "s") and not rest:
            return self._resume(name)
        if name in ("C", "S"):
            return self._resume(name.lower(), rest)
        if name == "t":
            return self._why("", b"")  # it stands already
        raise _BadError(_INVALID, "no such action")

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
            raise _BadError(_INVALID, "there is one thread, 1")
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
        at, size = map(_number, span.split(","))
        size = min(size, _MOST)
        return (b"m" if at + size < len(data) else b"l") + data[at : at + size]

    def _command(self, text: str) -> bytes:
        out = monitor.command(self._target, text)
        for at in range(0, len(out), _MOST // 4):
            self._say(out[at : at + _MOST // 4])
        return b"OK"


def signal_of(trap: Trap) -> int:
    """The signal that stands for a trap, by gdb's number."""
    return _TRAPS[trap.kind]


def _number(text: str) -> int:
    """Hexadecimal digits and nothing else. Raises ValueError."""
    if not text or len(text) > 16 or not text.isascii() or not text.isalnum():
        raise ValueError(text)
    return int(text, 16)


def _breakpoint(rest: str) -> tuple[str, int, int]:
    kind, addr, size = rest.split(";", maxsplit=1)[0].split(",")
    return kind, _number(addr), _number(size)
