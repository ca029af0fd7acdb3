"""What a loader has to know, one thing a test, on objects that clang made of fixtures/elf/*.bpf.c."""

from dataclasses import replace
from pathlib import Path

import pytest

from bpf import elf, isa, progtypes
from bpf.btf import GLOBAL, STATIC, Kind
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.program import KfuncRef

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures/elf"
FEATURES = elf.load(FIXTURES / "loader_features.bpf.o", "features")
UNSUPPORTED = elf.load(FIXTURES / "unsupported.bpf.o", "unsupported")


def spec(name: str) -> MapSpec:
    return next(m for m in FEATURES.maps if m.name == name)


def names(program: str) -> list[str]:
    found = FEATURES.program(program)
    assert found.btf
    return [found.btf.types[f.type_id].name for f in found.func_info]


def test_functions_are_appended_depth_first() -> None:
    assert names("use_calls") == [
        "use_calls",
        "plain_global",
        "middle",
        "leaf",
        "hidden_global",
        "weak_global",
        "step",
    ]
    assert names("target_a") == ["target_a", "unused_by_most"]


def test_call_distances() -> None:
    program = FEATURES.program("use_calls")
    begins = {f.insn for f in program.func_info}
    calls = [
        at + i.imm + 1
        for at, i in enumerate(program.insns)
        if i.code == isa.OP_CALL and i.src == isa.PSEUDO_CALL
    ]
    assert set(calls) <= begins
    assert len(calls) == 8


def test_callback_is_a_function_pointer() -> None:
    program = FEATURES.program("use_calls")
    (at,) = (at for at, i in enumerate(program.insns) if i.code == isa.LD_IMM64 and i.src == isa.PSEUDO_FUNC)
    assert at + program.insns[at].imm + 1 == program.func_info[-1].insn
    assert program.insns[at + 1] == Insn(0)


def test_hidden_global_becomes_static() -> None:
    assert FEATURES.btf
    assert FEATURES.raw_btf
    for name, before, after in [
        ("hidden_global", GLOBAL, STATIC),
        ("plain_global", GLOBAL, GLOBAL),
        ("weak_global", GLOBAL, GLOBAL),
        ("leaf", STATIC, STATIC),
    ]:
        tid = FEATURES.btf.find(name, Kind.FUNC)
        assert tid
        assert (FEATURES.raw_btf.linkage(tid), FEATURES.btf.linkage(tid)) == (before, after)


def test_map_of_maps() -> None:
    outer = spec("outer")
    assert (outer.type, outer.value_size, outer.inner_maps) == (
        MapType.ARRAY_OF_MAPS,
        4,
        ((0, "first"), (2, "second")),
    )
    assert outer.inner == replace(spec("first"), name="outer.inner")


def test_prog_array_with_programs() -> None:
    jumps = spec("jumps")
    assert (jumps.key_size, jumps.value_size, jumps.max_entries, jumps.progs) == (
        4,
        4,
        5,
        ((1, "target_a"), (3, "target_b")),
    )


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("ring", {"type": 27, "max_entries": 8192}),
        ("events", {"type": 4, "max_entries": 1}),
        ("bloom", {"type": 30, "key_size": 0, "value_size": 4, "extra": 3}),
        ("table", {"type": 1, "key_size": 16, "value_size": 8, "max_entries": 8, "flags": 1}),
        (".rodata", {"flags": 0x480, "freeze": True, "elems": ((bytes(4), (77).to_bytes(8, "little")),)}),
        (".data", {"flags": 0, "freeze": False, "elems": ((bytes(4), (5).to_bytes(8, "little")),)}),
        (".data.secret", {"flags": 0}),
        (".data.visible", {"flags": 0x400}),
        (".rodata.more", {"flags": 0x480, "freeze": True}),
        (
            ".rodata.str1.1",
            {"flags": 0x80, "freeze": True, "elems": ((bytes(4), b"len %d\0"),), "btf_value": 0},
        ),
        (".bss", {"flags": 0x400, "elems": (), "value_size": 8}),
        (".bss.more", {"flags": 0x400, "elems": (), "value_size": 32}),
    ],
)
def test_map(name: str, want: dict[str, object]) -> None:
    assert {key: getattr(spec(name), key) for key in want} == want


def test_declared_maps_come_first() -> None:
    data = [m.name.startswith(".") for m in FEATURES.maps]
    assert data == sorted(data)


def test_kfuncs_with_flavours_and_missing_weak_ones() -> None:
    program = FEATURES.program("use_kfuncs")
    assert [k.name for k in program.kfuncs] == ["okf_sum6"]
    assert isinstance(program.kfuncs[0], KfuncRef)
    # its address is 0, and a call of it that is never reached is left as libbpf leaves it
    assert program.insns[0] == Insn(isa.LD_IMM64, dst=program.insns[0].dst)
    assert [i.imm for i in program.insns if i.is_call and i.src == 0] == [2002000000]


@pytest.mark.parametrize(
    ("name", "section", "want"),
    [
        ("target_b", "?tc", ("sched_cls", 0, 0, "")),
        ("frags", "xdp.frags", ("xdp", progtypes.F_XDP_HAS_FRAGS, 37, "")),
        (
            "traced",
            "fentry.s/bpf_testmod:some_target",
            ("tracing", progtypes.F_SLEEPABLE, 24, "bpf_testmod:some_target"),
        ),
        ("raw", "tp_btf/sched_switch", ("tracing", 0, 23, "btf_trace_sched_switch")),
    ],
)
def test_section(name: str, section: str, want: tuple[str, int, int, str]) -> None:
    program = FEATURES.program(name)
    assert program.section == section
    assert (program.prog_type, program.prog_flags, program.expected_attach_type, program.attach_to) == want


