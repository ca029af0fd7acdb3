"""The okf_* kfuncs: they show where each argument arrived and how it was extended.

They compute what the kernel module that the recordings were made with computes, in 64 bits with wraparound. Each
logged call is kept in the world: `okf_last(i)` is argument i as C saw it, extended by its type, `okf_raw(i)` the word
that was passed. A real kernel's okf_raw(i) of an i behind the last argument is whatever lies there, and okf_raw(12)
its stack pointer; here the former is 0 and the latter RSP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bpf.kfuncs import KFUNCS
from emu.runtime.kfuncs.registry import MASK, Rax, implement, kfunc

if TYPE_CHECKING:
    from emu.runtime.world import World

RSP = 0xFFFFC90000003F58  # 8 above a multiple of 16, as the calling convention has it at a function's entry
SLOTS = 12


@dataclass(slots=True)
class Log:
    """The last logged call and how many there were."""

    seen: tuple[int, ...] = (0,) * SLOTS
    raw: tuple[int, ...] = (0,) * SLOTS + (0,)
    count: int = 0


def log_of(world: "World") -> Log:
    """The world's own log; it lasts as long as the case."""
    log: Log = world.state.setdefault("okf", Log())
    return log


Value = Callable[["World", Sequence[int]], int]


def _logged(name: str, value: Value) -> None:
    """Register a kfunc of the table that logs its call; `value` makes all of rax from what C saw."""
    proto = KFUNCS[name].proto
    types = tuple(param.type for param in proto.params)

    def call(world: "World", *words: int) -> int:
        seen = [made.extend(word) for made, word in zip(types, words, strict=True)]
        log = log_of(world)
        log.seen = (*seen, *(0,) * (SLOTS - len(seen)))
        log.raw = (*words, *(0,) * (SLOTS - len(words)), RSP)
        rax = value(world, seen) & MASK
        log.count += 1
        return rax

    implement(proto, call)


def _weighted(world: "World", seen: Sequence[int]) -> int:
    del world
    return sum(weight * word for weight, word in enumerate(seen, 1))


def _weighted_bools(world: "World", seen: Sequence[int], bools: Sequence[bool]) -> int:
    """The same with bools, which need not be 0 or 1. gcc relies on it: some products it makes by masking."""
    del world
    total = 0
    for weight, (word, is_bool) in enumerate(zip(seen, bools, strict=True), 1):
        total += -word & weight if is_bool and weight in _MASKED else weight * word
    return total


_MASKED = (6, 7, 10, 11, 12)  # the others are a shift or one lea instruction


def _bytes(world: "World", addr: int, size: int) -> int:
    return sum(weight * byte for weight, byte in enumerate(world.memory.read(addr, size), 1))


def _pointers(world: "World", seen: Sequence[int]) -> int:
    return sum(weight * world.memory.load(addr, 8) for weight, addr in enumerate(seen, 1))


def _narrow(world: "World", seen: Sequence[int]) -> int:
    del world
    f, g, h, i, j = seen[5:]
    return sum(seen[:5]) + 1000 * f + 7 * g + 100000 * h + (3 if i else 0) + j


def _ptr(world: "World", seen: Sequence[int]) -> int:
    memory, f, h = world.memory, seen[5], seen[7]
    total = sum(seen[:5]) + seen[6] + memory.load(f, 8) + 2 * memory.load(f + 8, 8)
    total += 3 * memory.load(h, 8) + 4 * memory.load(h + 8, 8)
    memory.store(f, 8, total)
    return total


def _mem(world: "World", seen: Sequence[int]) -> int:
    *plain, addr, size = seen
    return sum(plain) + _bytes(world, addr, size)


def _void6(world: "World", seen: Sequence[int]) -> int:
    world.memory.store(seen[5], 8, sum(seen[:5]))
    return 0


def _low32(world: "World", seen: Sequence[int]) -> int:
    """What gcc makes of `return (u8)a`: the low half of a. Only its low bits count."""
    del world
    return seen[0] & 0xFFFFFFFF


def _low32_bool(world: "World", seen: Sequence[int]) -> int:
    """`return (bool)a` sets only the lowest byte of a register that still holds a."""
    del world
    return (seen[0] & 0xFFFFFF00) | (seen[0] != 0)


def _sum32(world: "World", seen: Sequence[int]) -> int:
    return _weighted(world, seen) & 0xFFFFFFFF


_NARROW = ("u8", "s8", "u16", "s16", "u32", "s32")

for _name in (
    *(f"okf_sum{_n}" for _n in range(5, 13)),
    *(f"okf_{_made}x12" for _made in _NARROW),
):
    _logged(_name, _weighted)
_VALUES: dict[str, Value] = {
    **{f"okf_ret_{_made}": _low32 for _made in _NARROW},
    "okf_ret_bool": _low32_bool,
    "okf_ret_s32_8": _sum32,
    "okf_boolx12": partial(_weighted_bools, bools=(True,) * 12),
    "okf_narrow12": partial(_weighted_bools, bools=tuple(at == 6 for at in range(12))),
    "okf_ptrx12": _pointers,
    "okf_narrow": _narrow,
    "okf_ptr": _ptr,
    "okf_mem": _mem,
    "okf_mem_split": _mem,
    "okf_void6": _void6,
}
for _name, _value in _VALUES.items():
    _logged(_name, _value)


def _dirty(world: "World", a: int) -> int:
    """All 64 bits of a come back, as C lets a function leave garbage above a narrow result. Not logged."""
    del world
    return Rax(a)


for _made in (*_NARROW, "bool"):
    kfunc(KFUNCS[f"okf_dirty_{_made}"].text)(_dirty)


@kfunc("u64 okf_clobber8(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h)")
def okf_clobber8(world: "World", a: int, *rest: int) -> int:
    """The first argument. Native code also overwrites all that a callee may; engines do so after every call."""
    del world, rest
    return a


@kfunc("u64 okf_last(u32 i)")
def okf_last(world: "World", i: int) -> int:
    """Argument i, from 0, of the last logged call as C saw it."""
    return log_of(world).seen[i] if i < SLOTS else 0


@kfunc("u64 okf_raw(u32 i)")
def okf_raw(world: "World", i: int) -> int:
    """Argument i of the last logged call as it was passed."""
    return log_of(world).raw[i] if i <= SLOTS else 0


@kfunc("u32 okf_count(void)")
def okf_count(world: "World") -> int:
    """Logged calls so far."""
    return log_of(world).count
