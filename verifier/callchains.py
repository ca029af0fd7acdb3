"""Chains of calls after the main pass: their bytes, their frames, and what may not happen inside callbacks.

Source: check_max_stack_depth_subprog of kernel/bpf/verifier.c; B.7 of the rules for stack arguments.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpf import isa
from verifier.calls import Edge, round_depth
from verifier.kfuncs import THROW

if TYPE_CHECKING:
    from verifier.env import Env


def check_chains(env: "Env", edges: Sequence[Sequence[Edge]], *, private_stack: bool) -> None:
    """Walks every chain from the main program and from every asynchronous callback. Raises Refused.

    private_stack: functions have stacks of their own, so that bytes have no common limit. Sets Env.stack_max.
    """
    walk = _Walk(env, edges, private_stack=private_stack)
    for index, info in enumerate(env.subprogs):
        if index == 0 or info.is_async_cb:
            walk.visit(index, 0, [])


class _Walk:
    def __init__(self, env: "Env", edges: Sequence[Sequence[Edge]], *, private_stack: bool) -> None:
        self.env = env
        self.edges = edges
        self.private_stack = private_stack
        # What a function was found to be with so many bytes and frames above it: whether something below tail calls.
        self.known: dict[tuple[int, int, int, bool], bool] = {}
        self.throws: list[list[int]] = [[] for _ in env.subprogs]
        for at, proto in env.kfuncs.items():
            if proto.name == THROW:
                self.throws[env.layout.at(at).index].append(at)

    def visit(self, node: int, below: int, chain: list[int]) -> bool:
        """One function below `chain`, whose frames have `below` bytes; whether it or something below tail calls."""
        env = self.env
        info = env.subprogs[node]
        function = info.function
        if chain and function.has_tail_call and below >= 256:
            text = (
                f"tail_calls are not allowed when call stack of previous frames is {below} bytes. Too large"
            )
            env.refuse("EACCES", text, insn=function.start)
        if not self.private_stack:
            below += round_depth(info.stack_depth)
            env.stack_max = max(env.stack_max, below)
            if below > isa.MAX_STACK:
                text = f"combined stack size of {len(chain) + 1} calls is {below}. Too large"
                env.refuse("EACCES", text, insn=function.start)
        in_callback = info.is_cb or any(env.subprogs[one].is_cb for one in chain)
        key = (node, below, len(chain), in_callback)
        reaches = self.known.get(key)
        if reaches is None:
            reaches = self._follow(node, below, [*chain, node], in_callback) or function.has_tail_call
            self.known[key] = reaches
        if reaches:
            self._check_tail_call(node)
        return reaches

    def _follow(self, node: int, below: int, chain: list[int], in_callback: bool) -> bool:
        env = self.env
        for at in self.throws[node]:
            if in_callback:
                text = f"bpf_throw kfunc (insn {at}) cannot be called from callback subprog {node}"
                env.refuse("EINVAL", text, insn=at)
        if in_callback and env.subprogs[node].function.has_ld_abs:
            env.refuse(
                "EINVAL",
                "cannot use BPF_LD_[ABS|IND] within callback",
                insn=env.subprogs[node].function.start,
            )
        reaches = False
        for edge in self.edges[node]:
            target = env.subprogs[edge.target]
            if target.is_async_cb:
                if edge.ref:
                    continue
                if target.is_exception_cb:
                    env.refuse(
                        "EINVAL", f"insn {edge.insn} cannot call exception cb directly", insn=edge.insn
                    )
            if len(chain) >= isa.MAX_CALL_FRAMES:
                text = f"the call stack of {isa.MAX_CALL_FRAMES} frames is too deep !"
                env.refuse("E2BIG", text, insn=edge.insn)
            reaches |= self.visit(edge.target, below, chain)
        return reaches

    def _check_tail_call(self, node: int) -> None:
        info = self.env.subprogs[node]
        start = info.function.start
        if info.is_exception_cb:
            self.env.refuse("EINVAL", "cannot tail call within exception cb", insn=start)
        if info.is_cb:
            self.env.refuse("EINVAL", "cannot tail call within callback", insn=start)
        if info.stack_arg_cnt:
            self.env.refuse("EINVAL", "tail_calls are not allowed in programs with stack args", insn=start)
