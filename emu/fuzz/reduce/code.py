"""Passes over the instructions of one program: fewer of them, then easier ones."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from bpf import isa
from bpf.insn import Insn
from emu.fuzz.reduce import flow
from emu.fuzz.reduce.draft import Draft, Item, is_conditional
from emu.fuzz.reduce.search import Search

Change = Callable[[Draft, int], Iterable[Draft]]

PAIRS_UP_TO = 24  # instructions of a program in which all pairs are tried


def blocks(search: Search, name: str) -> None:
    """Delta debugging: whole blocks go, or become zeroes for what is read later; halves, quarters, ..., single ones."""
    draft = search.draft(name)
    if draft is not None:
        search.attempt_draft(name, flow.without_dead(draft))
        draft = search.draft(name)
    size = draft.count if draft is not None else 0
    while size:
        _sweep(search, name, size)
        size //= 2


def _sweep(search: Search, name: str, size: int) -> None:
    """From the end to the beginning, as what comes late uses what comes early."""
    draft = search.draft(name)
    end = draft.count if draft is not None else 0
    while draft is not None and end > 0:
        first = max(end - size, 0)
        if any(search.attempt_draft(name, made) for made in _without(draft, first, end)):
            draft = search.draft(name)
            assert draft is not None
            end = min(first, draft.count)
        else:
            end = first


def _without(draft: Draft, first: int, end: int) -> Iterator[Draft]:
    """Without a block; with zeroes for it, function by function."""
    yield draft.without(first, end)
    for start, stop in draft.bounds():
        low, high = max(first, start), min(end, stop)
        if low >= high:
            continue
        alive = flow.live_after(draft, start, stop)
        made = 0
        for item in draft.items[low:high]:
            made |= flow.registers(item.insn)[1]
        last = draft.items[high - 1]
        needed = made & (alive[high - 1 - start] | (last.insn.code == isa.OP_EXIT))
        tail = () if last.falls else (last,)
        instead = (*flow.zeroes(needed & ~(1 << isa.FP)), *tail)
        if len(instead) < high - low:
            yield draft.without(low, high, instead)


def branches(search: Search, name: str) -> None:
    """Conditions become always or never true."""

    def change(draft: Draft, index: int) -> Iterable[Draft]:
        item = draft.items[index]
        if is_conditional(item.insn) or item.insn.code == isa.OP_MAY_GOTO:
            yield draft.put(index, replace(item, insn=Insn(isa.OP_JA)))
            yield draft.without(index, index + 1)

    each(search, name, change)


def values(search: Search, name: str) -> None:
    """What computes a value becomes a constant, what stores one stores a constant, operands become constants."""
    each(search, name, lambda draft, index: (draft.put(index, item) for item in _easier(draft.items[index])))


def _easier(item: Item) -> Iterator[Item]:
    insn = item.insn
    register = flow.writes_one(insn)
    if register is not None:
        for value in (0, 1):
            yield Item(0, Insn(isa.ALU64 | isa.MOV | isa.K, register, imm=value))
    if insn.cls in (isa.ALU, isa.ALU64) and insn.op not in (isa.MOV, isa.END, isa.NEG):
        yield replace(item, insn=replace(insn, code=isa.ALU64 | isa.MOV | (insn.code & isa.X), off=0))
        yield replace(item, insn=replace(insn, code=isa.ALU64 | isa.ADD | (insn.code & isa.X), off=0))
    if insn.cls == isa.STX and insn.mode == isa.MEM:
        for value in (0, 1):
            yield replace(item, insn=replace(insn, code=isa.ST | insn.code & ~7, src=0, imm=value))
    if insn.cls in (isa.ALU, isa.ALU64, isa.JMP, isa.JMP32) and insn.code & isa.X and insn.op != isa.END:
        for value in (0, 1):
            yield replace(item, insn=replace(insn, code=insn.code & ~isa.X, src=0, imm=value))
    yield from _wider(item)


def _wider(item: Item) -> Iterator[Item]:
    """The same instruction with 64 bits."""
    insn = item.insn
    if insn.cls in (isa.ALU, isa.JMP32) and insn.op not in (isa.END, isa.JA):
        yield replace(
            item,
            insn=replace(
                insn,
                code=insn.code ^ isa.ALU ^ isa.ALU64
                if insn.cls == isa.ALU
                else insn.code ^ isa.JMP32 ^ isa.JMP,
            ),
        )
    if (
        insn.cls in (isa.LDX, isa.STX, isa.ST)
        and insn.mode == isa.MEM
        and insn.code & isa.SIZE_MASK != isa.DW
    ):
        yield replace(item, insn=replace(insn, code=insn.code | isa.DW))
    if insn.cls == isa.LDX and insn.mode == isa.MEMSX:
        yield replace(item, insn=replace(insn, code=insn.code ^ isa.MEMSX ^ isa.MEM))
    if insn.cls == isa.ALU64 and insn.op == isa.MOV and insn.off:
        yield replace(item, insn=replace(insn, off=0))
    if is_conditional(insn) and insn.op != isa.JEQ:
        yield replace(item, insn=replace(insn, code=insn.code & ~isa.OP_MASK | isa.JEQ))


def constants(search: Search, name: str) -> None:
    """Numbers become 0, 1, or half of what they are; first those that stand at several places, all together."""
    draft = search.draft(name)
    for value in _repeated(draft) if draft is not None else ():
        for made in _nearer(value):
            draft = search.draft(name)
            assert draft is not None
            items = (_with_number(item, value, made) for item in draft.items)
            if search.attempt_draft(name, draft.with_items(items)):
                break
    each(search, name, lambda draft, index: (draft.put(index, item) for item in _smaller(draft.items[index])))


def _repeated(draft: Draft) -> list[int]:
    """Numbers of more than four bits that stand in more than one instruction."""
    values = [item.insn.imm for item in draft.items if _has_number(item.insn) and abs(item.insn.imm) > 15]
    return sorted({value for value in values if values.count(value) > 1})


def _with_number(item: Item, old: int, new: int) -> Item:
    insn = item.insn
    if insn.imm != old or not _has_number(insn):
        return item
    return replace(item, insn=replace(insn, imm=new))


def _smaller(item: Item) -> Iterator[Item]:
    insn = item.insn
    if insn.code == isa.LD_IMM64 and insn.src == 0:
        value = isa.sext((insn.imm & isa.U32) | (item.high & isa.U32) << 32, 64)
        yield Item(0, Insn(isa.ALU64 | isa.MOV | isa.K, insn.dst, imm=isa.sext(value, 32)))
        for made in _nearer(value, -isa.S64_MIN - 1):
            yield replace(item, insn=replace(insn, imm=isa.sext(made, 32)), high=isa.sext(made >> 32, 32))
    elif insn.imm and item.target is None and _has_number(insn):
        for made in _nearer(insn.imm):
            yield replace(item, insn=replace(insn, imm=made))


def _has_number(insn: Insn) -> bool:
    if insn.cls in (isa.ALU, isa.ALU64):
        return not insn.code & isa.X and insn.op != isa.END
    return insn.cls == isa.ST or is_conditional(insn) or (insn.cls == isa.LD and insn.code != isa.LD_IMM64)


def _nearer(value: int, most: int = -isa.S32_MIN - 1) -> Iterator[int]:
    """Numbers that are easier than this one, the easiest first; none above `most`."""
    size = abs(value)
    if not size:
        return
    powers = [1 << (size.bit_length() - 1), 1 << (size.bit_length() // 2)]
    made = [0, 1, 2, 8, -1, -8, *powers, *(-power for power in powers)]
    made += [int(value / 2), value - 1 if value > 0 else value + 1]
    for number in dict.fromkeys(made):
        if number <= most and (abs(number) < size or (abs(number) == size and value < 0)):
            yield number


def registers(search: Search, name: str) -> None:
    """Each function with the lowest registers that will do."""
    draft = search.draft(name)
    for place in range(len(draft.bounds()) if draft is not None else 0):
        for old in range(9, 0, -1):
            for new in range(old):
                draft = search.draft(name)
                if draft is None or place >= len(draft.bounds()):
                    return
                if search.attempt_draft(name, _renamed(draft, place, old, new)):
                    break


def _renamed(draft: Draft, place: int, old: int, new: int) -> Draft | None:
    first, end = draft.bounds()[place]
    made = [_rename(item, old, new) for item in draft.items[first:end]]
    if made == list(draft.items[first:end]):
        return None
    return draft.with_items((*draft.items[:first], *made, *draft.items[end:]))


def _rename(item: Item, old: int, new: int) -> Item:
    insn = item.insn
    if insn.code == isa.OP_CALL or insn.code == isa.OP_EXIT:
        return item
    dst = (
        new
        if insn.dst == old and (flow.registers(insn)[0] | flow.registers(insn)[1]) >> old & 1
        else insn.dst
    )
    src = new if insn.src == old and insn.code != isa.LD_IMM64 else insn.src
    return item if (dst, src) == (insn.dst, insn.src) else replace(item, insn=replace(insn, dst=dst, src=src))


def one_register(search: Search, name: str) -> None:
    """A single operand becomes a lower register."""

    def change(draft: Draft, index: int) -> Iterable[Draft]:
        item = draft.items[index]
        insn = item.insn
        if insn.code in (isa.OP_CALL, isa.OP_EXIT) or (item.branches and not is_conditional(insn)):
            return
        if insn.cls != isa.LD and insn.src and insn.src < isa.FP:
            for number in range(insn.src):
                yield draft.put(index, replace(item, insn=replace(insn, src=number)))

    each(search, name, change)


def stack(search: Search, name: str) -> None:
    """Places on the stack move up to the frame pointer, all accesses of a function together."""
    draft = search.draft(name)
    for place in range(len(draft.bounds()) if draft is not None else 0):
        draft = search.draft(name)
        if draft is None or place >= len(draft.bounds()):
            return
        first, end = draft.bounds()[place]
        for slot in sorted({found for item in draft.items[first:end] if (found := _slot(item)) is not None}):
            for new in range(-8, slot, -8) if slot >= -64 else (-8, -16, -24, -32, slot // 16 * 8, slot + 8):
                draft = search.draft(name)
                if draft is None or place >= len(draft.bounds()):
                    return
                if search.attempt_draft(name, _moved(draft, place, slot, new)):
                    break


def _slot(item: Item) -> int | None:
    """The 8 bytes of stack that an instruction names, by access or by `rN += -8`."""
    insn = item.insn
    base = {isa.LDX: insn.src, isa.STX: insn.dst, isa.ST: insn.dst}.get(insn.cls)
    if base == isa.FP and insn.off < 0:
        return insn.off // 8 * 8
    if insn.code == isa.ALU64 | isa.ADD | isa.K and -isa.MAX_STACK <= insn.imm < 0:
        return insn.imm // 8 * 8
    return None


def _moved(draft: Draft, place: int, slot: int, new: int) -> Draft:
    first, end = draft.bounds()[place]
    made = []
    for item in draft.items[first:end]:
        insn = item.insn
        if _slot(item) == slot:
            add = insn.cls == isa.ALU64
            insn = (
                replace(insn, imm=insn.imm + new - slot) if add else replace(insn, off=insn.off + new - slot)
            )
            item = replace(item, insn=insn)
        made.append(item)
    return draft.with_items((*draft.items[:first], *made, *draft.items[end:]))


def offsets(search: Search, name: str) -> None:
    """Displacements of other accesses become 0, or half."""

    def change(draft: Draft, index: int) -> Iterable[Draft]:
        item = draft.items[index]
        insn = item.insn
        if insn.cls in (isa.LDX, isa.STX, isa.ST) and insn.off:
            size = isa.SIZE_BYTES[insn.code & isa.SIZE_MASK]
            for off in dict.fromkeys((0, int(insn.off / 2) // size * size)):
                yield draft.put(index, replace(item, insn=replace(insn, off=off)))

    each(search, name, change)


def numbered(draft: Draft, only: int | None = None) -> Draft:
    """With the number of the argument for each 0 that is stored as a stack argument, or for the one at `only`."""
    items = list(draft.items)
    for index, item in enumerate(items):
        slot = flow.stored_slot(item)
        if only in (None, index) and slot is not None and item.insn.cls == isa.ST and not item.insn.imm:
            items[index] = replace(item, insn=replace(item.insn, imm=slot + isa.MAX_REG_ARGS + 1))
    return draft.with_items(items)


def pairs(search: Search, name: str) -> None:
    """Two instructions at once, which only make sense together."""
    draft = search.draft(name)
    if draft is None or draft.count > PAIRS_UP_TO:
        return
    second = draft.count - 1
    while second > 0:
        for first in range(second - 1, -1, -1):
            draft = search.draft(name)
            if draft is None or second >= draft.count:
                break
            items = [item for index, item in enumerate(draft.items) if index not in (first, second)]
            search.attempt_draft(name, draft.with_items(items))
        second -= 1


def each(search: Search, name: str, change: Change) -> None:
    """For each instruction, from the last to the first, all that `change` proposes, until nothing is taken any more."""
    draft = search.draft(name)
    index = draft.count - 1 if draft is not None else -1
    while draft is not None and index >= 0:
        if any(search.attempt_draft(name, made) for made in change(draft, index)):
            draft = search.draft(name)
            assert draft is not None
            index = min(index, draft.count - 1)
        else:
            index -= 1
