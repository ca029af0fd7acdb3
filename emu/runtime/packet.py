"""The packet of a run: bytes in guest memory with room before and behind, and the window a program may touch.

The program's context mirrors the window; whoever moves it here calls `Packet.moved`, which contexts set.
Knows neither contexts nor program types.
"""

from collections.abc import Callable

from emu.runtime.memory import Memory, Region

ETH_HLEN = 14


def _unheard(_packet: "Packet") -> None:
    """What a packet calls that no context follows."""


class Packet:
    """[meta, data) is metadata, [data, data + linear) directly accessible, [data, data + length) the packet.

    All are offsets into `room`, the bytes of the buffer, which begins at guest address `base`. mac and network
    are the offsets of the headers (skb types). `moved` is called with the packet after each change of the window; it
    must not refer to the packet, or both would wait for the collector of cycles.
    """

    def __init__(self, memory: Memory, data: bytes, headroom: int, tailroom: int, linear: int) -> None:
        self.memory = memory
        self.size = headroom + len(data) + tailroom
        self.arena = memory.arenas["packet"]
        self.base, self.room = self.arena.take(self.size, 64)
        self.room[headroom : headroom + len(data)] = data
        self.use(headroom + len(data))
        self.meta = self.data = headroom
        self.length = len(data)
        self.linear = linear
        self.mac = self.network = headroom
        self.encapsulated = False
        self.csum_level: int | None = None  # checksums known to be good: of CHECKSUM_UNNECESSARY, else None
        self.moved: Callable[[Packet], None] = _unheard
        self.region: Region | None = None
        self.show()

    def use(self, end: int) -> None:
        """Count as used what lies before offset `end`: the arena zeroes only that when it is reset.

        The packet is the last object of its arena, so a large tailroom costs nothing until it is written to.
        """
        self.arena.used = self.base - self.arena.base + end

    # ---- the window ----

    @property
    def end(self) -> int:
        """Offset behind the directly accessible bytes."""
        return self.data + self.linear

    def show(self) -> None:
        """Make exactly [meta, end) accessible, and tell the context."""
        if self.region is not None:
            self.memory.drop(self.region)
            self.region = None
        if self.end > self.meta:
            self.region = self.memory.add(
                Region(
                    self.base + self.meta,
                    self.end - self.meta,
                    "packet",
                    "packet",
                    self.room[self.meta : self.end],
                )
            )
        self.moved(self)

    @property
    def headroom(self) -> int:
        """Bytes before the metadata."""
        return self.meta

    @property
    def tailroom(self) -> int:
        """Bytes behind the packet."""
        return self.size - self.data - self.length

    # ---- changes; each returns False, changing nothing, when there is no room ----

    def push(self, size: int) -> bool:
        """Grow at the front by `size` bytes, which keep what was there (skb_push)."""
        if size > self.data:
            return False
        self.data -= size
        self.linear += size
        self.length += size
        self.meta = self.data
        self.show()
        return True

    def pull(self, size: int) -> bool:
        """Shrink at the front by `size` bytes (skb_pull)."""
        if size > self.linear:
            return False
        self.data += size
        self.linear -= size
        self.length -= size
        self.meta = self.data
        self.show()
        return True

    def move_head(self, delta: int, keep: int = 0) -> bool:
        """xdp: move the start by `delta`; `keep` bytes of metadata move along."""
        start = self.data + delta
        if start - keep < 0 or start > self.end:
            return False
        if keep:
            self.room[start - keep : start] = bytes(self.room[self.meta : self.data])
        self.linear -= delta
        self.length -= delta
        self.data = start
        self.meta = start - keep
        self.show()
        return True

    def resize(self, length: int) -> bool:
        """Set the length: cut the end off, or add zero bytes."""
        grow = length - self.length
        if length < 0 or grow > self.tailroom:
            return False
        if grow > 0:
            at = self.data + self.length
            self.use(max(self.arena.used - (self.base - self.arena.base), at + grow))
            self.room[at : at + grow] = bytes(grow)
        was_linear = self.linear == self.length
        self.length = length
        self.linear = length if was_linear else min(self.linear, length)
        self.show()
        return True

    def set_meta(self, size: int) -> bool:
        """Let the metadata be `size` bytes long."""
        if size > self.data:
            return False
        self.meta = self.data - size
        self.show()
        return True

    def move_window(self, meta: int) -> None:
        """Make the first `meta` bytes of the packet its metadata."""
        self.data += meta
        self.linear -= meta
        self.length -= meta
        self.show()

    def make_linear(self, size: int) -> bool:
        """Make the first `size` bytes directly accessible (skb_ensure_writable and the like)."""
        if size > self.length:
            return False
        if size > self.linear:
            self.linear = size
        self.show()
        return True

    def make_room(self, at: int, size: int) -> bool:
        """Insert (size > 0) zero bytes, or remove (size < 0) bytes, at offset `at` of the packet, moving the front."""
        if at > self.linear or (size < 0 and at - size > self.linear) or size > self.data:
            return False
        front = bytes(self.room[self.data : self.data + at])
        self.data -= size
        self.linear += size
        self.length += size
        self.room[self.data : self.data + at] = front
        if size > 0:
            self.room[self.data + at : self.data + at + size] = bytes(size)
        self.meta = self.data
        self.show()
        return True

    # ---- contents, whatever is linear ----

    def load_bytes(self, off: int, size: int) -> bytes | None:
        """`size` bytes at offset `off` of the packet (may be negative, into the headers before it), or None."""
        at = self.data + off
        if size < 0 or at < 0 or off + size > self.length:
            return None
        return bytes(self.room[at : at + size])

    def store_bytes(self, off: int, data: bytes) -> bool:
        """Overwrite bytes of the packet."""
        at = self.data + off
        if at < 0 or off + len(data) > self.length:
            return False
        self.room[at : at + len(data)] = data
        return True

    def contents(self, with_meta: bool = False) -> bytes:
        """The whole packet."""
        return bytes(self.room[self.meta if with_meta else self.data : self.data + self.length])
