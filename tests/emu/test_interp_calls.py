"""Functions, stack arguments, helpers, kfuncs, callbacks and tail calls of the interpreter."""

from collections.abc import Generator

import pytest

from bpf import isa
from bpf.asm import assemble
from bpf.btf_build import BtfBuilder
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.program import FuncInfo, KfuncRef, Program, RunInput
from bpf.proto import CType, FuncProto, Param
from emu.interp import records
from emu.interp.layout import STACK_TOP, function_address
from emu.outcome import Pointer
from emu.runtime.callback import Callback
from emu.runtime.traps import HelperTrap
from tests.emu.interp_kit import execute, program, r0, trap

LONG = CType("int", "long", 64, signed=True)


def functions(text: str, **arguments: int) -> Program:
    """Code with labels; each argument is a label's name and how many parameters its prototype has."""
    builder = BtfBuilder()
    infos = []
    lines = [line for line in text.splitlines() if line.strip()]
    for name, count in arguments.items():
        at = sum(1 for line in lines[: lines.index(f"{name}:")] if not line.endswith(":"))
        proto = FuncProto(name, LONG, tuple(Param(f"a{n}", LONG) for n in range(1, count + 1)))
        infos.append(FuncInfo(at, builder.function(proto, 0)))
    return Program("t", assemble(text), btf=builder.build(), func_info=tuple(infos))


def test_callee_keeps_r6_to_r9_and_has_its_own_stack() -> None:
    text = """
    r6 = 1
    r7 = 2
    r8 = 3
    r9 = 4
    *(u64 *)(r10 -8) = 5
    r1 = 10
    call f
    r0 += r6
    r0 += r7
    r0 += r8
    r0 += r9
    r1 = *(u64 *)(r10 -8)
    r0 += r1
    exit
    f:
    r6 = 100
    r7 = 100
    r8 = 100
    r9 = 100
    *(u64 *)(r10 -8) = 100
    r0 = r1
    exit"""
    assert r0(text) == 10 + 1 + 2 + 3 + 4 + 5


def test_callee_may_write_its_callers_stack() -> None:
    assert r0("r1 = r10\ncall f\nr0 = *(u64 *)(r10 -16)\nexit\nf:\n*(u64 *)(r1 -16) = 9\nr0 = 0\nexit") == 9


@pytest.mark.parametrize("register", [1, 2, 3, 4, 5])
def test_arguments_are_gone_after_a_call(register: int) -> None:
    text = f"r{register} = 3\ncall f\nr0 = r{register}\nexit\nf:\nr0 = 0\nexit"
    found = trap(text)
    assert (found.kind, found.insn) == ("uninitialized", 2)
    assert found.message == f"insn 2: r0 = r{register}: r{register} is not defined"


@pytest.mark.parametrize("register", [0, 6, 7, 8, 9])
def test_callee_starts_without_its_callers_registers(register: int) -> None:
    text = f"r0 = 1\nr{register} = 1\ncall f\nexit\nf:\nr1 = r{register}\nr0 = 0\nexit"
    assert trap(text).message.endswith(f"r{register} is not defined")


def test_static_function_may_leave_r0_undefined() -> None:
    assert r0("call f\nr0 = 4\nexit\nf:\nexit") == 4
    assert trap("call f\nexit\nf:\nexit").insn == 1


def caller(count: int) -> str:
    """Calls f with 1 << 4k as argument k + 1."""
    lines = [f"r{k + 1} = {1 << 4 * k}" for k in range(min(count, 5))]
    lines += [f"r0 = {1 << 4 * k} ll\n*(u64 *)(r11 -{8 * (k - 4)}) = r0" for k in range(5, count)]
    return "\n".join([*lines, "call f", "exit"])


def summing(count: int) -> str:
    """f: the sum of argument k times k."""
    lines = ["r0 = 0"]
    for k in range(1, count + 1):
        if k > 5:
            lines.append(f"r1 = *(u64 *)(r11 +{8 * (k - 5)})")
        lines += [f"r{k if k <= 5 else 1} *= {k}", f"r0 += r{k if k <= 5 else 1}"]
    return "\n".join([*lines, "exit"])


