"""Reduction, pass by pass: what is left of small programs when something simple is sought in them."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from bpf import asm, exceptions, isa
from bpf.btf_plain import lock_of
from bpf.codec import encode
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS
from bpf.program import Program, Request
from bpf.verified import Verified
from emu.fuzz.finding import Finding
from emu.fuzz.generators.edit import Text
from emu.fuzz.reduce import Budget, reduce, reducer
from emu.fuzz.reduce.draft import Draft
from emu.fuzz.reduce.search import Search
from tests.fuzz.reduce_kit import FOUND, Seeking, Sought, code, has, reduced
from verifier import verify

CALLS = """
prog tc
map values: array key 4 value 64 max 16
    elem 00000000 = 01*64

int main(struct __sk_buff *ctx):
    r6 = r1
    *(u32 *)(r10 -4) = 0
    r2 = r10
    r2 += -4
    r1 = map[values]
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r7 = *(u64 *)(r0 +8)
    *(u64 *)(r10 -64) = r7
    *(u64 *)(r11 -8) = r7
    *(u64 *)(r11 -16) = 1000
    r1 = r6
    r2 = 2
    r3 = 3
    r4 = 4
    r5 = 5
    call inner
    r8 = *(u64 *)(r10 -64)
    r0 += r8
    if r0 s> 100 goto out
    w0 *= 3
    exit
out:
    r0 = 77
    exit

static long inner(struct __sk_buff *ctx, int b, u8 c, s16 d, long e, long f, long g):
    r6 = *(u64 *)(r11 +8)
    r7 = *(u64 *)(r11 +16)
    r6 += r7
    r0 = r6
    exit

