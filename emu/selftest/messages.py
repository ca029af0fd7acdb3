"""Texts that a selftest expects, in order: in the verifier's log, the rewritten program, the native code.

What stands between {{ and }} is a POSIX extended regular expression, the rest is literal. Source: validate_msgs() and
compile_regex() of test_loader.c of the kernel's selftests. Knows no programs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from bpf.errors import InputError

_REGEX: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_BRACKET: Final = re.compile(r"\[(\^?)(\]?(?:\[:\w+:\]|[^\]])*)\]")
_CLASSES: Final = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9A-Fa-f",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A text that must come behind the one before it, or (wanted False) must not come before the next one.

    adjoining: it must be in the very next line.
    """

    text: str
    wanted: bool = True
    adjoining: bool = False

    def find(self, text: str, start: int, end: int | None = None) -> tuple[int, int] | None:
        """(begin, end) of the first match within text[start:end]. Raises InputError for a bad expression."""
        end = len(text) if end is None else end
        if "{{" in self.text:
            match = _pattern(self.text).search(text, start, end)
            return match.span() if match else None
        at = text.find(self.text, start, end)
        return None if at < 0 else (at, at + len(self.text))


@cache
def _pattern(text: str) -> re.Pattern[str]:
    if text.count("{{") != len(_REGEX.findall(text)):
        raise InputError(f"message {text!r}", "", "a {{ without its }}")
    parts = _REGEX.split(text)
    try:
        # a dot and a negated set stop at the end of a line, where $ matches, too
        return re.compile(
            "".join(_python(p) if i % 2 else re.escape(p) for i, p in enumerate(parts)), re.MULTILINE
        )
    except re.error as error:
        raise InputError(f"message {text!r}", "", f"a bad regular expression: {error}") from None


def _python(posix: str) -> str:
    """A POSIX extended regular expression for lines as Python has it."""
    return _BRACKET.sub(_bracket, posix)


def _bracket(match: re.Match[str]) -> str:
    inside = match[2].replace("\\", r"\\")
    inside = re.sub(r"\[:(\w+):\]", lambda m: _CLASSES.get(m[1], m[0]), inside)
    inside = inside.replace("]", r"\]", 1) if inside.startswith("]") else inside
    return f"[^\\n{inside}]" if match[1] else f"[{inside}]"


def unmet(text: str, messages: Sequence[Message]) -> str:
    """The first expectation about `text` that is not met, "" when all are.

    A wanted text is looked for behind the one before it, an unwanted one between its neighbours. Raises InputError.
    """
    found = _positions(text, messages)
    start, last = 0, None
    for i, message in enumerate(messages):
        here = found[i]
        if message.wanted:
            if here is None:
                return f"no message {message.text!r}" + (" after the one before it" if start else "")
            if message.adjoining and last is not None and text.count("\n", last, here[0]) != 1:
                return f"message {message.text!r} is not in the line after the one before it"
            start, last = here[1], here[0]
        else:
            end = next((at[0] for at in found[i:] if at is not None), None)
            if message.find(text, start, end):
                return f"message {message.text!r}, which must not be there"
    return ""


def _positions(text: str, messages: Sequence[Message]) -> list[tuple[int, int] | None]:
    """Where each wanted text is, each behind the one before it; None for the others."""
    at, found = 0, []
    for message in messages:
        here = message.find(text, at) if message.wanted else None
        at = here[1] if here else at
        found.append(here)
    return found
