"""The table of helper prototypes."""

import pytest

from bpf.helpers import BY_NAME, HELPERS, VARIANTS, Arg


def test_numbers_and_names_are_complete_and_unique() -> None:
    assert list(HELPERS) == list(range(1, 212))
    assert len(BY_NAME) == len(HELPERS)
    assert not BY_NAME.keys() & VARIANTS.keys()


def test_kinds_are_those_of_the_kernel() -> None:
    for row in [*HELPERS.values(), *VARIANTS.values()]:
        assert len(row.args) <= 5
        assert row.ret.kind.startswith("RET_")
        for arg in row.args:
            assert arg.kind.startswith("ARG_")
            assert (arg.size > 0) == ("MEM_FIXED_SIZE" in arg.flags)
            assert not arg.btf or arg.kind in ("ARG_PTR_TO_BTF_ID", "ARG_PTR_TO_SPIN_LOCK")


def test_memory_comes_with_its_size() -> None:
    for row in [*HELPERS.values(), *VARIANTS.values()]:
        for arg, after in zip(row.args, (*row.args[1:], None), strict=False):
            if arg.kind == "ARG_PTR_TO_MEM" and not arg.size:
                assert after is not None, row.name
                assert after.kind in ("ARG_MEM_SIZE", "ARG_MEM_SIZE_OR_ZERO"), row.name


@pytest.mark.parametrize(
    ("number", "name", "nargs"),
    [(1, "bpf_map_lookup_elem", 2), (12, "bpf_tail_call", 3), (28, "bpf_csum_diff", 5), (65, "bpf_xdp_adjust_tail", 2),
     (84, "bpf_sk_lookup_tcp", 5), (131, "bpf_ringbuf_reserve", 3), (164, "bpf_for_each_map_elem", 4), (165, "bpf_snprintf", 5),
     (181, "bpf_loop", 4), (211, "bpf_cgrp_storage_delete", 2)],
)  # fmt: skip
def test_some_rows(number: int, name: str, nargs: int) -> None:
    assert (HELPERS[number].name, HELPERS[number].nargs) == (name, nargs)


def test_details() -> None:
    reserve = BY_NAME["bpf_ringbuf_reserve"].ret
    assert reserve == Arg("RET_PTR_TO_MEM", frozenset({"PTR_MAYBE_NULL", "MEM_RINGBUF"}))
    assert BY_NAME["bpf_strtol"].args[3].size == 8
    assert BY_NAME["bpf_get_smp_processor_id"].fastcall
    assert [row.name for row in HELPERS.values() if row.might_sleep and row.gpl_only] == [
        "bpf_copy_from_user_task"
    ]
    changers = {row.id for row in HELPERS.values() if row.changes_packet}
    assert {9, 10, 11, 12, 13, 18, 19, 39, 44, 50, 54, 65} < changers
    assert len(changers) == 23


def test_a_format_says_how_much_trace_printk_reads() -> None:
    row = BY_NAME["bpf_trace_printk"]
    assert (row.nargs, row.words) == (2, 5)
    assert all(other.nargs == other.words for other in HELPERS.values() if other is not row)


def test_variants_share_a_number() -> None:
    assert VARIANTS["bpf_xdp_check_mtu"].id == BY_NAME["bpf_check_mtu"].id == 163
    assert [row.name for row in VARIANTS.values() if row.nargs != HELPERS[row.id].nargs] == [
        "bpf_get_cgroup_classid_curr"
    ]
