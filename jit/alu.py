"""Arithmetic: one BPF ALU instruction to x86-64 bytes. Source: section D.7 of the convention."""

from typing import Final

from bpf import isa
from bpf.insn import Insn
from jit.emitted import pushing
from jit.errors import CannotLower
from jit.mode import Mode
from jit.regmap import AUX
from jit.x64 import registers as x
from jit.x64.encoder import Form, form

_SIMPLE: Final = {isa.ADD: "add", isa.SUB: "sub", isa.OR: "or", isa.AND: "and", isa.XOR: "xor"}
_SHIFTS: Final = {isa.LSH: "shl", isa.RSH: "shr", isa.ARSH: "sar"}

# Each pair: the 32-bit form, then the 64-bit one; indexed by "is it 64-bit".
_Pair = tuple[Form, Form]


def _pair(text: str) -> _Pair:
    """The forms of `text` for 32 and for 64 bits; `#` stands for the width, and %a for eax or rax."""
    return form(text.replace("#", "32").replace("%a", "eax")), form(
        text.replace("#", "64").replace("%a", "rax")
    )


_ALU_REG: Final = {op: _pair(f"{name} rm#, r#") for op, name in _SIMPLE.items()}
_ALU_IMM8: Final = {op: _pair(f"{name} rm#, imm8") for op, name in _SIMPLE.items()}
_ALU_IMM32: Final = {op: _pair(f"{name} rm#, imm32") for op, name in _SIMPLE.items()}
_ALU_RAX: Final = {op: _pair(f"{name} %a, imm32") for op, name in _SIMPLE.items()}
_SHIFT_1: Final = {op: _pair(f"{name} rm#, 1") for op, name in _SHIFTS.items()}
_SHIFT_IMM: Final = {op: _pair(f"{name} rm#, imm8") for op, name in _SHIFTS.items()}
_SHIFT_CL: Final = {op: _pair(f"{name} rm#, cl") for op, name in _SHIFTS.items()}
_SHIFT_BMI2: Final = {op: _pair(f"{name}x r#, rm#, r#") for op, name in _SHIFTS.items()}
_MOV: Final = _pair("mov rm#, r#")
_NEG: Final = _pair("neg rm#")
_IMUL: Final = _pair("imul r#, rm#")
_IMUL_IMM8: Final = _pair("imul r#, rm#, imm8")
_IMUL_IMM32: Final = _pair("imul r#, rm#, imm32")
_DIV: Final = _pair("div rm#")
_IDIV: Final = _pair("idiv rm#")
_WIDEN: Final = (form("cdq"), form("cqo"))
_XOR32, _XOR64 = _ALU_REG[isa.XOR]
_MOV_IMM32: Final = form("mov r32, imm32")
_MOV_SIGNED: Final = form("mov rm64, imm32")
_MOVABS: Final = form("movabs r64, imm64")
_MOVSX: Final = {
    (8, False): form("movsx r32, rm8"),
    (16, False): form("movsx r32, rm16"),
    (8, True): form("movsx r64, rm8"),
    (16, True): form("movsx r64, rm16"),
    (32, True): form("movsxd r64, rm32"),
}
_ROR16: Final = form("ror rm16, imm8")
_MOVZX16: Final = form("movzx r32, rm16")
_BSWAP32: Final = form("bswap r32")
_BSWAP64: Final = form("bswap r64")
_ROL64: Final = form("rol rm64, imm8")
_TEST32: Final = form("test rm32, r32")
_CMOVE: Final = form("cmove r64, rm64")
_NOTHING: Final = b""


def _save(reg: int) -> tuple[str, bytes, bytes]:
    return x.NAMES64[reg], form("push r64")(reg), form("pop r64")(reg)


_SAVE_RCX: Final = _save(x.RCX)
_SAVE_DIVISION: Final = tuple((reg, _save(reg)) for reg in (x.RAX, x.RDX))


def mov64(dst: int, src: int) -> bytes:
    """`mov dst, src`, nothing when they are the same."""
    return _MOV[1](dst, src) if dst != src else _NOTHING


def mov_imm32(dst: int, value: int, *, signed: bool) -> bytes:
    """`dst = value`, 32 bits, zero-extended, or sign-extended when `signed`."""
    if signed and value & 1 << 31:
        return _MOV_SIGNED(dst, value)
    if value == 0:
        return _XOR32(dst, dst)
    return _MOV_IMM32(dst, value)


def mov_imm64(dst: int, value: int) -> bytes:
    """`dst = value` in the shortest of three ways: zero-extended, sign-extended, whole."""
    value &= isa.U64
    if value <= isa.U32:
        return mov_imm32(dst, value, signed=False)
    if value >= isa.U64 ^ isa.U32 >> 1:
        return _MOV_SIGNED(dst, value & isa.U32)
    return _MOVABS(dst, value)


def movabs(dst: int, value: int) -> bytes:
    """The form with 8 bytes of immediate; also the code of addresses filled in later."""
    return _MOVABS(dst, value)


def mov_signed(dst: int, value: int) -> bytes:
    """The form with 4 bytes of sign-extended immediate."""
    return _MOV_SIGNED(dst, value)


def _is64(insn: Insn) -> bool:
    return insn.code & isa.CLASS_MASK == isa.ALU64


def simple(insn: Insn, mode: Mode) -> bytes:
    """add, sub, or, and, xor by a register or a number."""
    wide = _is64(insn)
    dst = mode.reg(insn.dst)
    op = insn.op
    if insn.code & isa.X:
        return _ALU_REG[op][wide](dst, mode.reg(insn.src))
    if -128 <= insn.imm <= 127:
        return _ALU_IMM8[op][wide](dst, insn.imm)
    if dst == x.RAX:
        return _ALU_RAX[op][wide](insn.imm)
    return _ALU_IMM32[op][wide](dst, insn.imm)


