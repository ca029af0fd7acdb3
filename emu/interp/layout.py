"""Addresses that the interpreter gives to what has none: frames, functions, and the instructions that jump tables name."""

from emu.outcome import CODE

STACK_TOP = 0xFFFF_C900_0010_0000  # frame pointer of the main program
STACK_SPACING = 0x1_0000  # more than any s16 offset: r10 + off never reaches another frame
FUNC_BASE = 0xFFFF_FFFF_C010_0000  # of the function that starts at instruction 0; 8 bytes an instruction


def code_address(insn: int) -> int:
    """What a jump table holds for instruction `insn`."""
    return CODE + 8 * insn


def function_address(start: int) -> int:
    """What an ld_imm64 of a function that starts at instruction `start` loads."""
    return FUNC_BASE + 8 * start
