"""Which function of a program takes its exceptions: a declaration tag of the main function names it."""

from typing import Final

from bpf.btf import Kind
from bpf.program import Program

TAG: Final = "exception_callback:"


def callback(program: Program) -> int | None:
    """The first instruction of the exception callback, None where the program names none, or none that is there."""
    named = name(program)
    if named is None or program.btf is None:
        return None
    func = program.btf.find(named, Kind.FUNC)
    return next((info.insn for info in program.func_info if info.type_id == func), None)


def name(program: Program) -> str | None:
    """The name of the exception callback, whether it is there or not."""
    if program.btf is None or not program.func_info:
        return None
    for text, component in program.btf.decl_tags(program.func_info[0].type_id):
        if component == -1 and text.startswith(TAG):
            return text.removeprefix(TAG)
    return None
