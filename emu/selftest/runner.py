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
from emu.pipeline import ENGINES, Case, Pipeline
from emu.selftest import codetext
from emu.selftest.messages import unmet
from emu.selftest.presets import with_presets
from emu.selftest.spec import ARCH, FLAGS, POINTER_VALUE, Spec, read_specs
from jit import compile_program

State = Literal["pass", "fail", "unsupported", "skipped"]

_DATA_LEN = 64
# What the kernel's loader sets for every test, so that a bound that contradicts another is found.
_DEFAULT_FLAGS = FLAGS["BPF_F_TEST_RND_HI32"] | FLAGS["BPF_F_TEST_REG_INVARIANTS"]
_NO_RUN = frozenset(
    {"kprobe", "tracepoint", "perf_event", "lsm", "ext", "cgroup_sock_addr", "sock_ops", "tracing"}
)


@dataclass(frozen=True, slots=True)
class Result:
    """One program. why: one line, "" for a pass. unprivileged: whether such a user is asked, too: that is left out."""

    object: str
    program: str
    description: str
    state: State
    why: str = ""
    unprivileged: bool = False


def run_object(pipeline: Pipeline, file: str, only: str | None = None) -> Iterator[Result]:
    """The results of an object's annotated programs, as they come. only: part of a name or description.

    Raises InputError when the object cannot be read at all. One that can, and cannot be loaded, gives a result for
    each of its expectations.
    """
    data = read_bytes(file)
    specs = [spec for spec in read_specs(_own_btf(data, file)) if _is_asked(spec, only)]
    try:
        loaded = elf.load(data, file, trust_layout=True, keep_btf=True)
    except InputError as error:
        why = str(error).removeprefix(f"{file}: ")
        for spec in specs:
            skipped = _not_asked(spec)
            yield _result(file, spec, "skipped" if skipped else "unsupported", skipped or why)
        return
    judge = _Judge(pipeline, file, loaded)
    for spec in specs:
        yield _result(file, spec, *judge(spec))


def _own_btf(data: bytes, file: str) -> Btf:
    section = elf_file.read(data, file).find(".BTF")
    if section is None:
        raise InputError(file, "section .BTF", "is missing, and with it all expectations")
    return Btf.parse(section.data, f"{file}: section .BTF")


def _is_asked(spec: Spec, only: str | None) -> bool:
    return not only or only in spec.program or only in spec.description


def _result(file: str, spec: Spec, state: State, why: str = "") -> Result:
    return Result(file, spec.program, spec.description, state, why, spec.unprivileged)


class _Judge:
    """Says of each program of one object whether it meets its expectations."""

    def __init__(self, pipeline: Pipeline, file: str, loaded: elf.Object) -> None:
        self.pipeline = pipeline
        self.file = file
        self.btf_refused = loaded.btf_refused
        self.programs = {program.name: program for program in loaded.programs}
        self.unsupported = {name: why.removeprefix(f"{file}: ") for name, why in loaded.unsupported}

    def __call__(self, spec: Spec) -> tuple[State, str]:
        """(state, why)."""
        skipped = _not_asked(spec)
        if skipped:
            return "skipped", skipped
        if spec.bad or spec.program in self.unsupported:
            return "unsupported", spec.bad or self.unsupported[spec.program]
        if spec.program not in self.programs:
            return "skipped", "is no program"
        try:
            return self._judged(self.programs[spec.program], spec)
        except InputError as error:
            return "unsupported", str(error)
        except Exception as error:  # noqa: BLE001  a fault of ours is this program's failure, and the others go on
            return "fail", f"internal error: {type(error).__name__}: {error}"

    def _judged(self, program: Program, spec: Spec) -> tuple[State, str]:
        program = _prepared(program, spec, Path(self.file).parent, self.btf_refused)
        program = with_presets(program, self.file)
        runs = spec.success and spec.retval is not None and program.prog_type not in _NO_RUN
        request = Request(program, (_input(program, spec),) if runs else (), log_level=spec.log_level or 1)
        stages = ENGINES if runs else ("verify",)
        case = self.pipeline.run(request, self.programs, stages)
        why = _verdict(case, spec) or unmet(_log(case, spec), spec.messages)
        if why or not spec.success:
            return ("fail", why) if why else ("pass", "")
        code = self._code(case, spec)
        if code:
            return "fail", code
        if runs:
            why, judged = _outcome(case, spec)
            if why:
                return "fail" if judged else "unsupported", why
        if spec.needs:
            return "unsupported", f"verdict and messages are met; not judged: {', '.join(spec.needs)}"
        return "pass", ""

    def _code(self, case: Case, spec: Spec) -> str:
        """What is wrong with the rewritten program or the native code. Raises InputError where there is no such code."""
        assert isinstance(case.verdict, Verified)
        if spec.xlated and (why := unmet(codetext.rewritten(case.verdict), spec.xlated)):
            return f"rewritten program: {why}"
        if spec.jited:
            # the texts are those of a machine of many processors, where per-CPU memory is far from the kernel
            profile = replace(self.pipeline.options.profile, percpu_far=True)
            why = unmet(codetext.native(compile_program(case.verdict, profile)), spec.jited)
            return f"native code: {why}" if why else ""
        return ""


def _not_asked(spec: Spec) -> str:
    """Why nothing is expected of this program here, "" when something is."""
    if spec.auxiliary:
        return "auxiliary: run by another program"
    if spec.interpreted:
        return "for kernels without a JIT only"
    if spec.success is None and not spec.bad:
        return "asks only unprivileged users"
    if spec.arches and ARCH not in spec.arches:
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
    """The program with the names that another object has for the parameters of its functions.

    A naked function's own BTF has no such names, so that the kernel would not take it. Raises InputError.
    """
    name = str(file)
    section = elf_file.read(read_bytes(name), name).find(".BTF")
    if section is None or program.btf is None:
        raise InputError(program.name, name, "has no BTF to take functions from")
    other = Btf.parse(section.data, name)
    builder = BtfBuilder(program.btf)
    for tid, func in enumerate(program.btf.types):
        if func.kind != Kind.FUNC:
            continue
        params = program.btf.type(func.type).params
        found = other.find(func.name, Kind.FUNC)
        if found is None or not params or params[0].name:
            continue
        names = [param.name for param in other.type(other.type(found).type).params]
        if len(names) == len(params):
            builder.name_params(tid, names)
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


def _log(case: Case, spec: Spec) -> str:
    """What the loader has of the log: it asks for none at level 0, and once more, at level 1, after a rejection."""
    assert case.verdict is not None
    return "" if spec.success and not spec.log_level else case.verdict.log


def _outcome(case: Case, spec: Spec) -> tuple[str, bool]:
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
