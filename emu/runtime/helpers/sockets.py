"""Helpers on sockets. There is none: every lookup finds nothing."""

from typing import TYPE_CHECKING

from emu.runtime.helpers.registry import E2BIG, EAGAIN, EINVAL, U32, U64, Ptr, helper, skb_of
from emu.runtime.traps import HelperTrap

if TYPE_CHECKING:
    from emu.runtime.world import World

SOCKET_COOKIE = 1
NETNS_COOKIE = 1
OVERFLOW_UID = 65534
TUPLE_SIZES = (12, 36)  # of the IPv4 and IPv6 parts of struct bpf_sock_tuple


def _lookup(world: "World", ctx: Ptr, tuple_: Ptr, size: U32, netns: U64, flags: U64) -> int:
    """No socket."""
    del ctx, netns, flags
    if size in TUPLE_SIZES:
        world.memory.read(tuple_, size)
    return 0


def _cast(world: "World", sk: Ptr) -> int:
    """No socket is of another kind."""
    del world, sk
    return 0


for _name in ("bpf_sk_lookup_tcp", "bpf_sk_lookup_udp", "bpf_skc_lookup_tcp"):
    helper(_name)(_lookup)
for _name in ("sk_fullsock", "tcp_sock", "get_listener_sock", "skc_to_tcp6_sock", "skc_to_tcp_sock", "skc_to_tcp_timewait_sock",
              "skc_to_tcp_request_sock", "skc_to_udp6_sock", "skc_to_unix_sock", "skc_to_mptcp_sock"):  # fmt: skip
    helper(f"bpf_{_name}")(_cast)


@helper("bpf_sk_release")
def sk_release(world: "World", sk: Ptr) -> int:
    """No lookup gives a socket, so none can be released."""
    del world
    raise HelperTrap("helper", f"{sk:#x} is not a socket that a lookup gave")


@helper("bpf_get_socket_cookie")
def get_socket_cookie(world: "World", ctx: Ptr) -> int:
    """The cookie of the test run's socket."""
    del world, ctx
    return SOCKET_COOKIE


@helper("bpf_get_netns_cookie")
def get_netns_cookie(world: "World", ctx: Ptr) -> int:
    """The first network namespace."""
    del world, ctx
    return NETNS_COOKIE


@helper("bpf_get_socket_uid")
def get_socket_uid(world: "World", skb: Ptr) -> int:
    """Root's."""
    skb_of(world, skb)
    return 0


@helper("bpf_skb_cgroup_id")
def skb_cgroup_id(world: "World", skb: Ptr) -> int:
    """The root cgroup."""
    skb_of(world, skb)
    return 1


@helper("bpf_skb_ancestor_cgroup_id")
def skb_ancestor_cgroup_id(world: "World", skb: Ptr, level: U32) -> int:
    """The root cgroup at level 0, none below."""
    skb_of(world, skb)
    return 1 if level == 0 else 0


@helper("bpf_get_cgroup_classid")
def get_cgroup_classid(world: "World", skb: Ptr) -> int:
    """No class."""
    skb_of(world, skb)
    return 0


@helper("bpf_skb_cgroup_classid")
def skb_cgroup_classid(world: "World", skb: Ptr) -> int:
    """No class."""
    skb_of(world, skb)
    return 0


@helper("bpf_get_route_realm")
def get_route_realm(world: "World", skb: Ptr) -> int:
    """No route."""
    skb_of(world, skb)
    return 0


@helper("bpf_skb_under_cgroup")
def skb_under_cgroup(world: "World", skb: Ptr, bpf_map: Ptr, index: U32) -> int:
    """Cgroup arrays are empty here."""
    skb_of(world, skb)
    return -E2BIG if index >= world.map_at(bpf_map).spec.max_entries else -EAGAIN


@helper("bpf_tcp_check_syncookie")
def tcp_check_syncookie(world: "World", sk: Ptr, iph: Ptr, iph_len: U32, th: Ptr, th_len: U32) -> int:
    """No listening socket."""
    del world, sk, iph, iph_len, th, th_len
    return -EINVAL
