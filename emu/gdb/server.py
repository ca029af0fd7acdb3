"""One client on a socket of this machine: packets come and go, and the connection ends without a traceback however it ends.

Knows how packets are framed, not what they say.
"""

import select
import socket
from collections import deque
from time import monotonic
from typing import Final

from bpf.errors import InputError
from emu.gdb.protocol import Again, Damaged, Interrupt, Packet, Reader, framed
from emu.sandbox.debug import Killed

HOST: Final = "127.0.0.1"
_SEND_SECONDS: Final = 60.0  # a client that takes nothing for so long has gone
_LAST_SECONDS: Final = 2.0  # to take the last packet
_WAITING: Final = 4096  # packets that a client may send ahead


class Gone(Killed):
    """The client went away while the program stood or ran."""


class Listener:
    """Waits for the one client. port: the one that was asked for, or that was chosen for 0.

    Nobody but this machine can connect. Raises InputError when the port cannot be had.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((HOST, port))
            self._socket.listen(1)
        except OSError as error:
            self._socket.close()
            raise InputError("--gdb", f"port {port}", error.strerror or str(error)) from None
        self.port: int = self._socket.getsockname()[1]

    def accept(self) -> "Channel":
        """The first client; all others find the port closed."""
        with self._socket:
            connection, _ = self._socket.accept()
        return Channel(connection)

    def close(self) -> None:
        """Wait no longer."""
        self._socket.close()


class Channel:
    """Packets to and from one client. Raises Gone, where it waits for packets or sends one, when there is no client any more."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(_SEND_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = Reader()
        self._waiting: deque[bytes | None] = deque()  # None: an interrupt
        self._ended = False
        self._last = b""

    def send(self, text: bytes) -> None:
        """A packet."""
        self._last = framed(text)
        self._write(self._last)

    def receive(self) -> bytes:
        """The text of the next packet, however long it takes to come. Interrupts before it came while the program stood."""
        while True:
            while not self._waiting:
                self._read(None)
            text = self._waiting.popleft()
            if text is not None:
                return text

    def interrupted(self) -> bool:
        """Whether the client wants the program to stop. Takes no time when nothing has come."""
        while len(self._waiting) < _WAITING and None not in self._waiting and self._read(0.0):
            pass
        if None not in self._waiting:
            return False
        self._waiting.remove(None)
        return True

    def stop_acks(self) -> None:
        """Packets are neither acknowledged nor looked over from now on."""
        self._reader.acks = False

    def close(self) -> None:
        """Say no more; what was said last still arrives."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            end = monotonic() + _LAST_SECONDS
            while select.select([self._socket], [], [], max(end - monotonic(), 0))[0]:
                if not self._socket.recv(1 << 16):
                    break
        except OSError:
            pass
        self._socket.close()

    def _read(self, seconds: float | None) -> bool:
        """Take what has come, after waiting for it at most so long; whether something came."""
        if self._ended:
            raise Gone
        try:
            if not select.select([self._socket], [], [], seconds)[0]:
                return False
            data = self._socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._ended = True
            raise Gone
        for one in self._reader.feed(data):
            match one:
                case Packet(text):
                    if self._reader.acks:
                        self._write(b"+")
                    self._waiting.append(text)
                case Interrupt():
                    self._waiting.append(None)
                case Damaged():
                    self._write(b"-")
                case Again():
                    self._write(self._last)
        return True

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError:
            self._ended = True
            raise Gone from None
