"""`bpfemu run --image`: every form of file, other frames, faults planted in foreign code, and files that do not fit."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpf.errors import InputError
from bpf.verified import Verified
from emu import against
from emu.against.code import Foreign, Listing
from emu.external.job import Place, callees, job
from emu.foreign import image_of, layout_of, linked, read_symbols
from emu.foreign.prologue import recognise
from emu.foreign.scan import scan
from emu.load import load_file
from emu.outcome import Violation
from emu.pipeline import Case, Pipeline
from emu.runtime.world import World
from emu.sandbox import Checks
from emu.sandbox.entry import assemble
from examples import tinyjit
from jit import compile_program
from jit.image import Image
from tests.emu.conftest import Command
from verifier import verify

FIXTURES = Path(__file__).parents[2] / "fixtures"
TEXT = FIXTURES / "text"
SUM6, REVERSE12 = TEXT / "sum6.bpf", TEXT / "reverse12.bpf"
BASE = 0xFFFF_FFFF_C000_1000


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline()


def assembled(text: str, base: int = 0) -> bytes:
    return assemble(text, base)


def run(pipeline: Pipeline, file: Path, listing: Listing, symbols: dict[int, str] | None = None) -> Case:
    request = load_file(str(file))[0].request
    return pipeline.run(
        request, make=lambda verified: image_of(verified, listing, symbols=symbols or {}).image
    )


def program(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "p.bpf"
    file.write_text(f"prog tc\n\nlong main(struct __sk_buff *ctx):\n{text}\n    exit\n")
    return file


def verified_of(file: Path) -> Verified:
    verdict = verify(load_file(str(file))[0].request.program)
    assert isinstance(verdict, Verified)
    return verdict


def found(case: Case) -> list[Violation]:
    assert case.precise is not None
    return [violation for run in case.precise.runs for violation in run.violations]


# ---- forms of files


@pytest.mark.parametrize("name", ["llvm.txt", "bfd.txt", "bpftool.json", "all.hex", "recording.json"])
def test_every_form_runs(name: str, bpfemu: Command) -> None:
    file = FIXTURES / "against" / name
    result = bpfemu("run", SUM6, "--image", file)
    assert result.status == 0, result.out + result.err
    assert "agrees" in result.out
    assert "the code that bpfemu emits (profile 7.3), addresses apart" in result.out
    answer = json.loads(bpfemu("run", SUM6, "--image", file, "--json").out)
    assert answer["agrees"]
    assert answer["image"]["equal"] == answer["image"]["functions"] == 2


def test_what_jit_writes_runs(tmp_path: Path, bpfemu: Command) -> None:
    """Raw bytes of both functions, and JSON, of another profile than the one that is asked for."""
    raw = tmp_path / "code.bin"
    bpfemu("jit", REVERSE12, "--profile", "7.3-retpoline", "-o", raw)
    result = bpfemu("run", REVERSE12, "--image", raw)
    assert (result.status, "profile 7.3" in result.out) == (0, True), result.out + result.err
    (tmp_path / "code.json").write_text(bpfemu("jit", REVERSE12, "--json").out)
    assert bpfemu("run", REVERSE12, "--image", tmp_path / "code.json").status == 0


@pytest.mark.parametrize("name", ["reverse12-O2.o", "reverse12-O0.o", "reverse12-noplt.o", "reverse12.so"])
def test_an_ahead_of_time_compiler(name: str, bpfemu: Command) -> None:
    """GCC's code for the same functions: sibling calls, pushed arguments, a frame without rbp, and one with spills."""
    result = bpfemu("run", REVERSE12, "--image", FIXTURES / "foreign" / name, "-v")
    assert result.status == 0, result.out + result.err
    assert "2 of 2 functions have a frame unlike the kernel's" in result.out
    assert "okf_sum12 -> 0x16c" in result.out


# ---- faults in code that is not ours


def recorded(file: Path) -> tuple[Image, list[Foreign]]:
    """Our code as if it were another's: what it calls is named, where it lay is known."""
    image = compile_program(verified_of(file))
    bases = [BASE + 0x1000 * number for number in range(len(image.functions))]
    out = []
    for number, function in enumerate(image.functions):
        code = bytearray(function.code)
        calls = {}
        for reloc in function.relocs:
            assert reloc.kind == "call"
            target = bases[reloc.target] if reloc.target >= 0 else BASE - 0x10000 + 64 * len(reloc.symbol)
            code[reloc.off : reloc.off + 4] = struct.pack("<i", target - bases[number] - reloc.off - 4)
            calls[reloc.off - 1] = reloc.symbol or f"func#{reloc.target}"
        refs = tuple(against.code.Ref(off + 1, 4, "call", name) for off, name in calls.items())
        out.append(Foreign(function.name, bytes(code), bases[number], calls, refs))
    return image, out


