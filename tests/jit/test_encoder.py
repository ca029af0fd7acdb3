"""The encoder against capstone: every row of the table, random operands, same length, same instruction."""

import re
from typing import Any

import capstone
import capstone.x86
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf.errors import InternalError
from jit.decoder import new_decoder
from jit.x64 import registers as x
from jit.x64.encoder import Form, Mem, form
from jit.x64.forms import FORMS

_DECODER = new_decoder(detail=True)
_NAMES = {"8": x.NAMES8, "16": x.NAMES16, "32": x.NAMES32, "64": x.NAMES64}
_IMPLIED = ("al", "eax", "rax", "cl", "1")
_ADDRESS = 0x1000


def _operands(text: str) -> list[str]:
    rest = text.removeprefix("lock ").partition(" ")[2]
    return [] if text.startswith("nop") else [name for name in rest.split(", ") if name]


def _place(mem: Mem) -> tuple[object, ...]:
    """A memory operand as `_shown` gives it."""
    base = "" if mem.base is None else x.NAMES64[mem.base]
    index = "" if mem.index is None else x.NAMES64[mem.index]
    return "mem", base, index, mem.scale, mem.disp or 0


def _shown(insn: Any) -> list[tuple[object, ...]]:
    """The operands that capstone decoded; numbers as 64 bits."""
    out: list[tuple[object, ...]] = []
    for operand in insn.operands:
        if operand.type == capstone.x86.X86_OP_REG:
            out.append(("reg", insn.reg_name(operand.reg)))
        elif operand.type == capstone.x86.X86_OP_IMM:
            out.append(("imm", operand.imm))
        else:
            mem = operand.mem
            names = [insn.reg_name(reg) if reg else "" for reg in (mem.base, mem.index)]
            out.append(("mem", *names, mem.scale, mem.disp))
    return out


_REGS = st.integers(0, 15)
_DISPS = st.one_of(st.none(), st.integers(-140, 140), st.integers(-(1 << 31), (1 << 31) - 1))


@st.composite
def _memory(draw: st.DrawFn) -> Mem:
    disp = draw(_DISPS)
    base = draw(_REGS.filter(lambda reg: disp is not None or reg & 7 not in (4, 5)))
    index = draw(st.one_of(st.none(), _REGS.filter(lambda reg: reg != x.RSP)))
    return Mem(base, disp, index, draw(st.sampled_from((1, 2, 4, 8))) if index is not None else 1)


_TEXTS = st.sampled_from([row[0] for row in FORMS if not row[0].startswith("nop")])


def _signed(size: int) -> st.SearchStrategy[int]:
    return st.integers(-(1 << (size - 1)), (1 << (size - 1)) - 1)


@st.composite
def _case(draw: st.DrawFn) -> tuple[Form, list[int | Mem], str, list[tuple[object, ...]]]:
    """A form, operands for it, the mnemonic, and the operands that capstone must find."""
    text = draw(_TEXTS)
    names = _operands(text)
    values: list[int | Mem] = []
    shown: list[tuple[object, ...]] = []
    for name in names:
        size = "".join(re.findall(r"\d+$", name))
        if name in _IMPLIED:
            shown.append(("imm", 1) if name == "1" else ("reg", name))
        elif name.startswith(("imm", "rel")):
            value = draw(_signed(int(size)))
            values.append(value)
            shown.append(("imm", value))
            if name.startswith("rel"):
                shown[-1] = ("imm", _ADDRESS + len(form(text)(value)) + value)
        elif name.startswith(("abs", "m")):
            mem = (
                Mem(None, draw(st.integers(0, (1 << 31) - 1))) if name.startswith("abs") else draw(_memory())
            )
            values.append(mem)
            shown.append(_place(mem))
        else:
            values.append(draw(_REGS))
            shown.append(("reg", _NAMES[size][values[-1]]))  # type: ignore[index]  # a register number
    mnemonic = text.removesuffix(", ".join(names)).strip()
    return form(text), values, mnemonic, shown


def _same(found: tuple[object, ...], want: tuple[object, ...]) -> bool:
    """Numbers may be shown cut to the width of the operation: compare the bits that both have."""
    if found[0] == want[0] == "imm":
        a, b = found[1], want[1]
        assert isinstance(a, int)
        assert isinstance(b, int)
        return a == b or any(
            a & mask == b & mask == a for mask in ((1 << 8) - 1, (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1)
        )
    return found == want


@settings(max_examples=600)
@given(_case())
def test_capstone_reads_what_was_meant(
    case: tuple[Form, list[int | Mem], str, list[tuple[object, ...]]],
) -> None:
    encoder, values, mnemonic, want = case
    code = encoder(*values)
    decoded = next(_DECODER.disasm(code + b"\x90\x90", _ADDRESS))
    assert decoded.size == len(code)
    assert decoded.mnemonic == mnemonic
    found = _shown(decoded)
    assert len(found) == len(want), (found, want)
    assert all(_same(a, b) for a, b in zip(found, want, strict=True)), (found, want)


@pytest.mark.parametrize("text", [row[0] for row in FORMS])
def test_every_row_is_unique_and_decodes(text: str) -> None:
    assert [row[0] for row in FORMS].count(text) == 1
    operands = [Mem(x.RBX, 8) if role == "mem" else 1 for role in form(text).roles]
    code = form(text)(*operands)
    decoded = list(_DECODER.disasm(code, _ADDRESS))
    assert len(decoded) == 1
    assert decoded[0].size == len(code)


def test_what_cannot_be_encoded_is_our_fault() -> None:
    with pytest.raises(InternalError, match="does not fit"):
        form("add rm64, imm8")(x.RAX, 256)
    with pytest.raises(InternalError, match="operands"):
        form("ret")(1)
    with pytest.raises(InternalError, match="no instruction form"):
        form("vaddps ymm0, ymm1, ymm2")
