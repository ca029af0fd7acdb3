"""Pages of an arena: allocated, freed, reserved. Source: kernel/bpf/arena.c."""

from typing import TYPE_CHECKING

from bpf.kfuncs import KFUNCS
from emu.runtime.kfuncs.registry import kfunc
from emu.runtime.maps import EINVAL
from emu.runtime.maps_arena import ArenaMap

if TYPE_CHECKING:
    from emu.runtime.world import World


def _arena(world: "World", addr: int) -> ArenaMap | None:
    found = world.map_at(addr)
    return found if isinstance(found, ArenaMap) else None


@kfunc(KFUNCS["bpf_arena_alloc_pages"].text)
def alloc_pages(world: "World", where: int, addr: int, count: int, node: int, flags: int) -> int:
    """The user's address of so many new pages, 0 where there is no room."""
    del node
    arena = _arena(world, where)
    if arena is None or flags or not count or count > arena.spec.max_entries:
        return 0
    return arena.allocate(addr, count)


@kfunc(KFUNCS["bpf_arena_free_pages"].text)
def free_pages(world: "World", where: int, addr: int, count: int) -> None:
    """Give pages back; what is no page is passed over."""
    arena = _arena(world, where)
    if arena is not None and count and addr:
        arena.free(addr, count)


@kfunc(KFUNCS["bpf_arena_reserve_pages"].text)
def reserve_pages(world: "World", where: int, addr: int, count: int) -> int:
    """Keep pages from being allocated."""
    arena = _arena(world, where)
    if arena is None:
        return -EINVAL
    return arena.reserve(addr, count) if count else 0
