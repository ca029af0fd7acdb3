"""Contexts that are the arguments of a kernel function: of tracing, iterator and LSM programs.

Every argument is 8 bytes, the return value follows them where the attach type sees it. Sources: btf_ctx_access of
kernel/bpf/btf.c, prog_args_trusted of kernel/bpf/verifier.c and the iterators' ctx_arg_info.
"""

from functools import cache
from typing import Final, NamedTuple

from bpf.errors import InputError
from bpf.progtypes import ATTACH_NAMES
from verifier.ctxaccess import Field
from verifier.env import Env
from verifier.kernelfuncs import HOOK_IDS, STRUCT_IDS, TABLE
from verifier.num import UNKNOWN, Num, s32_range
from verifier.regs import (
    BASE_TYPE_MASK,
    MEM_PERCPU,
    MEM_RDONLY,
    MEM_USER,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_BUF,
    PTR_TRUSTED,
    SCALAR_VALUE,
)

RESULT: Final = "(result)"  # name of the field that is the function's return value
_MAX_ARGS: Final = 12
_MAX_ERRNO: Final = 4095
_ERRNO: Final = s32_range(UNKNOWN, -_MAX_ERRNO, 0)
_TRUTH: Final = s32_range(UNKNOWN, 0, 1)
_TRUTH_HOOKS: Final = frozenset(
    {"bpf_lsm_audit_rule_known", "bpf_lsm_inode_xattr_skipcap", "bpf_lsm_xfrm_state_pol_flow_match"}
)
_WORD: Final = 8
_TAGS: Final = {"user": MEM_USER, "percpu": MEM_PERCPU}
_WITH_RESULT: Final = frozenset({"lsm_mac", "lsm_cgroup", "trace_fexit", "trace_fsession", "modify_return"})
_TRUSTED: Final = frozenset({"trace_raw_tp", "trace_iter", "lsm_mac", "lsm_cgroup"})

# Arguments of iterators that are buffers, null at the end.
_BUFFERS: Final = {
    ("bpf_iter_bpf_map_elem", "key"): MEM_RDONLY,
    ("bpf_iter_bpf_map_elem", "value"): 0,
    ("bpf_iter_bpf_sk_storage_map", "value"): 0,
    ("bpf_iter_sockmap", "key"): MEM_RDONLY,
}
# Arguments of iterators that are not what is iterated over, and items that are sure to live.
_MAP_ARGS: Final = frozenset(
    (f"bpf_iter_{kind}", "map") for kind in ("bpf_map_elem", "bpf_sk_storage_map", "sockmap")
)
_TRUSTED_ITEMS: Final = frozenset(
    {
        ("bpf_iter_bpf_map", "map"),
        ("bpf_iter_cgroup", "cgroup"),
        ("bpf_iter_kmem_cache", "s"),
        ("bpf_iter_task", "task"),
        ("bpf_iter_tcp", "sk_common"),
        ("bpf_iter_udp", "udp_sk"),
    }
)
# Arguments of raw tracepoints that may be null, and those that may be an error instead of a pointer.
_NULL_ARGS: Final = frozenset({("sched_pi_setprio", 1), ("sched_process_wait", 0)})
_ERROR_ARGS: Final = frozenset({("signal_generate", 1), ("signal_deliver", 1)})
# Hooks that run while the object they are given goes away.
_UNTRUSTED_HOOKS: Final = frozenset(
    f"bpf_lsm_{hook}"
    for hook in (
        "bdev_alloc_security",
        "bdev_free_security",
        "bpf_map_free",
        "bpf_prog_free",
        "file_free_security",
        "sk_alloc_security",
        "sk_free_security",
        "task_free",
    )
)


class Signature(NamedTuple):
    """A kernel function. params: (name, type) as verifier/kernelfuncs.py writes them."""

    name: str
    ret: str
    params: tuple[tuple[str, str], ...]


@cache
def _ids() -> dict[str, int]:
    words = (STRUCT_IDS + HOOK_IDS).split()
    return {name: int(number) for name, _, number in (word.partition("=") for word in words)}


def hook_id(name: str) -> int | None:
    """Id of an LSM hook's function ("bpf_lsm_file_open") in the kernel's BTF; None for what is no hook."""
    return _ids().get(name)


@cache
def _signatures() -> dict[str, Signature]:
    rows: list[list[str]] = []
    for line in TABLE.strip().splitlines():
        if line.startswith(" "):
            rows[-1] += line.split()
        else:
            rows.append(line.split())
    found = {}
    for name, ret, *params in rows:
        pairs = tuple((p.partition("=")[0], p.partition("=")[2]) for p in params)
        found[name] = Signature(name, ret, pairs)
    return found


