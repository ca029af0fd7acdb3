"""Traces of real programs: where both engines are, what calls take, and where the first difference is."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from emu import pipeline
from emu.load import load_file
from emu.pipeline import Pipeline
from emu.sandbox import gates
from emu.trace.asjson import trace_json
from emu.trace.text import print_trace
from emu.trace.trace import Trace, walk
from jit import compile_program
from jit.image import Image
from tests.emu.conftest import Command
from tests.emu.trace_kit import OPTIONS, ROOT, file_of, traced, traced_text

CLEAN = ("arithmetic", "bare", "callback", "deep", "exits", "growing", "kfunc12", "pointers", "reverse12", "map_loop12", "packet_xdp")  # fmt: skip


def printed(trace: Trace, *at: int, hits: int = 3, calls: int = 20) -> str:
    out = StringIO()
    print_trace(Console(file=out, width=160, highlight=False), trace, at, hits, calls)
    return out.getvalue()


@pytest.mark.parametrize("name", CLEAN)
def test_nothing_parts_without_a_fault(name: str) -> None:
    trace = traced(name)
    assert (trace.verdict, trace.findings, trace.stop, trace.cut) == ("agrees", (), None, "")
    assert not any(step.marks for step in trace.steps)
    assert not any(arg.differs for call in trace.calls for arg in call.args)


@pytest.mark.parametrize("name", CLEAN)
def test_both_engines_go_through_all_of_the_run(name: str) -> None:
    """Steps at which they meet are as many as instructions that the interpreter counted."""
    trace, item = traced(name), load_file(file_of(name))[0]
    case = Pipeline(OPTIONS).run(item.request, item.others, engines=("verify", "interp"))
    assert case.interp is not None
    assert sum(step.begins for step in trace.steps) == sum(run.insns or 0 for run in case.interp.runs)


def test_a_call_is_seen_from_both_ends() -> None:
    trace = traced("reverse12")
    inner, kfunc = trace.calls
    assert (inner.callee, inner.kind, inner.insn, inner.shown) == (
        "reverse12",
        "function",
        12,
        ("0x16c", "0x16c"),
    )
    assert (kfunc.callee, kfunc.kind, kfunc.insn) == ("okf_sum12", "kfunc", 35)
    eight = inner.args[7]
    assert (eight.number, eight.param, eight.put, eight.put_native, eight.found) == (
        8,
        "long h",
        "r11-24",
        "[rsp+0x8]",
        "[rbp+0x18]",
    )
    assert (kfunc.args[7].param, kfunc.args[7].found) == ("u64 h", "[rsp+0x10]")
    assert [arg.sandbox for arg in kfunc.args] == list(range(12, 0, -1))
    for call in trace.calls:
        step = trace.steps[call.step]
        assert (step.insn, step.begins) == (call.insn, True)


def test_callbacks_are_calls_of_the_helper() -> None:
    trace = traced_text(
        """
map data: array key 4 value 8 max 2
prog syscall name main
int main(void *ctx):
    r1 = map[data]
    r2 = subprog[each]
    r3 = 0
    r4 = 0
    call bpf_for_each_map_elem
    exit
static long each(void *map, void *key, void *value, void *ctx):
    r0 = 0
    exit
"""
    )
    assert trace.verdict == "agrees"
    assert [call.kind for call in trace.calls] == ["helper", "callback", "callback"]
    back = trace.activations[1]
    assert (back.by, back.frame, back.insn) == ("bpf_for_each_map_elem", 1, 6)
    shapes = [
        row
        for number, step, state in walk(trace)
        for one, shape in state.frames
        if one == 1
        for row in trace.shapes[shape]
    ]
    assert any(row.kind == "kernel" and "bpf_for_each_map_elem" in row.what for row in shapes)


def test_addresses_of_functions_that_are_dropped_are_not_compared() -> None:
    """The kernel makes them some number; nobody can call them."""
    text = """
prog syscall name main
int main(void *ctx):
    r6 = 0
    r2 = subprog[never]
    if r6 == 0 goto out
    r1 = 1
    r3 = 0
    r4 = 0
    call bpf_loop
out:
    r0 = 0
    exit
static long never(u32 index, void *ctx):
    r0 = 0
    exit
