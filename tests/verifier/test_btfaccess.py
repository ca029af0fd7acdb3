"""Loads through BTF: walks through structs, trust of what they find, contexts that are arguments, LSM hooks."""

from dataclasses import replace

import pytest

from bpf.btf import Btf, Kind
from bpf.btf_types import VOID, BtfType, Member
from tests.verifier.kit import program
from tests.verifier.memkit import load, make_env, refusal
from verifier.attach import check_attach
from verifier.btfaccess import Found, struct_ids_match, walk
from verifier.kernelbtf import kernel_btf, known_structs
from verifier.refused import Refused
from verifier.regs import (
    MEM_ALLOC,
    MEM_RCU,
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TRUSTED,
    PTR_UNTRUSTED,
    SCALAR_VALUE,
    pointer_reg,
)

INT = 1
BTF = Btf(
    (
        VOID,
        BtfType(Kind.INT, name="int", size=4, bits=32),
        BtfType(
            Kind.STRUCT, name="pair", size=8, members=(Member(0, INT, 0, 0, "a"), Member(0, INT, 32, 0, "b"))
        ),
        BtfType(Kind.PTR, type=2),
        BtfType(Kind.ARRAY, type=2, index_type=INT, count=3),
        BtfType(
            Kind.STRUCT,
            name="outer",
            size=48,
            members=(
                Member(0, 3, 0, 0, "ptr"),
                Member(0, 4, 64, 0, "pairs"),
                Member(0, INT, 256, 4, "bits"),
                Member(0, 2, 320, 0, "last"),
            ),
        ),
    )
)
OUTER = 5


def found(off: int, size: int) -> Found:
    return walk(make_env(), BTF, OUTER, off, size)


def test_walk() -> None:
    assert found(0, 8) == Found(PTR_TO_BTF_ID, 0, BTF, 2, "ptr")
    assert found(8, 4).type == SCALAR_VALUE
    assert found(20, 4).type == SCALAR_VALUE
    assert found(32, 4).type == SCALAR_VALUE
    assert found(44, 1).type == SCALAR_VALUE


@pytest.mark.parametrize(
    ("off", "size", "message"),
    [
        (4, 4, "cannot access ptr member ptr with moff 0 in struct outer with off 4 size 4"),
        (40, 8, "access beyond the end of member a (mend:4) in struct pair with off 0 size 8"),
        (48, 1, "access beyond struct outer at off 48 size 1"),
        (36, 4, "struct outer doesn't have field at offset 36"),
    ],
)
def test_no_member(off: int, size: int, message: str) -> None:
    with pytest.raises(Refused) as caught:
        found(off, size)
    assert caught.value.messages == (message,)


def test_ids() -> None:
    assert struct_ids_match(BTF, OUTER, 0, BTF, OUTER, True)
    assert struct_ids_match(BTF, OUTER, 16, BTF, 2, False)
    assert not struct_ids_match(BTF, OUTER, 16, BTF, 2, True)
    assert not struct_ids_match(BTF, OUTER, 12, BTF, 2, False)
    assert struct_ids_match(None, "sock", 0, None, "sock_common", False)
    assert not struct_ids_match(None, "sock", 0, BTF, 2, False)


def test_trust_is_inherited_by_listed_members_only() -> None:
    btf = kernel_btf()
    task = btf.find("task_struct", Kind.STRUCT)
    assert task is not None
    off = {m.name: m.offset // 8 for m in btf.type(task).members}
    trusted = pointer_reg(PTR_TO_BTF_ID | PTR_TRUSTED, aux=(None, "task_struct"))
    env = make_env()
    leader = load(env, trusted, off["group_leader"], 8)
    assert leader.type == PTR_TO_BTF_ID | MEM_RCU
    assert leader.btf_id == "task_struct"
    assert load(env, trusted, off["last_wakee"], 8).type == PTR_TO_BTF_ID
    env.cur_state.in_sleepable = True
    assert load(env, trusted, off["group_leader"], 8).type == PTR_TO_BTF_ID | PTR_UNTRUSTED
    untrusted = trusted.with_type(PTR_TO_BTF_ID | PTR_UNTRUSTED)
    assert load(env, untrusted, off["group_leader"], 8).type == PTR_TO_BTF_ID | PTR_UNTRUSTED


def test_kernel_objects_are_read_only() -> None:
    reg = pointer_reg(PTR_TO_BTF_ID | PTR_TRUSTED, aux=(None, "task_struct"))
    message = "R1 cannot write into ptr_task_struct at off=0 size=8"
    assert refusal(make_env(), reg, 0, 8, write=True) == ("EACCES", message)
    user = reg.with_type(PTR_TO_BTF_ID | PTR_MAYBE_NULL)
    assert refusal(make_env(), user, 0, 8) == ("EACCES", "R1 invalid mem access 'ptr_or_null_'")


def test_allocated_objects() -> None:
    env = make_env()
    env.cur_state.refs = []
    reg = pointer_reg(PTR_TO_BTF_ID | MEM_ALLOC | MEM_RCU, aux=(BTF, OUTER))
    # a pointer in a local object is a number again
    assert load(env, reg, 0, 8).type == SCALAR_VALUE


def test_listed_structs_have_their_sizes() -> None:
    btf = kernel_btf()
    for name in known_structs():
        tid = btf.find(name, Kind.STRUCT) or btf.find(name, Kind.UNION)
        assert tid is not None, name
        t = btf.type(tid)
        for m in t.members:
            assert m.offset // 8 <= t.size, f"{name}.{m.name}"


@pytest.mark.parametrize(
    ("hook", "flags", "message"),
    [
        ("bpf_lsm_getprocattr", 0, "attach_btf_id 67528 points to disabled hook bpf_lsm_getprocattr"),
        ("bpf_lsm_task_free", 16, "bpf_lsm_task_free is not sleepable"),
        ("bpf_lsm_file_open", 16, None),
    ],
)
def test_lsm_hooks(hook: str, flags: int, message: str | None) -> None:
    prog = replace(program("r0 = 0\nexit\n"), prog_type="lsm", attach_to=hook, prog_flags=flags)
    if message is None:
        check_attach(prog)
        return
    with pytest.raises(Refused) as caught:
        check_attach(prog)
    assert caught.value.messages == (message,)
