"""What the arguments of kfuncs are, by their types and names; and pairs of memory and length across the border to the stack."""

import pytest

from bpf.kfuncs import KFUNCS
from tests.verifier.kit import accepted, rejected
from verifier.kfuncprotos import describe


def kinds(name: str, prog_type: str = "sched_cls") -> list[str]:
    return [arg.kind for arg in describe(KFUNCS[name].proto, prog_type, None)]


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("okf_mem", ["anything"] * 5 + ["mem", "mem_size"]),
        ("okf_void6", ["anything"] * 5 + ["btf_id"]),
        ("bpf_dynptr_slice", ["dynptr", "anything", "mem", "const_mem_size"]),
        ("bpf_iter_num_new", ["iter", "anything", "anything"]),
        ("bpf_list_push_back_impl", ["list_head", "list_node", "ignore", "anything"]),
        ("bpf_rbtree_add", ["rb_root", "rb_node", "callback"]),
        ("bpf_obj_new", ["const"]),
        ("bpf_wq_init", ["wq", "const_map", "anything"]),
        ("bpf_arena_free_pages", ["btf_id", "ignore", "anything"]),
        ("bpf_local_irq_save", ["irq_flag"]),
        ("bpf_cgroup_read_xattr", ["btf_id", "const_str", "dynptr"]),
    ],
)
def test_kinds(name: str, want: list[str]) -> None:
    assert kinds(name) == want


def test_a_context_depends_on_the_program() -> None:
    assert kinds("bpf_dynptr_from_skb")[0] == "ctx"
    assert kinds("bpf_dynptr_from_skb", "tracing")[0] == "btf_id"


def test_every_kfunc_is_described() -> None:
    for kfunc in KFUNCS.values():
        args = describe(kfunc.proto, "sched_cls", None)
        assert len(args) == len(kfunc.proto.params)


def split(pointer: str, size: int) -> str:
    """okf_mem_split has its memory in r5 and the length in the first slot."""
    return (
        "prog tc\nint main(void *ctx):\n*(u64 *)(r10 -8) = 1\n"
        f"{pointer}\nr1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\n*(u64 *)(r11 -8) = {size}\n"
        "call okf_mem_split\nr0 = 0\nexit\n"
    )


def test_a_pair_straddles_the_border() -> None:
    accepted(split("r5 = r10\nr5 += -8", 8))
    verdict = rejected(split("r5 = r10\nr5 += -8", 9))
    assert verdict.message == "R5 and *(R11-8) memory, len pair leads to invalid memory access"
    assert verdict.errno == "EINVAL"


def test_null_is_named_by_its_register() -> None:
    verdict = rejected(split("r5 = 0", 0))
    assert verdict.message == "Possibly NULL pointer passed to trusted R5"


def test_a_pointer_without_a_length_leads_to_what_has_one() -> None:
    """The prototype alone is refused, before any instruction is looked at."""
    verdict = rejected("r1 = 0\nr2 = 0\ncall bpf_kfunc_call_test_mem_len_fail1\nexit")
    assert verdict.message == "R1 pointer type UNKNOWN  must point to scalar, or struct with scalar"
    assert (verdict.errno, verdict.verified_insns) == ("EINVAL", 0)