input: data 01*64
input: data 02*64
"""


def insns(request: Request) -> tuple[Insn, ...]:
    return request.program.insns


def calls_kfunc(request: Request, nargs: int) -> bool:
    return any(len(KFUNCS[ref.name].proto.params) == nargs for ref in request.program.kfuncs)


def test_nothing_sought_but_acceptance() -> None:
    result = reduced(CALLS, lambda _request, _others: True)
    assert code(result) == ["r0 = 0", "exit", "input:"]
    assert result.request.program.maps == ()
    assert (result.insns_before, result.insns_after) == (29, 2)
    assert result.stopped == ""


def test_a_call_with_stack_arguments() -> None:
    def calls(request: Request, _others: Mapping[str, Program]) -> bool:
        program = request.program
        protos = [program.btf.prototype(one.type_id) for one in program.func_info] if program.btf else []
        stores = any(insn.dst == isa.REG_PARAMS for insn in program.insns)
        return stores and any(len(proto.params) > 5 for proto in protos)

    result = reduced(CALLS, calls)
    left = code(result)
    assert result.insns_after <= 6
    assert [line for line in left if "r11" in line] == ["*(u64 *)(r11 -8) = 6"]
    assert [line for line in left if "call" in line] == ["call inner"]
    assert "static u64 inner(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f):" in left


@pytest.mark.parametrize(
    ("sought", "left"),
    [
        (has("w0 *= 3"), ["r0 = 0", "w0 *= 3", "exit"]),
        (has("call bpf_map_lookup_elem#1"), [
            "map values: array key 1 value 1 max 1",
        ]),
    ],
)  # fmt: skip
def test_single_instructions(sought: Sought, left: list[str]) -> None:
    found = code(reduced(CALLS, sought))
    assert [line for line in found if line in left] == left
    assert len(found) <= 9


def test_jumps_functions_and_kfuncs_are_fixed_up() -> None:
    text = """
    prog tc
    int main(struct __sk_buff *ctx):
        r6 = *(u32 *)(r1 +0)
        if r6 > 3 goto far
        r6 += 1
        r6 += 2
    far:
        r7 = 0x123456789abcdef0 ll
        call f
        r0 += r7
        exit
    static long f(void):
        r6 = 5
        r1 = 1
        r2 = 2
        r3 = 3
        r4 = 4
        r5 = 5
        call okf_sum5
        exit
    """
    result = reduced(text, lambda request, _: calls_kfunc(request, 5))
    assert result.insns_after == 7
    assert [ref.insn for ref in result.request.program.kfuncs] == [
        at for at, insn in enumerate(insns(result.request)) if insn.code == isa.OP_CALL
    ]


def test_kfuncs_become_simpler_ones() -> None:
    text = """
    prog tc
    int main(struct __sk_buff *ctx):
        *(u64 *)(r11 -8) = 6
        *(u64 *)(r11 -16) = 7
        *(u64 *)(r11 -24) = 8
        r1 = 1
        r2 = 2
        r3 = 3
        r4 = 4
        r5 = 5
        call okf_sum8
        exit
    """
    result = reduced(text, lambda request, _: any(ref.name > "okf_sum5" for ref in request.program.kfuncs))
    assert [ref.name for ref in result.request.program.kfuncs] == ["okf_sum6"]
    assert [line for line in code(result) if "r11" in line] == ["*(u64 *)(r11 -8) = 6"]
    assert result.insns_after == 8


def test_a_parameter_in_the_middle_goes() -> None:
    text = """
    prog tc
    int main(struct __sk_buff *ctx):
        *(u64 *)(r11 -8) = 60
        *(u64 *)(r11 -16) = 70
        *(u64 *)(r11 -24) = 81
        call f
        exit
    static long f(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h):
        r1 = *(u64 *)(r11 +8)
        r2 = *(u64 *)(r11 +16)
        r0 = *(u64 *)(r11 +24)
        r0 += r2
        r0 += r1
        exit
    """
    wanted = Insn(isa.ST | isa.MEM | isa.DW, 11, 0, -8, 81)
    result = reduced(text, lambda request, _: any(i.imm == 81 and i.cls == isa.ST for i in insns(request)))
    assert wanted in insns(result.request)
    assert [line for line in code(result) if line.startswith("static")] == [
        "static u64 f(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f):"
    ]


def test_constants_go_towards_nothing() -> None:
    text = "r0 = 0x7fffffff\nr1 = 0x123456789abcdef0 ll\nr0 += r1\nexit\n"
    result = reduced(text, lambda request, _: any(i.imm >= 128 for i in insns(request)))
    assert code(result) == ["r0 = 128", "exit", "input:"]
    result = reduced(text, lambda request, _: any(i.code == isa.LD_IMM64 for i in insns(request)))
    assert code(result) == ["r0 = 0x0 ll", "exit", "input:"]


def test_registers_and_the_stack_are_renumbered() -> None:
    text = """
        r8 = 7
        *(u64 *)(r10 -200) = r8
        r9 = r10
        r9 += -200
        r7 = *(u64 *)(r9 +0)
        r0 = r7
        exit
    """
    found = code(reduced(text, lambda request, _: any(i.code == isa.ALU64 | isa.ADD for i in insns(request)) and any(i.cls == isa.LDX for i in insns(request))))  # fmt: skip
    assert found == ["r0 = r10", "r0 += -8", "r0 = *(u64 *)(r0 +0)", "exit", "input:"]


def test_branches_go_and_what_they_skipped_too() -> None:
    text = """
        r6 = *(u32 *)(r1 +0)
        if r6 == 1 goto a
        if r6 == 2 goto b
        r0 = 3
        exit
    a:
        r0 = 4
        exit
    b:
        w0 = 5
        exit
    """
    assert code(reduced(text, has("w0 = 5"))) == ["w0 = 5", "exit", "input:"]


def test_inputs_maps_and_attributes() -> None:
    text = """
    prog xdp flags 8
    map a: array key 4 value 64 max 100 flags 1024
        elem 00000000 = 01*64
        elem 01000000 = 02*64
    map b: hash key 16 value 32 max 50 dump
    r1 = map[b]
    r2 = map[a]
    r0 = 2
    exit
    input: data 01*64
    input: data 0102030405060708*8 repeat 4
    input: data 03*64
    """

    def sought(request: Request, _others: Mapping[str, Program]) -> bool:
        return any((run.data_in or b"")[6:7] == b"\7" for run in request.runs) and any(
            spec.type == 1 for spec in request.program.maps
        )

    result = reduced(text, sought)
    assert code(result) == ["map b: hash key 1 value 1 max 1", "r0 = 0", "exit", "input: data 00000000000007"]
    assert result.request.program.prog_type == "sched_cls"


def test_other_programs() -> None:
    text = """
    prog tc name main
    map progs: prog_array key 4 value 4 max 3
        progs 0 = second
        progs 2 = third
    r2 = map[progs]
    r3 = 0
    call bpf_tail_call
    r0 = 1
    exit
    prog tc name second
    r0 = 5
    r0 += 6
    r0 += 7
    exit
    prog tc name third
    r0 = 0
    exit
    """
    result = reduced(text, lambda _request, others: any(i.imm == 6 for p in others.values() for i in p.insns))
    assert list(result.others) == ["second"]
    assert [str(i.imm) for i in result.others["second"].insns] == ["6", "0"]
    assert result.insns_after == 4


def test_a_program_that_nobody_accepts() -> None:
    """Where the finding is about a refused program, its odd shape stays as far as it is needed."""
    text = """
        r0 = 5
        goto +100
        r1 = 7
        .slot ff00000000000000
    """
    result = reduced(text, lambda request, _: any(i.code == 0xFF for i in insns(request)), verified=False)
    assert encode(insns(result.request)).hex() == "ff00000000000000"


def test_what_cannot_be_reproduced_stays() -> None:
    result = reduced(CALLS, lambda _request, _others: False)
    assert not result.reproduced
    assert result.insns_after == result.insns_before
    assert result.request.program.maps


def test_limits() -> None:
    result = reduced(CALLS, has("w0 *= 3"), budget=Budget(candidates=8))
    assert result.stopped == "candidates"
    assert result.insns_after < result.insns_before
    result = reduced(CALLS, has("w0 *= 3"), budget=Budget(seconds=0.0))
    assert (result.stopped, result.insns_after) == ("seconds", result.insns_before)


def test_another_complaint_is_no_help() -> None:
    assembly = asm.parse(CALLS, "test")
    request = Request(assembly.program)
    result = reduce(request, {}, Finding("oracle", "other", ""), Seeking(lambda _r, _o: True))
    assert not result.reproduced


SOUGHT: dict[str, Sought] = {
    "anything": lambda _request, _others: True,
    "load": lambda request, _: any(i.cls == isa.LDX and i.dst == 7 for i in insns(request)),
    "map": lambda request, _: bool(request.program.maps),
    "stack": lambda request, _: any(i.off == -64 for i in insns(request)),
    "long": lambda request, _: len(insns(request)) > 12,
}


@pytest.mark.parametrize("name", list(SOUGHT))
def test_again_nothing_changes(name: str) -> None:
    """The result is alike, not larger, the same each time, and has nothing left to cut."""
    sought = SOUGHT[name]
    first = reduced(CALLS, sought)
    assert first.finding.alike(FOUND)
    assert sought(first.request, first.others)
    assert first.insns_after <= first.insns_before
    assert first == reduced(CALLS, sought)
    again = reduce(first.request, first.others, first.finding, Seeking(sought))
    assert again.request == first.request
    assert again.insns_before == first.insns_after


def test_checkpoints_everywhere_instead_of_a_long_program() -> None:
    """What pruning does wrong shows in a long program, or in a short one with BPF_F_TEST_STATE_FREQ."""
    lines = "r0 = 7\n" * 20 + "exit\n"
    long_or_flagged = reduced(lines, lambda request, _: len(insns(request)) > 12 or bool(request.program.prog_flags & 8))  # fmt: skip
    assert (long_or_flagged.insns_after, long_or_flagged.request.program.prog_flags) == (2, 8)
    long_alone = reduced(lines, lambda request, _: len(insns(request)) > 12)
    assert (long_alone.insns_after, long_alone.request.program.prog_flags) == (13, 0)


def test_one_kept_state_instead_of_a_long_program() -> None:
    """The verifier keeps a state at may_goto; who asks about paths may be shown that instead of what else makes it keep one."""
    lines = "r0 = 7\n" * 20 + "if r0 == 7 goto l\nr0 = 8\nl:\nexit\n"

    def kept(request: Request, _others: Mapping[str, Program]) -> bool:
        codes = [insn.code for insn in insns(request)]
        return len(codes) > 17 or isa.OP_MAY_GOTO in codes

    paths = reduced(lines, kept, found=Finding("sound", "pc", "no path comes here"))
    assert code(paths) == ["may_goto l0", "l0:", "r0 = 0", "exit", "input:"]
    others = reduced(lines, kept)
    assert others.insns_after == 18


def test_insertion_moves_jumps_and_functions() -> None:
    assembly = asm.parse("l:\nr0 = 0\nif r0 == 1 goto l\ncall f\nexit\nf:\nr0 = 1\nexit\n", "test")
    draft = Draft.of(assembly.program)
    may_goto = Insn(isa.OP_MAY_GOTO)
    for index, offs in enumerate(([0, 0, -3, 0], [0, 0, -3, 0], [0, -2, 0, 0])):
        made = draft.inserted(index, may_goto).program_or_none()
        assert made is not None
        assert made.insns[index] == may_goto
        assert [insn.off for insn in made.insns[:4]] == offs
    made = draft.inserted(4, may_goto).program_or_none()
    assert made is not None
    assert (made.insns[2].imm, made.insns[4]) == (1, may_goto)


def test_a_plain_draft_keeps_locks_and_who_takes_exceptions() -> None:
    """A map and its lock, the function that takes exceptions: each until it goes itself."""
    text = (
        "prog tc catches taker\nmap a: array key 4 value 8 max 1\nmap b: array key 4 value 16 max 1 lock 8\n"
        "int main(void):\nr1 = map[b][0]+8\nexit\nint taker(u64 cookie):\nexit\n"
    )
    draft = Draft.of(asm.parse(text, "test").program).as_plain()
    assert draft is not None
    made = draft.program_or_none()
    assert made is not None
    assert [lock_of(spec, made.btf) for spec in made.maps] == [None, 8]
    assert exceptions.callback(made) == 3
    fewer = replace(draft, program=replace(draft.program, maps=draft.program.maps[1:])).program_or_none()
    assert fewer is not None
    assert [lock_of(spec, fewer.btf) for spec in fewer.maps] == [8]
    alone = replace(draft, items=draft.items[:2], functions=draft.functions[:1]).program_or_none()
    assert alone is not None
    assert exceptions.name(alone) is None


def test_equal_numbers_go_down_together() -> None:
    text = "r0 = *(u32 *)(r1 +0)\nr0 += 70000\nif r0 == 70000 goto l\nr0 = 0\nl:\nexit\n"

    def same(request: Request, _others: Mapping[str, Program]) -> bool:
        added = [i.imm for i in insns(request) if i.code == isa.ALU64 | isa.ADD]
        compared = [i.imm for i in insns(request) if i.code == isa.JMP | isa.JEQ]
        return bool(added) and added == compared

    assert "r0 += 0" in code(reduced(text, same))


def test_jump_tables_follow_the_instructions_that_they_name() -> None:
    """What stands in front of a way goes, or comes: the table's entries still lead to the same instructions."""
    text = (
        "prog type syscall license GPL flags 16\nmap t: insn_array key 4 value 16 max 2 freeze\n"
        "    elem 00000000 = 0a000000000000000000000000000000\n    elem 01000000 = 0c000000000000000000000000000000\n"
        "int main(void *ctx):\nr2 = 5\nr0 = *(u64 *)(r1 +0)\nr2 = 6\nr0 &= 1\nr0 <<= 3\nr1 = map[t][0]+0\nr1 += r0\nr1 = *(u64 *)(r1 +0)\n"
        "gotox r1\nr0 = 1\nexit\nr0 = 2\nexit\n"
    )
    program = asm.parse(text, "t").program
    draft = Draft.of(program)

    def named(made: Program | None) -> list[int]:
        assert made is not None
        assert isinstance(verify(made), Verified)
        return [made.insns[at].imm for at in made.maps[0].jumps]

    assert named(draft.program_or_none()) == [1, 2]
    assert named(draft.without(2, 3).without(0, 1).program_or_none()) == [1, 2]
    assert named(draft.inserted(0, Insn(isa.ALU64 | isa.MOV, 3, imm=7)).program_or_none()) == [1, 2]
    line = Text(program)
    line.without(0)
    assert named(line.assembled()) == [1, 2]


