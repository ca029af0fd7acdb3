"""Which registers, and which halves of them, are read later: a data flow backwards over all instructions.

Source: bpf_compute_live_registers of kernel/bpf/liveness.c; C.10 of the rules for stack arguments.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from bpf import isa
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from verifier.availability import callable_helper
from verifier.flow import Flow

if TYPE_CHECKING:
    from verifier.env import Env

_WIDE: Final = 0x1_0001  # both halves of r0
_NARROW: Final = 1  # its lower half
_HIGH: Final = 16
_ALL: Final = 0xFFFF_FFFF
_CALLER_SAVED: Final = 0b11_1111
_ARGS: Final = 0b11_1110


def num_params(env: "Env", at: int) -> int | None:
    """Arguments of the helper or kfunc called at an instruction, None if that is not known (bpf_get_call_summary)."""
    insn = env.insns[at]
    if insn.src == isa.HELPER_CALL:
        helper = callable_helper(env, insn.imm)
        return None if helper is None else helper.nargs
    if insn.src == isa.PSEUDO_KFUNC_CALL and at in env.kfuncs:
        proto = env.kfuncs[at]
        kfunc = KFUNCS.get(proto.name)
        # one that gets the program, too, which no caller passes
        return len(proto.params) + (kfunc is not None and "implicit_args" in kfunc.flags)
    return None


def compute_live_registers(env: "Env", flow: Flow) -> None:
    """Sets Env.live_regs and InsnAux.zext_dst of all instructions that can be reached."""
    live, behind = _live_halves(env.insns, flow, lambda at: num_params(env, at))
    env.live_regs = [(halves | halves >> _HIGH) & 0xFFFF for halves in live]
    for at in _narrow_writes(env.insns, behind):
        env.aux[at].zext_dst = True


def narrow_writes(insns: Sequence[Insn], flow: Flow) -> frozenset[int]:
    """Instructions that write 32 bits of a register whose upper half is read later, if any call reads r1 to r5."""
    return frozenset(_narrow_writes(insns, _live_halves(insns, flow, lambda _: None)[1]))


def _narrow_writes(insns: Sequence[Insn], behind: Sequence[int]) -> list[int]:
    found = []
    for at, insn in enumerate(insns):
        if insn.code in _MAY_BE_NARROW:
            reg = _def32(insn)
            if reg >= 0 and behind[at] >> _HIGH + reg & 1:
                found.append(at)
    return found


def _live_halves(
    insns: Sequence[Insn], flow: Flow, params: Callable[[int], int | None]
) -> tuple[list[int], list[int]]:
    """For each instruction the halves that are read there or later, and those that are read behind it.

    Bit r is the lower half of Rr, bit 16 + r the upper one.
    """
    effects = _effects(insns, params)
    live = [0] * len(insns)
    behind = [0] * len(insns)
    succ = flow.succ
    changed = True
    while changed:
        changed = False
        for first, last in reversed(flow.blocks):
            known = live[first]
            out = 0
            for to in succ[last]:
                out |= live[to]
            for at in range(last, first - 1, -1):
                behind[at] = out
                use, define = effects[at]
                live[at] = out = out & ~define | use
            changed |= out != known and not flow.forward
    return live, behind


def _effects(insns: Sequence[Insn], params: Callable[[int], int | None]) -> list[tuple[int, int]]:
    """Halves that each instruction reads and writes."""
    effects = []
    for at, insn in enumerate(insns):
        operands = _OPERANDS[insn.code]
        if operands is not None:
            of_dst, of_src, written = operands
            effects.append((of_dst << insn.dst | of_src << insn.src, written << insn.dst))
        else:
            effects.append(_jump(insn, at, params) if insn.code == isa.OP_CALL else _known_effect(insn))
    return effects


def _def32(insn: Insn) -> int:
    """The register of which an instruction writes the lower half only, -1 for none (bpf_insn_def32)."""
    match insn.cls:
        case isa.ALU:
            return -1 if insn.op == isa.END and insn.imm == 64 else insn.dst
        case isa.ALU64:
            return insn.dst if insn.op == isa.END and insn.imm in (16, 32) else -1
        case isa.LDX:
            return -1 if insn.size == 8 or insn.mode == isa.MEMSX else insn.dst
        case isa.LD:
            return -1 if insn.mode == isa.IMM else insn.dst
        case isa.STX if insn.mode == isa.ATOMIC and insn.size != 8:
            return _fetched_into(insn)
        case _:
            return -1


def _fetched_into(insn: Insn) -> int:
    """The register that an atomic operation writes, -1 for none."""
    if insn.imm == isa.CMPXCHG:
        return isa.R0
    if insn.imm == isa.LOAD_ACQ:
        return insn.dst
    return insn.src if insn.imm & isa.FETCH else -1


def _known_effect(insn: Insn) -> tuple[int, int]:
    """Halves that an instruction reads and writes that is no call; what is not known reads all.

    A register that is written counts as written in full: the upper half becomes 0 or the sign.
    """
    src, dst = _WIDE << insn.src, _WIDE << insn.dst
    cls = insn.cls
    if cls == isa.LD:
        return (0, dst) if insn.code == isa.LD_IMM64 else (_ALL, 0)
    if cls == isa.LDX:
        return (src, dst) if insn.mode in (isa.MEM, isa.MEMSX) else (_ALL, 0)
    if cls == isa.ST:
        return (dst, 0) if insn.mode == isa.MEM else (_ALL, 0)
    if cls == isa.STX:
        return _stx(insn, src, dst)
    if cls in (isa.ALU, isa.ALU64):
        return _alu(insn, dst)
    return _jump(insn, 0, _no_params)


def _no_params(_at: int) -> None:
    return None


def _stx(insn: Insn, src: int, dst: int) -> tuple[int, int]:
    value = _WIDE if insn.size == 8 else _NARROW
    if insn.mode == isa.MEM:
        return dst | value << insn.src, 0
    if insn.mode != isa.ATOMIC:
        return _ALL, 0
    if insn.imm == isa.CMPXCHG:
        return value | dst | value << insn.src, _WIDE
    if insn.imm == isa.LOAD_ACQ:
        return src, dst
    if insn.imm != isa.STORE_REL and insn.imm & isa.FETCH:
        return dst | value << insn.src, src
    return dst | value << insn.src, 0


def _alu(insn: Insn, dst: int) -> tuple[int, int]:
    if insn.op == isa.END:
        return dst, dst
    width = _WIDE if insn.cls == isa.ALU64 else _NARROW
    source = width << insn.src if insn.code & isa.X else 0
    return source if insn.op == isa.MOV else source | width << insn.dst, dst


def _jump(insn: Insn, at: int, params: Callable[[int], int | None]) -> tuple[int, int]:
    width = _WIDE if insn.cls == isa.JMP else _NARROW
    if insn.op == isa.JA:
        return (_WIDE << insn.dst if insn.code & isa.X else 0), 0
    if insn.op == isa.JCOND:
        return 0, 0
    if insn.op == isa.EXIT:
        return _WIDE, 0
    if insn.op == isa.CALL:
        count = params(at)
        args = _ARGS if count is None else (1 << min(count, isa.MAX_REG_ARGS) + 1) - 2
        return args * _WIDE, _CALLER_SAVED * _WIDE
    used = width << insn.dst
    return (used | width << insn.src if insn.code & isa.X else used), 0


# Opcodes for which `_def32` may find a register; for byte swaps and atomic operations the immediate tells.
_MAY_BE_NARROW: Final = frozenset(
    code for code in range(256) for imm in (16, isa.CMPXCHG) if _def32(Insn(code, imm=imm)) >= 0
)


def _operands(code: int) -> tuple[int, int, int] | None:
    """What an opcode reads of its dst and its src, and writes of its dst, as halves of r0; None if that is not all."""
    cls, op = code & isa.CLASS_MASK, code & isa.OP_MASK
    if cls in (isa.JMP, isa.JMP32) and op in (isa.CALL, isa.EXIT):
        return None
    if cls == isa.STX and code & isa.MODE_MASK == isa.ATOMIC:
        return None
    # r0 and r8: their halves lie apart
    read, written = _known_effect(Insn(code, 0, 8))
    return None if read == _ALL else (read & _WIDE, read >> 8 & _WIDE, written)


_OPERANDS: Final = tuple(_operands(code) for code in range(256))
