"""Dynptrs: struct bpf_dynptr_kern in guest memory, and reading and writing what it points to.

    0        8               12      16
    +--------+---------------+-------+
    | data   | size and kind | offset|     size: bits 0..23, kind: 28..30, read-only: 31
    +--------+---------------+-------+

`data` is the address of the memory or, for packets, of the context. Shared by helpers and kfuncs.
"""

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from emu.runtime.contexts import SkbContext
from emu.runtime.packet import Packet
from emu.runtime.traps import HelperTrap

if TYPE_CHECKING:
    from emu.runtime.world import World

INVALID, LOCAL, RINGBUF, SKB, XDP = range(5)
MAX_SIZE = (1 << 24) - 1
READ_ONLY = 1 << 31
KIND_SHIFT = 28
EINVAL, E2BIG, ERANGE, EFAULT = 22, 7, 34, 14
_LAYOUT = struct.Struct("<QII")
_STORE_FLAGS = 3  # of bpf_skb_store_bytes


@dataclass(frozen=True, slots=True)
class Dynptr:
    """The value of a dynptr; `data` 0 is a null dynptr."""

    data: int = 0
    size: int = 0
    kind: int = INVALID
    offset: int = 0
    read_only: bool = False

    @staticmethod
    def load(world: "World", addr: int) -> "Dynptr":
        """The dynptr at `addr`."""
        data, word, offset = _LAYOUT.unpack(world.memory.read(addr, 16))
        return Dynptr(data, word & MAX_SIZE, word >> KIND_SHIFT & 7, offset, bool(word & READ_ONLY))

    def save(self, world: "World", addr: int) -> None:
        """Store it at `addr`."""
        word = self.size | self.kind << KIND_SHIFT | (READ_ONLY if self.read_only else 0)
        world.memory.write(addr, _LAYOUT.pack(self.data, word, self.offset))

    def misses(self, offset: int, size: int) -> bool:
        """Whether [offset, offset + size) is not within it (bpf_dynptr_check_off_len)."""
        return size > self.size or offset > self.size - size

    # ---- what it points to; the caller has checked the range ----

    def _packet(self, world: "World") -> Packet:
        if world.packet is None or world.context is None or world.context.addr != self.data:
            raise HelperTrap("helper", f"the dynptr's {self.data:#x} is not the context of this run")
        return world.packet

    def read(self, world: "World", offset: int, size: int) -> bytes | int:
        """`size` bytes, or an error."""
        at = self.offset + offset
        if self.kind in (LOCAL, RINGBUF):
            return world.memory.read(self.data + at, size)
        found = self._packet(world).load_bytes(at, size)
        return -EFAULT if found is None else found

    def write(self, world: "World", offset: int, data: bytes, flags: int) -> int:
        """0 or an error; only packets of an skb take flags."""
        at = self.offset + offset
        if self.kind in (LOCAL, RINGBUF):
            if flags:
                return -EINVAL
            world.memory.write(self.data + at, data)
            return 0
        packet = self._packet(world)
        if flags & ~(_STORE_FLAGS if self.kind == SKB else 0):
            return -EINVAL
        if not packet.make_linear(at + len(data)) or not packet.store_bytes(at, data):
            return -EFAULT
        if flags & 2 and isinstance(world.context, SkbContext):
            world.context["hash"] = 0
        return 0

    def address(self, world: "World", offset: int, size: int) -> int:
        """Guest address of the bytes, 0 when they are not directly accessible."""
        at = self.offset + offset
        if self.kind in (LOCAL, RINGBUF):
            return self.data + at
        packet = self._packet(world)
        return packet.base + packet.data + at if at + size <= packet.linear else 0

    def cut(self, start: int, end: int) -> "Dynptr | int":
        """The part [start, end), or an error (bpf_dynptr_adjust)."""
        if not self.data or start > end:
            return -EINVAL
        if start > self.size or end > self.size:
            return -ERANGE
        return replace(self, offset=self.offset + start, size=end - start)
