"""Which helpers and kfuncs a program may call: tables by program and attach type.

Helpers: what a running 7.3.4 kernel answered to each number in each type (its get_func_proto functions); kfuncs: what it
answered to each name (the sets registered with register_btf_kfunc_id_set). Knows no rules but look-up.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from bpf.helpers import HELPERS, VARIANTS, Helper
from bpf.progtypes import ATTACH_NAMES, ATTACH_NUMBERS

if TYPE_CHECKING:
    from verifier.env import Env


def _numbers(text: str) -> Iterator[int]:
    for word in text.split():
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _table(text: str) -> dict[str, frozenset[int]]:
    rows = (line.split(maxsplit=1) for line in text.strip().splitlines())
    return {row[0]: frozenset(_numbers(row[1] if len(row) > 1 else "")) for row in rows}


# For every type of program.
_BASE = frozenset(
    _numbers(
        "1-3 5-8 12 14-17 22 35 37 42 55 80 87-89 93 94 105 106 109 112-115 117 118 120 123 125 130-134 141 148"
        " 149 153 154 156-158 164 165 169-172 175-177 180-182 191 194 195 197-203 208-211"
    )
)

# And these for one of them. struct_ops: of those that tcp_congestion_ops gets.
_BY_TYPE = _table("""
    socket_filter            25 26 46 47 68 122 136-140 160 178 196
    kprobe                   4 25 27 36 45 67 173 174
    sched_cls                9-11 13 18-21 23-26 28-34 38-41 43 46-48 50 66 68 69 79 83-86 95-100 107 108 110 122 124 135-140 151 152 155 160 163 178 192 196 204-207
    sched_act                9-11 13 18-21 23-26 28-34 38-41 43 46-48 50 66 68 69 79 83-86 95-100 107 108 110 122 124 135-140 151 152 155 160 163 178 192 196 204-207
    tracepoint               4 25 27 36 45 67 173 174
    xdp                      23 25 28 44 51 54 65 69 84-86 99 100 110 136-140 160 163 178 188-190 196 204-207
    perf_event               4 25 27 36 45 56 67 119 173 174
    lwt_in                   24-26 28 33 34 39 73 136-140 160 178 196
    lwt_out                  24-26 28 33 34 39 136-140 160 178 196
    lwt_xmit                 9-11 13 20 21 23-26 28-30 33 34 38-41 43 73 135-140 160 178 196
    sk_skb                   9 25 26 38 39 43 46 47 50 52 72 84-86 99 136-140 160 178 196
    raw_tracepoint           4 25 27 36 45 67 173 174
    lwt_seg6local            24-26 28 33 34 74-76 136-140 160 178 196
    flow_dissector           26 136-140 160 178 196
    raw_tracepoint_writable  4 25 27 36 45 67 173 174
    cgroup_skb               25 26 46 47 68 79 81 83-86 95-99 107 108 122 128 129 136-140 160 178 196
    cgroup_sock              25 46 81 107 122 160 186 187
    sock_ops                 25 46 49 53 57 59 70 81 96 107 108 122 136-140 142-144 160 178 196
    cgroup_device            25 81 186 187
    sk_msg                   25 60-63 71 90 91 107 108 122 136-140 160 178 196
    cgroup_sock_addr         25 46 81 84-86 99 107 108 122 136-140 160 178 196
    sk_reuseport             26 46 68 82 160
    cgroup_sysctl            25 81 101-104 160 186 187
    cgroup_sockopt           25 81 96 107 108 122 186 187
    sk_lookup                25 86 124 136-140 160 178 196
    syscall                  4 25 27 36 45 46 67 107 108 111 121 136-140 147 162 166-168 173 178 179 188 196
    netfilter
    tracing                  4 25 27 36 45 46 67 107 108 111 121 136-140 147 162 173 178 188 196
    lsm                      4 25 27 36 45 46 67 107 108 111 121 136-140 145-147 159 161 162 173 178 188 193 196
    struct_ops               49 57 107 108 116 160
