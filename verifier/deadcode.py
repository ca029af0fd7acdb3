"""Takes out of an accepted program what its main pass never reached.

Source: bpf_opt_hard_wire_dead_code_branches, bpf_opt_remove_dead_code and bpf_opt_remove_nops of kernel/bpf/fixups.c, in
this order. Knows which instructions were seen, not why.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bpf import isa
from bpf.insn import Insn
from verifier.subprogs import is_bpf_call, is_func_ref, is_jump, jump_target


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A program without its dead code. origin: old index of each slot. place: new index of each old slot; of a removed
    one that of the next slot that stays. removed: (old index, slots) of each piece, in the order in which they went.
    """

    insns: tuple[Insn, ...]
    origin: tuple[int, ...]
    place: tuple[int, ...]
    removed: tuple[tuple[int, int], ...]

    def lands(self, at: int, target: int) -> int:
        """The new index that a call or reference at the old slot `at`, which stays, leads to afterwards.

        Distances are adjusted as each piece goes (bpf_adj_branches); what led into the piece from in front of it keeps its
        distance, what did from behind leads to where the piece began. May lie behind the end.
        """
        source, distance = at, target - at - 1
        for count, (old, slots) in enumerate(self.removed):
            first = old - sum(size for before, size in self.removed[:count] if before < old)
            if source < first:
                distance -= slots if source + distance + 1 >= first + slots else 0
            else:
                source -= slots
                distance += slots if source + distance + 1 < first else 0
        return source + distance + 1


class _Node:
    """One slot that leads somewhere: its instruction, and where it jumps or refers to."""

    __slots__ = ("index", "insn", "target")

    def __init__(self, index: int, insn: Insn, target: int) -> None:
        self.index = index
        self.insn = insn
        self.target = target


def trim(insns: Sequence[Insn], seen: Sequence[bool], points: Sequence[int]) -> Trimmed:
    """The program with only what was seen. seen: one entry a slot; the second slot of an ld_imm64 follows its first.

    A conditional jump with a side that was never taken becomes a jump, or nothing. points: as of `find_points`.
    """
    nodes = _nodes(insns, points)
    live = _live_slots(insns, seen, points)
    dead = [at for at, is_live in enumerate(live) if not is_live]
    for node in nodes if dead else ():
        _hard_wire(node, live)
    nops = _remove_nops(nodes, live)
    size = len(insns)
    if not dead and not nops:
        return Trimmed(tuple(insns), tuple(range(size)), tuple(range(size)), ())
    place, count = [], 0
    for is_live in live:
        place.append(count)
        count += is_live
    place.append(count)
    new = list(insns)
    for node in nodes:
        if live[node.index]:
            new[node.index] = _aimed(node, place)
    kept = [at for at, is_live in enumerate(live) if is_live]
    return Trimmed(
        tuple(new[at] for at in kept),
        tuple(kept),
        tuple(place[:-1]),
        (*_pieces(dead), *((at, 1) for at in nops)),
    )


def _pieces(slots: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, how many) of what is consecutive."""
    out: list[tuple[int, int]] = []
    for slot in slots:
        if out and sum(out[-1]) == slot:
            out[-1] = (out[-1][0], out[-1][1] + 1)
        else:
            out.append((slot, 1))
    return out


def _live_slots(insns: Sequence[Insn], seen: Sequence[bool], points: Sequence[int]) -> list[bool]:
    live = list(seen)
    for at in points:
        if insns[at].code == isa.LD_IMM64:
            live[at + 1] = live[at]
    return live


def _nodes(insns: Sequence[Insn], points: Sequence[int]) -> list[_Node]:
    nodes = []
    for at in points:
        insn = insns[at]
        if is_bpf_call(insn) or is_func_ref(insn):
            nodes.append(_Node(at, insn, at + insn.imm + 1))
        elif is_jump(insn):
            nodes.append(_Node(at, insn, jump_target(insns, at)))
    return nodes


def _hard_wire(node: _Node, live: Sequence[bool]) -> None:
    """A conditional jump of which one side is dead goes to the other."""
    if not is_jump(node.insn) or node.insn.op == isa.JA or not live[node.index]:
        return
    if not live[node.index + 1]:
        node.insn = Insn(isa.OP_JA)
    elif not live[node.target]:
        node.insn, node.target = Insn(isa.OP_JA), node.index + 1


def _remove_nops(nodes: Sequence[_Node], live: list[bool]) -> list[int]:
    """Jumps that go to the next slot that stays, in order. Removing one makes a may_goto before it such a jump, too."""
    removed = []
    at = 0
    while at < len(nodes):
        node = nodes[at]
        if not live[node.index] or not _is_nop(node, _next_live(live, node.index)):
            at += 1
            continue
        live[node.index] = False
        removed.append(node.index)
        if node.insn.code == isa.OP_MAY_GOTO:
            at = _live_before(nodes, live, at)
    return sorted(removed)


def _next_live(live: Sequence[bool], at: int) -> int:
    """The slot behind `at` that is next to stay, or where the program ends."""
    at += 1
    while at < len(live) and not live[at]:
        at += 1
    return at


def _live_before(nodes: Sequence[_Node], live: Sequence[bool], at: int) -> int:
    """The node that is directly in front of node `at`, where nothing but what goes lies between them; else `at`."""
    before = at - 1
    while before >= 0 and not live[nodes[before].index]:
        before -= 1
    adjoining = before >= 0 and _next_live(live, nodes[before].index) > nodes[at].index
    return before if adjoining else at


def _is_nop(node: _Node, following: int) -> bool:
    """Whether a `goto` or `may_goto` leads to the slot that follows it anyway."""
    return node.insn.code in (isa.OP_JA, isa.OP_MAY_GOTO) and node.index < node.target <= following


def _aimed(node: _Node, place: Sequence[int]) -> Insn:
    insn, distance = node.insn, place[node.target] - place[node.index] - 1
    if is_bpf_call(insn) or is_func_ref(insn) or insn.code == isa.OP_GOTOL:
        return Insn(insn.code, insn.dst, insn.src, insn.off, distance)
    return Insn(insn.code, insn.dst, insn.src, distance, insn.imm)