# sum over k of k << 4(k - 1)
SUMS = {
    6: 0x654321,
    7: 0x7654321,
    8: 0x87654321,
    9: 0x987654321,
    10: 0xA987654321,
    11: 0xBA987654321,
    12: 0xCBA987654321,
}


@pytest.mark.parametrize(("count", "total"), SUMS.items())
def test_stack_arguments(count: int, total: int) -> None:
    assert r0(f"{caller(count)}\nf:\n{summing(count)}") == total
    assert r0(functions(f"{caller(count)}\nf:\n{summing(count)}", f=count)) == total


def test_stored_immediate_is_extended_by_sign() -> None:
    assert r0("*(u64 *)(r11 -8) = -2\ncall f\nexit\nf:\nr0 = *(u64 *)(r11 +8)\nexit") == 0xFFFF_FFFF_FFFF_FFFE


def test_arguments_are_forwarded() -> None:
    text = """
    *(u64 *)(r11 -8) = 6
    *(u64 *)(r11 -16) = 7
    call middle
    exit
    middle:
    r1 = *(u64 *)(r11 +8)
    r2 = *(u64 *)(r11 +16)
    *(u64 *)(r11 -8) = r2
    *(u64 *)(r11 -16) = r1
    *(u64 *)(r11 -24) = 8
    call last
    exit
    last:
    r0 = *(u64 *)(r11 +8)
    r0 *= 10
    r1 = *(u64 *)(r11 +16)
    r0 += r1
    r0 *= 10
    r1 = *(u64 *)(r11 +24)
    r0 += r1
    exit"""
    assert r0(text) == 768


def test_incoming_arguments_outlive_the_callees_own_calls() -> None:
    text = """
    *(u64 *)(r11 -8) = 6
    call f
    exit
    f:
    *(u64 *)(r11 -8) = 60
    call g
    r1 = *(u64 *)(r11 +8)
    r0 += r1
    exit
    g:
    r0 = *(u64 *)(r11 +8)
    exit"""
    assert r0(text) == 66


@pytest.mark.parametrize("slot", range(7))
def test_argument_that_was_not_stored(slot: int) -> None:
    stores = "\n".join(f"*(u64 *)(r11 -{8 * k}) = 1" for k in range(1, 8) if k != slot + 1)
    found = trap(f"{stores}\ncall f\nexit\nf:\nr0 = *(u64 *)(r11 +{8 * (slot + 1)})\nexit")
    assert (found.kind, found.insn) == ("uninitialized", 8)
    where = 8 * (slot + 1)
    assert found.message == f"insn 8: r0 = *(u64 *)(r11 +{where}): stack argument {slot + 6} was not passed"


def test_slots_are_empty_after_a_call() -> None:
    text = "*(u64 *)(r11 -8) = 1\ncall f\ncall f\nexit\nf:\nr0 = *(u64 *)(r11 +8)\nexit"
    assert trap(text).insn == 4
    assert execute(text).insns == 6


def test_slots_are_empty_after_a_helper_call() -> None:
    text = "*(u64 *)(r11 -8) = 1\ncall bpf_ktime_get_ns\ncall f\nexit\nf:\nr0 = *(u64 *)(r11 +8)\nexit"
    assert trap(text, helpers={5: lambda: 1}).kind == "uninitialized"


def test_main_program_has_no_incoming_arguments() -> None:
    assert trap("r0 = *(u64 *)(r11 +8)\nexit").message.endswith("stack argument 6 was not passed")


def test_reading_more_than_the_prototype_has() -> None:
    text = """*(u64 *)(r11 -8) = 6
*(u64 *)(r11 -16) = 7
call f
exit
f:
r0 = *(u64 *)(r11 +16)
exit"""
    assert r0(functions(text, f=7)) == 7
    assert trap(functions(text, f=6)).message.endswith("stack argument 7 was not passed")
    assert trap("r0 = *(u64 *)(r11 +64)\nexit").message.endswith("stack argument 13 was not passed")


def test_eighth_slot_cannot_be_stored() -> None:
    found = trap("*(u64 *)(r11 -64) = 1\nr0 = 0\nexit")
    assert found.message.endswith("stack arg write offset -64 exceeds max 7 stack args")


