"""Passes over functions and calls: fewer functions, fewer and simpler parameters, simpler callees."""

from collections.abc import Iterator
from dataclasses import replace

from bpf import isa
from bpf.btf_types import STATIC
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from bpf.proto import CType, FuncProto, Param
from emu.fuzz.reduce.draft import Draft, Function, Item
from emu.fuzz.reduce.flow import stored_slot, without_dead, writes_one, zero
from emu.fuzz.reduce.search import Search

U64 = CType("int", "u64", 64)
SUMS = "okf_sum"  # u64 okf_sum5(u64 a, ..., u64 e) to okf_sum12
_LETTERS = "abcdefghijkl"


def functions(search: Search, name: str) -> None:
    """A function is the main program; its calls become `r0 = 0`, or those of another; its body becomes `r0 = 0; exit`."""
    for place in range(_places(search, name) - 1, 0, -1):
        draft = search.draft(name)
        if draft is not None and place < len(draft.bounds()):
            any(search.attempt_draft(name, made) for made in _without_function(draft, place))


def _without_function(draft: Draft, place: int) -> Iterator[Draft]:
    first, end = draft.bounds()[place]
    yield draft.promoted(place)
    items = [zero(0) if _calls(draft, item, first) else item for item in draft.items]
    yield draft.with_items(replace(item, key=old.key) for item, old in zip(items, draft.items, strict=True))
    for other, _ in draft.bounds()[1:]:
        if other != first:
            key = draft.items[other].key
            yield draft.with_items(
                replace(item, target=key) if _refers(draft, item, first) else item for item in draft.items
            )
    if end - first > 2:
        yield draft.without(first, end, (zero(0), Item(0, Insn(isa.OP_EXIT))))


def _places(search: Search, name: str) -> int:
    draft = search.draft(name)
    return len(draft.bounds()) if draft is not None else 0


def _calls(draft: Draft, item: Item, first: int) -> bool:
    return item.calls_function and item.target is not None and draft.find(item.target) == first


def _refers(draft: Draft, item: Item, first: int) -> bool:
    return _calls(draft, item, first) or (
        item.takes_function and item.target is not None and draft.find(item.target) == first
    )


def parameters(search: Search, name: str) -> None:
    """One parameter less: the last one, or one of those on the stack, which the later ones then follow up."""
    for place in range(_places(search, name) - 1, -1, -1):
        number = isa.MAX_FUNC_ARGS
        while number > 0:
            draft = search.draft(name)
            if draft is None or place >= len(draft.bounds()):
                break
            if not search.attempt_draft(name, _without_parameter(draft, place, number)):
                number -= 1


def _without_parameter(draft: Draft, place: int, number: int) -> Draft | None:
    """Without parameter `number` (from 1) of a function."""
    first, end = draft.bounds()[place]
    function = draft.function_at(first)
    if not draft.plain or function is None:
        return None
    params = function.proto.params
    if number > len(params) or (number <= isa.MAX_REG_ARGS and number != len(params)):
        return None
    kept = _named(params[: number - 1] + params[number:])
    draft = _with_function(draft, replace(function, proto=replace(function.proto, params=kept)))
    if number <= isa.MAX_REG_ARGS:
        return draft
    slot = number - isa.MAX_REG_ARGS - 1
    items = list(draft.items)
    for index in range(first, end):
        items[index] = _loads_without(items[index], slot)
    gone = set()
    for low, high in draft.bounds():
        for index in range(low, high):
            stored = stored_slot(items[index])
            callee = _next_callee(draft, index, high) if stored is not None else None
            if stored is None or callee != first:
                continue
            if stored == slot:
                gone.add(index)
            elif stored > slot:
                insn = items[index].insn
                items[index] = replace(items[index], insn=replace(insn, off=insn.off + 8))
    return draft.with_items(item for index, item in enumerate(items) if index not in gone)


def _with_function(draft: Draft, function: Function) -> Draft:
    made = tuple(function if one.start == function.start else one for one in draft.functions)
    return replace(draft, functions=made)


def _named(params: tuple[Param, ...]) -> tuple[Param, ...]:
    return tuple(replace(param, name=letter) for param, letter in zip(params, _LETTERS, strict=False))


def _loads_without(item: Item, slot: int) -> Item:
    """A load of an argument in a function that has lost that in `slot`."""
    insn = item.insn
    if not isa.is_stack_arg_load(insn.code, insn.src, insn.off):
        return item
    loaded = isa.load_slot(insn.off)
    if loaded == slot:
        return replace(zero(insn.dst), key=item.key)
    return replace(item, insn=replace(insn, off=insn.off - 8)) if loaded > slot else item


