"""Which bytes of a context a program may read and write, and what it gets: tables by program type.

One row a field of the context as user space sees it. Sources: the is_valid_access functions of net/core/filter.c,
kernel/trace/bpf_trace.c, kernel/bpf/cgroup.c and their neighbours; every row was compared with a running 7.3.4
kernel (tests/verifier/test_ctxaccess.py holds what it answered). Knows no registers but their types.

Rules of the columns "read" and "write":

    -  never                                4, 8  exactly that many bytes
    n  1, 2, 4 bytes of a 4-byte word       q     1, 2, 4, 8 bytes
    o  as n, from the first byte only       h     1, 2 bytes of the 2-byte field, or 4 from its first byte
    w  as n, or 8 bytes of 16               v     4 bytes, or 8 of 16
    b  1 byte                               a     any size that ends inside the field
    e  2, 4 bytes of a 4-byte word          u     as a, wherever it starts
"""

from functools import cache
from typing import Final, NamedTuple

from bpf.progtypes import ATTACH_NUMBERS
from verifier.regs import (
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_FLOW_KEYS,
    PTR_TO_PACKET,
    PTR_TO_PACKET_END,
    PTR_TO_PACKET_META,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_TP_BUFFER,
    PTR_TRUSTED,
    SCALAR_VALUE,
)

_TYPES: Final = {
    "-": SCALAR_VALUE,
    "pkt": PTR_TO_PACKET,
    "pkt_end": PTR_TO_PACKET_END,
    "pkt_meta": PTR_TO_PACKET_META,
    "flow_keys": PTR_TO_FLOW_KEYS,
    "sock": PTR_TO_SOCKET,
    "sock?": PTR_TO_SOCKET | PTR_MAYBE_NULL,
    "sock_common?": PTR_TO_SOCK_COMMON | PTR_MAYBE_NULL,
    "tp_buffer": PTR_TO_TP_BUFFER,
}


class Field(NamedTuple):
    """A field. type: what a whole read gives. btf_id: the kernel's struct of a PTR_TO_BTF_ID.

    attach: numbers of the attach types that see it, empty for all.
    """

    name: str
    off: int
    size: int
    read: str
    write: str
    type: int = SCALAR_VALUE
    btf_id: str = ""
    attach: frozenset[int] = frozenset()


def _field(line: str) -> Field:
    """Columns: name, offset, size, read, write, type ("struct:NAME" for trusted kernel objects), attach types."""
    name, off, size, read, write, *rest = line.split()
    kind = rest[0] if rest else "-"
    attach = frozenset(ATTACH_NUMBERS[a] for a in rest[1].split(",")) if len(rest) > 1 else frozenset()
    if kind.startswith("struct:"):
        reg_type, btf_id = PTR_TO_BTF_ID | PTR_TRUSTED, kind.removeprefix("struct:")
    else:
        reg_type, btf_id = _TYPES[kind], ""
    return Field(name, int(off), int(size), read, write, reg_type, btf_id, attach)


def _fields(table: str) -> tuple[Field, ...]:
    return tuple(_field(line) for line in table.strip().splitlines())


# struct __sk_buff: fields with the size they are read in, and are written in where that is allowed at all.
_SKB: Final = _fields("""
len               0  4  n  4
pkt_type          4  4  n  4
mark              8  4  n  4
queue_mapping    12  4  n  4
protocol         16  4  n  4
vlan_present     20  4  n  4
vlan_tci         24  4  n  4
vlan_proto       28  4  n  4
priority         32  4  n  4
ingress_ifindex  36  4  n  4
ifindex          40  4  n  4
tc_index         44  4  n  4
cb               48 20  a  a
hash             68  4  n  4
tc_classid       72  4  n  4
data             76  4  4  4  pkt
data_end         80  4  4  4  pkt_end
napi_id          84  4  n  4
family           88  4  n  4
remote_ip4       92  4  4  4
local_ip4        96  4  4  4
remote_ip6      100 16  4  4
local_ip6       116 16  4  4
remote_port     132  4  n  4
local_port      136  4  n  4
data_meta       140  4  4  4  pkt_meta
flow_keys       144  8  8  8  flow_keys
tstamp          152  8  8  8
wire_len        160  4  n  4
gso_segs        164  4  n  4
sk              168  8  8  8  sock_common?
gso_size        176  4  n  4
tstamp_type     180  1  b  b
hwtstamp        184  8  8  8
""")
_ADDRESSES: Final = "family remote_ip4 local_ip4 remote_ip6 local_ip6 remote_port local_port"


def _skb(hide: str, write: str) -> tuple[Field, ...]:
    """The view of __sk_buff without the fields `hide`, where only the fields `write` may be written."""
    hidden, written = set(hide.split()), set(write.split())
    return tuple(f if f.name in written else f._replace(write="-") for f in _SKB if f.name not in hidden)


