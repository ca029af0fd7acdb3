"""Accesses below rsp that stand in the code as such: execution without hooks does not see them unless a call follows.

Kernel code has no red zone: an interrupt may overwrite what is below rsp at any time. Found by their bytes, and confirmed
where an instruction really starts there.
"""

import re
from typing import Final

from emu.sandbox.images import Function
from jit.decoder import new_decoder

_BELOW: Final = re.compile(rb"[\x44\x4c\x54\x5c\x64\x6c\x74\x7c]\x24[\x80-\xff]")  # [rsp - 128 .. rsp - 1]
_ANY: Final = re.compile(r"\[rsp - ")


def accesses(function: Function) -> list[tuple[int, str]]:
    """(offset, assembly) of every instruction of a function that names memory below rsp."""
    if _BELOW.search(function.code) is None:
        return []
    return [
        (addr, f"{name} {operands}")
        for addr, _size, name, operands in new_decoder().disasm_lite(function.code, 0)
        if name != "lea" and _ANY.search(operands)
    ]
