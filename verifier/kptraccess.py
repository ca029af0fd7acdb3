"""Loads and stores of pointers that a map value holds by its BTF (kptrs and uptrs).

Source: check_map_kptr_access, map_kptr_match_type and btf_ld_kptr_type of kernel/bpf/verifier.c.
"""

from typing import Final

from bpf import isa
from verifier import special
from verifier.btfaccess import Found, mark_btf_ld_reg, struct_ids_match, struct_name
from verifier.env import Env
from verifier.precision import mark_chain_precision
from verifier.regions import check_ptr_off
from verifier.regs import (
    MEM_ALLOC,
    MEM_PERCPU,
    MEM_RCU,
    NON_OWN_REF,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_MEM,
    PTR_TRUSTED,
    PTR_UNTRUSTED,
    Reg,
    pointer_reg,
)
from verifier.sections import in_rcu_cs
from verifier.statelog import reg_type_str

# Kernel objects that are freed after an RCU grace period only, so that a kptr to one is good while reading.
_RCU_PROTECTED: Final = frozenset(
    {"prog_test_ref_kfunc", "cgroup", "bpf_cpumask", "task_struct", "bpf_crypto_ctx"}
)
_NODES: Final = ("bpf_list_node", "bpf_rb_node")


def check_map_kptr_access(env: Env, value_regno: int, field: special.Field) -> None:
    """A whole, aligned access to a kptr: any may be loaded, unreferenced ones stored, with a pointer or 0."""
    insn = env.insns[env.insn_idx]
    if insn.code & isa.MODE_MASK != isa.MEM:
        env.refuse("EACCES", "kptr in map can only be accessed using BPF_MEM instruction mode")
    kind = insn.code & isa.CLASS_MASK
    if kind != isa.LDX and field.kind in (special.KPTR_REF, special.KPTR_PERCPU):
        env.refuse("EACCES", "store to referenced kptr disallowed")
    if kind != isa.LDX and field.kind == special.UPTR:
        env.refuse("EACCES", "store to uptr disallowed")
    if kind == isa.LDX:
        _load(env, value_regno, field)
    elif kind == isa.STX:
        reg = env.regs[value_regno]
        if reg.is_null:
            mark_chain_precision(env, value_regno)  # another number would not have been taken
        else:
            map_kptr_match_type(env, field, reg, value_regno)
    elif insn.imm:
        env.refuse("EACCES", f"BPF_ST imm must be 0 when storing to kptr at off={field.offset}")


def _load(env: Env, regno: int, field: special.Field) -> None:
    if field.kind == special.UPTR:
        assert field.btf is not None
        assert isinstance(field.btf_id, int)
        size = field.btf.size_of(field.btf_id)
        env.regs[regno] = pointer_reg(PTR_TO_MEM | PTR_MAYBE_NULL, id=env.new_id(), aux=size)
        return
    mark_btf_ld_reg(env, regno, Found(PTR_TO_BTF_ID, _loaded_flags(env, field), field.btf, field.btf_id))


def _is_rcu_safe(field: special.Field) -> bool:
    protected = field.btf is not None or field.btf_id in _RCU_PROTECTED
    return field.kind == special.KPTR_PERCPU or (field.kind == special.KPTR_REF and protected)


def _loaded_flags(env: Env, field: special.Field) -> int:
    """Flags of a kptr just loaded: good while RCU protects it, else untrusted; null until compared."""
    if not (_is_rcu_safe(field) and in_rcu_cs(env)):
        return PTR_MAYBE_NULL | PTR_UNTRUSTED
    flags = PTR_MAYBE_NULL | MEM_RCU
    if field.kind == special.KPTR_PERCPU:
        flags |= MEM_PERCPU
    elif field.btf is not None:
        flags |= MEM_ALLOC
    if field.btf is not None and isinstance(field.btf_id, int):
        record = special.record_of(field.btf, field.btf_id, in_map=False)
        if record is not None and record.has(*_NODES):
            flags |= NON_OWN_REF
    return flags


def map_kptr_match_type(env: Env, field: special.Field, reg: Reg, regno: int) -> None:
    """The pointer stored points to what the field holds, and has no flag that the field could not give back."""
    name = ""
    unreferenced = field.kind == special.KPTR_UNREF
    if reg.base == PTR_TO_BTF_ID:
        if reg.btf is None:
            allowed = PTR_MAYBE_NULL | PTR_TRUSTED | MEM_RCU | (PTR_UNTRUSTED if unreferenced else 0)
        else:
            allowed = PTR_MAYBE_NULL | MEM_ALLOC | (MEM_PERCPU if field.kind == special.KPTR_PERCPU else 0)
        lacks = field.kind == special.KPTR_PERCPU and not reg.flags & MEM_PERCPU
        if not reg.flags & ~allowed and not lacks:
            name = struct_name(reg.btf, reg.btf_id)
            check_ptr_off(env, reg, regno, True)
            off, strict = reg.num.signed_value, not unreferenced
            if struct_ids_match(reg.btf, reg.btf_id, off, field.btf, field.btf_id, strict):
                return
    target = struct_name(field.btf, field.btf_id)
    text = f"invalid kptr access, R{regno} type={reg_type_str(reg.type)}{name} "
    text += f"expected={reg_type_str(PTR_TO_BTF_ID)}{target}"
    if unreferenced:
        text += f" or {reg_type_str(PTR_TO_BTF_ID | PTR_UNTRUSTED)}{target}"
    env.refuse("EACCES", text)
