"""The annotated listing of an image, for people: BPF instruction, offset, bytes, assembly, and the frame as a picture.

Lines have at most 100 columns.
"""

from collections.abc import Iterator
from typing import Final

from bpf import isa
from bpf.disasm import disasm
from jit.argflow import ArgumentFlow, Incoming, Outgoing, argument_place, register
from jit.decoder import new_decoder
from jit.image import Image, Layout, NativeFunction, Reloc
from jit.picture import incoming, picture
from jit.place import place

WIDTH: Final = 100
_NOTE_AT: Final = 62
_BYTES: Final = 11  # native bytes a line; longer instructions go on in the next


def render(image: Image, layout: Layout | None = None) -> str:
    """All functions of `image`; with a layout the bytes are those at its addresses, else fields hold zeros."""
    codes = place(image, layout) if layout else tuple(function.code for function in image.functions)
    lines: list[str] = []
    for number in range(len(image.functions)):
        if lines:
            lines.append("")
        lines += _Function(image, number, codes[number], layout).lines()
    return "\n".join(_cut(line.rstrip()) for line in lines) + "\n"


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


class _Function:
    def __init__(self, image: Image, number: int, code: bytes, layout: Layout | None) -> None:
        self.image = image
        self.number = number
        self.code = code
        self.layout = layout
        self.function: NativeFunction = image.functions[number]
        self.sub = image.verified.subprogs[number]
        self.relocs: dict[int, Reloc] = {reloc.off: reloc for reloc in self.function.relocs}
        self.flow = ArgumentFlow(image.verified, number)
        self.refers: dict[int, list[Reloc]] = {}  # relocations by instruction
        for reloc in self.function.relocs:
            self.refers.setdefault(reloc.insn, []).append(reloc)
        self.decoder = new_decoder()

    def lines(self) -> Iterator[str]:
        function, sub = self.function, self.sub
        where = f" at {self.layout.functions[self.number]:#x}" if self.layout else ""
        yield f"func#{self.number} {function.name} ({sub.kind}): {len(function.code)} bytes{where}, {function.passes} passes"
        yield ""
        yield from picture(function.frame, incoming(self.image.verified, self.number))
        yield ""
        yield "       prologue"
        yield from self._native(0, function.prologue)
        insns = self.image.verified.insns
        for slot in range(sub.start, sub.end):
            if insns[slot].code == 0:
                continue
            index = slot - sub.start
            wide = insns[slot].code == isa.LD_IMM64
            start, end = function.offsets[index], function.offsets[index + (2 if wide else 1)]
            text = f"{slot:>5}: {self._bpf(slot)}"
            note = self._note(slot)
            yield f"{text:<{_NOTE_AT}} ; {note}" if note else text
            yield from self._native(start, end)

    def _bpf(self, slot: int) -> str:
        """The BPF instruction, with names for what it refers to."""
        insns = self.image.verified.insns
        insn = insns[slot]
        refers = self.refers.get(slot, [])
        if insn.code == isa.OP_TAIL_CALL:
            return "tail call"
        if insn.code == isa.OP_CALL and refers:
            return f"call {self._target(refers[-1])}"
        if insn.code == isa.LD_IMM64 and refers:
            return f"r{insn.dst} = {self._target(refers[0])}"
        return disasm(insn, insns[slot + 1] if slot + 1 < len(insns) else None)

    def _target(self, reloc: Reloc) -> str:
        if reloc.symbol:
            return reloc.symbol
        if reloc.kind in ("map", "mapval"):
            name = self.image.verified.program.maps[reloc.target].name
            return f"map {name}" if reloc.kind == "map" else f"values of {name} +{reloc.addend:#x}"
        return self.image.functions[reloc.target].name

    def _note(self, slot: int) -> str:
        """What the instruction does with a stack argument, or who is called with how many."""
        callee = self.flow.callee(slot)
        if callee is not None:
            return "" if not callee.nargs or callee.kind == "tail" else f"{callee.nargs} arguments"
        return "; ".join(self._moved(slot, move) for move in self.flow.moves(slot))

    def _moved(self, slot: int, move: Incoming | Outgoing) -> str:
        where = argument_place(self.image, self.number, slot, move)
        if isinstance(move, Incoming):
            dst = register(self.sub, self.image.verified.insns[slot].dst)
            return f"arg {move.argument} -> {dst} from {where}"
        before, behind = f"arg {move.argument} of ", f" -> {where}"
        names = self.flow.names(move)
        room = WIDTH - _NOTE_AT - len(" ; " + before + behind)
        return before + (names if len(names) <= room else names[: room - 1] + "…") + behind

    def _native(self, start: int, end: int) -> Iterator[str]:
        """The machine instructions in [start, end); targets of jumps are offsets in the function."""
        for insn in self.decoder.disasm(self.code[start:end], start):
            raw = bytes(insn.bytes)
            operands = "" if insn.mnemonic == "nop" else self._operands(insn.address, raw, insn.op_str)
            text = f"{insn.mnemonic:<8}{operands}"
            first, rest = raw[:_BYTES].hex(), raw[_BYTES:].hex()
            yield f"       {insn.address:04x}  {first:<{2 * _BYTES}}  {text}"
            if rest:
                yield f"             {rest}"

    def _operands(self, at: int, raw: bytes, text: str) -> str:
        for off in range(at, at + len(raw)):
            reloc = self.relocs.get(off)
            if reloc is None:
                continue
            name = self._target(reloc)
            if reloc.kind in ("call", "jump"):
                return f"{name}  ({self._address(off):#x})" if self.layout else name
            return f"{text}  <{name}>"
        return text

    def _address(self, off: int) -> int:
        """Where the rel32 at `off` leads."""
        assert self.layout is not None
        distance = int.from_bytes(self.code[off : off + 4], "little", signed=True)
        return (self.layout.functions[self.number] + off + 4 + distance) & isa.U64
