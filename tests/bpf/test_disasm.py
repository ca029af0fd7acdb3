"""What instructions look like, against the log of a real kernel and against LLVM."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf.asm import assemble
from bpf.codec import decode
from bpf.disasm import disasm, log_text
from bpf.insn import Insn
from bpf.opcodes import FORMS

FIXTURES = Path(__file__).parents[2] / "fixtures/text"


def rows(name: str) -> list[tuple[str, tuple[Insn, ...], str]]:
    lines = (FIXTURES / name).read_text().splitlines()
    made = (json.loads(line) for line in lines)
    return [(row["form"], decode(bytes.fromhex(row["insn"])), row["text"]) for row in made]


def test_the_log_of_a_real_kernel() -> None:
    seen = set()
    for form, insns, text in rows("log.jsonl"):
        symbol, number = None, text.partition("#")[2]
        if form == "call_kfunc":
            symbol, insns = "okf_sum5", (Insn(0x85, 0, 2, 0, int(number)),)
        assert log_text(*insns, symbol=symbol) == text
        assert assemble(text)[0].code == insns[0].code
        if form != "call_kfunc":
            assert assemble(text) == insns, text
        seen.add(form)
    # forms whose text is an address, or that cannot be reached without a jump table
    silent = {
        "gotox",
        "gotol",
        "ld_map",
        "ld_map_value",
        "ld_btf_id",
        "ld_func",
        "ld_map_idx",
        "ld_map_idx_value",
    }
    assert seen | silent == {form.name for form in FORMS if form.loadable}


# LLVM says no more than `call 0x10` of every call, and leaves out an indirect load's displacement.
def llvm_says_less(form: str) -> bool:
    return form in ("call_subprog", "call_kfunc") or form.startswith("ld_ind_")


def test_llvm() -> None:
    for form, insns, text in rows("llvm.jsonl"):
        if not llvm_says_less(form):
            assert disasm(insns[0], insns[-1] if len(insns) == 2 else None, style="llvm") == text
        if form != "exit" and not llvm_says_less(form) and not (form == "call_helper" and insns[0].imm < 0):
            assert assemble(text) == insns


@pytest.mark.parametrize(
    ("hexed", "kernel", "text", "llvm"),
    [
        ("7a0bf8ff04000000", "*(u64 *)(r11 -8) = 4", None, "*(u64 *)(r11 - 0x8) = 0x4"),
        ("79b1080000000000", "r1 = *(u64 *)(r11 +8)", None, "r1 = *(u64 *)(r11 + 0x8)"),
        ("0600000002000000", "gotol pc+2", None, "gotol +0x2"),
        ("0d01000000000000", "gotox r1", None, "gotox r1"),
        ("b701000005000000", "r1 = 5", None, "r1 = 0x5"),
        ("18010000050000000000000000000000", "r1 = 0x5", "r1 = 0x5 ll", "r1 = 0x5 ll"),
        ("18110000030000000000000000000000", "r1 = 0x3", "r1 = map[3]", "ld_pseudo r1, 0x1, 0x3"),
        ("18210000030000000000000008000000", "r1 = 0x800000003", "r1 = map[3][0]+8", "ld_pseudo r1, 0x2, 0x800000003"),
        ("18410000030000000000000000000000", "r1 = 0x3", "r1 = subprog[pc+3]", "ld_pseudo r1, 0x4, 0x3"),
        ("8510000003000000", "call pc+3", None, "call pc+3"),
        ("8500000001000000", "call bpf_map_lookup_elem#1", None, "call 0x1"),
        ("8500000000000000", "call bpf_unspec#0", None, "call 0x0"),
        ("8500000010270000", "call unknown#10000", None, "call 0x2710"),
        ("8520000007000000", "call kernel-function#7", None, "call kernel-function#7"),
        ("8520000000000000", "call <error>#0", "call kernel-function#0", "call kernel-function#0"),
        ("bf12ffff00000000", "r2 = &(void __percpu *)(r1)", None, "r2 = &(void __percpu *)(r1)"),
        ("c200000000000000", "nospec", None, "nospec"),
    ],
)  # fmt: skip
def test_styles(hexed: str, kernel: str, text: str | None, llvm: str) -> None:
    insns = decode(bytes.fromhex(hexed))
    nxt = insns[1] if len(insns) == 2 else None
    shown = [disasm(insns[0], nxt, style=style) for style in ("kernel", "text", "llvm")]
    assert shown == [kernel, text or kernel, llvm]


def test_symbols() -> None:
    jump, call, kfunc = Insn(0x55, 1, 0, 2, 5), Insn(0x85, 0, 1, 0, 4), Insn(0x85, 0, 2)
    assert disasm(jump, style="text", symbol="l1") == "if r1 != 0x5 goto l1"
    assert disasm(jump, style="llvm", symbol="l1") == "if r1 != 0x5 goto +0x2 <l1>"
    assert disasm(call, style="text", symbol="sum6") == "call sum6"
    assert disasm(kfunc, symbol="okf_sum8") == "call okf_sum8#0"
    assert disasm(kfunc, style="text", symbol="okf_sum8") == "call okf_sum8"
    assert disasm(Insn(0x18, 1, 1), Insn(0), style="text", symbol="out") == "r1 = map[out]"


@settings(max_examples=60)
@given(
    st.builds(
        Insn,
        st.integers(0, 255),
        st.integers(0, 15),
        st.integers(0, 15),
        st.integers(-0x8000, 0x7FFF),
        st.integers(-0x80000000, 0x7FFFFFFF),
    ),
    st.none() | st.builds(Insn, st.integers(0, 255), imm=st.integers(-0x80000000, 0x7FFFFFFF)),
)
def test_every_slot_has_some_text(insn: Insn, nxt: Insn | None) -> None:
    for style in ("kernel", "text", "llvm"):
        text = disasm(insn, nxt, style=style)
        assert text
        assert text.isprintable()
