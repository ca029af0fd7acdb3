"""Helpers that call back into the program. They are generators: see emu.runtime.callback."""

from collections.abc import Generator
from typing import TYPE_CHECKING

from emu.runtime.callback import Callback
from emu.runtime.helpers.registry import E2BIG, EINVAL, U64, Ptr, helper

if TYPE_CHECKING:
    from emu.runtime.world import World

MAX_LOOPS = 8 * 1024 * 1024  # BPF_MAX_LOOPS


@helper("bpf_loop")
def loop(world: "World", nr_loops: U64, callback: Ptr, ctx: Ptr, flags: U64) -> Generator[Callback, int, int]:
    """callback(index, ctx) until it returns something else than 0. How often it ran, or an error.

    With flags known to be 0 the verifier puts the loop in place of the call (inline_bpf_loop): it compares 64 bits of
    the count, and too large a one gives 32 bits of the error.
    """
    del world
    if flags:
        return -EINVAL
    if nr_loops > MAX_LOOPS:
        return -E2BIG & 0xFFFF_FFFF
    for index in range(nr_loops):
        if (yield Callback(callback, (index, ctx))):
            return index + 1
    return nr_loops


@helper("bpf_for_each_map_elem")
def for_each_map_elem(
    world: "World", bpf_map: Ptr, callback: Ptr, ctx: Ptr, flags: U64
) -> Generator[Callback, int, int]:
    """callback(map, key, value, ctx) for each element until it returns something else than 0. How often it ran."""
    found = world.map_at(bpf_map)
    if flags:
        return -EINVAL
    visited = 0
    for key, value in found.walk():
        visited += 1
        if (yield Callback(callback, (bpf_map, key, value, ctx))):
            break
    return visited
