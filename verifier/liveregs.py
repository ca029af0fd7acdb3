"""Which registers are read later: a data flow backwards over all instructions.

Source: bpf_compute_live_registers of kernel/bpf/liveness.c; C.10 of the rules for stack arguments.
"""

from typing import TYPE_CHECKING, Final

from bpf import isa
from bpf.helpers import HELPERS
from bpf.insn import Insn
from verifier.flow import Flow

if TYPE_CHECKING:
    from verifier.env import Env

_ALL: Final = 0xFFFF
_CALLER_SAVED: Final = 0b11_1111
_ARGS: Final = 0b11_1110
_DEAD: Final = tuple(tuple(r for r in range(10) if not mask >> r & 1) for mask in range(1 << 10))


def num_params(env: "Env", at: int) -> int | None:
    """Arguments of the helper or kfunc called at an instruction, None if that is not known (bpf_get_call_summary)."""
    insn = env.insns[at]
    if insn.src == isa.HELPER_CALL:
        helper = HELPERS.get(insn.imm)
        return None if helper is None else helper.nargs
    if insn.src == isa.PSEUDO_KFUNC_CALL and at in env.kfuncs:
        return len(env.kfuncs[at].params)
    return None


def compute_live_registers(env: "Env", flow: Flow) -> None:
    """Sets InsnAux.live_regs of all instructions that can be reached."""
    effects = [_use_def(env, at, insn) for at, insn in enumerate(env.insns)]
    live = [0] * len(env.insns)
    order = [at for postorder in flow.postorder for at in postorder]
    succ = flow.succ
    changed = True
    while changed:
        changed = False
        for at in order:
            out = 0
            for to in succ[at]:
                out |= live[to]
            use, define = effects[at]
            before = out & ~define | use
            if before != live[at]:
                live[at] = before
                changed = True
    for aux, mask in zip(env.aux, live, strict=True):
        aux.live_regs = mask
        aux.dead_regs = _DEAD[mask & 0x3FF]


def _use_def(env: "Env", at: int, insn: Insn) -> tuple[int, int]:
    """Registers that an instruction reads and writes; what is not known reads all."""
    src, dst = 1 << insn.src, 1 << insn.dst
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
        return _alu(insn, src, dst)
    return _jump(env, at, insn, src, dst)


def _stx(insn: Insn, src: int, dst: int) -> tuple[int, int]:
    if insn.mode == isa.MEM:
        return dst | src, 0
    if insn.mode != isa.ATOMIC:
        return _ALL, 0
    if insn.imm == isa.CMPXCHG:
        return 1 | dst | src, 1
    if insn.imm == isa.LOAD_ACQ:
        return src, dst
    if insn.imm != isa.STORE_REL and insn.imm & isa.FETCH:
        return dst | src, src
    return dst | src, 0


def _alu(insn: Insn, src: int, dst: int) -> tuple[int, int]:
    if insn.op == isa.END:
        return dst, dst
    source = src if insn.code & isa.X else 0
    return source if insn.op == isa.MOV else source | dst, dst


def _jump(env: "Env", at: int, insn: Insn, src: int, dst: int) -> tuple[int, int]:
    if insn.op == isa.JA:
        return (dst if insn.code & isa.X else 0), 0
    if insn.op == isa.JCOND:
        return 0, 0
    if insn.op == isa.EXIT:
        return 1, 0
    if insn.op == isa.CALL:
        count = num_params(env, at)
        args = _ARGS if count is None else (1 << min(count, isa.MAX_REG_ARGS) + 1) - 2
        return args, _CALLER_SAVED
    return (dst | src if insn.code & isa.X else dst), 0
