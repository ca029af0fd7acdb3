"""What stubs see of a call, what they leave behind, callbacks, tail calls, and how all that is reported."""

from collections.abc import Iterator

import pytest

from bpf.asm import parse
from bpf.program import Program, Request, RunInput
from emu.outcome import Pointer, RunResult
from emu.pipeline import Pipeline
from emu.runtime.world import World
from emu.sandbox import Machine, Sandbox, addresses, entry
from emu.sandbox.checks import Checks
from jit import compile_program
from tests.emu.hostile_corpus import unverified


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


def native(machine: Machine, text: str, rules: Checks | None = None) -> RunResult:
    world = World(parse("r0 = 0\nexit", "n").program, memory=machine.memory)
    code = entry.assemble(text, addresses.IMAGE)
    functions = [("main", addresses.IMAGE, code)]
    return Sandbox.of_bytes(machine, world, functions, rules=rules).run(RunInput())


def bpf(machine: Machine, text: str, stack: int = 32) -> RunResult:
    program = parse(text, "b").program
    world = World(program, memory=machine.memory)
    return Sandbox(machine, world, compile_program(unverified(program, stack))).run(RunInput())


TWELVE = """
extern u64 okf_sum12(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j, u64 k, u64 l)
static int main(void *ctx):
  r1 = -1
  r2 = 2
  r3 = 3
  r4 = 4
  r5 = 0x123456789abcdef0 ll
  *(u64 *)(r11 - 8) = 6
  *(u64 *)(r11 - 16) = -7
  *(u64 *)(r11 - 24) = 8
  *(u64 *)(r11 - 32) = 9
  *(u64 *)(r11 - 40) = 10
  *(u64 *)(r11 - 48) = 11
  *(u64 *)(r11 - 56) = 12
  call okf_sum12
  exit
"""


def test_twelve_arguments_as_a_native_callee_finds_them(machine: Machine) -> None:
    result = bpf(machine, TWELVE)
    (call,) = result.calls
    mask = (1 << 64) - 1
    args = (mask, 2, 3, 4, 0x123456789ABCDEF0, 6, mask - 6, 8, 9, 10, 11, 12)
    assert (call.callee, call.kind, call.insn, call.frame, call.args) == ("okf_sum12", "kfunc", 13, 0, args)
    assert call.ret == result.r0 == sum(n * a for n, a in enumerate(args, 1)) & mask
    assert call.shown == (None,) * 12


def test_pointers_are_shown_by_frame(machine: Machine) -> None:
    result = bpf(
        machine,
        """
extern u64 okf_sum6(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
static int main(void *ctx):
  r1 = r10
  r1 += -16
  call f
  exit
static long f(long a):
  r2 = r10
  r2 += -8
  r3 = r10
  r4 = g ll
  r5 = 5
  *(u64 *)(r11 - 8) = 6
  call okf_sum6
  exit
static long g(long a):
  r0 = 0
  exit
""",
    )
    (call,) = result.calls
    assert (call.frame, call.insn) == (1, 11)
    assert call.shown == (
        Pointer("stack", 0, -16),
        Pointer("stack", 1, -8),
        Pointer("stack", 1, 0),
        Pointer("func", 2, 0),
        None,
        None,
    )


CALLBACKS = """
static int main(void *ctx):
  *(u64 *)(r10 - 8) = 0
  r6 = 5
  r1 = 10
  r2 = cb ll
  r3 = r10
  r3 += -8
  r4 = 0
  call bpf_loop
  r0 = *(u64 *)(r10 - 8)
  r0 += r6
  exit
static long cb(long i, void *sum):
  r6 = r2
  r7 = r1
  r1 = 3
  r2 = inner ll
  r3 = r6
  r4 = 0
  call bpf_loop
  r0 = *(u64 *)(r6 + 0)
  r0 += r7
  *(u64 *)(r6 + 0) = r0
  r0 = 0
  exit
static long inner(long i, void *sum):
  r0 = *(u64 *)(r2 + 0)
  r0 += 100
  *(u64 *)(r2 + 0) = r0
  r0 = 0
  exit
"""


def test_callbacks_nest_without_nested_emulation(machine: Machine) -> None:
    result = bpf(machine, CALLBACKS)
    assert (result.trap, result.violations) == (None, ())
    assert result.r0 == 10 * 3 * 100 + sum(range(10)) + 5
    assert [call.frame for call in result.calls] == [0] + [1] * 10
    assert [call.ret for call in result.calls] == [10] + [3] * 10
    assert result.calls[1].shown[2] == Pointer("stack", 0, -8)


def test_callback_that_clobbers_a_saved_register_is_found(machine: Machine) -> None:
    result = bpf(
        machine,
        """
  r1 = 1
  r2 = cb ll
  r3 = 0
  r4 = 0
  call bpf_loop
  exit
static long cb(long i, void *ctx):
  r6 = 1
  *(u64 *)(r10 - 8) = 0
  r0 = 0
  exit
""",
        stack=0,
    )
    (violation,) = result.violations
    assert (violation.check, violation.func, violation.found) == ("callee-saved", "f1", 0)


def test_callback_that_returns_with_another_rsp_ends_the_run(machine: Machine) -> None:
    program = parse(CALLBACKS, "b").program
    world = World(program, memory=machine.memory)
    engine = Sandbox(machine, world, compile_program(unverified(program, 32)))
    # `ret` of the innermost callback becomes `ret 8`: the loader places code, so it is changed behind its back.
    function = engine.code.functions[2]
    at = function.code.rindex(b"\xc9\xc3")
    broken = function.code[:at] + b"\xc9\xc2\x08\x00"
    engine._chunks = [(addr, broken if addr == function.addr else code) for addr, code in engine._chunks]
    result = engine.run(RunInput())
    assert result.trap is not None
    assert result.trap.kind == "stack"
    assert [v.check for v in result.violations] == ["rsp"]


