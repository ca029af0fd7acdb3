"""How much of the instruction set and of our own engines a campaign has reached.

Instruction forms are counted for every accepted program. Branches of verifier, JIT and interpreter are recorded for a
few cases only, chosen by their number, since recording makes a case ten times slower; the package `coverage` does it,
where it is installed. Knows nothing of generators and oracles.
"""

import importlib.util
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from bpf import isa
from bpf.insn import Insn
from bpf.opcodes import BY_CODE, FORMS, form_of
from bpf.program import Program
from emu.fuzz.tally import Arc

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("verifier", "jit", "emu/interp")
ALL_FORMS: Final = tuple(form.name for form in FORMS if form.loadable)

_names: dict[tuple[int, int, int, int, int], str] = {}
_MAX_NAMES = 1 << 16
_ONLY: Final = tuple(forms[0].name if len(forms) == 1 else None for forms in BY_CODE)


def forms_of(program: Program) -> set[str]:
    """Names of the instruction forms in an accepted program."""
    out, second = set(), False
    for insn in program.insns:
        if second:
            second = False
            continue
        second = insn.code == isa.LD_IMM64
        out.add(_ONLY[insn.code] or _name(insn.code, insn.dst, insn.src, insn.off, insn.imm))
    return out


def _name(code: int, dst: int, src: int, off: int, imm: int) -> str:
    key = (code, dst, src, off, imm)
    name = _names.get(key)
    if name is None:
        if len(_names) >= _MAX_NAMES:
            _names.clear()
        form = form_of(Insn(*key))
        name = _names[key] = form.name if form is not None else f"opcode {code:#04x}"
    return name


def traced(turn: int) -> bool:
    """Whether branches are recorded for the case with this place among those of its generator: early, then seldom."""
    return turn in (0, 16, 128) or turn % 512 == 511


def available() -> bool:
    """Whether the package that records branches is installed."""
    return importlib.util.find_spec("coverage") is not None


class Branches:
    """Records jumps between lines while a case runs."""

    def __init__(self, recorder: Any) -> None:
        self._recorder = recorder

    @classmethod
    def measured(cls) -> Self | None:
        """A recorder, None where none is installed."""
        return cls(_recorder()) if available() else None

    @contextmanager
    def recorded(self, arcs: dict[str, set[Arc]]) -> Iterator[None]:
        """What happens inside is added to `arcs`, by file relative to the sources."""
        self._recorder.start()
        try:
            yield
        finally:
            self._recorder.stop()
            data = self._recorder.get_data()
            for file in data.measured_files():
                taken = data.arcs(file)
                if taken:
                    name = Path(file).relative_to(ROOT).as_posix()
                    arcs.setdefault(name, set()).update(taken)
            self._recorder.erase()


def _recorder() -> Any:
    import coverage  # noqa: PLC0415  optional, and slow to import

    include = [f"{ROOT}/{package}/*" for package in PACKAGES]
    return coverage.Coverage(data_file=None, branch=True, config_file=False, include=include, messages=False)


@dataclass(frozen=True, slots=True)
class Reach:
    """Of one package: lines and branches reached, and how many there are."""

    package: str
    lines: int
    all_lines: int
    branches: int
    all_branches: int


def reach(arcs: Mapping[str, set[Arc]]) -> tuple[Reach, ...]:
    """What the recorded jumps come to, a package each; nothing where the recorder is not installed or nothing was recorded."""
    if not arcs or not available():
        return ()
    recorder = _recorder()
    recorder.start()  # makes its data store
    recorder.stop()
    recorder.erase()
    data = recorder.get_data()
    data.add_arcs({f"{ROOT}/{file}": taken for file, taken in arcs.items()})
    data.touch_files([str(file) for package in PACKAGES for file in (ROOT / package).rglob("*.py")])
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        out = os.path.join(folder, "report.json")
        recorder.json_report(outfile=out)
        files = json.loads(Path(out).read_text(encoding="utf-8"))["files"]
    return tuple(_sum(package, files) for package in PACKAGES)


def _sum(package: str, files: Mapping[str, Any]) -> Reach:
    sums = [0, 0, 0, 0]
    for file, entry in files.items():
        name = Path(file).resolve().relative_to(ROOT).as_posix()
        if name.startswith(f"{package}/"):
            keys = ("covered_lines", "num_statements", "covered_branches", "num_branches")
            for at, key in enumerate(keys):
                sums[at] += entry["summary"][key]
    return Reach(package.replace("/", "."), *sums)


def compiled() -> bool:
    """Whether the verifier runs as machine code here, whose branches nobody sees."""
    return any((ROOT / "verifier").glob("*.so"))
