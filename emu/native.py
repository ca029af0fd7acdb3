"""From BPF instructions to the native code that they became, and back to text and source lines."""

from bisect import bisect_right
from dataclasses import dataclass

from bpf import isa
from bpf.disasm import disasm
from bpf.program import LineInfo, Program
from jit.decoder import new_decoder
from jit.image import Image, Layout, NativeFunction

_DECODER = new_decoder()


@dataclass(frozen=True, slots=True)
class NativeCode:
    """The native instructions of one BPF instruction. function: its name; addr: of the first; lines: assembly."""

    function: str
    addr: int
    code: bytes
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.addr:#x} <{self.function}> {'; '.join(self.lines) or 'nothing'}"


def slots_of(image: Image, insn: int) -> list[int]:
    """Slots of `Verified.insns` that instruction `insn` of the program became."""
    return [slot for slot, origin in enumerate(image.verified.origin) if origin == insn]


def native_code(image: Image, layout: Layout, codes: tuple[bytes, ...], slot: int) -> NativeCode:
    """The placed native code of one slot of `Verified.insns`."""
    starts = [sub.start for sub in image.verified.subprogs]
    number = bisect_right(starts, slot) - 1
    sub, function = image.verified.subprogs[number], image.functions[number]
    if function.offsets:
        first, last = function.offsets[slot - sub.start], function.offsets[slot - sub.start + 1]
    else:
        first, last = _span(function, slot)
    addr = layout.functions[number] + first
    code = codes[number][first:last]
    lines = tuple(f"{name} {text}".strip() for _, _, name, text in _DECODER.disasm_lite(code, addr))
    return NativeCode(function.name, addr, code, lines)


def _span(function: NativeFunction, slot: int) -> tuple[int, int]:
    """First and last offset of the native instructions that are known to be of a slot; an empty range if none is."""
    ends = [*(off for off, _ in function.points[1:]), len(function.code)]
    mine = [(off, end) for (off, known), end in zip(function.points, ends, strict=False) if known == slot]
    return (mine[0][0], mine[-1][1]) if mine else (0, 0)


def source_line(program: Program, insn: int) -> LineInfo | None:
    """The line_info that covers an instruction, None where there is none."""
    starts = [line.insn for line in program.line_info]
    at = bisect_right(starts, insn) - 1
    return program.line_info[at] if at >= 0 else None


def function_starts(program: Program) -> tuple[int, ...]:
    """The first instruction of every function, ascending: what func_info names, what is called, whose address is taken."""
    starts = {0} | {info.insn for info in program.func_info}
    for at, insn in enumerate(program.insns):
        src = insn.src
        if (src == isa.PSEUDO_CALL and insn.code == isa.OP_CALL) or (
            src == isa.PSEUDO_FUNC and insn.code == isa.LD_IMM64
        ):
            starts.add(at + 1 + insn.imm)
    return tuple(sorted(starts))


def function_of(program: Program, insn: int) -> int:
    """The first instruction of the function that holds an instruction."""
    starts = function_starts(program)
    return starts[bisect_right(starts, insn) - 1]


def bpf_text(program: Program, insn: int) -> str:
    """`insn 12: r1 = *(u64 *)(r2 +8)`, calls of kfuncs by name."""
    if not 0 <= insn < len(program.insns):
        return f"insn {insn}"
    name = next((ref.name for ref in program.kfuncs if ref.insn == insn), None)
    if name is not None:
        return f"insn {insn}: call {name}"
    following = program.insns[insn + 1] if insn + 1 < len(program.insns) else None
    return f"insn {insn}: {disasm(program.insns[insn], following)}"


def argument_source(program: Program, call: int, argument: int) -> int | None:
    """The nearest instruction before a call, in straight line, that puts an argument in its place; None if unseen."""
    starts = {info.insn for info in program.func_info} | {0}
    for at in range(call - 1, -1, -1):
        insn = program.insns[at]
        if argument > isa.MAX_REG_ARGS:
            stored = isa.is_stack_arg_store(insn.code, insn.dst, insn.off)
            if stored and isa.store_slot(insn.off) == argument - isa.MAX_REG_ARGS - 1:
                return at
        elif insn.dst == argument and insn.cls in (isa.ALU, isa.ALU64, isa.LDX, isa.LD) and insn.code:
            return at
        if at in starts or insn.code in (isa.OP_CALL, isa.OP_EXIT, isa.OP_JA):
            return None
    return None
