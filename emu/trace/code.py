"""Listings: BPF instructions with source lines, native instructions with the BPF instruction that each belongs to.

Also finds out where in native code a BPF instruction begins, which is where both engines can be compared.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from bpf import isa
from bpf.disasm import disasm
from bpf.program import Program as BpfProgram
from emu.native import function_of, function_starts
from emu.sandbox.images import CodeMap
from emu.sandbox.images import Function as Placed
from emu.trace.trace import Function, Insn, Native, Program, Source
from jit.argflow import ArgumentFlow, Outgoing, parameters, register
from jit.decoder import new_decoder
from jit.image import Image, NativeFunction, Reloc
from jit.picture import spell

_DECODER = new_decoder()
_MAPS = (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX, isa.PSEUDO_MAP_IDX_VALUE)


@dataclass(frozen=True, slots=True)
class Stored:
    """A BPF instruction stores stack argument `argument`, for the calls named; insn: its own number."""

    argument: int
    calls: str
    insn: int


class Code:
    """All functions in place. functions: as the trace has them; programs: those of the functions, in order."""

    def __init__(self, placed: CodeMap) -> None:
        self._placed = placed
        self._programs: list[BpfProgram] = []
        images: dict[str, Image] = {}
        for one in placed.functions:
            if one.image is not None and one.image.verified.program.name not in images:
                images[one.image.verified.program.name] = one.image
                self._programs.append(one.image.verified.program)
        names = [program.name for program in self._programs]
        self.images = images
        self.starts = {name: _names(image) for name, image in images.items()}
        self.places = tuple(_Place(one, placed.functions) for one in placed.functions)
        self.functions = tuple(
            place.function(names.index(place.program) if place.program else -1) for place in self.places
        )
        self.programs = tuple(_program(one, self.starts[one.name]) for one in self._programs)
        self._at: dict[int, int] = {}

    def at(self, addr: int) -> int:
        """The number of the function that holds an address, -1 where there is none."""
        found = self._at.get(addr)
        if found is None:
            placed = self._placed.function_at(addr)
            found = self._at[addr] = -1 if placed is None else self._placed.functions.index(placed)
        return found

    def program(self, name: str) -> BpfProgram | None:
        """A program by its name, None when no image of it is there."""
        return next((one for one in self._programs if one.name == name), None)

    def holder(self, name: str, insn: int) -> int:
        """The number of the native function that an instruction of a program belongs to, -1 where it has none."""
        program = self.program(name)
        if program is None:
            return -1
        start = function_of(program, insn)
        found = (n for n, place in enumerate(self.places) if (place.program, place.start) == (name, start))
        return next(found, -1)


class _Place:
    """What is worked out about one native function.

    begins: native offset -> BPF instruction whose code begins there. groups: native offset -> number of the piece of code
    that it is in, one piece a BPF instruction. stores: native offset -> what is stored by the BPF instruction that begins
    there. start: first instruction in the program.
    """

    def __init__(self, placed: Placed, others: Sequence[Placed]) -> None:
        self.placed = placed
        self.image = placed.image
        self.native: NativeFunction | None = None
        self.program = ""
        self.start = 0
        self.begins: dict[int, int] = {}
        self.stores: dict[int, Stored] = {}
        self.kinds: dict[int, tuple[str, str, int]] = {}  # offset -> mnemonic, operands, size
        self.groups: list[int] = []
        self._exits: list[range] = []
        code = placed.code
        if placed.image is not None:
            image = placed.image
            self.native = image.functions[placed.number]
            self.program = image.verified.program.name
            self.start = _start(image, placed.number)
            code = _direct(placed, self.native, others)
            if self.native.offsets:
                self._groups(image, placed.number, self.native)
                self._stores(image, placed.number, self.native)
            else:
                self._points(image, self.native)
        self.code = code
        for at, size, name, operands in _DECODER.disasm_lite(code, 0):
            self.kinds[at] = (name, operands, size)

    def _groups(self, image: Image, number: int, native: NativeFunction) -> None:
        verified = image.verified
        sub = verified.subprogs[number]
        before = None
        for slot in range(sub.start, sub.end):
            at, end = native.offsets[slot - sub.start], native.offsets[slot - sub.start + 1]
            origin = verified.origin[slot]
            if verified.insns[slot].code == isa.OP_EXIT:
                self._exits.append(range(at, end))
            if end > at and origin != before:
                self.begins[at] = origin
                self.groups.append(at)
                before = origin
        self.groups.sort()

    def _points(self, image: Image, native: NativeFunction) -> None:
        """As `_groups`, of code that another compiler made: as far as it is known what its instructions are for."""
        before = -1
        for at, slot in native.points:
            origin = image.verified.origin[slot] if slot >= 0 else -1
            if origin != before:
                self.groups.append(at)
                if origin >= 0:
                    self.begins[at] = origin
            before = origin

    @property
    def foreign(self) -> bool:
        """Whether nothing is known of where it keeps what: the code of a compiler with frames of its own."""
        return self.native is None or not self.native.offsets

    def group(self, off: int) -> int | None:
        """Where the code of the BPF instruction that holds a native offset begins; None in the prologue."""
        at = bisect_right(self.groups, off) - 1
        if at < 0 or self.native is None or off < self.native.prologue or self.groups[at] not in self.begins:
            return None
        return self.groups[at]

    def leaves(self, off: int) -> bool:
        """Whether a native instruction is of an exit; later ones jump to the first one's code."""
        return any(off in one for one in self._exits)

    def _stores(self, image: Image, number: int, native: NativeFunction) -> None:
        verified, flow = image.verified, ArgumentFlow(image.verified, number)
        sub = verified.subprogs[number]
        for slot in range(sub.start, sub.end):
            for move in flow.moves(slot):
                if isinstance(move, Outgoing) and move.argument > isa.MAX_REG_ARGS + 1:
                    names = [
                        f"{callee.name} at insn {verified.origin[call]}"
                        for call in move.calls
                        if (callee := flow.callee(call)) is not None
                    ]
                    text = " or ".join(dict.fromkeys(names)) or "no call"
                    at = native.offsets[slot - sub.start]
                    self.stores[at] = Stored(move.argument, text, verified.origin[slot])

    def function(self, program: int) -> Function:
        """As the trace has it."""
        placed, native = self.placed, self.native
        relocs = {} if native is None else {reloc.off: reloc for reloc in native.relocs}
        natives = tuple(
            Native(
                at,
                self.code[at : at + size],
                f"{name} {self._operands(at, size, operands, relocs)}".strip(),
                self._insn(at),
            )
            for at, (name, operands, size) in self.kinds.items()
        )
        if placed.image is None or native is None:
            return Function(-1, placed.number, placed.name, placed.addr, 0, 0, (), (), natives)
        verified = placed.image.verified
        sub = verified.subprogs[placed.number]
        params = tuple(spell(param) for param in parameters(verified, placed.number))
        registers = () if self.foreign else tuple(register(sub, number) for number in range(isa.FP + 1))
        return Function(
            program,
            placed.number,
            placed.name,
            placed.addr,
            self.start,
            native.prologue,
            params,
            registers,
            natives,
        )

    def _insn(self, off: int) -> int | None:
        at = self.group(off)
        return None if at is None else self.begins[at]

    def _operands(self, at: int, size: int, text: str, relocs: dict[int, Reloc]) -> str:
        for off in range(at, at + size):
            reloc = relocs.get(off)
            if reloc is not None:
                name = self._target(reloc)
                return name if reloc.kind in ("call", "jump") else f"{text} <{name}>"
        return text

    def _target(self, reloc: Reloc) -> str:
        if reloc.symbol:
            return reloc.symbol
        assert self.image is not None
        if reloc.kind in ("map", "mapval"):
            name = self.image.verified.program.maps[reloc.target].name
            return f"map {name}" if reloc.kind == "map" else f"values of {name} +{reloc.addend:#x}"
        return self.image.functions[reloc.target].name


