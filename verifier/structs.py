"""Which struct can stand for which: the same one, or one that begins with it.

Adds to verifier/btfaccess.py the kernel's structs whose layout is not listed there, as far as programs pass one for another.
Source: btf_struct_ids_match of kernel/bpf/btf.c, struct layouts of a 7.3.4 kernel.
"""

from typing import Final

from bpf.btf import Btf
from verifier.btfaccess import struct_ids_match

# struct: the struct that its first member is
_BEGINS_WITH: Final = {
    "sock": "sock_common",
    "request_sock": "sock_common",
    "inet_request_sock": "request_sock",
    "tcp_request_sock": "inet_request_sock",
    "inet_timewait_sock": "sock_common",
    "tcp_timewait_sock": "inet_timewait_sock",
    "inet_sock": "sock",
    "inet_connection_sock": "inet_sock",
    "tcp_sock": "inet_connection_sock",
    "tcp6_sock": "tcp_sock",
    "udp_sock": "inet_sock",
    "udp6_sock": "udp_sock",
    "unix_sock": "sock",
    "mptcp_sock": "inet_connection_sock",
    "bpf_cpumask": "cpumask",
    "mem_cgroup": "cgroup_subsys_state",
}


def ids_match(
    btf: Btf | None, have: int | str, off: int, want_btf: Btf | None, want: int | str, *, strict: bool
) -> bool:
    """Whether a pointer to `have` + off may stand for one to `want`. btf None: a kernel struct by name.

    strict: at offset 0, and of that very type.
    """
    if struct_ids_match(btf, have, off, want_btf, want, strict):
        return True
    if strict or off or btf is not None or want_btf is not None:
        return False
    inner = _BEGINS_WITH.get(str(have))
    while inner is not None and inner != want:
        inner = _BEGINS_WITH.get(inner)
    return inner is not None
