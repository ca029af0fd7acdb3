"""Runs the programs of selftest objects by their expectations and says pass, fail or unsupported, with the reason."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bpf import btf_check, elf, elf_file
from bpf.btf import Btf, Kind
from bpf.btf_build import BtfBuilder
from bpf.errors import InputError
from bpf.program import Program, Request, RunInput
from bpf.verified import Rejected, Verified
from emu.load import read_bytes
from emu.pipeline import Case, Pipeline
from emu.selftest.spec import FLAGS, POINTER_VALUE, Spec, read_specs

State = Literal["pass", "fail", "unsupported", "skipped"]

_DATA_LEN = 64
# What the kernel's loader sets for every test, so that a bound that contradicts another is found.
_DEFAULT_FLAGS = FLAGS["BPF_F_TEST_RND_HI32"] | FLAGS["BPF_F_TEST_REG_INVARIANTS"]
_ARCH = "X86_64"
_NO_RUN = frozenset(
    {"kprobe", "tracepoint", "perf_event", "lsm", "ext", "cgroup_sock_addr", "sock_ops", "tracing"}
)


@dataclass(frozen=True, slots=True)
class Result:
    """One program. why: one line, "" for a pass. unprivileged: expectations left out because they need such a user."""

    object: str
    program: str
    description: str
    state: State
    why: str = ""
    unprivileged: int = 0


def run_object(pipeline: Pipeline, file: str, only: str | None = None) -> Iterator[Result]:
    """The results of an object's annotated programs, as they come. only: part of a name or description.

    Raises InputError when the object cannot be read at all.
    """
    loaded = elf.load(read_bytes(file), file, trust_layout=True, keep_btf=True)
    if loaded.raw_btf is None:
        raise InputError(file, "section .BTF", "is missing, and with it all expectations")
    programs = {program.name: program for program in loaded.programs}
    unsupported = dict(loaded.unsupported)
    for spec in read_specs(loaded.raw_btf):
        if only and only not in spec.program and only not in spec.description:
            continue
        yield _judge(pipeline, file, spec, programs, unsupported, loaded.btf_refused)


def _judge(
    pipeline: Pipeline,
    file: str,
    spec: Spec,
    programs: dict[str, Program],
    unsupported: dict[str, str],
    btf_refused: str,
) -> Result:
    def result(state: State, why: str = "") -> Result:
        return Result(file, spec.program, spec.description, state, why, spec.unprivileged)

    skipped = _not_asked(spec)
    if skipped:
        return result("skipped", skipped)
    if spec.program in unsupported:
        return result("unsupported", unsupported[spec.program])
    program = programs.get(spec.program)
    if program is None:
        return result("skipped", "is no program")
    try:
        program = _prepared(program, spec, Path(file).parent, btf_refused)
        request = Request(program, (_input(program, spec),), log_level=max(1, spec.log_level))
        runs = spec.success and spec.retval is not None and program.prog_type not in _NO_RUN
        case = pipeline.run(
            request, programs, ("verify", "jit", "interp", "sandbox") if runs else ("verify",)
        )
    except InputError as error:
        return result("unsupported", str(error))
    except Exception as error:  # noqa: BLE001  a fault of ours is this program's failure, and the others go on
        return result("fail", f"internal error: {type(error).__name__}: {error}")
    why = _verdict(case, spec) or _messages(case, spec)
    if why:
        return result("fail", why)
    if runs:
        why, judged = _result(case, spec)
        if why:
            return result("fail" if judged else "unsupported", why)
    if spec.needs:
        return result("unsupported", f"verdict and messages are met; not judged: {', '.join(spec.needs)}")
    return result("pass")


def _not_asked(spec: Spec) -> str:
    """Why nothing is expected of this program here, "" when something is."""
    if spec.auxiliary and spec.success is not False and not spec.messages:
        return "auxiliary: run by another program"
    if spec.success is None:
        return "asks only unprivileged users"
    if spec.arches and _ARCH not in spec.arches:
        return f"for {', '.join(spec.arches)} only"
    return ""


def _prepared(program: Program, spec: Spec, folder: Path, btf_refused: str) -> Program:
    """The program with the flags, and the BTF of its functions, that its expectations name."""
    flags = (program.prog_flags | _DEFAULT_FLAGS | spec.flags) & ~spec.cleared_flags
    program = replace(program, prog_flags=flags)
    if spec.btf_from:
        return _with_functions(program, folder / spec.btf_from)
    return replace(program, btf=None, func_info=(), line_info=()) if btf_refused else program


def _with_functions(program: Program, file: Path) -> Program:
    """The program with the prototypes that another object has for its functions, found by name.

    A naked function's own BTF has no names of parameters, so that the kernel would not take it. Raises InputError.
    """
    name = str(file)
    section = elf_file.read(read_bytes(name), name).find(".BTF")
    if section is None or program.btf is None:
        raise InputError(program.name, name, "has no BTF to take functions from")
    other = Btf.parse(section.data, name)
    builder = BtfBuilder(program.btf)
    for entry in program.func_info:
        found = other.find(program.btf.type(entry.type_id).name, Kind.FUNC)
        if found is not None:
            builder.retype(entry.type_id, other.prototype(found))
    btf = builder.build()
    refused = btf_check.refusal(btf)
    return replace(program, btf=None, func_info=(), line_info=()) if refused else replace(program, btf=btf)


def _input(program: Program, spec: Spec) -> RunInput:
    if program.prog_type == "syscall":
        return RunInput(repeat=0)
    ctx = None
    if spec.linear_size is not None:
        ctx = bytearray(192)
        ctx[80:84] = spec.linear_size.to_bytes(4, "little")  # data_end of struct __sk_buff
    return RunInput(data_in=bytes(_DATA_LEN), ctx_in=None if ctx is None else bytes(ctx), repeat=1)


def _verdict(case: Case, spec: Spec) -> str:
    if isinstance(case.verdict, Rejected) and spec.success:
        return f"expected to load, rejected with {case.verdict.errno}: {case.verdict.message}"
    if isinstance(case.verdict, Verified) and not spec.success:
        return "expected to be rejected, accepted"
    return ""


def _messages(case: Case, spec: Spec) -> str:
    """The first expectation about the log that is not met; messages come in order."""
    assert case.verdict is not None
    log, at = case.verdict.log, 0
    forbidden = []
    for message in spec.messages:
        if not message.wanted:
            forbidden.append(message)
            continue
        found = message.pattern().search(log, at)
        if found is None:
            return f"no message {message.text!r}" + (" after the one before it" if at else "")
        for other in forbidden:
            if other.pattern().search(log, at, found.start()):
                return f"message {other.text!r}, which must not be there"
        forbidden.clear()
        at = found.end()
    for other in forbidden:
        if other.pattern().search(log, at):
            return f"message {other.text!r}, which must not be there"
    return ""


def _result(case: Case, spec: Spec) -> tuple[str, bool]:
    """(what is wrong with the result or "", whether that is a verdict: False means that we cannot tell)."""
    if case.error is not None:
        return str(case.error), False
    if case.difference is not None:
        return f"engines differ: {case.difference.message}", True
    for outcome in (case.interp, case.sandbox):
        if outcome is None:
            continue
        run = outcome.runs[-1]
        if run.trap is not None:
            return f"{outcome.engine}: {run.trap.message}", run.trap.kind not in ("call", "internal")
        if run.errno != "OK":
            return f"the test run is refused: {run.errno}", run.errno != "ENOTSUPP"
        assert spec.retval is not None
        if spec.retval != POINTER_VALUE and run.retval != spec.retval & 0xFFFFFFFF:
            return f"{outcome.engine} returned {run.retval}, expected {spec.retval & 0xFFFFFFFF}", True
    return "", True
