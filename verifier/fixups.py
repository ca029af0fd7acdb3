"""What is done to an accepted program before the JIT sees it.

Source: kernel/bpf/fixups.c, bpf_gen_ld_abs of net/core/filter.c. In the kernel's order: bpf_loop is inlined, dead code
goes, divisions, packet loads, may_goto and calls are patched, 32-bit compare-exchanges get their zero extension. Context
accesses are not converted: contexts here have their UAPI layout.

A program is rewritten in two steps: each slot becomes a list of items, whose outward jumps name an old slot; then the
items are laid out and all distances computed. A jump to a rewritten instruction goes to the start of its items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bpf import isa
from bpf.insn import Insn
from bpf.kernelvars import KERNEL_VARS
from bpf.maps import MapType
from bpf.program import KfuncRef, Program
from bpf.progtypes import ATTACH_NAMES
from verifier import inline
from verifier.arena import arena_converts
from verifier.deadcode import Trimmed, trim
from verifier.divmod import patch_division
from verifier.facts import Facts
from verifier.refused import Refused
from verifier.subprogs import TAIL_CALL, Layout, find_points, is_bpf_call, is_func_ref, is_jump, jump_target

TIMED_MAY_GOTO = "arch_bpf_timed_may_goto"
MAY_GOTO_STACK = 16  # bytes: rounds left, and the time of the start above it
MAY_GOTO_ROUNDS = 0xFFFF
_SKB_LOAD = {
    1: "bpf_skb_load_helper_8_no_cache",
    2: "bpf_skb_load_helper_16_no_cache",
    4: "bpf_skb_load_helper_32_no_cache",
}
# Behind a 32-bit compare-exchange, which leaves the upper half of rax alone when it stores; imm 1 marks it as one of the verifier's own.
_ZEXT_R0 = Insn(isa.ALU | isa.MOV | isa.X, 0, 0, 0, 1)
# Modes that only the rewriting makes: faults are caught; the address counts from the start of the arena.
_PROBES = {isa.MEM: 0x20, isa.MEMSX: 0x40}
_ARENA = {isa.MEM: 0xA0, isa.MEMSX: 0xC0, isa.ATOMIC: 0xE0}
_CTX = 6  # LD_ABS finds the packet in r6


@dataclass(frozen=True, slots=True)
class Item:
    """One new slot. target: old slot that a jump, call or reference goes to. symbol: internal function called."""

    insn: Insn
    target: int | None = None
    symbol: str = ""


# Instructions that nothing is put in the place of, but for those that find their memory in another way. Of moves the
# offset tells.
_MOVE = isa.ALU64 | isa.MOV | isa.X
_PLAIN = frozenset(
    code
    for code in range(256)
    if (
        code & isa.CLASS_MASK in (isa.ALU, isa.ALU64)
        and code & isa.OP_MASK not in (isa.DIV, isa.MOD)
        and code != _MOVE
    )
    or code == isa.OP_EXIT
    or (code & isa.CLASS_MASK in (isa.LDX, isa.ST, isa.STX) and code & isa.MODE_MASK in (isa.MEM, isa.MEMSX))
)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The new program. place: new slot of each slot of the program, of a removed one that of the next that stays.

    functions: numbers, in the verified program, of the functions that are left; starts: first slot of each;
    depths: bytes of r10 stack of each, with what the rewriting added. inlined, pokes and converted: as in `Verified`.
    """

    insns: tuple[Insn, ...]
    origin: tuple[int, ...]
    symbols: dict[int, str]
    place: tuple[int, ...]
    functions: tuple[int, ...]
    starts: tuple[int, ...]
    depths: tuple[int, ...]
    kfuncs: tuple[KfuncRef, ...]
    inlined: frozenset[int]
    pokes: tuple[tuple[int, int], ...]
    converted: frozenset[int]


def rewrite(program: Program, layout: Layout, facts: Facts) -> Rewritten:
    """All rewritings, in the kernel's order. Raises Refused when a jump no longer reaches.

    layout: the program's functions as they were verified. Functions without live code are gone afterwards.
    """
    trimmed = trim(facts.insns, facts.seen, find_points(facts.insns))
    return _Draft(program, layout, facts, trimmed).lay_out()


