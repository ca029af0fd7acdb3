"""Contexts in their UAPI layout, as a program's r1 points to them.

A real kernel rewrites a program's accesses to struct __sk_buff and the like into accesses of its own
structures. Here the program's own offsets stay valid: the object at r1 is the UAPI structure, kept in step
with the packet. Knows the layouts of include/uapi/linux/bpf.h, but not how a test run fills them.
"""

import struct
from functools import partial

from emu.runtime.memory import Memory, Region
from emu.runtime.packet import Packet

# Offsets in struct __sk_buff. `cb` has five words, remote_ip6 and local_ip6 four; the last three fields differ in
# width: flow_keys, tstamp, sk and hwtstamp have 64 bits, tstamp_type 8, all others 32.
SKB = {
    "len": 0, "pkt_type": 4, "mark": 8, "queue_mapping": 12, "protocol": 16, "vlan_present": 20, "vlan_tci": 24,
    "vlan_proto": 28, "priority": 32, "ingress_ifindex": 36, "ifindex": 40, "tc_index": 44, "cb": 48, "hash": 68,
    "tc_classid": 72, "data": 76, "data_end": 80, "napi_id": 84, "family": 88, "remote_ip4": 92, "local_ip4": 96,
    "remote_ip6": 100, "local_ip6": 116, "remote_port": 132, "local_port": 136, "data_meta": 140, "flow_keys": 144,
    "tstamp": 152, "wire_len": 160, "gso_segs": 164, "sk": 168, "gso_size": 176, "tstamp_type": 180, "hwtstamp": 184,
}  # fmt: skip
SKB_SIZE = 192
# len, pkt_type, protocol, ifindex, data, data_end, data_meta, sk
_SKB = struct.Struct("<II8xI20xI32xII56xI24xQ16x")
_SKB_WIDE = frozenset({"flow_keys", "tstamp", "sk", "hwtstamp"})

# Offsets in struct xdp_md, 32 bits each.
XDP = {
    "data": 0,
    "data_end": 4,
    "data_meta": 8,
    "ingress_ifindex": 12,
    "rx_queue_index": 16,
    "egress_ifindex": 20,
}
XDP_SIZE = 24

# Offsets in struct bpf_sock.
SOCK = {
    "bound_dev_if": 0, "family": 4, "type": 8, "protocol": 12, "mark": 16, "priority": 20, "src_ip4": 24,
    "src_ip6": 28, "src_port": 44, "dst_port": 48, "dst_ip4": 52, "dst_ip6": 56, "state": 72, "rx_queue_mapping": 76,
}  # fmt: skip
SOCK_SIZE = 80

# Offsets in struct bpf_sk_lookup: sk and cookie share the first word; remote_port has 16 bits.
SK_LOOKUP = {
    "sk": 0, "cookie": 0, "family": 8, "protocol": 12, "remote_ip4": 16, "remote_ip6": 20, "remote_port": 36,
    "local_ip4": 40, "local_ip6": 44, "local_port": 60, "ingress_ifindex": 64,
}  # fmt: skip
SK_LOOKUP_SIZE = 72

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_WINDOW = struct.Struct("<II")  # data, data_end


class Context:
    """The object r1 points to; `packet` where the type has one."""

    def __init__(
        self, memory: Memory, raw: bytes, name: str, packet: Packet | None = None, size: int = 0
    ) -> None:
        size = size or len(raw)  # with `size`, all of it is zero
        self.region: Region | None = None
        self.view = memoryview(b"")  # its bytes
        if size:
            self.region = memory.alloc("ctx", size, "ctx", name)
            self.view = self.region.view
            if raw:
                self.view[:] = raw
        self.packet = packet

    @property
    def addr(self) -> int:
        """What r1 holds: 0 for an empty context."""
        return self.region.base if self.region else 0

    def raw(self) -> bytes:
        """A copy of its bytes, b"" when there are none."""
        return bytes(self.view)

    def replace(self, raw: bytes) -> bool:
        """Other bytes, as many as there are; False when there are not."""
        if len(raw) != len(self.view):
            return False
        self.view[:] = raw
        return True

    def u32(self, off: int) -> int:
        """The 32-bit field at `off`."""
        value: int = _U32.unpack_from(self.view, off)[0]
        return value

    def set_u32(self, off: int, value: int) -> None:
        """Set the 32-bit field at `off`."""
        _U32.pack_into(self.view, off, value & 0xFFFFFFFF)


class SkbContext(Context):
    """struct __sk_buff with its packet. direct: whether the type sees packet pointers. fields: as in `fill`."""

    def __init__(
        self,
        memory: Memory,
        packet: Packet,
        *,
        direct: bool,
        fields: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> None:
        super().__init__(memory, b"", "struct __sk_buff", packet, SKB_SIZE)
        self.direct = direct
        packet.moved = partial(_show_skb, self.view, direct)
        self.fill(*fields)

    def fill(self, kind: int, protocol: int, ifindex: int, sock: int) -> None:
        """Set pkt_type, protocol, ifindex, sk and the packet's window; all else is zero."""
        packet = self.packet
        assert packet is not None
        data = end = meta = 0
        if self.direct:
            data = packet.base + packet.data
            end, meta = data + packet.linear, packet.base + packet.meta
        _SKB.pack_into(self.view, 0, packet.length, kind, protocol, ifindex, data, end, meta, sock)

    def __getitem__(self, name: str) -> int:
        fmt = _U64 if name in _SKB_WIDE else _U32
        value: int = fmt.unpack_from(self.view, SKB[name])[0]
        return value

    def __setitem__(self, name: str, value: int) -> None:
        (_U64 if name in _SKB_WIDE else _U32).pack_into(self.view, SKB[name], value)


def _show_skb(view: memoryview, direct: bool, packet: Packet) -> None:
    """Copy the packet's window into its context."""
    _U32.pack_into(view, 0, packet.length)
    if direct:
        base, data = packet.base, packet.base + packet.data
        _WINDOW.pack_into(view, 76, data, data + packet.linear)
        _U32.pack_into(view, 140, base + packet.meta)


class XdpContext(Context):
    """struct xdp_md with its packet."""

    def __init__(self, memory: Memory, packet: Packet, ingress_ifindex: int, rx_queue_index: int) -> None:
        super().__init__(memory, b"", "struct xdp_md", packet, XDP_SIZE)
        self.set_u32(12, ingress_ifindex)
        self.set_u32(16, rx_queue_index)
        packet.moved = partial(_show_xdp, self.view)
        packet.moved(packet)


def _show_xdp(view: memoryview, packet: Packet) -> None:
    """Copy the packet's window into its context."""
    data = packet.base + packet.data
    _WINDOW.pack_into(view, 0, data, data + packet.linear)
    _U32.pack_into(view, 8, packet.base + packet.meta)
