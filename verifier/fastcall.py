"""Spills around calls that keep registers, as compilers write them for older kernels.

Such a pattern is `*(u64 *)(r10 - 8) = r1; call f; r1 = *(u64 *)(r10 - 8)` where f does not touch r1; the spills may be
taken out when nothing else uses their slots. Source: mark_fastcall_patterns of kernel/bpf/verifier.c,
bpf_remove_fastcall_spills_fills of kernel/bpf/fixups.c; who else uses the slots is verifier/stack.py's question.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from bpf import isa
from bpf.helpers import HELPERS
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS

if TYPE_CHECKING:
    from verifier.env import Env
    from verifier.found import SubprogInfo

_STX_DW: Final = isa.STX | isa.MEM | isa.DW
_LDX_DW: Final = isa.LDX | isa.MEM | isa.DW
_SPILL_AND_FILL: Final = frozenset({_STX_DW, _LDX_DW})
_NOP: Final = Insn(isa.OP_JA)
_CALLER_SAVED: Final = 0b11_1111
# helpers that calls are replaced by a few instructions on x86-64: get_smp_processor_id, get_current_task, ..._btf
_INLINED: Final = frozenset({8, 35, 158})


def mark_fastcall_patterns(env: "Env", targets: Collection[int]) -> None:
    """Finds the patterns of all functions; SubprogInfo.fastcall_stack_off is where their slots end.

    targets: instructions that something jumps to. A pattern counts as far as nobody enters it behind its first spill.
    """
    if _SPILL_AND_FILL - {insn.code for insn in env.insns}:
        return
    for info in env.subprogs:
        function = info.function
        lowest = 0
        for at in range(function.start, function.end):
            insn = env.insns[at]
            if insn.code == _STX_DW and insn.dst == isa.FP:
                lowest = min(lowest, insn.off)
        if lowest == 0:
            continue
        for at in env.layout.points_of(function):
            insn = env.insns[at]
            if insn.code == isa.OP_CALL and insn.src != isa.PSEUDO_CALL:
                _mark_pattern(env, info, at, lowest, targets)


def _call_summary(env: "Env", at: int) -> tuple[int, bool, bool] | None:
    """Parameters of what is called, whether it returns nothing, whether it leaves other registers alone."""
    insn = env.insns[at]
    if insn.src == isa.HELPER_CALL:
        helper = HELPERS.get(insn.imm)
        if helper is None:
            return None
        return helper.nargs, helper.ret.kind == "RET_VOID", helper.fastcall and insn.imm in _INLINED
    proto = env.kfuncs.get(at)
    if proto is None:
        return None
    kfunc = KFUNCS.get(proto.name)
    return len(proto.params), proto.ret.kind == "void", kfunc is not None and "fastcall" in kfunc.flags


def _mark_pattern(env: "Env", info: "SubprogInfo", at: int, lowest: int, targets: Collection[int]) -> None:
    summary = _call_summary(env, at)
    if summary is None:
        return
    count, is_void, fastcall = summary
    clobbered = (1 << count + 1) - (2 if is_void else 1)
    expected = ~clobbered & _CALLER_SAVED
    off = lowest
    pairs = 0
    for i in range(1, 7):
        if at - i < 0 or at + i >= len(env.insns):
            break
        entered = at - i + 1 in targets or at + i in targets
        if entered or not _is_pair(env.insns[at - i], env.insns[at + i], off, expected):
            break
        stx = env.insns[at - i]
        expected &= ~(1 << stx.src)
        env.aux[at - i].in_fastcall = env.aux[at + i].in_fastcall = True
        off += 8
        pairs = i
    if not pairs:
        return
    info.has_fastcall_patterns = True
    if fastcall:
        env.aux[at].fastcall_spills_num = pairs
    else:
        info.keep_fastcall_stack = True
    info.fastcall_stack_off = min(info.fastcall_stack_off, off)


def _is_pair(stx: Insn, ldx: Insn, off: int, expected: int) -> bool:
    """A spill to a slot and the fill of the same register, one of the mask `expected`, from it."""
    return (
        stx.code == _STX_DW
        and ldx.code == _LDX_DW
        and stx.dst == ldx.src == isa.FP
        and stx.src == ldx.dst
        and bool(expected >> stx.src & 1)
        and stx.off == ldx.off == off
    )


def remove_spills(env: "Env") -> None:
    """Spills and fills of the patterns that are left become jumps to the next instruction, and take no stack any more.

    A pattern whose call is no fastcall, in the same function, keeps the stack as it is.
    """
    found = [at for at in env.layout.points if env.aux[at].fastcall_spills_num]
    if not found:
        return
    insns = list(env.insns)
    for at in found:
        for i in range(1, env.aux[at].fastcall_spills_num + 1):
            insns[at - i] = insns[at + i] = _NOP
        info = env.subprogs[env.layout.at(at).index]
        if not info.keep_fastcall_stack:
            info.stack_depth = -info.fastcall_stack_off
    env.insns = insns
