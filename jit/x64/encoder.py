"""The encoder: a form of the table and its operands to bytes.

`form(text)` is called at import by those who emit code; it resolves a row once, so that encoding searches nothing:

      66 F0 65 | 0100WRXB | opcode | mod reg r/m | scale index base | disp8/32 | imm
      prefixes   REX                 ModRM         SIB

Knows x86-64, not BPF. A memory operand always has a displacement, also when it is 0, as the kernel's emitter does, unless it is None.
"""

from dataclasses import dataclass, field
from typing import Final

from bpf.errors import InternalError
from jit.x64.forms import FORMS


@dataclass(frozen=True, slots=True)
class Mem:
    """The memory at base + index * scale + disp; base None: at disp alone. index must not be rsp.

    disp None: no displacement is written; the base is then neither rsp, rbp, r12 nor r13.
    """

    base: int | None
    disp: int | None = 0
    index: int | None = None
    scale: int = 1


_IMPLIED: Final = ("al", "eax", "rax", "cl", "1")
_IMM_SIZE: Final = {"ib": 1, "iw": 2, "id": 4, "io": 8, "cb": 1, "cd": 4}
_VEX_PP: Final = {"NP": 0, "66": 1, "F3": 2, "F2": 3}
_REMEMBERED: Final = 1024  # encodings that a form keeps
_REX_W: Final = 0x48
_REX: Final = 0x40
_SCALE: Final = {1: 0x00, 2: 0x40, 4: 0x80, 8: 0xC0}


def _imm(value: int, size: int) -> bytes:
    """`value` in `size` bytes: anything that fits signed or unsigned; InternalError otherwise."""
    bits = 8 * size
    if not -(1 << (bits - 1)) <= value < 1 << bits:
        raise InternalError(f"{value:#x} does not fit into {size} bytes")
    return (value & ((1 << bits) - 1)).to_bytes(size, "little")


@dataclass(frozen=True, slots=True)
class Form:
    """A resolved row.

    roles: for each operand "reg" (ModRM.reg), "rm" (register in ModRM.rm), "mem", "op" (in the opcode), "vvvv" or
    "imm". rex: REX byte that is always there, or 0. digit: ModRM.reg of forms without a register there.
    imm: bytes of immediate. bytes_: which operands are 8-bit registers. vex: second and third byte without their
    register bits, or None. remembered: encodings made already.
    """

    text: str
    prefix: bytes
    rex: int
    opcode: bytes
    digit: int
    roles: tuple[str, ...]
    imm: int
    bytes_: tuple[bool, ...]
    vex: tuple[int, int] | None
    remembered: dict[tuple[int | Mem, ...], bytes] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, *operands: int | Mem) -> bytes:
        """The bytes of the instruction with these operands, in the order of the text."""
        code = self.remembered.get(operands)
        if code is None:
            if len(self.remembered) >= _REMEMBERED:
                self.remembered.clear()
            code = self.remembered[operands] = self._encode(operands)
        return code

    def _encode(self, operands: tuple[int | Mem, ...]) -> bytes:
        if len(operands) != len(self.roles):
            raise InternalError(f"{self.text}: {len(operands)} operands")
        reg = max(self.digit, 0)
        has_modrm = self.digit >= 0
        rm: int | Mem | None = None
        rex = self.rex
        vvvv = 0
        tail = b""
        for operand, role, is_byte in zip(operands, self.roles, self.bytes_, strict=True):
            if role == "imm":
                assert isinstance(operand, int)
                tail = _imm(operand, self.imm)
            elif role == "reg":
                assert isinstance(operand, int)
                reg, has_modrm = operand, True
            elif role == "vvvv":
                assert isinstance(operand, int)
                vvvv = operand
            else:
                rm = operand
            if is_byte and isinstance(operand, int) and 4 <= operand < 8:
                rex |= _REX  # without a REX these numbers are ah, ch, dh, bh
        if self.vex is not None:
            assert isinstance(rm, int)
            first = self.vex[0] | (reg < 8) << 7 | 1 << 6 | (rm < 8) << 5
            second = self.vex[1] | (~vvvv & 15) << 3
            return bytes((0xC4, first, second, *self.opcode, 0xC0 | (reg & 7) << 3 | rm & 7)) + tail
        opcode = self.opcode
        modrm = b""
        if has_modrm:
            if reg >= 8:
                rex |= _REX | 4
            bits, modrm = _modrm(reg & 7, rm)
            rex |= bits
        elif isinstance(rm, int):
            if rm >= 8:
                rex |= _REX | 1
            opcode = opcode[:-1] + bytes((opcode[-1] | rm & 7,))
        head = bytes((rex,)) if rex else b""
        return self.prefix + head + opcode + modrm + tail


