"""Generators of small programs, for campaigns that take no time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bpf.kfuncs import KFUNCS
from emu.fuzz.generators import GENERATORS
from emu.fuzz.tasks import Config
from emu.runtime.kfuncs import IMPLEMENTED, load
from tests.emu.conftest import Command, Ran, bpfemu

SEED = 35  # of 40 cases of `tiny`, number 1 alone has a call with 12 arguments
TINY = str(Path(__file__).parent / "tiny.py")


@contextmanager
def loaded() -> Iterator[str]:
    """The path of the module with the generators `tiny` and `deadly`, which are there inside."""
    tables: tuple[dict[str, object], ...] = (GENERATORS, KFUNCS, IMPLEMENTED)  # type: ignore[assignment]
    before = [dict(table) for table in tables]
    load(TINY)
    yield TINY
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


@pytest.fixture
def tiny() -> Iterator[str]:
    """As `loaded`, while a test runs."""
    with loaded() as path:
        yield path


@pytest.fixture
def config(tiny: str) -> Config:
    """A campaign on one small generator, with one oracle."""
    return small(tiny)


def small(tiny: str) -> Config:
    return Config(SEED, "strict", ("tiny",), ("engines",), modules=(tiny,), coverage=False)


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are not forced to the disk, which takes long and which no test that ends in order could see."""
    monkeypatch.setattr("os.fsync", lambda _file: None)


__all__ = ["Command", "Ran", "bpfemu"]
