"""Functions of the kernel that no program calls by number, but that the verifier's fixups call."""

from collections.abc import Callable
from typing import TYPE_CHECKING

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


def timed_may_goto(world: "World", counter: int) -> int:
    """arch_bpf_timed_may_goto: a new count of rounds for the loop whose {count, timestamp} pair is at `counter`.

    At the first call of an activation the timestamp is 0: it is set, and 65535 more rounds are granted. Later
    calls of a real kernel grant more until a quarter of a second is over; here it always is.
    """
    if world.memory.load(counter + 8, 8) == 0:
        world.memory.store(counter + 8, 8, world.env.now())
        return MAY_GOTO_ROUNDS
    return 0


INTERNALS: dict[str, tuple[int, Callable[..., int]]] = {
    "bpf_skb_load_helper_8_no_cache": (2, _loader(1)),
    "bpf_skb_load_helper_16_no_cache": (2, _loader(2)),
    "bpf_skb_load_helper_32_no_cache": (2, _loader(4)),
    "arch_bpf_timed_may_goto": (1, timed_may_goto),
}
