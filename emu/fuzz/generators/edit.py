"""A program whose instructions can be taken out, doubled and moved: jumps and calls refer to lines, not to distances."""

from dataclasses import replace

from bpf import isa
from bpf.insn import Insn
from bpf.opcodes import form_of
from bpf.program import FuncInfo, KfuncRef, Program
from emu.fuzz.generators.code import insn_of

_CONDITIONAL = (
    isa.JEQ, isa.JGT, isa.JGE, isa.JSET, isa.JNE, isa.JSGT, isa.JSGE, isa.JLT, isa.JLE, isa.JSLT, isa.JSLE,
)  # fmt: skip
_JUMPS = frozenset(
    {isa.OP_GOTOL, isa.OP_JA, isa.OP_MAY_GOTO}
    | {cls | op | src for cls in (isa.JMP, isa.JMP32) for op in _CONDITIONAL for src in (isa.K, isa.X)}
)
_MAY_REFER = _JUMPS | {isa.OP_CALL, isa.LD_IMM64}
_RELATIVE_IMM = ((isa.OP_CALL, isa.PSEUDO_CALL), (isa.LD_IMM64, isa.PSEUDO_FUNC), (isa.OP_GOTOL, 0))


class Line:
    """One instruction, of one slot or two (`high` is not None). target: what it jumps to, calls or takes the address of."""

    __slots__ = ("code", "dst", "high", "imm", "kfunc", "off", "src", "target")

    def __init__(self, insn: Insn) -> None:
        self.code, self.dst, self.src, self.off, self.imm = insn.code, insn.dst, insn.src, insn.off, insn.imm
        self.high: int | None = None
        self.target: Line | None = None
        self.kfunc: tuple[str, str] | None = None

    def copy(self) -> "Line":
        """Another line that is the same."""
        made = Line(self.insn())
        made.high, made.target, made.kfunc = self.high, self.target, self.kfunc
        return made

    def insn(self) -> Insn:
        """Its first slot; the distance in it means nothing."""
        return insn_of(self.code, self.dst, self.src, self.off, self.imm)

    @property
    def in_imm(self) -> bool:
        """Whether a distance lies in imm, else in off."""
        return (self.code, self.src) in _RELATIVE_IMM

    @property
    def jumps(self) -> bool:
        """Whether it is a jump within its function."""
        return self.code in _JUMPS


class Text:
    """All lines of a program. starts: the first line of each function with a prototype, and the id of its type.

    tables: the maps, with the lines that their elements name where they are jump tables.
    """

    def __init__(self, program: Program) -> None:
        """Raises ValueError for a program that is no text: a jump that leads nowhere, a lone half of an ld_imm64."""
        self.program = program
        self.lines: list[Line] = []
        at: dict[int, Line] = {}
        insns = program.insns
        index = 0
        while index < len(insns):
            line = Line(insns[index])
            at[index] = line
            self.lines.append(line)
            if line.code == isa.LD_IMM64:
                if index + 1 == len(insns):
                    raise ValueError("half an instruction")
                line.high = insns[index + 1].imm
                index += 1
            index += 1
        for index, line in at.items():
            if line.code in _MAY_REFER and (line.code in _JUMPS or line.in_imm):
                target = index + 1 + (line.imm if line.in_imm else line.off)
                if target not in at:
                    raise ValueError("a jump to nowhere")
                line.target = at[target]
        for ref in program.kfuncs:
            at[ref.insn].kfunc = (ref.name, ref.module)
        self.starts = [(at[info.insn], info.type_id) for info in program.func_info]
        if any(jump not in at for spec in program.maps for jump in spec.jumps):
            raise ValueError("a jump table that leads nowhere")
        self.tables = [(spec, [at[jump] for jump in spec.jumps]) for spec in program.maps]

    def without(self, index: int) -> None:
        """Takes a line out; what referred to it refers to the next one. A function's last line stays."""
        line = self.lines[index]
        if index + 1 == len(self.lines) or any(start is self.lines[index + 1] for start, _ in self.starts):
            return
        following = self.lines[index + 1]
        del self.lines[index]
        for other in self.lines:
            if other.target is line:
                other.target = following
        self.starts = [(following if start is line else start, tid) for start, tid in self.starts]
        for _, jumps in self.tables:
            jumps[:] = [following if jump is line else jump for jump in jumps]

    def function_of(self, index: int) -> range:
        """Indices of the lines of the function that line `index` is in."""
        starts = [self.lines.index(start) for start, _ in self.starts] or [0]
        first = max((at for at in starts if at <= index), default=0)
        return range(first, min((at for at in starts if at > index), default=len(self.lines)))

    def assembled(self) -> Program | None:
        """The program; None where a distance does not fit its field."""
        places: dict[int, int] = {}
        at = 0
        for line in self.lines:
            places[id(line)] = at
            at += 1 if line.high is None else 2
        insns: list[Insn] = []
        kfuncs: list[KfuncRef] = []
        for line in self.lines:
            off, imm = line.off, line.imm
            if line.target is not None:
                distance = places[id(line.target)] - places[id(line)] - 1
                if line.in_imm:
                    imm = distance
                elif -0x8000 <= distance <= 0x7FFF:
                    off = distance
                else:
                    return None
            if line.kfunc is not None:
                kfuncs.append(KfuncRef(len(insns), *line.kfunc))
            insns.append(insn_of(line.code, line.dst, line.src, off, imm))
            if line.high is not None:
                insns.append(insn_of(0, 0, 0, 0, line.high))
        info = tuple(FuncInfo(places[id(start)], tid) for start, tid in self.starts)
        maps = tuple(
            spec.with_jumps([places[id(jump)] for jump in jumps]) if jumps else spec
            for spec, jumps in self.tables
        )
        return replace(
            self.program, insns=tuple(insns), kfuncs=tuple(kfuncs), func_info=info, line_info=(), maps=maps
        )


def is_form(line: Line) -> bool:
    """Whether the line is an instruction at all."""
    return form_of(line.insn()) is not None
