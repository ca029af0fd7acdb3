"""Helpers, call by call, against a real 7.3.4 kernel: results, buffers and packets."""

from typing import Any

import pytest

from tests.emu.call_kit import check, recorded, start


@pytest.mark.parametrize("case", recorded("helpers"), ids=lambda case: case["name"])
def test_as_the_kernel(case: dict[str, Any]) -> None:
    check(case)


def test_per_cpu_variables_of_one_processor() -> None:
    """bpf_per_cpu_ptr, bpf_this_cpu_ptr: there is the first CPU only, whose own of a variable lies where the variable does."""
    calls = start()
    addr = 0xFFFF_FFFF_8310_3040
    assert calls.raw(154, addr) == addr
    assert calls.raw(153, addr, 0) == addr
    assert calls.raw(153, addr, 1 << 32) == addr  # its number is 32 bits
    assert calls.raw(153, addr, 1) == calls.raw(153, addr, 0xFFFFFFFF) == 0
