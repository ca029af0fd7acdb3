"""A program as a JSON request, with what a real kernel is expected to make of it."""

import json
from collections.abc import Mapping

from bpf.asm import Expectation
from bpf.errors import InputError
from bpf.program import Program, Request
from emu.fuzz.finding import Finding
from emu.fuzz.keep import request_object


def files(
    request: Request,
    others: Mapping[str, Program],
    finding: Finding | None,
    expectation: Expectation | None,
    stem: str,
) -> dict[str, str]:
    """One object of docs/formats.md, with two more keys: `expect` and `finding`. Raises InputError."""
    del others
    made = request_object(request)
    if "incomplete" in made:
        raise InputError(request.program.name, "", f"is no JSON request: {made['incomplete']}")
    if expectation is not None:
        made["expect"] = expected(expectation)
    if finding is not None:
        made["finding"] = f"{finding.oracle}: {finding.kind}: {finding.message}"
    return {f"{stem}.json": json.dumps(made, indent=1) + "\n"}


def expected(expectation: Expectation) -> dict[str, object]:
    """`accepted`, and `retval` of the first run or `msg`, texts that the log holds in this order."""
    made: dict[str, object] = {"accepted": expectation.accepted}
    if expectation.accepted and expectation.retvals:
        made["retval"] = expectation.retvals[0]
    if expectation.message is not None:
        made["msg"] = [expectation.message]
    return made
