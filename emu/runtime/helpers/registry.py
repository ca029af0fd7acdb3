"""Registering helpers: `@helper("bpf_map_lookup_elem")` over a function of the world and the arguments.

The annotations of a function's parameters say how the kernel reads each argument from its 64-bit register:
`U32` and `S32` take the low half, everything else is the whole register, unsigned.
"""

import inspect
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Annotated, Any

from bpf.errors import InternalError
from bpf.helpers import BY_NAME
from emu.runtime.callback import Callback, HelperResult
from emu.runtime.contexts import SkbContext, XdpContext
from emu.runtime.packet import Packet
from emu.runtime.traps import HelperTrap

if TYPE_CHECKING:
    from emu.runtime.world import World

MASK = (1 << 64) - 1

U64 = Annotated[int, "u64"]
U32 = Annotated[int, "u32"]
S32 = Annotated[int, "s32"]
Ptr = Annotated[int, "pointer"]

# Errors that helpers return, negative; names as in include/uapi/asm-generic/errno*.h.
ENOENT, E2BIG, EAGAIN, ENOMEM, EACCES, EFAULT, ENODEV, EINVAL = 2, 7, 11, 12, 13, 14, 19, 22
ERANGE, EOPNOTSUPP, EALREADY, ENOTSUPP = 34, 95, 114, 524

# By number: what World.helper calls with the world and `Helper.words` words.
IMPLEMENTED: dict[int, Callable[..., HelperResult]] = {}


def helper(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as helper `name`. It returns r0, negative errors included, or is a generator."""
    row = BY_NAME[name]

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        params = list(inspect.signature(function).parameters.values())[1:]
        if len(params) != row.words:
            raise InternalError(f"{name} is given {row.words} words, not {len(params)}")
        IMPLEMENTED[row.id] = _convert(function, tuple(_READERS.get(param.annotation) for param in params))
        return function

    return register


def s32(word: int) -> int:
    """The low half of a register as a signed number."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word


_READERS: dict[Any, Callable[[int], int]] = {
    U32: lambda word: word & 0xFFFFFFFF,
    S32: s32,
}


def _convert(
    function: Callable[..., Any], readers: tuple[Callable[[int], int] | None, ...]
) -> Callable[..., HelperResult]:
    narrow = any(readers)

    def read(words: tuple[int, ...]) -> list[int]:
        return [word if reader is None else reader(word) for reader, word in zip(readers, words, strict=True)]

    if inspect.isgeneratorfunction(function):

        def run(world: "World", *words: int) -> Generator[Callback, int, int]:
            value: int = yield from function(world, *read(words))
            return value & MASK

        return run
    if not narrow:

        def plain(world: "World", *words: int) -> int:
            value: int = function(world, *words)
            return value & MASK

        return plain

    def call(world: "World", *words: int) -> int:
        value: int = function(world, *read(words))
        return value & MASK

    return call


# ---- what many helpers begin with ----


def skb_of(world: "World", addr: int) -> tuple[SkbContext, Packet]:
    """The skb and its packet, given the address of its context. Raises HelperTrap when it is not that."""
    context = world.context
    if isinstance(context, SkbContext) and context.packet is not None and context.addr == addr:
        return context, context.packet
    raise HelperTrap("helper", f"{addr:#x} is not the address of this run's struct __sk_buff")


def xdp_of(world: "World", addr: int) -> Packet:
    """The packet of an XDP program, given the address of its context. Raises HelperTrap when it is not that."""
    context = world.context
    if isinstance(context, XdpContext) and context.packet is not None and context.addr == addr:
        return context.packet
    raise HelperTrap("helper", f"{addr:#x} is not the address of this run's struct xdp_md")


def clear(world: "World", addr: int, size: int) -> None:
    """Zero the buffer of a helper that failed. Raises GuestFault before anything is allocated."""
    region = world.memory.find(addr, size, "write") if size else None
    if region is not None:
        at = addr - region.base
        region.view[at : at + size] = bytes(size)
