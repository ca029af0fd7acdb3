"""Which registers an instruction reads and writes, what is reached, what is alive: facts that say where cutting is worth a try.

They only propose: a wrong answer costs a candidate, never a wrong result. Knows forms (bpf.opcodes), no semantics.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from bpf import isa
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from bpf.opcodes import form_of
from emu.fuzz.reduce.draft import Draft, Item

_CALL_READS = 0b111110
_CALL_WRITES = 0b111111


@lru_cache(maxsize=1 << 14)
def registers(insn: Insn) -> tuple[int, int]:
    """(read, written): bits of the registers r0 to r10."""
    if insn.code == isa.OP_CALL:
        return _CALL_READS, _CALL_WRITES
    if insn.code == isa.OP_EXIT:
        return 1, 0
    form = form_of(insn)
    read = written = 0
    if form is None:
        return 0, 0
    for field, number in ((form.dst, insn.dst), (form.src, insn.src)):
        if field in ("read", "update", "base"):
            read |= 1 << number
        if field in ("write", "update"):
            written |= 1 << number
    if "cmpxchg" in form.name:
        read, written = read | 1, written | 1
    if form.group == "packet":
        read, written = read | 1 << 6, written | _CALL_WRITES
    return read, written


def successors(draft: Draft, index: int) -> list[int]:
    """Items that may come after item `index`."""
    item = draft.items[index]
    found = [index + 1] if item.falls else []
    if item.branches and item.target is not None:
        found.append(draft.find(item.target))
    return [at for at in found if at < draft.count]


def tidy(draft: Draft) -> Draft:
    """Without what no program needs.

    That is: functions that nothing refers to, code that nothing reaches, jumps to the next instruction, and stores of stack
    arguments that no call of the function takes (the verifier refuses these).
    """
    if any(item.insn.code == isa.OP_GOTOX for item in draft.items):
        return draft
    kept = _reached(draft)
    items = tuple(item for index, item in enumerate(draft.items) if index in kept)
    functions = tuple(one for one in draft.functions if draft.find(one.start) in kept)
    draft = Draft(draft.program, items, functions, draft.lines, draft.plain)
    idle = {index for index, item in enumerate(draft.items) if _idle(draft, index, item)}
    idle |= _surplus(draft)
    if idle:
        draft = draft.with_items(item for index, item in enumerate(draft.items) if index not in idle)
    return draft


def _idle(draft: Draft, index: int, item: Item) -> bool:
    goto = item.insn.code in (isa.OP_JA, isa.OP_GOTOL)
    return goto and item.target is not None and draft.find(item.target) == index + 1


def _surplus(draft: Draft) -> set[int]:
    """Stores of stack arguments behind the last slot that a call of the same function needs."""
    found: set[int] = set()
    for first, end in draft.bounds():
        stores = [at for at in range(first, end) if stored_slot(draft.items[at]) is not None]
        if stores:
            needed = (
                max((argument_count(draft, at) for at in range(first, end)), default=0) - isa.MAX_REG_ARGS
            )
            found |= {at for at in stores if (stored_slot(draft.items[at]) or 0) >= needed}
    return found


def stored_slot(item: Item) -> int | None:
    """The slot that an instruction stores a stack argument in, from 0."""
    insn = item.insn
    if not isa.is_stack_arg_store(insn.code, insn.dst, insn.off):
        return None
    return isa.store_slot(insn.off)


def argument_count(draft: Draft, index: int) -> int:
    """How many arguments the call at `index` takes; the most there are where nobody knows, 0 for what is no call."""
    item = draft.items[index]
    if item.insn.code != isa.OP_CALL or item.insn.src == isa.HELPER_CALL:
        return 0
    if item.kfunc is not None:
        known = KFUNCS.get(item.kfunc[0])
        return len(known.proto.params) if known is not None else isa.MAX_FUNC_ARGS
    function = draft.function_at(draft.find(item.target)) if item.target is not None else None
    return len(function.proto.params) if function is not None else 0


def _reached(draft: Draft) -> set[int]:
    reached: set[int] = set()
    work = [0] if draft.items else []
    while work:
        at = work.pop()
        if at in reached:
            continue
        reached.add(at)
        work += successors(draft, at)
        item = draft.items[at]
        if (item.calls_function or item.takes_function) and item.target is not None:
            found = draft.find(item.target)
            work += [found] if found < draft.count else []
    return reached


def well_formed(draft: Draft) -> bool:
    """Whether every jump stays in its function and every function ends where nothing falls out of it."""
    for first, end in draft.bounds():
        if draft.items[end - 1].falls:
            return False
        for item in draft.items[first:end]:
            if item.branches and (item.target is None or not first <= draft.find(item.target) < end):
                return False
    return True


def live_after(draft: Draft, first: int, end: int) -> list[int]:
    """For each item of the function `first` to `end` - 1 the bits of the registers that are read later on.

    A call of a function of the program reads what that function does, another call all of r1 to r5.
    """
    return _liveness(draft, first, end, entry_reads(draft))[1]


def without_dead(draft: Draft) -> Draft:
    """Without instructions that only put something into a register that nobody reads."""
    while True:
        dead = set()
        for first, end in draft.bounds():
            alive = live_after(draft, first, end)
            for at in range(first, end):
                insn = draft.items[at].insn
                register = writes_one(insn) if insn.code != isa.OP_CALL else None
                if register is not None and not alive[at - first] >> register & 1:
                    dead.add(at)
        if not dead:
            return draft
        draft = draft.with_items(item for at, item in enumerate(draft.items) if at not in dead)


def entry_reads(draft: Draft) -> dict[int, int]:
    """For each function, by its first item, the bits of the registers that it reads before it writes them."""
    reads = dict.fromkeys((first for first, _ in draft.bounds()), 0)
    changed = True
    while changed:
        changed = False
        for first, end in draft.bounds():
            found = _liveness(draft, first, end, reads)[0][0] & _CALL_READS
            changed |= found != reads[first]
            reads[first] = found
    return reads


def _reads(draft: Draft, index: int, functions: Mapping[int, int]) -> int:
    item = draft.items[index]
    if item.calls_function and item.target is not None:
        return functions.get(draft.find(item.target), _CALL_READS)
    return registers(item.insn)[0]


def _liveness(
    draft: Draft, first: int, end: int, functions: Mapping[int, int]
) -> tuple[list[int], list[int]]:
    """(before, after) each item: bits of registers that may still be read."""
    after = [0] * (end - first)
    before = [0] * (end - first)
    changed = True
    while changed:
        changed = False
        for index in range(end - 1, first - 1, -1):
            alive = 0
            for at in successors(draft, index):
                alive |= before[at - first] if first <= at < end else 0
            written = registers(draft.items[index].insn)[1]
            entering = (alive & ~written) | _reads(draft, index, functions)
            if (alive, entering) != (after[index - first], before[index - first]):
                after[index - first], before[index - first] = alive, entering
                changed = True
    return before, after


def writes_one(insn: Insn) -> int | None:
    """The register that an instruction gives a value to and does nothing else than that; r0 for a call."""
    if insn.code == isa.OP_CALL:
        return 0
    if insn.cls in (isa.ALU, isa.ALU64, isa.LDX, isa.LD) and registers(insn)[1]:
        return insn.dst if insn.cls != isa.LD or insn.code == isa.LD_IMM64 else 0
    return None


def zero(register: int) -> Item:
    """`rN = 0`."""
    return Item(0, Insn(isa.ALU64 | isa.MOV | isa.K, register))


def zeroes(bits: int) -> Sequence[Item]:
    """`rN = 0` for each of these registers."""
    return tuple(zero(number) for number in range(isa.FP) if bits >> number & 1)
