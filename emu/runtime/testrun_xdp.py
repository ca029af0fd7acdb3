"""Test runs of xdp programs (bpf_prog_test_run_xdp)."""

import struct

from bpf.program import Program, RunInput
from emu.runtime.contexts import XDP_SIZE, XdpContext
from emu.runtime.memory import Memory
from emu.runtime.packet import ETH_HLEN, Packet
from emu.runtime.testrun_base import (
    FRAGS,
    PAGE,
    SHARED_INFO,
    Finished,
    Prepared,
    ctx_init,
    data_of,
    results,
    rounds_of,
)
from emu.runtime.traps import RunRefused

XDP_HEADROOM = 256  # XDP_PACKET_HEADROOM
TEST_XDP_LIVE_FRAMES = 1 << 1


def prepare_xdp(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """bpf_prog_test_run_xdp. Of live frames only the answer is modelled: nothing comes back, nothing is sent."""
    if program.expected_attach_type in _XDP_NO_RUN or run.flags & ~TEST_XDP_LIVE_FRAMES:
        raise RunRefused("EINVAL", f"attach type {program.expected_attach_type}, flags {run.flags:#x}")
    data = data_of(run, 0)
    given = ctx_init(run, XDP_SIZE)
    meta, linear = (0, len(data)) if given is None else _xdp_window(given, len(data))
    if len(data) - meta < ETH_HLEN:
        raise RunRefused("EINVAL", f"data_in has {len(data) - meta} bytes, a frame {ETH_HLEN}")
    headroom = XDP_HEADROOM - meta
    limit = PAGE - headroom - SHARED_INFO
    linear = min(linear, limit)
    if len(data) > linear + FRAGS:
        raise RunRefused("ENOMEM", f"data_in has {len(data)} bytes, at most {linear + FRAGS} fit")
    queue = 0 if given is None else _xdp_queue(given)
    packet = Packet(memory, data, headroom, max(0, limit - len(data)), linear)
    packet.move_window(meta)
    context = XdpContext(memory, packet, 1, queue)
    live = bool(run.flags & TEST_XDP_LIVE_FRAMES)

    def finish(r0: int) -> Finished:
        if live:
            return Finished("OK", 0)
        out = None
        if given is not None:
            size = packet.data - packet.meta
            out = struct.pack("<2I", size, size + packet.linear) + given[8:]
        return results(run, r0 & 0xFFFFFFFF, packet.contents(with_meta=True), out)

    return Prepared(context, finish, rounds_of(run))


_XDP_NO_RUN = (35, 38)  # BPF_XDP_DEVMAP, BPF_XDP_CPUMAP
XDP_META_MAX = XDP_HEADROOM - 40  # sizeof(struct xdp_frame)


def _xdp_window(given: bytes, size: int) -> tuple[int, int]:
    """Bytes of metadata, and where the linear part ends, both from the start of data_in."""
    start, end, data_meta = struct.unpack_from("<3I", given)
    if data_meta or end > size or start > end:
        raise RunRefused("EINVAL", "data_meta, data or data_end of ctx_in")
    if start % 4 or start > XDP_META_MAX:
        raise RunRefused("EINVAL", f"metadata of {start} bytes")
    return start, end


def _xdp_queue(given: bytes) -> int:
    """The receive queue of the loopback device, which has one; it is the only device."""
    ingress, queue, egress = struct.unpack_from("<3I", given, 12)
    if egress or (queue and not ingress):
        raise RunRefused("EINVAL", "egress_ifindex or rx_queue_index of ctx_in")
    if ingress > 1:
        raise RunRefused("ENODEV", f"there is no device {ingress}")
    if queue:
        raise RunRefused("EINVAL", f"rx_queue_index {queue}")
    return 0