"""
    trace = traced_text(text)
    assert [function.name for function in trace.functions] == ["main"]
    assert (trace.verdict, trace.findings) == ("agrees", ())


Found = tuple[
    str, str, str, int, str
]  # program, kind of the first finding, in its text, BPF instruction, native instruction
FAULTS: dict[str, Found] = {
    "r15-forgotten": ("deep", "callee-saved", "callee-saved r15 after odd returned", 23, "mov r15, qword ptr [rbp + 0x18]"),
    "arguments-7-8-swapped": ("kfunc12", "outgoing-slot", "argument 8 is stored in the wrong place", 7, ""),
    "argument-off-by-one": ("deep", "value", "argument 7 of the next call parts: interpreter 0x7, sandbox 0x8 in [rsp+0x0]", 11, "mov qword ptr [rbp - 0x158], 8"),
    "incoming-one-up": ("bare", "incoming-read", "argument 12 is read from", 15, "mov rcx, qword ptr [rbp + 0x40]"),
    "no-leave": ("arithmetic", "rsp", "rsp at the return of six", 38, "ret"),
    "direction-flag-at-call": ("arithmetic", "direction-flag", "direction flag", 21, ""),
    "pushed-around-call": ("arithmetic", "argument", "argument 7 of okf_sum8: interpreter 0x4d, sandbox 0x5", 21, ""),
    "byte-store-prefix": ("deep", "value", "fp1-16 parts", 24, "mov byte ptr [rbp - 0xd], dh"),
    "call-too-short": ("arithmetic", "trap", "end of the run", 21, ""),
    "sign-extension-swapped": ("arithmetic", "value", "r2 and r6 part", 17, ""),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_the_trace_stops_where_a_planted_fault_is(fault: str) -> None:
    name, kind, text, insn, native = FAULTS[fault]
    trace = traced(name, fault)
    first = trace.findings[0]
    assert (trace.verdict, first.kind) == ("differs", kind), first
    assert text in first.text
    assert trace.stop == first.step
    assert len(trace.steps) == first.seen + 1
    step = trace.steps[first.step]
    assert step.insn == insn
    if native:
        function = trace.functions[step.function]
        assert native in [one.text for one in function.natives if one.off == (step.addr or 0) - function.addr]


def test_the_marks_are_at_the_arguments_that_are_wrong() -> None:
    trace = traced("kfunc12", "arguments-7-8-swapped", through=True)
    call = next(call for call in trace.calls if call.callee == "okf_sum12")
    assert [arg.number for arg in call.args if arg.differs] == [7, 8]
    seven, eight = call.args[6:8]
    assert (seven.shown, eight.shown) == (eight.shown[::-1], seven.shown[::-1])
    assert trace.steps[call.step].marks == ("out7", "out8")
    assert [one.argument for one in trace.findings if one.kind == "argument"][:2] == [7, 8]


def test_a_run_may_be_followed_behind_its_first_difference() -> None:
    short, whole = (
        traced("kfunc12", "arguments-7-8-swapped"),
        traced("kfunc12", "arguments-7-8-swapped", through=True),
    )
    assert short.cut == "the trace ends at the first difference"
    assert whole.cut == ""
    assert len(whole.steps) > len(short.steps)
    assert short.findings[0] == whole.findings[0]


def test_a_fault_of_control_flow_is_where_the_ways_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """`if r0 != 0` with the sense of its jump turned round."""

    def broken(*arguments: object) -> Image:
        image: Image = compile_program(*arguments)  # type: ignore[arg-type]
        main = image.functions[0]
        assert main.code.count(b"\x75\x05") == 1
        wrong = replace(main, code=main.code.replace(b"\x75\x05", b"\x74\x05"))
        return replace(image, functions=(wrong, *image.functions[1:]))

    monkeypatch.setattr(pipeline, "compile_program", broken)
    trace = traced_text(
        "prog syscall\nint main(void *ctx):\nr0 = *(u32 *)(r1 +0)\nif r0 != 0 goto out\nr0 = 7\nout:\nexit\ninput: ctx 00000000"
    )
    assert (trace.findings[0].kind, trace.findings[0].insn) == ("flow", 1)
    assert "the interpreter goes on at insn 2, the sandbox at insn 3" in trace.findings[0].text


def test_tail_calls_go_on_in_the_other_program() -> None:
    trace = traced_text(
        """
map jmp: prog_array key 4 value 4 max 1
progs 0 = other
prog sched_cls name main
int main(struct __sk_buff *ctx):
    r2 = map[jmp]
    r3 = 0
    call bpf_tail_call
    r0 = 7
    exit
