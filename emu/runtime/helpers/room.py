"""Helpers that make or remove room between a packet's headers: encapsulation and change of protocol."""

from typing import TYPE_CHECKING

from emu.runtime.contexts import SkbContext
from emu.runtime.helpers.packet import SKB_MAX_LEN
from emu.runtime.helpers.registry import (
    EALREADY,
    EFAULT,
    EINVAL,
    ENOMEM,
    ENOTSUPP,
    S32,
    U32,
    U64,
    Ptr,
    helper,
    skb_of,
)
from emu.runtime.packet import Packet

if TYPE_CHECKING:
    from emu.runtime.world import World

# Flags of bpf_skb_adjust_room.
FIXED_GSO, ENCAP_IPV4, ENCAP_IPV6, ENCAP_GRE, ENCAP_UDP, NO_CSUM_RESET, ENCAP_ETH, DECAP_IPV4, DECAP_IPV6 = (
    1 << bit for bit in range(9)
)
ENCAP_L2_SHIFT, ENCAP_L2_MASK = 56, 0xFF << 56
ENCAP_L3 = ENCAP_IPV4 | ENCAP_IPV6
DECAP_L3 = DECAP_IPV4 | DECAP_IPV6
ALL = 0x1FF | ENCAP_L2_MASK
ROOM_NET, ROOM_MAC = 0, 1
MAX_DIFF = 0xFFF
ETH_HLEN = 14
IPV4, IPV6 = 0x0008, 0xDD86  # skb->protocol, big-endian as a program reads it
IP_LENGTH = {IPV4: 20, IPV6: 40}


def insert(packet: Packet, at: int, size: int) -> bool:
    """bpf_skb_net_hdr_push: zeros at offset `at`; the headers before them move to the front."""
    if not packet.make_room(at, size):
        return False
    packet.mac -= size
    packet.network -= size
    return True


def remove(packet: Packet, at: int, size: int) -> bool:
    """bpf_skb_net_hdr_pop: the reverse."""
    if not packet.make_room(at, -size):
        return False
    packet.mac += size
    packet.network += size
    return True


@helper("bpf_skb_adjust_room")
def skb_adjust_room(world: "World", skb: Ptr, diff: S32, mode: U32, flags: U64) -> int:
    """Insert (diff > 0) or remove bytes behind the link-layer header, or behind the IP header without options."""
    context, packet = skb_of(world, skb)
    if flags & ~ALL:
        return -EINVAL
    size, shrink = abs(diff), diff < 0
    if size > MAX_DIFF:
        return -EFAULT
    base = IP_LENGTH.get(context["protocol"])
    if base is None or mode not in (ROOM_NET, ROOM_MAC):
        return -ENOTSUPP
    at = packet.network - packet.mac + (base if mode == ROOM_NET else 0)
    if flags & DECAP_L3:
        if not shrink or flags & DECAP_L3 == DECAP_L3:
            return -EINVAL
        base = IP_LENGTH[IPV4 if flags & DECAP_IPV4 else IPV6]
    left = packet.length - (packet.network - packet.data)
    if shrink and (size >= left or left - size < base):
        return -ENOTSUPP
    if not shrink and packet.length + size > SKB_MAX_LEN:
        return -ENOTSUPP
    return _shrink(context, packet, at, size, flags) if shrink else _grow(context, packet, at, size, flags)


def _shrink(context: SkbContext, packet: Packet, at: int, size: int, flags: int) -> int:
    if flags & ~(FIXED_GSO | DECAP_L3 | NO_CSUM_RESET):
        return -EINVAL
    if not remove(packet, at, size):
        return -ENOMEM
    if context["protocol"] == IPV6 and flags & DECAP_IPV4:
        context["protocol"] = IPV4
    elif context["protocol"] == IPV4 and flags & DECAP_IPV6:
        context["protocol"] = IPV6
    return 0


def _grow(context: SkbContext, packet: Packet, at: int, size: int, flags: int) -> int:
    if flags & ENCAP_L3:
        inner_mac = (flags & ENCAP_L2_MASK) >> ENCAP_L2_SHIFT
        both = flags & ENCAP_L3 == ENCAP_L3 or flags & (ENCAP_GRE | ENCAP_UDP) == ENCAP_GRE | ENCAP_UDP
        if both or (flags & ENCAP_ETH and inner_mac < ETH_HLEN):
            return -EINVAL
        if packet.encapsulated:
            return -EALREADY
        if inner_mac > size:
            return -EINVAL
    if not insert(packet, at, size):
        return -ENOMEM
    if flags & ENCAP_L3:
        packet.encapsulated = True
        context["protocol"] = IPV6 if flags & ENCAP_IPV6 else IPV4
    return 0


@helper("bpf_skb_change_proto")
def skb_change_proto(world: "World", skb: Ptr, proto: U32, flags: U64) -> int:
    """Make the IPv4 header's room fit an IPv6 header, or the reverse. The program writes the new header."""
    context, packet = skb_of(world, skb)
    if flags:
        return -EINVAL
    proto &= 0xFFFF
    at = packet.network - packet.mac
    if context["protocol"] == IPV4 and proto == IPV6:
        done = insert(packet, at, 20)
    elif context["protocol"] == IPV6 and proto == IPV4:
        done = remove(packet, at, 20)
    else:
        return -ENOTSUPP
    if not done:
        return -ENOMEM
    context["protocol"] = proto
    context["hash"] = 0
    return 0