def _next_callee(draft: Draft, index: int, end: int) -> int | None:
    """The item at which the function begins that is called next, in the order of the text."""
    for item in draft.items[index:end]:
        if item.calls_function and item.target is not None:
            return draft.find(item.target)
        if item.insn.code == isa.OP_CALL and item.kfunc is not None:
            return None
    return None


def callees(search: Search, name: str) -> None:
    """A kfunc becomes a function of the program, or a simpler kfunc: of its own family, or one that adds its arguments up.

    What it does not take any more is not stored either (flow.tidy sees to that).
    """
    draft = search.draft(name)
    index = draft.count - 1 if draft is not None else -1
    while draft is not None and index >= 0:
        if index < draft.count and draft.items[index].kfunc is not None:
            any(search.attempt_draft(name, made) for made in _simpler_callee(draft, index))
            draft = search.draft(name)
        index -= 1


def _simpler_callee(draft: Draft, index: int) -> Iterator[Draft]:
    """Each with the arguments as they are, and with zeroes, which every function takes."""
    item = draft.items[index]
    assert item.kfunc is not None
    known = item.kfunc[0]
    if known not in KFUNCS:
        return
    count = len(KFUNCS[known].proto.params)
    family = known.rstrip("0123456789")
    names = [f"{SUMS}{number}" for number in range(isa.MAX_REG_ARGS, count + 1)]
    names += [f"{family}{number}" for number in range(count)]
    made = [
        Item(0, Insn(isa.OP_CALL, src=isa.PSEUDO_CALL), target=draft.items[first].key)
        for first, _ in draft.bounds()[1:]
    ]
    made += [
        replace(item, kfunc=(other, KFUNCS[other].module))
        for other in dict.fromkeys(names)
        if other in KFUNCS and other != known
    ]
    if count > isa.MAX_REG_ARGS and draft.plain and draft.functions:
        yield _with_function_for(draft, index, count)
    for call in made:
        yield draft.put(index, call)
        yield _with_zeroes(draft, index).put(index, call)


def _with_function_for(draft: Draft, index: int, count: int) -> Draft:
    """With a new function `r0 = 0; exit` of as many parameters for the kfunc at `index`; it reads none of them."""
    end = draft.items[-1].key + 2  # an instruction of two slots may be the last one
    taken = {function.proto.name for function in draft.functions}
    name = next(
        name for name in (f"callee{number or ''}" for number in range(len(taken) + 1)) if name not in taken
    )
    params = tuple(Param(letter, U64) for letter in _LETTERS[:count])
    call = Item(draft.items[index].key, Insn(isa.OP_CALL, src=isa.PSEUDO_CALL), target=end)
    items = [call if at == index else item for at, item in enumerate(draft.items)]
    items += [replace(zero(0), key=end), Item(end + 1, Insn(isa.OP_EXIT))]
    function = Function(end, FuncProto(name, U64, params), STATIC)
    return without_dead(replace(draft.with_items(items), functions=(*draft.functions, function)))


def _with_zeroes(draft: Draft, index: int) -> Draft:
    """With 0 for what the instructions before the call at `index` put into its arguments."""
    items = list(draft.items)
    seen = set()
    for at in range(index - 1, -1, -1):
        insn = items[at].insn
        if insn.code == isa.OP_CALL:
            break
        register = writes_one(insn)
        if stored_slot(items[at]) is not None:
            store = replace(insn, code=isa.ST | isa.MEM | isa.DW, src=0, imm=0)
            items[at] = replace(items[at], insn=store)
        elif register is not None and 0 < register <= isa.MAX_REG_ARGS and register not in seen:
            items[at] = replace(zero(register), key=items[at].key)
            seen.add(register)
    return draft.with_items(items)


def types(search: Search, name: str) -> None:
    """Parameters and results become u64, one after the other; without any prototype, where that will do."""
    draft = search.draft(name)
    if draft is None or not draft.plain:
        return
    if len(draft.bounds()) == 1 and draft.functions:
        search.attempt_draft(name, replace(draft, functions=()))
    for number in range(len(draft.functions)):
        for made in range(-1, isa.MAX_FUNC_ARGS):
            draft = search.draft(name)
            assert draft is not None
            if number < len(draft.functions):
                function = draft.functions[number]
                proto = _simpler_type(function.proto, made)
                if proto is not None:
                    search.attempt_draft(name, _with_function(draft, replace(function, proto=proto)))


def _simpler_type(proto: FuncProto, number: int) -> FuncProto | None:
    """With u64 for parameter `number` (from 0), or for the result (-1)."""
    if number < 0:
        return replace(proto, ret=U64)
    if number >= len(proto.params):
        return None
    params = list(proto.params)
    params[number] = replace(params[number], type=U64)
    return replace(proto, params=tuple(params))
