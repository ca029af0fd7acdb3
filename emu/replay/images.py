"""Runs the native code of a recording, as the kernel made it, against the interpreter and the recorded results."""

from collections.abc import Mapping
from dataclasses import dataclass

from bpf import isa
from bpf.errors import InputError
from bpf.request import parse_request
from bpf.verified import Rejected, Verified
from emu.against import recording
from emu.answer import case_json
from emu.foreign import Made, image_of
from emu.pipeline import Pipeline
from emu.replay.check import Check, Replayed, engine_check
from emu.replay.records import masked, outcome_checks
from jit.image import Image

NOTHING = "no native code is recorded"
HIDDEN = "its numbers are hidden, addresses among them"


@dataclass(slots=True)
class _Maker:
    """Makes the image of one recording, and remembers it."""

    what: str
    record: Mapping[str, object]
    made: Made | None = None

    def make(self, verified: Verified) -> Image:
        """Raises InputError when the code does not fit the program, or hides addresses."""
        loads = any(verified.insns[slot].code != isa.OP_CALL for slot in verified.symbols)
        if "blinded" in self.record and (verified.program.maps or loads):
            raise InputError(verified.program.name, "", HIDDEN)
        self.made = image_of(verified, recording.read(self.what, self.record))
        return self.made.image


def replay_image(pipeline: Pipeline, record: object, what: str) -> Replayed:
    """The checks of one recording: "image" whether its code could be loaded, then results, then engines and violations.

    Raises InputError when the record is none.
    """
    if not isinstance(record, dict):
        raise InputError(what, "", "is no recording")
    name = str(record.get("name", what))
    group = str(record.get("family", record.get("hole", record.get("profile", "all"))))
    part = recording.holder(record)

    def without(why: str) -> Replayed:
        return Replayed(name, group, (Check("image", "not comparable", why),), None, {"name": name})

    if not part.get("jited"):
        return without(NOTHING)
    try:
        request = parse_request(_request(record), what)
    except InputError as error:
        return without(str(error))
    maker = _Maker(what, record)
    case = pipeline.run(request, make=maker.make)
    if isinstance(case.verdict, Rejected):
        return without(f"we reject: {case.verdict.message}")
    if case.error is not None:
        return without(_short(case.error, what, request.program.name))
    if case.sandbox is None or case.interp is None:
        return without("the kernel did not run it")
    refused = next((run.errno for run in case.interp.runs if run.errno != "OK"), None)
    if refused is not None and part.get("run_errno") != refused:
        return without(f"the test run is refused: {refused}")
    checks = [Check("image", "agree")]
    checks += outcome_checks([case.sandbox], case, part)
    found = engine_check(case)
    checks += [found] if found is not None else []
    return Replayed(
        name, group, tuple(masked(checks, part)), case, case_json(case) | {"name": name, "family": group}
    )


def _request(record: Mapping[str, object]) -> object:
    """The request of a recording: the record itself, or a part of it, which may lack the name."""
    request = record.get("request")
    if not isinstance(request, dict):
        return record
    return {"name": record.get("name", ""), **request}


def _short(error: InputError, what: str, program: str) -> str:
    """What is wrong, without where: alike errors are counted together."""
    return str(error).removeprefix(f"{what}: ").removeprefix(f"{program}: ")
