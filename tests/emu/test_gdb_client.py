"""Debian's gdb on a program in the sandbox: what a person would do, with the symbols that go with it."""

import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bpf.program import RunInput
from bpf.verified import Verified
from emu.foreign import Theirs
from emu.gdb.server import HOST, Channel
from emu.layout import layout_for
from emu.load import load_file
from jit import compile_program, place
from tests.emu.gdb_kit import CALLBACK, SECONDS, TEXTS, Served, gdb_says, request_of
from verifier import verify

DOCUMENT = Path(__file__).parents[2] / "docs" / "debug.md"
FOREIGN = Path(__file__).parents[2] / "fixtures" / "foreign"
OBJECTS = Path(__file__).parents[2] / "fixtures" / "objects"
REVERSE = load_file(str(TEXTS / "reverse12.bpf"))[0].request
MAP_LOOP = load_file(str(TEXTS / "map_loop12.bpf"))[0].request
ARGUMENTS = "a=1, b=2, c=3, d=4, e=5, f=6, g=7, h=8, i=9, j=10, k=11, l=12"
GONE = ", ".join(f"{name}=<optimized out>" for name in "abcdef") + ", g=7, h=8, i=9, j=10, k=11, l=12"


WALK = """
import gdb
seen = {}
while gdb.selected_inferior().pid:
    frames, frame = [], gdb.newest_frame()
    while frame is not None:
        older = frame.older()
        saved = [int(older.read_register(name)) for name in ("rbx", "rbp", "r13", "r14", "r15")] if older else []
        frames.append((frame.name(), older.pc() if older else 0, int(older.read_register("rsp")) if older else 0, *saved))
        frame = older
    if frames[0][0] in ("reverse12", "eight", "each"):
        seen.setdefault(frames[0][0], set()).add(tuple(frames[0][1:]))
        seen.setdefault("callers of " + frames[0][0], set()).add(tuple(one[0] for one in frames[1:]))
        seen.setdefault("stops in " + frames[0][0], []).append(1)
    gdb.execute("stepi", to_string=True)
for name in sorted(seen):
    print(name, "|", len(seen[name]), "|", sorted(seen[name])[0] if name.startswith("callers") else "")
"""


def _walk(folder: Path) -> Path:
    """A script for gdb that looks at all callers before each instruction."""
    script = folder / "walk.py"
    script.write_text(WALK)
    return script


@pytest.fixture(scope="module")
def gdb(outside: Callable[[str], str]) -> str:
    return outside("gdb")


