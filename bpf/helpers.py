"""Prototypes of the helpers of Linux 7.3: numbers, names, argument and return kinds, flags.

A table and the classes of its rows. What a helper does is written elsewhere; this module must not know it.

The rows say what `struct bpf_func_proto` of a real 7.3.4 kernel holds, read from its image, with the names that
enum bpf_arg_type, bpf_return_type and bpf_type_flag of include/linux/bpf.h have. That kernel is built without
four of them (58, 77, 78, 92); those rows follow kernel/trace/bpf_trace.c and drivers/media/rc/bpf-lirc.c.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arg:
    """What the verifier demands of an argument, or promises of a return value.

    kind: without flags, "ARG_PTR_TO_MEM" or "RET_INTEGER". flags: of enum bpf_type_flag, {"MEM_RDONLY"}.
    btf: name of the kernel's type that a BTF pointer has; "?" where it depends on the call, "" for none.
    size: bytes, of MEM_FIXED_SIZE only, else 0.
    """

    kind: str
    flags: frozenset[str] = frozenset()
    btf: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Helper:
    """One helper, or the form of it that some program types see.

    name: "bpf_map_lookup_elem" (of a variant: that of its prototype). symbol: the kernel function that is
    called. args: 0 to 5 of them. pkt_access: may be given pointers into the packet. might_sleep: sleepable
    programs only. fastcall: leaves registers that are no arguments alone. changes_packet: pointers into the
    packet are stale after it.
    """

    id: int
    name: str
    symbol: str
    ret: Arg
    args: tuple[Arg, ...]
    gpl_only: bool = False
    pkt_access: bool = False
    might_sleep: bool = False
    fastcall: bool = False
    changes_packet: bool = False

    @property
    def nargs(self) -> int:
        """How many of r1..r5 the helper's prototype has."""
        return len(self.args)

    @property
    def words(self) -> int:
        """How many of r1..r5 it may read: more than the prototype has where a format says how many count."""
        return 5 if self.name == "bpf_trace_printk" else len(self.args)


def _arg(text: str, prefix: str) -> Arg:
    kinds, _, extra = text.partition(":")
    kind, *flags = kinds.split("|")
    if extra.isdigit():
        return Arg(prefix + kind, frozenset(flags), size=int(extra))
    return Arg(prefix + kind, frozenset(flags), btf=extra)


def _rows(table: str) -> tuple[Helper, ...]:
    """Columns: number, name, symbol (= as the name, - none), flags (- none), return kind, argument kinds.

    Flags: g gpl_only, p pkt_access, s might_sleep, f fastcall, c changes_packet.
    """
    helpers = []
    for line in table.strip().splitlines():
        number, name, symbol, flags, ret, *args = line.split()
        helpers.append(
            Helper(
                int(number),
                name,
                {"=": name, "-": ""}.get(symbol, symbol),
                _arg(ret, "RET_"),
                tuple(_arg(arg, "ARG_") for arg in args),
                *(letter in flags for letter in "gpsfc"),
            )
        )
    return tuple(helpers)


