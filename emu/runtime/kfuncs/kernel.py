"""kfuncs of the kernel that programs commonly call: dynptrs, numeric iterators, sections, casts."""

from typing import TYPE_CHECKING

from bpf.kfuncs import KFUNCS
from emu.runtime.contexts import SkbContext, XdpContext
from emu.runtime.dynptr import E2BIG, EFAULT, EINVAL, SKB, XDP, Dynptr
from emu.runtime.kfuncs.registry import Rax, kfunc
from emu.runtime.traps import HelperTrap

if TYPE_CHECKING:
    from emu.runtime.world import World

PAD_ZEROS = 1  # BPF_F_PAD_ZEROS
MAX_LOOPS = 8 * 1024 * 1024  # BPF_MAX_LOOPS


def _row(name: str) -> str:
    return KFUNCS[name].text


# ---- dynptrs ----


@kfunc(_row("bpf_dynptr_from_skb"))
def dynptr_from_skb(world: "World", skb: int, flags: int, ptr: int) -> int:
    """A dynptr to an skb's packet."""
    return _from_packet(world, skb, flags, ptr, SKB)


@kfunc(_row("bpf_dynptr_from_xdp"))
def dynptr_from_xdp(world: "World", xdp: int, flags: int, ptr: int) -> int:
    """A dynptr to an XDP program's packet."""
    return _from_packet(world, xdp, flags, ptr, XDP)


def _from_packet(world: "World", ctx: int, flags: int, ptr: int, kind: int) -> int:
    context = world.context
    wanted = SkbContext if kind == SKB else XdpContext
    if not isinstance(context, wanted) or context.addr != ctx or context.packet is None:
        raise HelperTrap("helper", f"{ctx:#x} is not the address of this run's context")
    if flags:
        Dynptr().save(world, ptr)
        return -EINVAL
    read_only = kind == SKB and world.program.prog_type not in _WRITERS
    Dynptr(ctx, context.packet.length, kind, 0, read_only).save(world, ptr)
    return 0


_WRITERS = frozenset({"sched_cls", "sched_act", "sk_skb", "lwt_xmit"})  # types that may write to packets


@kfunc(_row("bpf_dynptr_size"))
def dynptr_size(world: "World", ptr: int) -> int:
    """Its size, -EINVAL of a null dynptr."""
    dynptr = Dynptr.load(world, ptr)
    return dynptr.size if dynptr.data else -EINVAL


@kfunc(_row("bpf_dynptr_is_null"))
def dynptr_is_null(world: "World", ptr: int) -> bool:
    """Whether it points nowhere."""
    return not Dynptr.load(world, ptr).data


@kfunc(_row("bpf_dynptr_is_rdonly"))
def dynptr_is_rdonly(world: "World", ptr: int) -> bool:
    """Whether it may only be read."""
    dynptr = Dynptr.load(world, ptr)
    return bool(dynptr.data) and dynptr.read_only


@kfunc(_row("bpf_dynptr_adjust"))
def dynptr_adjust(world: "World", ptr: int, start: int, end: int) -> int:
    """Cut it to [start, end)."""
    part = Dynptr.load(world, ptr).cut(start, end)
    if isinstance(part, int):
        return part
    part.save(world, ptr)
    return 0


@kfunc(_row("bpf_dynptr_clone"))
def dynptr_clone(world: "World", ptr: int, clone: int) -> int:
    """Copy the dynptr, not what it points to."""
    dynptr = Dynptr.load(world, ptr)
    dynptr.save(world, clone)
    return 0 if dynptr.data else -EINVAL


@kfunc(_row("bpf_dynptr_slice"))
def dynptr_slice(world: "World", ptr: int, offset: int, buffer: int, size: int) -> int:
    """Address of bytes to read: in place where they are directly accessible, else copied to `buffer`."""
    dynptr = Dynptr.load(world, ptr)
    if not dynptr.data or dynptr.misses(offset, size):
        return 0
    addr = dynptr.address(world, offset, size)
    if addr or not buffer:
        return addr
    found = dynptr.read(world, offset, size)
    if isinstance(found, int):
        return 0
    world.memory.write(buffer, found)
    return buffer


