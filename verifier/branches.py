"""Conditional jumps: which side can be taken, and what each side learns about numbers, null and the packet's end.

Sources: check_cond_jmp_op, is_branch_taken, mark_ptr_or_null_regs, find_good_pkt_pointers, try_match_pkt_pointers of
kernel/bpf/verifier.c.
"""

from typing import Final

from bpf import isa
from bpf.insn import Insn
from bpf.maps import MapType
from verifier.env import Env, check_src
from verifier.links import collect_linked_regs, sync_linked_regs
from verifier.maps import map_record
from verifier.num import Num
from verifier.precision import mark_chain_precision, pack_linked_regs, push_jmp_history
from verifier.prune import find_prev_entry, widen_imprecise_scalars
from verifier.references import find_reference_state, release_reference_nomark
from verifier.refine import EITHER, NOT_TAKEN, TAKEN, decide, flip
from verifier.regs import (
    AT_PKT_END,
    BEYOND_PKT_END,
    CONST_PTR_TO_MAP,
    MEM_ALLOC,
    NON_OWN_REF,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_MAP_VALUE,
    PTR_TO_PACKET,
    PTR_TO_PACKET_END,
    PTR_TO_PACKET_META,
    PTR_TO_SOCKET,
    PTR_TO_STACK,
    PTR_TO_XDP_SOCK,
    SCALAR_VALUE,
    Reg,
    base_type,
    const_reg,
)
from verifier.stackargs import clobber_stack_args, end_stack_arg_loads
from verifier.state import INSN_F_DST_REG_STACK, INSN_F_SRC_REG_STACK, LinkedReg, VState
from verifier.statelog import print_insn_state
from verifier.trust import reg_not_null

MAX_PACKET_OFF: Final = 0xFFFF
_PACKET: Final = frozenset((PTR_TO_PACKET, PTR_TO_PACKET_META, PTR_TO_PACKET_END))
_ASYNC_FIELDS: Final = ("bpf_timer", "bpf_wq", "bpf_task_work")
_EQUALITY: Final = (isa.JEQ, isa.JNE)


def check_cond_jmp_op(env: Env, insn: Insn) -> None:
    """A conditional jump: env.insn_idx becomes the instruction before the next one; the other side is pushed."""
    op = insn.code & isa.OP_MASK
    if op == isa.JCOND:
        _may_goto(env, insn)
        return
    if op == isa.JA or op > isa.JCOND:
        env.refuse("EINVAL", f"invalid BPF_JMP/JMP32 opcode {op:x}")
    from_reg = bool(insn.code & isa.X)
    dst = check_src(env, insn.dst)
    src = check_src(env, insn.src) if from_reg else const_reg(insn.imm)
    flags = INSN_F_SRC_REG_STACK if src.type == PTR_TO_STACK else 0
    if dst.type == PTR_TO_STACK:
        flags |= INSN_F_DST_REG_STACK
    if flags:
        push_jmp_history(env, flags)
    linked: list[LinkedReg] = []
    if dst.id or src.id:
        dst, src = _collect_linked(env, insn, dst, src, linked)
    is32 = insn.code & isa.CLASS_MASK == isa.JMP32
    outcome, sides = _outcome(env, op, is32, dst, src, from_reg and insn.src == insn.dst)
    if outcome == EITHER:
        _both_sides(env, insn, dst, src, sides, linked)
    else:
        if dst.type == SCALAR_VALUE:
            mark_chain_precision(env, insn.dst)
        if from_reg and src.type == SCALAR_VALUE:
            mark_chain_precision(env, insn.src)
    if env.verbose:
        print_insn_state(env, env.cur_state, env.cur_state.curframe)
    if outcome == TAKEN:
        env.insn_idx += insn.off


def _collect_linked(env: Env, insn: Insn, dst: Reg, src: Reg, linked: list[LinkedReg]) -> tuple[Reg, Reg]:
    """Finds who shares the operands' ids; the operands themselves may be among those that find no place."""
    from_reg = bool(insn.code & isa.X)
    if from_reg and src.type == SCALAR_VALUE and src.id:
        collect_linked_regs(env, env.cur_state, src.id, linked)
    dst = env.regs[insn.dst]
    if dst.type == SCALAR_VALUE and dst.id:
        collect_linked_regs(env, env.cur_state, dst.id, linked)
    return env.regs[insn.dst], env.regs[insn.src] if from_reg else src


