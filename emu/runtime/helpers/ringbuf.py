"""Helpers on ring buffers; emu.runtime.maps_ring does the work."""

from typing import TYPE_CHECKING

from emu.runtime.dynptr import MAX_SIZE, RINGBUF, Dynptr
from emu.runtime.helpers.registry import E2BIG, EINVAL, U32, U64, Ptr, helper
from emu.runtime.maps_ring import RingMap
from emu.runtime.traps import HelperTrap

if TYPE_CHECKING:
    from emu.runtime.world import World


def _ring(world: "World", addr: int) -> RingMap:
    found = world.map_at(addr)
    if isinstance(found, RingMap):
        return found
    raise HelperTrap("helper", f"{found.label} is no ring buffer")


def _owner(world: "World", sample: int) -> RingMap:
    for one in world.maps:
        if isinstance(one, RingMap) and sample in one.open:
            return one
    raise HelperTrap("helper", f"{sample:#x} is no reserved sample of a ring buffer")


@helper("bpf_ringbuf_output")
def ringbuf_output(world: "World", bpf_map: Ptr, data: Ptr, size: U64, flags: U64) -> int:
    """Copy a sample in."""
    ring = _ring(world, bpf_map)
    return ring.output(world.memory.read(data, size), flags)


@helper("bpf_ringbuf_reserve")
def ringbuf_reserve(world: "World", bpf_map: Ptr, size: U64, flags: U64) -> int:
    """Address of a new sample, 0 when there is no room or a flag is set."""
    ring = _ring(world, bpf_map)
    return 0 if flags else ring.reserve(size)


@helper("bpf_ringbuf_submit")
def ringbuf_submit(world: "World", sample: Ptr, flags: U64) -> int:
    """Let user space have a sample."""
    del flags
    _owner(world, sample).commit(sample, discard=False)
    return 0


@helper("bpf_ringbuf_discard")
def ringbuf_discard(world: "World", sample: Ptr, flags: U64) -> int:
    """Throw a sample away."""
    del flags
    _owner(world, sample).commit(sample, discard=True)
    return 0


@helper("bpf_ringbuf_query")
def ringbuf_query(world: "World", bpf_map: Ptr, flags: U64) -> int:
    """A number about the buffer."""
    return _ring(world, bpf_map).query(flags)


@helper("bpf_ringbuf_reserve_dynptr")
def ringbuf_reserve_dynptr(world: "World", bpf_map: Ptr, size: U32, flags: U64, ptr: Ptr) -> int:
    """A new sample as a dynptr; a null dynptr and an error when there is no room."""
    ring = _ring(world, bpf_map)
    sample = error = 0
    if flags:
        error = -EINVAL
    elif size > MAX_SIZE:
        error = -E2BIG
    else:
        sample = ring.reserve(size)
        error = 0 if sample else -EINVAL
    Dynptr(sample, size if sample else 0, RINGBUF if sample else 0).save(world, ptr)
    return error


def _commit(world: "World", ptr: int, *, discard: bool) -> int:
    dynptr = Dynptr.load(world, ptr)
    if dynptr.data:
        _owner(world, dynptr.data).commit(dynptr.data, discard=discard)
        Dynptr().save(world, ptr)
    return 0


@helper("bpf_ringbuf_submit_dynptr")
def ringbuf_submit_dynptr(world: "World", ptr: Ptr, flags: U64) -> int:
    """Let user space have a sample, if the reservation succeeded."""
    del flags
    return _commit(world, ptr, discard=False)


@helper("bpf_ringbuf_discard_dynptr")
def ringbuf_discard_dynptr(world: "World", ptr: Ptr, flags: U64) -> int:
    """Throw a sample away, if the reservation succeeded."""
    del flags
    return _commit(world, ptr, discard=True)
