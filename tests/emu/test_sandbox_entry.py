"""Native code of ours is the same whatever the assembler's memory held before."""

import re
from typing import Any

import keystone
import pytest

from emu.sandbox import addresses, entry, gates, script, stubs


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Assemblers that read numbers without a prefix as hexadecimal: what the next one may do by chance."""
    module: Any = keystone  # it has no types
    plain = module.Ks

    def made(arch: int, mode: int) -> Any:
        one = plain(arch, mode)
        one.syntax = module.KS_OPT_SYNTAX_RADIX16
        return one

    monkeypatch.setattr(keystone, "Ks", made)


def _all() -> list[object]:
    shared, *others = stubs.common(addresses.TEXT)
    return [entry.trampoline(), shared, others, gates.code(), script.code(addresses.STUBS)]


@pytest.mark.usefixtures("sixteen")
def test_the_radix_of_the_assembler_is_nothing_that_code_of_ours_depends_on() -> None:
    code = entry.assemble("mov eax, 27; add rsp, 16; mov r10, [rbx + 8*rcx + 17]", 0)
    assert code == bytes.fromhex("b81b000000 4883c410 4c8b54cb11")
    with pytest.MonkeyPatch.context() as patch:  # the fixture does what it says
        patch.setattr(entry, "_DECIMAL", re.compile("(?!)"))
        assert entry.assemble("mov eax, 27", 0) == bytes.fromhex("b827000000")


@pytest.mark.usefixtures("sixteen")
def test_all_code_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    hexadecimal = _all()
    monkeypatch.undo()
    assert _all() == hexadecimal
