"""Helpers on maps: elements, queues, locks. The maps themselves know what they do; see emu/runtime/maps*.py."""

from typing import TYPE_CHECKING

from emu.runtime.helpers.registry import EINVAL, U32, U64, Ptr, helper
from emu.runtime.traps import HelperTrap

if TYPE_CHECKING:
    from emu.runtime.world import World


@helper("bpf_map_lookup_elem")
def map_lookup_elem(world: "World", bpf_map: Ptr, key: Ptr) -> int:
    """Address of the value, 0 when there is none."""
    found = world.map_at(bpf_map)
    return found.lookup(world.memory.read(key, found.spec.key_size), world.env.cpu)


@helper("bpf_map_lookup_percpu_elem")
def map_lookup_percpu_elem(world: "World", bpf_map: Ptr, key: Ptr, cpu: U32) -> int:
    """Address of the value of a CPU, 0 when there is none or no such CPU."""
    found = world.map_at(bpf_map)
    if cpu >= found.cpus:
        return 0
    return found.lookup(world.memory.read(key, found.spec.key_size), cpu)


@helper("bpf_map_update_elem")
def map_update_elem(world: "World", bpf_map: Ptr, key: Ptr, value: Ptr, flags: U64) -> int:
    """0 or an error."""
    found, memory = world.map_at(bpf_map), world.memory
    raw = memory.read(key, found.spec.key_size)
    return found.update(raw, memory.read(value, found.spec.value_size), flags, world.env.cpu)


@helper("bpf_map_delete_elem")
def map_delete_elem(world: "World", bpf_map: Ptr, key: Ptr) -> int:
    """0 or an error."""
    found = world.map_at(bpf_map)
    return found.delete(world.memory.read(key, found.spec.key_size))


@helper("bpf_map_push_elem")
def map_push_elem(world: "World", bpf_map: Ptr, value: Ptr, flags: U64) -> int:
    """0 or an error."""
    found = world.map_at(bpf_map)
    return found.push(world.memory.read(value, found.spec.value_size), flags)


@helper("bpf_map_pop_elem")
def map_pop_elem(world: "World", bpf_map: Ptr, value: Ptr) -> int:
    """0, or an error and a zeroed value."""
    return _taken(world, value, world.map_at(bpf_map).spec.value_size, world.map_at(bpf_map).pop())


@helper("bpf_map_peek_elem")
def map_peek_elem(world: "World", bpf_map: Ptr, value: Ptr) -> int:
    """0, or an error and a zeroed value. A bloom filter's value is an input."""
    found = world.map_at(bpf_map)
    if found.spec.key_size == 0 and found.spec.type == _BLOOM_FILTER:
        answer = found.peek(world.memory.read(value, found.spec.value_size))
        return answer if isinstance(answer, int) else 0
    return _taken(world, value, found.spec.value_size, found.peek())


_BLOOM_FILTER = 30


def _taken(world: "World", addr: int, size: int, answer: bytes | int) -> int:
    if isinstance(answer, int):
        world.memory.write(addr, bytes(size))
        return answer
    world.memory.write(addr, answer)
    return 0


@helper("bpf_spin_lock")
def spin_lock(world: "World", lock: Ptr) -> int:
    """Take a lock. One program runs at a time, so a taken lock is a deadlock."""
    if world.memory.load(lock, 4):
        raise HelperTrap("helper", f"the bpf_spin_lock at {lock:#x} is taken already: deadlock")
    world.memory.store(lock, 4, 1)
    return 0


@helper("bpf_spin_unlock")
def spin_unlock(world: "World", lock: Ptr) -> int:
    """Give a lock back."""
    if not world.memory.load(lock, 4):
        raise HelperTrap("helper", f"the bpf_spin_lock at {lock:#x} is not taken")
    world.memory.store(lock, 4, 0)
    return 0


@helper("bpf_kptr_xchg")
def kptr_xchg(world: "World", dst: Ptr, pointer: Ptr) -> int:
    """Swap a kptr in a map value; returns the old one."""
    old = world.memory.load(dst, 8)
    world.memory.store(dst, 8, pointer)
    return old


def _no_storage(world: "World", bpf_map: Ptr, owner: Ptr, value: Ptr, flags: U64) -> int:
    """There are no sockets, tasks, inodes or cgroups here: as for NULL, no storage."""
    del owner, value, flags
    world.map_at(bpf_map)
    return 0


def _no_storage_to_delete(world: "World", bpf_map: Ptr, owner: Ptr) -> int:
    """As above."""
    del owner
    world.map_at(bpf_map)
    return -EINVAL


for _owner in ("sk", "inode", "task", "cgrp"):
    helper(f"bpf_{_owner}_storage_get")(_no_storage)
    helper(f"bpf_{_owner}_storage_delete")(_no_storage_to_delete)
