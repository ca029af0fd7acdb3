"""Atomic instructions: read-modify-write, load-acquire and store-release.

Sources: check_atomic, check_atomic_rmw, check_atomic_load, check_atomic_store, atomic_ptr_type_ok of
kernel/bpf/verifier.c.
"""

from typing import Final

from bpf import isa
from bpf.insn import Insn
from verifier.env import Env, check_dst, check_src
from verifier.history import reg_place
from verifier.loads import check_load_mem, check_store_reg, save_aux_ptr_type
from verifier.memory import check_mem_access
from verifier.regions import BPF_READ, BPF_WRITE
from verifier.regs import (
    PTR_TO_ARENA,
    PTR_TO_BTF_ID,
    PTR_TO_CTX,
    PTR_TO_FLOW_KEYS,
    PTR_TO_PACKET,
    PTR_TO_PACKET_META,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_TCP_SOCK,
    PTR_TO_XDP_SOCK,
    PTR_UNTRUSTED,
)
from verifier.statelog import reg_type_str

_RMW: Final = frozenset(
    {op | fetch for op in (isa.ADD, isa.AND, isa.OR, isa.XOR) for fetch in (0, isa.FETCH)}
    | {isa.XCHG, isa.CMPXCHG}
)
_LOOPS: Final = frozenset(op | isa.FETCH for op in (isa.AND, isa.OR, isa.XOR))
_NO_ATOMICS: Final = frozenset(
    {
        PTR_TO_CTX,
        PTR_TO_PACKET,
        PTR_TO_PACKET_META,
        PTR_TO_FLOW_KEYS,
        PTR_TO_SOCKET,
        PTR_TO_SOCK_COMMON,
        PTR_TO_TCP_SOCK,
        PTR_TO_XDP_SOCK,
    }
)


def check_atomic(env: Env, insn: Insn) -> None:
    """One instruction of class STX and mode ATOMIC."""
    if insn.imm in _RMW:
        _read_modify_write(env, insn)
    elif insn.imm == isa.LOAD_ACQ:
        check_src(env, insn.src)
        _check_pointer(env, insn, insn.src, "loads from")
        if env.history is not None:
            env.history.begin(reg_place(env.func, insn.dst), env.regs[insn.dst])
        check_load_mem(env, insn, strict=True, allow_trust_mismatch=False)
        if env.history is not None:
            env.history.end()
    elif insn.imm == isa.STORE_REL:
        check_store_reg(env, insn, strict=True)
        _check_pointer(env, insn, insn.dst, "stores into")
    else:
        env.explain_insn()
        env.refuse("EINVAL", f"BPF_ATOMIC uses invalid atomic opcode {insn.imm & isa.U32:02x}")


def _check_pointer(env: Env, insn: Insn, regno: int, what: str) -> None:
    """Memory behind some pointers is accessed by rewritten code, which is not atomic."""
    kind = env.regs[regno].type
    is_unsafe = insn.imm == isa.LOAD_ACQ and (kind == PTR_TO_BTF_ID or kind & PTR_UNTRUSTED)
    is_loop = (
        kind == PTR_TO_ARENA and insn.imm in _LOOPS
    )  # which the JIT cannot make of an access that may fault
    if kind in _NO_ATOMICS or is_unsafe or is_loop:
        env.refuse("EACCES", f"BPF_ATOMIC {what} R{regno} {reg_type_str(kind)} is not allowed")


def _read_modify_write(env: Env, insn: Insn) -> None:
    size = isa.SIZE_BYTES[insn.code & isa.SIZE_MASK]
    if size < 4:
        env.refuse("EINVAL", "invalid atomic operand size")
    check_src(env, insn.src)
    check_src(env, insn.dst)
    if insn.imm == isa.CMPXCHG:
        check_src(env, isa.R0)
    _check_pointer(env, insn, insn.dst, "stores into")
    old = isa.R0 if insn.imm == isa.CMPXCHG else insn.src if insn.imm & isa.FETCH else -1
    if old >= 0:
        check_dst(env, old)
    pointer_type = env.regs[insn.dst].type
    at = env.insn_idx
    check_mem_access(env, at, insn.dst, insn.off, size, BPF_READ, -1, strict_alignment_once=True)
    if old >= 0:
        if env.history is not None:
            env.history.begin(reg_place(env.func, old), env.regs[old])
        check_mem_access(env, at, insn.dst, insn.off, size, BPF_READ, old, strict_alignment_once=True)
        if env.history is not None:
            env.history.end()
    save_aux_ptr_type(env, pointer_type)
    check_mem_access(env, at, insn.dst, insn.off, size, BPF_WRITE, -1, strict_alignment_once=True)
