"""What is done to an accepted program before the JIT sees it, as far as that needs no knowledge of values.

Source: bpf_opt_remove_nops and bpf_do_misc_fixups of kernel/bpf/fixups.c, bpf_gen_ld_abs of net/core/filter.c.
Not here, since they need the abstract interpretation: removal of dead code, conversion of context accesses, inlining
of helpers, pointers of kptrs and per-cpu objects.

A program is rewritten in two steps: each slot becomes a list of items, whose outward jumps name an old slot; then the
items are laid out and all distances computed. A jump to a rewritten instruction goes to the start of its items.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bpf import isa
from bpf.insn import Insn
from bpf.program import KfuncRef
from verifier.divmod import patch_division
from verifier.refused import Refused
from verifier.subprogs import TAIL_CALL, Layout, is_bpf_call, is_func_ref, is_jump, jump_target

TIMED_MAY_GOTO = "arch_bpf_timed_may_goto"
MAY_GOTO_STACK = 16  # bytes: rounds left, and the time of the start above it
_MAY_GOTO_ROUNDS = 0xFFFF
_SKB_LOAD = {
    1: "bpf_skb_load_helper_8_no_cache",
    2: "bpf_skb_load_helper_16_no_cache",
    4: "bpf_skb_load_helper_32_no_cache",
}
# x86 leaves the upper half of rax alone when a 32-bit compare succeeds. The kernel adds this where it saw the upper
# half read; here that is not known, so it is added everywhere. imm 1 marks it as one of the verifier's own.
_ZEXT_R0 = Insn(isa.ALU | isa.MOV | isa.X, 0, 0, 0, 1)
_CTX = 6  # LD_ABS finds the packet in r6
# What the kernel makes of instructions that no path reaches, where it does not remove them.
_TRAP = Insn(isa.OP_JA, off=-1)


@dataclass(frozen=True, slots=True)
class Item:
    """One new slot. target: old slot that a jump, call or reference goes to. symbol: internal function called."""

    insn: Insn
    target: int | None = None
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The new program. place: new slot of each old one. starts: first slot of each function; extra: bytes of stack it
    uses more.
    """

    insns: tuple[Insn, ...]
    origin: tuple[int, ...]
    symbols: dict[int, str]
    place: tuple[int, ...]
    starts: tuple[int, ...]
    extra: tuple[int, ...]
    kfuncs: tuple[KfuncRef, ...]


def rewrite(
    insns: Sequence[Insn],
    layout: Layout,
    depths: Sequence[int],
    kfuncs: Sequence[KfuncRef],
    never: Collection[int] = (),
) -> Rewritten:
    """All rewritings. depths: stack in use by each function. never: instructions that no path of an accepted program
    reaches; they become jumps to themselves. Raises Refused when a jump no longer reaches.
    """
    removed = _nops(insns)
    refs = {ref.insn: index for index, ref in enumerate(kfuncs)}
    items: list[Sequence[Item]] = []
    at = 0
    while at < len(insns):
        if at in removed:
            items.append(())
        elif at in never:
            items.append((Item(_TRAP, at),))
        elif insns[at].code == isa.LD_IMM64:
            target = at + insns[at].imm + 1 if is_func_ref(insns[at]) else None
            items += [(Item(_by_position(insns[at]), target),), (Item(insns[at + 1]),)]
            at += 1
        else:
            items.append(_items(insns, at, depths[layout.at(at).index], refs))
        at += 1
    looping = {
        layout.at(a).index for a, i in enumerate(insns) if i.code == isa.OP_MAY_GOTO and a not in removed
    }
    extra = tuple(MAY_GOTO_STACK if f.index in looping else 0 for f in layout.functions)
    prefixes = {
        f.start: _may_goto_prologue(depths[f.index] + MAY_GOTO_STACK)
        for f in layout.functions
        if extra[f.index]
    }
    return _lay_out(items, prefixes, layout, extra, tuple(kfuncs))


def _nops(insns: Sequence[Insn]) -> set[int]:
    """Slots of `goto +0` and `may_goto +0`, also of those that come to be ones as what they jump over is removed.

    As the kernel, look again only at the instruction before a removed may_goto.
    """
    removed: set[int] = set()
    for at in range(len(insns)):
        again = at
        while again >= 0 and _is_nop(insns, again, removed):
            removed.add(again)
            if insns[again].code != isa.OP_MAY_GOTO:
                break
            while again in removed:
                again -= 1
    return removed


def _is_nop(insns: Sequence[Insn], at: int, removed: set[int]) -> bool:
    insn = insns[at]
    if insn.code not in (isa.OP_JA, isa.OP_MAY_GOTO) or (insn.dst, insn.src, insn.imm) != (0, 0, 0):
        return False
    return insn.off >= 0 and all(slot in removed for slot in range(at + 1, at + 1 + insn.off))


def _by_position(insn: Insn) -> Insn:
    """An ld_imm64 of a map by its index in the load's fd_array, which is its place in the program's maps."""
    src = {isa.PSEUDO_MAP_IDX: isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_IDX_VALUE: isa.PSEUDO_MAP_VALUE}
    return replace(insn, src=src.get(insn.src, insn.src))


