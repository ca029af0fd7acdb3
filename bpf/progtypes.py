"""Program types, attach types, and which section of an object makes which: data, no behaviour but look-up.

Sources: Linux 7.3 include/uapi/linux/bpf.h (numbers), libbpf 1.7 section_defs (sections), kernel/bpf/btf.c and
libbpf (context structs).
"""

from dataclasses import dataclass
from enum import IntFlag

# enum bpf_prog_type, by number; the kernel's names in lower case
NAMES: tuple[str, ...] = (
    "unspec",
    "socket_filter",
    "kprobe",
    "sched_cls",
    "sched_act",
    "tracepoint",
    "xdp",
    "perf_event",
    "cgroup_skb",
    "cgroup_sock",
    "lwt_in",
    "lwt_out",
    "lwt_xmit",
    "sock_ops",
    "sk_skb",
    "cgroup_device",
    "sk_msg",
    "raw_tracepoint",
    "cgroup_sock_addr",
    "lwt_seg6local",
    "lirc_mode2",
    "sk_reuseport",
    "flow_dissector",
    "cgroup_sysctl",
    "raw_tracepoint_writable",
    "cgroup_sockopt",
    "tracing",
    "struct_ops",
    "ext",
    "lsm",
    "sk_lookup",
    "syscall",
    "netfilter",
)
NUMBERS: dict[str, int] = {name: number for number, name in enumerate(NAMES)}

# enum bpf_attach_type, by number; libbpf's names
ATTACH_NAMES: tuple[str, ...] = (
    "cgroup_inet_ingress",
    "cgroup_inet_egress",
    "cgroup_inet_sock_create",
    "cgroup_sock_ops",
    "sk_skb_stream_parser",
    "sk_skb_stream_verdict",
    "cgroup_device",
    "sk_msg_verdict",
    "cgroup_inet4_bind",
    "cgroup_inet6_bind",
    "cgroup_inet4_connect",
    "cgroup_inet6_connect",
    "cgroup_inet4_post_bind",
    "cgroup_inet6_post_bind",
    "cgroup_udp4_sendmsg",
    "cgroup_udp6_sendmsg",
    "lirc_mode2",
    "flow_dissector",
    "cgroup_sysctl",
    "cgroup_udp4_recvmsg",
    "cgroup_udp6_recvmsg",
    "cgroup_getsockopt",
    "cgroup_setsockopt",
    "trace_raw_tp",
    "trace_fentry",
    "trace_fexit",
    "modify_return",
    "lsm_mac",
    "trace_iter",
    "cgroup_inet4_getpeername",
    "cgroup_inet6_getpeername",
    "cgroup_inet4_getsockname",
    "cgroup_inet6_getsockname",
    "xdp_devmap",
    "cgroup_inet_sock_release",
    "xdp_cpumap",
    "sk_lookup",
    "xdp",
    "sk_skb_verdict",
    "sk_reuseport_select",
    "sk_reuseport_select_or_migrate",
    "perf_event",
    "trace_kprobe_multi",
    "lsm_cgroup",
    "struct_ops",
    "netfilter",
    "tcx_ingress",
    "tcx_egress",
    "trace_uprobe_multi",
    "cgroup_unix_connect",
    "cgroup_unix_sendmsg",
    "cgroup_unix_recvmsg",
    "cgroup_unix_getpeername",
    "cgroup_unix_getsockname",
    "netkit_primary",
    "netkit_peer",
    "trace_kprobe_session",
    "trace_uprobe_session",
    "trace_fsession",
    "trace_fentry_multi",
    "trace_fexit_multi",
    "trace_fsession_multi",
)
ATTACH_NUMBERS: dict[str, int] = {name: number for number, name in enumerate(ATTACH_NAMES)}