""")

# And these where it attaches so.
_BY_ATTACH = _table("""
    cgroup_inet_sock_create   49 57
    cgroup_inet4_bind         49 57 186 187
    cgroup_inet6_bind         49 57 186 187
    cgroup_inet4_connect      49 57 64 186 187
    cgroup_inet6_connect      49 57 64 186 187
    cgroup_udp4_sendmsg       49 57 186 187
    cgroup_udp6_sendmsg       49 57 186 187
    cgroup_udp4_recvmsg       49 57
    cgroup_udp6_recvmsg       49 57
    cgroup_inet4_getpeername  49 57
    cgroup_inet6_getpeername  49 57
    cgroup_inet4_getsockname  49 57
    cgroup_inet6_getsockname  49 57
    cgroup_unix_connect       49 57 186 187
    cgroup_unix_sendmsg       49 57 186 187
    cgroup_unix_recvmsg       49 57
    cgroup_setsockopt         49 57
    trace_fentry              174 183-185
    trace_fexit               174 183-185
    modify_return             174 183-185
    trace_fsession            174 183-185
    trace_raw_tp              174 183 185
    trace_iter                126 127 150
    lsm_mac                   174 183-185
    lsm_cgroup                81 186 187
""")
_ATTACHED_TYPES = frozenset({"cgroup_sock", "cgroup_sock_addr", "cgroup_sockopt", "tracing", "lsm"})

# Number, name of the form in bpf.helpers.VARIANTS, program types that get it.
_FORMS = """
    17  bpf_get_cgroup_classid_curr      ! sched_cls sched_act lwt_xmit
    23  bpf_xdp_redirect                 xdp
    25  bpf_event_output_data            sk_msg sock_ops cgroup_device cgroup_sock cgroup_sock_addr cgroup_sysctl cgroup_sockopt sk_lookup
    25  bpf_perf_event_output_raw_tp     raw_tracepoint raw_tracepoint_writable tracing lsm syscall
    25  bpf_perf_event_output_tp         tracepoint perf_event
    25  bpf_skb_event_output             socket_filter sched_cls sched_act lwt_in lwt_out lwt_xmit lwt_seg6local cgroup_skb sk_skb
    25  bpf_xdp_event_output             xdp
    26  bpf_flow_dissector_load_bytes    flow_dissector
    26  sk_reuseport_load_bytes          sk_reuseport
    27  bpf_get_stackid_pe               perf_event
    27  bpf_get_stackid_raw_tp           raw_tracepoint raw_tracepoint_writable tracing lsm syscall
    27  bpf_get_stackid_tp               tracepoint
    38  sk_skb_change_tail               sk_skb
    39  sk_skb_pull_data                 sk_skb
    43  sk_skb_change_head               sk_skb
    46  bpf_get_socket_cookie_sock       cgroup_sock
    46  bpf_get_socket_cookie_sock_addr  cgroup_sock_addr
    46  bpf_get_socket_cookie_sock_ops   sock_ops
    46  bpf_get_socket_ptr_cookie        tracing lsm syscall sk_reuseport
    49  bpf_sk_setsockopt                cgroup_sockopt struct_ops lsm
    49  bpf_sock_addr_setsockopt         cgroup_sock_addr
    49  bpf_sock_create_setsockopt       cgroup_sock
    50  sk_skb_adjust_room               sk_skb
    57  bpf_sk_getsockopt                cgroup_sockopt struct_ops lsm
    57  bpf_sock_addr_getsockopt         cgroup_sock_addr
    57  bpf_sock_create_getsockopt       cgroup_sock
    67  bpf_get_stack_pe                 perf_event
    67  bpf_get_stack_raw_tp             raw_tracepoint raw_tracepoint_writable tracing lsm syscall
    67  bpf_get_stack_tp                 tracepoint
    68  sk_reuseport_load_bytes_relative sk_reuseport
    69  bpf_xdp_fib_lookup               xdp
    73  bpf_lwt_xmit_push_encap          lwt_xmit
    84  bpf_sock_addr_sk_lookup_tcp      cgroup_sock_addr
    84  bpf_tc_sk_lookup_tcp             sched_cls sched_act
    84  bpf_xdp_sk_lookup_tcp            xdp
    85  bpf_sock_addr_sk_lookup_udp      cgroup_sock_addr
    85  bpf_tc_sk_lookup_udp             sched_cls sched_act
    85  bpf_xdp_sk_lookup_udp            xdp
    99  bpf_sock_addr_skc_lookup_tcp     cgroup_sock_addr
    99  bpf_tc_skc_lookup_tcp            sched_cls sched_act
    99  bpf_xdp_skc_lookup_tcp           xdp
    107 bpf_sk_storage_get_cg_sock       cgroup_sock
    107 bpf_sk_storage_get_tracing       tracing lsm syscall
    108 bpf_sk_storage_delete_tracing    tracing lsm syscall
    122 bpf_get_netns_cookie_sk_msg      sk_msg
    122 bpf_get_netns_cookie_sock        cgroup_sock
    122 bpf_get_netns_cookie_sock_addr   cgroup_sock_addr
    122 bpf_get_netns_cookie_sock_ops    sock_ops
    122 bpf_get_netns_cookie_sockopt     cgroup_sockopt
    124 bpf_sk_lookup_assign             sk_lookup
    163 bpf_xdp_check_mtu                xdp
    173 bpf_get_func_ip_tracing          tracing
    188 bpf_xdp_get_buff_len_trace       tracing lsm syscall
