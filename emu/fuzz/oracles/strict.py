"""Strict mode within kernel mode: it refuses more, for the reasons of docs/strict.md, and changes nothing else."""

import re
from collections.abc import Iterator
from dataclasses import replace

from bpf import isa
from bpf.program import Program
from bpf.verified import Rejected, Verified
from emu.fuzz.finding import Finding
from emu.fuzz.oracles.exam import Exam
from jit import JitUnsupported, compile_program
from verifier import verify

# What strict mode says of the holes 1 to 4 and 7. Hole 6, precision through stack arguments, is known by no message.
_DOCUMENTED = re.compile(
    r"callback .* has \d+ > 5 args"
    r"|invalid read from stack arg off 8, clobbered by may_goto or LD_ABS/LD_IND"
    r"|callee expects \d+ args, stack arg\d+ is (not initialized|clobbered by may_goto or LD_ABS/LD_IND)"
    r"|r11 load must be before any r11 store or call insn"
    r"|a jump table leads to insn \d+, which does nothing and is removed"
)


def judge(exam: Exam) -> Iterator[Finding]:
    """Both verdicts side by side, in thorough cases."""
    if not exam.thorough or exam.case.verdict is None:
        return
    program = exam.request.program
    found = {exam.pipeline.options.mode: exam.case.verdict}
    for mode in ("kernel", "strict"):
        if mode not in found:
            found[mode] = verify(program, log_level=0, mode=mode, insn_limit=exam.pipeline.options.insn_limit)
    kernel, strict = found["kernel"], found["strict"]
    if isinstance(kernel, Rejected):
        if isinstance(strict, Verified):
            yield Finding("strict", "accepted", f"strict mode accepts, kernel mode says: {kernel.message}")
        return
    if isinstance(strict, Rejected):
        if not _is_documented(program, strict):
            text = f"strict mode refuses without a documented reason: {strict.message}"
            yield Finding("strict", "refused", text, strict.insn)
        return
    yield from _same(exam, kernel, strict)


def _is_documented(program: Program, strict: Rejected) -> bool:
    """Precision that is followed through stack arguments may refuse with any words, but needs a stack argument."""
    if _DOCUMENTED.search(strict.message or ""):
        return True
    return any(isa.REG_PARAMS in (insn.dst, insn.src) for insn in program.insns)


def _same(exam: Exam, kernel: Verified, strict: Verified) -> Iterator[Finding]:
    """What both accept becomes the same program, and so the same native code.

    Unless strict mode looked at more paths: then less is dead code to it.
    """
    if kernel.verified_insns != strict.verified_insns:
        return
    if _comparable(kernel) != _comparable(strict):
        yield Finding("strict", "rewritten", "kernel and strict mode make different programs")
        return
    profile = exam.pipeline.options.profile
    try:
        code = [compile_program(one, profile).functions for one in (kernel, strict)]
    except JitUnsupported:
        return
    if code[0] != code[1]:
        yield Finding("strict", "compiled", "kernel and strict mode make different native code")


def _comparable(verified: Verified) -> Verified:
    return replace(verified, log="", stats={})
