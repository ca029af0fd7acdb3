"""Test runs of programs whose context is a struct __sk_buff (bpf_prog_test_run_skb, _flow_dissector)."""

import struct
from functools import partial

from bpf.program import Program, RunInput
from emu.runtime.contexts import SKB, SKB_SIZE, SOCK, SOCK_SIZE, SkbContext
from emu.runtime.memory import Memory, Region
from emu.runtime.packet import ETH_HLEN, Packet
from emu.runtime.testrun_base import (
    DEFAULT_DATA,
    FRAGS,
    PAGE,
    SHARED_INFO,
    Finish,
    Finished,
    Prepared,
    ctx_init,
    data_of,
    results,
    rounds_of,
)
from emu.runtime.traps import RunRefused

# A kernel begins with NET_SKB_PAD, 64 bytes, and grows it to as much as 16064 when asked.
SKB_HEADROOM = 1 << 14
SKB_TAILROOM = 1 << 17
SKB_LINEAR = PAGE - 64 - SHARED_INFO  # behind NET_SKB_PAD; NET_IP_ALIGN is 0 on x86
TCP_CLOSE = 7
_SOCK = struct.Struct(
    "<4xI16xI24xI16xIi"
)  # family, src_ip4, dst_ip4, state, rx_queue_mapping of struct bpf_sock
_NO_ADDRESSES = _SOCK.pack(0, 0, 0, TCP_CLOSE, -1)
_ADDRESSED = frozenset({b"\x08\x00", b"\x86\xdd"})  # EtherTypes of IPv4 and IPv6
_NO_DEVICE = bytes(6)  # the address of the loopback device
_L2 = frozenset({"sched_cls", "sched_act"})
_DIRECT = _L2 | {"lwt_in", "lwt_out", "lwt_xmit", "cgroup_skb"}

# What ctx_in may set; all other bytes must be zero (convert___skb_to_skb).
_SETTABLE = (("mark", 4), ("priority", 4), ("ingress_ifindex", 4), ("ifindex", 4), ("cb", 20), ("data_end", 4),
             ("tstamp", 8), ("wire_len", 4), ("gso_segs", 4), ("gso_size", 4), ("hwtstamp", 8))  # fmt: skip
_MUST_BE_ZERO = bytearray(b"\1" * SKB_SIZE)
for _name, _size in _SETTABLE:
    _MUST_BE_ZERO[SKB[_name] : SKB[_name] + _size] = bytes(_size)
TEST_SKB_CHECKSUM_COMPLETE = 1 << 2
GSO_MAX_SEGS = 65535
GSO_MAX_SIZE = 65536


def protocol_of(frame: bytes) -> int:
    """skb->protocol of an Ethernet frame as eth_type_trans finds it, as a program reads the big-endian field."""
    kind = frame[12:14]
    if kind >= b"\x06\x00":
        return int.from_bytes(kind, "little")
    raw_802_3 = frame[14:16] == b"\xff\xff"
    return 0x0100 if raw_802_3 else 0x0400  # ETH_P_802_3, ETH_P_802_2


def packet_type(frame: bytes) -> int:
    """skb->pkt_type as the loopback device sees a frame: PACKET_HOST, MULTICAST or OTHERHOST.

    Its address and its broadcast address are both zero, so that no frame is a broadcast.
    """
    if frame.startswith(_NO_DEVICE):
        return 0
    return 2 if frame[0] & 1 else 3


def _linear(given: bytes | None, size: int, is_lwt: bool) -> int:
    """How many of `size` bytes are to be directly accessible: data_end of the context, at most a page."""
    linear = size
    if given is not None:
        asked = int.from_bytes(given[80:84], "little")
        if asked > size:
            raise RunRefused("EINVAL", "data_end of ctx_in lies behind data_in")
        if asked and is_lwt:
            raise RunRefused("EINVAL", "a tunnel program's packet has no data_end")
        if asked:
            linear = max(ETH_HLEN, asked)
    linear = min(linear, SKB_LINEAR)
    if size > linear + FRAGS:
        raise RunRefused("ENOMEM", f"data_in has {size} bytes, at most {linear + FRAGS} fit")
    return linear


