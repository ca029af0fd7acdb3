"""Calls between BPF functions: what gates write down, what they check, and what they leave behind."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bpf.asm import parse
from bpf.program import Program, RunInput
from emu.commands.run import run as command
from emu.compare import compare
from emu.interp import Interpreter
from emu.outcome import Outcome, Pointer, RunResult
from emu.runtime.world import World
from emu.sandbox import Checks, Machine, Sandbox, addresses, gates
from jit import compile_program
from jit.image import Image
from tests.emu.hostile_corpus import unverified


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


@pytest.fixture(scope="module")
def precise() -> Iterator[Machine]:
    made = Machine(10.0, precise=True)
    yield made
    made.close()


def run(machine: Machine, image: Image, rules: Checks | None = None) -> RunResult:
    world = World(image.verified.program, memory=machine.memory)
    return Sandbox(machine, world, image, seconds=10.0, rules=rules).run(RunInput())


def interpreted(program: Program) -> Outcome:
    return Outcome("interp", (Interpreter(World(program)).run(RunInput()),))


EIGHT = parse(
    """
extern u64 okf_sum5(u64 a, u64 b, u64 c, u64 d, u64 e)
static int main(void *ctx):
  r6 = r10
  r6 += -8
  r1 = 1
  r2 = 2
  r3 = 3
  r4 = 4
  r5 = 5
  call okf_sum5
  r1 = r6
  r2 = -2
  r3 = 3
  r4 = 4
  r5 = 5
  *(u64 *)(r11 - 8) = -6
  *(u64 *)(r11 - 16) = r6
  *(u64 *)(r11 - 24) = 8
  call f
  r0 = 1
  exit
static long f(long a, long b, long c, long d, long e, long g, long h, long i):
  r6 = *(u64 *)(r11 + 24)
  r0 = r6
  exit
""",
    "eight",
).program
MASK = (1 << 64) - 1


def test_a_call_of_a_function_is_written_down(machine: Machine) -> None:
    result = run(machine, compile_program(unverified(EIGHT)))
    (entry,) = result.entries
    assert (entry.insn, entry.function, entry.name, entry.after, entry.frame) == (16, 19, "f1", 1, 0)
    stack = Pointer("stack", 0, -8)
    assert entry.shown == (stack, None, None, None, None, None, stack, None)
    assert entry.args[1:6] == (MASK - 1, 3, 4, 5, MASK - 5)
    assert (entry.args[7], entry.ret, result.violations) == (8, 8, ())


def test_both_engines_tell_the_same(machine: Machine, precise: Machine) -> None:
    left = interpreted(EIGHT)
    (entry,) = left.runs[0].entries
    assert (entry.insn, entry.function, entry.after, entry.args[7], entry.ret) == (16, 19, 1, 8, 8)
    for one in (machine, precise):
        right = Outcome("sandbox", (run(one, compile_program(unverified(EIGHT))),))
        assert compare(left, right) is None


def test_another_argument_of_a_function_is_a_difference(machine: Machine) -> None:
    left = interpreted(EIGHT)
    result = run(machine, compile_program(unverified(EIGHT)))
    (entry,) = result.entries
    wrong = replace(entry, args=(*entry.args[:7], 9))
    found = compare(left, Outcome("sandbox", (replace(result, entries=(wrong,)),)))
    assert found is not None
    assert (found.kind, found.argument, found.callee, found.insn) == ("argument", 8, "f1", 16)
    assert found.message == "insn 16: argument 8 of f1: interp 0x8, sandbox 0x9"
    wrong = replace(entry, ret=7)
    found = compare(left, Outcome("sandbox", (replace(result, entries=(wrong,)),)))
    assert found is not None
    assert (found.kind, found.left, found.right) == ("result", "0x8", "0x7")


def test_argument_words_are_poison_behind_a_call(machine: Machine) -> None:
    image = compile_program(unverified(EIGHT))
    run(machine, image)
    words = [int.from_bytes(machine.stack[at : at + 8], "little") for at in range(0, len(machine.stack), 8)]
    assert addresses.POISON_WORD + 7 in words
    assert addresses.POISON_WORD + 8 in words
    assert addresses.POISON_WORD + 9 not in words


def test_a_lost_register_is_found_at_the_return_and_where_it_is_written(
    machine: Machine, precise: Machine
) -> None:
    image = compile_program(unverified(EIGHT))
    first, second = image.functions
    assert b"\x53" in second.code
    code = second.code.replace(b"\x53", b"\x90", 1).replace(b"\x5b", b"\x90", 1)  # push rbx, pop rbx
    broken = replace(image, functions=(first, replace(second, code=code)))
    (violation,) = run(machine, broken).violations
    assert (violation.check, violation.insn, violation.func) == ("callee-saved", 16, "f1")
    assert violation.message.startswith(
        "insn 16: call pc+2: callee-saved rbx after f1 returned: expected 0xffff"
    )
    (violation,) = run(precise, broken).violations
    assert (violation.check, violation.insn) == ("callee-saved", 19)
    assert "writes what it does not give back" in violation.message


def test_a_full_log_forgets_calls_and_checks_them_all_the_same(machine: Machine) -> None:
    program = parse(
        """
