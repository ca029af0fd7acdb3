"""What the load command refuses before there is a verifier log: flags, size, program type, attach type.

Source: bpf_prog_load and bpf_prog_load_check_attach of kernel/bpf/syscall.c; the order is theirs.
"""

from dataclasses import replace

from bpf import isa, progtypes
from bpf.program import Program
from verifier.attach import check_attach
from verifier.refused import Refused

# BPF_F_STRICT_ALIGNMENT .. BPF_F_TEST_REG_INVARIANTS; BPF_F_TOKEN_FD (1 << 16) needs a token that no request has.
KNOWN_FLAGS = 0xFF
F_SLEEPABLE = 1 << 4

# enum bpf_attach_type values that the types checked at load time accept.
_ATTACH: dict[str, frozenset[int]] = {
    "cgroup_sock": frozenset({0, 2, 12, 13, 34}),  # 0 becomes BPF_CGROUP_INET_SOCK_CREATE
    "cgroup_sock_addr": frozenset({8, 9, 10, 11, 14, 15, 19, 20, 29, 30, 31, 32, 49, 50, 51, 52, 53}),
    "cgroup_skb": frozenset({0, 1}),
    "cgroup_sockopt": frozenset({21, 22}),
    "sk_lookup": frozenset({36}),
    "sk_reuseport": frozenset({0, 39, 40}),  # 0 becomes BPF_SK_REUSEPORT_SELECT
    "netfilter": frozenset({45}),
    "syscall": frozenset({0}),
    "ext": frozenset({0}),
}

# What a program gets that names none (bpf_prog_load_fixup_attach_type).
_DEFAULT_ATTACH = {
    "cgroup_sock": progtypes.ATTACH_NUMBERS["cgroup_inet_sock_create"],
    "sk_reuseport": progtypes.ATTACH_NUMBERS["sk_reuseport_select"],
}


def with_attach_type(program: Program) -> Program:
    """The program with the attach type that the kernel takes it to have."""
    attach = program.expected_attach_type or _DEFAULT_ATTACH.get(program.prog_type, 0)
    return (
        program if attach == program.expected_attach_type else replace(program, expected_attach_type=attach)
    )


def check_load(program: Program) -> None:
    """Raises Refused, mostly without a message: here the kernel has no log yet."""
    if program.prog_flags & ~KNOWN_FLAGS:
        raise Refused("EINVAL")
    if not 0 < len(program.insns) <= isa.MAX_INSNS:
        raise Refused("E2BIG")
    if program.expected_attach_type not in _ATTACH.get(program.prog_type, {program.expected_attach_type}):
        raise Refused("EINVAL")
    if program.prog_type == "unspec" or program.prog_type not in progtypes.NUMBERS:
        raise Refused("EINVAL")
    if program.insns[-1].code == isa.LD_IMM64:
        raise Refused("EINVAL", "invalid bpf_ld_imm64 insn", insn=len(program.insns) - 1)


_LSM_CGROUP = progtypes.ATTACH_NUMBERS["lsm_cgroup"]

# Types whose programs may sleep, each under conditions that need the attach point.
_MAY_SLEEP = frozenset(
    {
        "tracing",
        "lsm",
        "kprobe",
        "struct_ops",
        "ext",
        "tracepoint",
        "raw_tracepoint",
    }
)


def check_sleepable(program: Program) -> None:
    """Whether the program may sleep, and attach where it wants to (check_attach_btf_id)."""
    sleepable = bool(program.prog_flags & F_SLEEPABLE)
    if program.prog_type == "syscall":
        if not sleepable:
            raise Refused("EINVAL", "Syscall programs can only be sleepable")
        return
    by_cgroup = program.prog_type == "lsm" and program.expected_attach_type == _LSM_CGROUP
    if sleepable and (by_cgroup or program.prog_type not in _MAY_SLEEP):
        raise Refused("EINVAL", "Program of this type cannot be sleepable")
    check_attach(program)
