"""What `bpftool prog dump jited ... opcodes` prints, as text and as JSON: bytes, source lines, and where functions lay.

bpftool names neither calls nor maps; but the operand of a call is its absolute target, and so says where the function was.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from bpf.errors import InputError
from emu.against.code import Foreign, Line, Listing

_INSN_LINE: Final = re.compile(r"\s*([0-9a-f]+):[\t ]*\S")
_OPCODE_LINE: Final = re.compile(r"\t(?:[0-9a-f]{2} )*[0-9a-f]{2} ?\Z")
_LABEL: Final = re.compile(r"(\S.*):\Z")
_CALL_LINE: Final = re.compile(r"(?:call|jmp)q?\s+(?:\S+\s+)?0x([0-9a-f]+)")
KSYM: Final = re.compile(r"\Abpf_prog_[0-9a-f]{16}_?")  # in front of a function's name in /proc/kallsyms
_WHERE: Final = re.compile(r"(.*?)\s*\[file:(.*) line_num:(\d+)(?: line_col:\d+)?\]\Z")


@dataclass(slots=True)
class _Function:
    """One that is being read. addr: where it lay, once a call has said so; waiting: the target of the call at hand."""

    name: str
    code: bytearray = field(default_factory=bytearray)
    lines: list[Line] = field(default_factory=list)
    addr: int | None = None
    waiting: int | None = None

    def add(self, insn: bytes) -> None:
        """The bytes of the next instruction."""
        if self.waiting is not None and len(insn) == 5 and insn[0] in (0xE8, 0xE9):
            distance = int.from_bytes(insn[1:], "little", signed=True)
            base = self.waiting - distance - len(self.code) - 5
            # LLVM prints distances of jumps inside of a function from its start
            if base > 0 and self.addr is None:
                self.addr = base
        self.waiting = None
        self.code += insn

    def foreign(self) -> Foreign:
        """As a value."""
        return Foreign(KSYM.sub("", self.name), bytes(self.code), self.addr, None, (), tuple(self.lines))


def looks_like(data: bytes) -> bool:
    """Source lines in a listing may hold any character; the listing around them is plain."""
    return re.search(rb"^ *0:[\t ]*[a-z].*\n\t[0-9a-f]{2} ", data, re.MULTILINE) is not None


def read_text(file: str, text: str) -> Listing:
    """Lines `pc:  instruction` followed by a line of bytes; a function starts at pc 0. Raises InputError."""
    functions: list[_Function] = []
    label = ""
    source: list[str] = []
    waiting = False  # for the bytes of an instruction
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        kind = _kind_of(line)
        if waiting and kind in ("insn", "other"):
            raise _no_bytes(file, number - 1)
        if kind == "insn":
            pc = int(line.split(":", 1)[0], 16)
            if pc == 0:
                functions.append(_Function(label))
            done = len(functions[-1].code) if functions else 0
            if pc != done:
                raise InputError(file, f"line {number}", f"offset {pc:#x} where {done:#x} comes next")
            functions[-1].lines += [_line(pc, one) for one in source]
            functions[-1].waiting = _target(line.split(":", 1)[1])
            source, waiting = [], True
        elif kind == "bytes" and waiting:
            functions[-1].add(bytes.fromhex(line))
            waiting = False
        elif kind == "label":
            label = line.rstrip()[:-1]
        elif kind == "source":
            source.append(line[1:].strip())
    if waiting:
        raise _no_bytes(file, len(lines))
    if not functions:
        raise InputError(file, "", "is neither raw bytes, hex, bpftool's listing, nor JSON")
    return Listing("bpftool text", tuple(one.foreign() for one in functions))


def _line(pc: int, text: str) -> Line:
    """A source line, with `linum` also its place."""
    match = _WHERE.match(text)
    return Line(pc, text) if match is None else Line(pc, match[1], match[2], int(match[3]))


def _target(text: str) -> int | None:
    match = _CALL_LINE.search(text)
    return None if match is None else int(match[1], 16)


def _kind_of(line: str) -> str:
    """What a line of bpftool's listing is."""
    line = line.rstrip("\r")
    if not line.strip():
        return "empty"
    if line.startswith(";"):
        return "source"
    if _OPCODE_LINE.match(line):
        return "bytes"
    if _INSN_LINE.match(line):
        return "insn"
    return "label" if _LABEL.match(line) else "other"


def _no_bytes(file: str, line: int) -> InputError:
    return InputError(
        file, f"line {line}", "instruction without its bytes; make the listing with 'bpftool prog dump jited ... opcodes'"
    )  # fmt: skip


def read_json(file: str, functions: list[tuple[object, list[object]]]) -> Listing:
    """(name, instructions) of each function. Raises InputError."""
    return Listing("bpftool JSON", tuple(_function(file, name, insns) for name, insns in functions))


def _function(file: str, name: object, insns: list[object]) -> Foreign:
    out = _Function(name if isinstance(name, str) else "")
    for number, insn in enumerate(insns):
        where = f"insns[{number}]"
        opcodes = insn.get("opcodes") if isinstance(insn, dict) else None
        if not isinstance(insn, dict) or not isinstance(opcodes, list):
            raise InputError(
                file, where, "has no opcodes; make the file with 'bpftool --json prog dump jited ... opcodes'"
            )
        try:
            code = bytes(int(str(one), 16) for one in opcodes)
        except ValueError:
            raise InputError(file, f"{where}.opcodes", 'must be bytes like "0x55"') from None
        if isinstance(insn.get("src"), str):
            out.lines.append(_json_line(len(out.code), insn))
        operands = insn.get("operands")
        first = operands[0] if isinstance(operands, list) and operands else None
        out.waiting = _target(f"{insn.get('operation')} {first}")
        out.add(code)
    return out.foreign()


def _json_line(pc: int, insn: dict[str, object]) -> Line:
    file, number = insn.get("file"), insn.get("line_num")
    return Line(
        pc, str(insn["src"]), file if isinstance(file, str) else "", number if isinstance(number, int) else 0
    )