_HELPERS = """
  1 bpf_map_lookup_elem               =                              p   PTR_TO_MAP_VALUE|PTR_MAYBE_NULL                 CONST_MAP_PTR PTR_TO_MAP_KEY
  2 bpf_map_update_elem               =                              p   INTEGER                                         CONST_MAP_PTR PTR_TO_MAP_KEY PTR_TO_MAP_VALUE ANYTHING
  3 bpf_map_delete_elem               =                              p   INTEGER                                         CONST_MAP_PTR PTR_TO_MAP_KEY
  4 bpf_probe_read                    bpf_probe_read_compat          g   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
  5 bpf_ktime_get_ns                  =                              -   INTEGER
  6 bpf_trace_printk                  =                              g   INTEGER                                         PTR_TO_MEM|MEM_RDONLY MEM_SIZE
  7 bpf_get_prandom_u32               bpf_user_rnd_u32               -   INTEGER
  8 bpf_get_smp_processor_id          =                              f   INTEGER
  9 bpf_skb_store_bytes               =                              c   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE ANYTHING
 10 bpf_l3_csum_replace               =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING ANYTHING ANYTHING
 11 bpf_l4_csum_replace               =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING ANYTHING ANYTHING
 12 bpf_tail_call                     -                              c   VOID                                            PTR_TO_CTX CONST_MAP_PTR ANYTHING
 13 bpf_clone_redirect                =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING
 14 bpf_get_current_pid_tgid          =                              -   INTEGER
 15 bpf_get_current_uid_gid           =                              -   INTEGER
 16 bpf_get_current_comm              =                              -   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 17 bpf_get_cgroup_classid            =                              -   INTEGER                                         PTR_TO_CTX
 18 bpf_skb_vlan_push                 =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING
 19 bpf_skb_vlan_pop                  =                              c   INTEGER                                         PTR_TO_CTX
 20 bpf_skb_get_tunnel_key            =                              -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE ANYTHING
 21 bpf_skb_set_tunnel_key            =                              -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE ANYTHING
 22 bpf_perf_event_read               =                              g   INTEGER                                         CONST_MAP_PTR ANYTHING
 23 bpf_redirect                      =                              -   INTEGER                                         ANYTHING ANYTHING
 24 bpf_get_route_realm               =                              -   INTEGER                                         PTR_TO_CTX
 25 bpf_perf_event_output             =                              g   INTEGER                                         PTR_TO_CTX CONST_MAP_PTR ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
 26 bpf_skb_load_bytes                =                              -   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 27 bpf_get_stackid                   =                              g   INTEGER                                         PTR_TO_CTX CONST_MAP_PTR ANYTHING
 28 bpf_csum_diff                     =                              p   INTEGER                                         PTR_TO_MEM|PTR_MAYBE_NULL|MEM_RDONLY MEM_SIZE_OR_ZERO PTR_TO_MEM|PTR_MAYBE_NULL|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING
 29 bpf_skb_get_tunnel_opt            =                              -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 30 bpf_skb_set_tunnel_opt            =                              -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 31 bpf_skb_change_proto              =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING
 32 bpf_skb_change_type               =                              -   INTEGER                                         PTR_TO_CTX ANYTHING
 33 bpf_skb_under_cgroup              =                              -   INTEGER                                         PTR_TO_CTX CONST_MAP_PTR ANYTHING
 34 bpf_get_hash_recalc               =                              -   INTEGER                                         PTR_TO_CTX
 35 bpf_get_current_task              =                              g   INTEGER
 36 bpf_probe_write_user              =                              g   INTEGER                                         ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 37 bpf_current_task_under_cgroup     =                              -   INTEGER                                         CONST_MAP_PTR ANYTHING
 38 bpf_skb_change_tail               =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING
 39 bpf_skb_pull_data                 =                              c   INTEGER                                         PTR_TO_CTX ANYTHING
 40 bpf_csum_update                   =                              -   INTEGER                                         PTR_TO_CTX ANYTHING
 41 bpf_set_hash_invalid              =                              -   INTEGER                                         PTR_TO_CTX
 42 bpf_get_numa_node_id              =                              -   INTEGER
 43 bpf_skb_change_head               =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING
 44 bpf_xdp_adjust_head               =                              c   INTEGER                                         PTR_TO_CTX ANYTHING
 45 bpf_probe_read_str                bpf_probe_read_compat_str      g   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
 46 bpf_get_socket_cookie             =                              -   INTEGER                                         PTR_TO_CTX
 47 bpf_get_socket_uid                =                              -   INTEGER                                         PTR_TO_CTX
 48 bpf_set_hash                      =                              -   INTEGER                                         PTR_TO_CTX ANYTHING
 49 bpf_setsockopt                    bpf_sock_ops_setsockopt        -   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 50 bpf_skb_adjust_room               =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING ANYTHING
 51 bpf_redirect_map                  bpf_xdp_redirect_map           -   INTEGER                                         CONST_MAP_PTR ANYTHING ANYTHING
 52 bpf_sk_redirect_map               =                              -   INTEGER                                         PTR_TO_CTX CONST_MAP_PTR ANYTHING ANYTHING
 53 bpf_sock_map_update               =                              p   INTEGER                                         PTR_TO_CTX CONST_MAP_PTR PTR_TO_MAP_KEY ANYTHING
 54 bpf_xdp_adjust_meta               =                              c   INTEGER                                         PTR_TO_CTX ANYTHING
 55 bpf_perf_event_read_value         =                              g   INTEGER                                         CONST_MAP_PTR ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 56 bpf_perf_prog_read_value          =                              g   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 57 bpf_getsockopt                    bpf_sock_ops_getsockopt        -   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 58 bpf_override_return               =                              g   INTEGER                                         PTR_TO_CTX ANYTHING
 59 bpf_sock_ops_cb_flags_set         =                              -   INTEGER                                         PTR_TO_CTX ANYTHING
 60 bpf_msg_redirect_map              =                              -   INTEGER                                         PTR_TO_CTX CONST_MAP_PTR ANYTHING ANYTHING
 61 bpf_msg_apply_bytes               =                              -   INTEGER                                         PTR_TO_CTX ANYTHING
 62 bpf_msg_cork_bytes                =                              -   INTEGER                                         PTR_TO_CTX ANYTHING
 63 bpf_msg_pull_data                 =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING ANYTHING
 64 bpf_bind                          =                              -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 65 bpf_xdp_adjust_tail               =                              c   INTEGER                                         PTR_TO_CTX ANYTHING
 66 bpf_skb_get_xfrm_state            =                              -   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE ANYTHING
 67 bpf_get_stack                     =                              g   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
 68 bpf_skb_load_bytes_relative       =                              -   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE ANYTHING
 69 bpf_fib_lookup                    bpf_skb_fib_lookup             g   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_WRITE MEM_SIZE ANYTHING
 70 bpf_sock_hash_update              =                              p   INTEGER                                         PTR_TO_CTX CONST_MAP_PTR PTR_TO_MAP_KEY ANYTHING
 71 bpf_msg_redirect_hash             =                              -   INTEGER                                         PTR_TO_CTX CONST_MAP_PTR PTR_TO_MAP_KEY ANYTHING
 72 bpf_sk_redirect_hash              =                              -   INTEGER                                         PTR_TO_CTX CONST_MAP_PTR PTR_TO_MAP_KEY ANYTHING
 73 bpf_lwt_push_encap                bpf_lwt_in_push_encap          c   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 74 bpf_lwt_seg6_store_bytes          =                              c   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 75 bpf_lwt_seg6_adjust_srh           =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING
 76 bpf_lwt_seg6_action               =                              c   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 77 bpf_rc_repeat                     =                              g   INTEGER                                         PTR_TO_CTX
 78 bpf_rc_keydown                    =                              g   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING ANYTHING
 79 bpf_skb_cgroup_id                 =                              -   INTEGER                                         PTR_TO_CTX
 80 bpf_get_current_cgroup_id         =                              -   INTEGER
 81 bpf_get_local_storage             =                              -   PTR_TO_MAP_VALUE                                CONST_MAP_PTR ANYTHING
 82 bpf_sk_select_reuseport           sk_select_reuseport            -   INTEGER                                         PTR_TO_CTX CONST_MAP_PTR PTR_TO_MAP_KEY ANYTHING
 83 bpf_skb_ancestor_cgroup_id        =                              -   INTEGER                                         PTR_TO_CTX ANYTHING
 84 bpf_sk_lookup_tcp                 =                              p   PTR_TO_SOCKET|PTR_MAYBE_NULL                    PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
 85 bpf_sk_lookup_udp                 =                              p   PTR_TO_SOCKET|PTR_MAYBE_NULL                    PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
 86 bpf_sk_release                    =                              -   INTEGER                                         PTR_TO_BTF_ID_SOCK_COMMON|OBJ_RELEASE
 87 bpf_map_push_elem                 =                              p   INTEGER                                         CONST_MAP_PTR PTR_TO_MAP_VALUE ANYTHING
 88 bpf_map_pop_elem                  =                              -   INTEGER                                         CONST_MAP_PTR PTR_TO_MAP_VALUE|MEM_UNINIT|MEM_WRITE
 89 bpf_map_peek_elem                 =                              -   INTEGER                                         CONST_MAP_PTR PTR_TO_MAP_VALUE|MEM_UNINIT|MEM_WRITE
 90 bpf_msg_push_data                 =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING ANYTHING
 91 bpf_msg_pop_data                  =                              c   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING ANYTHING
 92 bpf_rc_pointer_rel                =                              g   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING
 93 bpf_spin_lock                     =                              -   VOID                                            PTR_TO_SPIN_LOCK:?
 94 bpf_spin_unlock                   =                              -   VOID                                            PTR_TO_SPIN_LOCK:?
 95 bpf_sk_fullsock                   =                              -   PTR_TO_SOCKET|PTR_MAYBE_NULL                    PTR_TO_SOCK_COMMON
 96 bpf_tcp_sock                      =                              -   PTR_TO_TCP_SOCK|PTR_MAYBE_NULL                  PTR_TO_SOCK_COMMON
 97 bpf_skb_ecn_set_ce                =                              -   INTEGER                                         PTR_TO_CTX
 98 bpf_get_listener_sock             =                              -   PTR_TO_SOCKET|PTR_MAYBE_NULL                    PTR_TO_SOCK_COMMON
 99 bpf_skc_lookup_tcp                =                              p   PTR_TO_SOCK_COMMON|PTR_MAYBE_NULL               PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
100 bpf_tcp_check_syncookie           =                              gp  INTEGER                                         PTR_TO_BTF_ID_SOCK_COMMON PTR_TO_MEM|MEM_RDONLY MEM_SIZE PTR_TO_MEM|MEM_RDONLY MEM_SIZE
101 bpf_sysctl_get_name               =                              -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_WRITE MEM_SIZE ANYTHING
102 bpf_sysctl_get_current_value      =                              -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
103 bpf_sysctl_get_new_value          =                              -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
104 bpf_sysctl_set_new_value          =                              -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE
105 bpf_strtol                        =                              -   INTEGER                                         PTR_TO_MEM|MEM_RDONLY MEM_SIZE ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_FIXED_SIZE|MEM_ALIGNED|MEM_WRITE:8
106 bpf_strtoul                       =                              -   INTEGER                                         PTR_TO_MEM|MEM_RDONLY MEM_SIZE ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_FIXED_SIZE|MEM_ALIGNED|MEM_WRITE:8
107 bpf_sk_storage_get                =                              -   PTR_TO_MAP_VALUE|PTR_MAYBE_NULL                 CONST_MAP_PTR PTR_TO_BTF_ID_SOCK_COMMON PTR_TO_MAP_VALUE|PTR_MAYBE_NULL ANYTHING
108 bpf_sk_storage_delete             =                              -   INTEGER                                         CONST_MAP_PTR PTR_TO_BTF_ID_SOCK_COMMON
109 bpf_send_signal                   =                              -   INTEGER                                         ANYTHING
110 bpf_tcp_gen_syncookie             =                              gp  INTEGER                                         PTR_TO_BTF_ID_SOCK_COMMON PTR_TO_MEM|MEM_RDONLY MEM_SIZE PTR_TO_MEM|MEM_RDONLY MEM_SIZE
111 bpf_skb_output                    bpf_skb_event_output           g   INTEGER                                         PTR_TO_BTF_ID:sk_buff CONST_MAP_PTR ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
112 bpf_probe_read_user               =                              g   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
113 bpf_probe_read_kernel             =                              g   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
114 bpf_probe_read_user_str           =                              g   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
115 bpf_probe_read_kernel_str         =                              g   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
116 bpf_tcp_send_ack                  =                              -   INTEGER                                         PTR_TO_BTF_ID:void ANYTHING
117 bpf_send_signal_thread            =                              -   INTEGER                                         ANYTHING
118 bpf_jiffies64                     =                              -   INTEGER
119 bpf_read_branch_records           =                              g   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|PTR_MAYBE_NULL|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
120 bpf_get_ns_current_pid_tgid       =                              -   INTEGER                                         ANYTHING ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
121 bpf_xdp_output                    bpf_xdp_event_output           g   INTEGER                                         PTR_TO_BTF_ID:xdp_buff CONST_MAP_PTR ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
122 bpf_get_netns_cookie              =                              -   INTEGER                                         PTR_TO_CTX|PTR_MAYBE_NULL
123 bpf_get_current_ancestor_cgroup_id =                              -   INTEGER                                         ANYTHING
124 bpf_sk_assign                     =                              -   INTEGER                                         PTR_TO_CTX PTR_TO_BTF_ID_SOCK_COMMON ANYTHING
125 bpf_ktime_get_boot_ns             =                              -   INTEGER
126 bpf_seq_printf                    =                              g   INTEGER                                         PTR_TO_BTF_ID:seq_file PTR_TO_MEM|MEM_RDONLY MEM_SIZE PTR_TO_MEM|PTR_MAYBE_NULL|MEM_RDONLY MEM_SIZE_OR_ZERO
127 bpf_seq_write                     =                              g   INTEGER                                         PTR_TO_BTF_ID:seq_file PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
128 bpf_sk_cgroup_id                  =                              -   INTEGER                                         PTR_TO_BTF_ID_SOCK_COMMON
129 bpf_sk_ancestor_cgroup_id         =                              -   INTEGER                                         PTR_TO_BTF_ID_SOCK_COMMON ANYTHING
130 bpf_ringbuf_output                =                              -   INTEGER                                         CONST_MAP_PTR PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING
131 bpf_ringbuf_reserve               =                              -   PTR_TO_MEM|PTR_MAYBE_NULL|MEM_RINGBUF           CONST_MAP_PTR CONST_ALLOC_SIZE_OR_ZERO ANYTHING
132 bpf_ringbuf_submit                =                              -   VOID                                            PTR_TO_RINGBUF_MEM|OBJ_RELEASE ANYTHING
133 bpf_ringbuf_discard               =                              -   VOID                                            PTR_TO_RINGBUF_MEM|OBJ_RELEASE ANYTHING
134 bpf_ringbuf_query                 =                              -   INTEGER                                         CONST_MAP_PTR ANYTHING
135 bpf_csum_level                    =                              -   INTEGER                                         PTR_TO_CTX ANYTHING
136 bpf_skc_to_tcp6_sock              =                              -   PTR_TO_BTF_ID|PTR_MAYBE_NULL:tcp6_sock          PTR_TO_BTF_ID_SOCK_COMMON
137 bpf_skc_to_tcp_sock               =                              -   PTR_TO_BTF_ID|PTR_MAYBE_NULL:tcp_sock           PTR_TO_BTF_ID_SOCK_COMMON
138 bpf_skc_to_tcp_timewait_sock      =                              -   PTR_TO_BTF_ID|PTR_MAYBE_NULL:tcp_timewait_sock  PTR_TO_BTF_ID_SOCK_COMMON
139 bpf_skc_to_tcp_request_sock       =                              -   PTR_TO_BTF_ID|PTR_MAYBE_NULL:tcp_request_sock   PTR_TO_BTF_ID_SOCK_COMMON
140 bpf_skc_to_udp6_sock              =                              -   PTR_TO_BTF_ID|PTR_MAYBE_NULL:udp6_sock          PTR_TO_BTF_ID_SOCK_COMMON
141 bpf_get_task_stack                =                              -   INTEGER                                         PTR_TO_BTF_ID:task_struct PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
142 bpf_load_hdr_opt                  bpf_sock_ops_load_hdr_opt      -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_WRITE MEM_SIZE ANYTHING
143 bpf_store_hdr_opt                 bpf_sock_ops_store_hdr_opt     c   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE ANYTHING
144 bpf_reserve_hdr_opt               bpf_sock_ops_reserve_hdr_opt   -   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING
145 bpf_inode_storage_get             =                              -   PTR_TO_MAP_VALUE|PTR_MAYBE_NULL                 CONST_MAP_PTR PTR_TO_BTF_ID|PTR_MAYBE_NULL:inode PTR_TO_MAP_VALUE|PTR_MAYBE_NULL ANYTHING
146 bpf_inode_storage_delete          =                              -   INTEGER                                         CONST_MAP_PTR PTR_TO_BTF_ID|PTR_MAYBE_NULL:inode
147 bpf_d_path                        =                              -   INTEGER                                         PTR_TO_BTF_ID:path PTR_TO_MEM|MEM_WRITE MEM_SIZE_OR_ZERO
148 bpf_copy_from_user                =                              s   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
149 bpf_snprintf_btf                  =                              -   INTEGER                                         PTR_TO_MEM|MEM_WRITE MEM_SIZE PTR_TO_MEM|MEM_RDONLY MEM_SIZE ANYTHING
150 bpf_seq_printf_btf                =                              g   INTEGER                                         PTR_TO_BTF_ID:seq_file PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING
151 bpf_skb_cgroup_classid            =                              -   INTEGER                                         PTR_TO_CTX
152 bpf_redirect_neigh                =                              -   INTEGER                                         ANYTHING PTR_TO_MEM|PTR_MAYBE_NULL|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING
153 bpf_per_cpu_ptr                   =                              -   PTR_TO_MEM_OR_BTF_ID|PTR_MAYBE_NULL|MEM_RDONLY  PTR_TO_PERCPU_BTF_ID ANYTHING
154 bpf_this_cpu_ptr                  =                              -   PTR_TO_MEM_OR_BTF_ID|MEM_RDONLY                 PTR_TO_PERCPU_BTF_ID
155 bpf_redirect_peer                 =                              -   INTEGER                                         ANYTHING ANYTHING
156 bpf_task_storage_get              =                              -   PTR_TO_MAP_VALUE|PTR_MAYBE_NULL                 CONST_MAP_PTR PTR_TO_BTF_ID|PTR_MAYBE_NULL:task_struct PTR_TO_MAP_VALUE|PTR_MAYBE_NULL ANYTHING
157 bpf_task_storage_delete           =                              -   INTEGER                                         CONST_MAP_PTR PTR_TO_BTF_ID|PTR_MAYBE_NULL:task_struct
158 bpf_get_current_task_btf          =                              g   PTR_TO_BTF_ID|PTR_TRUSTED:task_struct
159 bpf_bprm_opts_set                 =                              -   INTEGER                                         PTR_TO_BTF_ID:linux_binprm ANYTHING
160 bpf_ktime_get_coarse_ns           =                              -   INTEGER
161 bpf_ima_inode_hash                =                              s   INTEGER                                         PTR_TO_BTF_ID:inode PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
162 bpf_sock_from_file                =                              -   PTR_TO_BTF_ID|PTR_MAYBE_NULL:socket             PTR_TO_BTF_ID:file
163 bpf_check_mtu                     bpf_skb_check_mtu              g   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_FIXED_SIZE|MEM_ALIGNED|MEM_WRITE:4 ANYTHING ANYTHING
164 bpf_for_each_map_elem             =                              -   INTEGER                                         CONST_MAP_PTR PTR_TO_FUNC PTR_TO_STACK|PTR_MAYBE_NULL ANYTHING
165 bpf_snprintf                      =                              g   INTEGER                                         PTR_TO_MEM|PTR_MAYBE_NULL|MEM_WRITE MEM_SIZE_OR_ZERO PTR_TO_CONST_STR PTR_TO_MEM|PTR_MAYBE_NULL|MEM_RDONLY MEM_SIZE_OR_ZERO
166 bpf_sys_bpf                       =                              s   INTEGER                                         ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
167 bpf_btf_find_by_name_kind         =                              s   INTEGER                                         PTR_TO_MEM|MEM_RDONLY MEM_SIZE ANYTHING ANYTHING
168 bpf_sys_close                     =                              s   INTEGER                                         ANYTHING
169 bpf_timer_init                    =                              g   INTEGER                                         PTR_TO_TIMER CONST_MAP_PTR ANYTHING
170 bpf_timer_set_callback            =                              g   INTEGER                                         PTR_TO_TIMER PTR_TO_FUNC
171 bpf_timer_start                   =                              g   INTEGER                                         PTR_TO_TIMER ANYTHING ANYTHING
172 bpf_timer_cancel                  =                              g   INTEGER                                         PTR_TO_TIMER
173 bpf_get_func_ip                   bpf_get_func_ip_kprobe         g   INTEGER                                         PTR_TO_CTX
174 bpf_get_attach_cookie             =                              -   INTEGER                                         PTR_TO_CTX
175 bpf_task_pt_regs                  =                              g   PTR_TO_BTF_ID:pt_regs                           PTR_TO_BTF_ID:task_struct
176 bpf_get_branch_snapshot           =                              g   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO
177 bpf_trace_vprintk                 =                              g   INTEGER                                         PTR_TO_MEM|MEM_RDONLY MEM_SIZE PTR_TO_MEM|PTR_MAYBE_NULL|MEM_RDONLY MEM_SIZE_OR_ZERO
178 bpf_skc_to_unix_sock              =                              -   PTR_TO_BTF_ID|PTR_MAYBE_NULL:unix_sock          PTR_TO_BTF_ID_SOCK_COMMON
179 bpf_kallsyms_lookup_name          =                              -   INTEGER                                         PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_FIXED_SIZE|MEM_ALIGNED|MEM_WRITE:8
180 bpf_find_vma                      =                              -   INTEGER                                         PTR_TO_BTF_ID:task_struct ANYTHING PTR_TO_FUNC PTR_TO_STACK|PTR_MAYBE_NULL ANYTHING
181 bpf_loop                          =                              -   INTEGER                                         SCALAR PTR_TO_FUNC PTR_TO_STACK|PTR_MAYBE_NULL ANYTHING
182 bpf_strncmp                       =                              -   INTEGER                                         PTR_TO_MEM|MEM_RDONLY MEM_SIZE PTR_TO_CONST_STR
183 bpf_get_func_arg                  get_func_arg                   -   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_FIXED_SIZE|MEM_ALIGNED|MEM_WRITE:8
184 bpf_get_func_ret                  get_func_ret                   -   INTEGER                                         PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_FIXED_SIZE|MEM_ALIGNED|MEM_WRITE:8
185 bpf_get_func_arg_cnt              get_func_arg_cnt               -   INTEGER                                         PTR_TO_CTX
186 bpf_get_retval                    =                              -   INTEGER
187 bpf_set_retval                    =                              -   INTEGER                                         ANYTHING
188 bpf_xdp_get_buff_len              =                              -   INTEGER                                         PTR_TO_CTX
189 bpf_xdp_load_bytes                =                              -   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
190 bpf_xdp_store_bytes               =                              -   INTEGER                                         PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
191 bpf_copy_from_user_task           =                              gs  INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING PTR_TO_BTF_ID:task_struct ANYTHING
192 bpf_skb_set_tstamp                =                              -   INTEGER                                         PTR_TO_CTX ANYTHING ANYTHING
193 bpf_ima_file_hash                 =                              s   INTEGER                                         PTR_TO_BTF_ID:file PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
194 bpf_kptr_xchg                     =                              -   PTR_TO_BTF_ID|PTR_MAYBE_NULL:?             KPTR_XCHG_DEST PTR_TO_BTF_ID|PTR_MAYBE_NULL|OBJ_RELEASE:?
195 bpf_map_lookup_percpu_elem        =                              p   PTR_TO_MAP_VALUE|PTR_MAYBE_NULL                 CONST_MAP_PTR PTR_TO_MAP_KEY ANYTHING
196 bpf_skc_to_mptcp_sock             =                              -   PTR_TO_BTF_ID|PTR_MAYBE_NULL:mptcp_sock         PTR_TO_SOCK_COMMON
197 bpf_dynptr_from_mem               =                              -   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING PTR_TO_DYNPTR|MEM_UNINIT|DYNPTR_TYPE_LOCAL|MEM_WRITE
198 bpf_ringbuf_reserve_dynptr        =                              -   INTEGER                                         CONST_MAP_PTR ANYTHING ANYTHING PTR_TO_DYNPTR|MEM_UNINIT|DYNPTR_TYPE_RINGBUF|MEM_WRITE
199 bpf_ringbuf_submit_dynptr         =                              -   VOID                                            PTR_TO_DYNPTR|OBJ_RELEASE|DYNPTR_TYPE_RINGBUF ANYTHING
200 bpf_ringbuf_discard_dynptr        =                              -   VOID                                            PTR_TO_DYNPTR|OBJ_RELEASE|DYNPTR_TYPE_RINGBUF ANYTHING
201 bpf_dynptr_read                   =                              -   INTEGER                                         PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO PTR_TO_DYNPTR ANYTHING ANYTHING
202 bpf_dynptr_write                  =                              -   INTEGER                                         PTR_TO_DYNPTR ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING
203 bpf_dynptr_data                   =                              -   PTR_TO_MEM|PTR_MAYBE_NULL                       PTR_TO_DYNPTR ANYTHING CONST_ALLOC_SIZE_OR_ZERO
204 bpf_tcp_raw_gen_syncookie_ipv4    =                              gp  INTEGER                                         PTR_TO_MEM|MEM_RDONLY|MEM_FIXED_SIZE:20 PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
205 bpf_tcp_raw_gen_syncookie_ipv6    =                              gp  INTEGER                                         PTR_TO_MEM|MEM_RDONLY|MEM_FIXED_SIZE:40 PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
206 bpf_tcp_raw_check_syncookie_ipv4  =                              gp  INTEGER                                         PTR_TO_MEM|MEM_RDONLY|MEM_FIXED_SIZE:20 PTR_TO_MEM|MEM_RDONLY|MEM_FIXED_SIZE:20
207 bpf_tcp_raw_check_syncookie_ipv6  =                              gp  INTEGER                                         PTR_TO_MEM|MEM_RDONLY|MEM_FIXED_SIZE:40 PTR_TO_MEM|MEM_RDONLY|MEM_FIXED_SIZE:20
208 bpf_ktime_get_tai_ns              =                              -   INTEGER
209 bpf_user_ringbuf_drain            =                              -   INTEGER                                         CONST_MAP_PTR PTR_TO_FUNC PTR_TO_STACK|PTR_MAYBE_NULL ANYTHING
210 bpf_cgrp_storage_get              =                              -   PTR_TO_MAP_VALUE|PTR_MAYBE_NULL                 CONST_MAP_PTR PTR_TO_BTF_ID|PTR_MAYBE_NULL:cgroup PTR_TO_MAP_VALUE|PTR_MAYBE_NULL ANYTHING
211 bpf_cgrp_storage_delete           =                              -   INTEGER                                         CONST_MAP_PTR PTR_TO_BTF_ID|PTR_MAYBE_NULL:cgroup
"""