static int main(void *ctx):
  r6 = 5000
  r1 = r6
  call f
  r6 -= 1
  if r6 != 0 goto -4
  r0 = 0
  exit
static long f(long a):
  r0 = r1
  exit
""",
        "loop",
    ).program
    image = compile_program(unverified(program))
    result = run(machine, image)
    assert (len(result.entries), result.entries_dropped) == (gates.LIMIT, 5000 - gates.LIMIT)
    assert (result.trap, result.violations, result.r0) == (None, (), 0)
    assert compare(interpreted(program), Outcome("sandbox", (result,))) is None


NARROW = parse(
    """
extern u64 okf_narrow12(u8 a, s8 b, u16 c, s16 d, u32 e, s32 f, bool g, u8 h, s8 i, u16 j, s16 k, s32 l)
extern s8 okf_ret_s8(u64 a)
static int main(void *ctx):
  r1 = 0x101
  r2 = 2
  r3 = 3
  r4 = 4
  r5 = 5
  *(u64 *)(r11 - 8) = 6
  *(u64 *)(r11 - 16) = 1
  *(u64 *)(r11 - 24) = 8
  *(u64 *)(r11 - 32) = 9
  *(u64 *)(r11 - 40) = 10
  *(u64 *)(r11 - 48) = 11
  *(u64 *)(r11 - 56) = 0x7fffffff
  call okf_narrow12
  r1 = 5
  call okf_ret_s8
  exit
""",
    "narrow",
).program


@pytest.mark.parametrize(
    ("rules", "checks", "clean"),
    [
        (Checks(), [], True),
        (Checks(extended=frozenset(("okf_narrow12",))), ["narrow-argument"], True),
        (Checks(extended=frozenset(("okf_sum12",)), dirty=frozenset("*")), [], False),
    ],
)
def test_narrow_values(machine: Machine, rules: Checks, checks: list[str], clean: bool) -> None:
    result = run(machine, compile_program(unverified(NARROW)), rules)
    assert [one.check for one in result.violations] == checks
    assert result.r0 & 0xFF == result.calls[1].ret & 0xFF
    assert (result.r0 == result.calls[1].ret) is clean
    if checks:
        assert (result.violations[0].insn, result.violations[0].expected, result.violations[0].found) == (
            12,
            1,
            0x101,
        )


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        ([], 0, "agrees"),
        (["--dirty", "okf_ret_s8"], 1, "retval: interp 0x5, sandbox 0xa05"),
        (["--extended", "*"], 0, "agrees"),
        (["--align", "sysv"], 1, "rsp at the call of okf_ret_s8, for 16-byte alignment"),
    ],
)
def test_options_of_the_command(tmp_path: Path, options: list[str], status: int, text: str) -> None:
    file = tmp_path / "narrow.bpf"
    file.write_text(
        "prog tc\nlong main(struct __sk_buff *ctx):\n  r6 = 5\n  r1 = r6\n  call okf_ret_s8\n  exit\n"
    )
    ran = CliRunner().invoke(command, [str(file), *options])
    assert (ran.exit_code, text in ran.output) == (status, True), ran.output
