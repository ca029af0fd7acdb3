"""A function's instructions as inline assembly of C, in the syntax of LLVM 23. Knows names, not what surrounds a function."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bpf import isa
from bpf.codec import encode
from bpf.disasm import disasm
from bpf.helpers import HELPERS
from bpf.insn import Insn
from bpf.opcodes import form_of
from emu.fuzz.reduce.draft import Draft, Item

_HEX = re.compile(r"0x([0-9a-f]+)\b")
_DECIMAL_UP_TO = 1 << 16


@dataclass(slots=True)
class Names:
    """What things are called. functions: by first item. maps: by index. places: symbols of bytes within a map's values, by
    (map, offset). used: what the C compiler has to hand to the assembly, filled in on the way: "imm" or "addr" by name.
    """

    functions: Mapping[int, str]
    maps: Mapping[int, str]
    places: Mapping[tuple[int, int], str] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)


def body(draft: Draft, first: int, end: int, names: Names) -> Iterator[str]:
    """Lines of a function, each a C string but for the quotation marks; labels end in ":"."""
    targets = sorted(
        {
            draft.find(item.target)
            for item in draft.items[first:end]
            if item.branches and item.target is not None and first <= draft.find(item.target) < end
        }
    )
    labels = {at: f"l{number}_%=" for number, at in enumerate(targets)}
    for index in range(first, end):
        if index in labels:
            yield f"{labels[index]}:"
        yield from (f"{line};" for line in _lines(draft, index, labels, names))


def _lines(draft: Draft, index: int, labels: Mapping[int, str], names: Names) -> Iterator[str]:
    item = draft.items[index]
    symbol = _symbol(draft, item, labels, names)
    text = None if symbol is None and _refers(item) else _text(item, symbol)
    if text is None:
        yield from (f".8byte {int.from_bytes(encode((slot,)), 'little'):#x}" for slot in _slots(item))
    else:
        yield text


def _refers(item: Item) -> bool:
    insn = item.insn
    return item.target is not None or item.kfunc is not None or (insn.code == isa.LD_IMM64 and insn.src != 0)


def _slots(item: Item) -> tuple[Insn, ...]:
    return (item.insn, Insn(0, imm=item.high)) if item.wide else (item.insn,)


def _symbol(draft: Draft, item: Item, labels: Mapping[int, str], names: Names) -> str | None:
    """How the assembly names what an instruction refers to."""
    insn = item.insn
    if item.target is not None:
        at = draft.find(item.target)
        return labels.get(at) if item.branches else names.functions.get(at)
    if item.kfunc is not None:
        return _given(names, item.kfunc[0], "imm")
    if insn.code == isa.OP_CALL and insn.src == isa.HELPER_CALL:
        known = HELPERS.get(insn.imm)
        return _given(names, known.name, "imm") if known else str(insn.imm)
    number = item.map_index
    if number is None or number not in names.maps:
        return None
    if insn.src == isa.PSEUDO_MAP_VALUE and (number, item.high) in names.places:
        return names.places[number, item.high]  # a symbol of the assembly's own
    return _given(names, names.maps[number], "addr")


def _given(names: Names, name: str, how: str) -> str:
    names.used[name] = how
    return f"%[{name}]"


def _text(item: Item, symbol: str | None) -> str | None:
    """One instruction; None where LLVM has no words for it."""
    insn = item.insn
    if symbol is not None and insn.code in (isa.OP_CALL, isa.LD_IMM64):
        return f"call {symbol}" if insn.code == isa.OP_CALL else f"r{insn.dst} = {symbol} ll"
    form = form_of(insn)
    if form is None or not form.loadable or _wordless(insn):
        return None
    text = disasm(insn, Insn(0, imm=item.high) if item.wide else None, style="llvm")
    if symbol is None:
        return _HEX.sub(_decimal, text).replace("%", "%%")  # a percent sign is the compiler's
    return _HEX.sub(_decimal, text[: text.rindex(" ")]) + f" {symbol}"


def _wordless(insn: Insn) -> bool:
    """What the assembler reads otherwise than it is meant, or not at all."""
    packet = insn.cls == isa.LD and insn.mode == isa.IND and insn.imm != 0
    per_cpu = insn.code == isa.ALU64 | isa.MOV | isa.X and insn.off == isa.OFF_PERCPU
    return packet or per_cpu or insn.code in (isa.OP_GOTOX, isa.OP_CALLX)


def _decimal(match: re.Match[str]) -> str:
    value = int(match[1], 16)
    return str(value) if value < _DECIMAL_UP_TO else match[0]
