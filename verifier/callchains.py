"""Chains of calls after the main pass: their bytes, their frames, and what may not happen inside callbacks.

Source: check_max_stack_depth_subprog of kernel/bpf/verifier.c; B.7 of the rules for stack arguments.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bpf import isa
from verifier.calls import Edge, round_depth
from verifier.kfuncs import THROW

if TYPE_CHECKING:
    from verifier.env import Env

# Program types of which one processor runs one program at a time, so that its functions may have a stack of their own.
_PRIVATE_STACK: Final = frozenset({"kprobe", "tracepoint", "perf_event", "raw_tracepoint"})
_TRACE_ITER: Final = 28  # BPF_TRACE_ITER


_MIN_PRIVATE: Final = 64  # bytes of stack from which on a function gets one of its own


def check_chains(env: "Env", edges: Sequence[Sequence[Edge]]) -> frozenset[int]:
    """Walks every chain from each asynchronous callback and from the main program. Raises Refused.

    Sets Env.stack_max. Returns the functions with a stack of their own: large ones below the main program of a type
    that does not recur; a function that an asynchronous callback calls, too, might be entered twice at once.
    """
    shared = {index for index, info in enumerate(env.subprogs) if info.stack_arg_cnt}
    private: set[int] = set()
    for index in reversed(range(len(env.subprogs))):
        if index == 0 or env.subprogs[index].is_async_cb:
            _Walk(env, edges, shared, private, may_be_private=index == 0 and _has_private_stacks(env)).visit(
                index, 0, 0, []
            )
    if env.mode == "strict" and 0 in private and env.subprogs[0].might_throw:
        # Hole 8: around calls such a program pushes a word that whoever restores its registers does not know of.
        env.refuse("EINVAL", "exceptions in a program whose main function has a private stack", insn=0)
    return frozenset(private)


def _has_private_stacks(env: "Env") -> bool:
    if any(info.function.has_tail_call for info in env.subprogs):
        return False
    tracing = env.prog_type == "tracing" and env.program.expected_attach_type != _TRACE_ITER
    return tracing or env.prog_type in _PRIVATE_STACK


class _Walk:
    """From one root. shared: functions that must use the common stack; private: those with one of their own, added to."""

    def __init__(
        self,
        env: "Env",
        edges: Sequence[Sequence[Edge]],
        shared: set[int],
        private: set[int],
        *,
        may_be_private: bool,
    ) -> None:
        self.env = env
        self.edges = edges
        self.shared = shared
        self.private = private
        self.may_be_private = may_be_private
        # What a function was found to be with so many bytes and frames above it: whether something below tail calls.
        self.known: dict[tuple[int, int, int, int, bool], bool] = {}
        self.throws: list[list[int]] = [[] for _ in env.subprogs]
        for at, proto in env.kfuncs.items():
            if proto.name == THROW:
                self.throws[env.layout.at(at).index].append(at)

    def visit(self, node: int, frame: int, below: int, chain: list[int]) -> bool:
        """One function below `chain`, whose frames have `below` bytes; whether it or something below tail calls.

        frame: its number since the last global function, which the verifier starts anew with.
        """
        env = self.env
        info = env.subprogs[node]
        function = info.function
        if chain and function.has_tail_call and below >= 256:
            text = (
                f"tail_calls are not allowed when call stack of previous frames is {below} bytes. Too large"
            )
            env.refuse("EACCES", text, insn=function.start)
        below = self._with_stack(node, below, chain)
        in_callback = info.is_cb or any(env.subprogs[one].is_cb for one in chain)
        key = (node, frame, below, len(chain), in_callback)
        reaches = self.known.get(key)
        if reaches is None:
            reaches = self._follow(node, frame, below, [*chain, node], in_callback) or function.has_tail_call
            self.known[key] = reaches
        if reaches:
            self._check_tail_call(node)
        return reaches

    def _with_stack(self, node: int, below: int, chain: list[int]) -> int:
        """Bytes of the common stack with this function's, if it is there that it has them."""
        env = self.env
        own = round_depth(env.subprogs[node].stack_depth)
        start = env.subprogs[node].function.start
        if not self.may_be_private:
            self.shared.add(node)
        elif node not in self.shared and own >= _MIN_PRIVATE:
            self.private.add(node)
        if node in self.private:
            env.stack_max = max(env.stack_max, own)
            if own > isa.MAX_STACK:
                env.refuse("EACCES", f"stack size of subprog {node} is {own}. Too large", insn=start)
            return below
        below += own
        env.stack_max = max(env.stack_max, below)
        if below > isa.MAX_STACK:
            text = f"combined stack size of {len(chain) + 1} calls is {below}. Too large"
            env.refuse("EACCES", text, insn=start)
        return below

    def _follow(self, node: int, frame: int, below: int, chain: list[int], in_callback: bool) -> bool:
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
            inner = 0 if target.function.kind == "global" else frame + 1
            if inner >= isa.MAX_CALL_FRAMES:
                env.refuse("E2BIG", f"the call stack of {inner} frames is too deep !", insn=edge.insn)
            reaches |= self.visit(edge.target, inner, below, chain)
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
