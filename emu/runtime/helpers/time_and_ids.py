"""Helpers that tell the time, random numbers and who is running: answers of emu.runtime.environment."""

from typing import TYPE_CHECKING

from emu.runtime.helpers.registry import E2BIG, EAGAIN, EINVAL, S32, U32, U64, Ptr, clear, helper

if TYPE_CHECKING:
    from emu.runtime.world import World

# bpf_get_current_task: where a task_struct would be. Nothing is there, so probe reads of it fail.
CURRENT_TASK = 0xFFFF_8880_7FFF_0000
CGROUP_ID = 1  # the root cgroup


def _now(world: "World") -> int:
    return world.env.now()


for _clock in ("ktime_get_ns", "ktime_get_boot_ns", "ktime_get_coarse_ns", "ktime_get_tai_ns"):
    helper(f"bpf_{_clock}")(_now)


@helper("bpf_jiffies64")
def jiffies64(world: "World") -> int:
    """The 64-bit counter of ticks."""
    return world.env.jiffies()


@helper("bpf_get_prandom_u32")
def get_prandom_u32(world: "World") -> int:
    """The next 32 bits of the generator that the seed started."""
    return world.env.random32()


@helper("bpf_get_smp_processor_id")
def get_smp_processor_id(world: "World") -> int:
    """The CPU."""
    return world.env.cpu


@helper("bpf_get_numa_node_id")
def get_numa_node_id(world: "World") -> int:
    """The only node."""
    del world
    return 0


@helper("bpf_get_current_pid_tgid")
def get_current_pid_tgid(world: "World") -> int:
    """Process and thread id."""
    return world.env.pid_tgid


@helper("bpf_get_ns_current_pid_tgid")
def get_ns_current_pid_tgid(world: "World", dev: U64, ino: U64, nsdata: Ptr, size: U32) -> int:
    """No namespace is known by its device and inode: an error and a zeroed result."""
    del dev, ino
    clear(world, nsdata, size)
    return -EINVAL


@helper("bpf_get_current_uid_gid")
def get_current_uid_gid(world: "World") -> int:
    """User and group id."""
    return world.env.uid_gid


@helper("bpf_get_current_comm")
def get_current_comm(world: "World", buf: Ptr, size: U32) -> int:
    """The command name, cut or padded with zeros to `size` bytes."""
    clear(world, buf, size)
    if size:
        world.memory.write(buf, world.env.comm[: size - 1] + b"\0")
    return 0


@helper("bpf_get_current_task")
def get_current_task(world: "World") -> int:
    """An address at which nothing is."""
    del world
    return CURRENT_TASK


@helper("bpf_get_current_task_btf")
def get_current_task_btf(world: "World") -> int:
    """As bpf_get_current_task."""
    del world
    return CURRENT_TASK


@helper("bpf_get_current_cgroup_id")
def get_current_cgroup_id(world: "World") -> int:
    """The root cgroup."""
    del world
    return CGROUP_ID


@helper("bpf_get_current_ancestor_cgroup_id")
def get_current_ancestor_cgroup_id(world: "World", level: S32) -> int:
    """The root cgroup at level 0, none below."""
    del world
    return CGROUP_ID if level == 0 else 0


@helper("bpf_current_task_under_cgroup")
def current_task_under_cgroup(world: "World", bpf_map: Ptr, index: U32) -> int:
    """Cgroup arrays are empty here."""
    return -E2BIG if index >= world.map_at(bpf_map).spec.max_entries else -EAGAIN


@helper("bpf_get_attach_cookie")
def get_attach_cookie(world: "World", ctx: Ptr) -> int:
    """Test runs have none."""
    del world, ctx
    return 0


@helper("bpf_get_func_ip")
def get_func_ip(world: "World", ctx: Ptr) -> int:
    """Test runs trace no function."""
    del world, ctx
    return 0


@helper("bpf_get_retval")
def get_retval(world: "World") -> int:
    """What bpf_set_retval set last in this case, at first 0."""
    value: int = world.state.get("retval", 0)
    return value


@helper("bpf_set_retval")
def set_retval(world: "World", retval: S32) -> int:
    """Set what the hook returns."""
    world.state["retval"] = retval
    return 0