prog sched_cls name other
int other(struct __sk_buff *ctx):
    *(u64 *)(r10 -8) = 99
    r0 = *(u64 *)(r10 -8)
    exit
"""
    )
    assert (trace.verdict, trace.runs[0].ends[1]) == ("agrees", "r0 = 0x63, retval 99")
    last = trace.functions[trace.steps[-1].function]
    assert (last.name, trace.programs[last.program].name) == ("other", "other")
    assert trace.activations[-1].by == "tail call"
    assert trace.activations[-1].cfa == trace.activations[0].cfa
    assert "insn 0 is not reached" not in printed(trace, 0)


def test_all_runs_are_there() -> None:
    text = "prog syscall name m\nint main(void *ctx):\nr0 = *(u32 *)(r1 +0)\nr0 += 1\nexit\ninput: ctx 03000000\ninput: ctx 05000000"
    trace = traced_text(text)
    assert [run.ends[0] for run in trace.runs] == ["r0 = 0x4, retval 4", "r0 = 0x6, retval 6"]
    assert [step.run for step in trace.steps] == sorted(step.run for step in trace.steps)
    assert trace.steps[trace.runs[1].first].run == 1
    assert printed(trace, 1).count("time 2 of 2") == 1


def test_traps_end_both() -> None:
    text = "prog syscall name n\nint main(void *ctx):\nr1 = 0\nr0 = *(u64 *)(r1 +8)\nexit"
    trace = traced_text(text, replace(OPTIONS, unverified=True))
    assert (trace.verdict, trace.findings) == ("both trap", ())
    assert trace.steps[-1].insn == 1
    assert "where nothing is mapped" in trace.runs[0].ends[1]


def test_long_runs_are_cut_and_it_is_said() -> None:
    trace = traced("map_loop12", limit=40)
    assert trace.cut == "only the first 40 instructions of each engine were recorded"
    assert sum(step.addr is not None for step in trace.steps) <= 40
    assert 20 < sum(step.begins for step in trace.steps) <= 40
    assert trace.verdict == "agrees"
    assert trace.cut in printed(trace)


def test_a_difference_behind_the_limit_is_told() -> None:
    trace = traced("deep", "r15-forgotten", limit=20)
    assert (trace.verdict, trace.findings, trace.stop) == ("differs", (), None)
    assert trace.cut.startswith(
        "only the first 20 instructions of each engine were recorded; behind them: sandbox: insn 14"
    )


def test_one_engine_that_runs_out_of_its_budget_differs() -> None:
    text = "prog syscall name b\nint main(void *ctx):\nr0 = 0\nloop:\nr0 += 1\nif r0 < 4000 goto loop\nexit"
    trace = traced_text(text, replace(OPTIONS, budget=500, seconds=0.2))
    assert trace.runs[0].ends[0].startswith("trap budget")
    assert trace.findings[0].kind == "trap"
    assert sum(step.begins for step in trace.steps) == 500


def test_more_calls_than_are_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and frames go on as before; of the calls of functions the first are listed, of others all."""
    monkeypatch.setattr(gates, "LIMIT", 3)
    monkeypatch.setattr(gates, "LOG_END", gates.LOG_START + 3 * gates.RECORD_SIZE)
    traced.cache_clear()
    trace = traced("callback")
    monkeypatch.undo()
    traced.cache_clear()
    whole = traced("callback")
    assert (trace.verdict, trace.findings) == ("agrees", ())
    assert trace.steps == whole.steps
    assert trace.activations == whole.activations
    assert sum(call.kind != "kfunc" for call in whole.calls) > 3
    rest = [call for call in whole.calls if call.kind != "kfunc"][3:]
    assert trace.calls == tuple(call for call in whole.calls if call not in rest)


# ---- what is printed


def test_the_text_of_a_trace() -> None:
    out = printed(traced("deep", "r15-forgotten"))
    assert "deep  differs  55 steps, 2 calls, 1 run, with the fault r15-forgotten" in out
    assert "step 24: insn 14 calls odd -> 0x666666d8" in out
    assert "arg 9  long i     r11-32  [rsp+0x10]  [rbp+0x20]        0x11111111  0x11111111" in out
    assert "=> 0028  4c8b7d18               mov r15, qword ptr [rbp + 0x18]" in out
    assert "saved r13 (r7)" in out
    assert "argument 9 of odd  long i" in out
    assert "0xffffffffc000007f  main+0x7f (insn 15)  return address of odd" in out
    assert "step 37, seen at step 54: callee-saved: insn 23" in out