def _items(insns: Sequence[Insn], at: int, depth: int, kfuncs: Mapping[int, int]) -> Sequence[Item]:
    insn = insns[at]
    division = patch_or_none(insn)
    if division is not None:
        return division
    if insn.cls == isa.LD and insn.mode in (isa.ABS, isa.IND):
        return _packet_load(insn)
    if insn.code == isa.OP_MAY_GOTO:
        return _may_goto(at + 1 + insn.off, depth)
    if insn.code == isa.ALU64 | isa.MOV | isa.X and insn.imm == 1 and insn.off == isa.OFF_ADDR_SPACE_CAST:
        return (Item(Insn(isa.ALU | isa.MOV | isa.X, insn.dst, insn.src)),)
    if insn.code == isa.STX | isa.ATOMIC | isa.W and insn.imm == isa.CMPXCHG:
        return (Item(insn), Item(_ZEXT_R0))
    if is_bpf_call(insn):
        return (Item(insn, at + insn.imm + 1),)
    if insn.is_call:
        return (Item(_call(insn, at, kfuncs)),)
    if is_jump(insn):
        return (Item(insn, jump_target(insns, at)),)
    return (Item(insn),)


def patch_or_none(insn: Insn) -> Sequence[Item] | None:
    """Items of a division that must not fault, or None."""
    patch = patch_division(insn)
    return None if patch is None else tuple(Item(new) for new in patch)


def _call(insn: Insn, at: int, kfuncs: Mapping[int, int]) -> Insn:
    if insn.src == isa.HELPER_CALL and insn.imm == TAIL_CALL:
        return Insn(isa.OP_TAIL_CALL)
    if insn.src == isa.PSEUDO_KFUNC_CALL and at in kfuncs:
        return Insn(isa.OP_CALL, 0, isa.PSEUDO_KFUNC_CALL, 0, kfuncs[at])
    return insn


def _packet_load(insn: Insn) -> Sequence[Item]:
    """LD_ABS and LD_IND: a call that reads the packet; a negative result leaves the program with 0."""
    if insn.mode == isa.ABS:
        offset = [Insn(isa.ALU64 | isa.MOV, 2, imm=insn.imm)]
    else:
        offset = [Insn(isa.ALU64 | isa.MOV | isa.X, 2, insn.src)]
        if insn.imm:
            offset.append(Insn(isa.ALU64 | isa.ADD, 2, imm=insn.imm))
    return (
        *(Item(new) for new in offset),
        Item(Insn(isa.ALU64 | isa.MOV | isa.X, 1, _CTX)),
        Item(Insn(isa.OP_CALL), symbol=_SKB_LOAD[insn.size]),
        Item(Insn(isa.JMP | isa.JSGE, 0, off=2, imm=0)),
        Item(Insn(isa.ALU | isa.XOR | isa.X, 0, 0)),
        Item(Insn(isa.OP_EXIT)),
    )


def _may_goto(target: int, depth: int) -> Sequence[Item]:
    """Counts rounds down in the stack; at 1 asks a function, with the counter's offset in AX, whether to go on."""
    counter = -depth - MAY_GOTO_STACK
    return (
        Item(Insn(isa.LDX | isa.MEM | isa.DW, isa.REG_AX, isa.FP, counter)),
        Item(Insn(isa.JMP | isa.JEQ, isa.REG_AX, imm=0), target),
        Item(Insn(isa.ALU64 | isa.SUB, isa.REG_AX, imm=1)),
        Item(Insn(isa.JMP | isa.JNE, isa.REG_AX, off=2, imm=0)),
        Item(Insn(isa.ALU64 | isa.MOV, isa.REG_AX, imm=counter)),
        Item(Insn(isa.OP_CALL), symbol=TIMED_MAY_GOTO),
        Item(Insn(isa.STX | isa.MEM | isa.DW, isa.FP, isa.REG_AX, counter)),
    )


def _may_goto_prologue(depth: int) -> Sequence[Item]:
    return (
        Item(Insn(isa.ST | isa.MEM | isa.DW, isa.FP, off=-depth, imm=_MAY_GOTO_ROUNDS)),
        Item(Insn(isa.ST | isa.MEM | isa.DW, isa.FP, off=-depth + 8, imm=0)),
    )


def _lay_out(
    items: Sequence[Sequence[Item]],
    prefixes: Mapping[int, Sequence[Item]],
    layout: Layout,
    extra: tuple[int, ...],
    kfuncs: tuple[KfuncRef, ...],
) -> Rewritten:
    """Places prefixes and items; jumps go behind a function's prefix, calls in front of it."""
    place: list[int] = []
    entries: dict[int, int] = {}
    flat: list[tuple[int, Item]] = []
    for old, some in enumerate(items):
        prefix = prefixes.get(old, ())
        entries[old] = len(flat)
        flat += [(old, item) for item in prefix]
        place.append(len(flat))
        flat += [(old, item) for item in some]
    insns = []
    symbols = {}
    for at, (old, item) in enumerate(flat):
        insns.append(_aimed(item, at, old, place, entries))
        if item.symbol:
            symbols[at] = item.symbol
    starts = tuple(entries[f.start] for f in layout.functions)
    origin = tuple(old for old, _ in flat)
    return Rewritten(tuple(insns), origin, symbols, tuple(place), starts, extra, kfuncs)


def _aimed(item: Item, at: int, old: int, place: Sequence[int], entries: Mapping[int, int]) -> Insn:
    """The instruction of `item` with the distance to its target."""
    insn = item.insn
    if item.target is None:
        return insn
    if is_bpf_call(insn) or is_func_ref(insn):
        return Insn(insn.code, insn.dst, insn.src, insn.off, entries[item.target] - at - 1)
    distance = place[item.target] - at - 1
    if insn.code == isa.OP_GOTOL:
        return Insn(insn.code, insn.dst, insn.src, insn.off, distance)
    if not -(1 << 15) <= distance < 1 << 15:
        raise Refused("ENOMEM", f"insn {old} cannot be patched due to 16-bit range", insn=old)
    return Insn(insn.code, insn.dst, insn.src, distance, insn.imm)