def prepare_skb(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """bpf_prog_test_run_skb: sched_cls, sched_act, socket_filter, cgroup_skb, lwt_in, lwt_out, lwt_xmit."""
    if run.flags & ~TEST_SKB_CHECKSUM_COMPLETE:
        raise RunRefused("EINVAL", f"flags {run.flags:#x}")
    data = data_of(run, ETH_HLEN)
    kind = program.prog_type
    given = ctx_init(run, SKB_SIZE)
    linear = _linear(given, len(data), kind.startswith("lwt"))
    sock = _socket(memory, data, linear)
    packet = Packet(memory, data, SKB_HEADROOM, SKB_TAILROOM, linear)
    packet.network = packet.mac + ETH_HLEN
    if kind not in _L2:
        packet.pull(ETH_HLEN)
    fields = packet_type(data), protocol_of(data), 1, sock.base
    context = SkbContext(memory, packet, direct=kind in _DIRECT, fields=fields)
    if given is not None:
        _convert_in(context, given, packet.length)
    made = _Skb(kind, packet, context, sock, given)
    return Prepared(context, partial(made.finish, run), rounds_of(run), made.again)


class _Skb:
    """The objects of a run, for this run and more like it."""

    def __init__(
        self, kind: str, packet: Packet, context: SkbContext, sock: Region, given: bytes | None
    ) -> None:
        self.kind = kind
        self.packet = packet
        self.context = context
        self.sock = sock
        self.given = given
        self.repeats = given is None and kind in _L2  # whether a new packet is all that another run takes

    def again(self, run: RunInput) -> Finish | None:
        """Another packet of the same length, without a context of the caller's."""
        data = DEFAULT_DATA if run.data_in is None else run.data_in
        packet = self.packet
        if not self.repeats or len(data) != packet.length or run.flags or run.ctx_in:
            return None
        if run.ctx_out_size or run.repeat > 1:
            return None
        _describe_socket(self.sock, data, packet.linear)
        packet.room[SKB_HEADROOM : SKB_HEADROOM + len(data)] = data
        self.context.fill(packet_type(data), protocol_of(data), 1, self.sock.base)
        return partial(self.finish, run)

    def finish(self, run: RunInput, r0: int) -> Finished:
        packet, given = self.packet, self.given
        if self.repeats:
            return results(run, r0 & 0xFFFFFFFF, packet.contents(), None)
        if self.kind not in _L2:
            packet.push(ETH_HLEN)
            packet.store_bytes(0, bytes(ETH_HLEN))
        out = None if given is None else _convert_out(self.context, given)
        return results(run, r0 & 0xFFFFFFFF, packet.contents(), out)


def _socket(memory: Memory, data: bytes, linear: int) -> Region:
    """The test run's socket as a struct bpf_sock: addresses of the packet, if its IP header is linear."""
    region = memory.alloc("heap", SOCK_SIZE, "sock", "struct bpf_sock", writable=False)
    _describe_socket(region, data, linear)
    return region


def _describe_socket(region: Region, data: bytes, linear: int) -> None:
    family = local = remote = 0
    kind, room = data[12:14], linear - ETH_HLEN
    if kind not in _ADDRESSED:
        region.view[:] = _NO_ADDRESSES
        return
    if kind == b"\x08\x00":
        if room < 20:
            raise RunRefused("EINVAL", "the IPv4 header is cut off")
        family = 2
        local, remote = int.from_bytes(data[26:30], "little"), int.from_bytes(data[30:34], "little")
    else:
        if room < 40:
            raise RunRefused("EINVAL", "the IPv6 header is cut off")
        family = 10
    region.view[:] = _SOCK.pack(family, local, remote, TCP_CLOSE, -1)
    if family == 10:
        region.view[SOCK["src_ip6"] : SOCK["src_ip6"] + 16] = data[22:38]
        region.view[SOCK["dst_ip6"] : SOCK["dst_ip6"] + 16] = data[38:54]


def _convert_in(context: SkbContext, given: bytes, length: int) -> None:
    """convert___skb_to_skb: take over the fields a caller may set."""
    if any(a and b for a, b in zip(given, _MUST_BE_ZERO, strict=True)):
        raise RunRefused("EINVAL", "ctx_in sets a field that cannot be set")
    view = context.view
    for name, size in _SETTABLE:
        if name not in ("data_end", "ifindex"):
            view[SKB[name] : SKB[name] + size] = given[SKB[name] : SKB[name] + size]
    context["gso_size"] &= 0xFFFF
    ifindex = int.from_bytes(given[40:44], "little")
    if ifindex > 1:
        raise RunRefused("ENODEV", f"there is no device {ifindex}")
    wire_len = context["wire_len"]
    if wire_len == 0:
        context["wire_len"] = length
    elif wire_len < length or wire_len > GSO_MAX_SIZE:
        raise RunRefused("EINVAL", f"wire_len {wire_len}")
    if context["gso_segs"] > GSO_MAX_SEGS:
        raise RunRefused("EINVAL", f"gso_segs {context['gso_segs']}")


def _convert_out(context: SkbContext, given: bytes) -> bytes:
    """convert_skb_to___skb: the caller's context with the fields that are copied back."""
    out = bytearray(given)
    for name, size in _SETTABLE:
        if name not in ("data_end", "gso_size"):
            out[SKB[name] : SKB[name] + size] = context.view[SKB[name] : SKB[name] + size]
    return bytes(out)


# ---- flow dissectors ----

_KEYS = struct.Struct("<HH")  # nhoff, thoff: where struct bpf_flow_keys begins
FLOW_KEYS_SIZE = 56
FLOW_KEYS_FLAGS = 48  # offset of the only field a caller may set


def prepare_flow_dissector(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """bpf_prog_test_run_flow_dissector: the packet is no skb, the result is a struct bpf_flow_keys."""
    del program
    if run.flags:
        raise RunRefused("EINVAL", f"flags {run.flags:#x}")
    data = data_of(run, ETH_HLEN)
    if len(data) > PAGE:
        raise RunRefused("EINVAL", f"data_in has {len(data)} bytes, at most {PAGE} fit")
    given = ctx_init(run, FLOW_KEYS_SIZE)
    flags = given[FLOW_KEYS_FLAGS : FLOW_KEYS_FLAGS + 4] if given else bytes(4)
    if given and given != bytes(FLOW_KEYS_FLAGS) + flags + bytes(4):
        raise RunRefused("EINVAL", "ctx_in sets more than flags")
    keys = memory.alloc("heap", FLOW_KEYS_SIZE, "mem", "struct bpf_flow_keys")
    _KEYS.pack_into(keys.view, 0, ETH_HLEN, ETH_HLEN)
    keys.view[10:12] = data[12:14]
    keys.view[FLOW_KEYS_FLAGS : FLOW_KEYS_FLAGS + 4] = flags
    packet = Packet(memory, data, 0, 0, len(data))
    context = SkbContext(memory, packet, direct=True)
    context["flow_keys"] = keys.base

    def finish(r0: int) -> Finished:
        nhoff, thoff = _KEYS.unpack_from(keys.view)
        nhoff = min(max(nhoff, ETH_HLEN), len(data))
        _KEYS.pack_into(keys.view, 0, nhoff, min(max(thoff, nhoff), len(data)))
        return results(run, r0 & 0xFFFFFFFF, bytes(keys.view), given)

    return Prepared(context, finish, rounds_of(run))
