"""What kfuncs do: each is a C prototype and a Python function. `bpf.kfuncs` has the table of prototypes.

    from emu.runtime.kfuncs import kfunc

    @kfunc("s32 my_pick(u64 a, u64 b, u64 c, u64 d, u64 e, s8 f, const void *p, u32 p__sz)")
    def my_pick(world, a, b, c, d, e, f, p, size):
        return f + sum(world.memory.read(p, size))

docs/kfuncs.md explains how a user adds some.
"""

from emu.runtime.kfuncs import arena, bits, convention, kernel, strings, testmod
from emu.runtime.kfuncs.registry import IMPLEMENTED, Rax, implement, kfunc, load

__all__ = [
    "IMPLEMENTED",
    "Rax",
    "arena",
    "bits",
    "convention",
    "implement",
    "kernel",
    "kfunc",
    "load",
    "strings",
    "testmod",
]