_TC: Final = _skb(f"flow_keys {_ADDRESSES}", "mark tc_index priority tc_classid cb tstamp queue_mapping")
_LWT: Final = _skb(
    f"tc_classid data_meta tstamp wire_len hwtstamp flow_keys tstamp_type {_ADDRESSES}", "mark priority cb"
)

# struct bpf_sock, as the verifier's socket pointers see it
SOCK: Final = _fields("""
bound_dev_if      0  4  4  -
family            4  4  o  -
type              8  4  o  -
protocol         12  4  o  -
mark             16  4  4  -
priority         20  4  4  -
src_ip4          24  4  n  -
src_ip6          28 16  n  -
src_port         44  4  o  -
dst_port         48  2  h  -
dst_ip4          52  4  n  -
dst_ip6          56 16  n  -
state            72  4  o  -
rx_queue_mapping 76  4  o  -
""")
SOCK_COMMON: Final = tuple(f for f in SOCK if not 8 <= f.off < 24)
TCP_SOCK: Final = _fields("""
counters          0 80  4  -
bytes            80 16  8  -
more             96 16  4  -
""")
XDP_SOCK: Final = _fields("queue_id 0 4 4 -")

_CGROUP_SOCK: Final = _fields("""
bound_dev_if      0  4  4  4  -  cgroup_inet_sock_create,cgroup_inet_sock_release
family            4  4  o  -
type              8  4  o  -
protocol         12  4  o  -
mark             16  4  4  4  -  cgroup_inet_sock_create,cgroup_inet_sock_release
priority         20  4  4  4  -  cgroup_inet_sock_create,cgroup_inet_sock_release
src_ip4          24  4  n  -  -  cgroup_inet4_post_bind
src_ip6          28 16  n  -  -  cgroup_inet6_post_bind
src_port         44  4  o  -  -  cgroup_inet4_post_bind,cgroup_inet6_post_bind
dst_port         48  2  h  -
dst_ip4          52  4  n  -
dst_ip6          56 16  n  -
state            72  4  o  -
rx_queue_mapping 76  4  o  -
""")

_INET4: Final = (
    "cgroup_inet4_bind,cgroup_inet4_connect,cgroup_inet4_getpeername,cgroup_inet4_getsockname,"
    "cgroup_udp4_sendmsg,cgroup_udp4_recvmsg"
)
_INET6: Final = _INET4.replace("4", "6")
_SOCK_ADDR: Final = _fields(f"""
user_family       0  4  4  -
user_ip4          4  4  n  4  -  {_INET4}
user_ip6          8 16  w  v  -  {_INET6}
user_port        24  4  n  4
family           28  4  4  -
type             32  4  4  -
protocol         36  4  4  -
msg_src_ip4      40  4  n  4  -  cgroup_udp4_sendmsg
msg_src_ip6      44 16  w  v  -  cgroup_udp6_sendmsg
sk               64  8  8  -  sock
""")

_SOCK_OPS: Final = _fields("""
op                0  4  4  -
reply             4  4  4  4
args              8 12  4  -
addresses        20 52  4  -
is_fullsock      72  4  4  -
tcp              76 88  4  -
sk_txhash       164  4  4  4
bytes_received  168 16  8  -
sk              184  8  8  -  sock?
skb_data        192  8  8  -  pkt
skb_data_end    200  8  8  -  pkt_end
skb_len         208  4  4  -
skb_tcp_flags   212  4  o  -
skb_hwtstamp    216  8  8  -
""")

_SK_MSG: Final = _fields("""
data              0  8  8  -  pkt
data_end          8  8  8  -  pkt_end
family           16  4  4  -
remote_ip4       20  4  4  -
local_ip4        24  4  4  -
remote_ip6       28 16  4  -
local_ip6        44 16  4  -
remote_port      60  4  4  -
local_port       64  4  4  -
size             68  4  4  -
sk               72  8  8  -  sock
""")

_XDP: Final = _fields("""
data              0  4  4  -  pkt
data_end          4  4  4  -  pkt_end
data_meta         8  4  4  -  pkt_meta
ingress_ifindex  12  4  4  -
rx_queue_index   16  4  4  -
egress_ifindex   20  4  4  -  -  xdp_devmap
""")

_SK_LOOKUP: Final = _fields("""
sk                0  8  8  -  sock?
family            8  4  n  -
protocol         12  4  n  -
remote_ip4       16  4  n  -
remote_ip6       20 16  n  -
remote_port      36  4  n  -
local_ip4        40  4  n  -
local_ip6        44 16  n  -
local_port       60  4  n  -
ingress_ifindex  64  4  n  -
""")

