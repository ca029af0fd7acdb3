"""kfuncs on strings (kernel/bpf/helpers.c): strings of the kernel of at most 4095 characters.

They return -ERANGE for an address where no kernel memory can be, -EFAULT where there is none, -E2BIG for a string that is too
long, -ENOENT for what is not found.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from bpf.kfuncs import KFUNCS
from emu.runtime.helpers.probe import KERNEL_START
from emu.runtime.kfuncs.registry import kfunc

if TYPE_CHECKING:
    from emu.runtime.world import World

MAX_LENGTH = 4096  # XATTR_SIZE_MAX / 16: bytes looked at, final zero included
ENOENT, E2BIG, EFAULT, ERANGE = 2, 7, 14, 34


class _Stop(Exception):  # noqa: N818 - an error number on its way out
    def __init__(self, error: int) -> None:
        self.error = error


def _text(world: "World", addr: int, limit: int = MAX_LENGTH) -> bytes:
    """The string at `addr` without its final zero, or its first `limit` characters."""
    limit = min(limit, MAX_LENGTH)
    if not limit:
        return b""
    region = world.memory.region_at(addr)
    if region is None:
        raise _Stop(-EFAULT if addr >= KERNEL_START else -ERANGE)
    raw = bytes(region.view[addr - region.base : addr - region.base + limit])
    end = raw.find(b"\0")
    if end >= 0:
        return raw[:end]
    if len(raw) < limit:
        raise _Stop(-EFAULT)
    if limit == MAX_LENGTH:
        raise _Stop(-E2BIG)
    return raw


def _errors(function: Callable[..., int]) -> Callable[..., int]:
    def call(world: "World", *args: int) -> int:
        try:
            return function(world, *args)
        except _Stop as stop:
            return stop.error

    return call


def _register(name: str, function: Callable[..., int]) -> None:
    kfunc(KFUNCS[name].text)(_errors(function))


def _found(at: int) -> int:
    return at if at >= 0 else -ENOENT


def _order(first: bytes, second: bytes) -> int:
    return (first > second) - (first < second)


def _char(c: int) -> bytes:
    return bytes((c & 0xFF,))


def _strchr(world: "World", s: int, c: int) -> int:
    return _strnchr(world, s, MAX_LENGTH, c)


def _strnchr(world: "World", s: int, count: int, c: int) -> int:
    text = _text(world, s, count)
    return len(text) if not c & 0xFF and len(text) < count else _found(text.find(_char(c)))


def _strchrnul(world: "World", s: int, c: int) -> int:
    text = _text(world, s)
    at = text.find(_char(c))
    return at if at >= 0 else len(text)


def _strrchr(world: "World", s: int, c: int) -> int:
    text = _text(world, s)
    return _found((text + b"\0").rfind(_char(c)))


def _span(world: "World", s: int, chars: int, *, inside: bool) -> int:
    text, of = _text(world, s), _text(world, chars)
    return next((at for at, char in enumerate(text) if (char in of) != inside), len(text))


def _strnstr(world: "World", s1: int, s2: int, count: int, *, fold: bool = False) -> int:
    text, wanted = _text(world, s1, count), _text(world, s2)
    if fold:
        text, wanted = text.lower(), wanted.lower()
    return _found(text.find(wanted))


def _compare(world: "World", s1: int, s2: int, count: int = MAX_LENGTH, *, fold: bool = False) -> int:
    first, second = _text(world, s1, count), _text(world, s2, count)
    return _order(first.lower(), second.lower()) if fold else _order(first, second)


_register("bpf_strlen", lambda world, s: len(_text(world, s)))
_register("bpf_strnlen", lambda world, s, count: len(_text(world, s, count)))
_register("bpf_strchr", _strchr)
_register("bpf_strnchr", _strnchr)
_register("bpf_strchrnul", _strchrnul)
_register("bpf_strrchr", _strrchr)
_register("bpf_strspn", lambda world, s, accept: _span(world, s, accept, inside=True))
_register("bpf_strcspn", lambda world, s, reject: _span(world, s, reject, inside=False))
_register("bpf_strstr", lambda world, s1, s2: _strnstr(world, s1, s2, MAX_LENGTH))
_register("bpf_strnstr", _strnstr)
_register("bpf_strcasestr", lambda world, s1, s2: _strnstr(world, s1, s2, MAX_LENGTH, fold=True))
_register("bpf_strncasestr", lambda world, s1, s2, count: _strnstr(world, s1, s2, count, fold=True))
_register("bpf_strcmp", _compare)
_register("bpf_strcasecmp", lambda world, s1, s2: _compare(world, s1, s2, fold=True))
_register("bpf_strncasecmp", lambda world, s1, s2, count: _compare(world, s1, s2, count, fold=True))
