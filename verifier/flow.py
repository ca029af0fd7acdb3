"""Control flow as the analyses before the main pass see it: successors, order, cycles, and where states are kept.

Source: kernel/bpf/cfg.c. Marks go into InsnAux. Knows no values.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from bpf import isa
from bpf.helpers import HELPERS
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from verifier import calls
from verifier.kfuncs import THROW
from verifier.subprogs import TAIL_CALL, Function, Layout, is_bpf_call, is_func_ref, jump_target

if TYPE_CHECKING:
    from verifier.env import Env

SYNC_CALLBACK_HELPERS: Final = frozenset(
    {164, 180, 181, 209}
)  # for_each_map_elem, find_vma, loop, user_ringbuf_drain
ASYNC_CALLBACK_HELPERS: Final = frozenset({170})  # timer_set_callback
SYNC_CALLBACK_KFUNCS: Final = frozenset({"bpf_rbtree_add_impl", "bpf_rbtree_add"})
ASYNC_CALLBACK_KFUNCS: Final = (
    "bpf_wq_set_callback_impl",
    "bpf_wq_set_callback",
    "bpf_task_work_schedule_signal",
    "bpf_task_work_schedule_signal_impl",
    "bpf_task_work_schedule_resume",
    "bpf_task_work_schedule_resume_impl",
)


class Flow:
    """Successors of every instruction, and orders.

    succ: in the kernel's order, fall-through first; calls return. postorder: for each function its instructions,
    each behind its successors where there is no cycle. forward: no instruction goes back, so that one pass in such an
    order, or in that of the program, sees all there is to see. blocks: (first, last) of all reachable stretches that are
    entered at the first instruction only and left behind the last one only, in the order of the program.
    """

    __slots__ = ("blocks", "forward", "postorder", "succ")

    def __init__(self, insns: Sequence[Insn], layout: Layout, tables: Mapping[int, tuple[int, ...]]) -> None:
        self.succ: list[tuple[int, ...]] = [(at + 1,) for at in range(len(insns))]
        self.forward = True
        for at in layout.points:
            some = self.succ[at] = _successors(insns, at, layout, tables)
            if some and min(some) <= at:
                self.forward = False
        met = bytearray(len(insns))
        self.postorder = [_postorder(self.succ, layout, f.start, met) for f in layout.functions]
        entries = {f.start for f in layout.functions}
        entries.update(*[self.succ[at] for at in layout.points if met[at]])
        self.blocks = _blocks(sorted(entries), layout)


def _blocks(entries: Sequence[int], layout: Layout) -> list[tuple[int, int]]:
    ends = (*entries[1:], layout.next_point(entries[-1]) + 1)
    return [
        (first, min(layout.next_point(first), behind - 1))
        for first, behind in zip(entries, ends, strict=True)
    ]


def _successors(
    insns: Sequence[Insn], at: int, layout: Layout, tables: Mapping[int, tuple[int, ...]]
) -> tuple[int, ...]:
    """Bpf_insn_successors; what may leave the function from within also goes to its exit."""
    insn = insns[at]
    code = insn.code
    if code == isa.OP_CALL:
        tail_calls = insn.src == isa.HELPER_CALL and insn.imm == TAIL_CALL
        return (at + 1, _exit_of(insns, layout.at(at))) if tail_calls else (at + 1,)
    if code == isa.OP_EXIT:
        return ()
    if code == isa.LD_IMM64:
        return (at + 2,)
    if insn.cls == isa.LD:
        return (at + 1, _exit_of(insns, layout.at(at)))
    if code == isa.OP_GOTOX:
        return tables.get(layout.at(at).index, ())
    target = jump_target(insns, at)
    return (target,) if insn.op == isa.JA else (at + 1, target)


def _exit_of(insns: Sequence[Insn], function: Function) -> int:
    """The last exit of a function."""
    found = (at for at in range(function.end - 1, function.start - 1, -1) if insns[at].code == isa.OP_EXIT)
    return next(found, function.start)


def _postorder(succ: Sequence[tuple[int, ...]], layout: Layout, start: int, met: bytearray) -> list[int]:
    """Instructions that follow each other up to the next point are met, and left, as one run. met: marks them."""
    order: list[int] = []
    met[start] = 1
    stack: list[int | range] = [start]
    while stack:
        top = stack.pop()
        if isinstance(top, range):
            order += top
            continue
        point = layout.next_point(top)
        joined = met.find(1, top + 1, point + 1)
        behind = joined if joined >= 0 else point + 1
        met[top:behind] = b"\1" * (behind - top)
        stack.append(range(behind - 1, top - 1, -1))
        for to in succ[point] if joined < 0 else ():
            if not met[to]:
                met[to] = 1
                stack.append(to)
    return order


def number_cycles(env: "Env", flow: Flow) -> None:
    """Gives the instructions of each cycle a number, InsnAux.scc (bpf_compute_scc)."""
    if not flow.forward or any(env.aux[at].calls_callback for at in env.layout.points):
        env.has_cycles = True
        _number_cycles(env, flow.succ)


def _number_cycles(env: "Env", succ: Sequence[tuple[int, ...]]) -> None:
    """Tarjan's algorithm, without recursion."""
    size = len(env.insns)
    off_stack = size + 1
    pre = [0] * size
    low = [0] * size
    next_pre = next_scc = 1
    for root in range(size):
        if pre[root] or (root and env.insns[root - 1].code == isa.LD_IMM64 and not env.insns[root].code):
            continue
        stack: list[int] = []
        path = [root]
        while path:
            at = path[-1]
            if not pre[at]:
                pre[at] = low[at] = next_pre
                next_pre += 1
                stack.append(at)
            child = -1
            for to in succ[at]:
                if not pre[to]:
                    child = to
                    break
                low[at] = min(low[at], low[to])
            if child >= 0:
                path.append(child)
                continue
            path.pop()
            if low[at] < pre[at]:
                continue
            cycle = stack[-1] != at or at in succ[at] or env.aux[at].calls_callback
            while True:
                member = stack.pop()
                low[member] = off_stack
                if cycle:
                    env.aux[member].scc = next_scc
                if member == at:
                    break
            next_scc += cycle


