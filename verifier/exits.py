"""Leaving a function or the program: what may be returned, what must have been released, where the caller goes on.

Sources: process_bpf_exit_full, prepare_func_exit, check_return_code, return_retval_range,
check_global_subprog_return_code of kernel/bpf/verifier.c; bpf_lsm_get_retval_range of kernel/bpf/bpf_lsm.c.
"""

from typing import Final, NamedTuple, NoReturn

from bpf import isa
from bpf.progtypes import ATTACH_NUMBERS
from verifier.env import Env, check_src
from verifier.history import reg_place
from verifier.num import S64_MAX, S64_MIN
from verifier.precision import mark_chain_precision
from verifier.prune import find_prev_entry, widen_imprecise_scalars
from verifier.references import check_resource_leak
from verifier.regs import PTR_TO_ARENA, PTR_TO_STACK, SCALAR_VALUE, Reg
from verifier.stackargs import invalidate_outgoing_stack_args
from verifier.state import FuncState
from verifier.statelog import print_verifier_state, reg_type_str

MAX_ERRNO: Final = 4095


class Range(NamedTuple):
    """What may be returned. narrow: only the low half is looked at."""

    low: int
    high: int
    narrow: bool = False


_BOOL: Final = Range(0, 1)
_ZERO: Final = Range(0, 0)
_ONE: Final = Range(1, 1)


def _attach(*names: str) -> frozenset[int]:
    return frozenset(ATTACH_NUMBERS[name] for name in names)


_RETURN_ONE: Final = _attach(
    "cgroup_udp4_recvmsg",
    "cgroup_udp6_recvmsg",
    "cgroup_unix_recvmsg",
    "cgroup_inet4_getpeername",
    "cgroup_inet6_getpeername",
    "cgroup_unix_getpeername",
    "cgroup_inet4_getsockname",
    "cgroup_inet6_getsockname",
    "cgroup_unix_getsockname",
)
_BIND: Final = _attach("cgroup_inet4_bind", "cgroup_inet6_bind")
_EGRESS: Final = ATTACH_NUMBERS["cgroup_inet_egress"]
_TRACE_ZERO: Final = _attach(
    "trace_fentry",
    "trace_fexit",
    "trace_fsession",
    "trace_fentry_multi",
    "trace_fexit_multi",
    "trace_fsession_multi",
)
_TRACE_ANY: Final = _attach("trace_raw_tp", "modify_return")
_SESSIONS: Final = _attach("trace_kprobe_session", "trace_uprobe_session")
_LSM_CGROUP: Final = ATTACH_NUMBERS["lsm_cgroup"]
# These take 0 or 1 whatever they attach to.
_BOOL_TYPES: Final = frozenset(
    {"cgroup_sock", "sock_ops", "cgroup_device", "cgroup_sysctl", "cgroup_sockopt", "sk_lookup", "netfilter"}
)

# LSM hooks that return nothing, and those that return a truth value (include/linux/lsm_hook_defs.h)
_LSM_VOID_HOOKS: Final = """
    audit_rule_free bdev_free_security bpf_map_free bpf_prog_free bpf_token_free bprm_committed_creds
    bprm_committing_creds cred_free cred_getlsmprop cred_getsecid cred_transfer current_getlsmprop_subj d_instantiate
    file_free_security file_release file_set_fowner ib_free_security inet_conn_established inet_csk_clone
    inode_free_security inode_free_security_rcu inode_getlsmprop inode_invalidate_secctx inode_post_create_tmpfile
    inode_post_remove_acl inode_post_removexattr inode_post_set_acl inode_post_setattr inode_post_setxattr
    ipc_getlsmprop key_free key_post_create_or_update msg_msg_free_security msg_queue_free_security path_post_mknod
    perf_event_free release_secctx req_classify_flow sb_delete sb_free_mnt_opts sb_free_security sctp_sk_clone
    secmark_refcount_dec secmark_refcount_inc sem_free_security shm_free_security sk_clone_security sk_free_security
    sk_getsecid sock_graft task_free task_getlsmprop_obj task_to_inode tun_dev_free_security
    xfrm_policy_free_security xfrm_state_free_security
    """
_LSM_VOID: Final = frozenset(_LSM_VOID_HOOKS.split())
_LSM_BOOL: Final = frozenset({"audit_rule_known", "inode_xattr_skipcap"})


# ---- the end of a path


def process_bpf_exit_full(env: Env, *, exception_exit: bool = False) -> bool:
    """An exit, or a throw; True if the path ends here, False if it goes on at env.insn_idx in the caller."""
    in_callee = bool(env.cur_state.curframe)
    prefix = "bpf_throw" if exception_exit else "BPF_EXIT instruction in main prog"
    check_resource_leak(env, exception_exit, exception_exit or not in_callee, prefix)
    if exception_exit:
        return True
    if in_callee:
        prepare_func_exit(env)
        return False
    frame = env.func
    if frame.subprogno and not frame.in_async_callback_fn and not frame.in_exception_callback_fn:
        check_global_subprog_return_code(env)
    else:
        check_return_code(env, isa.R0, "R0")
    return True