def _direct(placed: Placed, native: NativeFunction, others: Sequence[Placed]) -> bytes:
    """The function's bytes with calls of BPF functions as they were before they were led through gates."""
    code = bytearray(placed.code)
    for reloc in native.relocs:
        if reloc.kind == "call" and reloc.target >= 0:
            target = next(o for o in others if o.image is placed.image and o.number == reloc.target)
            end = reloc.off + reloc.size
            distance = target.addr - placed.addr - end
            code[reloc.off : end] = distance.to_bytes(reloc.size, "little", signed=True)
    return bytes(code)


def _start(image: Image, number: int) -> int:
    """The first instruction of a function in its program, which may be gone from what is left after verification."""
    verified = image.verified
    return function_of(verified.program, verified.origin[verified.subprogs[number].start])


def _names(image: Image) -> dict[int, str]:
    """Functions of a program by their first instruction; one that is not there any more has no name."""
    names = {start: f"insn {start}" for start in function_starts(image.verified.program)}
    names |= {_start(image, number): sub.name for number, sub in enumerate(image.verified.subprogs)}
    return names


def _program(program: BpfProgram, names: dict[int, str]) -> Program:
    lines = [(line.insn, Source(line.file, line.line, line.text)) for line in program.line_info]
    sources = tuple(dict.fromkeys(source for _, source in lines))
    numbers = {source: number for number, source in enumerate(sources)}
    starts = [at for at, _ in lines]
    insns = []
    for at, insn in enumerate(program.insns):
        if insn.code == 0:
            continue
        line = bisect_right(starts, at) - 1
        source = numbers[lines[line][1]] if line >= 0 else None
        insns.append(Insn(at, instruction_text(program, at, names), source))
    return Program(program.name, tuple(insns), sources, tuple(sorted(names.items())))


def instruction_text(program: BpfProgram, at: int, names: dict[int, str]) -> str:
    """A BPF instruction with names for what it calls and refers to, and with the number that a jump leads to."""
    insn = program.insns[at]
    following = program.insns[at + 1] if at + 1 < len(program.insns) else None
    text = disasm(insn, following)
    if insn.code == isa.OP_CALL:
        kfunc = next((ref.name for ref in program.kfuncs if ref.insn == at), None)
        if insn.src == isa.PSEUDO_CALL:
            return f"call {names.get(at + 1 + insn.imm, text)}"
        return f"call {kfunc}" if kfunc else text.partition("#")[0]
    if insn.code == isa.LD_IMM64 and insn.src in _MAPS and insn.imm < len(program.maps):
        value = insn.src in (isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX_VALUE)
        off = f" value +{following.imm if following else 0}" if value else ""
        return f"r{insn.dst} = map {program.maps[insn.imm].name}{off}"
    if insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_FUNC:
        return f"r{insn.dst} = {names.get(at + 1 + insn.imm, text)}"
    _, goto, distance = text.rpartition("goto pc")
    return f"{text} (to {at + 1 + int(distance)})" if goto else text
