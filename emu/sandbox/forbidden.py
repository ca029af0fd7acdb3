"""Instructions that succeed at user privilege, and that no kernel's BPF code contains.

They are found in two steps. `scan` looks for their bytes at every offset of the code, so that a jump into the middle of an
instruction evades nothing; on normal code it finds none. Where it does, a hook on just these addresses asks
`name_of` whether an instruction that really starts there is one of them. Everything more privileged is caught by the
processor itself: see entry.py.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from jit.decoder import new_decoder

# Random and machine-dependent values, transactions, and descriptor table reads that no mode of Unicorn refuses.
_NAMES = frozenset((
    "rdrand", "rdseed", "rdpid", "xbegin", "xabort", "xend", "xtest", "sgdt", "sidt", "sldt", "str", "smsw",
    "verr", "verw", "lar", "lsl", "fxsave", "fxrstor", "fxsave64", "fxrstor64",
))  # fmt: skip
_BYTES = re.compile(
    rb"[\x0f\xc4\xc6\xc7]"  # a set of first bytes, which is looked for much faster than alternatives are
    rb"(?:(?<=\x0f)(?:"
    rb"\x00[\xc0-\xff\x00-\x2f\x40-\x6f\x80-\xaf]"  # sldt, str, verr, verw and neighbours
    rb"|[\x01\x02\x03]"  # sgdt, sidt, smsw, xend, xtest; lar; lsl
    rb"|\xc7[\xf0-\xff]"  # rdrand, rdseed, rdpid
    rb"|\xae[\x00-\x0f\x40-\x4f\x80-\x8f])"  # fxsave, fxrstor
    rb"|(?<=[\xc6\xc7])\xf8"  # xabort, xbegin
    # VEX forms that a kernel's JIT emits (shlx, sarx, shrx). Unicorn wants the vector unit switched on for them.
    rb"|(?<=\xc4)(?P<vex>[\x42\x62\x82\xa2\xc2\xe2].\xf7))",
    re.DOTALL,
)
_PREFIXES = 4  # bytes in front of the opcode at which the instruction may start: 66, f2/f3, segment, REX
_MAX_SPANS = 64  # more than that is treated as one span


@cache
def _disassembler() -> Any:
    return new_decoder()


def scan(chunks: Sequence[tuple[int, bytes]]) -> tuple[list[tuple[int, int]], bool]:
    """Address ranges in which such an instruction may start, and whether the code has BMI2 shifts."""
    spans: list[tuple[int, int]] = []
    vectors = False
    for addr, code in chunks:
        at = 0
        while match := _BYTES.search(code, at):
            at = match.start() + 1
            if match.lastgroup:
                vectors = True
                continue
            first, last = addr + max(at - 1 - _PREFIXES, 0), addr + at - 1
            if spans and first <= spans[-1][1] + 1:
                spans[-1] = (spans[-1][0], last)
            else:
                spans.append((first, last))
    if len(spans) > _MAX_SPANS:
        spans = [(min(first for first, _ in spans), max(last for _, last in spans))]
    return spans, vectors


def name_of(code: bytes, addr: int) -> str:
    """The mnemonic of the forbidden instruction that `code` begins with, or ""."""
    for _addr, _size, name, _operands in _disassembler().disasm_lite(code, addr, 1):
        return str(name) if name in _NAMES else ""
    return ""


def text_of(code: bytes, addr: int) -> str:
    """The instruction that `code` begins with as assembly text; its bytes where it is none."""
    for _addr, _size, name, operands in _disassembler().disasm_lite(code, addr, 1):
        return f"{name} {operands}".strip()
    return f".byte {', '.join(f'{byte:#04x}' for byte in code[:4])}" if code else ""
