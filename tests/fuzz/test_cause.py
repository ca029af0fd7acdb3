"""Findings with one cause: the holes of the kernel's rules, and what tells other faults apart."""

from pathlib import Path

import pytest

from bpf.asm import parse
from bpf.program import Program, Request
from emu.fuzz.cause import HOLES, cause, group, hole
from emu.fuzz.finding import Finding
from emu.fuzz.tasks import Config
from emu.fuzz.worker import Worker

STRICT = Path(__file__).parents[2] / "fixtures" / "strict"
WRONG = Finding("engines", "retval", "0 is not 1")


def program(text: str) -> Program:
    return parse(text, "test").program


def always(_finding: Finding) -> bool:
    return True


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
        ("throw_private", 8),
    ],
)
def test_holes_are_known_by_what_strict_mode_says(name: str, number: int) -> None:
    made = program((STRICT / f"{name}.bpf").read_text(encoding="utf-8"))
    assert cause(made, {}, WRONG, "kernel", always).startswith(f"hole {number}: ")
    assert group(made, {}, WRONG, "kernel", always) == cause(made, {}, WRONG, "kernel", always)
    assert hole(made, {}, WRONG, "strict", always) == ""
    calls = program("prog tc\nint main(void *ctx):\n  r0 = 0\n  exit\n")
    assert hole(calls, {"other": made}, WRONG, "kernel", always).startswith(f"hole {number}: ")


def test_what_strict_mode_does_not_hear_is_a_hidden_path() -> None:
    """Pruning may hide a path that does nothing forbidden: only the soundness check sees that."""
    made, unsound = program(PLAIN), Finding("sound", "pc", "insn 5: no path of the verifier comes here", 5)
    assert cause(made, {}, unsound, "kernel", lambda _finding: False).startswith("hole 6: ")
    assert cause(made, {}, unsound, "kernel", always) == "sound: pc at mov64_imm"
    assert cause(made, {}, unsound, "strict", lambda _finding: False) == "sound: pc at mov64_imm"
    wrong = Finding("codec", "listing", "text")
    assert cause(made, {}, wrong, "kernel", lambda _finding: False).startswith("codec: listing at ")


HIDDEN = """prog tc
u64 main(void):
  r0 = 0
  call f1
  exit
static u64 f1(void):
  *(u64 *)(r10 -8) = 1
  r0 = *(u16 *)(r10 -2)
  if r1 > 0 goto l0
  *(u64 *)(r11 -8) = -1880941808
  goto l1
l0:
  *(u64 *)(r11 -8) = 6
l1:
  *(u64 *)(r11 -16) = 7
  *(u64 *)(r10 -8) = 0
  if w0 s<= 6 goto l2
  if r1 & 0x8fe31b10 goto l2
  r0 = 0
l2:
  r0 = 0
  r0 = 0
  call f2
  exit
static u64 f2(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g):
  r0 = *(u64 *)(r11 +8)
  if r0 != 0x8fe31b10 goto l3
  r0 = 0
l3:
  exit
"""


def test_a_campaign_asks_strict_mode() -> None:
    """A program that a campaign has found: both modes accept it, and the kernel's rules overlook a path of it."""
    request = Request(program(HIDDEN))
    with Worker(Config(0, "kernel", ("calls",), ("sound",), coverage=False)) as worker:
        (found,) = worker.found(0, request, {})
    assert (found.finding.kind, found.group) == ("pc", f"hole 6: {HOLES[6]}")
    with Worker(Config(0, "strict", ("calls",), ("sound",), coverage=False)) as worker:
        assert worker.found(0, request, {}) == []


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
        assert cause(program(PLAIN), {}, finding, "kernel", always) == f"engines: result{where}"
        assert group(program(PLAIN), {}, finding, "kernel", always) == "engines: result"

    def test_a_crash_says_itself_where(self) -> None:
        finding = Finding("crash", "TypeError in jit/emit.py:row", "x")
        assert cause(program(PLAIN), {}, finding, "strict", always) == "crash: TypeError in jit/emit.py:row"

    def test_what_the_kernel_refuses_is_no_hole(self) -> None:
        refused = program("prog tc\nint main(void *ctx):\n  r0 = r9\n  exit\n")
        assert hole(refused, {}, WRONG, "kernel", always) == ""
