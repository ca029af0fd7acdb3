"""Special fields by BTF, what may be done to map values that have them, and which programs may use which map."""

from dataclasses import replace

import pytest

from bpf.btf import Btf, Kind
from bpf.btf_types import VOID, BtfType, Member
from bpf.maps import MapSpec, MapType
from tests.verifier.kit import program
from tests.verifier.memkit import ARRAY, load, make_env, refusal
from verifier.maps import UsedMaps, check_map_prog_compatibility, map_direct_read
from verifier.num import from_urange
from verifier.refused import Refused
from verifier.regs import PTR_MAYBE_NULL, PTR_TO_BTF_ID, PTR_TO_MAP_VALUE, PTR_UNTRUSTED, Reg, pointer_reg
from verifier.special import KPTR_REF, KPTR_UNREF, KPTRS, Record, record_of

INT, LOCK, TIMER = 1, 2, 3
BTF = Btf(
    (
        VOID,
        BtfType(Kind.INT, name="int", size=4, bits=32),
        BtfType(Kind.STRUCT, name="bpf_spin_lock", size=4, members=(Member(0, INT, 0, 0, "val"),)),
        BtfType(Kind.STRUCT, name="bpf_timer", size=16),
        BtfType(Kind.FWD, name="task_struct"),
        BtfType(Kind.STRUCT, name="task_struct", size=0),
        BtfType(Kind.TYPE_TAG, name="kptr_untrusted", type=5),
        BtfType(Kind.PTR, type=6),
        BtfType(Kind.TYPE_TAG, name="kptr", type=5),
        BtfType(Kind.PTR, type=8),
        BtfType(Kind.ARRAY, type=9, index_type=INT, count=2),
        BtfType(
            Kind.STRUCT,
            name="value",
            size=64,
            members=(
                Member(0, INT, 0, 0, "n"),
                Member(0, LOCK, 32, 0, "lock"),
                Member(0, TIMER, 64, 0, "timer"),
                Member(0, 7, 192, 0, "unref"),
                Member(0, 10, 256, 0, "refs"),
            ),
        ),
    )
)
VALUE = 11
SPEC = MapSpec("m", MapType.ARRAY, 4, 64, 1, btf_value=VALUE)


def record() -> Record:
    found = record_of(BTF, VALUE, in_map=True)
    assert found is not None
    return found


def test_fields() -> None:
    assert [(f.kind, f.offset) for f in record().fields] == [
        ("bpf_spin_lock", 4),
        ("bpf_timer", 8),
        (KPTR_UNREF, 24),
        (KPTR_REF, 32),
        (KPTR_REF, 40),
    ]
    assert record().off("bpf_timer") == 8
    assert record().off("bpf_wq") == -1
    field = record().find(32, KPTRS)
    assert field is not None
    assert (field.btf, field.btf_id) == (None, "task_struct")
    assert record_of(BTF, LOCK, in_map=True) is None


@pytest.mark.parametrize(
    ("off", "size", "message"),
    [
        (4, 4, "bpf_spin_lock cannot be accessed directly by load/store"),
        (0, 8, "bpf_spin_lock cannot be accessed directly by load/store"),
        (23, 1, "bpf_timer cannot be accessed directly by load/store"),
        (25, 4, "kptr access misaligned expected=24 off=25"),
        (24, 4, "kptr access size must be BPF_DW"),
    ],
)
def test_special_fields_are_out_of_bounds(off: int, size: int, message: str) -> None:
    env = make_env(replace(program("r0 = *(u64 *)(r1 + 0)\nexit\n"), btf=BTF, func_info=()), maps=(SPEC,))
    reg = pointer_reg(PTR_TO_MAP_VALUE, aux=(env.maps[0], 0))
    assert refusal(env, reg, off, size) == ("EACCES", message)


def test_kptrs() -> None:
    env = make_env(replace(program("r0 = *(u64 *)(r1 + 0)\nexit\n"), btf=BTF, func_info=()), maps=(SPEC,))
    reg = pointer_reg(PTR_TO_MAP_VALUE, aux=(env.maps[0], 0))
    load(env, reg, 0, 4)
    loaded = load(env, reg, 24, 8)
    assert loaded.type == PTR_TO_BTF_ID | PTR_MAYBE_NULL | PTR_UNTRUSTED
    assert loaded.btf_id == "task_struct"
    variable = Reg(PTR_TO_MAP_VALUE, from_urange(20, 30), aux=(env.maps[0], 0))
    assert "cannot be accessed directly" in refusal(env, variable, 0, 8)[-1]


def test_programs_and_maps() -> None:
    prog = replace(program("r0 = 0\nexit\n"), btf=BTF)
    with pytest.raises(Refused, match="socket filter progs cannot use bpf_spin_lock yet"):
        check_map_prog_compatibility(replace(prog, prog_type="socket_filter"), SPEC)
    with pytest.raises(Refused, match="tracing progs cannot use bpf_spin_lock yet"):
        check_map_prog_compatibility(replace(prog, prog_type="kprobe"), SPEC)
    check_map_prog_compatibility(prog, SPEC)
    sleepy = replace(prog, prog_type="syscall", prog_flags=16)
    with pytest.raises(Refused, match="Sleepable programs can only use"):
        check_map_prog_compatibility(sleepy, replace(SPEC, type=MapType.PERF_EVENT_ARRAY))


def test_used_maps() -> None:
    many = tuple(replace(ARRAY, name=f"m{i}") for i in range(65))
    used = UsedMaps(replace(program("r0 = 0\nexit\n"), maps=many))
    for index in range(64):
        used.add(index, 2 * index)
    used.add(0, 200)
    with pytest.raises(Refused, match="has reached the limit of 64") as caught:
        used.add(64, 202)
    assert (caught.value.errno, caught.value.insn) == ("E2BIG", 202)


def test_direct_read() -> None:
    spec = replace(ARRAY, elems=((b"\0\0\0\0", b"\xfe" * 16),))
    assert map_direct_read(spec, 15, 1, False) == 0xFE
    assert map_direct_read(spec, 15, 1, True) == -2
    assert map_direct_read(spec, 16, 1, False) is None
    assert map_direct_read(replace(spec, max_entries=2), 0, 1, False) is None