def test_storing_an_undefined_argument() -> None:
    assert trap("*(u64 *)(r11 -8) = r5\nr0 = 0\nexit").message.endswith("r5 is not defined")


RECURSION = "r1 = {}\ncall f\nexit\nf:\nr0 = r1\nif r1 == 0 goto out\nr1 -= 1\ncall f\nr0 += 1\nout:\nexit"


def test_sixteen_frames() -> None:
    assert r0(RECURSION.format(14)) == 14
    found = trap(RECURSION.format(15))
    assert (found.kind, found.insn) == ("stack", 6)
    assert found.message == "insn 6: call pc-4: more than 16 call frames"


def test_helper_gets_its_arguments_and_returns_64_bits() -> None:
    seen: list[tuple[int, ...]] = []

    def strtol(*args: int) -> int:
        seen.append(args)
        return -22

    result = execute(
        "r1 = r10\nr1 += -16\nr2 = 4\nr3 = -1\nr4 = 7\nr5 = 9\ncall bpf_strtol\nexit", helpers={105: strtol}
    )
    assert result.r0 == 0xFFFF_FFFF_FFFF_FFEA
    assert result.retval == 0xFFFF_FFEA
    assert seen == [(STACK_TOP - 16, 4, 0xFFFF_FFFF_FFFF_FFFF, 7)]
    (call,) = result.calls
    assert (call.insn, call.callee, call.kind, call.frame, call.nargs) == (6, "bpf_strtol", "helper", 0, 4)
    assert call.args == seen[0]
    assert call.shown == (Pointer("stack", 0, -16), None, None, None)
    assert call.ret == 0xFFFF_FFFF_FFFF_FFEA


def test_helper_with_an_undefined_argument() -> None:
    found = trap("r1 = 1\nr2 = 2\ncall bpf_strtol\nexit", helpers={105: lambda *_: 0})
    assert found.kind == "uninitialized"
    assert found.message == "insn 2: call bpf_strtol#105: r3 is not defined"


def test_void_helper_leaves_r0_undefined() -> None:
    text = "r1 = 1\nr2 = 2\nr0 = 3\ncall bpf_ringbuf_submit\nexit"
    assert trap(text, helpers={132: lambda *_: 0}).message.endswith("r0 is not defined")


def test_unknown_helper() -> None:
    found = trap([Insn(isa.OP_CALL, imm=99999), Insn(isa.OP_EXIT)])
    assert (found.kind, found.message.rpartition(": ")[2]) == ("call", "there is no helper 99999")


def test_helper_that_refuses() -> None:
    def refuse() -> int:
        raise HelperTrap("helper", "not today")

    found = trap("call bpf_ktime_get_ns\nexit", helpers={5: refuse})
    assert (found.kind, found.insn) == ("helper", 0)
    assert found.message == "insn 0: call bpf_ktime_get_ns#5: not today"


def kfunc_program(text: str, name: str) -> Program:
    """`call kfunc` lines become calls of kfunc `name`."""
    insns = [
        Insn(isa.OP_CALL, 0, isa.PSEUDO_KFUNC_CALL) if i == MARK else i
        for i in assemble(text.replace("kfunc", "-1"))
    ]
    refs = tuple(KfuncRef(at, name) for at, i in enumerate(insns) if i.src == 2 and i.code == isa.OP_CALL)
    return Program("t", tuple(insns), kfuncs=refs)


MARK = assemble("call -1")[0]
EIGHT = (
    "\n".join(f"r{k} = {k}" for k in range(1, 6))
    + "\n"
    + "\n".join(f"*(u64 *)(r11 -{8 * (k - 5)}) = {k}" for k in (6, 7, 8))
)


def test_kfunc_gets_stack_arguments() -> None:
    seen: list[tuple[int, ...]] = []

    def sum8(*args: int) -> int:
        seen.append(args)
        return 77

    result = execute(kfunc_program(f"{EIGHT}\ncall kfunc\nexit", "okf_sum8"), kfuncs={"okf_sum8": sum8})
    assert (result.trap, result.r0) == (None, 77)
    assert seen[0][:8] == (1, 2, 3, 4, 5, 6, 7, 8)
    assert len(seen[0]) == 12
    (call,) = result.calls
    assert (call.callee, call.kind, call.args, call.nargs) == (
        "okf_sum8",
        "kfunc",
        (1, 2, 3, 4, 5, 6, 7, 8),
        8,
    )