def test_an_operand_that_differs_is_found_where_it_is(pipeline: Pipeline) -> None:
    """Same instructions, other displacement: argument 7 is stored a word too high."""
    image, functions = recorded(REVERSE12)
    start = image.verified.subprogs[1].start
    insns = image.verified.insns
    slot = next(n for n in range(start, len(insns)) if (insns[n].dst, insns[n].off) == (11, -16))
    at = image.functions[1].offsets[slot - start]
    code = bytearray(functions[1].code)
    code[at + 3] += 8  # of mov [rbp - disp8], reg
    functions[1] = replace(functions[1], code=bytes(code))
    case = run(pipeline, REVERSE12, Listing("x", tuple(functions)))
    assert case.difference is not None
    assert "argument 7 of okf_sum12" in case.difference.message
    violation = next(one for one in found(case) if one.check == "outgoing-slot")
    assert violation.insn == image.verified.origin[slot]


def test_an_instruction_more_is_mapped_by_comparison(pipeline: Pipeline) -> None:
    """r9 is lost between its store and the call; what follows has other offsets than ours, and its BPF instructions all the same."""
    _, functions = recorded(SUM6)
    refs = functions[0].refs
    call = refs[0].off - 1
    extra = bytes.fromhex("4d31c9")  # xor r9, r9
    code = functions[0].code[:call] + extra + functions[0].code[call:]
    moved = tuple(replace(ref, off=ref.off + len(extra)) for ref in refs)
    end = moved[0].off + 4
    code = code[: end - 4] + struct.pack("<i", BASE + 0x1000 - BASE - end) + code[end:]
    functions[0] = replace(functions[0], code=code, refs=moved)
    listing = Listing("x", tuple(functions))
    made = image_of(verified_of(SUM6), listing)
    assert (made.equal, made.alike) == (1, 1)
    assert made.mapped >= made.insns - 12  # all but prologues and the new one
    case = run(pipeline, SUM6, listing)
    assert case.difference is not None
    assert (case.difference.kind, case.difference.argument) == ("argument", 6)
    assert case.difference.insn is not None


def test_a_distance_that_misses_stays_wrong(pipeline: Pipeline) -> None:
    """A call that lands 5 bytes behind its target, as one computed from its own start does."""
    _, functions = recorded(SUM6)
    off = functions[0].refs[0].off
    code = bytearray(functions[0].code)
    code[off : off + 4] = struct.pack("<i", struct.unpack_from("<i", code, off)[0] + 5)
    functions[0] = replace(functions[0], code=bytes(code), refs=(), calls=None)
    case = run(pipeline, SUM6, Listing("x", tuple(functions)))
    assert case.difference is not None


def test_a_lost_register_of_another_kind_of_frame(pipeline: Pipeline, tmp_path: Path) -> None:
    """Hand-written: no frame pointer, helper called through a register, rbx saved in the middle of the frame, and lost."""
    file = program(tmp_path, "    call bpf_get_smp_processor_id\n    r0 = 7")
    kept = "sub rsp, 0x38; mov [rsp + 0x10], rbx; mov rbx, rdi; movabs rax, 0xffffffff81234560; call rax; mov eax, 7; {} add rsp, 0x38; ret"
    symbols = {0xFFFF_FFFF_8123_4560: "bpf_get_smp_processor_id"}
    text = kept.format("mov rbx, [rsp + 0x10];")
    verified = verified_of(file)
    if verified.inlined:  # the kernel inlines it; this JIT need not
        text = text.replace("movabs rax, 0xffffffff81234560; call rax;", "")
    good = Listing("x", (Foreign("", assembled(text), BASE),))
    assert run(pipeline, file, good, symbols).difference is None
    bad = Listing(
        "x",
        (
            Foreign(
                "", assembled(kept.format("").replace("movabs rax, 0xffffffff81234560; call rax;", "")), BASE
            ),
        ),
    )
    case = run(pipeline, file, bad, symbols)
    assert {one.check for one in found(case)} == {"callee-saved"}


def test_a_saved_register_may_not_be_overwritten(pipeline: Pipeline, tmp_path: Path) -> None:
    file = program(tmp_path, "    r0 = 7")
    text = "push rbx; sub rsp, 0x20; mov qword ptr [rsp + 0x20], 5; mov eax, 7; add rsp, 0x20; pop rbx; ret"
    case = run(pipeline, file, Listing("x", (Foreign("", assembled(text), BASE),)))
    assert "frame-write" in {one.check for one in found(case)}
    assert any("rbx that main saved" in one.message for one in found(case))