"""


@cache
def _form(number: int, prog_type: str) -> Helper:
    for line in _FORMS.strip().splitlines():
        row, name, *types = line.split()
        if int(row) == number and (prog_type in types) != (types[0] == "!"):
            return VARIANTS[name]
    return HELPERS[number]


# Forms that sleepable programs get: they may fault in pages of user space.
_SLEEPABLE_FORMS = {
    (67, "kprobe"): "bpf_get_stack_sleepable",
    (141, "kprobe"): "bpf_get_task_stack_sleepable",
    (141, "tracing"): "bpf_get_task_stack_sleepable",
    (141, "lsm"): "bpf_get_task_stack_sleepable",
    (141, "syscall"): "bpf_get_task_stack_sleepable",
}


@cache
def helper_for(number: int, prog_type: str, attach_type: int, sleepable: bool = False) -> Helper | None:
    """The helper as programs of this type get it; None where they may not call it.

    A program that extends another (ext) may call what that one may; of which nothing is known here: everything.
    """
    if number not in HELPERS:
        return None
    if prog_type not in _BY_TYPE:
        return HELPERS[number]
    allowed = number in _BASE or number in _BY_TYPE[prog_type]
    if not allowed and prog_type in _ATTACHED_TYPES and attach_type < len(ATTACH_NAMES):
        allowed = number in _BY_ATTACH.get(ATTACH_NAMES[attach_type], frozenset())
    if allowed and sleepable and (number, prog_type) in _SLEEPABLE_FORMS:
        return VARIANTS[_SLEEPABLE_FORMS[number, prog_type]]
    return _form(number, prog_type) if allowed else None


# ---- kfuncs: types of programs, and the kfuncs of the kernel itself that only they may call

_CGROUP = "cgroup_skb cgroup_sock cgroup_device cgroup_sock_addr cgroup_sysctl cgroup_sockopt sock_ops"
_TRACING = "tracing tracepoint perf_event raw_tracepoint lsm"
_GENERIC = f"sched_cls xdp struct_ops syscall {_CGROUP} {_TRACING}"
_SKB = f"sched_cls sched_act sk_skb socket_filter lwt_in lwt_out lwt_xmit lwt_seg6local netfilter struct_ops {_CGROUP} {_TRACING}"

_KFUNC_SETS: tuple[tuple[str, str], ...] = (
    (_SKB, "bpf_dynptr_from_skb"),
    (
        _GENERIC,
        (
            "bpf_cgroup_acquire bpf_cgroup_ancestor bpf_cgroup_from_id bpf_cgroup_release bpf_key_put bpf_list_add"
            " bpf_list_back bpf_list_del bpf_list_empty bpf_list_front bpf_list_is_first bpf_list_is_last"
            " bpf_list_pop_back bpf_list_pop_front bpf_list_push_back bpf_list_push_back_impl bpf_list_push_front"
            " bpf_list_push_front_impl bpf_lookup_system_key bpf_lookup_user_key bpf_obj_drop bpf_obj_drop_impl"
            " bpf_obj_new bpf_obj_new_impl bpf_percpu_obj_drop bpf_percpu_obj_drop_impl bpf_percpu_obj_new"
            " bpf_percpu_obj_new_impl bpf_rbtree_add bpf_rbtree_add_impl bpf_rbtree_first bpf_rbtree_left"
            " bpf_rbtree_remove bpf_rbtree_right bpf_rbtree_root bpf_refcount_acquire bpf_refcount_acquire_impl"
            " bpf_send_signal_task bpf_task_acquire bpf_task_from_pid bpf_task_from_vpid bpf_task_get_cgroup1"
            " bpf_task_release bpf_task_under_cgroup bpf_throw bpf_verify_pkcs7_signature"
        ),
    ),
    (_CGROUP, "bpf_icmp_send bpf_sock_addr_set_sun_path bpf_sock_ops_enable_tx_tstamp"),
    (
        f"syscall struct_ops {_TRACING}",
        (
            "bpf_cpumask_acquire bpf_cpumask_and bpf_cpumask_any_and_distribute bpf_cpumask_any_distribute"
            " bpf_cpumask_clear bpf_cpumask_clear_cpu bpf_cpumask_copy bpf_cpumask_create bpf_cpumask_empty"
            " bpf_cpumask_equal bpf_cpumask_first bpf_cpumask_first_and bpf_cpumask_first_zero bpf_cpumask_full"
            " bpf_cpumask_intersects bpf_cpumask_or bpf_cpumask_populate bpf_cpumask_release bpf_cpumask_set_cpu"
            " bpf_cpumask_setall bpf_cpumask_subset bpf_cpumask_test_and_clear_cpu bpf_cpumask_test_and_set_cpu bpf_cpumask_test_cpu"
            " bpf_cpumask_weight bpf_cpumask_xor bpf_iter_scx_dsq_destroy"
            " bpf_iter_scx_dsq_new bpf_iter_scx_dsq_next"
        ),
    ),
    ("lsm syscall", "bpf_ksock_acquire bpf_ksock_release bpf_ksock_send"),
    ("sched_cls sched_act xdp", "bpf_crypto_decrypt bpf_crypto_encrypt"),
    ("kprobe tracing", "bpf_session_cookie bpf_session_is_return"),
    (
        "lsm",
        (
            "bpf_get_dentry_xattr bpf_get_file_xattr bpf_get_fsverity_digest bpf_get_task_exe_file bpf_path_d_path"
            " bpf_put_file bpf_real_data_inode bpf_remove_dentry_xattr bpf_set_dentry_xattr bpf_sock_read_xattr"
        ),
    ),
    ("struct_ops", "bpf_io_uring_get_region bpf_io_uring_submit_sqes bpf_kfree_skb bpf_skb_get_hash"),
    ("sched_cls sched_act", "bpf_dynptr_from_skb_meta"),
    ("tracing", "bpf_sock_destroy"),
    ("sched_cls", "bpf_sk_assign_tcp_reqsk"),
    (f"sched_cls syscall {_TRACING}", "bpf_kfunc_call_memb_release bpf_kfunc_call_test_release"),
    (
        f"sched_cls syscall struct_ops {_TRACING}",
        (
            "bpf_kfunc_call_int_mem_release bpf_kfunc_call_kernel_bind bpf_kfunc_call_kernel_connect"
            " bpf_kfunc_call_kernel_getpeername bpf_kfunc_call_kernel_getsockname bpf_kfunc_call_kernel_listen"
            " bpf_kfunc_call_kernel_sendmsg bpf_kfunc_call_memb1_release bpf_kfunc_call_memb_acquire"
            " bpf_kfunc_call_sock_sendmsg bpf_kfunc_call_stack_arg bpf_kfunc_call_stack_arg_const_str"
            " bpf_kfunc_call_stack_arg_dynptr bpf_kfunc_call_stack_arg_iter bpf_kfunc_call_stack_arg_mem"
            " bpf_kfunc_call_stack_arg_mix bpf_kfunc_call_stack_arg_ptr bpf_kfunc_call_stack_arg_timer"
            " bpf_kfunc_call_test1 bpf_kfunc_call_test2 bpf_kfunc_call_test3 bpf_kfunc_call_test4"
            " bpf_kfunc_call_test5 bpf_kfunc_call_test_acq_rdonly_mem bpf_kfunc_call_test_acquire"
            " bpf_kfunc_call_test_call_rcu_tasks_trace bpf_kfunc_call_test_destructive bpf_kfunc_call_test_fail1"
            " bpf_kfunc_call_test_fail2 bpf_kfunc_call_test_fail3 bpf_kfunc_call_test_get_rdonly_mem"
            " bpf_kfunc_call_test_get_rdwr_mem bpf_kfunc_call_test_mem_len_fail2 bpf_kfunc_call_test_offset"
            " bpf_kfunc_call_test_pass1 bpf_kfunc_call_test_pass2 bpf_kfunc_call_test_pass_ctx"
            " bpf_kfunc_call_test_ref bpf_kfunc_call_test_sleepable bpf_kfunc_call_test_static_unused_arg"
            " bpf_kfunc_close_sock bpf_kfunc_implicit_arg bpf_kfunc_implicit_arg_legacy"
            " bpf_kfunc_implicit_arg_legacy_impl bpf_kfunc_init_sock bpf_kfunc_multi_st_ops_test_1"
            " bpf_kfunc_multi_st_ops_test_1_assoc bpf_kfunc_st_ops_inc10 bpf_kfunc_st_ops_test_epilogue"
            " bpf_kfunc_st_ops_test_pro_epilogue bpf_kfunc_st_ops_test_prologue bpf_kfunc_trigger_ctx_check"
            " bpf_testmod_test_mod_kfunc"
        ),
    ),
    ("", "bpf_testmod_trampoline_count_test"),
    ("xdp", "bpf_dynptr_from_xdp bpf_xdp_get_xfrm_state bpf_xdp_pull_data bpf_xdp_xfrm_state_release"),
    (
        "syscall",
        (
            "bpf_crypto_ctx_acquire bpf_crypto_ctx_create bpf_crypto_ctx_release bpf_ksock_connect bpf_ksock_create"
            " bpf_wakeup_sources_get_head bpf_wakeup_sources_read_lock bpf_wakeup_sources_read_unlock"
        ),
    ),
)
_KFUNC_TYPES: dict[str, frozenset[str]] = {
    name: frozenset(types.split()) for types, names in _KFUNC_SETS for name in names.split()
}
# Within a type, only where the program attaches so.
_KFUNC_ATTACH: dict[str, frozenset[int]] = {
    name: frozenset(ATTACH_NUMBERS[attach] for attach in attaches.split())
    for name, attaches in (
        ("bpf_session_cookie", "trace_kprobe_session trace_uprobe_session trace_fsession"),
        ("bpf_session_is_return", "trace_kprobe_session trace_uprobe_session trace_fsession"),
        ("bpf_sock_destroy", "trace_iter"),
    )
}


def kfunc_allowed(name: str, prog_type: str, attach_type: int) -> bool:
    """Whether programs of this type may call the kfunc. Unknown ones are for all."""
    types = _KFUNC_TYPES.get(name)
    if types is None or prog_type == "ext":
        return True
    return prog_type in types and attach_type in _KFUNC_ATTACH.get(name, {attach_type})


def callable_helper(env: "Env", number: int) -> Helper | None:
    """The helper as the program at hand gets it."""
    return helper_for(number, env.prog_type, env.program.expected_attach_type, env.sleepable)
