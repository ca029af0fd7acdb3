"""Formats of bpf_snprintf, which are constants and checked when the program is loaded.

Source: bpf_bprintf_prepare of kernel/bpf/helpers.c.
"""

import re

from verifier.env import Env
from verifier.helperargs import map_value
from verifier.regs import Reg

_PERCENT = re.compile(rb"%(?:%|[-+ #0-9]*(?P<mod>ll|l|h|hh|z)?(?P<conv>[a-zA-Z])(?P<rest>[a-zA-Z0-9]?))")
_INTEGERS = frozenset(b"diuxX")
_POINTERS = frozenset(b"ksSxBiI")


def check_format(env: Env, reg: Reg, args: int) -> None:
    """The format that `reg` points to asks for at most `args` arguments, by conversions that are known.

    The pointer was found to be one to a string that nobody can change.
    """
    text = map_value(reg.map)[reg.num.signed_value :]
    text = text[: text.find(b"\0")]
    if not _is_valid(text, args):
        env.refuse("EINVAL", "Invalid format string")


def _is_valid(text: bytes, args: int) -> bool:
    if any(byte >= 0x80 or (byte < 0x20 and byte not in b"\t\n\r\v\f") for byte in text):
        return False
    used = 0
    at = 0
    while (at := text.find(b"%", at)) >= 0:
        found = _PERCENT.match(text, at)
        if found is None:
            return False
        at = found.end()
        if found[0] == b"%%":
            continue
        end = _conversion_end(found)
        if end < 0 or used >= args:
            return False
        at = end
        used += 1
    return True


def _conversion_end(found: re.Match[bytes]) -> int:
    """Where the conversion ends, -1 for one that is not known."""
    conv, mod, rest = found["conv"], found["mod"], found["rest"]
    end = found.end() - len(rest)
    if conv in b"sc":
        return end if not mod else -1
    if conv == b"p":
        if not rest:
            return end
        return end + 1 if rest in b"ksSxB" else (end + 2 if rest in b"iI" else -1)
    if conv[0] in _INTEGERS:
        return end if mod in (None, b"l", b"ll") else -1
    return -1
