"""What ends a verification that takes too long, and the walk that follows a stack argument back."""

from bpf import asm
from bpf.verified import Rejected
from tests.verifier.kit import FIXTURES, program
from verifier import verify

BRANCHES = 8_193
FEW = 50_000  # visited instructions: the kernel's 1,000,000 take half a minute


def test_too_many_instructions() -> None:
    """A loop whose counter is known: no round is like another. With the kernel's own limit it was run by hand."""
    text = "r1 = 0\nagain:\n    r1 += 1\n    if r1 != 2000000 goto again\n    r0 = 0\n    exit\n"
    verdict = verify(program(text), insn_limit=FEW)
    assert isinstance(verdict, Rejected)
    assert verdict.errno == "E2BIG"
    assert verdict.message == f"BPF program is too large. Processed {FEW + 1} insn"
    assert f"processed {FEW + 1} insns (limit 1000000)" in verdict.log


def test_too_many_pending_branches() -> None:
    jumps = "".join(f"    if r0 == {k} goto out\n" for k in range(BRANCHES + 1))
    verdict = verify(program(f"r0 = *(u32 *)(r1 +0)\n{jumps}out:\n    r0 = 0\n    exit\n"))
    assert isinstance(verdict, Rejected)
    assert (verdict.errno, verdict.message) == ("E2BIG", f"The sequence of {BRANCHES} jumps is too complex.")


def test_a_length_is_followed_back_through_two_frames() -> None:
    """The walk of F.6: from a kfunc's seventh argument to both constants that the main program stores."""
    text = (FIXTURES / "text/stack_args/precision.bpf").read_text()
    lines = verify(asm.parse(text, "precision").program, log_level=2).log.splitlines()
    walks = []
    for line in lines:
        if line.startswith("mark_precise: frame1: last_idx 24"):
            walks.append([line])
        elif walks and line.startswith("mark_precise:"):
            walks[-1].append(line)
    assert len(walks) == 2
    callee = [
        *(f"regs= stack= before {at}" for at in range(23, 14, -1)),
        *(f"regs=r1 stack= before {at}" for at in (14, 13, 12)),
        "regs= stack= before 10",
    ]
    for walk, store in zip(
        walks, ("2: (7a) *(u64 *)(r11 -8) = 4", "4: (7a) *(u64 *)(r11 -8) = 6"), strict=True
    ):
        seen = [
            line.removeprefix("mark_precise: frame1: ").split(": (")[0]
            for line in walk
            if "frame1: regs" in line
        ]
        assert seen == callee
        assert "mark_precise: frame1: regs= stack= before 15: (7b) *(u64 *)(r11 -16) = r1" in walk
        assert walk[-1] == f"mark_precise: frame0: regs= stack= before {store}"
