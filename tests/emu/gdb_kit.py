"""A program served to a debugger in a thread of the test, and a client of the protocol for tests that want no gdb."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bpf.asm import parse
from bpf.program import Request
from bpf.verified import Verified
from emu.gdb.held import Held, run_held
from emu.gdb.protocol import framed
from emu.gdb.server import HOST, Listener
from emu.gdb.symbols import Symbols
from emu.gdb.target import Target
from emu.pipeline import Options, Pipeline
from emu.sandbox.debug import DebugMachine
from jit.image import Image

SECONDS = 60.0  # after which a test that waits has failed
TEXTS = Path(__file__).parents[2] / "fixtures" / "text"

# A helper that calls a function back for each element, which calls one with 8 arguments.
CALLBACK = """
    prog tc license GPL

    map table: array key 4 value 8 max 3
        elem 00000000 = 0100000000000000

    int main(struct __sk_buff *ctx):
        r6 = 61
        *(u64 *)(r10 - 8) = 0
        r1 = table ll
        r2 = subprog[each]
        r3 = r10
        r3 += -8
        r4 = 0
        call bpf_for_each_map_elem
        r0 = *(u64 *)(r10 - 8)
        r0 += r6
        exit

    static long each(void *map, void *key, void *value, long *sum):
        r6 = r4
        r1 = *(u64 *)(r3 +0)
        r2 = 2
        r3 = 3
        r4 = 4
        r5 = 5
        *(u64 *)(r11 - 8) = r1
        *(u64 *)(r11 - 16) = 7
        *(u64 *)(r11 - 24) = 88
        call eight
        r1 = *(u64 *)(r6 +0)
        r1 += r0
        *(u64 *)(r6 +0) = r1
        r0 = 0
        exit

    static long eight(long a, long b, long c, long d, long e, long f, long g, long h):
        r6 = *(u64 *)(r11 + 8)
        r7 = *(u64 *)(r11 + 16)
        r8 = *(u64 *)(r11 + 24)
        r0 = r6
        r0 += r7
        r0 += r8
        exit
"""


def request_of(text: str) -> Request:
    """The request of an assembly text."""
    assembly = parse(text, "text")
    return Request(assembly.programs[0], assembly.runs)


@dataclass(slots=True)
class Served:
    """`with Served(request, folder) as served:` a program waits for a client. held: what became of it, behind the block.

    elf: the symbols. seconds: that it may run from stop to stop. c_lines: as of Symbols. make: makes
    another image than our JIT.
    """

    request: Request
    folder: Path
    number: int = 1
    seconds: float = SECONDS
    c_lines: bool = True
    source_folders: tuple[Path, ...] = ()
    make: Callable[[Verified], Image] | None = None
    held: Held | None = None
    error: BaseException | None = None
    port: int = 0
    elf: Path = Path()
    target: Target = field(init=False)
    _thread: threading.Thread = field(init=False)
    _listener: Listener = field(init=False)

    def __enter__(self) -> Self:
        pipeline = Pipeline(Options(seconds=self.seconds, unverified=True))
        case = pipeline.run(self.request, {}, ("verify", "jit"), make=self.make)
        assert case.image is not None
        machine = DebugMachine()
        engine = pipeline.sandbox(machine, self.seconds, self.request.program, case.image, {})
        self.target = Target(machine, engine, "the test's program")
        self.elf = self.folder / "out.elf"
        Symbols(self.target, self.elf, self.source_folders, c_lines=self.c_lines).write()
        self._listener = Listener(0)
        self.port = self._listener.port
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self.held = run_held(self.target, self.request, self.number, self._listener, str(self.elf))
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            self.error = error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(SECONDS)
        alive = self._thread.is_alive()
        self.target.machine.close()
        if kind is None:
            assert not alive, "the program still waits or runs"
            if self.error is not None:
                raise self.error

    @property
    def r0(self) -> int:
        """The result of the run."""
        assert self.held is not None
        assert self.held.outcome is not None, self.held.killed
        return self.held.outcome.runs[self.number - 1].r0


def gdb_says(gdb: str, served: Served, *commands: str, elf: bool = True) -> str:
    """What gdb prints for commands, one after the other, when it has connected."""
    words = [gdb, "-nx", "-batch", "-ex", "set width 0", "-ex", "set height 0"]
    words += ["-ex", f"target remote {HOST}:{served.port}"]
    for command in commands:
        words += ["-ex", command]
    if elf:
        words.append(str(served.elf))
    ran = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=SECONDS,
        check=False,
        env=os.environ | {"DEBUGINFOD_URLS": "", "LC_ALL": "C.UTF-8"},
    )
    return ran.stdout


class Client:
    """Speaks the protocol by hand."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._bytes = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.socket.sendall(data)

    def ask(self, text: str | bytes) -> bytes:
        """Send a packet; what is answered."""
        self.raw(framed(text.encode() if isinstance(text, str) else text))
        assert self.byte() == b"+"
        return self.reply()

    def reply(self) -> bytes:
        """The next packet of the server, acknowledged."""
        while self.byte() != b"$":
            pass
        text = b""
        while (byte := self.byte()) != b"#":
            text += byte
        digits = self.byte() + self.byte()
        assert int(digits, 16) == sum(text) & 0xFF
        self.raw(b"+")
        return text

    def byte(self) -> bytes:
        """The next byte, b"" at the end."""
        if not self._bytes:
            self._bytes = self.socket.recv(1 << 16)
            assert self._bytes, "the server has closed the connection"
        byte, self._bytes = self._bytes[:1], self._bytes[1:]
        return byte

    def ended(self) -> bool:
        """Whether nothing more comes, and the connection is closed."""
        try:
            return not self._bytes and not self.socket.recv(1)
        except ConnectionError:
            return True


def register(reply: bytes, number: int, offsets: Sequence[int]) -> int:
    """A register of the answer to `g`."""
    at = 2 * offsets[number]
    return int.from_bytes(bytes.fromhex(reply[at : at + 16].decode()), "little")
