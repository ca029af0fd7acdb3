"""Helpers that send a packet elsewhere. Nothing is sent here; the verdict is what a kernel's helper returns."""

from typing import TYPE_CHECKING

from emu.runtime.helpers.registry import EINVAL, ENOENT, U32, U64, Ptr, helper, skb_of

if TYPE_CHECKING:
    from emu.runtime.world import World

TC_ACT_SHOT, TC_ACT_REDIRECT = 2, 7
XDP_ABORTED, XDP_REDIRECT = 0, 4
F_INGRESS = 1
ACTION_MASK = 3
F_BROADCAST, F_EXCLUDE_INGRESS = 8, 16
DEVMAPS = (14, 25)
LOOPBACK = 1  # the only device


@helper("bpf_redirect")
def redirect(world: "World", ifindex: U32, flags: U64) -> int:
    """TC_ACT_REDIRECT or XDP_REDIRECT; with bad flags the packet is dropped."""
    world.state["redirect"] = ifindex
    if world.program.prog_type == "xdp":
        return XDP_ABORTED if flags else XDP_REDIRECT
    return TC_ACT_SHOT if flags & ~F_INGRESS else TC_ACT_REDIRECT


@helper("bpf_redirect_peer")
def redirect_peer(world: "World", ifindex: U32, flags: U64) -> int:
    """As bpf_redirect, into another namespace."""
    world.state["redirect"] = ifindex
    return TC_ACT_SHOT if flags else TC_ACT_REDIRECT


@helper("bpf_redirect_neigh")
def redirect_neigh(world: "World", ifindex: U32, params: Ptr, size: U32, flags: U64) -> int:
    """As bpf_redirect, with the neighbour's address filled in."""
    world.state["redirect"] = ifindex
    if params and size:
        world.memory.read(params, size)
    return TC_ACT_SHOT if flags or (size and size < 8) else TC_ACT_REDIRECT


@helper("bpf_clone_redirect")
def clone_redirect(world: "World", skb: Ptr, ifindex: U32, flags: U64) -> int:
    """Send a copy of the packet to a device."""
    skb_of(world, skb)
    return -EINVAL if flags & ~F_INGRESS or ifindex != LOOPBACK else 0


@helper("bpf_skb_get_tunnel_key")
def skb_get_tunnel_key(world: "World", skb: Ptr, to: Ptr, size: U32, flags: U64) -> int:
    """No packet of a test run came through a tunnel: zeroes and -EINVAL, whatever `flags` says."""
    del flags
    skb_of(world, skb)
    world.memory.write(to, bytes(size))
    return -EINVAL


@helper("bpf_skb_get_tunnel_opt")
def skb_get_tunnel_opt(world: "World", skb: Ptr, to: Ptr, size: U32) -> int:
    """As bpf_skb_get_tunnel_key, with -ENOENT."""
    skb_of(world, skb)
    world.memory.write(to, bytes(size))
    return -ENOENT


@helper("bpf_redirect_map")
def redirect_map(world: "World", bpf_map: Ptr, key: U64, flags: U64) -> int:
    """XDP_REDIRECT when the map has the element; else the low two bits of `flags`."""
    found = world.map_at(bpf_map)
    extra = F_BROADCAST | F_EXCLUDE_INGRESS if found.spec.type in DEVMAPS else 0
    if flags & ~(ACTION_MASK | extra):
        return XDP_ABORTED
    if flags & F_BROADCAST:
        return XDP_REDIRECT
    if key >> 32 or not found.lookup(key.to_bytes(4, "little")):
        return flags & ACTION_MASK
    world.state["redirect"] = key
    return XDP_REDIRECT
