"""Native code read back by a disassembler: whole instructions, and jumps that lead where their BPF jumps do."""

from collections.abc import Iterator

from bpf import isa
from bpf.verified import Verified
from jit.decoder import new_decoder
from jit.image import Image

_DECODER = new_decoder()
_BRANCHES = frozenset(
    {
        isa.JEQ,
        isa.JNE,
        isa.JGT,
        isa.JGE,
        isa.JLT,
        isa.JLE,
        isa.JSET,
        isa.JSGT,
        isa.JSGE,
        isa.JSLT,
        isa.JSLE,
        isa.JA,
    }
)


def check_code(image: Image, number: int) -> Iterator[tuple[str, str, int]]:
    """Kind, message and slot (-1 for none) of what is wrong with function `number`."""
    function, sub = image.functions[number], image.verified.subprogs[number]
    jumps: dict[int, int] = {}  # end of a native jump -> where it leads
    starts = set()
    end = 0
    relocated = {reloc.off for reloc in function.relocs}
    for at, size, name, operands in _DECODER.disasm_lite(function.code, 0):
        starts.add(at)
        end = at + size
        if name[0] == "j" and operands[:2] == "0x" and end - 4 not in relocated:
            jumps[end] = int(operands, 16)
    if end != len(function.code):
        yield "bytes", f"no instruction at {end:#x} of {len(function.code):#x} bytes", -1
        return
    starts.add(end)
    offsets = function.offsets
    for index, at in enumerate(offsets):
        if at not in starts:
            yield (
                "bytes",
                f"the code of an instruction begins at {at:#x}, within a native one",
                sub.start + index,
            )
            return
    for after, target in jumps.items():
        if target not in starts or target == end:
            yield "jump", f"the jump before {after:#x} leads to {target:#x}, where no instruction begins", -1
    for slot in range(sub.start, sub.end):
        wanted = _target(image.verified, slot)
        if wanted is None or not sub.start <= wanted < sub.end:
            continue
        native = jumps.get(offsets[slot - sub.start + 1])
        if offsets[slot - sub.start] == offsets[slot - sub.start + 1]:
            native = offsets[slot - sub.start + 1]  # no code: it goes on behind
        if native != offsets[wanted - sub.start]:
            text = f"the jump leads to {native}, its target begins at {offsets[wanted - sub.start]}"
            yield "jump", text, slot


def _target(verified: Verified, slot: int) -> int | None:
    """Where a jump leads, None for what is none."""
    insn = verified.insns[slot]
    if insn.cls not in (isa.JMP, isa.JMP32) or insn.op not in _BRANCHES or insn.code == isa.OP_GOTOX:
        return None
    return slot + 1 + (insn.imm if insn.code == isa.OP_GOTOL else insn.off)
