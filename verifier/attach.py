"""What a program may attach to: LSM hooks, as far as they are known here. Judges before anything is verified.

Sources: bpf_lsm_verify_prog and the hook lists of kernel/bpf/bpf_lsm.c, bpf_check_attach_target of kernel/bpf/verifier.c.
Which hooks are disabled and which may sleep is what a running 7.3.4 kernel answered for every one of them.
"""

from typing import Final

from bpf import progtypes
from bpf.program import Program
from verifier.btfctx import hook_id
from verifier.env import F_SLEEPABLE
from verifier.refused import Refused

PREFIX: Final = "bpf_lsm_"

_DISABLED: Final = frozenset(
    [
        "audit_rule_match",
        "file_alloc_security",
        "getprocattr",
        "getselfattr",
        "inode_copy_up_xattr",
        "inode_getsecurity",
        "inode_listsecurity",
        "inode_need_killpriv",
        "ismaclabel",
        "key_getsecurity",
        "setprocattr",
        "vm_enough_memory",
        "xfrm_decode_session",
    ]
)
_SLEEPABLE: Final = frozenset(
    [
        "bdev_alloc_security",
        "bdev_setintegrity",
        "bpf",
        "bpf_map",
        "bpf_map_create",
        "bpf_map_free",
        "bpf_prog",
        "bpf_prog_load",
        "bpf_token_capable",
        "bpf_token_cmd",
        "bpf_token_create",
        "bpf_token_free",
        "bprm_check_security",
        "bprm_committed_creds",
        "bprm_committing_creds",
        "bprm_creds_for_exec",
        "bprm_creds_from_file",
        "capget",
        "capset",
        "cred_prepare",
        "file_ioctl",
        "file_lock",
        "file_open",
        "file_post_open",
        "file_receive",
        "inode_create",
        "inode_free_security",
        "inode_getattr",
        "inode_getxattr",
        "inode_mknod",
        "inode_need_killpriv",
        "inode_post_removexattr",
        "inode_post_setxattr",
        "inode_readlink",
        "inode_removexattr",
        "inode_rename",
        "inode_rmdir",
        "inode_setattr",
        "inode_setxattr",
        "inode_symlink",
        "inode_unlink",
        "kernel_module_request",
        "kernel_read_file",
        "kernfs_init_security",
        "mmap_file",
        "netlink_send",
        "path_chmod",
        "path_chown",
        "path_link",
        "path_mkdir",
        "path_notify",
        "path_rename",
        "path_rmdir",
        "path_symlink",
        "path_truncate",
        "path_unlink",
        "release_secctx",
        "sb_alloc_security",
        "sb_eat_lsm_opts",
        "sb_kern_mount",
        "sb_mount",
        "sb_remount",
        "sb_set_mnt_opts",
        "sb_show_options",
        "sb_statfs",
        "sb_umount",
        "settime",
        "socket_accept",
        "socket_bind",
        "socket_connect",
        "socket_create",
        "socket_getpeername",
        "socket_getpeersec_dgram",
        "socket_getsockname",
        "socket_getsockopt",
        "socket_listen",
        "socket_post_create",
        "socket_recvmsg",
        "socket_sendmsg",
        "socket_shutdown",
        "socket_socketpair",
        "syslog",
        "task_alloc",
        "task_prctl",
        "task_setscheduler",
        "userns_create",
    ]
)

_TRACE_ITER: Final = 28  # BPF_TRACE_ITER
_ASKS_WHERE: Final = frozenset({"bpf_d_path", "bpf_ima_inode_hash", "bpf_ima_file_hash"})
# The forms that tracing programs get; other types have forms of their own, which work everywhere.
_SK_STORAGE: Final = frozenset({"bpf_sk_storage_get_tracing", "bpf_sk_storage_delete_tracing"})
_TRACE_SK_STORAGE: Final = frozenset(progtypes.ATTACH_NUMBERS[a] for a in ("trace_iter", "trace_raw_tp"))
_TRACE_NOT_ITSELF: Final = frozenset(
    progtypes.ATTACH_NUMBERS[a] for a in ("trace_fentry", "trace_fexit", "trace_fsession")
)
# Functions that hold no lock which bpf_d_path takes.
_MAY_WALK_PATHS: Final = frozenset(
    {
        "security_file_permission",
        "security_inode_getattr",
        "security_file_open",
        "security_path_truncate",
        "vfs_truncate",
        "vfs_fallocate",
        "dentry_open",
        "vfs_getattr",
        "filp_close",
    }
)


def check_attach(program: Program) -> None:
    """Raises Refused for an LSM hook that programs may not use, or not so."""
    target = program.attach_to
    if program.prog_type != "lsm" or not target.startswith(PREFIX):
        return
    hook = target.removeprefix(PREFIX)
    number = hook_id(target)
    if number is None:
        return
    if program.prog_flags & F_SLEEPABLE and hook not in _SLEEPABLE:
        raise Refused("EINVAL", f"{target} is not sleepable")
    if hook in _DISABLED:
        raise Refused("EINVAL", f"attach_btf_id {number} points to disabled hook {target}")


def helper_fits(program: Program, helper: str) -> bool:
    """Whether a helper that asks where the program attaches works there. Probed on a real 7.3.4 kernel."""
    if helper in _SK_STORAGE and program.prog_type != "lsm":
        return _may_use_sk_storage(program)
    if helper not in _ASKS_WHERE:
        return True
    if program.prog_type == "lsm":
        return program.attach_to.removeprefix(PREFIX) in _SLEEPABLE
    if helper != "bpf_d_path":
        return False
    return program.expected_attach_type == _TRACE_ITER or program.attach_to in _MAY_WALK_PATHS


def _may_use_sk_storage(program: Program) -> bool:
    """Nothing that traces the storage itself, nor a syscall program (bpf_sk_storage_tracing_allowed)."""
    attach = program.expected_attach_type
    if attach in _TRACE_NOT_ITSELF:
        return not program.attach_to.startswith("bpf_sk_storage")
    return attach in _TRACE_SK_STORAGE


def kfunc_fits(program: Program, kfunc: str) -> bool:
    """Whether a kfunc that its program type may call works in this hook: no message of a socket out of another one."""
    return not (kfunc.startswith("bpf_ksock_") and program.attach_to == f"{PREFIX}socket_sendmsg")