def _lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def _line(served: Served, text: str) -> int:
    """The line of the listing that holds a text."""
    lines = served.elf.with_name("out.bpf.s").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_function_with_12_arguments(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(gdb, served, "break reverse12", "continue", "backtrace", "finish", "continue")
    assert f"Breakpoint 1, reverse12 ({ARGUMENTS}) at out.bpf.s:19" in said
    assert f"#0  reverse12 ({ARGUMENTS}) at out.bpf.s:19" in said
    assert re.search(
        r"^#1  0x[0-9a-f]+ in main \(ctx=<optimized out>\) at out\.bpf\.s:16$", said, re.MULTILINE
    )
    assert "Value returned is $1 = 364" in said
    assert "[Inferior 1 (Remote target) exited normally]" in said
    assert served.r0 == 364


def test_a_kfunc_is_a_function_with_arguments_and_callers(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(gdb, served, "break okf_sum12", "continue", "backtrace", "finish")
    frames = _lines(said, "#")
    assert frames[0].endswith("in okf_sum12 (a=12, b=11, c=10, d=9, e=8, f=7, g=6, h=5, i=4, j=3, k=2, l=1)")
    assert frames[1].endswith(f"in reverse12 ({GONE}) at out.bpf.s:41")
    assert frames[2].endswith("in main (ctx=<optimized out>) at out.bpf.s:16")
    assert "42\t       36: exit" in said
    assert "Value returned is $1 = 364" in said


def test_lines_are_stepped(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(
            gdb, served, "break 16", "continue", "step", "step", "next", "list 3,5", "tbreak 41", "continue", "next", "step"
        )  # fmt: skip
    shown = [line for line in said.splitlines() if re.match(r"\d+\t", line)]
    assert [line.split("\t", 1)[1].strip() for line in shown] == [
        "main:",
        "12: call reverse12",
        "reverse12:",
        "14: r6 = *(u64 *)(r11 +8)",
        "15: r7 = *(u64 *)(r11 +16)",
        "main:",
        "0: *(u64 *)(r11 -56) = 12",
        "1: *(u64 *)(r11 -48) = 11",
        "35: call okf_sum12",
        "36: exit",
        "13: exit",
    ]


def test_every_instruction_has_its_callers(gdb: str, tmp_path: Path) -> None:
    script = _walk(tmp_path)
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(gdb, served, f"source {script}")
    assert "callers of reverse12 | 1 | ('main',)" in said
    assert (
        "reverse12 | 1 |" in said
    )  # one return address, one rsp, one set of saved registers, at all instructions
    assert re.search(r"stops in reverse12 \| (3\d|4\d) \|", said)
    with Served(request_of(CALLBACK), tmp_path) as served:
        said = gdb_says(gdb, served, f"source {script}")
    assert "callers of eight | 1 | ('each', 'bpf_for_each_array_elem', 'main')" in said
    assert "callers of each | 1 | ('bpf_for_each_array_elem', 'main')" in said
    assert "\neach | 1 |" in said


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_code_of_another_compiler_has_its_callers(gdb: str, level: str, tmp_path: Path) -> None:
    theirs = Theirs(str(FOREIGN / f"reverse12-{level}.o"), {})
    with Served(REVERSE, tmp_path, make=theirs.make) as served:
        said = gdb_says(gdb, served, f"source {_walk(tmp_path)}")
    assert "callers of reverse12 | 1 | ('main',)" in said
    assert "reverse12 | 1 |" in said
    assert served.r0 == 364


def test_a_helper_that_calls_back(gdb: str, tmp_path: Path) -> None:
    with Served(request_of(CALLBACK), tmp_path) as served:
        said = gdb_says(
            gdb, served, "break eight", "continue", "backtrace", "up 2", "info symbol $pc", "finish",
            "delete", "tbreak bpf_for_each_map_elem", "tbreak 27", "continue", "finish", "backtrace", "continue",
        )  # fmt: skip
    names = [re.sub(r"^#\d+ +(0x\w+ in )?", "", line).split(" ", 1)[0] for line in _lines(said, "#")]
    helper = "bpf_for_each_array_elem"
    assert names[:4] == ["eight", "each", helper, "main"]
    assert re.search(r"bpf_for_each_(array|map)_elem \+ 12 in section \.text\.kernel", said)
    assert names[-2:] == [helper, "main"]
    assert "exited normally" in said
    assert served.r0 == 61 + 3 * (7 + 88) + 1


def test_registers_are_bpf_registers_too(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(
            gdb, served, "break 41", "continue", "print r6", "print $rbx", "info locals", "info registers rip rbp",
            "set var r1 = 100", "continue",
        )  # fmt: skip
    assert "$1 = 6\n$2 = 6\n" in said
    assert re.search(r"^r1 = 12\nr2 = 11$", said, re.MULTILINE)
    assert re.search(r"^rip +0xffffffffc0000105 +0xffffffffc0000105 <reverse12\+117>$", said, re.MULTILINE)
    assert served.r0 == 364 + 88


def test_memory_is_written(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        gdb_says(gdb, served, "break reverse12", "continue", "set var h = 1000", "continue")
    assert served.r0 == 364 + 992 * 5


def test_a_stack_word_is_watched(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(
            gdb, served, "break 4", "continue", "watch -l *(long *)($rsp + 8)", "continue", "x/i $pc", "continue"
        )  # fmt: skip
    assert "Hardware watchpoint 2: -location *(long *)($rsp + 8)" in said
    assert re.search(r"Old value = -\d+\nNew value = 8\nmain \(.*\) at out\.bpf\.s:9\n", said)
    assert re.search(r"=> 0x[0-9a-f]+ <main\+\d+>:\tmovq +\$0x7,-0x30\(%rbp\)", said)
    assert "main (ctx=<optimized out>) at out.bpf.s:17" in said  # poison, as after any call


def test_a_condition_in_bpf_registers(gdb: str, tmp_path: Path) -> None:
    with Served(MAP_LOOP, tmp_path) as served:
        said = gdb_says(
            gdb, served, f"break {_line(served, 'if r6 s> 0x0')} if r6 == 2", "info breakpoints", "continue", "print r6", "print r0", "delete", "continue"
        )  # fmt: skip
    assert "stop only if r6 == 2" in said
    assert "$1 = 2" in said
    assert served.r0 == 114


def test_a_trap_is_a_signal_at_its_instruction(gdb: str, tmp_path: Path) -> None:
    trap = "prog syscall\nint main(void *ctx):\n r1 = 5\n call sub\n exit\n\nstatic int sub(int a):\n r4 = r1\n r0 = *(u64 *)(r4 +3)\n exit\n"
    with Served(request_of(trap), tmp_path) as served:
        said = gdb_says(gdb, served, "continue", "backtrace", "x/i $pc", "continue")
    assert "Program received signal SIGSEGV, Segmentation fault." in said
    assert "bpfemu: insn 4: r0 = *(u64 *)(r4 +3): read of 8 bytes at 0x8, where nothing is mapped" in said
    assert re.search(r"^#0  sub \(a=5\) at out\.bpf\.s:10$", said, re.MULTILINE)
    assert re.search(r"^#1 .* in main ", said, re.MULTILINE)
    assert re.search(r"^=> 0x[0-9a-f]+ <sub\+\d+>:\tmov +0x3\(%rcx\),%rax$", said, re.MULTILINE)
    assert "Program terminated with signal SIGSEGV" in said


def test_ctrl_c_stops_endless_code(gdb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "prog syscall\nint main(void *ctx):\n r0 = 0\nagain:\n r1 = 1\n goto again\n"
    process: list[subprocess.Popen[str]] = []
    asked = Channel.interrupted

    def looks(channel: Channel) -> bool:
        if process:  # the program runs: only then the key is pressed, once
            process.pop().send_signal(signal.SIGINT)
        return asked(channel)

    monkeypatch.setattr(Channel, "interrupted", looks)
    with Served(request_of(endless), tmp_path) as served:
        words = [
            "-ex",
            f"target remote {HOST}:{served.port}",
            "-ex",
            "continue",
            "-ex",
            "print r1",
            "-ex",
            "kill",
        ]
        with subprocess.Popen(
            [gdb, "-nx", "-batch", *words, str(served.elf)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        ) as running:  # fmt: skip
            process.append(running)
            said, _ = running.communicate(timeout=SECONDS)
    assert "Program received signal SIGINT, Interrupt." in said
    assert re.search(r"main \(.*\) at out\.bpf\.s:\d", said)
    assert served.held is not None
    assert served.held.killed


def test_disassembly_knows_names_and_shows_no_gate(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(gdb, served, "disassemble main", "disassemble reverse12")
    assert re.search(r"call +0xffffffffc0000090 <reverse12>", said)
    assert re.search(r"call +0xffffffff81341000 <okf_sum12>", said)


def test_a_function_is_called_from_gdb(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(
            gdb, served, "print reverse12(0,0,0,0,0,0,0,0,0,0,0,1)", "print okf_sum12(1,1,1,1,1,1,1,1,1,1,1,2)", "backtrace"
        )  # fmt: skip
    assert "$1 = 1\n$2 = 90\n#0  main" in said


def test_a_frame_is_left_with_return(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(
            gdb, served, "break reverse12", "continue", "return 77", "backtrace", "monitor checks", "continue"
        )  # fmt: skip
    assert re.search(r"^#0 .*main \(", said, re.MULTILINE)
    assert "rip or rsp was changed" in said
    assert served.r0 == 77


def test_monitor_speaks_bpf(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(
            gdb, served, "monitor help", "break 41", "continue", "monitor bpf", "monitor args", "monitor frame all",
            "monitor checks", "monitor nonsense", "monitor",
        )  # fmt: skip
    assert "reverse12+0x75: insn 35: call okf_sum12" in said
    assert re.search(r"^  r6   rbx  0x6$", said, re.MULTILINE)
    assert "reverse12 calls okf_sum12:" in said
    assert re.search(r"^  arg 6   u64 f  r9                    0x7$", said, re.MULTILINE)
    assert re.search(r"^  arg 12  u64 l  \[0x[0-9a-f]+\]  0x1$", said, re.MULTILINE)
    assert re.search(r"0x000000000000000c  argument 12, incoming  long l$", said, re.MULTILINE)
    assert re.search(r"return address  main\+0x6d$", said, re.MULTILINE)
    assert re.search(r"argument 7, outgoing  <- rsp$", said, re.MULTILINE)
    assert "no check has found anything so far" in said
    assert "there is no command 'nonsense'" in said
    assert said.count("monitor help         this") == 2


def test_a_check_stops_the_program_behind_the_instruction(gdb: str, tmp_path: Path) -> None:
    wrong = "prog syscall\nint main(void *ctx):\n r6 = r10\n r6 += 32\n *(u64 *)(r6 +0) = 0\n r0 = 0\n exit\n"
    with Served(request_of(wrong), tmp_path) as served:
        said = gdb_says(
            gdb, served, "monitor checks stop", "continue", "monitor checks", "monitor checks go", "c"
        )
    assert "bpfemu: insn 2: *(u64 *)(r6 +0) = 0: write of 8 bytes to the frames of the kernel" in said
    assert "frame-write: insn 2:" in said
    assert re.search(r"^7\t +3: r0 = 0$", said, re.MULTILINE)
    assert "exited normally" in said


def test_lines_of_c(gdb: str, tmp_path: Path) -> None:
    request = load_file(str(OBJECTS / "loop_callback10.bpf.o"), wanted="loop_callback")[0].request
    with Served(request, tmp_path, source_folders=(OBJECTS,)) as served:
        said = gdb_says(
            gdb, served, "info line mix10", "list 18,30", "break loop_callback10.bpf.c:14", "info source"
        )
    assert 'Line 12 of "' in said
    assert "static long body(u64 index, struct loop_state *st)" in said
    assert "if (acc_lo < r)" in said  # a line that BTF alone does not have
    assert "loop_callback10.bpf.c, line 14." in said


def test_types_and_global_variables_of_c(gdb: str, tmp_path: Path) -> None:
    request = load_file(str(OBJECTS / "loop_callback10.bpf.o"), wanted="loop_callback")[0].request
    ctx = bytes.fromhex("03000000050000000500000000000000")
    request = replace(request, runs=(RunInput(ctx_in=ctx),))
    with Served(request, tmp_path, source_folders=(OBJECTS,)) as served:
        said = gdb_says(
            gdb, served, "break body", "continue", "print *st", "print weights", "ptype st", "whatis weights",
            "watch rounds_done", "continue", "print acc_lo = 0x10000", "delete", "continue",
        )  # fmt: skip
    assert "$1 = {x = 5, y = 1, z = 0, stop_at = 5}" in said
    assert "$2 = {7, 11, 13, 17}" in said
    assert "type = struct loop_state {\n    u64 x;\n    u64 y;\n    u64 z;\n    u32 stop_at;\n} *" in said
    assert "type = const volatile u64 [4]" in said
    assert "Hardware watchpoint 2: rounds_done\n\nOld value = 0\nNew value = 1" in said
    assert served.r0 > 0x10000


def test_sources_that_are_not_at_hand_are_put_together(gdb: str, tmp_path: Path) -> None:
    shutil.copy(OBJECTS / "loop_callback10.bpf.o", tmp_path / "moved.o")
    request = load_file(str(tmp_path / "moved.o"), wanted="loop_callback")[0].request
    with Served(request, tmp_path, source_folders=(tmp_path,)) as served:
        said = gdb_says(gdb, served, "list mix10", "info source")
    assert (tmp_path / "out.sources" / "loop_callback10.bpf.c").is_file()
    assert "u64 r = a * 3 + (b ^ c) + d * 5 + e + (f >> 3) + g * 7ULL + (h << 2) - i;" in said


def test_bpf_lines_where_they_are_wanted(gdb: str, tmp_path: Path) -> None:
    request = load_file(str(OBJECTS / "loop_callback10.bpf.o"), wanted="loop_callback")[0].request
    with Served(request, tmp_path, c_lines=False) as served:
        said = gdb_says(gdb, served, "info line mix10", "list mix10")
    assert 'of "out.bpf.s"' in said
    assert "; ./loop_callback10.bpf.c:12: " in said


def test_gdb_finds_the_symbols_by_itself(gdb: str, tmp_path: Path) -> None:
    with Served(REVERSE, tmp_path) as served:
        said = gdb_says(gdb, served, "break reverse12", "continue", elf=False)
    assert f"Breakpoint 1, reverse12 ({ARGUMENTS})" in said


def test_the_end_of_gdb_lets_the_program_run_on(gdb: str, tmp_path: Path) -> None:
    """The end of a batch detaches: what is left runs by itself."""
    with Served(REVERSE, tmp_path) as served:
        gdb_says(gdb, served, "break reverse12", "continue")
    assert served.r0 == 364


def test_the_session_of_the_documentation(gdb: str, tmp_path: Path) -> None:
    verified = verify(REVERSE.program)
    assert isinstance(verified, Verified)
    image = compile_program(verified)
    code = bytearray(b"".join(place(image, layout_for(image))))
    assert code[0xD4] == 0xA0
    code[0xD4] = 0xA8
    (tmp_path / "theirs.bin").write_bytes(code)
    session = DOCUMENT.read_text().partition("## A session")[2].partition("\n## ")[0]
    shown = [line[4:] for line in session.splitlines() if line.startswith("    ")]
    shown = shown[shown.index("main (ctx=0xffff888001010000) at reverse12.bpf.s:3") :]
    commands = [line.removeprefix("(gdb) ") for line in shown if line.startswith("(gdb)")]
    with Served(REVERSE, tmp_path, make=Theirs(str(tmp_path / "theirs.bin"), {}).make) as served:
        said = gdb_says(gdb, served, *commands).replace("out.bpf.s", "reverse12.bpf.s").splitlines()
    for line in shown:
        assert line in said or line.strip() in ("", "...") or line.startswith("(gdb)"), line
