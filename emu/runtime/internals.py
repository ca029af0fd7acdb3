"""Functions of the kernel that no program calls by number, but that the verifier's fixups call."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.runtime.maps_hash import HashMap
from emu.runtime.traps import HelperTrap

if TYPE_CHECKING:
    from emu.runtime.world import World

_MASK = (1 << 64) - 1
EFAULT = 14
MAY_GOTO_ROUNDS = 65535  # BPF_MAX_TIMED_LOOPS


def _loader(size: int) -> Callable[..., int]:
    def load(world: "World", skb: int, off: int) -> int:
        del skb
        off &= 0xFFFFFFFF
        value = world.skb_load(off - (1 << 32) if off >> 31 else off, size)
        return -EFAULT & _MASK if value is None else value

    return load


def _cached_loader(size: int) -> Callable[..., int]:
    """The variant that is told where the first bytes of the packet are; what it loads is the same."""
    load = _loader(size)

    def cached(world: "World", skb: int, data: int, headlen: int, off: int) -> int:
        del data, headlen
        return load(world, skb, off)

    return cached


def timed_may_goto(world: "World", counter: int) -> int:
    """arch_bpf_timed_may_goto: a new count of rounds for the loop whose {count, timestamp} pair is at `counter`.

    At the first call of an activation the timestamp is 0: it is set, and 65535 more rounds are granted. Later
    calls of a real kernel grant more until a quarter of a second is over; here it always is.
    """
    if world.memory.load(counter + 8, 8) == 0:
        world.memory.store(counter + 8, 8, world.env.glance())
        return MAY_GOTO_ROUNDS
    return 0


def htab_lookup_elem(world: "World", map_addr: int, key: int) -> int:
    """__htab_map_lookup_elem: the struct htab_elem of a key, or 0."""
    one = world.map_at(map_addr)
    if not isinstance(one, HashMap):
        raise HelperTrap("helper", f"{one.label} is no hash table")
    return one.element(world.memory.read(key, one.spec.key_size))


INTERNALS: dict[str, tuple[int, Callable[..., int]]] = {
    "bpf_skb_load_helper_8": (4, _cached_loader(1)),
    "bpf_skb_load_helper_16": (4, _cached_loader(2)),
    "bpf_skb_load_helper_32": (4, _cached_loader(4)),
    "bpf_skb_load_helper_8_no_cache": (2, _loader(1)),
    "bpf_skb_load_helper_16_no_cache": (2, _loader(2)),
    "bpf_skb_load_helper_32_no_cache": (2, _loader(4)),
    "arch_bpf_timed_may_goto": (1, timed_may_goto),
    "__htab_map_lookup_elem": (2, htab_lookup_elem),
}


# What a call of a generic helper becomes when the verifier knows the map's type: the type's own function.
_OPERATIONS = {
    "_lookup_elem": 1, "_update_elem": 2, "_delete_elem": 3, "_push_elem": 87, "_pop_elem": 88, "_peek_elem": 89,
    "_lookup_percpu_elem": 195, "_redirect": 51,
}  # fmt: skip


def helper_behind(symbol: str) -> int | None:
    """Number of the helper that a call of `symbol` stands for, None when it stands for none."""
    if symbol == "bpf_user_rnd_u32":
        return 7
    if symbol.startswith("bpf_for_each_") and symbol.endswith("_elem"):
        return 164
    for suffix in sorted(_OPERATIONS, key=len, reverse=True):
        if symbol.endswith(suffix):
            return _OPERATIONS[suffix]
    return None