def mark_points(env: "Env", tables: Mapping[int, tuple[int, ...]]) -> None:
    """Where states are compared, where history is kept, what calls callbacks (visit_insn of bpf_check_cfg)."""
    for at in env.layout.points:
        insn = env.insns[at]
        if is_func_ref(insn) or is_bpf_call(insn):
            env.aux[at].prune_point = True
            _mark_both(env, at + (2 if insn.code == isa.LD_IMM64 else 1))
            _mark_both(env, at + insn.imm + 1)
        elif insn.cls != isa.LD:
            _mark_jump(env, at, insn, tables)


def _mark_both(env: "Env", at: int) -> None:
    env.aux[at].prune_point = True
    env.aux[at].jmp_point = True


def _mark_jump(env: "Env", at: int, insn: Insn, tables: Mapping[int, tuple[int, ...]]) -> None:
    aux = env.aux[at]
    if insn.op == isa.EXIT:
        return
    if insn.op == isa.CALL:
        _mark_call(env, at, insn)
        _mark_both(env, at + 1)
    elif insn.code == isa.OP_GOTOX:
        aux.prune_point = True
        for to in tables.get(env.layout.at(at).index, ()):
            env.aux[to].jmp_point = True
    else:
        _mark_both(env, jump_target(env.insns, at))
        if insn.op != isa.JA:
            aux.prune_point = True
            aux.force_checkpoint |= insn.op == isa.JCOND


def _mark_call(env: "Env", at: int, insn: Insn) -> None:
    aux = env.aux[at]
    proto = env.kfuncs.get(at)
    name = proto.name if proto is not None else ""
    if insn.src == isa.HELPER_CALL:
        is_async = insn.imm in ASYNC_CALLBACK_HELPERS
        aux.calls_callback = insn.imm in SYNC_CALLBACK_HELPERS
    else:
        is_async = name in ASYNC_CALLBACK_KFUNCS
        aux.calls_callback = name in SYNC_CALLBACK_KFUNCS
        kfunc = KFUNCS.get(name)
        aux.is_iter_next = kfunc is not None and "iter_next" in kfunc.flags
    if aux.calls_callback:
        aux.force_checkpoint = aux.prune_point = aux.jmp_point = True
    if aux.is_iter_next:
        aux.force_checkpoint = aux.prune_point = True
    if is_async:
        aux.prune_point = True


def collect_effects(env: "Env", edges: Sequence[Sequence[calls.Edge]]) -> None:
    """Which functions may sleep, move packet data or throw, themselves or through what they call or name."""
    for at in env.layout.points:
        insn = env.insns[at]
        if insn.code != isa.OP_CALL or insn.src == isa.PSEUDO_CALL:
            continue
        info = env.subprogs[env.layout.at(at).index]
        if insn.src == isa.HELPER_CALL:
            helper = HELPERS.get(insn.imm)
            if helper is not None:
                info.might_sleep |= helper.might_sleep
                info.changes_pkt_data |= helper.changes_packet
        elif at in env.kfuncs:
            kfunc = KFUNCS.get(env.kfuncs[at].name)
            if kfunc is not None:
                info.might_sleep |= "sleepable" in kfunc.flags
                info.changes_pkt_data |= kfunc.name == "bpf_xdp_pull_data"
                info.might_throw |= kfunc.name == THROW
    for index in calls.callees_first(edges):
        info = env.subprogs[index]
        for edge in edges[index]:
            info.might_sleep |= env.subprogs[edge.target].might_sleep
            info.changes_pkt_data |= env.subprogs[edge.target].changes_pkt_data
            info.might_throw |= env.subprogs[edge.target].might_throw