_SK_REUSEPORT: Final = _fields("""
data              0  8  8  -  pkt
data_end          8  8  8  -  pkt_end
len              16  4  n  -
eth_protocol     20  4  e  -
ip_protocol      24  4  n  -
bind_inany       28  4  n  -
hash             32  4  4  -
sk               40  8  8  -  sock
migrating_sk     48  8  8  -  sock_common?
""")

_SOCKOPT: Final = _fields("""
sk                0  8  8  -  sock
optval            8  8  8  -  pkt
optval_end       16  8  8  -  pkt_end
level            24  4  4  4  -  cgroup_setsockopt
optname          28  4  4  4  -  cgroup_setsockopt
level            24  4  4  -  -  cgroup_getsockopt
optname          28  4  4  -  -  cgroup_getsockopt
optlen           32  4  4  4
retval           36  4  4  4  -  cgroup_getsockopt
""")

_BY_TYPE: Final[dict[str, tuple[Field, ...]]] = {
    "sched_cls": _TC,
    "sched_act": _TC,
    "socket_filter": _skb(
        f"tc_classid data data_meta data_end tstamp wire_len hwtstamp flow_keys tstamp_type {_ADDRESSES}",
        "cb",
    ),
    "cgroup_skb": _skb("tc_classid data_meta wire_len flow_keys tstamp_type", "mark priority cb tstamp"),
    "lwt_in": _LWT,
    "lwt_out": _LWT,
    "lwt_xmit": _LWT,
    "lwt_seg6local": _LWT,
    "sk_skb": _skb(
        "tc_classid data_meta tstamp wire_len hwtstamp mark flow_keys tstamp_type", "tc_index priority"
    ),
    "flow_dissector": tuple(
        f._replace(write="-") for f in _SKB if f.name in ("data", "data_end", "flow_keys")
    ),
    "xdp": _XDP,
    "cgroup_sock": _CGROUP_SOCK,
    "cgroup_sock_addr": _SOCK_ADDR,
    "cgroup_device": _fields("access_type 0 4 n -\nmajor 4 8 4 -"),
    "cgroup_sysctl": _fields("write 0 4 n -\nfile_pos 4 4 n 4"),
    "cgroup_sockopt": _SOCKOPT,
    "sock_ops": _SOCK_OPS,
    "sk_msg": _SK_MSG,
    "sk_lookup": _SK_LOOKUP,
    "sk_reuseport": _SK_REUSEPORT,
    "syscall": _fields("ctx 0 65535 u u"),
    "raw_tracepoint": _fields("args 0 96 a -"),
    "raw_tracepoint_writable": _fields("buffer 0 1 8 - tp_buffer\nargs 1 95 a -"),
    "tracepoint": _fields("record 8 8184 a -"),
    "kprobe": _fields("regs 0 168 a a"),
    "perf_event": _fields("regs 0 168 8 -\nsample_period 168 8 q -\naddr 176 8 q -"),
    "lirc_mode2": _fields("sample 0 4 4 -"),
    "netfilter": _fields("state 0 8 8 - struct:nf_hook_state\nskb 8 8 8 - struct:sk_buff"),
}

# Types whose context is used as it is, without rewriting of accesses (no convert_ctx_access).
_PLAIN: Final = frozenset(
    {
        "syscall",
        "raw_tracepoint",
        "raw_tracepoint_writable",
        "tracepoint",
        "kprobe",
        "lirc_mode2",
        "netfilter",
        "cgroup_device",
    }
    | {"tracing", "lsm", "struct_ops", "ext"}
)


def is_plain(prog_type: str) -> bool:
    """Whether a context pointer of this type may have a constant offset of its own."""
    return prog_type in _PLAIN


def _fits(rule: str, field: Field, off: int, size: int) -> bool:
    match rule:
        case "-":
            return False
        case "4" | "8" | "b":
            return size == (1 if rule == "b" else int(rule))
        case "n":
            return size <= 4
        case "e":
            return size in (2, 4)
        case "o":
            return size <= 4 and off == field.off
        case "h":
            return size <= 2 or (size == 4 and off == field.off)
        case "w" | "v":
            return (size <= 4 and (size == 4 or rule == "w")) or (size == 8 and off <= field.off + 8)
        case "q":
            return True
        case _:
            return off + size <= field.off + field.size


def valid_access(fields: tuple[Field, ...], off: int, size: int, write: bool) -> Field | None:
    """The field that an access of `size` bytes at `off` may touch, None when it may not."""
    for field in fields:
        if field.off <= off < field.off + field.size:
            rule = field.write if write else field.read
            if (off % size == 0 or rule == "u") and _fits(rule, field, off, size):
                return field
    return None


@cache
def fields_of(prog_type: str, attach_type: int) -> tuple[Field, ...] | None:
    """What a program of this type may touch, None when its context depends on what it attaches to."""
    fields = _BY_TYPE.get(prog_type)
    if fields is None:
        return None
    return tuple(f for f in fields if not f.attach or attach_type in f.attach)
