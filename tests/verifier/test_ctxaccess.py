"""Context accesses: the tables allow what a real kernel allowed, offset by offset (fixtures/verifier/context-access.txt)."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from verifier.ctxaccess import SOCK, SOCK_COMMON, TCP_SOCK, fields_of, is_plain, valid_access
from verifier.regs import SCALAR_VALUE
from verifier.statelog import reg_type_str

FIXTURES = Path(__file__).parents[2] / "fixtures"


class Asked(NamedTuple):
    """Offsets 0 to `last` by `step` were asked; `allowed`: "r4" -> offset -> type."""

    prog_type: str
    attach_type: int
    last: int
    step: int
    allowed: dict[str, dict[int, str]]


def _offsets(words: list[str]) -> Iterator[tuple[int, str]]:
    for word in words:
        span, _, step = word.partition("/")
        if step:
            first, _, last = span.partition("-")
            yield from ((off, "scalar") for off in range(int(first), int(last) + 1, int(step)))
        else:
            off, _, kind = word.partition(":")
            yield int(off), kind or "scalar"


def _asked() -> list[Asked]:
    found: list[Asked] = []
    for line in (FIXTURES / "verifier" / "context-access.txt").read_text().splitlines():
        words = line.split()
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            found[-1].allowed[words[0]] = dict(_offsets(words[1:]))
        else:
            last, _, step = words[2].partition("/")
            found.append(Asked(words[0], int(words[1]), int(last), int(step), {}))
    return found


@pytest.mark.parametrize("asked", _asked(), ids=lambda a: f"{a.prog_type}-{a.attach_type}")
def test_as_the_kernel(asked: Asked) -> None:
    fields = fields_of(asked.prog_type, asked.attach_type)
    assert fields is not None
    for size in (1, 2, 4, 8):
        for way in "rw":
            want = asked.allowed.get(f"{way}{size}", {})
            have = {}
            for off in range(0, asked.last + 1, asked.step):
                field = valid_access(fields, off, size, way == "w")
                if field is not None:
                    kind = SCALAR_VALUE if way == "w" else field.type
                    have[off] = reg_type_str(kind) + field.btf_id
            assert have == want, f"{way}{size}"


def test_sockets() -> None:
    assert valid_access(SOCK, 8, 4, False)
    assert valid_access(SOCK, 9, 1, False) is None
    assert valid_access(SOCK_COMMON, 8, 4, False) is None
    assert valid_access(SOCK_COMMON, 4, 4, False)
    assert valid_access(TCP_SOCK, 80, 8, False)
    assert valid_access(TCP_SOCK, 80, 4, False) is None
    assert valid_access(TCP_SOCK, 112, 4, False) is None


def test_no_table() -> None:
    assert fields_of("tracing", 0) is None
    assert is_plain("tracing")
    assert not is_plain("sched_cls")
