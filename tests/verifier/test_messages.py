"""One small program for each thing that is refused whatever the values are, and the neighbours that it must not refuse."""

from dataclasses import replace

import pytest

from bpf import isa
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.program import FuncInfo, KfuncRef, LineInfo, Program
from bpf.verified import Rejected, Verified
from tests.verifier.kit import accepted, program, rejected
from verifier import verify

ARGS = "r1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5\n"
SEVEN = (
    "static long s(long a, long b, long c, long d, long e, long f, long g):\nr0 = *(u64 *)(r11 + 8)\nexit\n"
)
SIX = "static long s(long a, long b, long c, long d, long e, long f):\nr0 = *(u64 *)(r11 + 8)\nexit\n"

REFUSALS = [
    # name, errno, message, text
    ("exit-r0", "EACCES", "R0 !read_ok", "exit"),
    ("src-first", "EACCES", "R4 !read_ok", "r3 += r4\nr0 = 0\nexit"),
    ("clobbered", "EACCES", "R3 !read_ok", "r3 = 1\ncall bpf_get_prandom_u32\nr0 = r3\nexit"),
    ("never-on-both", "EACCES", "R3 !read_ok", "if r1 == 0 goto a\nr4 = 1\na:\nr0 = r3\nexit"),
    ("in-callee", "EACCES", "R6 !read_ok", "call s\nexit\nstatic long s(void):\nr0 = r6\nexit\n"),
    ("helper-arg", "EACCES", "R1 !read_ok", "r1 = 0\ncall bpf_get_prandom_u32\ncall bpf_csum_level\nexit"),
    ("frame-pointer", "EACCES", "frame pointer is read only", "r10 = 1\nr0 = 0\nexit"),
    ("jump-out", "EINVAL", "jump out of range from insn 0 to 9", "goto +8\nr0 = 0\nexit"),
    ("fall-off", "EINVAL", "last insn is not an exit or jmp", "exit\nr0 = 0"),
    ("unreachable", "EINVAL", "unreachable insn 2", "r0 = 0\nexit\nr0 = 1\nexit"),
    (
        "into-ldimm64",
        "EINVAL",
        "jump into the middle of ldimm64 insn 1",
        "if r1 == 0 goto +1\nr0 = 7 ll\nexit",
    ),
    ("div-zero", "EINVAL", "div by zero", "r0 = 1\nr0 /= 0\nexit"),
    ("shift", "EINVAL", "invalid shift 64", "r0 = 1\nr0 <<= 64\nexit"),
    ("r11", "EINVAL", "R11 is invalid", "r0 = 0\nr11 += 1\nexit"),
    ("unknown-helper", "EINVAL", "invalid func unknown#9999", "call 9999\nexit"),
    (
        "first-slot",
        "EFAULT",
        "callee expects 6 args, stack arg1 is not initialized",
        ARGS + "call s\nexit\n" + SIX,
    ),
    (
        "gap",
        "EFAULT",
        "callee expects 7 args, stack arg1 is not initialized",
        ARGS + "*(u64 *)(r11 - 16) = 7\ncall s\nexit\n" + SEVEN,
    ),
    (
        "stale",
        "EFAULT",
        "callee expects 6 args, stack arg1 is not initialized",
        "*(u64 *)(r11 - 8) = 7\ncall bpf_get_prandom_u32\n" + ARGS + "call s\nexit\n" + SIX,
    ),
    (
        "consumed",
        "EFAULT",
        "callee expects 6 args, stack arg1 is not initialized",
        "*(u64 *)(r11 - 8) = 7\n" + ARGS + "call s\n" + ARGS + "call s\nexit\n" + SIX,
    ),
    (
        "beyond",
        "EINVAL",
        "stack arg write offset -64 exceeds max 7 stack args",
        "*(u64 *)(r11 - 64) = 1\nr0 = 0\nexit",
    ),
    (
        "unused",
        "EINVAL",
        "func#0 writes 2 stack arg slots, but calls only require 0",
        "*(u64 *)(r11 - 16) = 1\nr0 = 0\nexit",
    ),
    ("main-load", "EACCES", "invalid read from stack arg off 8 depth 0", "r0 = *(u64 *)(r11 + 8)\nexit"),
    (
        "order",
        "EINVAL",
        "r11 load must be before any r11 store or call insn",
        "*(u64 *)(r11 - 8) = 7\n" + ARGS + "call s\nexit\n"
        "static long s(long a, long b, long c, long d, long e, long f):\ncall bpf_get_prandom_u32\n"
        "r0 = *(u64 *)(r11 + 8)\nexit\n",
    ),
    (
        "global",
        "EINVAL",
        "Caller passes invalid args into func#1 ('s')",
        "*(u64 *)(r11 - 8) = 7\n" + ARGS + "call s\nexit\n" + SIX.replace("static ", ""),
    ),
    (
        "recursion",
        "EINVAL",
        "recursive call from s() to s()",
        "call s\nexit\nstatic long s(void):\ncall s\nexit\n",
    ),
    (
        "combined",
        "EACCES",
        "combined stack size of 2 calls is 528. Too large",
        "*(u64 *)(r10 - 272) = 0\ncall s\nexit\nstatic long s(void):\n*(u64 *)(r10 - 256) = 0\nr0 = 0\nexit\n",
    ),
    (
        "tail-call",
        "EINVAL",
        "tail_calls are not allowed in programs with stack args",
        "map jumps: prog_array key 4 value 4 max 1\nprog tc\nint main(void *ctx):\nr6 = r1\n*(u64 *)(r11 - 8) = 6\n"
        + ARGS
        + "call s\n"
        "r1 = r6\nr2 = map[jumps]\nr3 = 0\ncall bpf_tail_call\nr0 = 0\nexit\n" + SIX,
    ),
    (
        "packet-type",
        "EINVAL",
        "BPF_LD_[ABS|IND] instructions not allowed for this program type",
        "prog xdp\nint main(void *ctx):\nr6 = r1\nr0 = *(u8 *)skb[0]\nexit\n",
    ),
    (
        "sleepable",
        "EINVAL",
        "Program of this type cannot be sleepable",
        "prog tc flags 16\nint main(void *ctx):\nr0 = 0\nexit\n",
    ),
    (
        "syscall",
        "EINVAL",
        "Syscall programs can only be sleepable",
        "prog type syscall\nint main(void *ctx):\nr0 = 0\nexit\n",
    ),
    (
        "gpl",
        "EINVAL",
        "cannot call GPL-restricted function from non-GPL compatible program",
        'prog tc license "Proprietary"\nint main(void *ctx):\ncall bpf_ktime_get_ns\ncall bpf_get_current_task\nr1 = 0\ncall bpf_trace_printk\nexit\n',
    ),
]


