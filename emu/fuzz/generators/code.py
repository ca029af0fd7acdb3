"""Instructions in the making: rows of five numbers, jumps that find their targets, calls by name. Chooses nothing."""

from collections.abc import Sequence
from functools import lru_cache

from bpf import isa
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.program import FuncInfo, KfuncRef, Program
from emu.fuzz.generators.prototypes import Signature, btf_of

Row = tuple[int, int, int, int, int]  # code, dst, src, off, imm

MOV_IMM = isa.ALU64 | isa.MOV | isa.K
MOV_REG = isa.ALU64 | isa.MOV | isa.X
ADD_IMM = isa.ALU64 | isa.ADD | isa.K
ADD_REG = isa.ALU64 | isa.ADD | isa.X
LDX_DW = isa.LDX | isa.MEM | isa.DW
STX_DW = isa.STX | isa.MEM | isa.DW
ST_DW = isa.ST | isa.MEM | isa.DW


@lru_cache(maxsize=1 << 16)
def insn_of(code: int, dst: int, src: int, off: int, imm: int) -> Insn:
    """The instruction; most are met again and again, and making one is slow."""
    return Insn(code, dst, src, off, imm)


class Code:
    """The instructions of one function; jumps within it are relative, calls are resolved by `link`."""

    __slots__ = ("calls", "kfuncs", "rows", "tables")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.calls: list[tuple[int, str]] = []
        self.kfuncs: list[tuple[int, str, str]] = []
        self.tables: list[tuple[int, list[int]]] = []

    def put(self, code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        """One instruction."""
        self.rows.append((code, dst, src, off, imm))

    def mov(self, dst: int, src: int) -> None:
        """dst = src."""
        self.rows.append((MOV_REG, dst, src, 0, 0))

    def mov_imm(self, dst: int, imm: int) -> None:
        """dst = imm, extended by sign."""
        self.rows.append((MOV_IMM, dst, 0, 0, imm))

    def add_imm(self, dst: int, imm: int) -> None:
        """dst += imm."""
        self.rows.append((ADD_IMM, dst, 0, 0, imm))

    def wide(self, dst: int, value: int) -> None:
        """dst = value of 64 bits."""
        self.rows.append((isa.LD_IMM64, dst, 0, 0, isa.sext(value, 32)))
        self.rows.append((0, 0, 0, 0, isa.sext(value >> 32, 32)))

    def map(self, dst: int, index: int) -> None:
        """dst = the map."""
        self.rows.append((isa.LD_IMM64, dst, isa.PSEUDO_MAP_FD, 0, index))
        self.rows.append((0, 0, 0, 0, 0))

    def map_value(self, dst: int, index: int, off: int) -> None:
        """dst = the address of byte `off` of an array's values."""
        self.rows.append((isa.LD_IMM64, dst, isa.PSEUDO_MAP_VALUE, 0, index))
        self.rows.append((0, 0, 0, 0, off))

    def load(self, dst: int, base: int, off: int) -> None:
        """dst = the 8 bytes at base + off."""
        self.rows.append((LDX_DW, dst, base, off, 0))

    def store(self, base: int, off: int, src: int) -> None:
        """The 8 bytes at base + off = src."""
        self.rows.append((STX_DW, base, src, off, 0))

    def store_imm(self, base: int, off: int, imm: int) -> None:
        """The 8 bytes at base + off = imm."""
        self.rows.append((ST_DW, base, 0, off, imm))

    def jump(self, code: int = isa.OP_JA, dst: int = 0, src: int = 0, imm: int = 0) -> int:
        """A jump to a place that `land` will name."""
        self.rows.append((code, dst, src, 0, imm))
        return len(self.rows) - 1

    def land(self, jump: int) -> None:
        """The jump goes to the next instruction."""
        self._aim(jump, len(self.rows))

    def back(self, target: int, code: int = isa.OP_JA, dst: int = 0, src: int = 0, imm: int = 0) -> None:
        """A jump to the instruction at `target`."""
        self._aim(self.jump(code, dst, src, imm), target)

    def _aim(self, jump: int, target: int) -> None:
        code, dst, src, off, imm = self.rows[jump]
        distance = target - jump - 1
        self.rows[jump] = (
            (code, dst, src, off, distance) if code == isa.OP_GOTOL else (code, dst, src, distance, imm)
        )

    def call(self, name: str) -> None:
        """A call of a function of the program."""
        self.calls.append((len(self.rows), name))
        self.rows.append((isa.OP_CALL, 0, isa.PSEUDO_CALL, 0, 0))

    def address(self, dst: int, name: str) -> None:
        """dst = the address of a function of the program."""
        self.calls.append((len(self.rows), name))
        self.rows.append((isa.LD_IMM64, dst, isa.PSEUDO_FUNC, 0, 0))
        self.rows.append((0, 0, 0, 0, 0))

    def table(self, dst: int, off: int = 0) -> list[int]:
        """dst = the address of byte `off` of a new jump table. The caller fills it: with rows of this function."""
        entries: list[int] = []
        self.tables.append((len(self.rows), entries))
        self.map_value(dst, 0, off)
        return entries

    def helper(self, number: int) -> None:
        """A call of a helper."""
        self.rows.append((isa.OP_CALL, 0, isa.HELPER_CALL, 0, number))

    def kfunc(self, name: str, module: str) -> None:
        """A call of a kfunc."""
        self.kfuncs.append((len(self.rows), name, module))
        self.rows.append((isa.OP_CALL, 0, isa.PSEUDO_KFUNC_CALL, 0, 0))

    def exit(self) -> None:
        """Return to the caller."""
        self.rows.append((isa.OP_EXIT, 0, 0, 0, 0))


def jump_table(number: int, entries: Sequence[int]) -> MapSpec:
    """A map of instructions that a gotox may go to."""
    elems = tuple(
        (at.to_bytes(4, "little"), entry.to_bytes(4, "little").ljust(16, b"\0"))
        for at, entry in enumerate(entries)
    )
    return MapSpec(f"jumps{number}", MapType.INSN_ARRAY, 4, 16, len(entries), elems=elems, freeze=True)


def link(
    name: str,
    functions: Sequence[tuple[Signature, Code]],
    *,
    prog_type: str,
    prog_flags: int = 0,
    maps: tuple[MapSpec, ...] = (),
) -> Program:
    """The program that these functions make, the main function first; their jump tables come behind `maps`."""
    starts: dict[str, int] = {}
    at = 0
    for signature, code in functions:
        starts[signature.name] = at
        at += len(code.rows)
    insns: list[Insn] = []
    kfuncs: list[KfuncRef] = []
    for signature, code in functions:
        start = starts[signature.name]
        for row, callee in code.calls:
            op, dst, src, off, _ = code.rows[row]
            code.rows[row] = (op, dst, src, off, starts[callee] - start - row - 1)
        for row, entries in code.tables:
            op, dst, src, off, _ = code.rows[row]
            code.rows[row] = (op, dst, src, off, len(maps))
            maps = (*maps, jump_table(len(maps), [start + entry for entry in entries]))
        insns += [insn_of(*row) for row in code.rows]
        kfuncs += [KfuncRef(start + row, kfunc, module) for row, kfunc, module in code.kfuncs]
    btf, ids = btf_of([signature for signature, _ in functions])
    info = tuple(
        [FuncInfo(starts[signature.name], tid) for (signature, _), tid in zip(functions, ids, strict=True)]
    )
    return Program(
        name,
        tuple(insns),
        prog_type=prog_type,
        prog_flags=prog_flags,
        btf=btf,
        func_info=info,
        maps=maps,
        kfuncs=tuple(kfuncs),
    )
