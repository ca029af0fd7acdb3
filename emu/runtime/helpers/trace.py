"""Helpers that print: to the trace (World.trace), to a buffer, to perf events."""

from typing import TYPE_CHECKING

from emu.runtime.contexts import SkbContext, XdpContext
from emu.runtime.helpers.bprintf import MAX_VARARGS, render
from emu.runtime.helpers.probe import read_kernel, read_kernel_str
from emu.runtime.helpers.registry import E2BIG, EFAULT, EINVAL, ENOENT, U32, U64, Ptr, helper, skb_of
from emu.runtime.traps import HelperTrap

if TYPE_CHECKING:
    from emu.runtime.world import World

MAX_TRACE = 1024  # MAX_BPRINTF_BUF
MAX_LINES = 10_000  # lines kept of a run; more only cost memory
MAX_EVENTS = 10_000
BPF_F_INDEX_MASK = (1 << 32) - 1
BPF_F_CTXLEN_MASK = ((1 << 20) - 1) << 32


def _format(world: "World", fmt: bytes, words: list[int], size: int | None = None) -> bytes | int:
    def read(addr: int, count: int, string: bool) -> bytes | None:
        found = read_kernel_str(world, addr, count) if string else read_kernel(world, addr, count)
        return None if isinstance(found, int) else found

    return render(fmt, words, read, size)


def _trace(world: "World", fmt: int, fmt_size: int, words: list[int]) -> int:
    raw = world.memory.read(fmt, fmt_size)
    end = raw.find(b"\0")
    if end < 0:
        return -EINVAL
    text = _format(world, raw[:end], words)
    if isinstance(text, int):
        return text
    if len(world.trace) < MAX_LINES:
        world.trace.append(text[: MAX_TRACE - 1].decode("utf-8", "replace").removesuffix("\n"))
    return len(text)


def _words(world: "World", data: int, size: int) -> list[int] | None:
    """The argument array of a bpf_*printf, None when its size is wrong."""
    if size % 8 or size > MAX_VARARGS * 8 or (size and not data):
        return None
    raw = world.memory.read(data, size)
    return [int.from_bytes(raw[i : i + 8], "little") for i in range(0, size, 8)]


@helper("bpf_trace_printk")
def trace_printk(world: "World", fmt: Ptr, fmt_size: U32, a: U64, b: U64, c: U64) -> int:
    """Print with up to three arguments; returns the length."""
    return _trace(world, fmt, fmt_size, [a, b, c])


@helper("bpf_trace_vprintk")
def trace_vprintk(world: "World", fmt: Ptr, fmt_size: U32, data: Ptr, size: U32) -> int:
    """Print with an array of arguments; returns the length."""
    words = _words(world, data, size)
    return -EINVAL if words is None else _trace(world, fmt, fmt_size, words)


@helper("bpf_snprintf")
def snprintf(world: "World", buf: Ptr, buf_size: U32, fmt: Ptr, data: Ptr, size: U32) -> int:
    """Print into a buffer; returns the length that the text needs, its final zero included."""
    words = _words(world, data, size)
    if words is None:
        return -EINVAL
    raw = _string(world, fmt)
    text = _format(world, raw, words, buf_size)
    if isinstance(text, int):
        return text
    if buf_size:
        world.memory.find(buf, buf_size, "write")
        world.memory.write(buf, text[: buf_size - 1] + b"\0")
    return len(text) + 1


def _string(world: "World", addr: int) -> bytes:
    """The string at `addr`. Raises HelperTrap when its object ends before it does."""
    region = world.memory.find(addr, 1, "read")
    raw = bytes(region.view[addr - region.base : region.size])
    end = raw.find(b"\0")
    if end < 0:
        raise HelperTrap("helper", f"the string at {addr:#x} has no end")
    return raw[:end]


@helper("bpf_perf_event_output")
def perf_event_output(world: "World", ctx: Ptr, bpf_map: Ptr, flags: U64, data: Ptr, size: U64) -> int:
    """Nobody has opened a perf event: -ENOENT after the kernel's checks. The data are kept in `events_of(world)`."""
    extra = (flags & BPF_F_CTXLEN_MASK) >> 32
    if flags & ~(BPF_F_INDEX_MASK | (BPF_F_CTXLEN_MASK if world.packet else 0)):
        return -EINVAL
    if world.packet is not None and extra > world.packet.length:
        return -EFAULT
    if isinstance(world.context, SkbContext | XdpContext) and ctx != world.context.addr:
        skb_of(world, ctx)
    raw = world.memory.read(data, size)
    index = flags & BPF_F_INDEX_MASK
    if index == BPF_F_INDEX_MASK:
        index = world.env.cpu
    if index >= world.map_at(bpf_map).spec.max_entries:
        return -E2BIG
    events = events_of(world)
    if len(events) < MAX_EVENTS:
        events.append(raw)
    return -ENOENT


def events_of(world: "World") -> list[bytes]:
    """What programs of this case gave to bpf_perf_event_output."""
    events: list[bytes] = world.state.setdefault("perf_events", [])
    return events


@helper("bpf_get_stackid")
def get_stackid(world: "World", ctx: Ptr, bpf_map: Ptr, flags: U64) -> int:
    """There is no kernel stack to walk: -EFAULT."""
    del ctx
    world.map_at(bpf_map)
    return -EINVAL if flags & ~0x7FF else -EFAULT


@helper("bpf_get_stack")
def get_stack(world: "World", ctx: Ptr, buf: Ptr, size: U32, flags: U64) -> int:
    """There is no kernel stack to walk: -EFAULT and a zeroed buffer."""
    del ctx
    world.memory.write(buf, bytes(len(world.memory.read(buf, size))))
    if flags & ~0x9FF or size % 8:
        return -EINVAL
    return -EFAULT if size else 0
