"""Native code as others write it down: raw bytes, hex, what bpftool prints, or a recording of a real kernel.

Which of these a file is follows from its contents. Knows nothing of our own code; every refusal is an InputError that
names the file, the line or the field, and what would be right.
"""

import gzip
import json
import re
import zlib
from io import BytesIO
from pathlib import Path
from typing import Final

from bpf.errors import InputError
from emu.against import bpftool, elf, recording
from emu.against.code import Foreign, Listing

MAX_FILE: Final = 64 << 20  # bytes; a kernel's largest program is far smaller
_HEX_WORD: Final = re.compile(r"(?:0x|\\x)?([0-9a-fA-F]+)\Z")
_HEXDUMP_LINE: Final = re.compile(r"\s*(?:0x)?[0-9a-fA-F]{4,16}:?\s")


def read(file: str, program: str) -> tuple[str, tuple[Foreign, ...]]:
    """What kind of file it is, in words, and its functions; as `listing`."""
    found = listing(file, program)
    return found.kind, found.functions


def listing(file: str, program: str) -> Listing:
    """All that a file says of some native code.

    A raw or hex file is one piece, which may be several functions one after the other. program: the name by which a
    recording is chosen where there are several. Raises InputError.
    """
    data = _unpacked(file, _bytes(file))
    found = _parse(file, data, program)
    if not found.functions or not all(function.code for function in found.functions):
        raise InputError(file, "", "holds no native code")
    return found


def _bytes(file: str) -> bytes:
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
    return data


def _unpacked(file: str, data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.open(BytesIO(data)) as stream:
            data = stream.read(MAX_FILE + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(file, "", f"not a readable gzip file: {error}") from None
    if len(data) > MAX_FILE:
        raise InputError(file, "", f"is larger than {MAX_FILE >> 20} MiB when unpacked")
    return data


def _parse(file: str, data: bytes, program: str) -> Listing:
    if data[:4] == b"\x7fELF":
        return elf.read(file, data)
    text: str | None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace") if bpftool.looks_like(data) else None
    if text is None or not (bpftool.looks_like(data) or _printable(text)):
        return Listing("raw bytes", (Foreign("", data),))
    stripped = text.lstrip()
    if not stripped:
        raise InputError(file, "", "is empty")
    if stripped[0] in "[{":
        return _json(file, text, program)
    code = _hex(text)
    if code is not None:
        return Listing("hex", (Foreign("", code),))
    return bpftool.read_text(file, text)


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


# ---- JSON


def _json(file: str, text: str, program: str) -> Listing:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return recording.read(file, recording.one_of(file, _lines(file, text), program))
    if isinstance(value, list):
        if all(isinstance(item, dict) and "pc" in item for item in value):
            return bpftool.read_json(file, [("", value)])
        if all(isinstance(item, dict) and isinstance(item.get("insns"), list) for item in value):
            return bpftool.read_json(file, [(item.get("name"), item["insns"]) for item in value])
        return recording.read(file, recording.one_of(file, value, program))
    if isinstance(value, dict) and "error" in value and not {"jited", "jit"} & set(value):
        raise InputError(file, "", f"bpftool says: {_short(value['error'])}")
    return recording.read(file, value)


def _lines(file: str, text: str) -> list[object]:
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                out.append(json.loads(line))
            except (ValueError, RecursionError):
                raise InputError(file, f"line {number}", "is not JSON") from None
    return out


def _short(value: object) -> str:
    return " ".join(str(value).split())[:200]
