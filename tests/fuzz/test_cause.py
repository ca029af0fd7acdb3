"""Findings with one cause: the holes of the kernel's rules, and what tells other faults apart."""

from pathlib import Path

import pytest

from bpf.asm import parse
from bpf.program import Program
from emu.fuzz.cause import cause, group, hole
from emu.fuzz.finding import Finding

STRICT = Path(__file__).parents[2] / "fixtures" / "strict"
WRONG = Finding("engines", "retval", "0 is not 1")


def program(text: str) -> Program:
    return parse(text, "test").program


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("unreliable", 1),
        ("callback", 2),
        ("may_goto", 3),
        ("may_goto_callee", 3),
        ("ld_abs", 4),
        ("ld_abs_callee", 4),
        ("precision", 6),
    ],
)
def test_holes_are_known_by_what_strict_mode_says(name: str, number: int) -> None:
    made = program((STRICT / f"{name}.bpf").read_text(encoding="utf-8"))
    assert cause(made, {}, WRONG, "kernel").startswith(f"hole {number}: ")
    assert group(made, {}, WRONG, "kernel") == cause(made, {}, WRONG, "kernel")
    assert hole(made, {}, "strict") == ""
    calls = program("prog tc\nint main(void *ctx):\n  r0 = 0\n  exit\n")
    assert hole(calls, {"other": made}, "kernel").startswith(f"hole {number}: ")


PLAIN = """prog tc
int main(void *ctx):
  r1 = 7
  r2 = 0x123456789 ll
  r1 s/= 3
  call bpf_ktime_get_ns
  r0 = 0
  exit
"""


class TestOthers:
    @pytest.mark.parametrize(
        ("insn", "where"),
        [
            (3, " at sdiv64_imm"),
            (4, " at call of bpf_ktime_get_ns"),
            (None, " at call of bpf_ktime_get_ns, sdiv64_imm"),
            (99, " at call of bpf_ktime_get_ns, sdiv64_imm"),
        ],
    )
    def test_by_what_was_seen_and_where(self, insn: int | None, where: str) -> None:
        finding = Finding("engines", "result", "a message with values: 0x1234", insn)
        assert cause(program(PLAIN), {}, finding, "kernel") == f"engines: result{where}"
        assert group(program(PLAIN), {}, finding, "kernel") == "engines: result"

    def test_a_crash_says_itself_where(self) -> None:
        finding = Finding("crash", "TypeError in jit/emit.py:row", "x")
        assert cause(program(PLAIN), {}, finding, "strict") == "crash: TypeError in jit/emit.py:row"

    def test_what_the_kernel_refuses_is_no_hole(self) -> None:
        refused = program("prog tc\nint main(void *ctx):\n  r0 = r9\n  exit\n")
        assert hole(refused, {}, "kernel") == ""
