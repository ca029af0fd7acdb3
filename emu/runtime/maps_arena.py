"""Arenas: 4 GiB of addresses that a program shares with user space, of which only allocated pages exist (kernel/bpf/arena.c).

A page has two addresses: user space's, and the kernel's, which is `base` plus the low half of the other one. What lies on
none of the pages reads as 0, and stores to it are lost; whoever runs a program sees to that.
"""

from bpf import isa
from bpf.isa import U32
from bpf.maps import ARENA_USER, MapSpec, MapType
from bpf.program import Program
from emu.runtime.maps import BPF_MAP_SIZE, EBUSY, EINVAL, Map
from emu.runtime.memory import PAGE, GuestFault, Memory

F_NO_USER_CONV = 1 << 18
MAX_PAGES = 1024  # that may be allocated at once; a kernel has more
BASE = 0xFFFF_C910_0000_0000  # of the first map's pages: where a kernel has its vmalloc area
END = 0xFFFF_C930_0000_0000  # behind the last one's
_SPAN = 1 << 33  # from one map's pages to the next one's, which leaves room for guards
_REFERENCES = (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX, isa.PSEUDO_MAP_IDX_VALUE)


def arena_of(program: Program) -> int | None:
    """The index of the arena that a program refers to; it may have one only. None without."""
    maps = {index for index, spec in enumerate(program.maps) if spec.type == MapType.ARENA}
    if not maps:
        return None
    loads = (insn for insn in program.insns if insn.code == isa.LD_IMM64 and insn.src in _REFERENCES)
    return next((insn.imm for insn in loads if insn.imm in maps), None)


def base_of(index: int) -> int:
    """The kernel's address of the pages of map `index`: of the byte that user space has at an address with a low half of 0."""
    return BASE + index * _SPAN


class ArenaMap(Map):
    """BPF_MAP_TYPE_ARENA. user: where user space sees its first page; base: as `base_of`.

    The methods `find`, `load` and `store` are those of a `Memory`, of addresses that count from `base`.
    """

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.place(BPF_MAP_SIZE, 0)
        self.user = spec.extra or ARENA_USER
        self.base = base_of(index)
        self.converts = not spec.flags & F_NO_USER_CONV
        self.pages: dict[int, memoryview] = {}  # by the low half of the address, in pages
        self._free = [(0, spec.max_entries)]  # (first page, pages), in the order in which they came

    def direct(self) -> int:
        """What an ld_imm64 of the map's value loads: the user's address of its first page."""
        return self.user

    def to_user(self, addr: int) -> int:
        """An address of the program as user space sees it (addr_space_cast to 1); 0 stays 0."""
        low = addr & U32
        return self.user & ~U32 | low if low and self.converts else low

    # ---- memory

    def find(self, addr: int, size: int, access: str) -> None:
        """Raises GuestFault where not all of [addr, addr + size) is on pages."""
        if addr // PAGE not in self.pages or (addr + size - 1) // PAGE not in self.pages:
            raise GuestFault(self.base + addr, size, access, "no page of the arena is there")

    def load(self, addr: int, size: int) -> int:
        """The unsigned little-endian number of `size` bytes. Raises GuestFault."""
        self.find(addr, size, "read")
        at = addr % PAGE
        raw = bytes(self.pages[addr // PAGE][at : at + size])
        if len(raw) < size:
            raw += bytes(self.pages[addr // PAGE + 1][: size - len(raw)])
        return int.from_bytes(raw, "little")

    def store(self, addr: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value`. Raises GuestFault, with nothing stored."""
        self.find(addr, size, "write")
        raw = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        at = addr % PAGE
        here = min(size, PAGE - at)
        self.pages[addr // PAGE][at : at + here] = raw[:here]
        if here < size:
            self.pages[addr // PAGE + 1][: size - here] = raw[here:]

    # ---- what kfuncs do

    def allocate(self, user: int, count: int) -> int:
        """Zeroed pages, at an address of the user's or, where it is 0, wherever they fit best. Their address, or 0."""
        first = 0
        if user:
            first = self._number(user)
            if user % PAGE or first > self.spec.max_entries - count or not self._take(first, count):
                return 0
        else:
            fitting = [one for one in self._free if one[1] >= count]
            if not fitting:
                return 0
            size = min(one[1] for one in fitting)
            first = [one for one in fitting if one[1] == size][-1][0]
            self._take(first, count)
        if len(self.pages) + count > MAX_PAGES:
            self._give(first, count)
            return 0
        for number in range(first, first + count):
            low = ((self.user & U32) // PAGE + number) & (U32 // PAGE)
            self.pages[low] = self.memory.map_page(self.base + low * PAGE, self.label)
        return self.user & ~U32 | (self.user + first * PAGE) & U32

    def free(self, user: int, count: int) -> None:
        """Pages from an address of the user's on, as far as the arena reaches, are gone."""
        start = self.user & ~U32 | user & U32 & -PAGE
        end = min(self.user + self.spec.max_entries * PAGE, start + count * PAGE)
        if start >= end:
            return
        first, count = self._number(start), (end - start) // PAGE
        self._give(first, count)
        for number in range(start // PAGE, end // PAGE):
            low = number & (U32 // PAGE)
            if self.pages.pop(low, None) is not None:
                self.memory.unmap_page(self.base + low * PAGE)

    def reserve(self, user: int, count: int) -> int:
        """Pages that no allocation shall take. 0 or a negative error."""
        if user % PAGE:
            return 0
        first = self._number(user)
        if first + count > self.spec.max_entries:
            return -EINVAL
        return 0 if self._take(first, count) else -EBUSY

    def _number(self, user: int) -> int:
        """The page at an address of the user's, counted from the first."""
        return ((user - (self.user & U32)) & U32) // PAGE

    def _take(self, first: int, count: int) -> bool:
        """Whether these pages were free; then they are no more."""
        for at, (start, size) in enumerate(self._free):
            if start <= first and first + count <= start + size:
                left = [(start, first - start)] if first > start else []
                right = (
                    [(first + count, start + size - first - count)] if first + count < start + size else []
                )
                self._free[at : at + 1] = []
                self._free += left + right
                return True
        return False

    def _give(self, first: int, count: int) -> None:
        """These pages are free, together with those beside them that were."""
        low, high = first, first + count
        kept = []
        for start, size in self._free:
            if start + size < low or start > high:
                kept.append((start, size))
            else:
                low, high = min(low, start), max(high, start + size)
        self._free = [*kept, (low, high - low)]

    # ---- what user space sees

    def contents(self) -> tuple[tuple[bytes, bytes], ...]:
        """(number of the page, its bytes) of every page that was allocated."""
        first = (self.user & U32) // PAGE
        pages = {(low - first) & (U32 // PAGE): view for low, view in self.pages.items()}
        return tuple((number.to_bytes(4, "little"), bytes(pages[number])) for number in sorted(pages))
