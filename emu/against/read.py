"""Native code as others write it down: raw bytes, hex, what bpftool prints, or a recording of a real kernel.

Which of these a file is follows from its contents. Knows nothing of our own code; every refusal is an InputError that
names the file, the line or the field, and what would be right.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bpf.errors import InputError

MAX_FILE: Final = 64 << 20  # bytes; a kernel's largest program is far smaller
_HEX_WORD: Final = re.compile(r"(?:0x|\\x)?([0-9a-fA-F]+)\Z")
_INSN_LINE: Final = re.compile(r"\s*([0-9a-f]+):[\t ]*\S")
_OPCODE_LINE: Final = re.compile(r"\t(?:[0-9a-f]{2} )*[0-9a-f]{2} ?\Z")
_HEXDUMP_LINE: Final = re.compile(r"\s*(?:0x)?[0-9a-fA-F]{4,16}:?\s")
_LABEL: Final = re.compile(r"(\S.*):\Z")


@dataclass(frozen=True, slots=True)
class Foreign:
    """One function from elsewhere; `name` and `addr` are "" and None where the file does not say.

    calls: offset of a call or jump opcode -> the symbol or "func#N" that it reaches.
    """

    name: str
    code: bytes
    addr: int | None = None
    calls: Mapping[int, str] | None = None


def read(file: str, program: str) -> tuple[str, tuple[Foreign, ...]]:
    """What kind of file it is, in words, and its functions.

    A raw or hex file is one piece, which may be several functions one after the other. program: the name by which a
    recording is chosen where there are several. Raises InputError.
    """
    path = Path(file)
    try:
        if path.is_dir():
            raise InputError(file, "", "is a directory")
        with path.open("rb") as opened:
            data = opened.read(MAX_FILE + 1)
    except OSError as error:
        raise InputError(file, "", error.strerror or str(error)) from None
    except ValueError:
        raise InputError(file, "", "is no file name") from None
    if len(data) > MAX_FILE:
        raise InputError(file, "", f"is larger than {MAX_FILE >> 20} MiB")
    kind, functions = _parse(file, data, program)
    if not functions or not all(function.code for function in functions):
        raise InputError(file, "", "holds no native code")
    return kind, functions


def _parse(file: str, data: bytes, program: str) -> tuple[str, tuple[Foreign, ...]]:
    text: str | None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace") if _looks_like_bpftool(data) else None
    if text is None or not (_looks_like_bpftool(data) or _printable(text)):
        return "raw bytes", (Foreign("", data),)
    stripped = text.lstrip()
    if not stripped:
        raise InputError(file, "", "is empty")
    if stripped[0] in "[{":
        return _json(file, text, program)
    code = _hex(text)
    if code is not None:
        return "hex", (Foreign("", code),)
    return "bpftool text", _bpftool_text(file, text)


def _looks_like_bpftool(data: bytes) -> bool:
    """Source lines in a listing may hold any character; the listing around them is plain."""
    return re.search(rb"^ *0:[\t ]*[a-z].*\n\t[0-9a-f]{2} ", data, re.MULTILINE) is not None


def _printable(text: str) -> bool:
    return all(char.isprintable() or char in "\t\n\r\f\v" for char in text)


# ---- hex


def _hex(text: str) -> bytes | None:
    """Pairs of digits, with or without 0x, spaces, commas; offsets in front of a line and text behind it are none."""
    digits = []
    for line in text.replace(",", " ").splitlines():
        line = line.split("#", 1)[0].split("|", 1)[0]
        dump = _HEXDUMP_LINE.match(line)
        if dump and ":" in dump[0]:
            line = line[dump.end() :]
        for word in line.replace("\\x", " ").split():
            match = _HEX_WORD.match(word)
            if match is None or len(match[1]) % 2:
                return None
            digits.append(match[1])
    return bytes.fromhex("".join(digits))


# ---- bpftool prog dump jited ... opcodes


def _bpftool_text(file: str, text: str) -> tuple[Foreign, ...]:
    """Lines `pc:  instruction` followed by a line of bytes; a function starts at pc 0."""
    functions: list[Foreign] = []
    code = bytearray()
    label = name = ""
    waiting = False  # for the bytes of an instruction
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        kind = _kind_of(line)
        if waiting and kind in ("insn", "other"):
            raise _no_bytes(file, number - 1)
        if kind == "insn":
            pc = int(line.split(":", 1)[0], 16)
            if pc == 0:
                if code:
                    functions.append(Foreign(name, bytes(code)))
                code, name = bytearray(), label
            if pc != len(code):
                raise InputError(file, f"line {number}", f"offset {pc:#x} where {len(code):#x} comes next")
            waiting = True
        elif kind == "bytes" and waiting:
            code += bytes.fromhex(line)
            waiting = False
        elif kind == "label":
            label = line.rstrip()[:-1]
    if waiting:
        raise _no_bytes(file, len(lines))
    if code:
        functions.append(Foreign(name, bytes(code)))
    if not functions:
        raise InputError(file, "", "is neither raw bytes, hex, bpftool's listing, nor JSON")
    return tuple(functions)


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


# ---- JSON


def _json(file: str, text: str, program: str) -> tuple[str, tuple[Foreign, ...]]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return "a recording", _recorded(file, _one_of(file, _lines(file, text), program))
    if isinstance(value, list):
        if all(isinstance(item, dict) and "pc" in item for item in value):
            return "bpftool JSON", (_bpftool_function(file, "", value),)
        if all(isinstance(item, dict) and isinstance(item.get("insns"), list) for item in value):
            functions = (_bpftool_function(file, item.get("name"), item["insns"]) for item in value)
            return "bpftool JSON", tuple(functions)
        return "a recording", _recorded(file, _one_of(file, value, program))
    if isinstance(value, dict) and "error" in value and "jited" not in value:
        raise InputError(file, "", f"bpftool says: {_short(value['error'])}")
    return "a recording", _recorded(file, value)


def _lines(file: str, text: str) -> list[object]:
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                out.append(json.loads(line))
            except (ValueError, RecursionError):
                raise InputError(file, f"line {number}", "is not JSON") from None
    return out


def _one_of(file: str, records: list[object], program: str) -> object:
    """The recording of this program."""
    if len(records) == 1:
        return records[0]
    named = [one for one in records if isinstance(one, dict) and one.get("name") == program]
    if len(named) != 1:
        raise InputError(file, "", f"holds {len(records)} recordings, {len(named)} of them named {program!r}")
    return named[0]


def _recorded(file: str, record: object) -> tuple[Foreign, ...]:
    """The functions of a recording: `jited`, or `expect.jited`, [{hex, addr or ksym, calls}]."""
    if not isinstance(record, dict):
        raise InputError(file, "", "holds neither bpftool's JSON nor a recording")
    expect = record.get("expect")
    holder = expect if isinstance(expect, dict) and "jited" in expect else record
    jited = holder.get("jited")
    if not isinstance(jited, list):
        raise InputError(file, "field jited", "must be a list of functions")
    return tuple(_recorded_function(file, f"jited[{n}]", one) for n, one in enumerate(jited))


def _recorded_function(file: str, where: str, one: object) -> Foreign:
    if not isinstance(one, dict) or not isinstance(one.get("hex"), str):
        raise InputError(file, f"field {where}.hex", "must be the code in hex")
    try:
        code = bytes.fromhex(one["hex"])
    except ValueError:
        raise InputError(file, f"field {where}.hex", "must be the code in hex") from None
    addr = _address(file, where, one.get("addr", one.get("ksym")))
    name = one.get("name")
    return Foreign(name if isinstance(name, str) else "", code, addr, _calls(file, where, one.get("calls")))


def _address(file: str, where: str, value: object) -> int | None:
    if value is None:
        return None
    try:
        addr = value if isinstance(value, int) else int(str(value), 0)
    except ValueError:
        addr = -1
    if isinstance(value, bool) or not 0 <= addr < 1 << 64:
        raise InputError(file, f"field {where}.addr", "must be an address")
    return addr


def _calls(file: str, where: str, value: object) -> dict[int, str] | None:
    if value is None:
        return None
    out = {}
    for one in value if isinstance(value, list) else [None]:
        if (
            not isinstance(one, dict)
            or not isinstance(one.get("off"), int)
            or not isinstance(one.get("target"), str)
        ):
            raise InputError(file, f"field {where}.calls", "must be objects with off and target")
        out[one["off"]] = one["target"]
    return out


def _bpftool_function(file: str, name: object, insns: list[object]) -> Foreign:
    code = bytearray()
    for number, insn in enumerate(insns):
        where = f"insns[{number}]"
        opcodes = insn.get("opcodes") if isinstance(insn, dict) else None
        if not isinstance(opcodes, list):
            raise InputError(
                file, where, "has no opcodes; make the file with 'bpftool --json prog dump jited ... opcodes'"
            )
        try:
            code += bytes(int(str(one), 16) for one in opcodes)
        except ValueError:
            raise InputError(file, f"{where}.opcodes", 'must be bytes like "0x55"') from None
    return Foreign(name if isinstance(name, str) else "", bytes(code))


def _short(value: object) -> str:
    return " ".join(str(value).split())[:200]