def test_the_red_zone_is_an_option(tmp_path: Path, bpfemu: Command) -> None:
    file = program(tmp_path, "    r0 = 7")
    image = tmp_path / "code.bin"
    image.write_bytes(assembled("mov [rsp - 8], rdi; mov eax, 7; ret"))
    assert bpfemu("run", file, "--image", image).status == 1
    assert bpfemu("run", file, "--image", image, "--align", "sysv").status == 0
    assert Checks("sysv").red_zone == 128


def test_a_function_inside_of_a_function(pipeline: Pipeline, tmp_path: Path) -> None:
    """A call that leads nowhere else is the code's own affair, and no return of a BPF function."""
    file = program(tmp_path, "    r0 = 7")
    code = assembled("mov r10, 3; call inner; add rax, r10; ret; inner: mov eax, 4; ret")
    assert run(pipeline, file, Listing("x", (Foreign("", code, BASE),))).difference is None


# ---- names of addresses


def test_calls_in_order_or_by_name(pipeline: Pipeline, tmp_path: Path) -> None:
    file = program(
        tmp_path,
        "    r1 = 1\n    r2 = 2\n    r3 = 3\n    r4 = 4\n    r5 = 5\n    call okf_sum5\n    r6 = r0\n    call bpf_ktime_get_ns\n    r0 = r6",
    )
    head = "push rbx; mov edi, 1; mov esi, 2; mov edx, 3; mov ecx, 4; mov r8d, 5; "
    text = head + "call 0xffffffff81000100; mov rbx, rax; call 0xffffffff81000200; mov rax, rbx; pop rbx; ret"
    code = assembled(text, BASE)
    assert run(pipeline, file, Listing("x", (Foreign("", code, BASE),))).difference is None  # in order
    assert run(pipeline, file, Listing("x", (Foreign("", code),))).difference is None  # wherever it lay
    right = {0xFFFF_FFFF_8100_0100: "okf_sum5", 0xFFFF_FFFF_8100_0200: "bpf_ktime_get_ns"}
    assert run(pipeline, file, Listing("x", (Foreign("", code, BASE),)), right).difference is None
    wrong = dict(zip(right, reversed(right.values()), strict=True))
    case = run(pipeline, file, Listing("x", (Foreign("", code, BASE),)), wrong)
    assert case.difference is not None
    assert case.difference.kind == "callee"


def test_maps_are_named_by_the_user(tmp_path: Path, bpfemu: Command) -> None:
    """A 64-bit number that is an address of a kernel, in code that has more of them than the program."""
    file = tmp_path / "m.bpf"
    file.write_text(
        "prog tc\nmap counts: array key 4 value 16 max 1 dump\n\nlong main(struct __sk_buff *ctx):\n"
        "    r1 = map[counts][0]+8\n    *(u64 *)(r1 + 0) = 5\n    r0 = 0\n    exit\n"
    )
    code = assembled(
        "movabs rcx, 0xffff888012340000; movabs rdi, 0xffff888005550008; mov qword ptr [rdi], 5; xor eax, eax; ret"
    )
    image, symbols = tmp_path / "code.bin", tmp_path / "symbols"
    image.write_bytes(code)
    refused = bpfemu("run", file, "--image", image)
    assert refused.status == 2
    assert (
        "holds 0xffff888012340000, and nothing says which map that is; name it with --symbols" in refused.err
    )
    symbols.write_text("ffff888012340000 d counts\nffff888005550000 d values:counts\n")
    result = bpfemu("run", file, "--image", image, "--symbols", symbols)
    assert result.status == 0, result.out + result.err


