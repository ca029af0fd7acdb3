"""The memory of programs as native code sees it: the same host bytes that helpers use, and the native stack."""

import mmap

from emu.runtime.memory import PAGE, ZEROS, Memory, Region
from emu.sandbox import addresses


class NativeMemory(Memory):
    """The objects of a program, plus the native stack. Whatever native code wrote beside the objects is zeroed, too."""

    def __init__(self, stack: memoryview) -> None:
        super().__init__()
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
