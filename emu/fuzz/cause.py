"""Which findings are one: the cause of a finding, as words that are equal for equal faults.

A program that the kernel's rules accept and strict mode refuses shows a hole of the kernel, and strict mode's message
says which (docs/strict.md). All others are told apart by what was seen and at which kind of instruction.
"""

from collections.abc import Callable, Mapping

from bpf import isa
from bpf.errors import InputError
from bpf.helpers import HELPERS
from bpf.opcodes import form_of
from bpf.program import Program
from bpf.verified import Rejected
from emu.fuzz.finding import Finding
from verifier import verify

HOLES: Mapping[int, str] = {
    1: "a function called against its prototype is not asked for its stack arguments again",
    2: "a callback with more than five parameters",
    3: "may_goto loses argument 6",
    4: "LD_ABS or LD_IND loses argument 6",
    6: "an earlier path is taken for covered although it depends on a stack argument",
    8: "an exception restores the registers of a main function with a private stack from the wrong place",
}
MEMORY = "argument 6 is lost, by may_goto or by LD_ABS"

_PLAIN = frozenset(("mov64_imm", "mov64_reg", "exit", "ld_imm64"))  # every program has them
_ABOUT_PATHS = ("engines", "accepted", "sound")  # oracles that see what the verifier overlooked
_ABOUT_ARGUMENT_6 = ("clobbered by may_goto", "r11 load must be before any r11 store or call insn")


Again = Callable[[Finding], bool]  # whether strict mode has the same complaint about the program


def group(program: Program, others: Mapping[str, Program], finding: Finding, mode: str, again: Again) -> str:
    """The cause as far as a program tells that is not reduced yet: what differs here may be several causes."""
    return hole(program, others, finding, mode, again) or f"{finding.oracle}: {finding.kind}"


def cause(program: Program, others: Mapping[str, Program], finding: Finding, mode: str, again: Again) -> str:
    """The cause, of a reduced program."""
    found = hole(program, others, finding, mode, again)
    if found:
        return found
    where = "" if finding.oracle in ("crash", "worker") else _where(program, finding.insn)
    return f"{finding.oracle}: {finding.kind}" + (f" at {where}" if where else "")


def hole(program: Program, others: Mapping[str, Program], finding: Finding, mode: str, again: Again) -> str:
    """Which hole of the kernel's rules shows here, "" when strict mode has it, too.

    Strict mode refuses the program, or, where hole 6 only hid a path that does no harm, accepts it and has no complaint.
    """
    if mode == "strict":
        return ""
    for one in (program, *others.values()):
        message = _refusal(one)
        if message is not None:
            return _hole(one, message)
    if finding.oracle in _ABOUT_PATHS and not again(finding):
        return f"hole 6: {HOLES[6]}"
    return ""


def _refusal(program: Program) -> str | None:
    """What strict mode says against it, None when it says nothing."""
    try:
        verdict = verify(program, log_level=0, mode="strict")
        if isinstance(verdict, Rejected) and not isinstance(verify(program, log_level=0), Rejected):
            return verdict.message or verdict.errno
    except InputError:
        pass
    except Exception:  # noqa: BLE001  a fault of the verifier is a finding of its own, and it has been found
        return None
    return None


def _hole(program: Program, message: str) -> str:
    if "is not initialized" in message and "stack arg" in message:
        number = 1
    elif message.startswith("callback ") and message.endswith("args"):
        number = 2
    elif message.startswith("exceptions in a program"):
        number = 8
    elif any(words in message for words in _ABOUT_ARGUMENT_6):
        loops = any(insn.code == isa.OP_MAY_GOTO for insn in program.insns)
        loads = any(
            insn.code & isa.CLASS_MASK == isa.LD and insn.code & isa.MODE_MASK in (isa.ABS, isa.IND)
            for insn in program.insns
        )
        if loops and loads:
            return MEMORY
        number = 3 if loops else 4
    else:
        number = 6
    return f"hole {number}: {HOLES[number]}"


def _where(program: Program, insn: int | None) -> str:
    """The kind of instruction that is to blame; where none is, all kinds but those that every program has."""
    if insn is not None and 0 <= insn < len(program.insns):
        return _kind(program, insn)
    kinds, index = set(), 0
    while index < len(program.insns):
        kinds.add(_kind(program, index))
        index += 2 if program.insns[index].code == isa.LD_IMM64 else 1
    return ", ".join(sorted(kinds - _PLAIN))


def _kind(program: Program, index: int) -> str:
    insn = program.insns[index]
    if insn.code == isa.OP_CALL and insn.src == 0:
        helper = HELPERS.get(insn.imm)
        return f"call of {helper.name}" if helper is not None else "call of a helper"
    form = form_of(insn)
    return form.name if form is not None else f"opcode {insn.code:#04x}"