@kfunc(_row("bpf_dynptr_slice_rdwr"))
def dynptr_slice_rdwr(world: "World", ptr: int, offset: int, buffer: int, size: int) -> int:
    """As bpf_dynptr_slice, for writing, too."""
    return 0 if Dynptr.load(world, ptr).read_only else dynptr_slice(world, ptr, offset, buffer, size)


@kfunc(_row("bpf_dynptr_copy"))
def dynptr_copy(world: "World", dst: int, dst_off: int, src: int, src_off: int, size: int) -> int:
    """Copy from one dynptr's bytes to another's."""
    to, source = Dynptr.load(world, dst), Dynptr.load(world, src)
    if not to.data or not source.data or to.read_only:
        return -EINVAL
    if to.misses(dst_off, size) or source.misses(src_off, size):
        return -E2BIG
    found = source.read(world, src_off, size)
    return found if isinstance(found, int) else to.write(world, dst_off, found, 0)


@kfunc(_row("bpf_dynptr_memset"))
def dynptr_memset(world: "World", ptr: int, offset: int, size: int, value: int) -> int:
    """Fill bytes."""
    dynptr = Dynptr.load(world, ptr)
    if not dynptr.data or dynptr.read_only:
        return -EINVAL
    if dynptr.misses(offset, size):
        return -E2BIG
    return dynptr.write(world, offset, bytes((value,)) * size, 0)


# ---- for (int i = start; i < end; i++) ----


@kfunc(_row("bpf_iter_num_new"))
def iter_num_new(world: "World", it: int, start: int, end: int) -> int:
    """Begin to count. The iterator is two ints: the current number and the end.

    The instructions that the kernel puts in place of the call set all 64 bits of the result.
    """
    error = -EINVAL if start > end else -E2BIG if end - start > MAX_LOOPS else 0
    world.memory.store(it, 4, 0 if error else start - 1)
    world.memory.store(it + 4, 4, 0 if error else end)
    return Rax(error)


@kfunc(_row("bpf_iter_num_next"))
def iter_num_next(world: "World", it: int) -> int:
    """Address of the next number, 0 at the end."""
    current, end = (_int(world.memory.load(it + at, 4)) for at in (0, 4))
    if current + 1 >= end:
        world.memory.store(it, 8, 0)
        return 0
    world.memory.store(it, 4, current + 1)
    return it


@kfunc(_row("bpf_iter_num_destroy"))
def iter_num_destroy(world: "World", it: int) -> None:
    """End counting, which does nothing."""


def _int(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


# ---- sections: one program runs at a time, so there is nothing to do ----


def _nothing(world: "World") -> None:
    del world


for _name in ("bpf_rcu_read_lock", "bpf_rcu_read_unlock", "bpf_preempt_disable", "bpf_preempt_enable"):
    kfunc(_row(_name))(_nothing)


@kfunc(_row("bpf_local_irq_save"))
def local_irq_save(world: "World", flags: int) -> None:
    """Interrupts are on."""
    world.memory.store(flags, 8, 0x200)


@kfunc(_row("bpf_local_irq_restore"))
def local_irq_restore(world: "World", flags: int) -> None:
    """Nothing to do."""
    world.memory.read(flags, 8)


# ---- user memory: there is none ----


@kfunc(_row("bpf_copy_from_user_str"))
def copy_from_user_str(world: "World", dst: int, size: int, addr: int, flags: int) -> int:
    """-EFAULT; with BPF_F_PAD_ZEROS the buffer is zeroed."""
    del addr
    world.memory.find(dst, max(size, 1), "write")
    if flags & ~PAD_ZEROS:
        return -EINVAL
    if not size:
        return 0
    if flags:
        world.memory.write(dst, bytes(size))
    return -EFAULT


# ---- casts ----


@kfunc(_row("bpf_cast_to_kern_ctx"))
def cast_to_kern_ctx(world: "World", obj: int) -> int:
    """The same address; the kernel's own structures are not modelled."""
    del world
    return obj


@kfunc(_row("bpf_rdonly_cast"))
def rdonly_cast(world: "World", obj: int, btf_id: int) -> int:
    """The same address."""
    del world, btf_id
    return obj


@kfunc(_row("bpf_map_sum_elem_count"))
def map_sum_elem_count(world: "World", bpf_map: int) -> int:
    """Elements of a hash map or tree; 0 of other maps."""
    found = world.map_at(bpf_map)
    return len(found.contents()) if found.spec.type in (1, 5, 9, 10, 11, 13) else 0
