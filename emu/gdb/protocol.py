"""Packets of the GDB remote serial protocol: `$text#sum`, one byte of sum, acknowledged with + or - unless both agreed not to.

Bytes in, packets out. Whatever comes is taken apart without an exception: noise between packets is skipped, a packet
with a wrong sum is asked for again, one without an end is given up. Knows no sockets and no commands.

Source: "Overview" of appendix E of the GDB manual.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

PACKET_SIZE: Final = 0x4000  # bytes of one packet's text, both ways
_LARGEST: Final = 2 * PACKET_SIZE + 16  # as sent: each byte may be escaped
_INTERRUPT: Final = 0x03
_AGAIN: Final = 0x2D
_ESCAPE: Final = 0x7D  # the next byte is xored with 0x20
_START, _END = b"$", b"#"


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet that came whole. text: without framing and escapes."""

    text: bytes


class Interrupt:
    """The byte 0x03: the program is to stop."""


class Damaged:
    """A packet whose sum is wrong, or that is too long: it is to be sent again."""


class Again:
    """The byte `-`: what was sent last did not arrive whole."""


Received = Packet | Interrupt | Damaged | Again


def framed(text: bytes) -> bytes:
    """A packet that says `text`."""
    body = bytearray()
    for byte in text:
        if byte in b"$#}*":  # a star would start a run length
            body += bytes((_ESCAPE, byte ^ 0x20))
        else:
            body.append(byte)
    return b"$" + bytes(body) + b"#" + format(sum(body) & 0xFF, "02x").encode()


@dataclass(slots=True)
class Reader:
    """Takes bytes as they come, in pieces of any size. acks: whether sums are looked at, as long as nobody agreed otherwise."""

    acks: bool = True
    _bytes: bytearray = field(default_factory=bytearray)
    _skips: bool = False

    def feed(self, data: bytes) -> Iterator[Received]:
        """What is whole now."""
        self._bytes += data
        while True:
            found = self._next()
            if found is None:
                return
            yield found

    def _next(self) -> Received | None:
        if self._skips and not self._skip():
            return None
        buffer = self._bytes
        del buffer[: _noise(buffer)]
        if not buffer:
            return None
        if buffer[0] in (_INTERRUPT, _AGAIN):
            return Interrupt() if buffer.pop(0) == _INTERRUPT else Again()
        end = buffer.find(_END)
        if end < 0 or len(buffer) < end + 3:
            if len(buffer) <= _LARGEST:
                return None
            self._skips = end < 0
            buffer.clear()
            return Damaged()
        body, digits = bytes(buffer[1:end]), bytes(buffer[end + 1 : end + 3])
        again = body.rfind(_START)
        if again >= 0:  # a packet was cut off, and another one starts inside of it
            body = body[again + 1 :]
        del buffer[: end + 3]
        if len(body) > _LARGEST or (self.acks and _sum_of(digits) != sum(body) & 0xFF):
            return Damaged()
        return Packet(_unescaped(body))

    def _skip(self) -> bool:
        """The rest of a packet that is given up: all up to its end."""
        end = self._bytes.find(_END)
        if end < 0:
            self._bytes.clear()
            return False
        del self._bytes[: end + 3]
        self._skips = False
        return True


def _noise(buffer: bytearray) -> int:
    """How many bytes stand before the next that means something."""
    found = [at for at in map(buffer.find, b"$\x03-") if at >= 0]
    return min(found, default=len(buffer))


def _sum_of(digits: bytes) -> int:
    try:
        return int(digits, 16) if digits.isalnum() else -1
    except ValueError:
        return -1


def _unescaped(body: bytes) -> bytes:
    out, escaped = bytearray(), False
    for byte in body:
        if byte == _ESCAPE and not escaped:
            escaped = True
            continue
        out.append(byte ^ 0x20 if escaped else byte)
        escaped = False
    return bytes(out)