class _Draft:
    """A trimmed program with what is known of it; makes the items of each slot, then places them."""

    def __init__(self, program: Program, layout: Layout, facts: Facts, trimmed: Trimmed) -> None:
        self.program = program
        self.insns = trimmed.insns
        self.trimmed = trimmed
        self.facts = facts
        self.kept = [f for f in layout.functions if any(facts.seen[f.start : f.end])]
        self.layout = layout
        if trimmed.removed:
            place = (*trimmed.place, len(trimmed.insns))
            self.layout = Layout(
                [replace(f, start=place[f.start], end=place[f.end]) for f in self.kept], layout.points
            )
        self.numbers = {f.index: number for number, f in enumerate(self.kept)}
        self.kfuncs = self._used_kfuncs()
        self.refs = {trimmed.place[ref.insn]: index for index, ref in enumerate(self.kfuncs)}
        self.loops = self._by_place(facts.loop_inline)
        self.first = {f.index: f.start for f in layout.functions}
        self.map_of_call = self._by_place(facts.map_of_call)
        self.inlined: set[int] = set()
        tracing = program.prog_type == "tracing" and program.expected_attach_type < len(ATTACH_NAMES)
        self.same_space = not arena_converts(program)
        self.attach = ATTACH_NAMES[program.expected_attach_type] if tracing else ""
        self.pokes: list[tuple[int, int]] = []
        looping = {self._number(at) for at in self.loops}
        self.depths = [
            facts.depths[f.index] + (inline.loop_extra(facts.depths[f.index]) if number in looping else 0)
            for number, f in enumerate(self.kept)
        ]
        self.special = self._special()
        timed = {self._number(at) for at in self.special if self.insns[at].code == isa.OP_MAY_GOTO}
        self.extra = tuple(MAY_GOTO_STACK if number in timed else 0 for number in range(len(self.kept)))

    def _stays(self, at: int) -> bool:
        """Whether slot `at` of the verified program was not trimmed."""
        place = self.trimmed.place[at]
        return place < len(self.insns) and self.trimmed.origin[place] == at

    def _used_kfuncs(self) -> tuple[KfuncRef, ...]:
        insns = self.program.insns
        return tuple(
            ref
            for ref in sorted(self.program.kfuncs, key=lambda ref: ref.insn)
            if ref.insn < len(insns)
            and insns[ref.insn].src == isa.PSEUDO_KFUNC_CALL
            and self._stays(ref.insn)
        )

    def _by_place(self, known: Mapping[int, int]) -> dict[int, int]:
        """What is known of slots of the verified program, by those of the trimmed one."""
        return {self.trimmed.place[at]: value for at, value in known.items() if self._stays(at)}

    def _special(self) -> list[int]:
        """Slots of the trimmed program that something may be put in the place of; all others stay as they are."""
        special = [
            at
            for at, insn in enumerate(self.insns)
            if insn.code not in _PLAIN and (insn.code != _MOVE or insn.off == isa.OFF_ADDR_SPACE_CAST)
        ]
        elsewhere = self.facts.probed | self.facts.in_arena
        if not elsewhere:
            return special
        return sorted({*special, *(at for at, old in enumerate(self.trimmed.origin) if old in elsewhere)})

    def _number(self, at: int) -> int:
        """The number, among those that are left, of the function that slot `at` lies in."""
        return self.numbers[self.layout.at(at).index]

    def reference(self, at: int) -> Item:
        """The first slot of an ld_imm64."""
        insn = self.insns[at]
        if insn.src == isa.PSEUDO_BTF_ID:
            return Item(insn, symbol=KERNEL_VARS[insn.imm].name)
        if not is_func_ref(insn):
            return Item(_by_position(insn))
        origin = self.trimmed.origin[at]
        return Item(insn, self._function(at, origin + self.program.insns[origin].imm + 1))

    def _function(self, at: int, target: int) -> int:
        """Where slot `at` of the trimmed program finds what began at slot `target` of the program: a function, or, where that is
        gone, what the kernel's arithmetic of distances makes of it (a loop of no rounds never enters its callback)."""
        if self.facts.seen[target]:
            return self.trimmed.place[target]
        return self.trimmed.lands(self.trimmed.origin[at], target)

    def items(self, at: int) -> Sequence[Item]:
        """What slot `at` of the trimmed program becomes."""
        insn = self.insns[at]
        if insn.code == isa.LD_IMM64:
            return (self.reference(at),)
        origin = self.trimmed.origin[at]
        division = patch_or_none(insn)
        if division is not None:
            return division
        if insn.cls == isa.LD and insn.mode in (isa.ABS, isa.IND):
            return _packet_load(insn)
        if insn.code == isa.OP_MAY_GOTO:
            return _may_goto(at + 1 + insn.off, self.depths[self._number(at)])
        if insn.code == _MOVE and insn.off == isa.OFF_ADDR_SPACE_CAST and (insn.imm == 1 or self.same_space):
            return (Item(Insn(isa.ALU | isa.MOV | isa.X, insn.dst, insn.src)),)
        if is_bpf_call(insn):
            return (Item(insn, at + insn.imm + 1),)
        if insn.is_call:
            return self._call(insn, at)
        if is_jump(insn):
            return (Item(insn, jump_target(self.insns, at)),)
        if origin in self.facts.probed:
            insn = replace(insn, code=_PROBES[insn.mode] | insn.code & ~isa.MODE_MASK)
        elif origin in self.facts.in_arena and insn.cls == isa.ALU64:
            insn = replace(insn, code=isa.ALU | insn.code & ~isa.CLASS_MASK)
        elif origin in self.facts.in_arena:
            insn = replace(insn, code=_ARENA[insn.mode] | insn.code & ~isa.MODE_MASK)
        return (Item(insn), *self._behind(at, origin))

    def _behind(self, at: int, origin: int) -> Sequence[Item]:
        """What an instruction that stays needs behind it: zeros above a swapped r0, or this CPU's own value of a map."""
        insn = self.insns[at]
        if _is_swap32(insn) and origin in self.facts.narrow:
            return (Item(_ZEXT_R0),)
        before = self.insns[at - 1]
        is_value = insn.code == 0 and before.src in (isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX_VALUE)
        if is_value and self.program.maps[before.imm].type == MapType.PERCPU_ARRAY:
            return (Item(Insn(isa.ALU64 | isa.MOV | isa.X, before.dst, before.dst, isa.OFF_PERCPU)),)
        return ()

    def _call(self, insn: Insn, at: int) -> Sequence[Item]:
        if insn.src == isa.PSEUDO_KFUNC_CALL:
            found = inline.KFUNCS.get(self.kfuncs[self.refs[at]].name) if at in self.refs else None
            if found is not None:
                self.inlined.add(self.trimmed.origin[at])
                return tuple(Item(new) for new in found)
            return (Item(Insn(isa.OP_CALL, 0, isa.PSEUDO_KFUNC_CALL, 0, self.refs.get(at, insn.imm))),)
        if insn.imm == TAIL_CALL:
            known = self.facts.tail_calls.get(self.trimmed.origin[at])
            if known is not None:
                self.pokes.append(known)
            return (Item(Insn(isa.OP_TAIL_CALL, imm=len(self.pokes) if known is not None else 0)),)
        pieces = None
        callback = None
        if at in self.loops:
            pieces = inline.loop(self.depths[self._number(at)])
            callback = self._function(at, self.first[self.loops[at]])
        else:
            index = self.map_of_call.get(at)
            spec = None if index is None else self.program.maps[index]
            pieces = inline.replacement(insn.imm, spec, self.attach)
        if pieces is None:
            return (Item(insn),)
        if len(pieces) > 1 or not pieces[0].insn.is_call:
            self.inlined.add(self.trimmed.origin[at])
        return tuple(Item(p.insn, callback if p.callback else None, p.symbol) for p in pieces)

    def lay_out(self) -> Rewritten:
        """Places prefixes and items; jumps go behind a function's prefix, calls in front of it."""
        prefixes = {
            f.start: _may_goto_prologue(self.depths[number] + MAY_GOTO_STACK)
            for number, f in enumerate(self.layout.functions)
            if self.extra[number]
        }
        insns: list[Insn] = []
        old: list[int] = []  # slot of the trimmed program that each comes from
        place: list[int] = []
        items: dict[int, Item] = {}  # those that are aimed at something or have a symbol, by their new slot
        copied = 0
        for at in sorted({*self.special, *prefixes}) if prefixes else self.special:
            place += range(len(insns), len(insns) + at - copied)
            insns += self.insns[copied:at]
            old += range(copied, at)
            copied = at + 1
            prefix = prefixes.get(at, ())
            place.append(len(insns) + len(prefix))
            for item in (*prefix, *self.items(at)):
                if item.target is not None or item.symbol:
                    items[len(insns)] = item
                insns.append(item.insn)
                old.append(at)
        place += range(len(insns), len(insns) + len(self.insns) - copied + 1)
        insns += self.insns[copied:]
        old += range(copied, len(self.insns))
        entries = _Entries(place, prefixes)
        self._check_functions(items, old, entries)
        for at, item in items.items():
            insns[at] = _aimed(item, at, old[at], place, entries)
        origin = self.trimmed.origin
        return Rewritten(
            tuple(insns),
            tuple(origin[at] for at in old) if self.trimmed.removed else tuple(old),
            {at: item.symbol for at, item in items.items() if item.symbol},
            tuple(place[new] for new in self.trimmed.place) if self.trimmed.removed else tuple(place[:-1]),
            tuple(f.index for f in self.kept),
            tuple(entries.of(f.start) for f in self.layout.functions),
            tuple(depth + more for depth, more in zip(self.depths, self.extra, strict=True)),
            self.kfuncs,
            frozenset(self.inlined),
            tuple(self.pokes),
            self.facts.converted,
        )

    def _check_functions(self, items: Mapping[int, Item], old: Sequence[int], entries: "_Entries") -> None:
        """What leads to a function that is gone leads to the next one, or to none; there the kernel trips.

        bpf_jit_subprogs: find_subprog fails. A program of one function does not get there.
        """
        starts = {f.start for f in self.layout.functions}
        for at, item in items.items() if len(self.kept) > 1 else ():
            if item.target is None or item.target in starts:
                continue
            if is_bpf_call(item.insn) or is_func_ref(item.insn):
                message = f"verifier bug: No program to jit at insn {entries.of(item.target)} (subprog < 0)"
                raise Refused("EFAULT", message, insn=self.trimmed.origin[old[at]])


