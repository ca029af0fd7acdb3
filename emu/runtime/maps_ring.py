"""Ring buffers (kernel/bpf/ringbuf.c), as programs fill them; user space reads them in `records`.

A record is an 8-byte header and the sample, together padded to 8 bytes. The data pages are mapped twice in a
row, so that a record that passes the end is contiguous; here the buffer simply is twice as long.
"""

from bpf.maps import MapSpec
from emu.runtime.maps import BPF_MAP_SIZE, EAGAIN, EINVAL, F_RB_OVERWRITE, Map, round8
from emu.runtime.memory import Memory, Region
from emu.runtime.traps import HelperTrap

HEADER = 8
BUSY, DISCARD = 1 << 31, 1 << 30
MAX_RECORD = 0xFFFFFFFF // 4
NO_WAKEUP, FORCE_WAKEUP = 1, 2
PAGES = 4096  # the map's own pages, before its data; records count their distance in pages


class RingMap(Map):
    """BPF_MAP_TYPE_RINGBUF. Positions count bytes ever produced or consumed."""

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        self.size = spec.max_entries
        self.view = self.place(BPF_MAP_SIZE, 2 * self.size)
        self.data = self.addr + BPF_MAP_SIZE
        self.producer = self.consumer = self.overwritten = 0
        self.open: dict[int, Region] = {}  # sample address -> reserved sample

    def reserve(self, size: int) -> int:
        """Address of a new sample of `size` bytes, or 0 when there is no room."""
        if size > MAX_RECORD:
            return 0
        length = round8(size + HEADER)
        if length > self.size or not self._make_room(self.producer + length):
            return 0
        at = self.producer % self.size
        self.producer += length
        self._header(at, size | BUSY)
        sample = self.data + at + HEADER
        region = Region(
            sample, size, "mem", f"sample in {self.label}", self.view[at + HEADER : at + HEADER + size]
        )
        self.open[sample] = self.memory.add(region)
        return sample

    def _make_room(self, end: int) -> bool:
        """True when the producer may go on to position `end`; drops the oldest records if the map is so flagged."""
        if not self.spec.flags & F_RB_OVERWRITE:
            return end - self.consumer < self.size
        if end - self._pending() >= self.size:
            return False
        while end - self.overwritten >= self.size:
            self.overwritten += self._length(self.overwritten)
        return True

    def _length(self, position: int) -> int:
        at = position % self.size
        return round8((int.from_bytes(self.view[at : at + 4], "little") & ~(BUSY | DISCARD)) + HEADER)

    def _pending(self) -> int:
        """Position of the first record that is still reserved; the producer's when there is none."""
        if not self.open:
            return self.producer
        here = self.producer % self.size
        return self.producer - max(
            (here - (sample - HEADER - self.data)) % self.size or self.size for sample in self.open
        )

    def _header(self, at: int, word: int) -> None:
        self.view[at : at + 4] = word.to_bytes(4, "little")
        self.view[at + 4 : at + 8] = ((at + PAGES) // PAGES).to_bytes(4, "little")

    def commit(self, sample: int, *, discard: bool) -> None:
        """Submit or discard the reserved sample at this address. Raises HelperTrap when there is none."""
        region = self.open.pop(sample, None)
        if region is None:
            raise HelperTrap("helper", f"{sample:#x} is no reserved sample")
        self.memory.drop(region)
        self._header(sample - HEADER - self.data, region.size | (DISCARD if discard else 0))

    def output(self, data: bytes, flags: int = 0) -> int:
        """bpf_ringbuf_output: reserve, copy, submit."""
        if flags & ~(NO_WAKEUP | FORCE_WAKEUP):
            return -EINVAL
        sample = self.reserve(len(data))
        if not sample:
            return -EAGAIN
        self.open[sample].view[:] = data
        self.commit(sample, discard=False)
        return 0

    def query(self, what: int) -> int:
        """bpf_ringbuf_query: 0 bytes not yet consumed, 1 size, 2 consumer, 3 producer, 4 overwrite position."""
        waiting = self.producer - max(self.consumer, self.overwritten)
        answers = (waiting, self.size, self.consumer, self.producer, self.overwritten)
        return answers[what] if 0 <= what < len(answers) else 0

    def records(self) -> list[bytes]:
        """Consume as user space does: the samples up to the first that is still reserved, without discarded ones."""
        found = []
        self.consumer = max(self.consumer, self.overwritten)
        while self.consumer < self.producer:
            at = self.consumer % self.size
            word = int.from_bytes(self.view[at : at + 4], "little")
            if word & BUSY:
                break
            size = word & ~(BUSY | DISCARD)
            if not word & DISCARD:
                found.append(bytes(self.view[at + HEADER : at + HEADER + size]))
            self.consumer += round8(size + HEADER)
        return found
