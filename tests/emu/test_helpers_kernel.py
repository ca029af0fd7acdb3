"""Helpers, call by call, against a real 7.3.4 kernel: results, buffers and packets."""

from typing import Any

import pytest

from tests.emu.call_kit import check, recorded


@pytest.mark.parametrize("case", recorded("helpers"), ids=lambda case: case["name"])
def test_as_the_kernel(case: dict[str, Any]) -> None:
    check(case)