def test_symbol_files(tmp_path: Path) -> None:
    file = tmp_path / "kallsyms"
    file.write_text(
        "ffffffff81000000 T _text\n# a comment\n0xffffffffc0400410 t okf_mem\t[okf]\nffffffff81000000 T other\n"
    )
    assert read_symbols(str(file)) == {0xFFFF_FFFF_8100_0000: "_text", 0xFFFF_FFFF_C040_0410: "okf_mem"}
    for text, why in (
        ("", "names no address"),
        ("hello\n", "line 1: must be an address and a name"),
        ("0000000000000000 T a\n0000000000000000 T b\n", "kptr_restrict"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=why):
            read_symbols(str(file))


# ---- what does not fit

BAD: dict[str, tuple[bytes, str]] = {
    "ELF for another machine": (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 1, 183, 1) + bytes(40), "is no x86-64 ELF file"),
    "half an ELF file": (b"\x7fELF\x02\x01\x01", "is a damaged ELF file"),
    "not gzip": (b"\x1f\x8bhello", "not a readable gzip file"),
    "a call of nobody": (assembled("call 0xffffffff81000000; ret", BASE), "calls"),
    "a field behind the end": (b'{"jited": [{"hex": "c3", "calls": [{"off": 7, "target": "x"}]}, {"hex": "c3"}]}', "a field at offset 8 of 1 bytes"),
    "a function that is not there": (b'{"jited": [{"hex": "e800000000c3", "calls": [{"off": 0, "target": "func#7"}]}, {"hex": "c3"}]}', "refers to func#7"),
    "three functions": (b'{"jited": [{"hex": "c3"}, {"hex": "c3"}, {"hex": "c3"}]}', "has 2 functions, and the code has 3"),
    "pointers of no kind": (b'{"jited": [{"hex": "c3", "ptrs": [{"off": 0}]}, {"hex": "c3"}]}', "must be objects with off and kind"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_images_get_one_line(name: str, tmp_path: Path, bpfemu: Command) -> None:
    data, why = BAD[name]
    file = tmp_path / "image"
    file.write_bytes(data)
    result = bpfemu("run", SUM6, "--image", file)
    assert result.status == 2, result.out
    assert why in result.err
    assert len(result.err.splitlines()) == 1


def test_bad_options(tmp_path: Path, bpfemu: Command) -> None:
    image = FIXTURES / "against" / "all.hex"
    assert "choose with --prog" in bpfemu("run", SUM6, REVERSE12, "--image", image).err
    assert "there is none" in bpfemu("run", SUM6, "--symbols", image).err
    assert bpfemu("run", SUM6, "--image", tmp_path / "missing").status == 2


@pytest.mark.parametrize(
    "data",
    [b"\xcc", b"\x0f\x0b", b"\xeb\xfe", bytes(64), b"\xff" * 33, b"\xc3", b"\x48\xb8"],
)
def test_rubbish_ends_as_a_difference(
    data: bytes, tmp_path: Path, bpfemu: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emu.sandbox.precise.STEPS", 1000)
    monkeypatch.setattr("emu.sandbox.precise.REST", 0.2)
    file, image = program(tmp_path, "    r0 = 7"), tmp_path / "image"
    image.write_bytes(data)
    result = bpfemu("run", file, "--image", image, "--seconds", "0.2")
    assert result.status == 1, result.out + result.err


# ---- frames, and code linked beforehand


def test_the_kernels_prologue_is_known() -> None:
    for file in sorted(TEXT.glob("*.bpf")):
        verdict = verify(load_file(str(file))[0].request.program)
        if isinstance(verdict, Verified):
            for function in compile_program(verdict).functions:
                frame = recognise(scan(function.code, 0).insns)
                assert frame is not None
                assert (frame.size, frame.stack) == (function.prologue, function.frame.stack_depth)
                assert (frame.saved, frame.outgoing) == (function.frame.saved, function.frame.outgoing_size)
    assert recognise(scan(assembled("push rbp; mov rbp, rsp; sub rsp, 0x100; push rbx"), 0).insns) is None


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("name", ["reverse12", "pointers", "callback", "deep", "kfunc12"])
def test_a_small_jit_with_its_own_frames(pipeline: Pipeline, name: str, split: bool) -> None:
    """All BPF registers in memory, r10 somewhere in the frame; with gates where it says where its functions begin."""
    file = Path(__file__).parents[2] / "emu" / "mutants" / "programs" / f"{name}.bpf"
    request = load_file(str(file))[0].request

    def make(verified: Verified) -> Image:
        names = sorted({*callees(verified).values(), *verified.symbols.values()})
        for machine in (pipeline.precise_machine, pipeline.machine):
            layout = layout_of(machine, World(request.program, memory=machine.memory), names)
        place = Place(layout.functions[0], layout.symbols, layout.maps, layout.values)
        answer: dict[str, Any] = tinyjit.compile_job(job(verified, place))
        return linked(verified, bytes.fromhex(answer["code"]), answer["functions"] if split else (0,))

    case = pipeline.run(request, make=make)
    assert case.error is None
    assert case.difference is None, case.difference.message
    assert found(case) == []
    assert case.sandbox is not None
    assert bool(case.sandbox.runs[0].entries) == (split and name != "kfunc12") or name == "kfunc12"


def test_linked_code_must_fit() -> None:
    verified = verified_of(SUM6)
    for starts, why in (
        ((0, 1, 2), "the code has 3"),
        ((4, 0), "must come first"),
        ((0, 9), "inside of the code"),
    ):
        with pytest.raises(InputError, match=why):
            linked(verified, b"\xc3" * 8, starts)
