"""What helpers do, by theme. `bpf.helpers` has the table of prototypes; docs/helpers.md lists what differs from Linux.

An implementation gets the world and the helper's arguments and returns r0, negative errors included. It touches
memory only through `world.memory`, whose GuestFault ends the run as a trap.
"""

from emu.runtime.helpers import (
    checksum,
    dynptr,
    loops,
    maps,
    packet,
    probe,
    redirect,
    ringbuf,
    room,
    sockets,
    strings,
    time_and_ids,
    trace,
    vlan,
    xdp,
)
from emu.runtime.helpers.registry import IMPLEMENTED, helper

__all__ = [
    "IMPLEMENTED",
    "checksum",
    "dynptr",
    "helper",
    "loops",
    "maps",
    "packet",
    "probe",
    "redirect",
    "ringbuf",
    "room",
    "sockets",
    "strings",
    "time_and_ids",
    "trace",
    "vlan",
    "xdp",
]