def test_license() -> None:
    assert {p.license for p in FEATURES.programs} == {"Dual BSD/GPL"}


def test_functions_in_other_sections_and_no_license() -> None:
    obj = elf.load(FIXTURES / "other_sections.bpf.o")
    (program,) = obj.programs
    assert program.btf
    assert [program.btf.types[f.type_id].name for f in program.func_info] == [
        "uses_both",
        "beside",
        "shelved",
    ]
    assert program.license == ""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("needs_kconfig", "kconfig variable 'LINUX_KERNEL_VERSION': only kernel functions"),
        ("needs_typed_ksym", "kernel symbol 'some_percpu_variable': only kernel functions"),
        ("needs_address", "kernel symbol 'some_address': only kernel functions"),
        ("needs_core", "a CO-RE relocation (field_byte_offset) needs the kernel's BTF"),
    ],
)
def test_what_is_not_supported_says_so(name: str, why: str) -> None:
    assert name in [n for n, _ in UNSUPPORTED.unsupported]
    with pytest.raises(InputError) as caught:
        UNSUPPORTED.program(name)
    text = str(caught.value)
    assert why in text
    assert text.startswith(f"unsupported: program {name}: function {name}, insn ")
    assert "\n" not in text


def test_programs_beside_unsupported_ones_load() -> None:
    assert [p.name for p in UNSUPPORTED.programs] == ["asks_local_id", "weak_variable"]
    assert UNSUPPORTED.btf
    local = UNSUPPORTED.program("asks_local_id")
    assert local.insns[0].imm == UNSUPPORTED.btf.find("local_thing", Kind.STRUCT)
    weak = UNSUPPORTED.program("weak_variable").insns
    (at,) = (at for at, i in enumerate(weak) if i.code == isa.LD_IMM64)
    assert (weak[at].src, weak[at].imm, weak[at + 1].imm) == (0, 0, 0)


def test_layout_can_be_trusted() -> None:
    program = elf.load(FIXTURES / "unsupported.bpf.o", trust_layout=True).program("needs_core")
    assert program.insns[-1].code == isa.OP_EXIT


def test_unknown_program() -> None:
    with pytest.raises(InputError, match=r"features: no program 'nothing'; it has target_a, use_calls, "):
        FEATURES.program("nothing")


def test_kconfig_externs_get_places() -> None:
    assert UNSUPPORTED.btf
    tid = UNSUPPORTED.btf.find(".kconfig", Kind.DATASEC)
    assert tid
    assert [(v.offset, v.size) for v in UNSUPPORTED.btf.types[tid].vars] == [(0, 4)]
    assert UNSUPPORTED.btf.types[tid].size == 4


@pytest.mark.parametrize(
    ("section", "want"),
    [
        ("tc", ("sched_cls", "", 0)),
        ("tc/ingress", ("sched_cls", "tcx_ingress", 0)),
        ("classifier", ("sched_cls", "", 0)),
        ("classifier/x", None),
        ("tcx", None),
        ("xdp", ("xdp", "xdp", 0)),
        ("xdp/devmap", ("xdp", "xdp_devmap", 0)),
        ("xdp.frags/cpumap", ("xdp", "xdp_cpumap", 32)),
        ("socket", ("socket_filter", "", 0)),
        ("syscall", ("syscall", "", 16)),
        ("raw_tp/sys_enter", ("raw_tracepoint", "", 0)),
        ("raw_tracepoint.w/x", ("raw_tracepoint_writable", "", 0)),
        ("cgroup_skb/ingress", ("cgroup_skb", "cgroup_inet_ingress", 0)),
        ("cgroup/skb", ("cgroup_skb", "", 0)),
        ("kprobe/do_exit", ("kprobe", "", 0)),
        ("kprobe", ("kprobe", "", 0)),
        ("kprobes", None),
        ("uprobe.multi.s//bin/sh:main", ("kprobe", "trace_uprobe_multi", 16)),
        ("fexit.s/x", ("tracing", "trace_fexit", 16)),
        ("lsm_cgroup/socket_bind", ("lsm", "lsm_cgroup", 0)),
        ("iter/task", ("tracing", "trace_iter", 0)),
        ("sk_skb/stream_verdict", ("sk_skb", "sk_skb_stream_verdict", 0)),
        ("netkit/peer", ("sched_cls", "netkit_peer", 0)),
        ("?socket", ("socket_filter", "", 0)),
        ("", None),
    ],
)
def test_section_names(section: str, want: tuple[str, str, int] | None) -> None:
    found = progtypes.find(section)
    assert (found and (found.prog_type, found.attach, found.prog_flags)) == want


def test_section_table() -> None:
    assert len({d.name for d in progtypes.SECTIONS}) == len(progtypes.SECTIONS)
    for definition in progtypes.SECTIONS:
        assert definition.prog_type in progtypes.NUMBERS
        assert definition.attach_type == (
            progtypes.ATTACH_NAMES.index(definition.attach) if definition.attach else 0
        )
        assert progtypes.find(definition.name.removesuffix("+")) is definition
    assert set(progtypes.CONTEXTS) <= set(progtypes.NAMES)
    assert (progtypes.NUMBERS["sched_cls"], progtypes.NUMBERS["syscall"], progtypes.NUMBERS["netfilter"]) == (
        3,
        31,
        32,
    )
    assert (progtypes.ATTACH_NUMBERS["xdp"], progtypes.ATTACH_NUMBERS["tcx_ingress"]) == (37, 46)
