"""References: what release takes with it, and what it refuses."""

import pytest

from tests.verifier.memkit import make_env
from verifier import references as refs
from verifier.dynptr import dynptr_reg
from verifier.refused import Refused
from verifier.regs import (
    BPF_DYNPTR_TYPE_RINGBUF,
    MEM_ALLOC,
    MEM_RCU,
    NON_OWN_REF,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_MEM,
    PTR_TO_PACKET,
    PTR_TO_SOCKET,
    PTR_UNTRUSTED,
    UNKNOWN_REG,
    pointer_reg,
)
from verifier.state import INVALID_SLOT, SPILL_BYTES, STACK_DYNPTR, Slot

DYNPTR_BYTES = bytes([STACK_DYNPTR]) * 8


def test_release_reaches_registers_stack_and_stack_arguments() -> None:
    env = make_env()
    ref = refs.acquire_reference(env, 3)
    reg = pointer_reg(PTR_TO_SOCKET, id=ref)
    env.regs[6] = reg
    env.func.stack.append(Slot(SPILL_BYTES, reg))
    env.func.stack_args.append(reg)
    refs.release_reference(env, ref)
    assert env.regs[6] is env.func.stack[0].reg is env.func.stack_args[0] is UNKNOWN_REG
    assert not env.cur_state.refs


def test_release_takes_what_lives_in_the_object() -> None:
    env = make_env()
    ref = refs.acquire_reference(env, 3)
    for first in (False, True):
        held = dynptr_reg(BPF_DYNPTR_TYPE_RINGBUF, 7, ref, first_slot=first)
        env.func.stack.append(Slot(DYNPTR_BYTES, held))
    env.regs[2] = pointer_reg(PTR_TO_MEM, id=9, aux=8).with_(parent_id=7)
    refs.release_reference(env, ref)
    assert env.func.stack == [INVALID_SLOT, INVALID_SLOT]
    assert env.regs[2] is UNKNOWN_REG


def test_a_reference_inside_another_must_go_first() -> None:
    env = make_env()
    outer = refs.acquire_reference(env, 1)
    inner = refs.acquire_reference(env, 2, outer)
    with pytest.raises(Refused) as caught:
        refs.release_reference(env, outer)
    assert caught.value.messages == (f"Leaking reference id={inner} alloc_insn=2. Release it first.",)


def test_the_last_dynptr_of_a_reference_cannot_be_overwritten() -> None:
    env = make_env()
    ref = refs.acquire_reference(env, 1)
    frame = env.func
    for number in (7, 8):
        for first in (False, True):
            held = dynptr_reg(BPF_DYNPTR_TYPE_RINGBUF, number, ref, first_slot=first)
            frame.stack.append(Slot(DYNPTR_BYTES, held))
    refs.destroy_if_dynptr_stack_slot(env, frame, 0)
    assert frame.stack[:2] == [INVALID_SLOT, INVALID_SLOT]
    with pytest.raises(Refused, match="cannot overwrite referenced dynptr"):
        refs.destroy_if_dynptr_stack_slot(env, frame, 2)


def test_rcu_ends() -> None:
    env = make_env()
    kind = PTR_TO_BTF_ID | MEM_ALLOC | NON_OWN_REF | MEM_RCU | PTR_MAYBE_NULL
    env.regs[1] = pointer_reg(kind, aux=(None, "x"))
    refs.invalidate_rcu_protected_refs(env)
    assert env.regs[1].type == PTR_TO_BTF_ID | MEM_ALLOC | PTR_UNTRUSTED


def test_packet_pointers_go_stale() -> None:
    env = make_env()
    env.regs[1] = pointer_reg(PTR_TO_PACKET)
    env.regs[2] = pointer_reg(PTR_TO_SOCKET)
    kept = env.regs[2]
    refs.clear_all_pkt_pointers(env)
    assert env.regs[1] is UNKNOWN_REG
    assert env.regs[2] is kept