def _may_goto(env: Env, insn: Insn) -> None:
    """Leaves the loop now; that the loop goes on is looked at later, with widened numbers."""
    idx = env.insn_idx
    env.may_goto_visits += 1
    if env.mode == "strict":
        env.strict_acted = True
        end_stack_arg_loads(env)
    if env.may_goto_clobbers:
        clobber_stack_args(env)
    parent = env.cur_state.parent
    before = find_prev_entry(env, parent, idx) if parent is not None else None
    queued = env.push_state(idx + 1, idx)
    queued.may_goto_depth += 1
    if before is not None:
        widen_imprecise_scalars(env, before, queued)
    env.insn_idx += insn.off


# ---- which side


Sides = tuple[Num, Num, Num, Num]  # false dst, false src, true dst, true src


def _outcome(env: Env, op: int, is32: bool, dst: Reg, src: Reg, same: bool) -> tuple[int, Sides | None]:
    """is_branch_taken, with the numbers on both sides where both are possible; None where they stay."""
    if dst.type == SCALAR_VALUE and src.type == SCALAR_VALUE:
        decision = decide(op, is32, dst.num, src.num, same=same)
        return decision[0], decision[1:]
    if not is32 and base_type(dst.type) in _PACKET and base_type(src.type) in _PACKET:
        return _packet_outcome(op, dst, src), None
    if is32:
        return EITHER, None
    pointer, number = (src, dst) if dst.is_null else (dst, src)
    if number.is_null and op in _EQUALITY and reg_not_null(env, pointer):
        return (NOT_TAKEN if op == isa.JEQ else TAKEN), None
    return EITHER, None


def _packet_outcome(op: int, dst: Reg, src: Reg) -> int:
    """A pointer that was found behind the packet's end stays there (is_pkt_ptr_branch_taken)."""
    if src.type == PTR_TO_PACKET_END:
        pointer = dst
    elif dst.type == PTR_TO_PACKET_END:
        pointer = src
        op = flip(op)
    else:
        return EITHER
    if pointer.pkt_range >= 0:
        return EITHER
    if op in (isa.JLE, isa.JGT) and pointer.pkt_range == BEYOND_PKT_END:
        return TAKEN if op == isa.JGT else NOT_TAKEN
    if op in (isa.JLT, isa.JGE):
        return TAKEN if op == isa.JGE else NOT_TAKEN
    return EITHER


# ---- both sides


def _both_sides(
    env: Env, insn: Insn, dst: Reg, src: Reg, sides: Sides | None, linked: list[LinkedReg]
) -> None:
    """The side not taken goes on, the other one is pushed; each learns what the condition says there."""
    from_reg = bool(insn.code & isa.X)
    state = env.cur_state
    if len(linked) > 1:
        push_jmp_history(env, linked_regs=pack_linked_regs(linked))
    other = env.push_state(env.insn_idx + insn.off + 1, env.insn_idx)
    regs, other_regs = env.regs, other.frames[-1].regs
    if sides is not None:
        false_dst, false_src, true_dst, true_src = sides
        regs[insn.dst] = dst.with_num(false_dst)
        other_regs[insn.dst] = dst.with_num(true_dst)
        if from_reg:
            regs[insn.src] = src.with_num(false_src)
            other_regs[insn.src] = src.with_num(true_src)
    if linked:
        _sync(env, insn, other, linked)
    if sides is not None:
        return
    is32 = insn.code & isa.CLASS_MASK == isa.JMP32
    if is32:
        return
    if from_reg and SCALAR_VALUE not in (dst.type, src.type):
        _share_nullness(env, insn, dst, src, regs, other_regs)
    op = insn.code & isa.OP_MASK
    if op in _EQUALITY and dst.type & PTR_MAYBE_NULL and src.is_null:
        if from_reg:
            # That it is zero holds on this path only.
            mark_chain_precision(env, insn.src)
        mark_ptr_or_null_regs(env, state, insn.dst, op == isa.JNE)
        mark_ptr_or_null_regs(env, other, insn.dst, op == isa.JEQ)
    elif from_reg:
        _match_packet_pointers(insn, op, state, other)


def _sync(env: Env, insn: Insn, other: VState, linked: list[LinkedReg]) -> None:
    state = env.cur_state
    operands = (insn.src, insn.dst) if insn.code & isa.X else (insn.dst,)
    for regno in operands:
        reg = env.regs[regno]
        if reg.type == SCALAR_VALUE and reg.id:
            sync_linked_regs(env, state, regno, linked)
            sync_linked_regs(env, other, regno, linked)


# ---- null


