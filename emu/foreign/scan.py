"""What native code refers to: every field that holds an address, or may hold one. Knows x86-64, nothing of BPF."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import capstone

from jit.decoder import new_decoder

_S32: Final = 1 << 31
_U64: Final = (1 << 64) - 1
_ADDRESS: Final = 1 << 32  # numbers below are no addresses of a 64-bit process or kernel
_NEAR: Final = 4  # instructions between the load of an address and the call through it


@dataclass(frozen=True, slots=True)
class Insn:
    """A native instruction. off, size: in its function, which lies at base. name: mnemonic; text: operands."""

    off: int
    size: int
    name: str
    text: str
    base: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """A field that refers to something.

    kind: "call" and "jump" (rel32, out of the function or to a function in it), "rel" (rip-relative memory outside), "abs"
    (4 bytes that the processor sign-extends, as memory or as a number), "imm" (8 bytes). value: the address that it
    stands for, in the terms of the function's own address. called: an "imm" that a call or jump goes to; call: the offset
    of that call, or of the call itself.
    """

    off: int
    size: int
    kind: str
    value: int
    called: bool = False
    insn: int = 0  # offset of the instruction
    call: int = 0


@dataclass(frozen=True, slots=True)
class Scan:
    """A function, decoded. insns: all, in order; what is no instruction is one byte with the name ""."""

    insns: tuple[Insn, ...]
    fields: tuple[Field, ...]


@lru_cache(maxsize=1)
def _decoder() -> Any:
    return new_decoder(detail=True)


def scan(code: bytes, base: int, starts: Sequence[int] = (), named: Container[int] = ()) -> Scan:
    """Decode a function that lies at `base`. starts: offsets in it at which other functions of the program begin; named:
    of fields that are known to refer to something, whatever stands in them.
    """
    insns: list[Insn] = []
    fields: list[Field] = []
    loaded: dict[str, tuple[int, int]] = {}  # register -> (place in `fields`, instructions ago)
    at = 0
    while at < len(code):
        one = next(_decoder().disasm(code[at : at + 15], base + at, 1), None)
        if one is None:
            insns.append(Insn(at, 1, "", ""))
            at += 1
            continue
        insns.append(Insn(at, one.size, one.mnemonic, one.op_str, base))
        found = _field(one, at, base, len(code), starts, named)
        _called(one, at, loaded, fields, len(insns))
        if found is not None:
            if found.kind == "imm":
                loaded[one.reg_name(one.operands[0].reg)] = len(fields), len(insns)
            fields.append(found)
        at += one.size
    return Scan(tuple(insns), tuple(fields))


def _called(one: Any, at: int, loaded: dict[str, tuple[int, int]], fields: list[Field], now: int) -> None:
    """A call or jump to what a register holds: the number that was loaded into it is code."""
    if one.mnemonic not in ("call", "jmp") or one.operands[0].type != capstone.x86.X86_OP_REG:
        return
    place, when = loaded.get(one.reg_name(one.operands[0].reg), (0, -_NEAR - 1))
    if now - when <= _NEAR:
        old = fields[place]
        fields[place] = Field(old.off, old.size, old.kind, old.value, True, old.insn, at)


def _field(
    one: Any, at: int, base: int, size: int, starts: Sequence[int], named: Container[int]
) -> Field | None:
    operands = one.operands
    immediate = next((op for op in operands if op.type == capstone.x86.X86_OP_IMM), None)
    if immediate is not None and one.imm_offset:
        value = int(immediate.imm) & _U64
        inside = base <= value < base + size and value - base not in starts
        found = _immediate(one, at, value, inside=inside and at + one.imm_offset not in named)
        if found is not None:
            return found
    memory = next((op for op in operands if op.type == capstone.x86.X86_OP_MEM), None)
    if memory is None or one.disp_size != 4 or (one.mnemonic in ("lea", "nop") and not _is_rip(one, memory)):
        return None
    off = at + one.disp_offset
    disp = int(memory.mem.disp)
    if _is_rip(one, memory):
        target = base + at + one.size + disp
        inside = base <= target < base + size
        return None if inside else Field(off, 4, "rel", target & _U64, insn=at)
    if memory.mem.base == 0:
        return Field(off, 4, "abs", disp & _U64, insn=at)
    return None


def _is_rip(one: Any, memory: Any) -> bool:
    return bool(memory.mem.base) and one.reg_name(memory.mem.base) == "rip"


def _immediate(one: Any, at: int, value: int, *, inside: bool) -> Field | None:
    off, width = at + one.imm_offset, int(one.imm_size)
    branch = one.group(capstone.CS_GRP_JUMP) or one.mnemonic == "call"
    if branch:
        kind = "call" if one.mnemonic == "call" else "jump"
        return None if inside or width != 4 else Field(off, 4, kind, value, insn=at, call=at)
    if width == 8:
        return Field(off, 8, "imm", value, insn=at) if value >= _ADDRESS else None
    if width == 4 and one.mnemonic in ("mov", "push"):
        signed = value & 0xFFFF_FFFF
        signed |= 0xFFFF_FFFF_0000_0000 if signed & _S32 and one.operands[0].size == 8 else 0
        return Field(off, 4, "abs", signed, insn=at)
    return None
