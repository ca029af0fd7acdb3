"""Guest memory: one flat 64-bit address space of objects, in host memory that the sandbox can map too.

An *arena* is a page-aligned piece of host memory at a fixed guest address; a *region* is one object in an
arena (a map's values, a packet, a context, a stack). The interpreter checks each access against regions, to
the byte; the sandbox maps whole arenas and so sees only their edges. Both engines allocate in the same
order, so the same object has the same address in both.

Knows nothing of instructions, of programs, or of Unicorn.
"""

import mmap
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from bpf.errors import InternalError

PAGE = 4096
ZEROS = memoryview(bytes(1 << 20))

# name -> (guest address, bytes reserved). Packets lie below 4 GiB, because the UAPI context has 32-bit pointers.
# No two begin at the same page number modulo 64: a processor that looks pages up by these bits keeps them all.
ARENAS: dict[str, tuple[int, int]] = {
    "packet": (0x4000_0000, 1 << 20),
    "ctx": (0xFFFF_8880_0101_0000, 1 << 20),
    "maps": (0xFFFF_8880_1002_0000, 64 << 20),
    "heap": (0xFFFF_8880_2002_8000, 64 << 20),
    "variables": (0xFFFF_FFFF_8310_3000, 1 << 20),
}


class GuestFault(Exception):  # noqa: N818 - what a guest did, no error of ours
    """An access that no object of the program allows. Engines turn it into a Trap."""

    def __init__(self, addr: int, size: int, access: str, why: str) -> None:
        self.addr = addr
        self.size = size
        self.access = access
        self.why = why
        super().__init__(f"{access} of {size} bytes at {addr:#x}: {why}")


@dataclass(slots=True, eq=False)
class Region:
    """One object. base: guest address; size: bytes; kind: "ctx", "packet", "map", "value", "stack", "mem", ...

    view: its bytes, writable from the host whatever `writable` and `readable` say of the guest. live: False once
    it was freed.
    """

    base: int
    size: int
    kind: str
    name: str
    view: memoryview
    writable: bool = True
    live: bool = True
    readable: bool = True

    @property
    def end(self) -> int:
        """First guest address behind the object."""
        return self.base + self.size


