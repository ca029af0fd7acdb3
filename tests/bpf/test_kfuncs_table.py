"""The table of kfunc prototypes."""

from bpf.kfuncs import KFUNCS, STRUCTS

FLAGS = {
    "acquire", "release", "ret_null", "sleepable", "destructive", "rcu", "iter_new", "iter_next", "iter_destroy",
    "rcu_protected", "fastcall", "arena_ret", "arena_arg1", "arena_arg2", "implicit_args", "spinlock_safe", "perfmon",
}  # fmt: skip


def test_every_row_parses_and_comes_back() -> None:
    for name, row in KFUNCS.items():
        proto = row.proto
        assert proto.name == name == row.name
        assert all(param.name for param in proto.params), name
        assert row.flags <= FLAGS, name
        assert row.proto is proto  # parsed once


def test_one_has_a_parameter_too_many() -> None:
    assert [name for name, row in KFUNCS.items() if len(row.proto.params) > 12] == ["okf_sum13"]


def test_iterators_come_in_threes() -> None:
    for name, row in KFUNCS.items():
        if "iter_new" in row.flags:
            stem = name.removesuffix("_new")
            assert "iter_next" in KFUNCS[stem + "_next"].flags
            assert "iter_destroy" in KFUNCS[stem + "_destroy"].flags


def test_structs_are_as_large_as_their_members() -> None:
    for struct in STRUCTS.values():
        end = 0
        for member in struct.members:
            size = member.type.bits // 8
            end = -(-end // size) * size + size
        assert end <= struct.size, struct.name
    assert STRUCTS["okf_pair"].size == 16
