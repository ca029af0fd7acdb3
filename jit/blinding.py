"""Constant blinding: numbers of the program never stand in the code as they are (`bpf_jit_harden`).

Each instruction with a number becomes two that make the number in AX, from a random one and the number xored with it,
and its form with a register. This is a rewriting of BPF, done in the kernel between verifier and emitter, so it comes
here before `compile_program`; that module knows nothing of it. Source: bpf_jit_blind_constants of kernel/bpf/core.c.

Addresses in an ld_imm64 are hidden too, which is why blinded code is made for one `Layout` and has no relocations for
maps: the size of its moves depends on the addresses.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from bpf import isa
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.verified import Subprog, Verified
from jit.errors import JitUnsupported
from jit.image import Layout

_AX: Final = isa.REG_AX
_MOV: Final = {isa.ALU: isa.ALU | isa.MOV, isa.ALU64: isa.ALU64 | isa.MOV}
_XOR: Final = {isa.ALU: isa.ALU | isa.XOR, isa.ALU64: isa.ALU64 | isa.XOR}
_XOR64_X: Final = isa.ALU64 | isa.XOR | isa.X
_OPS: Final = (
    isa.ADD, isa.SUB, isa.AND, isa.OR, isa.XOR, isa.MUL, isa.MOV, isa.DIV, isa.MOD,
)  # fmt: skip
_JUMPS: Final = (
    isa.JEQ, isa.JNE, isa.JGT, isa.JLT, isa.JGE, isa.JLE, isa.JSGT, isa.JSLT, isa.JSGE, isa.JSLE, isa.JSET,
)  # fmt: skip
_PROBE_MEM32: Final = 0xA0
_SIZES: Final = (isa.B, isa.H, isa.W, isa.DW)

# Opcode with a number -> the class that computes the number, and the opcode with a register.
_BLINDED: Final[dict[int, tuple[int, int]]] = {
    **{cls | op: (cls, cls | op | isa.X) for cls in (isa.ALU, isa.ALU64) for op in _OPS},
    **{isa.JMP | op: (isa.ALU64, isa.JMP | op | isa.X) for op in _JUMPS},
    **{isa.JMP32 | op: (isa.ALU, isa.JMP32 | op | isa.X) for op in _JUMPS},
    **{
        isa.ST | mode | size: (isa.ALU64, isa.STX | mode | size)
        for mode in (isa.MEM, _PROBE_MEM32)
        for size in _SIZES
    },
}
_MAP_POINTERS: Final = (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_IDX)
_MAP_VALUES: Final = (isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX_VALUE)


@dataclass(frozen=True, slots=True)
class _New:
    """An instruction of the new program. target: old slot that it jumps to, calls or refers to."""

    insn: Insn
    target: int | None = None


def blind(verified: Verified, numbers: Iterator[int], layout: Layout) -> Verified:
    """`verified` as the kernel hands it to its emitter with `bpf_jit_harden` = 2.

    numbers: the random numbers, 32 bits each; one is taken for every slot in order, also where nothing is hidden, but
    none for the two slots of a function's address. layout: addresses of maps and symbols that ld_imm64 loads; its
    functions are not used. Tail calls are all by index at run time: there are no pokes.

    Raises InputError when the numbers run out or the layout lacks an address, JitUnsupported when a jump no longer
    reaches, as the kernel does, which then refuses the program.
    """
    return _Blinder(verified, numbers, layout).run()


class _Blinder:
    def __init__(self, verified: Verified, numbers: Iterator[int], layout: Layout) -> None:
        self.verified = verified
        self.numbers = numbers
        self.layout = layout
        self.insns = verified.insns

    def run(self) -> Verified:
        pieces = self._pieces()
        place = [0]
        for piece in pieces:
            place.append(place[-1] + len(piece))
        insns: list[Insn] = []
        origin: list[int] = []
        for slot, piece in enumerate(pieces):
            for new in piece:
                insns.append(self._aimed(new, slot, len(insns), place))
                origin.append(self.verified.origin[slot])
        # what belongs to a slot stays with its last instruction; only where jumps lead is its first
        last = [end - 1 for end in place[1:]]
        return replace(
            self.verified,
            insns=tuple(insns),
            origin=tuple(origin),
            subprogs=tuple(_moved(sub, place) for sub in self.verified.subprogs),
            symbols={
                last[slot]: name for slot, name in self.verified.symbols.items() if self.insns[slot].is_call
            },
            arena_args={last[slot]: args for slot, args in self.verified.arena_args.items()},
            indirect_targets=frozenset(place[slot] for slot in self.verified.indirect_targets),
            pokes=(),
        )

    def _pieces(self) -> list[tuple[_New, ...]]:
        pieces: list[tuple[_New, ...]] = []
        value = 0
        slot = 0
        while slot < len(self.insns):
            insn = self.insns[slot]
            if insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_FUNC:
                pieces += [self._function_address(slot), (_New(self.insns[slot + 1]),)]
                slot += 2
                continue
            key = self._number(slot)
            if insn.code == isa.LD_IMM64:
                value = self._value(slot)
                pieces.append(_upper_half(insn.dst, value >> 32, key))
            elif insn.code == 0:
                pieces.append(_lower_half(self.insns[slot - 1].dst, value & isa.U32, key))
            else:
                pieces.append(self._hidden(slot, key))
            slot += 1
        return pieces

    def _number(self, slot: int) -> int:
        number = next(self.numbers, None)
        if number is None:
            raise InputError(self.verified.program.name, f"insn {slot}", "no random number left for blinding")
        return number & isa.U32

    def _function_address(self, slot: int) -> tuple[_New, ...]:
        insn = self.insns[slot]
        target = slot + 1 + insn.imm if self.verified.several_functions else None
        return (_New(insn, target),)

    def _value(self, slot: int) -> int:
        """What the ld_imm64 at `slot` loads."""
        insn, upper = self.insns[slot], self.insns[slot + 1].imm & isa.U32
        if insn.src in _MAP_POINTERS:
            return self._address(self.layout.maps, insn.imm, slot)
        if insn.src in _MAP_VALUES:
            return self._address(self.layout.values, insn.imm, slot) + upper & isa.U64
        if slot in self.verified.symbols:
            return self._symbol(slot)
        return insn.imm & isa.U32 | upper << 32

    def _address(self, addresses: tuple[int, ...], number: int, slot: int) -> int:
        if not 0 <= number < len(addresses):
            raise InputError(self.verified.program.name, f"insn {slot}", f"no address for map {number}")
        return addresses[number]

    def _symbol(self, slot: int) -> int:
        name = self.verified.symbols[slot]
        try:
            return self.layout.symbols[name] & isa.U64
        except KeyError:
            raise InputError(self.verified.program.name, f"insn {slot}", f"no address for {name}") from None

    def _hidden(self, slot: int, key: int) -> tuple[_New, ...]:
        insn = self.insns[slot]
        if insn.code == isa.OP_TAIL_CALL:
            return (_New(Insn(isa.OP_TAIL_CALL)),)
        target = _target(insn, slot)
        imm = insn.imm & isa.U32
        if insn.code in _MOV.values():
            if slot in self.verified.symbols:
                imm = self._symbol(slot) & isa.U32
            if imm == 0 and _AX not in (insn.dst, insn.src):
                return (_New(Insn(_XOR64_X, insn.dst, insn.dst)),)
        blinded = _BLINDED.get(insn.code)
        if blinded is None or _AX in (insn.dst, insn.src):
            return (_New(insn, target),)
        cls, code = blinded
        made = (_New(_imm(_MOV[cls], key ^ imm)), _New(_imm(_XOR[cls], key)))
        return (*made, _New(Insn(code, insn.dst, _AX, insn.off), target))

    def _aimed(self, new: _New, slot: int, at: int, place: list[int]) -> Insn:
        """The instruction, now at `at`, with its distance in the new program."""
        if new.target is None:
            return new.insn
        insn = new.insn
        if not 0 <= new.target <= len(self.insns):
            raise JitUnsupported(self.verified.program.name, slot, "jump out of the program")
        distance = place[new.target] - at - 1
        if insn.is_call or insn.code in (isa.OP_GOTOL, isa.LD_IMM64):
            return replace(insn, imm=distance)
        if not -(1 << 15) <= distance < 1 << 15:
            raise JitUnsupported(
                self.verified.program.name, slot, "jump does not reach its target once constants are blinded"
            )
        return replace(insn, off=distance)


def _imm(code: int, value: int) -> Insn:
    return Insn(code, _AX, imm=isa.sext(value, 32))


def _upper_half(dst: int, value: int, key: int) -> tuple[_New, ...]:
    return (
        _New(_imm(_MOV[isa.ALU64], key ^ value)),
        _New(_imm(_XOR[isa.ALU64], key)),
        _New(Insn(isa.ALU64 | isa.LSH, _AX, imm=32)),
        _New(Insn(isa.ALU64 | isa.MOV | isa.X, dst, _AX)),
    )


def _lower_half(dst: int, value: int, key: int) -> tuple[_New, ...]:
    return (
        _New(_imm(_MOV[isa.ALU], key ^ value)),
        _New(_imm(_XOR[isa.ALU], key)),
        _New(Insn(isa.ALU64 | isa.OR | isa.X, dst, _AX)),
    )


def _target(insn: Insn, slot: int) -> int | None:
    """The slot that a jump or a call of a BPF function leads to, None for everything else."""
    if insn.cls not in (isa.JMP, isa.JMP32) or insn.code in (isa.OP_EXIT, isa.OP_GOTOX):
        return None
    if insn.is_call:
        return slot + 1 + insn.imm if insn.src == isa.PSEUDO_CALL else None
    if insn.cls == isa.JMP32 and insn.op == isa.JA:
        return slot + 1 + insn.imm
    return slot + 1 + insn.off


def _moved(sub: Subprog, place: list[int]) -> Subprog:
    return replace(sub, start=place[sub.start], end=place[sub.end])