# The struct that r1 points to when a program starts, as user space names it. The other types (tracing, lsm,
# struct_ops, ext, syscall, tracepoint, ...) have none: their context depends on what they attach to.
CONTEXTS: dict[str, str] = {
    "cgroup_device": "bpf_cgroup_dev_ctx",
    "cgroup_skb": "__sk_buff",
    "cgroup_sock": "bpf_sock",
    "cgroup_sock_addr": "bpf_sock_addr",
    "cgroup_sockopt": "bpf_sockopt",
    "cgroup_sysctl": "bpf_sysctl",
    "flow_dissector": "__sk_buff",
    "kprobe": "bpf_user_pt_regs_t",
    "lwt_in": "__sk_buff",
    "lwt_out": "__sk_buff",
    "lwt_seg6local": "__sk_buff",
    "lwt_xmit": "__sk_buff",
    "netfilter": "bpf_nf_ctx",
    "perf_event": "bpf_perf_event_data",
    "raw_tracepoint": "bpf_raw_tracepoint_args",
    "raw_tracepoint_writable": "bpf_raw_tracepoint_args",
    "sched_act": "__sk_buff",
    "sched_cls": "__sk_buff",
    "sk_lookup": "bpf_sk_lookup",
    "sk_msg": "sk_msg_md",
    "sk_reuseport": "sk_reuseport_md",
    "sk_skb": "__sk_buff",
    "sock_ops": "bpf_sock_ops",
    "socket_filter": "__sk_buff",
    "xdp": "xdp_md",
}

# prog_flags of the load command
F_SLEEPABLE = 1 << 4
F_XDP_HAS_FRAGS = 1 << 5

# what libbpf puts before the attach target's name to find its BTF type
_TARGET_PREFIX = {
    "trace_raw_tp": "btf_trace_",
    "lsm_mac": "bpf_lsm_",
    "lsm_cgroup": "bpf_lsm_",
    "trace_iter": "bpf_iter_",
}


class SecFlag(IntFlag):
    """What a section asks of the loader."""

    NONE = 0
    ATTACH_BTF = 1  # the rest of the name is a BTF function or type that the program attaches to
    SLEEPABLE = 2
    XDP_FRAGS = 4
    USDT = 8


@dataclass(frozen=True, slots=True)
class SecDef:
    """A section name, the program type and attach type it stands for. A name with "+" also matches "name/..."."""

    name: str
    prog_type: str
    attach: str = ""
    flags: SecFlag = SecFlag.NONE

    def matches(self, section: str) -> bool:
        """Whether a section with this name is meant."""
        if self.name.endswith("+"):
            head = self.name[:-1]
            return section == head or section.startswith(head + "/")
        return section == self.name

    @property
    def attach_type(self) -> int:
        """Number of the expected attach type, 0 when there is none."""
        return ATTACH_NUMBERS[self.attach] if self.attach else 0

    @property
    def prog_flags(self) -> int:
        """Flags of the load command that follow from the name."""
        return (F_SLEEPABLE if self.flags & SecFlag.SLEEPABLE else 0) | (
            F_XDP_HAS_FRAGS if self.flags & SecFlag.XDP_FRAGS else 0
        )


_BTF = SecFlag.ATTACH_BTF
_SLEEP = SecFlag.SLEEPABLE
_FRAGS = SecFlag.XDP_FRAGS

