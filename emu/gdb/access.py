"""Packets that look at registers and memory, change them, and set breakpoints.

Source: "Packets" of appendix E of the GDB manual.
"""

from collections.abc import Callable
from typing import Final

from emu.gdb.protocol import PACKET_SIZE
from emu.gdb.registers import REGISTERS
from emu.gdb.target import Target
from emu.sandbox.addresses import PAGE
from emu.sandbox.debug import Access as Kind

WATCHES: Final[dict[str, tuple[Kind, bytes]]] = {
    "2": ("write", b"watch"),
    "3": ("read", b"rwatch"),
    "4": ("access", b"awatch"),
}
MOST: Final = PACKET_SIZE // 2  # bytes of memory in one packet, as hex
INVALID: Final = 22  # EINVAL
_FAULT: Final = 14  # EFAULT
_WORD: Final = 1 << 64


class PacketError(Exception):
    """A packet that cannot be answered. number: of the error; why: for people."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


class Access:
    """Handlers by the letter that a packet begins with; each gets the rest of it as text, and the whole packet.

    They raise PacketError, and ValueError for what is no packet of that kind at all.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._machine = target.machine
        self._breakpoints: set[tuple[str, int]] = set()
        self.handlers: dict[str, Callable[[str, bytes], bytes]] = {
            "g": self._get_all, "G": self._set_all, "p": self._get, "P": self._set,
            "m": self._read, "M": self._write_hex, "X": self._write_binary, "Z": self._insert, "z": self._remove,
        }  # fmt: skip

    def is_hardware(self, addr: int) -> bool:
        """Whether the client asked for a hardware breakpoint there."""
        return ("1", addr) in self._breakpoints

    # ---- registers

    def hex(self, number: int) -> str:
        """A register's bytes as they lie in memory; x where there is no such register here. Raises IndexError."""
        register = REGISTERS[number]
        if not register.machine:
            return "x" * 2 * register.size
        value = self._machine.register(register.machine)
        return (value & ((1 << 8 * register.size) - 1)).to_bytes(register.size, "little").hex()

    def _set_hex(self, number: int, text: str) -> None:
        register = REGISTERS[number]
        if len(text) != 2 * register.size:
            raise PacketError(INVALID, f"{register.name} has {register.size} bytes")
        if not register.machine or "x" in text:
            return
        value = int.from_bytes(bytes.fromhex(text), "little")
        if register.machine != "rip" and register.size == 4 and register.machine != "eflags":
            if value != self._machine.register(register.machine):
                raise PacketError(INVALID, f"{register.name} cannot be changed at user privilege")
            return
        self._machine.set_register(register.machine, value)

    def _get_all(self, _rest: str, _packet: bytes) -> bytes:
        return "".join(map(self.hex, range(len(REGISTERS)))).encode()

    def _set_all(self, rest: str, _packet: bytes) -> bytes:
        at = 0
        if len(rest) != sum(2 * register.size for register in REGISTERS):
            raise PacketError(INVALID, "not all registers are there")
        for number, register in enumerate(REGISTERS):
            self._set_hex(number, rest[at : at + 2 * register.size])
            at += 2 * register.size
        return b"OK"

    def _get(self, rest: str, _packet: bytes) -> bytes:
        return self.hex(number_of(rest)).encode()

    def _set(self, rest: str, _packet: bytes) -> bytes:
        number, _, value = rest.partition("=")
        self._set_hex(number_of(number), value)
        return b"OK"

    # ---- memory

    def _read(self, rest: str, _packet: bytes) -> bytes:
        addr, size = map(number_of, rest.split(","))
        data = self._target.memory(addr, min(size, MOST))
        if not data and size:
            raise PacketError(_FAULT, f"nothing is mapped at {addr:#x}")
        return data.hex().encode()

    def _write_hex(self, rest: str, _packet: bytes) -> bytes:
        head, _, digits = rest.partition(":")
        return self._write(head, bytes.fromhex(digits))

    def _write_binary(self, rest: str, packet: bytes) -> bytes:
        head = rest.partition(":")[0]
        return self._write(head, packet[len(head) + 2 :])

    def _write(self, head: str, data: bytes) -> bytes:
        addr, size = map(number_of, head.split(","))
        if size != len(data):
            raise PacketError(INVALID, f"{size} bytes are announced, {len(data)} came")
        if data and (addr + size > _WORD or not self._machine.write(addr, data)):
            raise PacketError(_FAULT, f"nothing is mapped at {addr:#x}")
        return b"OK"

    # ---- breakpoints

    def _insert(self, rest: str, _packet: bytes) -> bytes:
        kind, addr, size = _breakpoint(rest)
        if kind in ("0", "1"):
            self._breakpoints.add((kind, addr))
            self._machine.breakpoints.add(addr)
            return b"OK"
        if kind not in WATCHES:
            return b""
        if not 0 < size <= PAGE or addr + size > _WORD:
            raise PacketError(INVALID, f"{size} bytes cannot be watched")
        self._machine.watch(addr, size, WATCHES[kind][0])
        return b"OK"

    def _remove(self, rest: str, _packet: bytes) -> bytes:
        kind, addr, size = _breakpoint(rest)
        if kind in ("0", "1"):
            self._breakpoints.discard((kind, addr))
            self._machine.breakpoints = {addr for _, addr in self._breakpoints}
            return b"OK"
        if kind not in WATCHES:
            return b""
        self._machine.unwatch(addr, size, WATCHES[kind][0])
        return b"OK"


def number_of(text: str) -> int:
    """Hexadecimal digits and nothing else. Raises ValueError."""
    if not text or len(text) > 16 or not text.isascii() or not text.isalnum():
        raise ValueError(text)
    return int(text, 16)


def _breakpoint(rest: str) -> tuple[str, int, int]:
    kind, addr, size = rest.split(";", maxsplit=1)[0].split(",")
    return kind, number_of(addr), number_of(size)
