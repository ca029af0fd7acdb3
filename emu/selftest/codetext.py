"""A program's rewritten instructions and native code as the kernel's selftests print them before they look for texts.

Sources: disasm_helpers.c and jit_disasm_helpers.c of the kernel's selftests; the native code as LLVM prints it.
"""

import re
from typing import Any, Final

from capstone import x86

from bpf import isa
from bpf.disasm import disasm
from bpf.verified import Verified
from jit.decoder import new_decoder
from jit.image import Image

_DECODER = new_decoder(detail=True, att=True)
# Words that LLVM has others for, and numbers that it shows in base 16, whatever their size.
_WORDS: Final = {"leaveq": "leave"}
_DECIMAL: Final = re.compile(r"(?<![\w%])(-?)(\d)(?![\w])")
_JUMPS: Final = frozenset({x86.X86_GRP_JUMP, x86.X86_GRP_BRANCH_RELATIVE})
_NOP5: Final = bytes.fromhex("0f1f440000")
_ELSEWHERE: Final = (0x10000).to_bytes(4, "little")  # distance of a jump out of the program
_SCALE: Final = re.compile(r"(,)0x([1248])\)")


def rewritten(verified: Verified) -> str:
    """One line an instruction: its number and text; a helper is an address by then, and has no name."""
    lines, at = [], 0
    insns = verified.insns
    while at < len(insns):
        insn = insns[at]
        wide = insn.code == isa.LD_IMM64
        text = disasm(insn, insns[at + 1] if wide else None)
        if insn.code == isa.OP_CALL and insn.src != isa.PSEUDO_CALL:
            text = "call unknown" if not insn.src else text.split("#")[0]
        lines.append(f"{at}: {text}\n")
        at += 2 if wide else 1
    return "".join(lines)


def native(image: Image) -> str:
    """All functions of the image in LLVM's AT&T syntax; targets of jumps within one are L0, L1, ... by their address."""
    parts = []
    for number in range(len(image.functions)):
        parts += [f"func #{number}:\n", *_function(_poked(image, number)), "\n"]
    return "".join(parts)


def _poked(image: Image, number: int) -> bytes:
    """A function's code as the kernel patches it when prog arrays are filled: where a direct tail call finds a program."""
    function, verified = image.functions[number], image.verified
    code = bytearray(function.code)
    for poke in function.pokes:
        index, key = verified.pokes[poke.number - 1]
        if key in dict(verified.program.maps[index].progs):
            code[poke.bypass : poke.bypass + len(_NOP5)] = _NOP5
            code[poke.target : poke.target + len(_NOP5)] = b"\xe9" + _ELSEWHERE
    return bytes(code)


def _function(code: bytes) -> list[str]:
    decoded = list(_DECODER.disasm(code, 0))
    targets = sorted({target for insn in decoded if (target := _target(insn, len(code))) is not None})
    labels = {target: f"L{i}" for i, target in enumerate(targets)}
    lines = []
    for insn in decoded:
        label = f"{labels[insn.address]}:" if insn.address in labels else ""
        raw = "".join(f"{byte:02x} " for byte in insn.bytes)
        target = _target(insn, len(code))
        operands = _operands(insn.op_str) if target is None else labels[target]
        text = f"{_WORDS.get(insn.mnemonic, insn.mnemonic)}" + (f"\t{operands}" if operands else "")
        lines.append(f"{insn.address:x}:\t{raw:<36}{label}\t{text}\n")
    return lines


def _target(insn: Any, size: int) -> int | None:
    """Where a jump (not a call) goes within its function, None for everything else."""
    if not _JUMPS & set(insn.groups) or x86.X86_GRP_CALL in insn.groups:
        return None
    operand = insn.operands[0]
    return operand.imm if operand.type == x86.X86_OP_IMM and 0 <= operand.imm < size else None


def _operands(text: str) -> str:
    """Without spaces inside an address, numbers in base 16, scale factors as they are."""
    text = re.sub(r"\(([^)]*)\)", lambda m: f"({m[1].replace(' ', '')})", text)
    return _SCALE.sub(r"\1\2)", _DECIMAL.sub(r"\g<1>0x\2", text))