class Arena:
    """Host memory at a guest address; hands out pieces from its start."""

    def __init__(self, name: str, base: int, size: int) -> None:
        self.name = name
        self.base = base
        self.size = size
        # Private: MADV_DONTNEED zeroes no shared mapping.
        self.host = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.view = memoryview(self.host)
        self.used = 0

    def take(self, size: int, align: int) -> tuple[int, memoryview]:
        """The next free, zeroed piece: its guest address and bytes. Raises InternalError when the arena is full."""
        at = -(-self.used // align) * align
        if at + size > self.size:
            raise InternalError(f"arena {self.name} is full: {size} bytes wanted, {self.size - at} left")
        self.used = at + size
        return self.base + at, self.view[at : at + size]

    def reset(self) -> None:
        """Forget all pieces; what was used is zero again."""
        if self.used > 1 << 20:
            self.host.madvise(mmap.MADV_DONTNEED, 0, -(-self.used // PAGE) * PAGE)
        elif self.used:
            self.view[: self.used] = ZEROS[: self.used]
        self.used = 0


class Memory:
    """The objects of one running program.

    Reads and writes raise GuestFault unless they lie within one live region, and writes unless it is writable.
    """

    def __init__(self, arenas: dict[str, tuple[int, int]] | None = None) -> None:
        self.arenas = {name: Arena(name, *where) for name, where in (arenas or ARENAS).items()}
        self._bases: list[int] = []
        self._regions: list[Region] = []

    def alloc(
        self,
        arena: str,
        size: int,
        kind: str,
        name: str,
        *,
        align: int = 8,
        gap: int = 8,
        writable: bool = True,
    ) -> Region:
        """A new zeroed object of `size` bytes; `gap` unowned bytes follow it, so that neighbours never touch."""
        base, view = self.arenas[arena].take(size + gap, align)
        return self.add(Region(base, size, kind, name, view[:size], writable))

    def add(self, region: Region) -> Region:
        """Make an object known that lies in memory of the caller's own. Raises InternalError when it overlaps another."""
        base, bases, regions = region.base, self._bases, self._regions
        at = bisect_right(bases, base)
        before = regions[at - 1] if at else None
        if (before is not None and before.base + before.size > base) or (
            at < len(bases) and base + region.size > bases[at]
        ):
            raise InternalError(f"region {region.name} at {base:#x} overlaps another")
        bases.insert(at, base)
        regions.insert(at, region)
        return region

    def drop(self, region: Region) -> None:
        """Forget an object; later accesses fault."""
        at = bisect_right(self._bases, region.base) - 1
        if at < 0 or self._regions[at] is not region:
            raise InternalError(f"region {region.name} is not known")
        del self._bases[at], self._regions[at]
        region.live = False

    def reset(self) -> None:
        """Forget all objects and zero what they used."""
        self.forget()
        for arena in self.arenas.values():
            arena.reset()

    def forget(self) -> None:
        """Forget all objects, whatever is in them."""
        self._bases.clear()
        self._regions.clear()

    def clear(self, arenas: tuple[str, ...]) -> None:
        """Forget the objects of these arenas and zero what they used; all others stay."""
        for name in arenas:
            arena = self.arenas[name]
            if arena.used:
                low, high = (
                    bisect_left(self._bases, arena.base),
                    bisect_left(self._bases, arena.base + arena.size),
                )
                for region in self._regions[low:high]:
                    region.live = False
                del self._bases[low:high], self._regions[low:high]
                arena.reset()

    def map_page(self, addr: int, name: str) -> memoryview:
        """A new zeroed page at a guest address outside of all arenas: an object of its own."""
        view = self.new_page(addr)
        self.add(Region(addr, PAGE, "page", name, view))
        return view

    def new_page(self, addr: int) -> memoryview:
        """The bytes of a new page at a guest address."""
        del addr
        return memoryview(bytearray(PAGE))

    def unmap_page(self, addr: int) -> None:
        """The page at this address is gone."""
        region = self.region_at(addr)
        if region is None or region.base != addr:
            raise InternalError(f"no page at {addr:#x}")
        self.drop(region)

    def within(self, arenas: tuple[str, ...]) -> list[Region]:
        """All objects of these arenas."""
        out: list[Region] = []
        for name in arenas:
            arena = self.arenas[name]
            if arena.used:
                low = bisect_left(self._bases, arena.base)
                out += self._regions[low : bisect_left(self._bases, arena.base + arena.size)]
        return out

    def region_at(self, addr: int) -> Region | None:
        """The object that owns the byte at `addr`, or None."""
        at = bisect_right(self._bases, addr) - 1
        if at < 0:
            return None
        region = self._regions[at]
        return region if addr < region.base + region.size else None

    def find(self, addr: int, size: int, access: str) -> Region:
        """The object that holds [addr, addr + size). Raises GuestFault; `access` is "read" or "write"."""
        at = bisect_right(self._bases, addr) - 1
        if at >= 0:
            region = self._regions[at]
            if addr < region.base + region.size:
                if addr + size > region.base + region.size:
                    raise GuestFault(
                        addr, size, access, f"runs {addr + size - region.end} bytes past {region.name}"
                    )
                if access == "write" and not region.writable:
                    raise GuestFault(addr, size, access, f"{region.name} is read-only")
                if access == "read" and not region.readable:
                    raise GuestFault(addr, size, access, f"{region.name} is write-only")
                return region
        raise GuestFault(addr, size, access, "no object of the program is there")

    def read(self, addr: int, size: int) -> bytes:
        """`size` bytes at `addr`."""
        if size == 0:
            return b""
        region = self.find(addr, size, "read")
        at = addr - region.base
        return bytes(region.view[at : at + size])

    def write(self, addr: int, data: bytes) -> None:
        """Store `data` at `addr`."""
        if not data:
            return
        region = self.find(addr, len(data), "write")
        at = addr - region.base
        region.view[at : at + len(data)] = data

    def load(self, addr: int, size: int) -> int:
        """The unsigned little-endian number of `size` bytes at `addr`."""
        region = self.find(addr, size, "read")
        at = addr - region.base
        return int.from_bytes(region.view[at : at + size], "little")

    def store(self, addr: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value` at `addr`, little-endian."""
        region = self.find(addr, size, "write")
        at = addr - region.base
        region.view[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