@pytest.mark.parametrize(
    ("errno", "message", "text"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_refusal(errno: str, message: str, text: str) -> None:
    verdict = rejected(text)
    assert (verdict.errno, verdict.message) == (errno, message)
    assert verdict.log.splitlines()[-1].startswith(
        f"processed {verdict.verified_insns} insns (limit 1000000) "
    )
    assert verdict.messages[-1] == message


ACCEPTED = [
    (
        "one-path-sets",
        "call bpf_get_prandom_u32\nr6 = r0\nif r6 == 0 goto a\nr3 = 1\na:\nr0 = 0\nif r6 == 0 goto b\nr0 = r3\nb:\nexit",
    ),
    (
        "slot-on-one-path",
        "call bpf_get_prandom_u32\nr6 = r0\nif r6 == 0 goto a\n*(u64 *)(r11 - 8) = 6\na:\nr0 = 0\nif r6 == 0 goto b\n"
        + ARGS
        + "call s\nb:\nexit\n"
        + SIX,
    ),
    ("backward", "r0 = 9\nback:\nr0 -= 1\nif r0 > 2 goto back\nexit"),
    (
        "load-before-call",
        "*(u64 *)(r11 - 8) = 7\n"
        + ARGS
        + "call s\nexit\n"
        + SIX.replace("exit", "call bpf_get_prandom_u32\nexit"),
    ),
    ("dead-division", "r0 = 0\nif r0 == 0 goto a\nr0 /= 0\na:\nexit"),
    ("other-branch", "r0 = 0\nif r0 == 0 goto a\nr10 = 5\na:\nexit"),
]


@pytest.mark.parametrize("text", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_what_may_be_right_is_left_alone(text: str) -> None:
    assert accepted(text).pruned


def plain(*insns: Insn, **fields: object) -> Program:
    return replace(Program("test", insns), **fields)  # type: ignore[arg-type] # fields of Program by name


ZERO = Insn(isa.ALU64 | isa.MOV, 0)
EXIT = Insn(isa.OP_EXIT)
MAP = MapSpec("m", MapType.ARRAY, 4, 16, 1)


def load(src: int, imm: int, high: int = 0) -> tuple[Insn, Insn]:
    return Insn(isa.LD_IMM64, 1, src, 0, imm), Insn(0, imm=high)


SILENT = [
    ("flags", "EINVAL", plain(ZERO, EXIT, prog_flags=1 << 16)),
    ("empty", "E2BIG", plain()),
    ("type", "EINVAL", plain(ZERO, EXIT, prog_type="99")),
    ("unspec", "EINVAL", plain(ZERO, EXIT, prog_type="unspec")),
    ("attach", "EINVAL", plain(ZERO, EXIT, prog_type="cgroup_skb", expected_attach_type=33)),
]


@pytest.mark.parametrize(("errno", "refused"), [row[1:] for row in SILENT], ids=[row[0] for row in SILENT])
def test_load_refuses_without_a_log(errno: str, refused: Program) -> None:
    verdict = verify(refused)
    assert isinstance(verdict, Rejected)
    assert (verdict.errno, verdict.message, verdict.messages, verdict.log) == (errno, None, (), "")


REFERENCES = [
    ("no-map", "EINVAL", "fd 0 is not pointing to valid bpf_map", plain(*load(1, 0), ZERO, EXIT)),
    ("far-map", "EBADF", "fd 77 is not pointing to valid bpf_map", plain(*load(1, 77), ZERO, EXIT)),
    ("by-index", "EPROTO", "fd_idx without fd_array is invalid", plain(*load(5, 0), ZERO, EXIT)),
    (
        "value-off",
        "EINVAL",
        "invalid access to map value pointer, value_size=16 off=16",
        plain(*load(2, 0, 16), ZERO, EXIT, maps=(MAP,)),
    ),
    (
        "value-of-many",
        "ENOTSUPP",
        "invalid access to map value pointer, value_size=16 off=0",
        plain(*load(2, 0), ZERO, EXIT, maps=(replace(MAP, max_entries=2),)),
    ),
    (
        "value-of-hash",
        "EINVAL",
        "no direct value access support for this map type",
        plain(*load(2, 0), ZERO, EXIT, maps=(replace(MAP, type=MapType.HASH),)),
    ),
    (
        "btf",
        "EINVAL",
        "pseudo btf_id 1 in ldimm64 isn't KIND_VAR or KIND_FUNC",
        plain(*load(3, 1), ZERO, EXIT),
    ),
    ("call", "EINVAL", "call to invalid destination", plain(Insn(isa.OP_CALL, 0, 1, 0, 9), EXIT)),
    (
        "kfunc-id",
        "EINVAL",
        "kernel btf_id 5 is not a function",
        plain(Insn(isa.OP_CALL, 0, 2, 0, 5), ZERO, EXIT),
    ),
    (
        "kfunc-0",
        "EINVAL",
        "invalid kernel function call not eliminated in verifier pass",
        plain(Insn(isa.OP_CALL, 0, 2, 0, 0), ZERO, EXIT),
    ),
    (
        "kfunc-0-sets-nothing",
        "EACCES",
        "R0 !read_ok",
        plain(Insn(isa.OP_CALL, 0, 2, 0, 0), EXIT),
    ),
    (
        "kfunc-13",
        "EINVAL",
        "The function okf_sum13 has 13 arguments. Too many.",
        plain(Insn(isa.OP_CALL, 0, 2, 0, -1), ZERO, EXIT, kfuncs=(KfuncRef(0, "okf_sum13", "oracle_kfunc"),)),
    ),
    ("last-half", "EINVAL", "invalid bpf_ld_imm64 insn", plain(ZERO, EXIT, load(0, 1)[0])),
]


@pytest.mark.parametrize(
    ("errno", "message", "refused"), [row[1:] for row in REFERENCES], ids=[row[0] for row in REFERENCES]
)
def test_reference(errno: str, message: str, refused: Program) -> None:
    verdict = verify(refused)
    assert isinstance(verdict, Rejected)
    assert (verdict.errno, verdict.message) == (errno, message)


TWO = "call s\nexit\nstatic long s(void):\nr0 = 0\nexit\n"


def test_func_info_must_fit() -> None:
    whole = program(TWO)
    main, other = whole.func_info
    for infos, message in (
        ((other,), "nonzero insn_off 2 for the first func info record"),
        (
            (main, replace(other, insn=0)),
            "same or smaller insn offset (0) than previous func info record (0)",
        ),
        ((main, FuncInfo(2, 1)), "invalid type id 1 in func info"),
        ((main,), "number of funcs in func_info doesn't match number of subprogs"),
        ((main, replace(other, insn=3)), "func_info BTF section doesn't match subprog layout in BPF program"),
    ):
        verdict = verify(replace(whole, func_info=infos))
        assert isinstance(verdict, Rejected)
        assert (verdict.errno, verdict.message) == ("EINVAL", message)


def test_line_info_must_fit() -> None:
    whole = program(TWO)

    def at(*insns: int) -> tuple[LineInfo, ...]:
        return tuple(LineInfo(insn, "a.c", "", 1, 1) for insn in insns)

    assert isinstance(verify(replace(whole, line_info=at(0, 2))), Verified)
    for lines, message in (
        (at(0, 9), "Invalid line_info[1].insn_off:9 (prev_offset:0 prog->len:4)"),
        (at(0, 0), "Invalid line_info[1].insn_off:0 (prev_offset:0 prog->len:4)"),
        (at(1, 2), "missing bpf_line_info for func#0"),
        (at(0, 1), "missing bpf_line_info for 1 funcs starting from func#1"),
    ):
        verdict = verify(replace(whole, line_info=lines))
        assert isinstance(verdict, Rejected)
        assert verdict.message == message


def test_functions_that_leave_early_need_btf() -> None:
    tail = "prog tc\ncall s\nr0 = 0\nexit\ns:\nr0 = 0\ncall bpf_tail_call\nr0 = 0\nexit\n"
    assert rejected(tail).message == "tail_call is not allowed in subprogs without BTF"


def test_an_unknown_kfunc_is_bad_input() -> None:
    call = plain(Insn(isa.OP_CALL, 0, 2, 0, -1), ZERO, EXIT, kfuncs=(KfuncRef(0, "no_such_kfunc"),))
    with pytest.raises(InputError, match="kfunc no_such_kfunc is neither known nor declared"):
        verify(call)


def test_strict_mode_refuses_callbacks_with_stack_arguments() -> None:
    text = (
        "*(u64 *)(r11 - 8) = 1\nr1 = 1\nr2 = s ll\nr3 = 0\nr4 = 0\ncall bpf_loop\n"
        "*(u64 *)(r11 - 8) = 6\n" + ARGS + "call s\nr0 = 0\nexit\n" + SIX
    )
    assert isinstance(verify(program(text)), Verified)
    verdict = verify(program(text), mode="strict")
    assert isinstance(verdict, Rejected)
    assert verdict.message == "callback s has 6 > 5 args"


def test_an_unknown_mode_is_bad_input() -> None:
    with pytest.raises(InputError, match="must be 'kernel' or 'strict'"):
        verify(program("r0 = 0\nexit"), mode="lenient")


def test_calls_may_be_16_deep_and_no_deeper() -> None:
    def chain(count: int) -> str:
        text = "call f1\nexit\n"
        for number in range(1, count):
            body = f"call f{number + 1}" if number + 1 < count else "r0 = 0"
            text += f"static long f{number}(void):\n{body}\nexit\n"
        return text

    assert len(accepted(chain(16)).subprogs) == 16
    assert (rejected(chain(17)).errno, rejected(chain(17)).message) == (
        "E2BIG",
        "the call stack of 17 frames is too deep",
    )