def mov(insn: Insn, mode: Mode) -> bytes:
    """Moves: plain, sign-extending (off 8, 16, 32), of a per-CPU address (off -1), between address spaces (off 1).

    A 32-bit move onto itself is kept: it clears the upper half.
    """
    wide = _is64(insn)
    dst = mode.reg(insn.dst)
    if not insn.code & isa.X:
        return mov_imm32(dst, insn.imm & isa.U32, signed=wide)
    src = mode.reg(insn.src)
    if insn.off == 0:
        return mov64(dst, src) if wide else _MOV[0](dst, src)
    if wide and insn.off == isa.OFF_ADDR_SPACE_CAST:
        return _cast_user(insn, dst, src, mode)
    movsx = _MOVSX.get((insn.off, wide))
    if movsx is None:
        raise CannotLower(f"mov with offset {insn.off}")
    return movsx(dst, src)


def _cast_user(insn: Insn, dst: int, src: int, mode: Mode) -> bytes:
    """A kernel address of the arena as user space sees it; 0 stays 0."""
    if insn.imm != 1 << 16:
        raise CannotLower(f"address space cast {insn.imm:#x}")
    if mode.arena_user is None:
        raise CannotLower("address space cast in a program without an arena")
    upper = mode.arena_user >> 32
    or_form = _ALU_RAX[isa.OR][1](upper) if dst == x.RAX else _ALU_IMM32[isa.OR][1](dst, upper)
    return b"".join(
        (
            _MOV[0](dst, src) if dst != src else _NOTHING,
            _SHIFT_IMM[isa.LSH][1](dst, 32),
            or_form,
            _ROL64(dst, 32),
            _XOR64(AUX, AUX),
            _TEST32(dst, dst),
            _CMOVE(dst, AUX),
        )
    )


def neg(insn: Insn, mode: Mode) -> bytes:
    """dst = -dst."""
    return _NEG[_is64(insn)](mode.reg(insn.dst))


def mul(insn: Insn, mode: Mode) -> bytes:
    """dst *= src or number; the flags are not used, so one form serves both signs."""
    wide = _is64(insn)
    dst = mode.reg(insn.dst)
    if insn.code & isa.X:
        return _IMUL[wide](dst, mode.reg(insn.src))
    if -128 <= insn.imm <= 127:
        return _IMUL_IMM8[wide](dst, dst, insn.imm)
    return _IMUL_IMM32[wide](dst, dst, insn.imm)


def div_mod(insn: Insn, mode: Mode) -> bytes:
    """Division through rax and rdx, which are saved unless they are the destination.

    A divisor in rax or rdx, or a number, goes to r11 first. Division by 0 and of the smallest number by -1 never
    get here: the verifier guards them.
    """
    wide = _is64(insn)
    dst = mode.reg(insn.dst)
    out = []
    if insn.code & isa.X:
        divisor = mode.reg(insn.src)
        if divisor in (x.RAX, x.RDX):
            out.append(_MOV[1](AUX, divisor))
            divisor = AUX
    else:
        out.append(_MOV_SIGNED(AUX, insn.imm))
        divisor = AUX
    if dst != x.RAX:
        out.append(_move(wide, x.RAX, dst))
    if insn.off == 0:
        out += (_XOR32(x.RDX, x.RDX), _DIV[wide](divisor))
    else:
        out += (_WIDEN[wide](), _IDIV[wide](divisor))
    result = x.RDX if insn.op == isa.MOD else x.RAX
    if dst != result:
        out.append(_move(wide, dst, result))
    return pushing([row for reg, row in _SAVE_DIVISION if reg != dst], b"".join(out))


def _move(wide: bool, dst: int, src: int) -> bytes:
    return mov64(dst, src) if wide else _MOV[0](dst, src)


def shift(insn: Insn, mode: Mode) -> bytes:
    """Shifts. By a register: BMI2, unless the count is in rcx already; else through cl."""
    wide = _is64(insn)
    dst = mode.reg(insn.dst)
    op = insn.op
    if not insn.code & isa.X:
        if insn.imm == 1:
            return _SHIFT_1[op][wide](dst)
        return _SHIFT_IMM[op][wide](dst, insn.imm & 0xFF)
    count = mode.reg(insn.src)
    if count == x.RCX:
        return _SHIFT_CL[op][wide](dst)
    if mode.profile.bmi2:
        return _SHIFT_BMI2[op][wide](dst, dst, count)
    if dst == x.RCX:
        return mov64(AUX, dst) + mov64(x.RCX, count) + _SHIFT_CL[op][wide](AUX) + mov64(dst, AUX)
    return pushing([_SAVE_RCX], mov64(x.RCX, count) + _SHIFT_CL[op][wide](dst))


def end(insn: Insn, mode: Mode) -> bytes:
    """Byte order: ALU to little endian cuts, ALU to big endian swaps, ALU64 swaps always."""
    dst = mode.reg(insn.dst)
    swaps = _is64(insn) or bool(insn.code & isa.TO_BE)
    match swaps, insn.imm:
        case True, 16:
            return _ROR16(dst, 8) + _MOVZX16(dst, dst)
        case True, 32:
            return _BSWAP32(dst)
        case True, 64:
            return _BSWAP64(dst)
        case False, 16:
            return _MOVZX16(dst, dst)
        case False, 32:
            return _MOV[0](dst, dst)
        case False, 64:
            return _NOTHING
        case _:
            raise CannotLower(f"byte swap of {insn.imm} bits")
