"""The memory of programs as native code sees it: the same host bytes that helpers use, and the native stack."""

import mmap

from emu.runtime.memory import PAGE, ZEROS, Memory, Region
from emu.sandbox import addresses, native
from emu.sandbox.native import Processor


class NativeMemory(Memory):
    """The objects of a program, plus the native stack. Whatever native code wrote beside the objects is zeroed, too."""

    def __init__(self, stack: memoryview, cpu: Processor) -> None:
        super().__init__()
        self._cpu = cpu
        self._pages: dict[int, mmap.mmap] = {}  # by guest address
        self._stack = self.add(Region(addresses.STACK, len(stack), "stack", "the native stack", stack))

    def reset(self) -> None:
        """Forget all objects but the stack; every byte of every arena is zero again."""
        for arena in self.arenas.values():
            edge = -(-arena.used // PAGE) * PAGE
            if edge > len(ZEROS):
                edge = 0
            if edge < arena.size:
                arena.host.madvise(mmap.MADV_DONTNEED, edge, arena.size - edge)
            if edge:
                arena.view[:edge] = ZEROS[:edge]
            arena.used = 0
        self.forget()
        self.add(self._stack)
        for addr in list(self._pages):
            self._unmap(addr)

    # ---- pages that come and go while a program runs

    def new_page(self, addr: int) -> memoryview:
        """A zeroed page of host memory that native code sees at this address."""
        host = mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._pages[addr] = host
        self._cpu.map(addr, host, PAGE, native.READ | native.WRITE)
        return memoryview(host)

    def unmap_page(self, addr: int) -> None:
        """Neither helpers nor native code find the page any more."""
        super().unmap_page(addr)
        self._unmap(addr)

    def _unmap(self, addr: int) -> None:
        self._cpu.unmap(addr, PAGE)
        del self._pages[addr]
