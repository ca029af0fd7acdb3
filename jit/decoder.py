"""Makes disassemblers of x86-64 code. The one place that names capstone's class, which has no types."""

from typing import Any

import capstone


def new_decoder(*, detail: bool = False, att: bool = False) -> Any:
    """A capstone `Cs`. detail: operands are decoded, too, which `disasm` needs for them. att: AT&T syntax."""
    decoder: Any = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)  # type: ignore[no-untyped-call]  # it has no types
    decoder.detail = detail
    if att:
        decoder.syntax = capstone.CS_OPT_SYNTAX_ATT
    return decoder
