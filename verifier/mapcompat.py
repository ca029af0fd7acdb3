"""Which maps may be given to which helpers: two tables, from the map's side and from the helper's.

Source: check_map_func_compatibility of kernel/bpf/verifier.c.
"""

from typing import Final

from bpf.helpers import BY_NAME
from bpf.maps import MapType as M
from verifier.env import Env
from verifier.regs import UsedMap


def _names(text: str) -> frozenset[str]:
    names = frozenset("bpf_" + word for word in text.split())
    assert names <= BY_NAME.keys()
    return names


_RINGBUF = "ringbuf_output ringbuf_reserve ringbuf_query ringbuf_reserve_dynptr ringbuf_submit_dynptr ringbuf_discard_dynptr"
_PERF = "perf_event_read perf_event_output skb_output perf_event_read_value xdp_output"
_QUEUE = "map_peek_elem map_pop_elem map_push_elem"

# Helpers that may have such a map; maps that are not listed go anywhere where the other table allows it.
_OF_MAP: Final[dict[int, frozenset[str]]] = {
    M.PROG_ARRAY: _names("tail_call"),
    M.PERF_EVENT_ARRAY: _names(_PERF),
    M.RINGBUF: _names(_RINGBUF),
    M.USER_RINGBUF: _names("user_ringbuf_drain"),
    M.STACK_TRACE: _names("get_stackid"),
    M.CGROUP_ARRAY: _names("skb_under_cgroup current_task_under_cgroup"),
    M.CGROUP_STORAGE: _names("get_local_storage"),
    M.PERCPU_CGROUP_STORAGE: _names("get_local_storage"),
    M.DEVMAP: _names("redirect_map map_lookup_elem"),
    M.DEVMAP_HASH: _names("redirect_map map_lookup_elem"),
    M.CPUMAP: _names("redirect_map"),
    M.XSKMAP: _names("redirect_map map_lookup_elem"),
    M.ARRAY_OF_MAPS: _names("map_lookup_elem"),
    M.HASH_OF_MAPS: _names("map_lookup_elem"),
    M.SOCKMAP: _names("sk_redirect_map sock_map_update msg_redirect_map sk_select_reuseport map_lookup_elem"),
    M.SOCKHASH: _names(
        "sk_redirect_hash sock_hash_update msg_redirect_hash sk_select_reuseport map_lookup_elem"
    ),
    M.REUSEPORT_SOCKARRAY: _names("sk_select_reuseport"),
    M.QUEUE: _names(_QUEUE),
    M.STACK: _names(_QUEUE),
    M.SK_STORAGE: _names("sk_storage_get sk_storage_delete kptr_xchg"),
    M.INODE_STORAGE: _names("inode_storage_get inode_storage_delete kptr_xchg"),
    M.TASK_STORAGE: _names("task_storage_get task_storage_delete kptr_xchg"),
    M.CGRP_STORAGE: _names("cgrp_storage_get cgrp_storage_delete kptr_xchg"),
    M.BLOOM_FILTER: _names("map_peek_elem map_push_elem"),
    M.INSN_ARRAY: frozenset(),
}

# Maps that such a helper may have; helpers that are not listed take any.
_OF_HELPER: Final[dict[str, frozenset[int]]] = {
    name: frozenset(types)
    for names, types in (
        ("tail_call", (M.PROG_ARRAY,)),
        (_PERF, (M.PERF_EVENT_ARRAY,)),
        (_RINGBUF, (M.RINGBUF,)),
        ("user_ringbuf_drain", (M.USER_RINGBUF,)),
        ("get_stackid", (M.STACK_TRACE,)),
        ("current_task_under_cgroup skb_under_cgroup", (M.CGROUP_ARRAY,)),
        ("redirect_map", (M.DEVMAP, M.DEVMAP_HASH, M.CPUMAP, M.XSKMAP)),
        ("sk_redirect_map msg_redirect_map sock_map_update", (M.SOCKMAP,)),
        ("sk_redirect_hash msg_redirect_hash sock_hash_update", (M.SOCKHASH,)),
        ("get_local_storage", (M.CGROUP_STORAGE, M.PERCPU_CGROUP_STORAGE)),
        ("sk_select_reuseport", (M.REUSEPORT_SOCKARRAY, M.SOCKMAP, M.SOCKHASH)),
        ("map_pop_elem", (M.QUEUE, M.STACK)),
        ("map_peek_elem map_push_elem", (M.QUEUE, M.STACK, M.BLOOM_FILTER)),
        ("map_lookup_percpu_elem", (M.PERCPU_ARRAY, M.PERCPU_HASH, M.LRU_PERCPU_HASH)),
        ("sk_storage_get sk_storage_delete", (M.SK_STORAGE,)),
        ("inode_storage_get inode_storage_delete", (M.INODE_STORAGE,)),
        ("task_storage_get task_storage_delete", (M.TASK_STORAGE,)),
        ("cgrp_storage_get cgrp_storage_delete", (M.CGRP_STORAGE,)),
    )
    for name in _names(names)
}

_TRACE_ITER: Final = 28
_SOCKMAPS: Final = frozenset({M.SOCKMAP, M.SOCKHASH})


def _may_update_sockmap(env: Env, helper: str) -> bool:
    """Where no program can hold the socket's lock, maps of sockets may be changed as other maps."""
    if helper not in ("bpf_map_update_elem", "bpf_map_delete_elem"):
        return False
    match env.prog_type:
        case "tracing" if env.program.expected_attach_type == _TRACE_ITER:
            return True
        case "sock_ops" if helper == "bpf_map_delete_elem":
            return True
        case "sk_reuseport" | "sk_lookup":
            return True
    env.write("cannot update sockmap in this context\n")
    return False


def check_map_func_compatibility(env: Env, used: UsedMap | None, helper: str, number: int) -> None:
    """Refuses a map that the helper cannot work on."""
    if used is None:
        return
    kind = used.spec.type
    allowed = _OF_MAP.get(kind)
    fits = allowed is None or helper in allowed
    if not fits and kind in _SOCKMAPS:
        fits = _may_update_sockmap(env, helper)
    types = _OF_HELPER.get(helper)
    if not fits or (types is not None and kind not in types):
        env.refuse("EINVAL", f"cannot pass map_type {kind:d} into func {helper}#{number}")
