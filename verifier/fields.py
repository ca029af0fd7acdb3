"""Special fields (locks, timers, kptrs, list heads, ...) of what a register points to.

Source: reg_btf_record of kernel/bpf/verifier.c.
"""

from verifier.env import Env
from verifier.maps import Record, map_record, struct_record
from verifier.regs import MEM_ALLOC, PTR_TO_BTF_ID, PTR_TO_MAP_VALUE, PTR_UNTRUSTED, Reg


def type_is_ptr_alloc_obj(reg_type: int) -> bool:
    """A pointer to an object of a type of the program's own BTF, that is certain to live."""
    return reg_type & 0xFF == PTR_TO_BTF_ID and reg_type & (MEM_ALLOC | PTR_UNTRUSTED) == MEM_ALLOC


def reg_btf_record(env: Env, reg: Reg) -> Record | None:
    """The special fields of the map value or allocated object; None where there are none."""
    if reg.type == PTR_TO_MAP_VALUE:
        return map_record(env, reg.map)
    if type_is_ptr_alloc_obj(reg.type) and reg.btf is not None and isinstance(reg.btf_id, int):
        return struct_record(reg.btf, reg.btf_id)
    return None
