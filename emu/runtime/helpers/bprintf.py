"""Formats as BPF programs may use them: bpf_bprintf_prepare's checks and bstr_printf's output.

Knows no helper: `render` takes a format, argument words and a way to read kernel memory.
"""

import re
import zlib
from collections.abc import Callable, Sequence

EINVAL, ENOSPC = 22, 28
MAX_VARARGS = 12  # MAX_BPRINTF_VARARGS
MAX_STRING = 512  # MAX_BPRINTF_BIN_ARGS: bytes of one call's strings
U64 = (1 << 64) - 1

_SPACE = frozenset(b" \t\n\v\f\r\xa0")  # isspace of the kernel's ctype table
_PUNCT = frozenset(b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") | {0xD7, 0xF7, *range(0xA1, 0xC0)}
_SPEC = re.compile(rb"([0+\- ]*)([1-9][0-9]*)?(pks|pus|p[KxsS]|pB|p[iI][46]|p|s|c|l{0,2}[idxXu])")

# Reads memory: (address, size, as a string) -> bytes, or None where nothing can be read.
Reader = Callable[[int, int, bool], bytes | None]


def render(fmt: bytes, words: Sequence[int], read: Reader, size: int | None = None) -> bytes | int:
    """The text that `fmt` (without its final zero) makes of `words`, or a negative error.

    size: of the buffer it is for; the kernel forgets the length of pointers that it prints behind the end.
    """
    out = bytearray()
    at = used = 0
    room = MAX_STRING
    while at < len(fmt):
        char = fmt[at]
        if char < 0x80 and not 0x20 <= char < 0x7F and char not in _SPACE:
            return -EINVAL
        if char != 0x25:
            out.append(char)
            at += 1
            continue
        if fmt[at + 1 : at + 2] == b"%":
            out.append(char)
            at += 2
            continue
        match = _SPEC.match(fmt, at + 1)
        if used >= len(words) or match is None or not _ends_well(fmt, match):
            return -EINVAL
        if match[3] in _STRINGS and not room:
            return -ENOSPC
        text = _one(match, words[used], read, room)
        if match[3] in _STRINGS:
            room = max(room - len(text) - 1, 0)
        used += 1
        at = match.end()
        if match[3] in _COPIED and size is not None and len(out) >= size:
            continue
        out += _pad(text, match)
    return bytes(out)


_STRINGS = (b"s", b"pks", b"pus")
_COPIED = (b"pB", b"pi4", b"pI4", b"pi6", b"pI6")


def _ends_well(fmt: bytes, match: "re.Match[bytes]") -> bool:
    """Strings and plain pointers are followed by the end, a space or punctuation."""
    if match[3] not in (*_STRINGS, b"p"):
        return True
    rest = fmt[match.end() : match.end() + 1]
    return not rest or rest[0] in _SPACE or rest[0] in _PUNCT


def _one(match: "re.Match[bytes]", word: int, read: Reader, room: int) -> bytes:
    """One argument without padding."""
    kind, flags = match[3], match[1]
    if kind == b"c":
        return bytes((word & 0xFF,))
    if kind in _STRINGS:
        found = None if kind == b"pus" else read(word, room, True)
        return (
            b""
            if found is None
            else found.rstrip(b"\0")
            if b"\0" not in found
            else found[: found.index(b"\0")]
        )
    if kind.startswith(b"p"):
        return _pointer(kind, word, read, 16 if match[2] is None else 0)
    return _number(kind, flags, word)


def _number(kind: bytes, flags: bytes, word: int) -> bytes:
    wide = kind.startswith(b"l")
    value = word & (U64 if wide else 0xFFFFFFFF)
    how = kind[-1:]
    if how in (b"x", b"X"):
        return f"{value:{how.decode()}}".encode()
    if how == b"u":
        return b"%d" % value
    bits = 64 if wide else 32
    if value >> (bits - 1):
        return b"-%d" % ((1 << bits) - value)
    sign = b"+" if b"+" in flags else b" " if b" " in flags else b""
    return sign + b"%d" % value


def _pointer(kind: bytes, word: int, read: Reader, digits: int) -> bytes:
    if kind in (b"p", b"pK") and word:  # a hash that tells addresses apart without giving them away
        word = zlib.crc32(word.to_bytes(8, "little"))
    if kind in (b"px", b"p", b"pK"):
        return b"%0*x" % (digits, word)
    if kind in (b"ps", b"pS", b"pB"):
        return b"0x%x" % word
    size = 4 if kind.endswith(b"4") else 16
    raw = read(word, size, False) or bytes(size)
    if size == 4:
        return b".".join((b"%03d" if kind == b"pi4" else b"%d") % byte for byte in raw)
    groups = [raw[i : i + 2].hex().encode() for i in range(0, 16, 2)]
    return (b":" if kind == b"pI6" else b"").join(groups)


def _pad(text: bytes, match: "re.Match[bytes]") -> bytes:
    if match[2] is None or match[3] in _COPIED:
        return text
    width = min(int(match[2]), 0x7FFF)
    if b"-" in match[1]:
        return text.ljust(width)
    if b"0" in match[1] and match[3] not in (*_STRINGS, b"c"):
        sign = text[:1] if text[:1] in (b"-", b"+", b" ") else b""
        return sign + text[len(sign) :].rjust(width - len(sign), b"0")
    return text.rjust(width)
