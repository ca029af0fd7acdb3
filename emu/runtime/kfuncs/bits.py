"""Iterators over the bits of words: `bpf_iter_bits_{new,next,destroy}`.

The iterator is 16 bytes: a word or the place of several, how many bits there are, and the last one found. Source:
kernel/bpf/helpers.c.
"""

from typing import TYPE_CHECKING

from bpf.kfuncs import KFUNCS
from emu.runtime.dynptr import E2BIG, EFAULT, EINVAL
from emu.runtime.kfuncs.registry import kfunc
from emu.runtime.memory import GuestFault

if TYPE_CHECKING:
    from emu.runtime.world import World

MAX_WORDS = 511  # BITS_ITER_NR_WORDS_MAX
_STATE = "iter_bits"
_NR_BITS, _BIT = 8, 12  # offsets


@kfunc(KFUNCS["bpf_iter_bits_new"].text)
def iter_bits_new(world: "World", it: int, words: int, count: int) -> int:
    """Begin with the bits of `count` words, which are copied. -EFAULT where they cannot be read."""
    world.memory.store(it, 8, 0)
    world.memory.store(it + _NR_BITS, 4, 0)
    world.memory.store(it + _BIT, 4, -1)
    if not words or not count:
        return -EINVAL
    if count > MAX_WORDS:
        return -E2BIG
    try:
        bits = world.memory.read(words, 8 * count)
    except GuestFault:
        return -EFAULT
    if count == 1:
        world.memory.write(it, bits)
    world.state.setdefault(_STATE, {})[it] = int.from_bytes(bits, "little")
    world.memory.store(it + _NR_BITS, 4, 64 * count)
    return 0


@kfunc(KFUNCS["bpf_iter_bits_next"].text)
def iter_bits_next(world: "World", it: int) -> int:
    """Address of the number of the next bit that is set, 0 at the end."""
    count = world.memory.load(it + _NR_BITS, 4)
    last = world.memory.load(it + _BIT, 4)
    last = -1 if last == 0xFFFFFFFF else last
    if last >= count:
        return 0
    rest = world.state[_STATE][it] >> last + 1 if count else 0
    bit = last + 1 + (rest & -rest).bit_length() - 1 if rest else count
    world.memory.store(it + _BIT, 4, bit)
    return it + _BIT if bit < count else 0


@kfunc(KFUNCS["bpf_iter_bits_destroy"].text)
def iter_bits_destroy(world: "World", it: int) -> None:
    """Give the copied words back."""
    world.state.get(_STATE, {}).pop(it, None)