def test_another_order_leads_out_of_a_dead_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found with 24, 18 or 5 instructions: whoever cuts to 18 first never comes to 5."""

    def cut(left: int, of: int) -> reducer.Pass:
        def step(search: Search, name: str) -> None:
            draft = search.draft(name)
            if draft is not None and draft.count == of:
                search.attempt_draft(name, draft.without(0, of - left))

        return step

    def nothing(_search: Search, _name: str) -> None:
        pass

    passes = (cut(18, 24), *(nothing,) * (reducer.ORDERS[0] - 1), cut(5, 24))
    monkeypatch.setattr(reducer, "CODE", passes)
    monkeypatch.setattr(reducer, "_denser", lambda *_: None)  # begins anew, too
    text = "\n".join(["r0 = 0"] * 23 + ["exit"])

    def sought(request: Request, _others: Mapping[str, Program]) -> bool:
        return len(request.program.insns) in (24, 18, 5)

    assert reduced(text, sought).insns_after == 5
    monkeypatch.setattr(reducer, "ORDERS", ())
    assert reduced(text, sought).insns_after == 18


@pytest.mark.parametrize("number", [-(1 << 31), -(1 << 63)])
def test_the_least_number_has_no_positive_twin(number: int) -> None:
    """2147483648 is easier to read than -2147483648, and fits into no instruction."""
    wide = " ll" if number < -(1 << 31) else ""
    text = f"r0 = {number}{wide}\nexit"

    def sought(request: Request, _others: Mapping[str, Program]) -> bool:
        insns = request.program.insns
        value = insns[0].imm & isa.U32 | (insns[1].imm & isa.U32) << 32 if wide else insns[0].imm
        return value != 0 and value % (1 << 30) == 0

    assert reduced(text, sought).insns_after == 2
