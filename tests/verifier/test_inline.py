"""Helpers that tracing programs ask about the function they are attached to: the instructions that a real 7.3.4 kernel puts in
their place, as it showed them (xlated).
"""

import pytest

from bpf import codec, isa
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.request import parse_request
from bpf.verified import Verified
from tests.verifier.kit import accepted
from verifier import inline, verify

TRACED = [
    pytest.param(
        24,
        "b702000000000000bfa300000000000007030000f8ffffff7a0af8ff0000000085000000b7000000b7000000000000009500000000000000",
        "b702000000000000bfa300000000000007030000f8ffffff7a0af8ff000000007910f8ff0000000057000000ff0000003e0206000000000067020000030000000f1200000000000079200000000000007b03000000000000b7000000000000000500010000000000b7000000eaffffffb7000000000000009500000000000000",
        id="arg-fentry",
    ),
    pytest.param(
        25,
        "b702000000000000bfa300000000000007030000f8ffffff7a0af8ff0000000085000000b7000000b7000000000000009500000000000000",
        "b702000000000000bfa300000000000007030000f8ffffff7a0af8ff000000007910f8ff0000000057000000ff0000003e0206000000000067020000030000000f1200000000000079200000000000007b03000000000000b7000000000000000500010000000000b7000000eaffffffb7000000000000009500000000000000",
        id="arg-fexit",
    ),
    pytest.param(
        24,
        "bfa200000000000007020000f8ffffff7a0af8ff0000000085000000b8000000b7000000000000009500000000000000",
        "bfa200000000000007020000f8ffffff7a0af8ff00000000b7000000a1ffffffb7000000000000009500000000000000",
        id="ret-fentry",
    ),
    pytest.param(
        25,
        "bfa200000000000007020000f8ffffff7a0af8ff0000000085000000b8000000b7000000000000009500000000000000",
        "bfa200000000000007020000f8ffffff7a0af8ff000000007910f8ff0000000057000000ff00000067000000030000000f1000000000000079030000000000007b32000000000000b700000000000000b7000000000000009500000000000000",
        id="ret-fexit",
    ),
    pytest.param(
        24,
        "85000000b9000000b7000000000000009500000000000000",
        "7910f8ff0000000057000000ff000000b7000000000000009500000000000000",
        id="cnt-fentry",
    ),
    pytest.param(
        25,
        "85000000b9000000b7000000000000009500000000000000",
        "7910f8ff0000000057000000ff000000b7000000000000009500000000000000",
        id="cnt-fexit",
    ),
    pytest.param(
        24,
        "85000000ad000000b7000000000000009500000000000000",
        "7910f0ff00000000b7000000000000009500000000000000",
        id="ip-fentry",
    ),
    pytest.param(
        25,
        "85000000ad000000b7000000000000009500000000000000",
        "7910f0ff00000000b7000000000000009500000000000000",
        id="ip-fexit",
    ),
]


@pytest.mark.parametrize(("attach", "before", "after"), TRACED)
def test_questions_about_the_traced_function(attach: int, before: str, after: str) -> None:
    request = {
        "insns": before,
        "prog_type": "tracing",
        "expected_attach_type": attach,
        "attach_to": "bpf_fentry_test1",
    }
    verdict = verify(parse_request(request, "traced").program)
    assert isinstance(verdict, Verified)
    assert codec.encode(verdict.insns).hex() == after
    # native code makes no call there that the interpreter makes
    assert len(verdict.inlined) == 1


def test_only_the_tracepoints_prototype_knows_its_arguments() -> None:
    """A raw tracepoint's context has no count in front of it."""
    assert inline.replacement(inline.GET_FUNC_ARG_CNT, None, "trace_raw_tp") is None
    assert inline.replacement(inline.GET_FUNC_ARG_CNT, None) is None


def test_kptrs_are_swapped_by_one_exchange() -> None:
    pieces = inline.replacement(inline.KPTR_XCHG, MapSpec("m", MapType.ARRAY, 4, 8, 1))
    assert pieces is not None
    swap = pieces[1].insn
    assert [piece.insn for piece in pieces[:1]] == [Insn(isa.ALU64 | isa.MOV | isa.X, 0, 2)]
    assert (swap.code, swap.dst, swap.src, swap.imm) == (isa.STX | isa.ATOMIC | isa.DW, 1, 0, isa.XCHG)


def test_counting_iterators_are_instructions() -> None:
    """Sequences of a real 7.3.4 kernel; fixtures/golden-more has whole programs with them."""
    text = (
        "prog tc\nint main(void *ctx):\nr1 = r10\nr1 += -8\nr2 = 1\nr3 = 3\ncall bpf_iter_num_new\nr1 = r10\nr1 += -8\n"
        "call bpf_iter_num_next\nr1 = r10\nr1 += -8\ncall bpf_iter_num_destroy\nr0 = 0\nexit\n"
    )
    verdict = accepted(text)
    assert verdict.inlined == {4, 7, 10}
    assert not any(insn.is_call for insn in verdict.insns)
    assert len(verdict.insns) == len(verdict.program.insns) + 13 + 8
