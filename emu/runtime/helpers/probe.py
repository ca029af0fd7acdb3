"""Helpers that read memory which may not be there.

Kernel memory is every object of the run. There is no user memory: reading it fails, as it does for a process
that has nothing mapped at the address.
"""

from typing import TYPE_CHECKING

from emu.runtime.helpers.registry import EFAULT, EINVAL, ERANGE, U32, U64, Ptr, clear, helper
from emu.runtime.memory import GuestFault

if TYPE_CHECKING:
    from emu.runtime.world import World

TASK_SIZE_MAX = (1 << 47) - 4096
KERNEL_START = 0xFFFF_8000_0000_0000


def read_kernel(world: "World", addr: int, size: int) -> bytes | int:
    """`size` bytes at `addr` or an error: ERANGE where no kernel memory can be, EFAULT where there is none."""
    if size == 0:
        return b""
    try:
        return world.memory.read(addr, size)
    except GuestFault:
        return -EFAULT if addr >= KERNEL_START else -ERANGE


def read_kernel_str(world: "World", addr: int, size: int) -> bytes | int:
    """The string at `addr` with its final zero, cut to `size` bytes, or an error (strncpy_from_kernel_nofault)."""
    if size == 0:
        return b""
    region = world.memory.region_at(addr)
    if region is None:
        return -EFAULT if addr >= KERNEL_START else -ERANGE
    there = bytes(region.view[addr - region.base : addr - region.base + size])
    end = there.find(b"\0")
    if end >= 0:
        return there[: end + 1]
    return -EFAULT if len(there) < size else there[:-1] + b"\0"


def _give(world: "World", dst: int, size: int, answer: bytes | int, *, text: bool = False) -> int:
    if isinstance(answer, int):
        clear(world, dst, size)
        return answer
    world.memory.find(dst, size, "write") if size else None
    world.memory.write(dst, answer)
    return len(answer) if text else 0


def _kernel(world: "World", dst: Ptr, size: U32, addr: Ptr) -> int:
    return _give(world, dst, size, read_kernel(world, addr, size))


def _kernel_str(world: "World", dst: Ptr, size: U32, addr: Ptr) -> int:
    return _give(world, dst, size, read_kernel_str(world, addr, size), text=True)


def _user(world: "World", dst: Ptr, size: U32, addr: Ptr) -> int:
    del addr
    return _give(world, dst, size, -EFAULT if size else b"")


def _either(world: "World", dst: Ptr, size: U32, addr: Ptr) -> int:
    """The old helpers take user addresses, too."""
    if addr < TASK_SIZE_MAX and world.memory.region_at(addr) is None:
        return _user(world, dst, size, addr)
    return _kernel(world, dst, size, addr)


def _either_str(world: "World", dst: Ptr, size: U32, addr: Ptr) -> int:
    if addr < TASK_SIZE_MAX and world.memory.region_at(addr) is None:
        return _user(world, dst, size, addr)
    return _kernel_str(world, dst, size, addr)


helper("bpf_probe_read_kernel")(_kernel)
helper("bpf_probe_read_kernel_str")(_kernel_str)
helper("bpf_probe_read_user")(_user)
helper("bpf_probe_read_user_str")(_user)
helper("bpf_probe_read")(_either)
helper("bpf_probe_read_str")(_either_str)
helper("bpf_copy_from_user")(_user)


@helper("bpf_copy_from_user_task")
def copy_from_user_task(world: "World", dst: Ptr, size: U32, addr: Ptr, task: Ptr, flags: U64) -> int:
    """As bpf_copy_from_user; there is no task."""
    del task
    if flags:
        return -EINVAL
    return _user(world, dst, size, addr)


@helper("bpf_this_cpu_ptr")
def this_cpu_ptr(world: "World", addr: U64) -> int:
    """Where this CPU has its own of a per-CPU variable: at the variable's address, as the first CPU's offset is 0."""
    del world
    return addr


@helper("bpf_per_cpu_ptr")
def per_cpu_ptr(world: "World", addr: U64, cpu: U32) -> int:
    """The same of another CPU, NULL where there is no such one."""
    del world
    return addr if cpu == 0 else 0


@helper("bpf_probe_write_user")
def probe_write_user(world: "World", dst: Ptr, src: Ptr, size: U32) -> int:
    """There is no user memory: the kernel refuses, as for a task without any."""
    del dst
    world.memory.read(src, size)
    return -EFAULT
