"""Every concrete state of a run lies inside what the verifier knew there (docs/soundness.md)."""

from collections.abc import Iterator
from typing import Final

from emu.fuzz.finding import Finding
from emu.fuzz.oracles.exam import Exam
from emu.soundness import check_recorded

FOLLOWED: Final = 10_000  # instructions of a run: what a loop does later on it has mostly done before


def judge(exam: Exam) -> Iterator[Finding]:
    """The first step at which a run leaves the abstract states, where these were kept and are whole.

    A trap says nothing more than it does to the oracle `accepted`.
    """
    verified, recorder = exam.verified, exam.recorder
    if verified is None or recorder is None or recorder.full or not exam.request.run:
        return
    options = exam.pipeline.options
    budget = min(options.budget, FOLLOWED)
    checked = check_recorded(
        verified,
        recorder,
        exam.request.runs,
        programs=exam.others,
        budget=budget,
        seed=options.seed,
        memory=exam.pipeline.memory,
    )
    breach = checked.breach
    if breach is not None and breach.where != "fault":
        yield Finding("sound", _place(breach.where), str(breach), breach.insn, breach.run)


def _place(where: str) -> str:
    """The kind of place: "register", "stack", "stack argument", "pc", "call"."""
    if where.startswith("r11"):
        return "stack argument"
    if where.startswith("fp"):
        return "stack"
    return "register" if where[:1] == "r" else where
