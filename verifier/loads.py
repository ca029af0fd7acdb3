"""Loads, stores and ld_imm64: which operands they need and what the destination holds then.

What may be accessed is decided in verifier/memory.py and verifier/stack.py. Sources: check_load_mem, check_store_reg,
check_ld_imm, save_aux_ptr_type of kernel/bpf/verifier.c.
"""

from typing import Final

from bpf import isa
from bpf.insn import Insn
from bpf.kernelvars import KERNEL_VARS
from bpf.maps import MapType
from verifier.env import Env, check_dst, check_src
from verifier.memory import check_mem_access
from verifier.regions import BPF_READ, BPF_WRITE
from verifier.regs import (
    CONST_PTR_TO_MAP,
    MEM_PERCPU,
    MEM_RDONLY,
    NOT_INIT,
    PTR_TO_ARENA,
    PTR_TO_BTF_ID,
    PTR_TO_CTX,
    PTR_TO_FUNC,
    PTR_TO_MAP_VALUE,
    PTR_TO_MEM,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_TCP_SOCK,
    PTR_TO_XDP_SOCK,
    PTR_UNTRUSTED,
    UNKNOWN_REG,
    Reg,
    base_type,
    const_reg,
    pointer_reg,
)
from verifier.stackargs import check_stack_arg_read, check_stack_arg_write

# Accesses through these are rewritten by type, so that an instruction may have one type only.
_REWRITTEN: Final = frozenset(
    {
        PTR_TO_CTX,
        PTR_TO_SOCKET,
        PTR_TO_SOCK_COMMON,
        PTR_TO_TCP_SOCK,
        PTR_TO_XDP_SOCK,
        PTR_TO_BTF_ID,
        PTR_TO_ARENA,
    }
)
_MEM_OR_BTF: Final = frozenset({PTR_TO_MEM, PTR_TO_BTF_ID})


def check_load_mem(
    env: Env, insn: Insn, *, strict: bool = False, is_ldsx: bool = False, allow_trust_mismatch: bool = True
) -> None:
    """`dst = *(size *)(src + off)`, also of an incoming stack argument."""
    if insn.src == isa.REG_PARAMS:
        check_dst(env, insn.dst, mark=False)
        check_stack_arg_read(env, insn.off, insn.dst)
        return
    pointer_type = check_src(env, insn.src).type
    check_dst(env, insn.dst, mark=False)
    check_mem_access(
        env,
        env.insn_idx,
        insn.src,
        insn.off,
        isa.SIZE_BYTES[insn.code & isa.SIZE_MASK],
        BPF_READ,
        insn.dst,
        strict_alignment_once=strict,
        is_ldsx=is_ldsx,
    )
    save_aux_ptr_type(env, pointer_type, allow_trust_mismatch=allow_trust_mismatch)


def check_store_reg(env: Env, insn: Insn, *, strict: bool = False) -> None:
    """`*(size *)(dst + off) = src`, also of an outgoing stack argument."""
    src = check_src(env, insn.src)
    if insn.dst == isa.REG_PARAMS:
        check_stack_arg_write(env, insn.off, src)
        return
    pointer_type = check_src(env, insn.dst).type
    check_mem_access(
        env,
        env.insn_idx,
        insn.dst,
        insn.off,
        isa.SIZE_BYTES[insn.code & isa.SIZE_MASK],
        BPF_WRITE,
        insn.src,
        strict_alignment_once=strict,
    )
    save_aux_ptr_type(env, pointer_type)


def check_store_imm(env: Env, insn: Insn) -> None:
    """`*(size *)(dst + off) = imm`, also of an outgoing stack argument."""
    if insn.dst == isa.REG_PARAMS:
        check_stack_arg_write(env, insn.off, None, insn.imm)
        return
    pointer_type = check_src(env, insn.dst).type
    size = isa.SIZE_BYTES[insn.code & isa.SIZE_MASK]
    check_mem_access(env, env.insn_idx, insn.dst, insn.off, size, BPF_WRITE, -1)
    save_aux_ptr_type(env, pointer_type)


# ---- one instruction, one type of pointer


def save_aux_ptr_type(env: Env, reg_type: int, *, allow_trust_mismatch: bool = False) -> None:
    """All paths access memory here through pointers that the same code can serve."""
    aux = env.aux[env.insn_idx]
    seen = aux.ptr_type
    if seen == reg_type:
        return
    if seen == NOT_INIT:
        aux.ptr_type = reg_type
        return
    bases = {base_type(seen), base_type(reg_type)}
    faults = may_fault(seen) or may_fault(reg_type)
    if not faults and not bases & _REWRITTEN:
        return
    if not allow_trust_mismatch or not bases <= _MEM_OR_BTF:
        env.refuse("EINVAL", "same insn cannot be used with different pointers")
    # The code for what is trusted less serves both.
    merged = PTR_TO_MEM if PTR_TO_MEM in bases else PTR_TO_BTF_ID
    if faults:
        aux.ptr_type = merged | PTR_UNTRUSTED | (MEM_RDONLY if merged == PTR_TO_MEM else 0)
    else:
        aux.ptr_type = merged | (seen | reg_type) & MEM_RDONLY


def may_fault(reg_type: int) -> bool:
    """Types of pointers through which a load needs its fault caught (bpf_may_fault_on_deref)."""
    return reg_type == PTR_TO_BTF_ID or bool(reg_type & PTR_UNTRUSTED)


# ---- constants and addresses


def check_ld_imm(env: Env, insn: Insn) -> None:
    """An ld_imm64: a number, a map, the address of a map's value, a function or a kernel variable."""
    if insn.code & isa.SIZE_MASK != isa.DW:
        env.refuse("EINVAL", "invalid BPF_LD_IMM insn")
    check_dst(env, insn.dst, mark=False)
    upper = env.insns[env.insn_idx + 1].imm
    if insn.src == 0:
        env.regs[insn.dst] = const_reg(upper << 32 | insn.imm & isa.U32)
    elif insn.src == isa.PSEUDO_BTF_ID:
        made = KERNEL_VARS[
            insn.imm
        ].type  # of each CPU its own: nothing to access before a helper tells which
        env.regs[insn.dst] = pointer_reg(PTR_TO_BTF_ID | MEM_PERCPU, aux=(None, made))
    elif insn.src == isa.PSEUDO_FUNC:
        env.regs[insn.dst] = _function(env, insn)
    else:
        env.regs[insn.dst] = _map(env, insn, upper)


def _function(env: Env, insn: Insn) -> Reg:
    subprogno = env.layout.starting_at(env.insn_idx + insn.imm + 1).index
    if not env.program.func_info:
        env.refuse("EINVAL", "missing btf func_info")
    if env.subprogs[subprogno].function.is_global:
        env.refuse("EINVAL", "callback function not static")
    if not subprogno:
        env.refuse("EINVAL", "callback function cannot be the main program")
    return pointer_reg(PTR_TO_FUNC, aux=subprogno)


def _map(env: Env, insn: Insn, upper: int) -> Reg:
    used = env.maps[insn.imm]
    if insn.src not in (isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX_VALUE):
        return pointer_reg(CONST_PTR_TO_MAP, aux=(used, 0))
    if used.spec.type == MapType.ARENA:
        return UNKNOWN_REG
    return pointer_reg(PTR_TO_MAP_VALUE, upper & isa.U32, aux=(used, 0))