def signature(env: Env) -> Signature:
    """The function that the program attaches to. Raises InputError for one that is not listed."""
    found = _signatures().get(env.program.attach_to)
    if found is None:
        target = env.program.attach_to or f"BTF id {env.program.attach_btf_id}"
        what = f"{env.prog_type} program for {target}: the prototype of its context is not known here"
        raise InputError(env.program.name, f"insn {env.insn_idx}", what)
    return found


def _attach_name(env: Env) -> str:
    number = env.program.expected_attach_type
    return ATTACH_NAMES[number] if 0 <= number < len(ATTACH_NAMES) else ""


def access(env: Env, off: int, size: int, write: bool) -> Field:
    """What an access finds; refuses with the kernel's words. `Field.off` is the argument's place."""
    bad = f"invalid bpf_context access off={off} size={size}"
    if write or not 0 <= off < _MAX_ARGS * _WORD or off % size:
        env.refuse("EACCES", bad)
    function = signature(env)
    title = function.name.removeprefix("btf_trace_")
    if off % _WORD:
        env.refuse("EACCES", f"func '{title}' offset {off} is not multiple of {_WORD}", bad)
    params = function.params
    attach = _attach_name(env)
    number = _arg_index(function, off)
    if function.name != title:
        params = params[1:]
    if number > len(params) or (number == len(params) and attach not in _WITH_RESULT):
        env.refuse("EACCES", f"func '{title}' doesn't have {number + 1}-th argument", bad)
    if number == len(params):
        name, kind = "", function.ret
    else:
        name, kind = params[number]
    if not kind.startswith("*"):
        return Field(name or RESULT, off, _WORD, "-", "-")
    if size != _WORD:
        env.refuse("EACCES", f"func '{title}' size {size} must be 8", bad)
    reg_type, struct = _pointer(title, name, kind, attach)
    if struct and reg_type & BASE_TYPE_MASK == PTR_TO_BTF_ID and not _is_listed(title, name, attach):
        word = "UNION" if struct.startswith("|") else "STRUCT"
        what = f"has btf_id {_ids().get(struct, 0)} type {word} '{struct.removeprefix('|')}'"
        env.write_note(f"func '{title}' arg{number} {what}\n")
    if (title, number) in _ERROR_ARGS:
        env.write_note(f"marking pointer arg{number} as scalar as it may encode error")
        return Field(name, off, _WORD, "-", "-")
    if (title, number) in _NULL_ARGS:
        reg_type |= PTR_MAYBE_NULL
    return Field(name, off, _WORD, "-", "-", reg_type, struct.removeprefix("|").replace("(anon)", ""))


def _arg_index(function: Signature, off: int) -> int:
    """Which parameter lies at `off`; one more for the result, two more past it (btf_ctx_arg_idx)."""
    end = 0
    for number, (_, kind) in enumerate(function.params):
        end += -(-int(kind[1:]) // _WORD) * _WORD if kind.startswith("@") else _WORD
        if off < end:
            return number
    has_result = function.ret != "void" and off < end + _WORD
    return len(function.params) + (0 if has_result else 1)


def _is_listed(title: str, name: str, attach: str) -> bool:
    """Whether the iterator itself says what the argument is (ctx_arg_info)."""
    return attach == "trace_iter" and name != "meta" and (title, name) not in _MAP_ARGS


def result_of_hook(env: Env) -> Num:
    """What the return value of an LSM hook can be when a program sees it (bpf_lsm_get_retval_range)."""
    if _attach_name(env) != "lsm_mac":
        return UNKNOWN
    return _TRUTH if env.program.attach_to in _TRUTH_HOOKS else _ERRNO


def _pointer(title: str, name: str, kind: str, attach: str) -> tuple[int, str]:
    """Register type and kernel struct of a pointer argument; pointers to no struct are numbers."""
    buffer = _BUFFERS.get((title, name))
    if buffer is not None:
        return PTR_TO_BUF | PTR_MAYBE_NULL | buffer, ""
    target = kind[1:]
    if target[:1] in ("*", "-", "(") and target != "(anon)":
        return SCALAR_VALUE, ""
    tag, colon, struct = target.partition(":")
    flags = _TAGS.get(tag, 0) if colon else 0
    if _is_listed(title, name, attach):
        flags |= PTR_MAYBE_NULL | (PTR_TRUSTED if (title, name) in _TRUSTED_ITEMS else 0)
    elif attach in _TRUSTED and title not in _UNTRUSTED_HOOKS:
        flags |= PTR_TRUSTED
    if name.endswith("__nullable"):
        flags |= PTR_MAYBE_NULL
    return PTR_TO_BTF_ID | flags, struct if colon else target
