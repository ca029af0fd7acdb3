"""What BPF_PROG_TEST_RUN does around a program (net/bpf/test_run.c): checks, packet and context before, results after.

One function per family of program types prepares a run and returns a `Prepared`; its `finish` makes the results.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from bpf.program import Program, RunInput
from emu.runtime.contexts import SKB, SKB_SIZE, XDP_SIZE, Context, SkbContext, XdpContext
from emu.runtime.memory import Memory
from emu.runtime.packet import ETH_HLEN, Packet
from emu.runtime.traps import RunRefused

DEFAULT_DATA = bytes(64)
SKB_HEADROOM = 1024  # the kernel begins with NET_SKB_PAD + NET_IP_ALIGN = 66 and grows it when asked
SKB_TAILROOM = 1 << 17
XDP_HEADROOM = 256
XDP_PAGE = 4096
SHARED_INFO = 320  # SKB_DATA_ALIGN(sizeof(struct skb_shared_info))
MAX_LINEAR = XDP_PAGE - 66 - SHARED_INFO


@dataclass(frozen=True, slots=True)
class Finished:
    """What BPF_PROG_TEST_RUN reports. retval: u32. data_out, ctx_out: None where the type has none."""

    errno: str
    retval: int
    data_out: bytes | None = None
    ctx_out: bytes | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run ready to start: its context, how often the program runs, and how its results are made."""

    context: Context
    finish: Callable[[int], Finished]
    rounds: int = 1


def ctx_init(run: RunInput, size: int) -> bytes | None:
    """The caller's context cut or padded to `size` bytes; None when there is none. E2BIG when more was set."""
    if not run.ctx_in:
        return None if not run.ctx_out_size else bytes(size)
    if any(run.ctx_in[size:]):
        raise RunRefused("E2BIG", f"ctx_in is set beyond its {size} bytes")
    return run.ctx_in[:size].ljust(size, b"\0")


def results(run: RunInput, retval: int, data: bytes, ctx: bytes | None) -> Finished:
    """data_out and ctx_out cut to the sizes the caller gave; ENOSPC when one is too small."""
    size = run.data_out_size
    if size and len(data) > size:
        return Finished("ENOSPC", retval, data[:size], None)
    if ctx is None:
        return Finished("OK", retval, data, None)
    size = run.ctx_out_size
    if size is not None and len(ctx) > size > 0:
        return Finished("ENOSPC", retval, data, ctx[:size])
    return Finished("OK", retval, data, ctx)


def _rounds(run: RunInput) -> int:
    return (run.repeat & 0xFFFFFFFF) or 1


# ---- skb ----

_L2 = frozenset({"sched_cls", "sched_act"})
_DIRECT = _L2 | {"lwt_in", "lwt_out", "lwt_xmit", "cgroup_skb"}

# What ctx_in may set; all other bytes must be zero (convert___skb_to_skb).
_SETTABLE = (("mark", 4), ("priority", 4), ("ingress_ifindex", 4), ("ifindex", 4), ("cb", 20), ("data_end", 4),
             ("tstamp", 8), ("wire_len", 4), ("gso_segs", 4), ("gso_size", 4), ("hwtstamp", 8))  # fmt: skip
_MUST_BE_ZERO = bytearray(b"\1" * SKB_SIZE)
for _name, _size in _SETTABLE:
    _MUST_BE_ZERO[SKB[_name] : SKB[_name] + _size] = bytes(_size)
GSO_MAX_SEGS = 65535
GSO_MAX_SIZE = 65536


def protocol_of(frame: bytes) -> int:
    """skb->protocol of an Ethernet frame as eth_type_trans finds it, as a program reads the big-endian field."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind >= 0x0600:
        return int.from_bytes(frame[12:14], "little")
    raw_802_3 = frame[14:16] == b"\xff\xff"
    return 0x0100 if raw_802_3 else 0x0400  # ETH_P_802_3, ETH_P_802_2


def packet_type(frame: bytes) -> int:
    """skb->pkt_type: PACKET_HOST, BROADCAST, MULTICAST or OTHERHOST, seen from the loopback device."""
    if frame[:6] == bytes(6):
        return 0
    if frame[0] & 1:
        return 1 if frame[:6] == b"\xff" * 6 else 2
    return 3


def prepare_skb(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """bpf_prog_test_run_skb: sched_cls, sched_act, socket_filter, cgroup_skb, lwt_*."""
    if run.flags & ~4:
        raise RunRefused("EINVAL", f"flags {run.flags:#x}")
    data = DEFAULT_DATA if run.data_in is None else run.data_in
    if len(data) < ETH_HLEN:
        raise RunRefused("EINVAL", f"data_in has {len(data)} bytes, a frame {ETH_HLEN}")
    given = ctx_init(run, SKB_SIZE)
    is_l2 = program.prog_type in _L2
    linear = min(len(data), MAX_LINEAR)
    if given is not None:
        data_end = int.from_bytes(given[80:84], "little")
        if data_end > len(data):
            raise RunRefused("EINVAL", "data_end of ctx_in lies behind data_in")
        if data_end:
            linear = min(linear, max(ETH_HLEN, data_end))
    packet = Packet(memory, data, SKB_HEADROOM, SKB_TAILROOM)
    packet.linear = linear
    packet.network = packet.mac + ETH_HLEN
    fields = {"pkt_type": packet_type(data), "protocol": protocol_of(data), "ifindex": 1, **_addresses(data)}
    context = SkbContext(memory, packet, fields, direct=program.prog_type in _DIRECT)
    if given is not None:
        _convert_in(context, given, len(data))
    if not is_l2:
        packet.pull(ETH_HLEN)
    else:
        packet.show()

    def finish(r0: int) -> Finished:
        if not is_l2:
            packet.push(ETH_HLEN)
            packet.store_bytes(0, bytes(ETH_HLEN))
        out = None if given is None else _convert_out(context, given)
        return results(run, r0 & 0xFFFFFFFF, packet.contents(), out)

    return Prepared(context, finish, _rounds(run))


def _addresses(data: bytes) -> dict[str, int]:
    """family and addresses of the test run's socket, from the packet."""
    kind = data[12:14]
    if kind == b"\x08\x00":
        fields = {"family": 2}
        if len(data) >= ETH_HLEN + 20:
            fields["local_ip4"] = int.from_bytes(data[26:30], "little")
            fields["remote_ip4"] = int.from_bytes(data[30:34], "little")
        return fields
    if kind == b"\x86\xdd":
        return {"family": 10}
    return {"family": 0}


