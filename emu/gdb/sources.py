"""Which line of which file a BPF instruction belongs to, for a debugger that shows lines.

Where a function has line information that is its C source. Other functions have a line for each instruction in a
listing that is written here. Source files that are not at hand are put together from the lines that BTF holds of
them, each at its number.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bpf import isa
from bpf.errors import InputError
from bpf.program import Program
from emu.native import bpf_text, function_of, function_starts, source_line

_MOST_LINES: Final = 1 << 20  # of a file put together; a higher number is nothing that anybody wrote


@dataclass(frozen=True, slots=True)
class Line:
    """file: as it is named in line tables."""

    file: str
    number: int


@dataclass(slots=True)
class _Listing:
    """Lines of text, and where instructions and functions stand in it: (program, instruction) -> number from 1."""

    lines: list[str] = field(default_factory=list)
    insns: dict[tuple[int, int], int] = field(default_factory=dict)
    functions: dict[tuple[int, int], int] = field(default_factory=dict)


class Sources:
    """Lines of the instructions of `programs`. names: what functions are called, by (number of the program, first instruction).

    stem: what the listing, and the folder of files that are put together, are called. folders: where source files may lie. c_lines: whether C source is shown where it is known.
    """

    def __init__(
        self,
        programs: list[Program],
        names: Mapping[tuple[int, int], str],
        stem: str,
        folders: Iterable[Path],
        *,
        c_lines: bool = True,
    ) -> None:
        self._programs = programs
        self._file = f"{stem}.bpf.s"
        self._folder = f"{stem}.sources"
        self._c_lines = c_lines
        self._folders = tuple(folders)
        self._listing = _list(programs, names)
        self._found: dict[str, str] = {}

    def head(self, program: int, start: int) -> Line:
        """The line of a function as such: its prologue's."""
        found = self._source(program, start)
        return found or Line(self._file, self._listing.functions.get((program, start), 1))

    def line(self, program: int, insn: int) -> Line:
        """The line of an instruction."""
        found = self._source(program, insn)
        return found or Line(self._file, self._listing.insns.get((program, insn), 1))

    def _source(self, program: int, insn: int) -> Line | None:
        if not self._c_lines or not 0 <= insn < len(self._programs[program].insns):
            return None
        info = source_line(self._programs[program], insn)
        start = function_of(self._programs[program], insn)
        if info is None or info.insn < start or not info.file or not 0 < info.line < _MOST_LINES:
            return None
        return Line(self._at_hand(info.file), info.line)

    def _at_hand(self, file: str) -> str:
        """The path of a source file that is there, else its name below the folder of those that are put together."""
        if file not in self._found:
            places = (folder / file for folder in self._folders)
            there = next((place.resolve() for place in places if _readable(place)), None)
            self._found[file] = str(there) if there else f"{self._folder}/{_tame(file)}"
        return self._found[file]

    def _put_together(self) -> dict[str, dict[int, str]]:
        """Name -> line number -> text, of the files that lines were asked for and that are not at hand."""
        texts: dict[str, dict[int, str]] = {}
        for info in (info for program in self._programs for info in program.line_info):
            name = self._found.get(info.file, "/")
            if not Path(name).is_absolute() and 0 < info.line < _MOST_LINES:
                texts.setdefault(name, {})[info.line] = _plain(info.text.expandtabs(8))
        return texts

    def write(self, folder: Path) -> None:
        """Write the listing and the files that are put together; relative names count from `folder`.

        Raises InputError where that is not possible.
        """
        texts = {self._file: "\n".join(self._listing.lines) + "\n"}
        for name, lines in self._put_together().items():
            texts[name] = "\n".join(lines.get(at, "") for at in range(1, max(lines, default=0) + 1)) + "\n"
        if not folder.is_dir():
            raise InputError(str(folder), "", "is no folder to write symbols in")
        for name, text in texts.items():
            path = folder / name
            try:
                if path.parent != folder:
                    path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            except OSError as error:
                raise InputError(str(path), "", error.strerror or str(error)) from None


def _readable(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _tame(file: str) -> str:
    """A relative path without what leads out of a folder: names in BTF are the program's."""
    parts = [part for part in file.replace("\0", "").split("/") if part not in ("", ".", "..")]
    return "/".join(part[:100] for part in parts[-8:]) or "unnamed"


def _list(programs: list[Program], names: Mapping[tuple[int, int], str]) -> _Listing:
    out = _Listing()
    for number, program in enumerate(programs):
        out.lines += [f"; program {_plain(program.name)}, type {_plain(program.prog_type)}", ""]
        starts = function_starts(program)
        for at, text, source in _statements(program):
            if at in starts:
                if at:
                    out.lines.append("")
                name = names.get((number, at), f"func_{at}")
                out.lines.append(f"{_plain(name)}:")
                out.functions[number, at] = len(out.lines)
            if source:
                out.lines.append(f"             ; {source}")
            target = _called(program, at)
            if target is not None:
                text = f"call {_plain(names.get((number, target), f'func_{target}'))}"
            out.lines.append(f"    {at:>5}: {text}")
            out.insns[number, at] = len(out.lines)
        out.lines.append("")
    return out


def _statements(program: Program) -> Iterator[tuple[int, str, str]]:
    """Instruction, its text, and the source line that begins with it."""
    notes = {info.insn: info for info in program.line_info}
    at, shown = 0, ("", 0)
    while at < len(program.insns):
        note = notes.get(at)
        source = ""
        if note is not None and (note.file, note.line) != shown:
            shown = note.file, note.line
            source = _plain(f"{note.file}:{note.line}: {' '.join(note.text.split())}")
        yield at, _plain(bpf_text(program, at).partition(": ")[2]), source
        at += 2 if program.insns[at].code == isa.LD_IMM64 else 1


def _called(program: Program, at: int) -> int | None:
    """The first instruction of the function of the program that is called, None where none is."""
    insn = program.insns[at]
    return at + 1 + insn.imm if insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL else None


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