def test_alignment_is_a_matter_of_profile(machine: Machine) -> None:
    stub = machine.symbol("bpf_get_prandom_u32")
    odd = f"sub rsp, 16; call {stub:#x}; add rsp, 16; ret"
    assert native(machine, odd).violations == ()
    (violation,) = native(machine, odd, Checks("sysv")).violations
    assert violation.check == "stack-alignment"
    even = f"sub rsp, 8; call {stub:#x}; add rsp, 8; ret"
    assert native(machine, even, Checks("sysv")).violations == ()


def test_everything_a_callee_may_clobber_is_clobbered(machine: Machine) -> None:
    stub = machine.symbol("okf_sum8")
    for reg, want in addresses.POISON.items():
        if reg != "rax":
            text = f"sub rsp, 24; call {stub:#x}; mov rax, {reg}; add rsp, 24; ret"
            assert native(machine, text).r0 == want
    for number in (7, 8):
        text = f"sub rsp, 24; call {stub:#x}; mov rax, [rsp + {8 * (number - 7)}]; add rsp, 24; ret"
        assert native(machine, text).r0 == addresses.POISON_WORD + number
    text = f"sub rsp, 24; mov qword ptr [rsp + 16], 5; call {stub:#x}; mov rax, [rsp + 16]; add rsp, 24; ret"
    assert native(machine, text).r0 == 5  # no argument of this callee


TAIL = """
map jmp: prog_array key 4 value 4 max 4
progs 1 = other
progs 2 = main
prog sched_cls name main
static int main(void *ctx):
  r6 = r1
  r1 = r6
  r2 = map[jmp]
  r3 = {index}
  call bpf_tail_call
  r0 = 7
  exit
prog sched_cls name other
static int other(void *ctx):
  r0 = 99
  exit
"""


@pytest.mark.parametrize(("index", "want"), [(0, 7), (1, 99), (2, 7), (3, 7), (4, 7), (-1, 7)])
def test_tail_calls(machine: Machine, index: int, want: int) -> None:
    """To nothing, to another program, to itself until the limit ends it, and beyond the array."""
    from dataclasses import replace

    from bpf import isa

    programs: dict[str, Program] = {p.name: p for p in parse(TAIL.format(index=index), "t").programs}
    images = {}
    for name, program in programs.items():
        made = unverified(program)
        insns = tuple(
            replace(i, code=isa.OP_TAIL_CALL, imm=0) if i.code == isa.OP_CALL else i for i in made.insns
        )
        sub = replace(made.subprogs[0], tail_call_reachable=True, has_tail_call=name == "main")
        images[name] = compile_program(replace(made, insns=insns, subprogs=(sub,)))
    world = World(programs["main"], memory=machine.memory, programs=programs)
    result = Sandbox(machine, world, images["main"], programs=images).run(RunInput())
    assert (result.trap, result.violations, result.r0) == (None, (), want)


VALUES = """
map jmp: prog_array key 4 value 4 max 1
progs 0 = other
map data: array key 4 value 8 max 1
elem 00000000 = 2a00000000000000
prog sched_cls name main
long main(struct __sk_buff *ctx):
  r2 = map[jmp]
  r3 = 0
  call bpf_tail_call
  r0 = 7
  exit
prog sched_cls name other
long other(struct __sk_buff *ctx):
  r1 = map[data][0]+0
  r0 = *(u64 *)(r1 +0)
  exit
"""


def test_a_program_that_is_tail_called_finds_its_map_values() -> None:
    """Also those that the program which is run first does not name."""
    programs = {program.name: program for program in parse(VALUES, "v").programs}
    case = Pipeline().run(Request(programs["main"], (RunInput(),)), programs)
    assert case.error is None
    assert case.sandbox is not None
    assert (case.difference, case.sandbox.runs[0].trap, case.sandbox.runs[0].retval) == (None, None, 42)


def test_records_beyond_the_limit_are_counted(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emu.sandbox.calls.LIMIT", 5)
    result = bpf(machine, CALLBACKS)
    assert (len(result.calls), result.calls_dropped) == (5, 6)


def test_runs_that_the_kernel_refuses_have_an_errno(machine: Machine) -> None:
    program = parse("r0 = 0\nexit", "r").program
    world = World(program, memory=machine.memory)
    engine = Sandbox(machine, world, compile_program(unverified(program)))
    assert engine.run(RunInput(data_in=b"\x01")).errno == "EINVAL"
    assert engine.run(RunInput()).errno == "OK"


def test_two_sandboxes_take_turns(machine: Machine) -> None:
    engines = []
    for value in (1, 2):
        program = parse(f"r0 = {value}\nexit", "p").program
        engines.append(
            Sandbox(machine, World(program, memory=machine.memory), compile_program(unverified(program)))
        )
    # The second world took the memory over: only programs without maps may be mixed like this.
    assert [engines[i].run(RunInput()).r0 for i in (0, 1, 0, 0, 1)] == [1, 2, 1, 1, 2]


def test_all_rounds_of_a_run_share_its_seconds(machine: Machine) -> None:
    program = parse("prog tc\nlong main(struct __sk_buff *ctx):\n    r0 = 0\n    exit\n", "rounds").program
    world = World(program, memory=machine.memory)
    engine = Sandbox(machine, world, compile_program(unverified(program)), seconds=0.05)
    trap = engine.run(RunInput(repeat=1 << 31)).trap
    assert trap is not None
    assert trap.kind == "budget"
    assert engine.run(RunInput(repeat=2)).trap is None