def _convert_in(context: SkbContext, given: bytes, length: int) -> None:
    """convert___skb_to_skb: take over the fields a caller may set."""
    if any(a and b for a, b in zip(given, _MUST_BE_ZERO, strict=True)):
        raise RunRefused("EINVAL", "ctx_in sets a field that cannot be set")
    view = context.view
    for name, size in _SETTABLE:
        if name not in ("data_end", "ifindex"):
            view[SKB[name] : SKB[name] + size] = given[SKB[name] : SKB[name] + size]
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


# ---- xdp ----


def prepare_xdp(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """bpf_prog_test_run_xdp, without live frames."""
    del program
    if run.flags:
        raise RunRefused("EINVAL", f"flags {run.flags:#x}")
    data = DEFAULT_DATA if run.data_in is None else run.data_in
    given = ctx_init(run, XDP_SIZE)
    meta = 0
    if given is not None:
        start, end, data_meta, ingress, queue, egress = struct.unpack("<6I", given)
        if data_meta or end > len(data) or start > end or start % 4 or start > 255 - 3:
            raise RunRefused("EINVAL", "data_meta, data or data_end of ctx_in")
        if egress or (queue and not ingress):
            raise RunRefused("EINVAL", "egress_ifindex or rx_queue_index of ctx_in")
        if ingress:
            raise RunRefused("EINVAL" if ingress == 1 else "ENODEV", f"ingress_ifindex {ingress}")
        meta = start
    if len(data) - meta < ETH_HLEN:
        raise RunRefused("EINVAL", f"data_in has {len(data) - meta} bytes, a frame {ETH_HLEN}")
    limit = XDP_PAGE - (XDP_HEADROOM - meta) - SHARED_INFO
    packet = Packet(memory, data[:limit], XDP_HEADROOM - meta, max(0, limit - len(data)))
    packet.move_window(meta)
    context = XdpContext(memory, packet, 1, 0)

    def finish(r0: int) -> Finished:
        out = None
        if given is not None:
            size = packet.data - packet.meta
            out = struct.pack("<2I", size, size + packet.linear) + given[8:]
        return results(run, r0 & 0xFFFFFFFF, packet.contents(with_meta=True), out)

    return Prepared(context, finish, _rounds(run))


# ---- types without packets ----


def prepare_syscall(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """bpf_prog_test_run_syscall: the context is the caller's buffer, and is copied back to it."""
    del program
    if run.data_in or run.data_out_size or run.repeat > 1 or run.flags:
        raise RunRefused("EINVAL", "a syscall program's run has only ctx_in")
    raw = run.ctx_in or b""
    if len(raw) > 0xFFFF:
        raise RunRefused("EINVAL", f"ctx_in has {len(raw)} bytes, at most 65535 are allowed")
    context = Context(memory, raw, "context")
    return Prepared(context, lambda r0: Finished("OK", r0 & 0xFFFFFFFF, None, context.raw() or None))


def prepare_raw_tracepoint(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """bpf_prog_test_run_raw_tp: up to 12 words of arguments, no results but the return value."""
    del program
    if run.data_in or run.data_out_size or run.ctx_out_size or run.repeat > 1:
        raise RunRefused("EINVAL", "a raw tracepoint's run has only ctx_in")
    raw = run.ctx_in or b""
    if len(raw) > 12 * 8:
        raise RunRefused("EINVAL", f"ctx_in has {len(raw)} bytes, 12 words are 96")
    if run.flags & 2 or run.flags & ~3:
        raise RunRefused("EINVAL", f"flags {run.flags:#x}")
    context = Context(memory, raw, "context")
    return Prepared(context, lambda r0: Finished("OK", r0 & 0xFFFFFFFF))


PREPARE: dict[str, Callable[[Memory, Program, RunInput], Prepared]] = {
    **dict.fromkeys(
        (
            "socket_filter",
            "sched_cls",
            "sched_act",
            "cgroup_skb",
            "lwt_in",
            "lwt_out",
            "lwt_xmit",
            "lwt_seg6local",
        ),
        prepare_skb,
    ),
    "xdp": prepare_xdp,
    "syscall": prepare_syscall,
    "raw_tracepoint": prepare_raw_tracepoint,
}


def prepare(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """Set a run up. Raises RunRefused where BPF_PROG_TEST_RUN does; ENOTSUPP for types it cannot run."""
    function = PREPARE.get(program.prog_type)
    if function is None:
        raise RunRefused("ENOTSUPP", f"BPF_PROG_TEST_RUN does not run {program.prog_type} programs")
    return function(memory, program, run)
