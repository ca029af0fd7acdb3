"""Tokens of one line of text, with columns; knows neither instructions nor C."""

import re
from dataclasses import dataclass
from typing import NoReturn

from bpf.errors import InputError

_TOKEN = re.compile(
    r"""(?P<number>0[xX][0-9a-fA-F]+\b|\d+\b)
      | (?P<op>s(?:>>=|>=|<=|/=|%=|>|<)|<<=|>>=|\.\.\.|[-+*/|&%^!=<>]=|[-+*/|&%^=<>()\[\],:#@])
      | (?P<word>[A-Za-z_.$][A-Za-z0-9_.$]*)
      | (?P<string>"[^"]*")""",
    re.VERBOSE | re.ASCII,
)
_HEX = re.compile(r"([0-9a-fA-F]+)(?:\*(\d+))?(?![A-Za-z0-9_.$*])", re.ASCII)
_LABEL = re.compile(r"([A-Za-z_.$][A-Za-z0-9_.$]*)[ \t]*:")
_COMMENT = re.compile(r';|//|"[^"]*"')
_MAX_DATA = 1 << 24  # bytes one line may spell out with `00*N`
_MAX_DIGITS = 64  # a longer number is no number of ours, and Python refuses to read very long ones


@dataclass(frozen=True, slots=True)
class Token:
    """kind: "number", "op", "word", "string" or "end". at: index in the line."""

    kind: str
    text: str
    at: int

    def __str__(self) -> str:
        return "the end of the line" if self.kind == "end" else f"'{self.text}'"


def strip_comment(line: str) -> str:
    """`line` up to its `;` or `//`, which do not count inside a string."""
    for match in _COMMENT.finditer(line):
        if not match.group().startswith('"'):
            return line[: match.start()]
    return line


class Cursor:
    """A place in a line. Every reading method raises InputError with line and column when it cannot read."""

    def __init__(self, text: str, what: str, line: int = 1) -> None:
        self.text = strip_comment(text).rstrip()
        self.what = what
        self.line = line
        self.at = 0
        self._seen = Token("end", "", 0)
        self._seen_at = -1

    def fail(self, why: str, at: int | None = None) -> NoReturn:
        """Raises InputError for index `at` of the line (default: the next token)."""
        column = (self.peek_at() if at is None else at) + 1
        raise InputError(self.what, f"line {self.line}, column {column}", why)

    def peek_at(self) -> int:
        """Index of the next token, or of the end."""
        at = self.at
        while at < len(self.text) and self.text[at] in " \t\r":
            at += 1
        return at

    def peek(self) -> Token:
        """The next token, without taking it."""
        if self._seen_at != self.at:  # most tokens are looked at several times
            self._seen = self._scan()
            self._seen_at = self.at
        return self._seen

    def _scan(self) -> Token:
        at = self.peek_at()
        if at >= len(self.text):
            return Token("end", "", at)
        match = _TOKEN.match(self.text, at)
        if match is None:
            char = self.text[at]
            if char == '"':
                self.fail('this string has no closing "', at)
            if char in "0123456789":
                self.fail("malformed number", at)
            self.fail(f"unexpected character {char!a}", at)
        assert match.lastgroup is not None
        return Token(match.lastgroup, match.group(), at)

    def next(self) -> Token:
        """Takes the next token."""
        token = self.peek()
        self.at = token.at + len(token.text)
        return token

    def accept(self, *texts: str) -> str | None:
        """Takes the next token if it is one of `texts`."""
        token = self.peek()
        if token.kind != "string" and token.text in texts and token.text:
            self.at = token.at + len(token.text)
            return token.text
        return None

    def expect(self, *texts: str) -> str:
        """Takes the next token, which must be one of `texts`."""
        got = self.accept(*texts)
        if got is None:
            wanted = (
                " or ".join(f"'{text}'" for text in texts) if len(texts) <= 4 else f"one of {' '.join(texts)}"
            )
            self.fail(f"expected {wanted}, not {self.peek()}")
        return got

    def word(self, wanted: str) -> str:
        """Takes a word; `wanted` says what it stands for, "a name of a map"."""
        token = self.peek()
        if token.kind != "word":
            self.fail(f"expected {wanted}, not {token}")
        return self.next().text

    def string(self, wanted: str) -> str:
        """Takes a quoted string or a word."""
        token = self.peek()
        if token.kind not in ("string", "word"):
            self.fail(f"expected {wanted}, not {token}")
        return self.next().text.strip('"')

    def number(self, wanted: str, low: int = 0, high: int = (1 << 64) - 1) -> int:
        """Takes a number with or without sign, within `low` .. `high`."""
        at = self.peek_at()
        sign = self.accept("-", "+")
        token = self.peek()
        if token.kind != "number":
            self.fail(f"expected {wanted}, not {token}")
        if len(token.text) > _MAX_DIGITS:
            self.fail(f"number of {len(token.text)} digits", at)
        self.next()
        value = int(token.text, 16 if token.text[:2] in ("0x", "0X") else 10)
        if sign == "-":
            value = -value
        if not low <= value <= high:
            self.fail(f"{wanted} must lie in {low}..{high}, not {value}", at)
        return value

    def at_number(self) -> bool:
        """Whether a number or its sign is next."""
        token = self.peek()
        return token.kind == "number" or token.text in ("+", "-")

    def at_hex(self) -> bool:
        """Whether something that reads as hex digits is next."""
        return _HEX.match(self.text, self.peek_at()) is not None

    def label(self) -> str | None:
        """Takes `name:` if that is next."""
        match = _LABEL.match(self.text, self.peek_at())
        if match is None:
            return None
        self.at = match.end()
        return match[1]

    def hex(self, wanted: str) -> bytes:
        """Takes bytes in hex: one or more runs of digits, each with an optional `*N` that repeats it."""
        if not self.at_hex():
            self.fail(f"expected {wanted} as hex digits")
        data = b""
        while match := _HEX.match(self.text, self.peek_at()):
            if len(match[1]) % 2:
                self.fail(f"{wanted}: an odd number of hex digits")
            times = int(match[2][:12]) if match[2] else 1
            if len(data) + len(match[1]) // 2 * times > _MAX_DATA:
                self.fail(f"{wanted}: more than {_MAX_DATA} bytes")
            data += bytes.fromhex(match[1]) * times
            self.at = match.end()
        return data

    def end(self) -> None:
        """Nothing may follow."""
        if self.peek().kind != "end":
            self.fail(f"unexpected {self.peek()} behind a complete line")