def test_kfunc_call_with_a_missing_argument_and_slots_after_it() -> None:
    short = EIGHT.rpartition("\n")[0]
    found = trap(kfunc_program(f"{short}\ncall kfunc\nexit", "okf_sum8"), kfuncs={"okf_sum8": lambda *_: 0})
    assert found.kind == "uninitialized"
    assert found.message.endswith("stack argument 8 (r11 -24) is not defined")
    twice = kfunc_program(f"{EIGHT}\ncall kfunc\n" + EIGHT.partition("*")[0] + "call kfunc\nexit", "okf_sum8")
    assert trap(twice, kfuncs={"okf_sum8": lambda *_: 0}).message.endswith(
        "stack argument 6 (r11 -8) is not defined"
    )


def test_unknown_kfunc() -> None:
    found = trap(kfunc_program("call kfunc\nexit", "no_such_kfunc"))
    assert (found.kind, found.message.rpartition(": ")[2]) == (
        "call",
        "kfunc no_such_kfunc is not implemented",
    )
    nameless = [Insn(isa.OP_CALL, 0, isa.PSEUDO_KFUNC_CALL, imm=5), Insn(isa.OP_EXIT)]
    assert trap(nameless).kind == "call"


# ---------------------------------------------------------------- callbacks


def func(dst: int, distance: int) -> list[Insn]:
    return [Insn(isa.LD_IMM64, dst, isa.PSEUDO_FUNC, imm=distance), Insn(0)]


def looping(callback: str, after: str = "exit") -> list[Insn]:
    """bpf_loop(3, callback, fp - 8, 0) with 0 at fp - 8."""
    main = [
        *assemble("*(u64 *)(r10 -8) = 0\nr1 = 3\nr3 = r10\nr3 += -8\nr4 = 0"),
        *func(2, 0),
        *assemble("call bpf_loop"),
        *assemble(after),
    ]
    at = next(i for i, insn in enumerate(main) if insn.code == isa.LD_IMM64)
    main[at : at + 2] = func(2, len(main) - at - 1)
    return [*main, *assemble(callback)]


def loop(count: int, callback: int, ctx: int, _flags: int) -> Generator[Callback, int, int]:
    for index in range(count):
        if (yield Callback(callback, (index, ctx))):
            return index + 1
    return count


LOOP = {181: loop}


def test_callback() -> None:
    add = "r3 = *(u64 *)(r2 +0)\nr1 += 10\nr3 += r1\n*(u64 *)(r2 +0) = r3\nr0 = 0\nexit"
    assert r0(looping(add), helpers=LOOP) == 3
    assert r0(looping(add, "r0 = *(u64 *)(r10 -8)\nexit"), helpers=LOOP) == 10 + 11 + 12


def test_callback_that_ends_the_loop() -> None:
    assert r0(looping("r0 = 1\nexit"), helpers=LOOP) == 1


def test_callback_record_shows_pointers() -> None:
    result = execute(looping("r0 = 0\nexit"), helpers=LOOP)
    (call,) = result.calls
    assert call.args[1] == function_address(9)
    assert call.shown == (None, Pointer("func", 1, 0), Pointer("stack", 0, -8), None)
    assert (call.ret, call.insn) == (3, 7)


def test_callback_has_five_arguments_and_no_others() -> None:
    stored = [Insn(isa.ST | isa.MEM | isa.DW, isa.REG_PARAMS, off=-8, imm=6)]
    body = looping("r0 = *(u64 *)(r11 +8)\nexit")
    found = trap([*body[:5], *stored, *body[5:]], helpers=LOOP)
    assert found.message.endswith("stack argument 6 was not passed")
    assert trap(looping("r0 = r3\nexit"), helpers=LOOP).message.endswith("r3 is not defined")


def test_callback_must_return_something() -> None:
    found = trap(looping("exit"), helpers=LOOP)
    assert (found.insn, found.message) == (9, "insn 9: exit: r0 is not defined")


