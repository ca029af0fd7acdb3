"""The campaign inside another project's test suite: the fixture `bpfemu_case` is one generated program (docs/your-jit.md).

    def test_jit(bpfemu_case):
        bpfemu_case.check(my_jit)          # a callable, or a command line

pytest loads this module at every start, so it imports the engines only when a case is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emu.external.cases import Bench, JitCase

_BENCH: Any = pytest.StashKey["Bench"]()
_GENERATORS = ("calls", "isa")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, all with the program's name in front."""
    group = parser.getgroup("bpfemu", "generated programs for a BPF JIT under test")
    group.addoption(
        "--bpfemu-cases",
        type=_count,
        default=100,
        metavar="N",
        help="Cases of a test with the fixture bpfemu_case (100).",
    )
    group.addoption(
        "--bpfemu-first", type=_count, default=0, metavar="N", help="Number of the first case (0)."
    )
    group.addoption("--bpfemu-seed", type=_count, default=0, metavar="N", help="Seed of the cases (0).")
    group.addoption(
        "--bpfemu-generator",
        action="append",
        metavar="NAME",
        help="Generator to use, repeatable (calls and isa).",
    )
    group.addoption("--bpfemu-out", metavar="DIR", help="Folder for the shrunk programs of failures.")  # fmt: skip


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a case, so that -x, -k, --lf and xdist work as with any other test."""
    if "bpfemu_case" not in metafunc.fixturenames:
        return
    config = metafunc.config
    first, seed = config.getoption("--bpfemu-first"), config.getoption("--bpfemu-seed")
    names = tuple(config.getoption("--bpfemu-generator") or _GENERATORS)
    numbers = range(first, first + config.getoption("--bpfemu-cases"))
    cases = [(names[number % len(names)], seed, number) for number in numbers]
    ids = [f"{name}-{seed}-{number}" for name, seed, number in cases]
    metafunc.parametrize("bpfemu_case", cases, indirect=True, ids=ids)


@pytest.fixture(scope="session")
def _bpfemu_bench(pytestconfig: pytest.Config) -> Iterator[Bench]:
    """Engines, made once a process."""
    from emu.external.cases import Bench  # noqa: PLC0415  engines are not loaded before a case is used

    bench = Bench(pytestconfig.getoption("--bpfemu-out"))
    yield bench
    bench.close()


@pytest.fixture
def bpfemu_case(request: pytest.FixtureRequest, _bpfemu_bench: Bench) -> JitCase:
    """A generated program with its inputs; `check(jit)` runs what a JIT makes of it against the reference interpreter."""
    from bpf.errors import InputError  # noqa: PLC0415  as above

    try:
        return _bpfemu_bench.case(*request.param)
    except InputError as error:
        raise pytest.UsageError(str(error)) from None
