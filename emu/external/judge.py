"""What is wrong with what a JIT under test makes of a program."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bpf.program import Program, Request
from emu.external.pipeline import JitFailedError, JitPipeline
from emu.fuzz.finding import Finding
from emu.fuzz.judge import Judge, Judged

ORACLES: Final = ("engines",)  # the others are about our own verifier and JIT


class JitJudge(Judge):
    """A JIT that fails at a program is a finding of the oracle "jit"."""

    def __init__(self, pipeline: JitPipeline) -> None:
        super().__init__(pipeline, ORACLES)

    def judge(
        self, request: Request, others: Mapping[str, Program] | None = None, *, thorough: bool = False
    ) -> Judged:
        """As `Judge.judge`."""
        judged = super().judge(request, others, thorough=thorough)
        if isinstance(judged.case.error, JitFailedError):
            failed = Finding("jit", "failed", str(judged.case.error))
            return replace(judged, findings=(failed, *judged.findings))
        return judged
