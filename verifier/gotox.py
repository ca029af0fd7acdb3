"""Indirect jumps through a jump table. Source: check_indirect_jump of kernel/bpf/verifier.c."""

from typing import Final

from bpf import isa
from bpf.insn import Insn
from verifier.env import Env
from verifier.regs import PTR_TO_INSN
from verifier.statelog import reg_type_str

_ENTRY: Final = 8  # bytes of one address


def check_indirect_jump(env: Env, insn: Insn) -> None:
    """`gotox dst`: all entries that the offset may choose are possible; the last one goes on at env.insn_idx."""
    reg = env.regs[insn.dst]
    if reg.type != PTR_TO_INSN:
        text = reg_type_str(reg.type)
        env.refuse("EINVAL", f"R{insn.dst} has type {text}, expected PTR_TO_INSN")
    limit = isa.U32 * _ENTRY
    num = reg.num
    if num.umin > limit:
        env.refuse("ERANGE", f"the sum of R{insn.dst} umin_value {num.umin} is too big")
    if num.umax > limit:
        env.refuse("ERANGE", f"the sum of R{insn.dst} umax_value {num.umax} is too big")
    first, last = num.umin // _ENTRY, num.umax // _ENTRY
    spec = reg.map.spec
    if last >= spec.max_entries:
        where = f"[{first},{last}] max_entries {spec.max_entries}"
        env.refuse("EINVAL", f"R{insn.dst} points to outside of jump table: {where}")
    targets = sorted(
        {
            int.from_bytes(value[:4], "little")
            for key, value in spec.elems
            if first <= int.from_bytes(key[:4], "little") <= last
        }
    )
    if not targets:
        text = f"register R{insn.dst} doesn't point to any offset in map id={reg.map.index}"
        env.refuse("EINVAL", text)
    for target in targets:
        env.aux[target].indirect_target = True
    for target in targets[:-1]:
        env.push_state(target, env.insn_idx)
    env.insn_idx = targets[-1]
