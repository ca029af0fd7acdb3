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
from verifier.kernelfuncs import TABLE
from verifier.regs import (
    MEM_PERCPU,
    MEM_RDONLY,
    MEM_USER,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_BUF,
    PTR_TRUSTED,
    SCALAR_VALUE,
)

_MAX_ARGS: Final = 12
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
# Hooks that run while the object they are given goes away.
_UNTRUSTED_HOOKS: Final = frozenset(
    f"bpf_lsm_{hook}"
    for hook in (
        "bpf_map_free",
        "bpf_prog_free",
        "file_alloc_security",
        "file_free_security",
        "inode_free_security",
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
    title = function.name
    if off % _WORD:
        env.refuse("EACCES", f"func '{title}' offset {off} is not multiple of {_WORD}", bad)
    params = function.params
    if env.prog_type == "tracing" and title.startswith("btf_trace_"):
        params = params[1:]
    number = off // _WORD
    attach = _attach_name(env)
    if number > len(params) or (number == len(params) and attach not in _WITH_RESULT):
        env.refuse("EACCES", f"func '{title}' doesn't have {number + 1}-th argument", bad)
    if number == len(params):
        name, kind = "", function.ret
    else:
        name, kind = params[number]
    if not kind.startswith("*"):
        return Field(name, off, _WORD, "-", "-")
    if size != _WORD:
        env.refuse("EACCES", f"func '{title}' size {size} must be 8", bad)
    return Field(name, off, _WORD, "-", "-", *_pointer(title, name, kind, attach))


def _pointer(title: str, name: str, kind: str, attach: str) -> tuple[int, str]:
    """Register type and kernel struct of a pointer argument; pointers to no struct are numbers."""
    buffer = _BUFFERS.get((title, name))
    if buffer is not None:
        return PTR_TO_BUF | PTR_MAYBE_NULL | buffer, ""
    target = kind[1:]
    if target[:1] in ("*", "-", "(", "|", ""):
        return SCALAR_VALUE, ""
    tag, colon, struct = target.partition(":")
    flags = _TAGS.get(tag, 0) if colon else 0
    if attach in _TRUSTED and title not in _UNTRUSTED_HOOKS:
        flags |= PTR_TRUSTED
    if name.endswith("__nullable") or (attach == "trace_iter" and name != "meta"):
        flags |= PTR_MAYBE_NULL
    return PTR_TO_BTF_ID | flags, struct if colon else target