class _Entries:
    """Where calls go: in front of a function's prefix, if it has one. place: where jumps go, and the new end."""

    def __init__(self, place: Sequence[int], prefixes: Mapping[int, Sequence[Item]]) -> None:
        self._place = place
        self._prefixes = prefixes

    def of(self, slot: int) -> int:
        """Where slot `slot` of the trimmed program begins; slots behind its end are as far behind the new one's."""
        beyond = slot - (len(self._place) - 1)
        if beyond >= 0:
            return self._place[-1] + beyond
        return self._place[slot] - len(self._prefixes.get(slot, ()))


def _is_swap32(insn: Insn) -> bool:
    return insn.code == isa.STX | isa.ATOMIC | isa.W and insn.imm == isa.CMPXCHG


def _by_position(insn: Insn) -> Insn:
    """An ld_imm64 of a map by its index in the load's fd_array, which is its place in the program's maps."""
    src = {isa.PSEUDO_MAP_IDX: isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_IDX_VALUE: isa.PSEUDO_MAP_VALUE}
    return replace(insn, src=src.get(insn.src, insn.src))


def patch_or_none(insn: Insn) -> Sequence[Item] | None:
    """Items of a division that must not fault, or None."""
    patch = patch_division(insn)
    return None if patch is None else tuple(Item(new) for new in patch)


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
        Item(Insn(isa.ST | isa.MEM | isa.DW, isa.FP, off=-depth, imm=MAY_GOTO_ROUNDS)),
        Item(Insn(isa.ST | isa.MEM | isa.DW, isa.FP, off=-depth + 8, imm=0)),
    )


def _aimed(item: Item, at: int, old: int, place: Sequence[int], entries: _Entries) -> Insn:
    """The instruction of `item` with the distance to its target."""
    insn = item.insn
    if item.target is None:
        return insn
    if is_bpf_call(insn) or is_func_ref(insn):
        return Insn(insn.code, insn.dst, insn.src, insn.off, entries.of(item.target) - at - 1)
    distance = place[item.target] - at - 1
    if insn.code == isa.OP_GOTOL:
        return Insn(insn.code, insn.dst, insn.src, insn.off, distance)
    if not -(1 << 15) <= distance < 1 << 15:
        raise Refused("ENOMEM", f"insn {old} cannot be patched due to 16-bit range", insn=old)
    return Insn(insn.code, insn.dst, insn.src, distance, insn.imm)
