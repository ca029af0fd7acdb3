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
    """One slot of the draft: its instruction, and where it jumps or refers to."""

    __slots__ = ("index", "insn", "live", "target")

    def __init__(self, index: int, insn: Insn, target: int | None) -> None:
        self.index = index
        self.insn = insn
        self.target = target
        self.live = True


def trim(insns: Sequence[Insn], seen: Sequence[bool]) -> Trimmed:
    """The program with only what was seen. seen: one entry a slot; the second slot of an ld_imm64 follows its first.

    A conditional jump with a side that was never taken becomes a jump, or nothing.
    """
    nodes = _nodes(insns)
    live = _live_slots(insns, seen)
    for node in nodes:
        _hard_wire(node, live)
        node.live = live[node.index]
    dead = [node.index for node in nodes if not node.live]
    _remove_nops(nodes)
    nops = [(node.index, 1) for node in nodes if not node.live and live[node.index]]
    place, count = [], 0
    for node in nodes:
        place.append(count)
        count += node.live
    place.append(count)
    kept = [node for node in nodes if node.live]
    return Trimmed(
        tuple(_aimed(node, place) for node in kept),
        tuple(node.index for node in kept),
        tuple(place[:-1]),
        (*_pieces(dead), *nops),
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


def _live_slots(insns: Sequence[Insn], seen: Sequence[bool]) -> list[bool]:
    live = [bool(one) for one in seen]
    for at, insn in enumerate(insns[:-1]):
        if insn.code == isa.LD_IMM64:
            live[at + 1] = live[at]
    return live


def _nodes(insns: Sequence[Insn]) -> list[_Node]:
    nodes: list[_Node] = []
    second = False
    for at, insn in enumerate(insns):
        target = None
        if not second and insn.code & isa.CLASS_MASK in (isa.JMP, isa.JMP32, isa.LD):
            if is_bpf_call(insn) or is_func_ref(insn):
                target = at + insn.imm + 1
            elif is_jump(insn):
                target = jump_target(insns, at)
        second = not second and insn.code == isa.LD_IMM64
        nodes.append(_Node(at, insn, target))
    return nodes


def _hard_wire(node: _Node, live: Sequence[bool]) -> None:
    """A conditional jump of which one side is dead goes to the other."""
    if node.target is None or not is_jump(node.insn) or node.insn.op == isa.JA or not live[node.index]:
        return
    if not live[node.index + 1]:
        node.insn = Insn(isa.OP_JA)
    elif not live[node.target]:
        node.insn, node.target = Insn(isa.OP_JA), node.index + 1


def _remove_nops(nodes: Sequence[_Node]) -> None:
    """Jumps that go to the next slot that stays. Removing one makes a may_goto before it such a jump, too."""
    kept = [node for node in nodes if node.live]
    at = 0
    while at < len(kept):
        node = kept[at]
        following = kept[at + 1].index if at + 1 < len(kept) else len(nodes)
        if not _is_nop(node, following):
            at += 1
            continue
        node.live = False
        del kept[at]
        if node.insn.code == isa.OP_MAY_GOTO and at:
            at -= 1


def _is_nop(node: _Node, following: int) -> bool:
    """Whether a `goto` or `may_goto` leads to the slot that follows it anyway."""
    if node.target is None or node.insn.code not in (isa.OP_JA, isa.OP_MAY_GOTO):
        return False
    return node.index < node.target <= following


def _aimed(node: _Node, place: Sequence[int]) -> Insn:
    if node.target is None:
        return node.insn
    insn, distance = node.insn, place[node.target] - place[node.index] - 1
    if is_bpf_call(insn) or is_func_ref(insn) or insn.code == isa.OP_GOTOL:
        return Insn(insn.code, insn.dst, insn.src, insn.off, distance)
    return Insn(insn.code, insn.dst, insn.src, distance, insn.imm)