# The first one that matches counts.
SECTIONS: tuple[SecDef, ...] = (
    SecDef("socket", "socket_filter"),
    SecDef("sk_reuseport/migrate", "sk_reuseport", "sk_reuseport_select_or_migrate"),
    SecDef("sk_reuseport", "sk_reuseport", "sk_reuseport_select"),
    SecDef("kprobe+", "kprobe"),
    SecDef("uprobe+", "kprobe"),
    SecDef("uprobe.s+", "kprobe", flags=_SLEEP),
    SecDef("kretprobe+", "kprobe"),
    SecDef("uretprobe+", "kprobe"),
    SecDef("uretprobe.s+", "kprobe", flags=_SLEEP),
    SecDef("kprobe.multi+", "kprobe", "trace_kprobe_multi"),
    SecDef("kretprobe.multi+", "kprobe", "trace_kprobe_multi"),
    SecDef("kprobe.session+", "kprobe", "trace_kprobe_session"),
    SecDef("uprobe.multi+", "kprobe", "trace_uprobe_multi"),
    SecDef("uretprobe.multi+", "kprobe", "trace_uprobe_multi"),
    SecDef("uprobe.session+", "kprobe", "trace_uprobe_session"),
    SecDef("uprobe.multi.s+", "kprobe", "trace_uprobe_multi", _SLEEP),
    SecDef("uretprobe.multi.s+", "kprobe", "trace_uprobe_multi", _SLEEP),
    SecDef("uprobe.session.s+", "kprobe", "trace_uprobe_session", _SLEEP),
    SecDef("ksyscall+", "kprobe"),
    SecDef("kretsyscall+", "kprobe"),
    SecDef("usdt+", "kprobe", "trace_uprobe_multi", SecFlag.USDT),
    SecDef("usdt.s+", "kprobe", "trace_uprobe_multi", SecFlag.USDT | _SLEEP),
    SecDef("tc/ingress", "sched_cls", "tcx_ingress"),
    SecDef("tc/egress", "sched_cls", "tcx_egress"),
    SecDef("tcx/ingress", "sched_cls", "tcx_ingress"),
    SecDef("tcx/egress", "sched_cls", "tcx_egress"),
    SecDef("tc", "sched_cls"),
    SecDef("classifier", "sched_cls"),
    SecDef("action", "sched_act"),
    SecDef("netkit/primary", "sched_cls", "netkit_primary"),
    SecDef("netkit/peer", "sched_cls", "netkit_peer"),
    SecDef("tracepoint+", "tracepoint"),
    SecDef("tp+", "tracepoint"),
    SecDef("raw_tracepoint+", "raw_tracepoint"),
    SecDef("raw_tp+", "raw_tracepoint"),
    SecDef("raw_tracepoint.w+", "raw_tracepoint_writable"),
    SecDef("raw_tp.w+", "raw_tracepoint_writable"),
    SecDef("tp_btf+", "tracing", "trace_raw_tp", _BTF),
    SecDef("fentry+", "tracing", "trace_fentry", _BTF),
    SecDef("fmod_ret+", "tracing", "modify_return", _BTF),
    SecDef("fexit+", "tracing", "trace_fexit", _BTF),
    SecDef("fsession+", "tracing", "trace_fsession", _BTF),
    SecDef("fentry.s+", "tracing", "trace_fentry", _BTF | _SLEEP),
    SecDef("fmod_ret.s+", "tracing", "modify_return", _BTF | _SLEEP),
    SecDef("fexit.s+", "tracing", "trace_fexit", _BTF | _SLEEP),
    SecDef("fsession.s+", "tracing", "trace_fsession", _BTF | _SLEEP),
    SecDef("freplace+", "ext", flags=_BTF),
    SecDef("lsm+", "lsm", "lsm_mac", _BTF),
    SecDef("lsm.s+", "lsm", "lsm_mac", _BTF | _SLEEP),
    SecDef("lsm_cgroup+", "lsm", "lsm_cgroup", _BTF),
    SecDef("iter+", "tracing", "trace_iter", _BTF),
    SecDef("iter.s+", "tracing", "trace_iter", _BTF | _SLEEP),
    SecDef("syscall", "syscall", flags=_SLEEP),
    SecDef("xdp.frags/devmap", "xdp", "xdp_devmap", _FRAGS),
    SecDef("xdp/devmap", "xdp", "xdp_devmap"),
    SecDef("xdp.frags/cpumap", "xdp", "xdp_cpumap", _FRAGS),
    SecDef("xdp/cpumap", "xdp", "xdp_cpumap"),
    SecDef("xdp.frags", "xdp", "xdp", _FRAGS),
    SecDef("xdp", "xdp", "xdp"),
    SecDef("perf_event", "perf_event"),
    SecDef("lwt_in", "lwt_in"),
    SecDef("lwt_out", "lwt_out"),
    SecDef("lwt_xmit", "lwt_xmit"),
    SecDef("lwt_seg6local", "lwt_seg6local"),
    SecDef("sockops", "sock_ops", "cgroup_sock_ops"),
    SecDef("sk_skb/stream_parser", "sk_skb", "sk_skb_stream_parser"),
    SecDef("sk_skb/stream_verdict", "sk_skb", "sk_skb_stream_verdict"),
    SecDef("sk_skb/verdict", "sk_skb", "sk_skb_verdict"),
    SecDef("sk_skb", "sk_skb"),
    SecDef("sk_msg", "sk_msg", "sk_msg_verdict"),
    SecDef("lirc_mode2", "lirc_mode2", "lirc_mode2"),
    SecDef("flow_dissector", "flow_dissector", "flow_dissector"),
    SecDef("cgroup_skb/ingress", "cgroup_skb", "cgroup_inet_ingress"),
    SecDef("cgroup_skb/egress", "cgroup_skb", "cgroup_inet_egress"),
    SecDef("cgroup/skb", "cgroup_skb"),
    SecDef("cgroup/sock_create", "cgroup_sock", "cgroup_inet_sock_create"),
    SecDef("cgroup/sock_release", "cgroup_sock", "cgroup_inet_sock_release"),
    SecDef("cgroup/sock", "cgroup_sock", "cgroup_inet_sock_create"),
    SecDef("cgroup/post_bind4", "cgroup_sock", "cgroup_inet4_post_bind"),
    SecDef("cgroup/post_bind6", "cgroup_sock", "cgroup_inet6_post_bind"),
    SecDef("cgroup/bind4", "cgroup_sock_addr", "cgroup_inet4_bind"),
    SecDef("cgroup/bind6", "cgroup_sock_addr", "cgroup_inet6_bind"),
    SecDef("cgroup/connect4", "cgroup_sock_addr", "cgroup_inet4_connect"),
    SecDef("cgroup/connect6", "cgroup_sock_addr", "cgroup_inet6_connect"),
    SecDef("cgroup/connect_unix", "cgroup_sock_addr", "cgroup_unix_connect"),
    SecDef("cgroup/sendmsg4", "cgroup_sock_addr", "cgroup_udp4_sendmsg"),
    SecDef("cgroup/sendmsg6", "cgroup_sock_addr", "cgroup_udp6_sendmsg"),
    SecDef("cgroup/sendmsg_unix", "cgroup_sock_addr", "cgroup_unix_sendmsg"),
    SecDef("cgroup/recvmsg4", "cgroup_sock_addr", "cgroup_udp4_recvmsg"),
    SecDef("cgroup/recvmsg6", "cgroup_sock_addr", "cgroup_udp6_recvmsg"),
    SecDef("cgroup/recvmsg_unix", "cgroup_sock_addr", "cgroup_unix_recvmsg"),
    SecDef("cgroup/getpeername4", "cgroup_sock_addr", "cgroup_inet4_getpeername"),
    SecDef("cgroup/getpeername6", "cgroup_sock_addr", "cgroup_inet6_getpeername"),
    SecDef("cgroup/getpeername_unix", "cgroup_sock_addr", "cgroup_unix_getpeername"),
    SecDef("cgroup/getsockname4", "cgroup_sock_addr", "cgroup_inet4_getsockname"),
    SecDef("cgroup/getsockname6", "cgroup_sock_addr", "cgroup_inet6_getsockname"),
    SecDef("cgroup/getsockname_unix", "cgroup_sock_addr", "cgroup_unix_getsockname"),
    SecDef("cgroup/sysctl", "cgroup_sysctl", "cgroup_sysctl"),
    SecDef("cgroup/getsockopt", "cgroup_sockopt", "cgroup_getsockopt"),
    SecDef("cgroup/setsockopt", "cgroup_sockopt", "cgroup_setsockopt"),
    SecDef("cgroup/dev", "cgroup_device", "cgroup_device"),
    SecDef("struct_ops+", "struct_ops"),
    SecDef("struct_ops.s+", "struct_ops", flags=_SLEEP),
    SecDef("sk_lookup", "sk_lookup", "sk_lookup"),
    SecDef("netfilter", "netfilter", "netfilter"),
)


def find(section: str) -> SecDef | None:
    """The definition that a section name stands for; a "?" in front (not loaded unless asked for) is skipped."""
    section = section.removeprefix("?")
    return next((d for d in SECTIONS if d.matches(section)), None)


def target(section: str, definition: SecDef) -> str:
    """Name of the kernel's function or type that a program of this section attaches to, "" when it names none."""
    _, slash, rest = section.partition("/")
    if not slash or not rest or not definition.flags & SecFlag.ATTACH_BTF:
        return ""
    module, colon, name = rest.rpartition(":")
    return module + colon + _TARGET_PREFIX.get(definition.attach, "") + name