# The same helpers as some program types get them: another function, flag or argument kind. By name of the prototype.
_VARIANTS = """
  8 bpf_get_raw_smp_processor_id         bpf_get_raw_cpu_id                 -   INTEGER
 17 bpf_get_cgroup_classid_curr          =                                  -   INTEGER
 23 bpf_xdp_redirect                     =                                  -   INTEGER                           ANYTHING ANYTHING
 25 bpf_event_output_data                =                                  g   INTEGER                           PTR_TO_CTX CONST_MAP_PTR ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
 25 bpf_perf_event_output_raw_tp         =                                  g   INTEGER                           PTR_TO_CTX CONST_MAP_PTR ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
 25 bpf_perf_event_output_tp             =                                  g   INTEGER                           PTR_TO_CTX CONST_MAP_PTR ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
 25 bpf_skb_event_output                 =                                  g   INTEGER                           PTR_TO_CTX CONST_MAP_PTR ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
 25 bpf_xdp_event_output                 =                                  g   INTEGER                           PTR_TO_CTX CONST_MAP_PTR ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO
 26 bpf_flow_dissector_load_bytes        =                                  -   INTEGER                           PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 26 sk_reuseport_load_bytes              =                                  -   INTEGER                           PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 27 bpf_get_stackid_pe                   =                                  -   INTEGER                           PTR_TO_CTX CONST_MAP_PTR ANYTHING
 27 bpf_get_stackid_raw_tp               =                                  g   INTEGER                           PTR_TO_CTX CONST_MAP_PTR ANYTHING
 27 bpf_get_stackid_tp                   =                                  g   INTEGER                           PTR_TO_CTX CONST_MAP_PTR ANYTHING
 38 sk_skb_change_tail                   =                                  c   INTEGER                           PTR_TO_CTX ANYTHING ANYTHING
 39 sk_skb_pull_data                     =                                  c   INTEGER                           PTR_TO_CTX ANYTHING
 43 sk_skb_change_head                   =                                  c   INTEGER                           PTR_TO_CTX ANYTHING ANYTHING
 46 bpf_get_socket_cookie_sock           =                                  -   INTEGER                           PTR_TO_CTX
 46 bpf_get_socket_cookie_sock_addr      =                                  -   INTEGER                           PTR_TO_CTX
 46 bpf_get_socket_cookie_sock_ops       =                                  -   INTEGER                           PTR_TO_CTX
 46 bpf_get_socket_ptr_cookie            =                                  -   INTEGER                           PTR_TO_BTF_ID_SOCK_COMMON|PTR_MAYBE_NULL
 49 bpf_sk_setsockopt                    =                                  -   INTEGER                           PTR_TO_BTF_ID_SOCK_COMMON ANYTHING ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 49 bpf_sk_setsockopt_nodelay            =                                  -   INTEGER                           PTR_TO_BTF_ID_SOCK_COMMON ANYTHING ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 49 bpf_sock_addr_setsockopt             =                                  -   INTEGER                           PTR_TO_CTX ANYTHING ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 49 bpf_sock_create_setsockopt           =                                  -   INTEGER                           PTR_TO_CTX ANYTHING ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 49 bpf_unlocked_sk_setsockopt           =                                  -   INTEGER                           PTR_TO_BTF_ID_SOCK_COMMON ANYTHING ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 50 sk_skb_adjust_room                   =                                  c   INTEGER                           PTR_TO_CTX ANYTHING ANYTHING ANYTHING
 57 bpf_sk_getsockopt                    =                                  -   INTEGER                           PTR_TO_BTF_ID_SOCK_COMMON ANYTHING ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 57 bpf_sock_addr_getsockopt             =                                  -   INTEGER                           PTR_TO_CTX ANYTHING ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 57 bpf_sock_create_getsockopt           =                                  -   INTEGER                           PTR_TO_CTX ANYTHING ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 57 bpf_unlocked_sk_getsockopt           =                                  -   INTEGER                           PTR_TO_BTF_ID_SOCK_COMMON ANYTHING ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE
 67 bpf_get_stack_pe                     =                                  g   INTEGER                           PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
 67 bpf_get_stack_raw_tp                 =                                  g   INTEGER                           PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
 67 bpf_get_stack_sleepable              =                                  gs  INTEGER                           PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
 67 bpf_get_stack_tp                     =                                  g   INTEGER                           PTR_TO_CTX PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
 68 sk_reuseport_load_bytes_relative     =                                  -   INTEGER                           PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE ANYTHING
 69 bpf_xdp_fib_lookup                   =                                  g   INTEGER                           PTR_TO_CTX PTR_TO_MEM|MEM_WRITE MEM_SIZE ANYTHING
 73 bpf_lwt_xmit_push_encap              =                                  c   INTEGER                           PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_RDONLY MEM_SIZE
 84 bpf_sock_addr_sk_lookup_tcp          =                                  -   PTR_TO_SOCKET|PTR_MAYBE_NULL      PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
 84 bpf_tc_sk_lookup_tcp                 =                                  p   PTR_TO_SOCKET|PTR_MAYBE_NULL      PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
 84 bpf_xdp_sk_lookup_tcp                =                                  p   PTR_TO_SOCKET|PTR_MAYBE_NULL      PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
 85 bpf_sock_addr_sk_lookup_udp          =                                  -   PTR_TO_SOCKET|PTR_MAYBE_NULL      PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
 85 bpf_tc_sk_lookup_udp                 =                                  p   PTR_TO_SOCKET|PTR_MAYBE_NULL      PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
 85 bpf_xdp_sk_lookup_udp                =                                  p   PTR_TO_SOCKET|PTR_MAYBE_NULL      PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
 99 bpf_sock_addr_skc_lookup_tcp         =                                  -   PTR_TO_SOCK_COMMON|PTR_MAYBE_NULL PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
 99 bpf_tc_skc_lookup_tcp                =                                  p   PTR_TO_SOCK_COMMON|PTR_MAYBE_NULL PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
 99 bpf_xdp_skc_lookup_tcp               =                                  p   PTR_TO_SOCK_COMMON|PTR_MAYBE_NULL PTR_TO_CTX PTR_TO_MEM|MEM_RDONLY MEM_SIZE_OR_ZERO ANYTHING ANYTHING
107 bpf_sk_storage_get_cg_sock           bpf_sk_storage_get                 -   PTR_TO_MAP_VALUE|PTR_MAYBE_NULL   CONST_MAP_PTR PTR_TO_CTX PTR_TO_MAP_VALUE|PTR_MAYBE_NULL ANYTHING
107 bpf_sk_storage_get_tracing           =                                  -   PTR_TO_MAP_VALUE|PTR_MAYBE_NULL   CONST_MAP_PTR PTR_TO_BTF_ID|PTR_MAYBE_NULL:sock_common PTR_TO_MAP_VALUE|PTR_MAYBE_NULL ANYTHING
108 bpf_sk_storage_delete_tracing        =                                  -   INTEGER                           CONST_MAP_PTR PTR_TO_BTF_ID|PTR_MAYBE_NULL:sock_common
122 bpf_get_netns_cookie_sk_msg          =                                  -   INTEGER                           PTR_TO_CTX|PTR_MAYBE_NULL
122 bpf_get_netns_cookie_sock            =                                  -   INTEGER                           PTR_TO_CTX|PTR_MAYBE_NULL
122 bpf_get_netns_cookie_sock_addr       =                                  -   INTEGER                           PTR_TO_CTX|PTR_MAYBE_NULL
122 bpf_get_netns_cookie_sock_ops        =                                  -   INTEGER                           PTR_TO_CTX|PTR_MAYBE_NULL
122 bpf_get_netns_cookie_sockopt         =                                  -   INTEGER                           PTR_TO_CTX|PTR_MAYBE_NULL
124 bpf_sk_lookup_assign                 =                                  -   INTEGER                           PTR_TO_CTX PTR_TO_SOCKET|PTR_MAYBE_NULL ANYTHING
141 bpf_get_task_stack_sleepable         =                                  s   INTEGER                           PTR_TO_BTF_ID:task_struct PTR_TO_MEM|MEM_UNINIT|MEM_WRITE MEM_SIZE_OR_ZERO ANYTHING
163 bpf_xdp_check_mtu                    =                                  g   INTEGER                           PTR_TO_CTX ANYTHING PTR_TO_MEM|MEM_FIXED_SIZE|MEM_ALIGNED|MEM_WRITE:4 ANYTHING ANYTHING
173 bpf_get_func_ip_kprobe_multi         =                                  -   INTEGER                           PTR_TO_CTX
173 bpf_get_func_ip_tracing              =                                  g   INTEGER                           PTR_TO_CTX
173 bpf_get_func_ip_uprobe_multi         =                                  -   INTEGER                           PTR_TO_CTX
174 bpf_get_attach_cookie_kmulti         bpf_get_attach_cookie_kprobe_multi -   INTEGER                           PTR_TO_CTX
174 bpf_get_attach_cookie_pe             =                                  -   INTEGER                           PTR_TO_CTX
174 bpf_get_attach_cookie_trace          =                                  -   INTEGER                           PTR_TO_CTX
174 bpf_get_attach_cookie_tracing        =                                  -   INTEGER                           PTR_TO_CTX
174 bpf_get_attach_cookie_umulti         bpf_get_attach_cookie_uprobe_multi -   INTEGER                           PTR_TO_CTX
188 bpf_xdp_get_buff_len_trace           bpf_xdp_get_buff_len               -   INTEGER                           PTR_TO_BTF_ID:xdp_buff
"""

HELPERS: dict[int, Helper] = {helper.id: helper for helper in _rows(_HELPERS)}
BY_NAME: dict[str, Helper] = {helper.name: helper for helper in HELPERS.values()}
VARIANTS: dict[str, Helper] = {helper.name: helper for helper in _rows(_VARIANTS)}
