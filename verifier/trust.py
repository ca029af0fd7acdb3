"""Which pointers are certain to be valid, or at least not null, without a look at the program's checks.

Sources: is_trusted_reg, reg_not_null of kernel/bpf/verifier.c, bpf_type_has_unsafe_modifiers of bpf_verifier.h.
"""

from typing import Final

from verifier.env import Env
from verifier.references import reg_is_referenced
from verifier.regions import BPF_MAX_VAR_OFF
from verifier.regs import (
    CONST_PTR_TO_MAP,
    MEM_ALLOC,
    NON_OWN_REF,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_MAP_KEY,
    PTR_TO_MAP_VALUE,
    PTR_TO_MEM,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_TCP_SOCK,
    PTR_TO_XDP_SOCK,
    PTR_TRUSTED,
    PTR_UNTRUSTED,
    Reg,
    base_type,
    type_flag,
)

TRUSTED_MODIFIERS: Final = MEM_ALLOC | PTR_TRUSTED | NON_OWN_REF
_ALWAYS_TRUSTED: Final = frozenset({PTR_TO_SOCKET, PTR_TO_SOCK_COMMON, PTR_TO_TCP_SOCK, CONST_PTR_TO_MAP})
_NEVER_NULL: Final = frozenset(
    {
        PTR_TO_SOCKET,
        PTR_TO_TCP_SOCK,
        PTR_TO_MAP_VALUE,
        PTR_TO_MAP_KEY,
        PTR_TO_SOCK_COMMON,
        PTR_TO_XDP_SOCK,
        CONST_PTR_TO_MAP,
    }
)


def bpf_type_has_unsafe_modifiers(reg_type: int) -> bool:
    """Whether some flag of the type takes trust away."""
    return bool(type_flag(reg_type) & ~TRUSTED_MODIFIERS)


def is_trusted_reg(env: Env, reg: Reg) -> bool:
    """Whether the kernel vouches for the object: it is held, of a kind that is never stale, or marked so."""
    if reg_is_referenced(env, reg):
        return True
    if bpf_type_has_unsafe_modifiers(reg.type):
        return False
    return base_type(reg.type) in _ALWAYS_TRUSTED or bool(reg.type & TRUSTED_MODIFIERS)


def reg_not_null(env: Env, reg: Reg) -> bool:
    """Whether a comparison of the pointer with 0 has a known outcome.

    Far from its object a pointer may come round to 0.
    """
    if reg.type & PTR_MAYBE_NULL:
        return False
    if reg.num.mask and not -BPF_MAX_VAR_OFF < reg.num.smin <= reg.num.smax < BPF_MAX_VAR_OFF:
        return False
    base = base_type(reg.type)
    if base in _NEVER_NULL:
        return True
    if base == PTR_TO_BTF_ID:
        return is_trusted_reg(env, reg)
    return base == PTR_TO_MEM and not reg.type & PTR_UNTRUSTED
