"""Bytes to instructions and back. The only place that knows the byte layout."""

import struct
from collections.abc import Iterable
from functools import lru_cache

from bpf import isa
from bpf.errors import InputError
from bpf.insn import Insn

_SLOT = struct.Struct("<BBhi")


@lru_cache(maxsize=1 << 16)
def _decode_slot(slot: bytes) -> Insn:
    code, regs, off, imm = _SLOT.unpack(slot)
    return Insn(code, regs & 15, regs >> 4, off, imm)


def decode(data: bytes, what: str = "program") -> tuple[Insn, ...]:
    """All 8-byte slots of `data`, little-endian. Raises InputError when the length is no multiple of 8."""
    if len(data) % isa.INSN_SIZE:
        raise InputError(what, f"byte {len(data) - len(data) % 8}", f"{len(data) % 8} bytes left over: not a whole instruction")
    return tuple(_decode_slot(data[at : at + 8]) for at in range(0, len(data), 8))


def encode(insns: Iterable[Insn]) -> bytes:
    """The bytes of `insns`, 8 a slot."""
    return b"".join(_SLOT.pack(i.code, i.src << 4 | i.dst, i.off, i.imm) for i in insns)