def _share_nullness(env: Env, insn: Insn, dst: Reg, src: Reg, regs: list[Reg], other_regs: list[Reg]) -> None:
    """A pointer that equals one that cannot be null is not null either.

    Pointers to kernel objects are left out: they may be null without being marked so.
    """
    op = insn.code & isa.OP_MASK
    if op not in _EQUALITY or PTR_TO_BTF_ID in (base_type(dst.type), base_type(src.type)):
        return
    equal = other_regs if op == isa.JEQ else regs
    for one, other, regno in ((dst, src, insn.src), (src, dst, insn.dst)):
        if other.type & PTR_MAYBE_NULL and reg_not_null(env, one):
            equal[regno] = mark_ptr_not_null_reg(env, equal[regno])


def mark_ptr_not_null_reg(env: Env, reg: Reg) -> Reg:
    """The register once it is known not to be null; of some maps the value is an object of its own kind."""
    if base_type(reg.type) != PTR_TO_MAP_VALUE:
        return reg.with_type(reg.type & ~PTR_MAYBE_NULL)
    used = reg.map
    if used.inner is not None:
        record = map_record(env, used.inner)
        own = record is not None and any(record.has(kind) for kind in _ASYNC_FIELDS)
        uid = reg.id if own else reg.map_uid
        return reg.with_(type=CONST_PTR_TO_MAP, aux=(used.inner, uid))
    if used.spec.type == MapType.XSKMAP:
        return reg.with_type(PTR_TO_XDP_SOCK)
    if used.spec.type in (MapType.SOCKMAP, MapType.SOCKHASH):
        return reg.with_type(PTR_TO_SOCKET)
    return reg.with_type(PTR_TO_MAP_VALUE)


def mark_ptr_or_null_regs(env: Env, state: VState, regno: int, is_null: bool) -> None:
    """All pointers from the same source as this register become null, or lose their doubt; a null holds no reference."""
    reg_id = state.frames[-1].regs[regno].id
    if is_null and find_reference_state(state, reg_id):
        release_reference_nomark(state, reg_id)

    def change(reg: Reg) -> Reg:
        if not reg.type & PTR_MAYBE_NULL or reg.id != reg_id:
            return reg
        is_own = reg.type & (MEM_ALLOC | NON_OWN_REF) and base_type(reg.type) == PTR_TO_BTF_ID
        if not is_own and (reg.num.mask or reg.num.value):
            return reg
        return const_reg(0) if is_null else mark_ptr_not_null_reg(env, reg)

    state.update_regs(change)


# ---- packets


def _is_start(reg: Reg) -> bool:
    """The packet's first byte itself (reg_is_init_pkt_pointer)."""
    return reg.type == PTR_TO_PACKET and not reg.id and not reg.num.mask and not reg.num.value


def _match_packet_pointers(insn: Insn, op: int, state: VState, other: VState) -> None:
    """A comparison of a packet pointer with the end (or of metadata with the start) shows what may be accessed.

    With the end on the left the condition is that of exchanged operands.
    """
    dst, src = state.frames[-1].regs[insn.dst], state.frames[-1].regs[insn.src]
    if _is_below(dst, src):
        pointer, regno = dst, insn.dst
    elif _is_below(src, dst):
        pointer, regno = src, insn.src
        op = flip(op)
    else:
        return
    if op in (isa.JGT, isa.JGE):
        inside, outside = state, other
    elif op in (isa.JLT, isa.JLE):
        inside, outside = other, state
    else:
        return
    # On the inside pointer <= end, or pointer < end, which is one byte more.
    is_less = op in (isa.JLT, isa.JGE)
    _find_good_pkt_pointers(inside, pointer, is_less)
    reg = outside.frames[-1].regs[regno]
    if reg.type == PTR_TO_PACKET:
        outside.frames[-1].regs[regno] = reg.with_aux(AT_PKT_END if is_less else BEYOND_PKT_END)


def _is_below(pointer: Reg, end: Reg) -> bool:
    return (pointer.type == PTR_TO_PACKET and end.type == PTR_TO_PACKET_END) or (
        pointer.type == PTR_TO_PACKET_META and _is_start(end)
    )


def _find_good_pkt_pointers(state: VState, pointer: Reg, is_less: bool) -> None:
    """All pointers with its id reach as far as this one's greatest offset."""
    reach = pointer.num.umax
    if reach > MAX_PACKET_OFF or (not reach and is_less):
        return
    reach += is_less

    def change(reg: Reg) -> Reg:
        if reg.type != pointer.type or reg.id != pointer.id or reg.pkt_range >= reach:
            return reg
        return reg.with_aux(reach)

    state.update_regs(change)
