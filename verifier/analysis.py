"""All of the verification that follows paths: the analyses that prepare it, the main pass, and what later passes learn.

Source: the order of bpf_check of kernel/bpf/verifier.c.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from bpf import isa
from verifier import calls, prelog
from verifier.constfold import Constants, prune_dead_branches
from verifier.ctxaccess import is_plain
from verifier.env import Env
from verifier.facts import Facts
from verifier.fastcall import mark_fastcall_patterns
from verifier.flow import Flow, collect_effects, mark_points, number_cycles
from verifier.liveregs import compute_live_registers
from verifier.livestack import LiveStack
from verifier.mainpass import do_check_main, do_check_subprogs
from verifier.regs import (
    MEM_ALLOC,
    MEM_RDONLY,
    PTR_TO_ARENA,
    PTR_TO_BTF_ID,
    PTR_TO_CTX,
    PTR_TO_MEM,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_TCP_SOCK,
    PTR_TO_XDP_SOCK,
    PTR_UNTRUSTED,
    UsedMap,
)
from verifier.subprogs import is_jump, jump_target

# What is read by a load whose fault is caught (convert_ctx_accesses).
_PROBED: Final = frozenset(
    {
        PTR_TO_BTF_ID,
        PTR_TO_BTF_ID | PTR_UNTRUSTED,
        PTR_TO_BTF_ID | MEM_ALLOC | PTR_UNTRUSTED,
        PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED,
    }
)
_SOCKETS: Final = frozenset({PTR_TO_SOCKET, PTR_TO_SOCK_COMMON, PTR_TO_TCP_SOCK, PTR_TO_XDP_SOCK})
_NOTED: Final = _PROBED | _SOCKETS | {PTR_TO_ARENA, PTR_TO_CTX}
# Types that make the packet's data their own before they write it (gen_prologue).
_UNCLONING: Final = frozenset({"sched_cls", "sched_act", "lwt_xmit", "sk_skb"})


def prepare(
    env: Env, tables: Mapping[int, tuple[int, ...]], edges: Sequence[Sequence[calls.Edge]], flow: Flow
) -> None:
    """Finds out everything that is known before the first path is followed. tables: targets of gotox."""
    layout = env.layout
    mark_points(env, tables)
    collect_effects(env, edges)
    constants = Constants(env, flow)
    folded = prune_dead_branches(env.insns, constants, layout.points)
    if folded is not env.insns:
        env.insns = folded
        flow = Flow(folded, layout, tables)
    order = calls.callees_first(calls.in_postorder(edges, flow.postorder))
    if env.verbose2:
        env.trace(prelog.order_text(layout.functions, order))
    number_cycles(env, flow)
    live_stack = LiveStack(env, flow, constants)
    env.live_stack = live_stack
    live_stack.run(order[::-1])
    compute_live_registers(env, flow)
    if env.verbose2:
        env.trace(prelog.registers_text(env))
    jumps = [jump_target(env.insns, at) for at in layout.points if is_jump(env.insns[at])]
    mark_fastcall_patterns(env, {*jumps, *(to for table in tables.values() for to in table)})


def follow_paths(env: Env) -> None:
    """The main pass. Raises Refused."""
    try:
        do_check_main(env)
        do_check_subprogs(env)
    finally:
        env.live_stack = None  # it knows env: all states would wait for Python to look for circles


def facts(env: Env, depths: Sequence[int]) -> Facts:
    """What the rewriting needs of it. depths: bytes of r10 stack of each function."""
    aux = env.aux
    known = [(at, aux[at]) for at in env.layout.points if env.insns[at].code == isa.OP_CALL]
    through = [(at, one.ptr_type) for at, one in enumerate(aux) if one.ptr_type in _NOTED]
    return Facts(
        tuple(env.insns),
        seen=tuple(env.seen),
        map_of_call={at: one.map_ptr.index for at, one in known if isinstance(one.map_ptr, UsedMap)},
        loop_inline={
            at: one.loop_inline[1] for at, one in known if one.loop_inline is not None and one.loop_inline[0]
        },
        tail_calls={
            at: (one.map_ptr.index, one.map_key)
            for at, one in known
            if isinstance(one.map_ptr, UsedMap) and isinstance(one.map_key, int)
        },
        depths=tuple(depths),
        writes=tuple([info.max_out_stack_arg_cnt for info in env.subprogs]),
        probed=frozenset([at for at, kind in through if kind in _PROBED and env.insns[at].cls == isa.LDX]),
        in_arena=frozenset([at for at, kind in through if kind == PTR_TO_ARENA]),
        converted=_converted(env, through),
        narrow=frozenset([at for at, one in enumerate(aux) if one.zext_dst]),
    )


def _converted(env: Env, through: Sequence[tuple[int, int]]) -> frozenset[int]:
    """Accesses of contexts and sockets, and the first instruction where the kernel puts some in front of it."""
    types = _SOCKETS if is_plain(env.prog_type) else _SOCKETS | {PTR_TO_CTX}
    found = {at for at, kind in through if kind in types}
    if env.seen_direct_write and env.prog_type in _UNCLONING:
        found.add(0)
    return frozenset(found)
