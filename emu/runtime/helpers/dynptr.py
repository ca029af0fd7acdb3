"""Helpers on dynptrs; emu.runtime.dynptr does the work."""

from typing import TYPE_CHECKING

from emu.runtime.dynptr import LOCAL, MAX_SIZE, RINGBUF, Dynptr
from emu.runtime.helpers.registry import E2BIG, EINVAL, U64, Ptr, helper

if TYPE_CHECKING:
    from emu.runtime.world import World


@helper("bpf_dynptr_from_mem")
def dynptr_from_mem(world: "World", data: Ptr, size: U64, flags: U64, ptr: Ptr) -> int:
    """A dynptr to memory, or an error and a null dynptr."""
    size &= 0xFFFFFFFF
    error = -E2BIG if size > MAX_SIZE else -EINVAL if flags else 0
    (Dynptr() if error else Dynptr(data, size, LOCAL)).save(world, ptr)
    return error


@helper("bpf_dynptr_read")
def dynptr_read(world: "World", dst: Ptr, size: U64, src: Ptr, offset: U64, flags: U64) -> int:
    """Copy out of what a dynptr points to."""
    dynptr = Dynptr.load(world, src)
    if not dynptr.data or flags:
        return -EINVAL
    if dynptr.misses(offset, size):
        return -E2BIG
    found = dynptr.read(world, offset, size)
    if isinstance(found, int):
        return found
    world.memory.write(dst, found)
    return 0


@helper("bpf_dynptr_write")
def dynptr_write(world: "World", dst: Ptr, offset: U64, src: Ptr, size: U64, flags: U64) -> int:
    """Copy into what a dynptr points to."""
    dynptr = Dynptr.load(world, dst)
    if not dynptr.data or dynptr.read_only:
        return -EINVAL
    if dynptr.misses(offset, size):
        return -E2BIG
    return dynptr.write(world, offset, world.memory.read(src, size), flags)


@helper("bpf_dynptr_data")
def dynptr_data(world: "World", ptr: Ptr, offset: U64, size: U64) -> int:
    """Address of part of a dynptr's memory, 0 where there is none; packets need bpf_dynptr_slice."""
    dynptr = Dynptr.load(world, ptr)
    if not dynptr.data or dynptr.misses(offset, size) or dynptr.read_only:
        return 0
    return dynptr.data + dynptr.offset + offset if dynptr.kind in (LOCAL, RINGBUF) else 0
