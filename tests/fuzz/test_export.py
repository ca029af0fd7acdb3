"""Exported programs: texts as stored, objects compiled from them meet their expectations, the other forms mean the same."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from bpf import asm, elf, isa
from bpf.asm import Expectation
from bpf.codec import encode
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.opcodes import BY_NAME, Form
from bpf.program import Program, Request
from bpf.request import parse_request
from emu.fuzz.export import FORMS, export, file_stem, write
from emu.fuzz.finding import Finding
from emu.fuzz.keep import expected
from emu.load import Loaded, load_file
from emu.pipeline import Pipeline
from emu.selftest.runner import run_object
from tests.emu.conftest import Command
from tests.fuzz.conformance_kit import assembled, raw

FOLDER = Path(__file__).parents[2] / "fixtures" / "export"
NAMES = ("calls", "maps", "forms", "refused", "plain", "throws")
ENDINGS = {"selftest": ".c", "conformance": ".data", "request": ".json"}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline()


def load(name: str) -> Loaded:
    return load_file(str(FOLDER / f"{name}.bpf"))[0]


def exported(form: str, item: Loaded, pipeline: Pipeline, finding: Finding | None = None) -> dict[str, str]:
    case = pipeline.run(item.request, item.others, ("verify", "interp"))
    return export(form, item.request, item.others, finding, expected(case))


@pytest.mark.parametrize("name", NAMES)
def test_selftests_are_as_stored(name: str, pipeline: Pipeline) -> None:
    texts = exported("selftest", load(name), pipeline)
    assert texts == {path: (FOLDER / path).read_text() for path in texts}
    assert list(texts) == [f"{name}.c"] + [f"btf__{name}.c"] * (name in ("calls", "refused", "throws"))


@pytest.mark.parametrize(("form", "name"), [("conformance", "plain"), ("request", "calls"), ("request", "refused")])  # fmt: skip
def test_other_forms_are_as_stored(form: str, name: str, pipeline: Pipeline) -> None:
    texts = exported(form, load(name), pipeline)
    assert texts == {f"{name}{ENDINGS[form]}": (FOLDER / f"{name}{ENDINGS[form]}").read_text()}


@pytest.mark.parametrize("name", NAMES)
def test_objects_made_of_them_meet_their_expectations(name: str, pipeline: Pipeline) -> None:
    results = {one.program: one.state for one in run_object(pipeline, str(FOLDER / f"{name}.bpf.o"))}
    assert results.pop(name) == "pass"
    assert results == ({"after": "skipped"} if name == "maps" else {})


@pytest.mark.parametrize("name", NAMES)
def test_objects_hold_the_same_instructions(name: str) -> None:
    """In whatever order the compiler has put the functions."""
    data = (FOLDER / f"{name}.bpf.o").read_bytes()
    programs = elf.load(data, name, trust_layout=True, keep_btf=True).programs
    made = next(program for program in programs if program.name == name)

    def bare(program: Program) -> Counter[Insn]:
        distant = (isa.OP_CALL, isa.LD_IMM64)
        return Counter(Insn(i.code, i.dst, i.src, i.off, 0 if i.code in distant else i.imm) for i in program.insns)  # fmt: skip

    assert bare(made) == bare(load(name).request.program)


def test_the_finding_is_a_comment(pipeline: Pipeline) -> None:
    finding = Finding("engines", "retval", "retval: 1 */ 2")
    texts = exported("selftest", load("refused"), pipeline, finding)
    assert "\n/*\n * engines: retval: retval: 1 * / 2\n */\n" in texts["refused.c"]
    (data,) = exported("conformance", load("plain"), pipeline, finding).values()
    assert data.startswith("# plain\n# engines: retval\n-- asm\n")
    (made,) = exported("request", load("calls"), pipeline, finding).values()
    assert json.loads(made)["finding"] == "engines: retval: retval: 1 */ 2"


@pytest.mark.parametrize(
    ("text", "expectation", "tags"),
    [
        ("prog tc\nr0 = -1\nexit\n", Expectation(True, retvals=(0xFFFFFFFF,)), "__success __retval(-1)"),
        ("prog tc\nr0 = 1\nexit\ninput: data 01*64\n", Expectation(True, retvals=(1,)), "/* not run: test_loader cannot give it its input */"),
        ("prog tc\nr0 = r1\nexit\n", Expectation(True), "__success"),
        ("prog tc flags 136\nr0 = r2\nexit\n", Expectation(False, "EACCES", 'R2 "x" \\'), '__failure __msg("R2 \\"x\\" \\\\")\n__flag(BPF_F_TEST_STATE_FREQ)\n__flag(BPF_F_TEST_REG_INVARIANTS)'),
        ("prog syscall\nr0 = 1\nexit\n", Expectation(True, retvals=(1,)), 'SEC("syscall")\n__success __retval(1)'),
        ("prog fentry.s/bpf_fentry_test1\nr0 = 0\nexit\n", Expectation(True), 'SEC("fentry.s/bpf_fentry_test1")\n__success'),
        ("prog type xdp\nr0 = 2\nexit\n", Expectation(True, retvals=(2,)), 'SEC("xdp")\n__success __retval(2)'),
        ("prog tc license \"GPL v2\"\nr0 = 2\nexit\n", None, 'SEC("license") = "GPL v2";'),
    ],
)  # fmt: skip
def test_annotations(text: str, expectation: Expectation | None, tags: str) -> None:
    assembly = asm.parse(text, "p")
    (made,) = export("selftest", Request(assembly.program, assembly.runs), {}, None, expectation).values()
    assert tags in made


def test_what_has_no_words_is_written_as_bytes() -> None:
    text = "prog tc\nr0 = *(u8 *)skb[r4 + 3]\n.slot ff00000000000100\ncall 9999\ngoto +100\nexit\n"
    (made,) = export("selftest", Request(asm.parse(text, "p").program), {}).values()
    assert re.findall(r'"(.*;)"', made) == [
        ".8byte 0x300004050;",
        ".8byte 0x10000000000ff;",
        "call 9999;",
        "goto +100;",
        "exit;",
    ]


def test_names_are_those_of_c() -> None:
    text = """
    prog tc
    int main(void):
    call for
    call r1
    call okf_sum5
    exit
    static int for(unsigned long long r1, struct foo *p):
    exit
    static int r1(void):
    exit
    """
    program = asm.parse(text, "p 1/2").program
    made = export("selftest", Request(program), {})
    assert list(made) == ["p_1_2.c", "btf__p_1_2.c"]
    source = made["p_1_2.c"]
    assert "static s32 f_for(u64 r1, struct foo *p)" in source
    assert "static u64 f_r1(void)" in source
    assert '"call f_for;"\n\t\t"call f_r1;"\n\t\t"call %[okf_sum5];"' in source
    assert "void __kfunc_btf_root(void)\n{\n\tokf_sum5(0, 0, 0, 0, 0);\n}" in source
    assert file_stem("12") == "p_12"
    assert made["btf__p_1_2.c"].count("\nstruct foo;\n") == 1


MAP = "map m: array key 4 value 8 max 1\n"


@pytest.mark.parametrize(
    ("form", "text", "why"),
    [
        ("conformance", "*(u64 *)(r11 -8) = 1\nr0 = 0\nexit\n", "stack arguments, which need BTF"),
        ("conformance", "call okf_sum5\nexit\n", "calls a kfunc, which needs BTF"),
        ("conformance", "call bpf_ktime_get_ns\nexit\n", "calls a helper"),
        ("conformance", MAP + "r1 = map[m]\nr0 = 0\nexit\n", "refers to a map"),
        ("conformance", MAP + "r0 = 0\nexit\n", "it has maps"),
        ("conformance", "r6 = r1\nr0 = 0\nexit\n", "reads its context"),
        ("conformance", "call f\nexit\nf:\nr0 = r1\nexit\n", "reads its context"),
        ("conformance", "r0 = *(u8 *)skb[0]\nexit\n", "loads from a packet"),
        ("conformance", "may_goto l\nl:\nr0 = 0\nexit\n", "Linux's alone"),
        ("conformance", "l:\ngoto l\n", "has no result"),
        ("request", "prog tc name a\nmap p: prog_array key 4 value 4 max 1\n    progs 0 = a\nr0 = 0\nexit\n", "is no JSON request: programs of prog arrays"),
        ("selftest", MAP + "r1 = map[m]\nr1 = map[m][0]+0\nr0 = 0\nexit\n", "both as such and by the address"),
        ("selftest", "map m: array key 4 value 8 max 2\nr1 = map[m][0]+0\nr0 = 0\nexit\n", "no global variable"),
        ("selftest", "map m: array key 4 value 8 max 2 freeze\nr1 = map[m]\nr0 = 0\nexit\n", "frozen"),
        ("selftest", "r1 = map[3]\nr0 = 0\nexit\n", "refers to map 3 of 0"),
        ("selftest", "extern unheard\ncall unheard\nexit\n", "nothing is known of the kfunc unheard"),
        ("selftest", "map p: prog_array key 4 value 4 max 1\n    progs 0 = gone\nr1 = map[p]\nr0 = 0\nexit\n", "program gone is in a prog array"),
        ("selftest", "prog tc flags 32\nr0 = 0\nexit\n", "no annotation for the flags 0x20"),
        ("selftest", "prog type ext\nr0 = 0\nexit\n", "no section makes a program of type ext"),
    ],
)  # fmt: skip
def test_what_a_form_cannot_hold(form: str, text: str, why: str) -> None:
    program = asm.parse(text, "p").program
    with pytest.raises(InputError, match=re.escape(why)):
        export(form, Request(program), {}, None, Expectation(True))


def test_conformance_without_a_mnemonic_is_raw_alone() -> None:
    (made,) = export("conformance", Request(asm.parse("r0 = 1\nr0 = (s8)r0\nexit\n", "p").program), {}).values()  # fmt: skip
    assert made == (
        "# p\n-- raw\n0x00000001000000b7\n0x00000000000800bf\n0x0000000000000095\n-- result\n0x1\n"
    )


# ---------------------------------------------------------------- both sections of a conformance test

NOT_IN_THE_SUITE = ("sdiv", "smod", "movsx", "ldsx", "gotol", "ld_map", "ld_btf", "ld_func", "call", "exit")
FORMS_OF_THE_SUITE = [
    form
    for form in BY_NAME.values()
    if form.group not in ("linux", "callx", "packet") and not form.name.startswith(NOT_IN_THE_SUITE)
]


def test_both_sections_say_the_same() -> None:
    text = (FOLDER / "plain.data").read_text()
    assert assembled(text) == raw(text)


@pytest.mark.parametrize("form", FORMS_OF_THE_SUITE, ids=lambda form: form.name)
def test_both_sections_say_the_same_of_every_form(form: Form) -> None:
    """In a program that runs: 8 bytes of stack, r0 and r3 are there."""
    at_stack = {"dst": 10} if form.dst == "base" else {"src": 10} if form.src == "base" else {}
    swaps = form.name.startswith(("le", "be", "bswap"))
    fields = {"dst": 0, "src": 3, "off": 0 if form.off == "branch" else -8, "imm": 16 if swaps else 1}
    before = (Insn(0xB7, 0), Insn(0xB7, 3), Insn(0x7A, 10, 0, -8, 0))
    insns = (*before, *form.sample(**{**fields, **at_stack}), Insn(0xB7, 0), Insn(isa.OP_EXIT))
    (text,) = export("conformance", Request(Program("p", insns)), {}).values()
    assert raw(text) == encode(insns)
    assert assembled(text) == raw(text)


# ---------------------------------------------------------------- the command


def test_command(bpfemu: Command, tmp_path: Path) -> None:
    done = bpfemu("export", "--form", "selftest", FOLDER / "calls.bpf", "-o", tmp_path / "out")
    assert (done.status, done.out, done.err) == (0, "", "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["btf__calls.c", "calls.c"]
    assert (tmp_path / "out" / "calls.c").read_text() == (FOLDER / "calls.c").read_text()
    done = bpfemu("export", "--form", "selftest", FOLDER / "calls.bpf")
    assert done.out.startswith("==> calls.c <==\n// SPDX")
    assert "\n==> btf__calls.c <==\n" in done.out
    done = bpfemu("export", "--form", "conformance", FOLDER / "plain.bpf")
    assert (done.status, done.out) == (0, (FOLDER / "plain.data").read_text())


def test_command_goes_on_behind_what_has_no_such_form(bpfemu: Command, tmp_path: Path) -> None:
    lines = [json.dumps({"name": "same", "insns": f"b70000000{number}0000009500000000000000"}) for number in range(3)]  # fmt: skip
    lines.insert(1, json.dumps({"name": "calls", "insns": "85000000050000009500000000000000"}))
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join(lines))
    done = bpfemu("export", "--form", "conformance", file, "-o", tmp_path)
    assert done.status == 2
    assert done.err == "bpfemu: error: calls: is no test of bpf_conformance: it calls a helper\n"
    made = {path.name: path.read_text().split()[-1] for path in tmp_path.glob("*.data")}
    assert made == {"same.data": "0x0", "same_2.data": "0x1", "same_3.data": "0x2"}


def test_objects_can_be_exported(bpfemu: Command, tmp_path: Path) -> None:
    done = bpfemu("export", "--form", "request", FOLDER / "calls.bpf.o", "-o", tmp_path)
    assert done.status == 0
    request = parse_request(json.loads((tmp_path / "calls.json").read_text()))
    assert request.program.kfuncs[0].name == "okf_sum8"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--form", "assembly", "x.bpf"], "'assembly' is not one of 'selftest', 'conformance', 'request'"),
        (["--form", "request", "missing.bpf"], "missing.bpf: no such file"),
        (["--form", "request"], "Missing argument 'FILE'"),
        (["--form", "request", str(FOLDER / "plain.bpf"), "--prog", "other"], "other"),
        (["--form", "request", str(FOLDER / "plain.bpf"), "-o", "/proc/nothing"], "/proc/nothing"),
    ],
)
def test_bad_input(arguments: list[str], error: str, bpfemu: Command) -> None:
    done = bpfemu("export", *arguments)
    assert done.status == 2
    assert error in done.err
    assert done.err.count("\n") == 1


def test_forms() -> None:
    assert list(FORMS) == ["selftest", "conformance", "request"]
    with pytest.raises(InputError, match="there are selftest, conformance, request"):
        export("elf", Request(Program("p", (Insn(isa.OP_EXIT),))), {})


def test_files_are_whole(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", {"x.c": "one\n"})
    write(tmp_path / "a" / "b", {"x.c": "two\n"})
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x.c"]
    assert (tmp_path / "a" / "b" / "x.c").read_text() == "two\n"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*x\.c"):
        write(tmp_path / "file", {"x.c": ""})
