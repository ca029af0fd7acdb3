"""Which undefined register an instruction tripped over: asked only once it has happened."""

from bpf import isa
from bpf.insn import Insn
from bpf.opcodes import form_of
from emu.interp.state import Word

_READ = ("read", "update", "base")


def reads(insn: Insn) -> list[int]:
    """Registers that `insn` reads, calls left out: what they read is up to the callee."""
    form = form_of(insn)
    if form is None:
        return []
    found = [number for field, number in ((form.dst, insn.dst), (form.src, insn.src)) if field in _READ]
    if form.group == "packet":
        found.append(6)
    if insn.code == isa.OP_EXIT or (form.name.endswith("cmpxchg")):
        found.append(isa.R0)
    return found


def undefined_register(insn: Insn, regs: list[Word]) -> int | None:
    """The first register that `insn` reads and that holds nothing; None when all are defined."""
    return next((number for number in reads(insn) if number <= isa.FP and regs[number] is None), None)