def _modrm(reg: int, rm: int | Mem | None) -> tuple[int, bytes]:
    """REX bits (with 0x40 when any is set) and the ModRM, SIB and displacement bytes of an r/m operand."""
    if isinstance(rm, int):
        return (_REX | 1 if rm >= 8 else 0), bytes((0xC0 | reg << 3 | rm & 7,))
    assert rm is not None
    base, disp, index, scale = rm.base, rm.disp, rm.index, rm.scale
    if base is None:
        return 0, bytes((reg << 3 | 4, 0x25)) + _imm(disp or 0, 4)
    bits = _REX | 1 if base >= 8 else 0
    if disp is None:
        mod, shown = 0, b""
    elif -128 <= disp <= 127:
        mod, shown = 0x40, _imm(disp, 1)
    else:
        mod, shown = 0x80, _imm(disp, 4)
    if index is not None:
        if index >= 8:
            bits |= _REX | 2
        return bits, bytes((mod | reg << 3 | 4, _SCALE[scale] | (index & 7) << 3 | base & 7)) + shown
    if base & 7 == 4:  # rsp and r12 are written with a SIB byte of their own
        return bits, bytes((mod | reg << 3 | 4, 0x24)) + shown
    return bits, bytes((mod | reg << 3 | base & 7,)) + shown


def _role(operand: str, encoding: list[str], earlier: list[str]) -> str:
    """What an operand of the text is in the encoding; `earlier`: roles of the operands before it."""
    if operand.startswith(("imm", "rel")):
        return "imm"
    if operand.startswith(("m", "abs")):
        return "mem"
    if operand.startswith("rm"):
        return "rm"
    if any("+r" in part for part in encoding):
        return "op"
    return "vvvv" if "reg" in earlier else "reg"


def _operand_roles(operands: list[str], parts: list[str]) -> list[str]:
    roles: list[str] = []
    for operand in operands:
        roles.append(_role(operand, parts, roles))
    return roles


def _opcode_bytes(parts: list[str]) -> tuple[bytes, bytes, int]:
    """Prefix bytes, opcode bytes and REX base of an encoding."""
    prefix = bytearray()
    opcode = bytearray()
    rex = 0
    for part in parts:
        if part in ("REX", "REX.W"):
            rex = _REX_W if part == "REX.W" else _REX
        elif part in ("66", "F0", "65") and not opcode and not rex:
            prefix.append(int(part, 16))
        elif part[0] != "/" and part not in _IMM_SIZE:
            opcode.append(int(part.removesuffix("+r"), 16))
    return bytes(prefix), bytes(opcode), rex


def _resolve(text: str, encoding: str) -> Form:
    parts = encoding.split()
    digit = -1
    for part in parts:
        if part[0] == "/" and part != "/r":
            digit = int(part[1:])
    imm = next((size for name, size in _IMM_SIZE.items() if name in parts), 0)
    vex: tuple[int, int] | None = None
    if parts[0].startswith("VEX."):
        _, pp, _map, width = parts.pop(0).split(".")
        vex = (2, (width == "W1") << 7 | _VEX_PP[pp])
    prefix, opcode, rex = _opcode_bytes(parts)
    names: list[str] = []
    mnemonic, _, rest = text.removeprefix("lock ").partition(" ")
    if mnemonic != "nop":
        names = [name for name in rest.split(", ") if name and name not in _IMPLIED]
    roles = tuple(_operand_roles(names, parts))
    return Form(
        text, prefix, rex, opcode, digit, roles, imm, tuple(name in ("r8", "rm8") for name in names), vex
    )


_TABLE: Final = {text: _resolve(text, encoding) for text, encoding in FORMS}


def form(text: str) -> Form:
    """The form with this text. Raises InternalError when the table has none."""
    try:
        return _TABLE[text]
    except KeyError:
        raise InternalError(f"no instruction form {text!r}") from None


def forget() -> None:
    """Forget all encodings made so far; for measurements."""
    for one in _TABLE.values():
        one.remembered.clear()
