"""The table of forms: every row is unique, complete and survives codec, assembler and disassembler."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import isa
from bpf.asm import assemble
from bpf.codec import decode, encode, operand_error, structural_error
from bpf.disasm import disasm
from bpf.insn import Insn
from bpf.opcodes import BY_CODE, BY_NAME, FORMS, Form, form_of

FIELDS = {
    "dst": {"read", "write", "update", "base"},
    "src": {"read", "write", "update", "base"},
    "off": {"off", "branch", "slot_in", "slot_out", "fd_index", "any"},
    "imm": {
        "imm",
        "shift",
        "branch",
        "low",
        "map",
        "map_idx",
        "btf_id",
        "helper",
        "spaces",
        "poke",
    },
}
GROUPS = {"base32", "base64", "divmul32", "divmul64", "atomic32", "atomic64", "packet", "linux", "callx"}


def samples(form: Form) -> list[tuple[Insn, ...]]:
    off = {"slot_in": 56, "slot_out": -56, "any": 0}.get(str(form.off), -3)
    return [form.sample(off=off), form.sample(9, 0, off, 0x7FFFFFFF), form.sample(0, 9, off, -0x80000000)]


def test_rows_are_unique_and_well_formed() -> None:
    assert len(BY_NAME) == len(FORMS) == sum(len(forms) for forms in BY_CODE)
    for form in FORMS:
        for field, words in FIELDS.items():
            value = getattr(form, field)
            assert isinstance(value, int) or value in words, (form.name, field)
        assert form.group in GROUPS
        assert 0 <= form.cpu <= 4
        assert set(form.marks.split()) <= {"linux", "fixup", "wide", "llvm"}
        assert form.wide == ("wide" in form.marks)
        assert form.loadable or form.cpu == 0 or form.marks == "llvm"


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_round_trip(form: Form) -> None:
    for insns in samples(form):
        assert form_of(*insns) is form
        assert decode(encode(insns)) == insns
        for style in ("text", "llvm"):
            text = disasm(insns[0], insns[1] if form.wide else None, style=style)
            if form.name == "call_helper" and style == "llvm" and insns[0].imm < 0:
                continue  # `call -1` is LLVM's way to write a call that the linker has not resolved
            assert assemble(text) == insns, (style, text)


def test_forms_are_what_the_structural_checks_pass() -> None:
    for form in FORMS:
        for insns in samples(form):
            if form.name == "addr_space_cast":
                insns = (replace(insns[0], imm=1),)
            refused = structural_error(insns, 0) is not None
            assert refused != form.loadable, form.name
            if form.loadable and insns[0].cls == isa.STX:
                assert operand_error(insns[0]) is None


INSNS = st.builds(
    Insn,
    st.sampled_from(sorted({form.code for form in FORMS} | {0x8C, 0xFF, 0x38})),
    st.integers(0, 11),
    st.integers(0, 11),
    st.sampled_from([0, 1, -1, 8, 16, 32, -8, 7, 64]),
    st.sampled_from([0, 1, 16, 32, 64, 0x41, 0xE1, 0xF1, 0x100, 0x110, -1]),
)


@settings(max_examples=60)
@given(INSNS)
def test_no_form_exactly_where_the_kernel_refuses(insn: Insn) -> None:
    """But for fixups, and for values that are no matter of form."""
    form = form_of(insn, Insn(0))
    error = structural_error((insn, Insn(0)), 0)
    if error is None and insn.cls == isa.STX:
        error = operand_error(insn)
    if error is not None and error.startswith("addr_space_cast"):
        return
    assert (form is not None and form.loadable) == (error is None)