def test_trap_inside_of_a_callback_closes_the_helper() -> None:
    closed = []

    def watched(_count: int, callback: int, _ctx: int, _flags: int) -> Generator[Callback, int, int]:
        try:
            yield Callback(callback, ())
        finally:
            closed.append(True)
        return 0

    found = trap(looping("r0 = *(u64 *)(r10 +0)\nexit"), helpers={181: watched})
    assert (found.kind, found.insn, closed) == ("access", 9, [True])


def test_helper_that_traps_between_callbacks_is_named() -> None:
    def failing(_count: int, callback: int, _ctx: int, _flags: int) -> Generator[Callback, int, int]:
        yield Callback(callback, ())
        raise HelperTrap("helper", "enough")

    found = trap(looping("r0 = 0\nexit"), helpers={181: failing})
    assert (found.kind, found.insn) == ("helper", 7)
    assert found.message == "insn 7: call bpf_loop#181: enough"


def test_callback_at_no_function() -> None:
    text = "r1 = 3\nr2 = 5\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit"
    found = trap(text, helpers=LOOP)
    assert (found.kind, found.insn) == ("call", 4)
    assert found.message.endswith("the callback at 0x5 is no function of the program")


def test_callbacks_nest_only_as_deep_as_frames() -> None:
    """A callback that calls bpf_loop with itself."""
    again = [*assemble("r1 = 1\nr3 = 0\nr4 = 0"), *func(2, -4), *assemble("call bpf_loop\nexit")]
    found = trap([*looping(""), *again], helpers=LOOP)
    assert found.kind == "stack"
    assert found.message.endswith("more than 16 call frames")


def test_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LIMIT", 5)
    result = execute(
        "r6 = 8\nloop:\ncall bpf_ktime_get_ns\nr6 -= 1\nif r6 != 0 goto loop\nexit", helpers={5: lambda: 1}
    )
    assert (len(result.calls), result.calls_dropped) == (5, 3)


# ---------------------------------------------------------------- tail calls

PROGS = MapSpec("progs", MapType.PROG_ARRAY, 4, 4, 4)


def tail_calling(index: int, after: str, before: str = "") -> Program:
    insns = [
        *assemble(before),
        Insn(isa.LD_IMM64, 2, isa.PSEUDO_MAP_FD),
        Insn(0),
        *assemble(f"r3 = {index} ll\ncall bpf_tail_call\n{after}"),
    ]
    return Program("main", tuple(insns), maps=(PROGS,))


def test_tail_call_replaces_the_program() -> None:
    target = program("r0 = *(u32 *)(r1 +0)\nexit")  # the context is handed on
    result = execute(
        tail_calling(1, "r0 = 1\nexit"),
        RunInput(data_in=bytes(60)),
        tails={1: "next"},
        programs={"next": target},
    )
    assert (result.trap, result.r0) == (None, 60)


def test_tail_call_that_finds_nothing_goes_on() -> None:
    assert r0(tail_calling(2, "r0 = 1\nexit")) == 1
    assert trap(tail_calling(2, "exit")).message.endswith("r0 is not defined")


def test_tail_call_index_is_32_bits() -> None:
    options = {"tails": {1: "next"}, "programs": {"next": program("r0 = 9\nexit")}}
    assert r0(tail_calling(0x1_0000_0001, "r0 = 1\nexit"), **options) == 9


def test_tail_calls_are_limited_to_33() -> None:
    counting = tail_calling(
        0, "r0 = *(u32 *)(r6 +8)\nexit", "r6 = r1\nr0 = *(u32 *)(r1 +8)\nr0 += 1\n*(u32 *)(r1 +8) = r0"
    )
    assert r0(counting, tails={0: "main"}, programs={"main": counting}) == 34  # itself and 33 times more


def test_tail_call_in_a_function_returns_to_its_caller() -> None:
    main = assemble("call f\nr0 += 1\nexit\nf:")
    inner = tail_calling(0, "r0 = 1\nexit").insns
    given = Program("main", (*main, *inner), maps=(PROGS,))
    assert r0(given, tails={0: "next"}, programs={"next": program("r0 = 40\nexit")}) == 41


def test_tail_call_of_a_program_that_is_not_there() -> None:
    assert trap(tail_calling(0, "r0 = 1\nexit"), tails={0: "gone"}).kind == "call"
