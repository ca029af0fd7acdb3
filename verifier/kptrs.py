"""Pointers to kernel objects inside map values and allocated objects: where an exchange puts them.

Source: process_kptr_func of kernel/bpf/verifier.c.
"""

from typing import Final

from verifier.env import Env
from verifier.fields import reg_btf_record, type_is_ptr_alloc_obj
from verifier.regs import Reg, UsedMap
from verifier.special import KPTR_PERCPU, KPTR_REF, KPTR_UNREF, Field

_KPTRS: Final = frozenset({KPTR_UNREF, KPTR_REF, KPTR_PERCPU})


def process_kptr_func(env: Env, reg: Reg, regno: int) -> tuple[Field, UsedMap | None]:
    """The destination of an exchange: the field, and its map where it lies in one."""
    used = None
    if not type_is_ptr_alloc_obj(reg.type):
        used = reg.map
        if not (used.spec.btf_value or used.spec.btf_key):
            message = f"map '{used.spec.name}' has to have BTF in order to use bpf_kptr_xchg"
            env.refuse("EINVAL", message)
    record = reg_btf_record(env, reg)
    if not reg.is_const:
        env.refuse(
            "EINVAL",
            f"R{regno} doesn't have constant offset. kptr has to be at the constant offset",
        )
    if record is None or not record.has(*_KPTRS):
        env.refuse("EINVAL", f"R{regno} has no valid kptr")
    off = reg.num.value & 0xFFFF_FFFF
    field = record.find(off, _KPTRS)
    shown = reg.num.signed_value
    if field is None:
        env.refuse("EACCES", f"off={shown} doesn't point to kptr")
    if field.kind == KPTR_UNREF:
        env.refuse("EACCES", f"off={shown} kptr isn't referenced kptr")
    return field, used
