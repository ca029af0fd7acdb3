"""Helpers that push and pop VLAN tags. The outermost tag lives in the skb, further ones in the packet."""

from typing import TYPE_CHECKING

from emu.runtime.contexts import SkbContext
from emu.runtime.helpers.registry import ENOMEM, U32, Ptr, helper, skb_of
from emu.runtime.packet import Packet

if TYPE_CHECKING:
    from emu.runtime.world import World

ETH_P_8021Q, ETH_P_8021AD = 0x8100, 0x88A8
TAGS = (ETH_P_8021Q, ETH_P_8021AD)
VLAN_HLEN, ETH_ALEN, ETH_HLEN = 4, 6, 14


def _swap(value: int) -> int:
    return (value & 0xFF) << 8 | value >> 8


def _set(context: SkbContext, present: bool, proto: int = 0, tci: int = 0) -> None:
    context["vlan_present"], context["vlan_proto"], context["vlan_tci"] = int(present), _swap(proto), tci


@helper("bpf_skb_vlan_push")
def skb_vlan_push(world: "World", skb: Ptr, proto: U32, tci: U32) -> int:
    """Add a tag. proto: big-endian; other protocols than those of tags mean 802.1Q."""
    context, packet = skb_of(world, skb)
    kind = _swap(proto & 0xFFFF)
    if kind not in TAGS:
        kind = ETH_P_8021Q
    if context["vlan_present"]:
        old = _swap(context["vlan_proto"])
        if not packet.make_room(2 * ETH_ALEN, VLAN_HLEN):
            return -ENOMEM
        packet.store_bytes(2 * ETH_ALEN, old.to_bytes(2, "big") + context["vlan_tci"].to_bytes(2, "big"))
        packet.mac -= VLAN_HLEN
        context["protocol"] = _swap(old)
    _set(context, True, kind, tci & 0xFFFF)
    return 0


@helper("bpf_skb_vlan_pop")
def skb_vlan_pop(world: "World", skb: Ptr) -> int:
    """Remove the outermost tag; the next one moves from the packet into the skb."""
    context, packet = skb_of(world, skb)
    if context["vlan_present"]:
        _set(context, False)
    elif _take(context, packet) is None:
        return 0
    tag = _take(context, packet)
    if tag is not None:
        _set(context, True, *tag)
    return 0


def _take(context: SkbContext, packet: Packet) -> tuple[int, int] | None:
    """Remove the tag in the packet: its protocol and tci; None when there is none."""
    kind = _swap(context["protocol"])
    raw = packet.load_bytes(2 * ETH_ALEN, 6)
    if kind not in TAGS or raw is None or not packet.make_room(2 * ETH_ALEN, -VLAN_HLEN):
        return None
    packet.mac += VLAN_HLEN
    packet.network = max(packet.network, packet.data + ETH_HLEN)
    context["protocol"] = _swap(int.from_bytes(raw[4:6], "big"))
    return kind, int.from_bytes(raw[2:4], "big")