def test_a_state_is_shown_each_time() -> None:
    out = printed(traced("map_loop12"), 12, hits=2)
    assert out.count("(insn 12, time ") == 2
    assert "insn 9999 is not reached" in printed(traced("reverse12"), 9999)


def test_the_differing_argument_is_marked() -> None:
    out = printed(traced("kfunc12", "arguments-7-8-swapped", through=True))
    rows = [line for line in out.splitlines() if line.startswith("arg ") and "<- differs" in line]
    assert [row.split()[1] for row in rows][:2] == ["7", "8"]


def test_names_of_a_program_move_no_cursor() -> None:
    trace = replace(traced("reverse12"), name="\x1b[2Jgone")
    out = printed(trace)
    assert "\x1b" not in out
    assert "\\x1b[2Jgone" in out


# ---- JSON


def test_the_json_adds_up_to_the_same_states() -> None:
    trace = traced("callback")
    made = json.loads(json.dumps(trace_json(trace)))
    regs: dict[str, str] = {}
    for number, step, state in walk(trace):
        one = made["steps"][number]
        regs |= one.get("regs", {})
        assert {name: int(value, 16) for name, value in regs.items()} == state.regs
        assert one.get("frames", []) == [] or [tuple(pair) for pair in one["frames"]] == list(state.frames)
        assert one["insn"] == step.insn
        assert one.get("begins", False) == step.begins
    assert made["verdict"] == "agrees"
    assert made["calls"][0]["args"][0]["put"] == "r1"


def test_the_json_of_a_difference(bpfemu: Command) -> None:
    ran = bpfemu("trace", file_of("kfunc12"), "--mutant", "arguments-7-8-swapped", "--json")
    made = json.loads(ran.out)
    assert ran.status == 1
    assert (made["verdict"], made["mutant"]) == ("differs", "arguments-7-8-swapped")
    assert made["findings"][0]["step"] == made["stop"]
    assert made["findings"][0]["kind"] == "outgoing-slot"


# ---- the command


def test_statuses(bpfemu: Command) -> None:
    assert bpfemu("trace", file_of("reverse12")).status == 0
    assert bpfemu("trace", file_of("deep"), "--mutant", "no-leave").status == 1
    rejected = bpfemu("trace", file_of("missing_slot"))
    assert (rejected.status, rejected.out) == (
        3,
        "missing_slot is rejected: EFAULT: callee expects 7 args, stack arg2 is not initialized\n",
    )
    assert json.loads(bpfemu("trace", file_of("missing_slot"), "--json").out)["verdict"] == "rejected"


def test_code_of_another_compiler(bpfemu: Command) -> None:
    """Nothing is known of where it has what; calls, stack and violations are there all the same."""
    file = ROOT / "fixtures/foreign/reverse12-O2.o"
    ran = bpfemu("trace", file_of("reverse12"), "--image", file, "--json")
    made = json.loads(ran.out)
    assert (ran.status, made["verdict"], made["findings"]) == (0, "agrees", [])
    assert [call["callee"] for call in made["calls"]] == ["reverse12", "okf_sum12"]
    assert [arg["sandbox"] for arg in made["calls"][1]["args"]] == [hex(n) for n in range(12, 0, -1)]
    assert made["calls"][0]["args"][7]["found"] == "[rsp+0x10]"
    owners = {row[3] for rows in made["shapes"] for row in rows}
    assert {"return address of main", "return address of reverse12", "frame of main"} <= owners
    assert all(not function["registers"] for function in made["functions"])
    both = bpfemu("trace", file_of("reverse12"), "--image", file, "--mutant", "no-leave")
    assert (both.status, "--mutant" in both.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.bpf"], "no such file"),
        ([file_of("reverse12"), "--mutant", "none"], "is no mutant"),
        ([file_of("reverse12"), "--prog", "none"], "there is no such program"),
        ([file_of("kfunc_many_args")], "name one with --prog"),
        ([file_of("reverse12"), "--html", "/nowhere/out.html"], "No such file or directory"),
    ],
)
def test_bad_input_is_one_line(bpfemu: Command, arguments: list[str], says: str) -> None:
    ran = bpfemu("trace", *arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert says in ran.err