def prepare_func_exit(env: Env) -> None:
    """Back from a function: its r0 is the caller's. Back from a callback: the call is made again, with wider numbers."""
    state = env.cur_state
    callee, caller = state.frames[-1], state.frames[-2]
    r0 = callee.regs[isa.R0]
    if r0.type == PTR_TO_STACK:
        env.refuse("EINVAL", "cannot return stack pointer to the caller")
    in_callback = callee.in_callback_fn
    if in_callback:
        if r0.type != SCALAR_VALUE:
            env.refuse("EACCES", "R0 not a scalar value")
        mark_chain_precision(env, isa.R0)
        allowed = Range(*callee.callback_ret_range)
        if not is_within(allowed, r0):
            refuse_scalar(env, r0, allowed, "At callback return", "R0")
        env.insn_idx = callee.callsite
    else:
        if env.history is not None:
            env.history.begin(reg_place(caller, isa.R0), caller.regs[isa.R0], reg_place(callee, isa.R0))
        caller.regs[isa.R0] = r0
        if env.history is not None:
            env.history.end()
        env.insn_idx = callee.callsite + 1
    if env.verbose:
        env.trace("returning from callee:\n")
        print_verifier_state(env, state, callee.frameno, True)
        env.trace(f"to caller at {env.insn_idx}:\n")
        print_verifier_state(env, state, caller.frameno, True)
    account_processed_insns(env, callee, caller)
    state.frames.pop()
    env.enter_frame()
    invalidate_outgoing_stack_args(env, caller)
    if in_callback:
        before = find_prev_entry(env, state, env.insn_idx)
        if before is not None:
            widen_imprecise_scalars(env, before, state)


def account_processed_insns(env: Env, callee: FuncState, caller: FuncState | None) -> None:
    """Counts the instructions of one activation for its function, and as part of its caller's."""
    insns = callee.insns_subtotal
    env.subprogs[callee.subprogno].insns_total += insns
    if caller is not None:
        caller.insns_subtotal += insns
    callee.insns_subtotal = 0


# ---- return values


def check_global_subprog_return_code(env: Env) -> None:
    """A function that is verified for all arguments returns nothing, or a number."""
    if env.layout.functions[env.func.subprogno].void:
        return
    reg = check_src(env, isa.R0)
    if reg.type == PTR_TO_ARENA:
        return
    if reg.type != SCALAR_VALUE:
        text = reg_type_str(reg.type)
        env.refuse("EINVAL", f"At subprogram exit the register R0 is not a scalar value ({text})")


def check_return_code(env: Env, regno: int, reg_name: str) -> None:
    """What the program, an asynchronous callback, or a throw without callback hands to the kernel."""
    frame = env.cur_state.frames[0]
    if not frame.in_async_callback_fn and _returns_void(env):
        return
    reg = check_src(env, regno)
    where = "At program exit"
    allowed: Range | None
    if frame.in_async_callback_fn:
        where = "At async callback return"
        allowed = Range(*frame.callback_ret_range)
    else:
        allowed = return_retval_range(env)
    if allowed is None:
        return
    if reg.type != SCALAR_VALUE:
        text = reg_type_str(reg.type)
        env.refuse("EINVAL", f"{where} the register R{regno} is not a known value ({text})")
    mark_chain_precision(env, regno)
    if not is_within(allowed, reg):
        refuse_scalar(env, reg, allowed, where, reg_name)


def is_within(allowed: Range, reg: Reg) -> bool:
    """Whether all that a number may be is allowed (retval_range_within)."""
    num = reg.num
    if allowed.narrow:
        return allowed.low <= num.s32_min and num.s32_max <= allowed.high
    return allowed.low <= num.smin and num.smax <= allowed.high


def refuse_scalar(env: Env, reg: Reg, allowed: Range, where: str, reg_name: str) -> NoReturn:
    """Refuses a number that is not allowed (verbose_invalid_scalar)."""
    num = reg.num
    known = f" smin={num.smin}" if num.smin > S64_MIN else ""
    if num.smax < S64_MAX:
        known += f" smax={num.smax}"
    known = known or " unknown scalar value"
    line = f"{where} the register {reg_name} has{known} should have been in [{allowed.low}, {allowed.high}]"
    lines = [line]
    attach = env.program.expected_attach_type
    if env.prog_type == "lsm" and attach == _LSM_CGROUP and _hook(env) in _LSM_VOID:
        lines.append("Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!")
    env.refuse("EINVAL", *lines)


def _hook(env: Env) -> str:
    return env.program.attach_to.removeprefix("bpf_lsm_")


def _returns_void(env: Env) -> bool:
    """Programs whose return value nobody looks at (program_returns_void)."""
    if env.prog_type == "lsm":
        return env.program.expected_attach_type != _LSM_CGROUP and _hook(env) in _LSM_VOID
    return env.prog_type == "ext" and env.layout.functions[0].void


def return_retval_range(env: Env) -> Range | None:
    """What a program of this type, attached in this way, may return; None for anything."""
    attach = env.program.expected_attach_type
    match env.prog_type:
        case "cgroup_sock_addr":
            return _ONE if attach in _RETURN_ONE else Range(0, 3) if attach in _BIND else _BOOL
        case "cgroup_skb":
            return Range(0, 3) if attach == _EGRESS else _BOOL
        case kind if kind in _BOOL_TYPES:
            return _BOOL
        case "raw_tracepoint":
            return _ZERO if env.program.attach_btf_id else None
        case "tracing":
            return _ZERO if attach in _TRACE_ZERO else None if attach in _TRACE_ANY else _BOOL
        case "kprobe":
            return _BOOL if attach in _SESSIONS else None
        case "lsm":
            return _lsm_range(env, attach)
        case "struct_ops":
            return _ZERO
        case _:
            return None


def _lsm_range(env: Env, attach: int) -> Range:
    hook = _hook(env)
    if attach == _LSM_CGROUP:
        return _ONE if hook in _LSM_VOID else _BOOL
    return Range(0, 1, narrow=True) if hook in _LSM_BOOL else Range(-MAX_ERRNO, 0, narrow=True)
