"""Which programs may call what: the tables are whole, and some rows of them."""

import pytest

from bpf.helpers import HELPERS, VARIANTS
from bpf.kfuncs import KFUNCS
from bpf.maps import MapSpec, MapType
from bpf.progtypes import ATTACH_NUMBERS, NAMES
from tests.verifier.memkit import make_env
from verifier import availability
from verifier.availability import helper_for, kfunc_allowed
from verifier.mapcompat import check_map_func_compatibility
from verifier.refused import Refused
from verifier.regs import UsedMap


def name(number: int, prog_type: str, attach: str = "", *, sleepable: bool = False) -> str | None:
    attach_type = ATTACH_NUMBERS[attach] if attach else 0
    helper = helper_for(number, prog_type, attach_type, sleepable)
    return None if helper is None else helper.name


@pytest.mark.parametrize(
    ("number", "prog_type", "attach", "want"),
    [
        (1, "netfilter", "netfilter", "bpf_map_lookup_elem"),
        (84, "sched_cls", "", "bpf_tc_sk_lookup_tcp"),
        (84, "cgroup_skb", "cgroup_inet_ingress", "bpf_sk_lookup_tcp"),
        (44, "sched_cls", "", None),
        (64, "cgroup_sock_addr", "cgroup_inet4_connect", "bpf_bind"),
        (64, "cgroup_sock_addr", "cgroup_inet4_bind", None),
        (184, "tracing", "trace_raw_tp", None),
        (184, "tracing", "trace_fexit", "bpf_get_func_ret"),
        (17, "xdp", "xdp", "bpf_get_cgroup_classid_curr"),
        (17, "sched_cls", "", "bpf_get_cgroup_classid"),
        (9999, "sched_cls", "", None),
    ],
)
def test_helpers(number: int, prog_type: str, attach: str, want: str | None) -> None:
    assert name(number, prog_type, attach) == want


def test_sleepable_programs_get_forms_that_may_fault() -> None:
    assert name(67, "kprobe", sleepable=True) == "bpf_get_stack_sleepable"
    assert name(67, "kprobe") == "bpf_get_stack"


def test_tables_name_what_exists() -> None:
    for prog_type in NAMES:
        for number in HELPERS:
            helper = helper_for(number, prog_type, 0)
            assert helper is None or helper.id == number
    for line in availability._FORMS.strip().splitlines():
        assert line.split()[1] in VARIANTS
    assert availability._KFUNC_TYPES.keys() <= KFUNCS.keys()


def test_kfuncs() -> None:
    assert kfunc_allowed("bpf_dynptr_from_xdp", "xdp", 0)
    assert not kfunc_allowed("bpf_dynptr_from_xdp", "sched_cls", 0)
    assert kfunc_allowed("okf_sum7", "socket_filter", 0)
    assert not kfunc_allowed("bpf_sock_destroy", "tracing", ATTACH_NUMBERS["trace_fentry"])


@pytest.mark.parametrize(
    ("prog_type", "allowed"),
    [("sched_cls", True), ("tracepoint", True), ("syscall", True), ("xdp", False), ("cgroup_skb", False), ("kprobe", False)],
)  # fmt: skip
def test_kfuncs_of_the_test_module_are_not_for_all(prog_type: str, allowed: bool) -> None:
    assert kfunc_allowed("bpf_kfunc_call_stack_arg_mix", prog_type, 0) == allowed
    assert kfunc_allowed("bpf_kfunc_common_test", prog_type, 0)
    assert not kfunc_allowed("bpf_testmod_trampoline_count_test", prog_type, 0)


@pytest.mark.parametrize(
    ("kind", "helper", "number", "fits"),
    [
        (MapType.QUEUE, "bpf_map_push_elem", 87, True),
        (MapType.HASH, "bpf_map_push_elem", 87, False),
        (MapType.PROG_ARRAY, "bpf_map_lookup_elem", 1, False),
        (MapType.DEVMAP, "bpf_redirect_map", 51, True),
        (MapType.SOCKMAP, "bpf_map_update_elem", 2, False),
        (MapType.INSN_ARRAY, "bpf_map_lookup_elem", 1, False),
    ],
)
def test_maps_and_helpers(kind: MapType, helper: str, number: int, fits: bool) -> None:
    env = make_env()
    used = UsedMap(0, MapSpec("m", kind, 4, 8, 1))
    if fits:
        check_map_func_compatibility(env, used, helper, number)
        return
    with pytest.raises(Refused) as caught:
        check_map_func_compatibility(env, used, helper, number)
    assert caught.value.messages[-1] == f"cannot pass map_type {kind:d} into func {helper}#{number}"
