"""The annotated listing of an image, for people: BPF instruction, offset, bytes, assembly, and the frame as a picture.

The only module here that knows a disassembler (capstone). Lines have at most 100 columns.
"""

from collections.abc import Iterator
from typing import Final

import capstone

from bpf import isa
from bpf.disasm import disasm
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from jit.image import Image, Layout, NativeFunction, Reloc
from jit.picture import picture
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
        self.refers: dict[int, list[Reloc]] = {}  # relocations by instruction
        for reloc in self.function.relocs:
            self.refers.setdefault(reloc.insn, []).append(reloc)
        self.decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)  # type: ignore[no-untyped-call]  # it has no types

    def lines(self) -> Iterator[str]:
        function, sub = self.function, self.sub
        where = f" at {self.layout.functions[self.number]:#x}" if self.layout else ""
        yield f"func#{self.number} {function.name} ({sub.kind}): {len(function.code)} bytes{where}, {function.passes} passes"
        yield ""
        yield from picture(function.frame, 16 if sub.tail_call_reachable else 0)
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
        insn = self.image.verified.insns[slot]
        frame = self.function.frame
        if isa.is_stack_arg_load(insn.code, insn.src, insn.off):
            argument = insn.off // 8 + 5
            return f"arg {argument} <- {frame.incoming.get(argument, '?')}"
        if isa.is_stack_arg_store(insn.code, insn.dst, insn.off):
            argument = -insn.off // 8 + 5
            place_of = frame.outgoing.get(argument)
            if place_of is None or place_of.off is None:
                return f"arg {argument} -> {place_of or '?'}"
            return f"arg {argument} -> [rsp+{place_of.off + frame.size:#x}]"
        if insn.code == isa.OP_CALL:
            return self._arguments(slot, insn)
        return ""

    def _arguments(self, slot: int, insn: Insn) -> str:
        """How many arguments a call passes, as far as it is known."""
        verified = self.image.verified
        count = 0
        if insn.src == isa.PSEUDO_CALL:
            callees = [reloc.target for reloc in self.refers.get(slot, []) if reloc.target >= 0]
            count = verified.subprogs[callees[0]].arg_cnt if callees else 0
        elif insn.src == isa.PSEUDO_KFUNC_CALL and verified.kfuncs[insn.imm].name in KFUNCS:
            count = len(KFUNCS[verified.kfuncs[insn.imm].name].proto.params)
        return f"{count} arguments" if count else ""

    def _native(self, start: int, end: int) -> Iterator[str]:
        """The machine instructions in [start, end); targets of jumps are offsets in the function."""
        for insn in self.decoder.disasm(self.code[start:end], start):  # type: ignore[no-untyped-call]  # no types
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
